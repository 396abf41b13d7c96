"""Checkpoints of the telescoping sampler: a run that ended early goes on, and is the run that it would have been."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesgmm as bg
from bayesgmm.bayes import chain_threads, telescope
from bayesgmm.storage import CHECKPOINT
from tests.bayes import interruptions

TABLE = bg.load_dataset("galaxies")
CALL = {"seed": 1, "draws": 60, "tune": 40, "chains": 3, "thin": 2, "k_max": 12}
# In chains so short much is amiss, and said.
pytestmark = pytest.mark.filterwarnings("ignore::bayesgmm.BayesGMMWarning")

number = partial(bg.number_of_components, TABLE, cores=1, **CALL)


@pytest.fixture(scope="module")
def uninterrupted():
    return number()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "run.zarr"
    number(checkpoint=path)
    return path


@pytest.fixture
def short_batches(monkeypatch):
    """Ten draws at a time."""
    monkeypatch.setattr(telescope, "BATCH", 10 * CALL["thin"] * len(TABLE) * 10)


@pytest.fixture
def stop_after(monkeypatch):
    """Return a function that arranges for an interruption after so many batches of all chains."""
    return partial(interruptions.stop_after, monkeypatch)


def assert_same(found, expected):
    xr.testing.assert_identical(found.draws, expected.draws)
    xr.testing.assert_identical(found.allocations, expected.allocations)
    pd.testing.assert_frame_equal(found.table, expected.table)
    assert found.diagnostics == pytest.approx(expected.diagnostics, rel=0, abs=0, nan_ok=True)
    assert found.settings == expected.settings


# -------------------------------------------------------------------- going on


@pytest.mark.parametrize("batches", [1, 6, 17, 29])
def test_what_was_interrupted_becomes_what_it_would_have_been(
    batches, uninterrupted, short_batches, stop_after, monkeypatch, tmp_path
):
    """In the warm-up of the first chain, in its draws, in later chains."""
    stop_after(batches)
    path = tmp_path / "run.zarr"
    if batches <= 4:
        with pytest.raises(KeyboardInterrupt):
            number(checkpoint=path)
        with pytest.raises(bg.FileFormatError, match="too few draws yet"):
            bg.ComponentNumber.load(path)
    else:
        so_far = number(checkpoint=path)
        chains, made = (so_far.draws.sizes[dim] for dim in ("chain", "draw"))
        assert so_far.diagnostics["interrupted_after"] == made
        assert_same(bg.ComponentNumber.load(path), so_far)
        xr.testing.assert_identical(so_far.draws, uninterrupted.draws.isel(chain=slice(chains), draw=slice(made)))
        np.testing.assert_array_equal(so_far.allocations, uninterrupted.allocations[:chains, :made])
    monkeypatch.undo()
    assert_same(number(checkpoint=path), uninterrupted)


@pytest.mark.parametrize("method", ["sparse", "dp"])
def test_by_every_method(method, short_batches, stop_after, monkeypatch, tmp_path):
    """Of a Dirichlet process the weight that has no place is a part of where a chain stands."""
    call = {"method": method, "k_max": 6}
    expected = number(**call)
    stop_after(14)
    number(checkpoint=tmp_path / "run.zarr", **call)
    monkeypatch.undo()
    assert_same(number(checkpoint=tmp_path / "run.zarr", **call), expected)


def test_a_checkpoint_changes_nothing(uninterrupted, short_batches, monkeypatch, tmp_path):
    monkeypatch.setattr(chain_threads, "_NAP", 0.001)
    assert_same(number(checkpoint=tmp_path / "run.zarr", checkpoint_seconds=0), uninterrupted)
    assert [found.name for found in tmp_path.iterdir()] == ["run.zarr"]


def test_a_run_that_has_ended_is_read(uninterrupted, finished, monkeypatch):
    monkeypatch.setattr(telescope, "run_telescope", None)
    assert_same(number(checkpoint=finished), uninterrupted)


@pytest.mark.parametrize("share", [1, 2, 3])
def test_draws_may_grow(share, tmp_path, monkeypatch):
    """Labels are kept of every second draw, say, of the short run, which are odd, and of every fourth of the long."""
    monkeypatch.setattr(telescope, "_MAX_LABELS", 3 * 57 * len(TABLE) // share)
    path = tmp_path / "run.zarr"
    number(draws=57, checkpoint=path)
    long, expected = number(draws=101, checkpoint=path), number(draws=101)
    assert_same(long, expected)
    assert len(long.allocations["draw"]) == -(-101 // {1: 2, 2: 4, 3: 8}[share])


def test_fewer_draws_than_were_asked_for_at_first_keep_labels_as_seldom(short_batches, monkeypatch, tmp_path):
    """Labels that a run has not kept cannot be had, however short it becomes."""
    path, call = tmp_path / "run.zarr", {"chains": 1}
    monkeypatch.setattr(telescope, "_MAX_LABELS", 20 * len(TABLE))
    with monkeypatch.context() as patch:
        interruptions.stop_after(patch, 6)
        assert number(checkpoint=path, **call).draws.sizes["draw"] < 20
    found = number(checkpoint=path, **call | {"draws": 20})
    xr.testing.assert_identical(found.draws, number(**call | {"draws": 20}).draws)
    xr.testing.assert_identical(found.allocations, number(**call).allocations[:, : found.allocations.sizes["draw"]])


def test_seed_and_thin_that_are_not_given_are_those_of_the_checkpoint(tmp_path):
    path, call = tmp_path / "run.zarr", {"seed": None, "thin": None, "tune": 4, "chains": 1}
    first = number(**call | {"draws": 10_000 // 50, "checkpoint": path})
    longer = number(**call | {"draws": 20_000 // 50, "checkpoint": path})
    for name in ("seed", "thin"):
        assert longer.settings[name] == first.settings[name]
    xr.testing.assert_identical(longer.draws.isel(draw=slice(200)), first.draws)


def test_whatever_ends_it_leaves_a_checkpoint(short_batches, stop_after, tmp_path):
    class Interrupted(BaseException):
        pass

    stop_after(8, Interrupted)
    with pytest.raises(Interrupted):
        number(checkpoint=tmp_path / "run.zarr")
    assert bg.ComponentNumber.load(tmp_path / "run.zarr").draws.sizes == {"chain": 1, "draw": 40}


def test_what_is_no_path_is_refused_in_a_sentence(uninterrupted):
    for call in (uninterrupted.save, bg.ComponentNumber.load):
        with pytest.raises(bg.ArgumentError, match="path=3 must be the name of a file"):
            call(3)


KILLED = """
    import os, signal, sys, time, warnings
    from pathlib import Path
    import bayesgmm as bg
    from bayesgmm.bayes import chain_threads, telescope
    from tests.bayes.test_telescope_checkpoint import CALL, TABLE, number

    warnings.simplefilter("ignore")
    path, sweep, left = Path(sys.argv[1]), telescope.run_telescope, [13]

    def drawn_by_then():
        try:
            return bg.ComponentNumber.load(path).draws.sizes["draw"]
        except OSError:  # none yet, or too few, or one takes the place of another
            return 0

    def sweep_or_die(*arguments):
        left[0] -= 1
        if left[0] == 0:
            while drawn_by_then() < 60:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        return sweep(*arguments)

    telescope.run_telescope, telescope.BATCH = sweep_or_die, 10 * CALL["thin"] * len(TABLE) * 10
    chain_threads._NAP = 0.001
    number(checkpoint=path, checkpoint_seconds=0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_a_run_that_is_killed_leaves_its_last_checkpoint(uninterrupted, tmp_path):
    """In the third batch of the second chain."""
    path = tmp_path / "run.zarr"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(path)],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    so_far = bg.ComponentNumber.load(path)
    xr.testing.assert_identical(so_far.draws, uninterrupted.draws[{"chain": [0]}])
    assert_same(number(checkpoint=path), uninterrupted)


