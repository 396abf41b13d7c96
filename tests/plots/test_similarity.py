"""The picture of the similarity matrix and of the credible ball, read back from the artists."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

from bayesgmm.errors import ArgumentError
from bayesgmm.plots import plot_credible_ball, plot_similarity
from bayesgmm.plots import similarity as similarity_module
from bayesgmm.plots.similarity import _match_colours
from bayesgmm.posterior.partitions import partition, partition_mixture


@pytest.fixture(scope="module")
def faithful_partition(faithful_draws):
    return partition_mixture(faithful_draws.mixture, faithful_draws.prepared.values)


@pytest.fixture(scope="module")
def galaxies_partition(galaxies_draws):
    return partition_mixture(galaxies_draws.mixture, galaxies_draws.prepared.values)


class TestSimilarity:
    def test_draws_on_the_axes_it_is_given(self, faithful_partition):
        figure, ax = plt.subplots()
        assert plot_similarity(faithful_partition, ax=ax) is ax
        figure.canvas.draw()

    @pytest.mark.parametrize("name", ["faithful_draws", "faithful_em", "faithful_check"])
    def test_of_a_fit_the_partition_is_estimated_first(self, name, request):
        assert "272 in 2 clusters" in plot_similarity(request.getfixturevalue(name)).get_xlabel()

    def test_rows_go_by_cluster_and_by_how_sure_they_are(self, galaxies_partition):
        ax = plot_similarity(galaxies_partition)
        shown = ax.images[0].get_array()
        size = galaxies_partition.sizes[0]
        assert shown[:size, :size].mean() > shown[:size, size:].mean()
        within = shown[:size, :size].mean(axis=1)
        assert np.all(np.diff(within) <= 1e-12)
        np.testing.assert_allclose(np.sort(shown, axis=None), np.sort(galaxies_partition.similarity, axis=None))
        assert ax.lines[0].get_ydata()[0] == size - 0.5

    def test_large_tables_are_thinned(self, faithful_partition, monkeypatch):
        monkeypatch.setattr(similarity_module, "MAX_SHOWN", 50)
        ax = plot_similarity(faithful_partition)
        assert ax.images[0].get_array().shape == (50, 50)
        assert "50 of the rows are drawn" in ax.get_xlabel()

    def test_refuses_what_has_no_matrix(self):
        found = partition([[0, 0, 1], [0, 1, 1]], max_rows=2)
        with pytest.raises(ArgumentError, match="no similarity matrix to draw: no similarity matrix: 3 rows"):
            plot_similarity(found)

    def test_refuses_what_is_no_fit(self):
        with pytest.raises(ArgumentError, match="expected a fit or a comparison, found str"):
            plot_similarity("faithful")


class TestCredibleBall:
    @pytest.mark.parametrize("name", ["faithful", "galaxies"])
    def test_every_row_is_in_every_panel(self, name, request):
        found, fit = (request.getfixturevalue(f"{name}_{what}") for what in ("partition", "draws"))
        figure = plot_credible_ball(found, fit)
        figure.canvas.draw()
        panels = [figure.axes[i] for i in (0, 3, 4, 5)]
        for ax in panels:
            assert sum(len(c.get_offsets()) for c in ax.collections) == fit.n_rows

    def test_distances_and_radius(self, faithful_partition, faithful_draws):
        figure = plot_credible_ball(faithful_partition, faithful_draws.prepared)
        ax = figure.axes[1]
        assert sum(bar.get_height() for bar in ax.patches) == len(faithful_partition.credible_ball.distances)
        assert ax.lines[0].get_xdata()[0] == faithful_partition.credible_ball.radius

    def test_takes_the_columns_that_are_named(self, faithful_partition, faithful_draws):
        figure = plot_credible_ball(faithful_partition, faithful_draws, features=["waiting", "eruptions"])
        assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("waiting", "eruptions")
        figure = plot_credible_ball(faithful_partition, faithful_draws, features="waiting")
        assert figure.axes[0].get_ylabel() == "cluster"

    def test_a_cluster_keeps_its_colour(self):
        estimate = np.array([0, 0, 0, 1, 1, 2])
        np.testing.assert_array_equal(_match_colours(estimate, np.array([1, 1, 1, 0, 0, 0])), [0, 0, 0, 1, 1, 1])
        np.testing.assert_array_equal(_match_colours(estimate, np.array([3, 0, 0, 1, 1, 2])), [3, 0, 0, 1, 1, 2])

    def test_refusals(self, faithful_partition, faithful_draws, galaxies_draws):
        with pytest.raises(ArgumentError, match="expected a Partition, found MixtureFit"):
            plot_credible_ball(faithful_draws, faithful_draws)
        with pytest.raises(ArgumentError, match="the partition is of 272 rows, data has 82"):
            plot_credible_ball(faithful_partition, galaxies_draws)
        with pytest.raises(ArgumentError, match="name one or two of the columns eruptions, waiting"):
            plot_credible_ball(faithful_partition, faithful_draws, features=["height"])
