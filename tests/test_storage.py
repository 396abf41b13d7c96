"""A saved fit comes back as it was, and nothing else is taken for one."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayesgmm.data.prepare import prepare
from bayesgmm.errors import ArgumentError, FileFormatError
from bayesgmm.fit import FitInfo, assemble
from bayesgmm.mixture import Mixture
from bayesgmm.reporting import report
from bayesgmm.storage import FORMAT_VERSION, _checksums, load, remove_leftovers, replacing, save
from bayesgmm.structure import as_structure

SUFFIXES = [".nc", ".zarr"]


@pytest.fixture(params=SUFFIXES)
def suffix(request):
    if request.param == ".zarr":
        pytest.importorskip("zarr")
    return request.param


def assert_same_fit(found, expected):
    assert found.tree.identical(expected.tree)
    for node in expected.tree.subtree:
        for name, variable in node.variables.items():
            loaded = found.tree[node.path].variables[name]
            # Files know no strided text: its width may differ, its kind may not.
            assert loaded.dtype.kind == variable.dtype.kind, (node.path, name)
    assert found.info == expected.info
    assert found.features == expected.features
    np.testing.assert_array_equal(found.prepared.rows, expected.prepared.rows)


def odd_fit(rows):
    """Names and labels that files are known to trip over: blanks, brackets, slashes, other alphabets."""
    columns = ["Größe [cm], links", "重さ / kg"]
    values = np.random.default_rng(3).normal(size=(len(rows), 2)) * 1e-9 + 7.0
    prepared = prepare(pd.DataFrame(values, index=rows, columns=columns), sample_weight=np.arange(1.0, 1 + len(rows)))
    mixture = Mixture([1.0], [values.mean(axis=0)], [np.eye(2) * 1e-18], prepared.features)
    info = FitInfo("em", "VVV", 1, settings={"start": None, "ok": True, "x": [1, 2.5], "π": "é"}, versions={"a": "1"})
    return assemble(mixture, prepared, info, prepared.scaling(as_structure("full", 2)))


class TestRoundTrip:
    @pytest.mark.parametrize("name", ["faithful_em", "faithful_draws"])
    def test_everything_is_equal(self, name, suffix, tmp_path, request):
        fit = request.getfixturevalue(name)
        path = save(fit, tmp_path / f"fit{suffix}")
        assert path == tmp_path / f"fit{suffix}"
        assert_same_fit(load(path), fit)

    @pytest.mark.parametrize("rows", [[30, 10, 20, 40, 50], ["a", "Ünal", "", "long name", "01"]])
    def test_odd_names_and_labels(self, rows, suffix, tmp_path):
        fit = odd_fit(rows)
        assert_same_fit(load(save(fit, str(tmp_path / f"fit{suffix}"))), fit)

    def test_a_loaded_fit_computes_the_same(self, faithful_draws, suffix, tmp_path):
        loaded = load(save(faithful_draws, tmp_path / f"fit{suffix}"))
        np.testing.assert_array_equal(loaded.responsibilities(), faithful_draws.responsibilities())
        np.testing.assert_array_equal(loaded.log_likelihood, faithful_draws.log_likelihood)

    def test_saving_again_replaces(self, faithful_em, faithful_draws, suffix, tmp_path):
        path = save(faithful_draws, tmp_path / f"fit{suffix}")
        assert_same_fit(load(save(faithful_em, path)), faithful_em)
        assert [file.name for file in tmp_path.iterdir()] == [path.name]

    def test_saving_does_not_change_the_fit(self, faithful_em, suffix, tmp_path):
        before = dict(faithful_em.tree.attrs)
        save(faithful_em, tmp_path / f"fit{suffix}")
        assert dict(faithful_em.tree.attrs) == before


class TestRefusals:
    def test_missing_file(self, suffix, tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            load(tmp_path / f"absent{suffix}")

    @pytest.mark.parametrize("act", [lambda _, path: load(path), save])
    def test_other_ending(self, act, faithful_em, tmp_path):
        with pytest.raises(ArgumentError, match=r"ends in \.nc"):
            act(faithful_em, tmp_path / "fit.pkl")

    def test_folder_does_not_exist(self, faithful_em, suffix, tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            save(faithful_em, tmp_path / "absent" / f"fit{suffix}")

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
    def test_truncated(self, faithful_draws, share, tmp_path):
        path = save(faithful_draws, tmp_path / "fit.nc")
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(FileFormatError, match=r"fit\.nc"):
            load(path)

    def test_flipped_bytes(self, faithful_draws, tmp_path):
        path = save(faithful_draws, tmp_path / "fit.nc")
        whole = path.read_bytes()
        start = len(whole) // 2
        path.write_bytes(whole[:start] + bytes(255 - byte for byte in whole[start : start + 64]) + whole[start + 64 :])
        with pytest.raises(FileFormatError, match="cannot be read"):
            load(path)

    def test_zarr_chunk_lost_or_changed(self, faithful_draws, tmp_path):
        pytest.importorskip("zarr")
        for damage in (lambda chunk: chunk.unlink(), lambda chunk: chunk.write_bytes(b"0")):
            path = save(faithful_draws, tmp_path / "fit.zarr")
            damage(next(file for file in path.joinpath("posterior", "means", "c").rglob("0") if file.is_file()))
            with pytest.raises(FileFormatError, match="posterior/means"):
                load(path)

    def test_foreign_netcdf(self, tmp_path):
        xr.Dataset({"x": ("t", [1.0, 2.0])}).to_netcdf(tmp_path / "other.nc", engine="netcdf4")
        with pytest.raises(FileFormatError, match="not a saved fit"):
            load(tmp_path / "other.nc")

    @pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\x89HDF\r\n\x1a\n" + b"\0" * 100])
    def test_not_even_netcdf(self, content, tmp_path):
        (tmp_path / "other.nc").write_bytes(content)
        with pytest.raises(FileFormatError, match="not a saved fit"):
            load(tmp_path / "other.nc")

    def test_folder_named_like_a_file(self, suffix, tmp_path):
        (tmp_path / f"fit{suffix}").mkdir()
        with pytest.raises(FileFormatError, match="not a saved fit"):
            load(tmp_path / f"fit{suffix}")

    def test_newer_version(self, faithful_em, tmp_path, monkeypatch):
        monkeypatch.setattr("bayesgmm.storage.FORMAT_VERSION", FORMAT_VERSION + 1)
        path = save(faithful_em, tmp_path / "fit.nc")
        monkeypatch.undo()
        with pytest.raises(FileFormatError, match=f"format version {FORMAT_VERSION + 1}.*install a newer one"):
            load(path)

    def test_incomplete(self, faithful_em, tmp_path):
        marks = {**faithful_em.tree.attrs, "bayesgmm_format": "bayesgmm mixture fit", "bayesgmm_format_version": 1}
        partial = xr.DataTree.from_dict({"posterior": faithful_em.tree["posterior"].to_dataset()})
        partial.attrs = marks
        partial.to_netcdf(tmp_path / "fit.nc", engine="netcdf4")
        with pytest.raises(FileFormatError, match="observed_data/x is missing"):
            load(tmp_path / "fit.nc")

    @pytest.mark.parametrize("info", ["{", json.dumps({"method": "em"}), "[]"])
    def test_no_word_on_how_it_was_made(self, faithful_em, info, tmp_path):
        tree = faithful_em.tree.copy()
        tree.attrs = {"bayesgmm_info": info, "bayesgmm_format": "bayesgmm mixture fit", "bayesgmm_format_version": 1}
        tree.to_netcdf(tmp_path / "fit.nc", engine="netcdf4")
        with pytest.raises(FileFormatError, match="how the fit was made"):
            load(tmp_path / "fit.nc")

    def test_zarr_does_not_replace_a_folder_of_something_else(self, faithful_em, tmp_path):
        pytest.importorskip("zarr")
        (tmp_path / "fit.zarr").mkdir()
        (tmp_path / "fit.zarr" / "thesis.txt").write_text("years of work")
        with pytest.raises(FileFormatError, match="is not a saved fit; choose another name"):
            save(faithful_em, tmp_path / "fit.zarr")
        assert (tmp_path / "fit.zarr" / "thesis.txt").read_text() == "years of work"

    def test_encodings_that_save_does_not_write(self, faithful_draws, tmp_path):
        pytest.importorskip("zarr")
        path = save(faithful_draws, tmp_path / "fit.zarr")
        described = path / "posterior" / "means" / "zarr.json"
        array = json.loads(described.read_text())
        array["codecs"].append({"name": "numcodecs.pickle"})
        described.write_text(json.dumps(array))
        reseal(path)
        with pytest.raises(FileFormatError, match=r"encoded by 'numcodecs.pickle', which is not read"):
            load(path)


def reseal(path):
    """Make the checksums of a Zarr store right again, as whoever changed it on purpose would."""
    root = json.loads((path / "zarr.json").read_text())
    root["attributes"]["bayesgmm_format_checksums"] = _checksums(path)
    (path / "zarr.json").write_text(json.dumps(root))


class TestFolders:
    """A folder is not replaced in one step: what a writer leaves that is killed between two is read all the same."""

    @pytest.fixture(autouse=True)
    def _zarr(self):
        pytest.importorskip("zarr")

    def test_killed_before_the_new_one_was_in_place(self, faithful_em, faithful_draws, tmp_path):
        path = save(faithful_em, tmp_path / "fit.zarr")
        path.rename(tmp_path / ".fit.zarr.before")
        assert_same_fit(load(path), faithful_em)
        assert_same_fit(load(save(faithful_draws, path)), faithful_draws)
        assert [found.name for found in tmp_path.iterdir()] == ["fit.zarr"]

    def test_killed_before_the_old_one_was_removed(self, faithful_em, faithful_draws, tmp_path):
        path = save(faithful_em, tmp_path / "fit.zarr")
        shutil.copytree(path, tmp_path / ".fit.zarr.before")
        save(faithful_draws, path)
        assert_same_fit(load(path), faithful_draws)
        assert [found.name for found in tmp_path.iterdir()] == ["fit.zarr"]


class TestLeftovers:
    """What a killed writer left is removed by the next writer of the same file, and nothing else is."""

    @pytest.fixture
    def dead(self):
        """The number of a process that is no more."""
        with subprocess.Popen([sys.executable, "-c", ""]) as ended:
            ended.wait()
        return ended.pid

    @pytest.fixture
    def leave(self, tmp_path):
        """Leave what `replacing` would give a process to write to, on this machine or in another place."""

        def write(name, process, *, is_folder=False, place=None):
            with pytest.raises(KeyboardInterrupt), replacing(tmp_path / name) as temporary:
                raise KeyboardInterrupt
            here, own, rest = temporary.name.rpartition(".")[2].split("-")
            assert int(own) == os.getpid()
            left = tmp_path / f".{name}.{place or here}-{process}-{rest}"
            (left.mkdir if is_folder else left.touch)()
            return left

        return write

    @pytest.mark.parametrize("name", ["fit.nc", "fit.zarr", "page.html"])
    def test_of_a_dead_writer_nothing_stays(self, name, leave, dead, faithful_em, tmp_path):
        if name == "fit.zarr":
            pytest.importorskip("zarr")
        assert leave(name, dead, is_folder=name == "fit.zarr").exists()
        write = report if name == "page.html" else save
        write(faithful_em, tmp_path / name)
        assert [found.name for found in tmp_path.iterdir()] == [name]

    def test_what_may_be_alive_stays(self, leave, dead, tmp_path):
        stays = {
            leave("page.html", os.getpid()), leave("page.html", os.getppid()), leave("another.html", dead),
            leave("page.html", dead, place="0" * 8), tmp_path / ".page.html.swp", tmp_path / ".page.html.0123abcd",
        }  # fmt: skip
        for left in stays:
            left.touch()
        with replacing(tmp_path / "page.html") as temporary:
            temporary.write_text("new")
        assert set(tmp_path.iterdir()) == {*stays, tmp_path / "page.html"}

    def test_where_nobody_can_be_writing_nothing_stays(self, leave, tmp_path):
        foreign = tmp_path / ".page.html.swp"
        foreign.touch()
        leave("page.html", os.getppid(), place="0" * 8)
        remove_leftovers(tmp_path / "page.html")
        assert list(tmp_path.iterdir()) == [foreign]


class TestReplacing:
    def test_after_an_error_the_old_file_stands(self, tmp_path):
        target = tmp_path / "page.html"
        target.write_text("old")

        def write_half():
            with replacing(target) as temporary:
                temporary.write_text("ne")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write_half()
        assert target.read_text() == "old"
        assert list(tmp_path.iterdir()) == [target]

    def test_target_is_untouched_until_the_end(self, tmp_path):
        target = tmp_path / "page.html"
        with replacing(target) as temporary:
            temporary.write_text("new")
            assert not target.exists()
        assert target.read_text() == "new"