# -------------------------------------------------------------------- reading


def test_a_checkpoint_is_read_like_what_was_saved(finished, uninterrupted):
    assert_same(bg.ComponentNumber.load(finished), uninterrupted)


@pytest.mark.parametrize("name", ["number.nc", "number.zarr"])
def test_what_is_saved_is_loaded(name, uninterrupted, tmp_path):
    assert uninterrupted.save(tmp_path / name) == tmp_path / name
    found = bg.ComponentNumber.load(tmp_path / name)
    assert_same(found, uninterrupted)
    assert repr(found) == repr(uninterrupted)
    assert found.belief.filled(20) == pytest.approx(uninterrupted.belief.filled(20))


def test_other_programs_read_it_too(finished, uninterrupted):
    with xr.open_datatree(finished, engine="zarr", consolidated=False) as tree:
        np.testing.assert_array_equal(tree["posterior"]["n_filled"], uninterrupted.draws["n_filled"])
        np.testing.assert_array_equal(tree[CHECKPOINT]["labels"], uninterrupted.allocations)
        assert "allocations" not in tree.children


def test_a_fit_is_not_one(tmp_path):
    bg.fit_em(TABLE, 1).save(tmp_path / "fit.zarr")
    with pytest.raises(
        bg.FileFormatError, match=r"no posterior of the number of components; read it with bayesgmm\.load"
    ):
        bg.ComponentNumber.load(tmp_path / "fit.zarr")
    with pytest.raises(bg.FileFormatError, match="is a saved fit, not a checkpoint"):
        number(checkpoint=tmp_path / "fit.zarr")


