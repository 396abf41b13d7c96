"""The picture of a selection, read back from the artists."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

from bayesgmm.data import load_dataset
from bayesgmm.errors import ArgumentError
from bayesgmm.plots.selection import _spread, plot_selection
from bayesgmm.plots.style import component_color
from bayesgmm.selection import select


@pytest.fixture(scope="module")
def faithful():
    return select(load_dataset("faithful"), range(1, 6), structures=("full", "tied", "diag", "EII"), n_starts=4, seed=0)


def lines_of(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def test_every_structure_is_a_line(faithful):
    figure, ax = plt.subplots()
    assert plot_selection(faithful, ax) is ax
    lines = lines_of(ax)
    assert list(lines) == ["VVV", "EEE", "VVI", "EII"]
    for code, line in lines.items():
        own = faithful.table[faithful.table["structure"] == code].sort_values("n_components")
        np.testing.assert_array_equal(line.get_xdata(), own["n_components"])
        np.testing.assert_array_equal(line.get_ydata(), own["bic"])
    # Letters: variable volume is drawn in full, equal volume dashed; the colour says the axes.
    assert [line.get_linestyle() for line in lines.values()] == ["-", "--", "-", "--"]
    assert [line.get_color() for line in lines.values()] == [component_color(kind) for kind in (3, 2, 1, 0)]
    figure.canvas.draw()


def test_the_best_cell_has_a_ring_and_its_name(faithful):
    ax = plot_selection(faithful)
    (ring,) = (line for line in ax.lines if line.get_markersize() == 15)
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (3, faithful.best.bic)
    assert "best: EEE, 3" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_criterion(faithful):
    ax = plot_selection(faithful, criterion="icl")
    assert ax.get_ylabel() == "ICL (smaller is better)"
    own = faithful.table[faithful.table["structure"] == "VVV"].sort_values("n_components")
    np.testing.assert_array_equal(lines_of(ax)["VVV"].get_ydata(), own["icl"])
    assert plot_selection(faithful).get_ylabel() == "BIC (smaller is better)"


def test_every_line_is_named_or_said_to_be_off_the_scale(faithful):
    ax = plot_selection(faithful)
    named = {text.get_text() for text in ax.texts}
    (unseen,) = (text.get_text() for text in ax.get_legend().get_texts() if text.get_text().startswith("off"))
    assert named | set(unseen.removeprefix("off the scale: ").split(", ")) == {"VVV", "EEE", "VVI", "EII"}
    lower, upper = ax.get_ylim()
    for code in named:
        assert (faithful.table.loc[faithful.table["structure"] == code, "bic"] <= upper).any()
    assert lower < faithful.best.bic


def test_cells_that_are_not_ranked_are_crosses():
    x = np.concatenate([np.zeros(5), np.linspace(1.0, 4.0, 30)])
    selection = select(x[:, None], [1, 2, 3], structures="spherical", n_starts=4, seed=0)
    unsound = selection.table[~selection.table["is_sound"] & selection.table["bic"].notna()]
    assert len(unsound)
    (crosses,) = (line for line in plot_selection(selection).lines if line.get_marker() == "x")
    np.testing.assert_array_equal(np.sort(crosses.get_xdata()), np.sort(unsound["n_components"]))


@pytest.mark.parametrize("numbers", [[2], [2, 3]])
def test_small_selections(numbers):
    selection = select(load_dataset("galaxies"), numbers, structures="full", n_starts=2, seed=0)
    plot_selection(selection).figure.canvas.draw()


def test_labels_keep_their_distance():
    assert _spread([], 0.1) == []
    assert _spread([0.4], 0.1) == [0.4]
    moved = _spread([0.5, 0.5, 0.5, 0.9], 0.1)
    np.testing.assert_allclose(moved, [0.4, 0.5, 0.6, 0.9])
    np.testing.assert_allclose(_spread([0.99, 1.0], 0.1), [0.9, 1.0])
    np.testing.assert_allclose(_spread([0.0] * 5, 0.3), [0.0, 0.25, 0.5, 0.75, 1.0])


def test_refusals(faithful):
    with pytest.raises(ArgumentError, match="expected a Selection"):
        plot_selection(faithful.best)
    with pytest.raises(ArgumentError, match="criterion='waic'"):
        plot_selection(faithful, criterion="waic")
