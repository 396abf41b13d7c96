"""A saved selection comes back as it was: every cell, every posterior, every word."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayesgmm.bayes.evidence import Evidence
from bayesgmm.bayes.number_priors import number_belief
from bayesgmm.bayes.random_components import ComponentNumber
from bayesgmm.data import load_dataset
from bayesgmm.errors import ArgumentError, FileFormatError
from bayesgmm.selection import Selection, select
from bayesgmm.selection.posteriors import Posteriors
from bayesgmm.storage import load, save
from bayesgmm.structure import STRUCTURES
from tests.conftest import build_fit, jitter


@pytest.fixture(params=[".nc", ".zarr"])
def suffix(request):
    if request.param == ".zarr":
        pytest.importorskip("zarr")
    return request.param


@pytest.fixture(scope="module")
def grid():
    """Five cells, one of which could not be fitted and one of which is a spike."""
    table = pd.DataFrame({"a/b": [0.0, 0.0, 0.0, 1.0, 1.2, 5.0, 5.3, 6.0]}, index=list("ABCDEFGH"))
    return select(table, [1, 2, 3, 9], structures=("EII", "VII"), n_starts=4, seed=3, reg_covar=0.0)


def component_number():
    """What a run of 82 rows would give, without one."""
    rng = np.random.default_rng(0)
    filled = rng.integers(2, 5, size=(2, 30))
    shares = np.bincount(filled.ravel(), minlength=7)[1:7] / 60
    table = pd.DataFrame({"p_filled": shares, "se_filled": np.where(shares > 0, 0.05, np.nan), "prior_filled": 1 / 6,
                          "p_components": shares}, index=pd.RangeIndex(1, 7, name="number"))  # fmt: skip
    draws = xr.Dataset(
        {"n_filled": (("chain", "draw"), filled), "alpha": (("chain", "draw"), rng.random((2, 30)))},
        coords={"chain": [0, 1], "draw": np.arange(30)},
    )
    labels = rng.integers(4, size=(2, 15, 82)).astype(np.int16)
    coords = {"draw": np.arange(0, 30, 2), "row": np.arange(82)}
    allocations = xr.DataArray(labels, dims=("chain", "draw", "row"), coords=coords, name="allocations")
    diagnostics = {"chains": 2, "n_draws": 60, "max_r_hat": 1.02, "min_ess": 50.0, "share_at_k_max": 0.0}
    belief = number_belief("mfm", k_max=6, k_prior=None, concentration=None)
    return ComponentNumber(belief, STRUCTURES["VII"], table, draws, allocations, diagnostics, {"seed": 0, "priors": {}})


@pytest.fixture(scope="module")
def drawn():
    """Galaxies, with draws and a number of components that were made by hand."""
    found = select(load_dataset("galaxies"), [2, 3], structures="full", n_starts=4, seed=0)
    fits = {
        cell.key: build_fit(jitter(cell.fit.mixture, 82, chains=2, draws=20), found.prepared, structure="VII",
                            settings={"priors": None}, diagnostics={"divergences": 1, "khat": None})
        for cell in found.ranked
    }  # fmt: skip
    posteriors = Posteriors(fits, {("VII", 3): Evidence(-230.5, 0.1, "bridge")}, {"mfm": component_number()})
    return Selection(found.prepared, tuple(found.cells.values()), found.criterion, found.settings, posteriors)


def round_trip(selection, tmp_path, suffix):
    path = selection.save(tmp_path / f"grid{suffix}")
    assert path == tmp_path / f"grid{suffix}"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    return Selection.load(path)


def test_the_grid_comes_back(grid, suffix, tmp_path):
    assert {cell.fit is None for cell in grid.cells.values()} == {True, False}
    assert {cell.is_sound for cell in grid.cells.values()} == {True, False}
    found = round_trip(grid, tmp_path, suffix)
    pd.testing.assert_frame_equal(found.table, grid.table)
    assert repr(found) == repr(grid)
    assert found.settings == grid.settings
    assert list(found.cells) == list(grid.cells)
    for key, cell in grid.cells.items():
        assert found.cells[key].why == cell.why
        if cell.fit is not None:
            assert found.cells[key].fit.tree.identical(cell.fit.tree)
    assert list(found.prepared.rows) == list("ABCDEFGH")
    assert found.prepared.features == ("a/b",)
    assert found.drawn is None


def test_posteriors_come_back(drawn, suffix, tmp_path):
    found = round_trip(drawn, tmp_path, suffix)
    pd.testing.assert_frame_equal(found.predictions, drawn.predictions)
    pd.testing.assert_frame_equal(found.number_of_components, drawn.number_of_components)
    assert repr(found) == repr(drawn)
    for key, fit in drawn.posteriors.items():
        assert found.posteriors[key].tree.identical(fit.tree)
    assert found.drawn.evidences == drawn.drawn.evidences
    numbers, expected = found.drawn.numbers["mfm"], drawn.drawn.numbers["mfm"]
    pd.testing.assert_frame_equal(numbers.table, expected.table)
    assert numbers.draws.identical(expected.draws)
    assert numbers.allocations.identical(expected.allocations)
    assert repr(numbers) == repr(expected)
    np.testing.assert_array_equal(numbers.belief.filled(82), expected.belief.filled(82))
    assert (numbers.settings, numbers.diagnostics) == (expected.settings, expected.diagnostics)


def test_weights_and_what_is_asked_later_come_back(tmp_path):
    rng = np.random.default_rng(4)
    x = np.concatenate([rng.normal(size=30), 8.0 + rng.normal(size=30)])
    expected = select(x[:, None], [1, 2], structures="tied", n_starts=2, seed=0, sample_weight=np.tile([1.0, 2.0], 30))
    found = round_trip(expected, tmp_path, ".nc")
    np.testing.assert_array_equal(found.prepared.sample_weight, expected.prepared.sample_weight)
    pd.testing.assert_frame_equal(found.table, expected.table)
    np.testing.assert_array_equal(found.best.predict(), expected.best.predict())


def test_a_reader_of_fits_finds_the_best(grid, tmp_path):
    fit = load(grid.save(tmp_path / "grid.nc"))
    assert fit.info == grid.best.info
    np.testing.assert_array_equal(fit.mixture.means, grid.best.mixture.means)


def test_saving_leaves_the_selection_alone(grid, tmp_path):
    before = dict(grid.best.tree.attrs), list(grid.best.tree.children)
    grid.save(tmp_path / "grid.nc")
    assert (dict(grid.best.tree.attrs), list(grid.best.tree.children)) == before


class TestRefusals:
    def test_a_fit_is_no_selection(self, grid, tmp_path):
        path = save(grid.best, tmp_path / "fit.nc")
        with pytest.raises(FileFormatError, match=r"fit\.nc' is a saved fit and no selection; read it with"):
            Selection.load(path)

    def test_a_newer_layout(self, grid, tmp_path):
        path = grid.save(tmp_path / "grid.nc")
        with xr.open_datatree(path, engine="netcdf4") as opened:
            tree = opened.load()
        description = json.loads(tree["selection"].attrs["description"]) | {"version": 2}
        tree["selection"].attrs["description"] = json.dumps(description)
        path = tmp_path / "newer.nc"
        tree.to_netcdf(path, engine="netcdf4")
        with pytest.raises(FileFormatError, match="has version 2 of the layout of selections"):
            Selection.load(path)

    def test_a_damaged_file(self, grid, tmp_path):
        path = grid.save(tmp_path / "grid.nc")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(FileFormatError, match="damaged"):
            Selection.load(path)

    def test_another_ending(self, grid, tmp_path):
        with pytest.raises(ArgumentError, match=r"\.nc"):
            grid.save(tmp_path / "grid.pkl")
        assert list(tmp_path.iterdir()) == []

    def test_nothing_there(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            Selection.load(tmp_path / "grid.nc")