def test_nor_is_it_a_fit(finished):
    with pytest.raises(bg.FileFormatError, match="is not a complete fit"):
        bg.load(finished)


def test_the_names_of_rows_are_kept(tmp_path):
    table = pd.DataFrame(TABLE.to_numpy(), index=[f"galaxy {i}" for i in range(len(TABLE))])
    short = {"seed": 0, "draws": 8, "tune": 0, "chains": 1, "thin": 1, "checkpoint": tmp_path / "run.zarr"}
    bg.number_of_components(table, **short)
    assert bg.ComponentNumber.load(tmp_path / "run.zarr").allocations["row"].values[3] == "galaxy 3"


# -------------------------------------------------------------------- another run


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "dp"}, "method='mfm', and this call has method='dp'"),
        ({"structure": "tied"}, "structure='VII', and this call has structure='EII'"),
        ({"k_max": 13}, "another k_prior|k_max=12, and this call has k_max=13"),
        ({"k_prior": "uniform"}, "another k_prior"),
        ({"concentration": 1.0}, "concentration=None, and this call has concentration=1.0"),
        ({"priors": bg.Priors(dof=9.0)}, "another priors"),
        ({"seed": 2}, "seed=1, and this call has seed=2"),
        ({"tune": 41}, "tune=40, and this call has tune=41"),
        ({"chains": 4}, "chains=3, and this call has chains=4"),
        ({"draws": 59}, "60 draws in a chain, and this call has draws=59"),
        ({"thin": 3}, "thin=2, and this call has thin=3"),
        ({"data": TABLE * 1.0001}, "other rows, columns or weights"),
    ],
)
def test_another_run_is_refused(change, message, finished):
    with pytest.raises(bg.ArgumentError, match=message):
        bg.number_of_components(**({"data": TABLE} | CALL | change), checkpoint=finished)


def test_another_function_is_refused(finished, tmp_path):
    with pytest.raises(bg.ArgumentError, match="was left by number_of_components, and this is fit_bayes"):
        bg.fit_bayes(TABLE, 2, sampler="gibbs", checkpoint=finished)
    path, short = tmp_path / "run.zarr", {"draws": 4, "tune": 0, "chains": 1, "seed": 0}
    bg.fit_bayes(TABLE, 2, sampler="gibbs", checkpoint=path, **short)
    with pytest.raises(bg.ArgumentError, match="was left by fit_bayes, and this is number_of_components"):
        number(checkpoint=path)


def test_damage_is_noticed(finished, tmp_path):
    path = shutil.copytree(finished, tmp_path / "run.zarr")
    next(file for file in (path / CHECKPOINT / "labels" / "c").rglob("*") if file.is_file()).write_bytes(b"0")
    for read in (bg.ComponentNumber.load, lambda path: number(checkpoint=path)):
        with pytest.raises(bg.FileFormatError, match="is damaged"):
            read(path)
