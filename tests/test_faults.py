"""Faults: what was there before a kill is there after it, what is read runs no code, and no name becomes markup."""

import ast
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesgmm as bg
from bayesgmm.storage import CHECKPOINT, write_tree
from tests.conftest import build_fit, jitter
from tests.test_storage import reseal

ROOT = Path(__file__).parents[1]
zarr = pytest.importorskip("zarr")


# -------------------------------------------------------------------- kill -9


def told_by(scene, folder):
    """Run a scene of killed_writers.py in a process of its own; return what it found, by what and when."""
    command = [sys.executable, "-m", "tests.killed_writers", scene, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_save_that_is_killed_leaves_the_fit_before_or_the_new_one(tmp_path):
    """One component before, two after; the next save succeeds, and nothing of the killed one stays."""
    found = [
        (line["what"], line["instant"], line["killed"], line["found"]) for line in told_by("killed_saves", tmp_path)
    ]
    beside = [line for line in found if line[0] == "beside"]
    assert [line[-1] for line in beside] == [["fit.nc"], ["fit.nc", "fit.zarr"]]
    instants = [
        ("fit.nc", "fsync", 1), ("fit.nc", "replace", 1),
        ("fit.zarr", "write_text zarr.json", 1), ("fit.zarr", "fsync", 1), ("fit.zarr", "rename fit.zarr", 1),
        ("fit.zarr", "rename .fit.zarr.", 1), ("fit.zarr", "rmtree .fit.zarr.before", 2),
    ]  # fmt: skip
    assert [line for line in found if line not in beside] == [
        line for what, instant, left in instants
        for line in ((what, instant, True, left), (what, instant, False, 2))
    ]  # fmt: skip


@pytest.mark.slow
def test_a_report_that_is_killed_leaves_the_page_before(tmp_path):
    found = told_by("killed_reports", tmp_path)
    assert [(line["killed"], line["found"]) for line in found] == [(True, "the old page")] * 3


def test_a_run_that_is_killed_while_it_writes_has_its_last_checkpoint(tmp_path):
    """Of the second write of a run that had made forty draws in its first chain, and none in its second."""
    found = told_by("killed_runs", tmp_path)
    assert all(line["killed"] for line in found)
    assert [line["found"] for line in found if line["what"] == "run.zarr"] == [[1, 40]] * 5
    assert [line["found"] for line in found if line["what"] == "resumed"] == [True]
    assert [line["found"] for line in found if line["what"] == "beside"] == [["run.zarr"]]


@pytest.mark.slow
def test_a_run_of_nuts_that_is_killed_has_its_last_checkpoint(tmp_path):
    (found,) = told_by("killed_nuts", tmp_path)
    assert (found["killed"], found["found"]) == (True, ["nuts", True])


# -------------------------------------------------------------------- pickle


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, crater):
        self.crater = crater

    def __reduce__(self):
        return Path.touch, (self.crater,)


@pytest.fixture
def crater(tmp_path):
    return tmp_path / "crater"


