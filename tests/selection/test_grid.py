"""The grid: R's mclust's numbers, the inequalities that maxima obey, and cells that cannot be fitted."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from bayesgmm.data import load_dataset, prepare
from bayesgmm.em.fit import fit_em
from bayesgmm.errors import ConvergenceWarning
from bayesgmm.selection import grid
from bayesgmm.selection.grid import Cell, GridSettings, fit_grid
from bayesgmm.structure import STRUCTURES
from tests.tolerances import ALGEBRA, OPTIMUM

SETTINGS = GridSettings(seed=0, n_starts=8, reg_covar=0.0, n_threads=None)


@pytest.fixture(scope="module")
def iris_cells():
    cells = fit_grid(
        prepare(load_dataset("iris")), [1, 2, 3], list(STRUCTURES.values()), criterion="bic", settings=SETTINGS
    )
    return {cell.key: cell for cell in cells}


@pytest.fixture(scope="module")
def galaxies():
    return prepare(load_dataset("galaxies"))


def cell_of(prepared, code, k, **options):
    return Cell(STRUCTURES[code], k, fit_em(prepared, k, structure=code, seed=0, **options))


# mclustBIC of R's mclust 6.0.0 on iris, with the sign turned.
MCLUST_IRIS = {
    ("EII", 1): 1804.085437886, ("VVI", 1): 1522.120152723, ("VVV", 1): 829.978154362, ("EII", 2): 1123.411740577,
    ("VII", 2): 1012.235179773, ("VEI", 2): 956.282268871, ("EVI", 2): 1007.308223984, ("VVI", 2): 857.551493869,
    ("EEE", 2): 688.097220134, ("EVE", 2): 657.226280303, ("VEV", 2): 561.728462115, ("EVV", 2): 658.330630855,
    ("VVV", 2): 574.017832270, ("VII", 3): 853.814407213, ("EEE", 3): 632.964732323, ("VEE", 3): 605.398248487,
    ("EEV", 3): 644.781017859, ("VEV", 3): 562.552236906, ("VVV", 3): 580.839630428,
}  # fmt: skip


@pytest.mark.parametrize("key", MCLUST_IRIS)
def test_bic_is_at_least_mclusts(iris_cells, key):
    found = iris_cells[key]
    assert found.is_sound
    # mclust stops early, by up to a few thousandths.
    assert found.criteria["bic"] < MCLUST_IRIS[key] + 1e-3
    if key in {("VEV", 2), ("VEV", 3), ("VVV", 2), ("VVV", 3), ("EEE", 3)}:
        assert found.criteria["bic"] == pytest.approx(MCLUST_IRIS[key], abs=0.02)


def test_no_mixture_beats_one_that_contains_it(iris_cells):
    for inner, outer in product(iris_cells.values(), repeat=2):
        letters = zip(inner.structure.code, outer.structure.code, strict=True)
        contains = all("IEV".index(a) <= "IEV".index(b) for a, b in letters)
        if contains and inner.n_components <= outer.n_components <= inner.n_components + 1:
            assert outer.height > inner.height - 2e-3


def test_one_component_has_three_maxima(iris_cells):
    heights = {code: iris_cells[code, 1].height for code in STRUCTURES}
    assert heights["EII"] == pytest.approx(heights["VII"], rel=ALGEBRA)
    assert heights["EEI"] == pytest.approx(heights["VVI"], rel=ALGEBRA)
    assert heights["EEE"] == pytest.approx(heights["VVV"], rel=ALGEBRA)


def test_a_cell_does_not_depend_on_the_grid(iris_cells):
    prepared = prepare(load_dataset("iris"))
    (alone,) = fit_grid(prepared, [3], [STRUCTURES["VVV"]], criterion="bic", settings=SETTINGS)
    among = iris_cells["VVV", 3]
    assert alone.fit.info.seed == among.fit.info.seed
    assert alone.height == pytest.approx(among.height, rel=OPTIMUM)
    # The seed and the number of starts that a fit remembers make it again.
    again = fit_em(prepared, 3, structure="VVV", seed=alone.fit.info.seed, n_starts=alone.fit.info.settings["n_starts"])
    assert again.log_likelihood == alone.height


def test_threads_change_nothing(galaxies):
    one, three = (
        fit_grid(galaxies, [1, 2, 3], [STRUCTURES["VII"]], criterion="bic", settings=GridSettings(3, 4, 0.0, n_threads))
        for n_threads in (1, 3)
    )
    assert [cell.height for cell in one] == [cell.height for cell in three]


@pytest.fixture(scope="module")
def poor(galaxies):
    """On galaxies, VII with 4 components has a poor optimum below that of 3 components, and below EII with 4."""
    cell = cell_of(galaxies, "VII", 4, start=np.searchsorted([20.0, 22.0, 23.0], galaxies.values[:, 0]))
    assert cell.is_sound
    assert cell.height == pytest.approx(-212.136, abs=1e-3)
    return cell


class TestCellsThatCheckEachOther:
    @pytest.mark.filterwarnings("ignore::bayesgmm.errors.DegenerateFitWarning")
    @pytest.mark.parametrize("simpler", [("EII", 4), ("VII", 3)])
    def test_a_poor_optimum_is_left(self, galaxies, poor, simpler):
        better = cell_of(galaxies, *simpler)
        assert poor.height < better.height
        cells = grid._consistent(galaxies, {poor.key: poor, better.key: better}, SETTINGS)
        assert list(cells) == [poor.key, better.key]
        assert cells[poor.key].is_sound
        assert cells[poor.key].height > better.height

    def test_what_cannot_be_mended_is_not_ranked(self, galaxies, poor, monkeypatch):
        better = cell_of(galaxies, "EII", 4)
        monkeypatch.setattr(grid, "_refits", lambda *_given: [])
        cells = grid._consistent(galaxies, {poor.key: poor, better.key: better}, SETTINGS)
        assert not cells[poor.key].is_sound
        assert "EII with 4 components fits better by 3.9 in log-likelihood" in cells[poor.key].why

    def test_a_fit_that_did_not_converge_is_made_again(self, galaxies):
        with pytest.warns(ConvergenceWarning):
            stopped = fit_em(galaxies, 3, structure="VII", seed=0, n_starts=1, max_iter=2)
        cell = Cell(STRUCTURES["VII"], 3, stopped, grid._unsound(stopped))
        assert "before it had converged" in cell.why
        cells = grid._consistent(galaxies, {cell.key: cell, ("EII", 3): cell_of(galaxies, "EII", 3)}, SETTINGS)
        assert cells["VII", 3].is_sound
        assert cells["VII", 3].height > cells["EII", 3].height


def test_a_component_is_cut_across_its_longest_axis(faithful_em):
    shares = faithful_em.responsibilities()
    cut = grid._cut_in_two(faithful_em, 1)
    np.testing.assert_allclose(cut[:, 0], shares[:, 0])
    np.testing.assert_allclose(cut[:, 1] + cut[:, 2], shares[:, 1])
    assert np.all((cut[:, 1] == 0.0) | (cut[:, 2] == 0.0))
    assert 0.3 < cut[:, 1].sum() / shares[:, 1].sum() < 0.7


class TestCellsThatCannotBeFitted:
    def test_collinear_columns(self):
        x = np.random.default_rng(0).normal(size=50)
        prepared = prepare(pd.DataFrame({"x": x, "y": 2 * x}))
        found = fit_grid(prepared, [1], [STRUCTURES["VVV"], STRUCTURES["VVI"]], criterion="bic", settings=SETTINGS)
        full, diagonal = found
        assert full.fit is None
        assert "linear combinations" in full.why
        assert np.isnan(full.criteria["bic"])
        assert diagonal.is_sound

    def test_too_few_rows(self):
        prepared = prepare(np.random.default_rng(0).normal(size=(5, 2)))
        found = fit_grid(prepared, [1, 2, 9], [STRUCTURES["EII"]], criterion="bic", settings=SETTINGS)
        assert found[0].is_sound
        assert "5 rows cannot support n_components=9" in found[2].why

    def test_spikes(self):
        """Three groups of equal rows each: whatever has a volume of its own collapses."""
        x = np.repeat([0.0, 1.0, 5.0], 4)
        prepared = prepare(x[:, None])
        (cell,) = fit_grid(prepared, [3], [STRUCTURES["VII"]], criterion="bic", settings=SETTINGS)
        assert not cell.is_sound
        assert cell.height == -np.inf