def plant(folder, crater):
    """Make an array of Zarr's second format that is decoded by pickle; return the chunk."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "zarr.json").unlink(missing_ok=True)
    chunk = pickle.dumps(np.array([Bomb(crater)], dtype=object))
    described = {
        "zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "order": "C", "fill_value": None,
        "compressor": None, "filters": [{"id": "pickle", "protocol": 5}],
    }  # fmt: skip
    (folder / ".zarray").write_text(json.dumps(described))
    (folder / ".zattrs").write_text(json.dumps({"_ARRAY_DIMENSIONS": ["x"]}))
    (folder / "0").write_bytes(chunk)
    return chunk


@pytest.fixture
def _careless():
    """Zarr itself refuses pickle unless it is told not to; versions before did not."""
    try:
        with zarr.config.set({"array.allow_unsafe_pickle_decode": True}):
            yield
    except KeyError:
        yield


@pytest.mark.usefixtures("_careless")
class TestPickle:
    def test_the_bomb_is_live(self, tmp_path, crater):
        chunk = plant(tmp_path / "array", crater)
        pickle.loads(chunk)  # noqa: S301
        assert crater.exists()

    def test_a_store_of_the_second_format_is_not_read(self, tmp_path, crater):
        path = tmp_path / "fit.zarr"
        for folder in (path, path / "posterior"):
            folder.mkdir()
            (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (path / ".zattrs").write_text('{"bayesgmm_format": "bayesgmm mixture fit", "bayesgmm_format_version": 1}')
        plant(path / "posterior" / "means", crater)
        with pytest.raises(bg.FileFormatError, match="not a saved fit"):
            bg.load(path)
        assert not crater.exists()

    def test_nor_is_an_array_of_it_in_a_saved_fit(self, tmp_path, crater, faithful_em):
        path = faithful_em.save(tmp_path / "fit.zarr")
        plant(path / "posterior" / "means", crater)
        reseal(path)
        with pytest.raises(bg.FileFormatError, match="Zarr's second format"):
            bg.load(path)
        assert not crater.exists()

    def test_nothing_that_is_loaded_is_unpickled(self, tmp_path, faithful_draws, monkeypatch):
        files = [faithful_draws.save(tmp_path / name) for name in ("fit.nc", "fit.zarr")]
        tree = faithful_draws.tree.drop_nodes("log_likelihood")
        tree[CHECKPOINT] = xr.DataTree(xr.Dataset({"made": ("chain", [40, 40])}))
        files.append(write_tree(tree, tmp_path / "run.zarr"))
        bg.load(files[-1])  # compiled code comes from numba's own files, by pickle, when it is first used

        def forbidden(*_arguments, **_options):
            raise AssertionError("unpickled")

        for name in ("load", "loads", "Unpickler"):
            monkeypatch.setattr(pickle, name, forbidden)
        monkeypatch.setattr(np, "load", forbidden)
        monkeypatch.setattr(pd, "read_pickle", forbidden)
        for path in files:
            assert bg.load(path).info == faithful_draws.info

    def test_no_module_reads_pickles(self):
        suspects = {"pickle", "dill", "cloudpickle", "shelve", "marshal", "read_pickle", "allow_pickle", "Unpickler"}
        for path in (ROOT / "bayesgmm").rglob("*.py"):
            nodes = list(ast.walk(ast.parse(path.read_text())))
            names = {
                alias.name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names
            }
            names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
            names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
            names |= {str(node.arg) for node in nodes if isinstance(node, ast.keyword)}
            assert not names & suspects, path


# -------------------------------------------------------------------- markup

SCRIPT = "<script>alert('x')</script>"
ESCAPED = "&lt;script&gt;alert("


@pytest.fixture(scope="module")
def nasty():
    """A table in which every name is markup: columns, labels of rows, components."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=(25, 2)), 2.5 + rng.normal(size=(25, 2))])
    table = pd.DataFrame(rows, columns=[f"{SCRIPT}{j}" for j in range(2)], index=[f"{SCRIPT}{i}" for i in range(50)])
    known = np.array([None] * 50, dtype=object)
    known[:3], known[-3:] = f"{SCRIPT}one", f"{SCRIPT}two"
    em = bg.fit_em(table, 2, labels=known, n_starts=2, seed=0)
    return table, em, build_fit(jitter(em.mixture, 50, draws=100), em.prepared)


@pytest.fixture(scope="module")
def subjects(nasty):
    table, em, post = nasty
    plain = bg.fit_em(table, 2, n_starts=2, seed=0)
    return {
        "estimate": em,
        "draws": post,
        "comparison": bg.compare(plain, post),
        "table of fits": bg.compare(plain, post, em),
        "selection": bg.select(table, [1, 2], structures=("full",), n_starts=2, seed=0),
    }


TOLD = {"title": SCRIPT, "source": f"{SCRIPT}.csv", "command": f"bayesgmm fit '{SCRIPT}'"}


@pytest.mark.parametrize(
    "name", ["estimate", "comparison", *(pytest.param(name, marks=pytest.mark.slow) for name in ("draws", "selection"))]
)
def test_no_name_becomes_markup_on_a_page(name, subjects, tmp_path):
    page = bg.report(subjects[name], tmp_path / "page.html", **TOLD).read_text(encoding="utf-8")
    assert "<script" not in page
    assert ESCAPED in page
    if name == "estimate":
        assert "one is component" in page


@pytest.mark.slow
def test_nor_in_markdown(subjects, tmp_path):
    text = bg.report(subjects["comparison"], tmp_path / "page.md", **TOLD).read_text(encoding="utf-8")
    prose = re.sub(r"^(```+)\n.*?\n\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"(?<!\\)<script", prose) == []
    assert "\\<script" in prose


@pytest.mark.parametrize("name", ["estimate", "draws", "comparison", "table of fits", "selection"])
def test_nor_in_a_notebook(name, subjects):
    subject = subjects[name]
    shown = subject.summary() if name in ("estimate", "draws") else subject
    markup = shown._repr_html_()
    assert "<script" not in markup
    assert ESCAPED in markup or SCRIPT not in repr(shown)
