"""The estimated partition against all partitions of a few rows, and against numbers that R's mcclust.ext prints."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from bayesgmm.errors import ArgumentError
from bayesgmm.mixture import Mixture
from bayesgmm.posterior import partitions as partitions_module
from bayesgmm.posterior.partition_losses import LOSSES, sort_by_size
from bayesgmm.posterior.partitions import partition, partition_mixture
from tests.conftest import jitter
from tests.examples import random_mixture
from tests.kernels.test_partitions import by_hand
from tests.tolerances import ALGEBRA, EXACT, assert_close

CENTRES = np.array([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]])
MIXTURE = Mixture([0.5, 0.3, 0.2], CENTRES, [np.eye(2)] * 3)
X, TRUTH = MIXTURE.sample(120, seed=1)


def every_partition(n):
    """Yield all partitions as restricted growth strings."""
    for labels in itertools.product(*(range(i + 1) for i in range(n))):
        if all(labels[i] <= max(labels[:i], default=-1) + 1 for i in range(n)):
            yield np.array(labels)


def noisy_draws(labels, n_draws=60, noise=0.2, seed=0):
    """Draws around a partition: some rows go elsewhere, and clusters are numbered anew in each draw."""
    rng = np.random.default_rng(seed)
    k = labels.max() + 1
    draws = np.where(rng.random((n_draws, len(labels))) < noise, rng.integers(k, size=(n_draws, len(labels))), labels)
    return np.array([rng.permutation(k)[draw] for draw in draws])


def same_partition(a, b):
    return metrics.adjusted_rand_score(a, b) == pytest.approx(1.0)


class TestMinimum:
    def test_there_are_as_many_partitions_as_bell_says(self):
        assert [sum(1 for _ in every_partition(n)) for n in range(1, 8)] == [1, 2, 5, 15, 52, 203, 877]

    @pytest.mark.parametrize("loss", LOSSES)
    @pytest.mark.parametrize(("n", "seed"), [(1, 0), (2, 1), (4, 2), (6, 3), (7, 4), (7, 5), (7, 6)])
    def test_is_the_best_of_all_partitions(self, loss, n, seed):
        draws = np.random.default_rng(seed).integers(3, size=(5, n))
        found = partition(draws, loss)
        lowest = min(found.expected_loss_of(labels) for labels in every_partition(n))
        assert found.expected_loss == pytest.approx(lowest, abs=1e-9)
        assert by_hand(loss, found.labels, draws.T) == pytest.approx(lowest, abs=1e-9)

    @pytest.mark.parametrize("loss", LOSSES)
    def test_is_no_worse_than_any_draw_and_any_cut(self, loss):
        draws = noisy_draws(TRUTH, noise=0.4)
        found = partition(draws, loss)
        others = [*draws, TRUTH, np.zeros(120, dtype=int), np.arange(120)]
        assert all(found.expected_loss <= found.expected_loss_of(other) + EXACT for other in others)

    @pytest.mark.parametrize("loss", LOSSES)
    def test_a_clear_partition_is_found(self, loss):
        found = partition(noisy_draws(TRUTH, noise=0.05), loss)
        assert same_partition(found.labels, TRUTH)
        np.testing.assert_array_equal(found.sizes, np.sort(np.bincount(TRUTH))[::-1])

    def test_equal_draws_are_the_estimate(self):
        found = partition(np.tile(TRUTH, (9, 1)))
        assert same_partition(found.labels, TRUTH)
        assert found.expected_loss == pytest.approx(0.0, abs=EXACT)
        assert found.credible_ball.radius == pytest.approx(0.0, abs=EXACT)


class TestInvariance:
    @settings(deadline=None, derandomize=True, max_examples=25)
    @given(st.integers(0, 10_000), st.sampled_from(list(LOSSES)))
    def test_numbering_and_order_of_rows_do_not_matter(self, seed, loss):
        rng = np.random.default_rng(seed)
        draws = rng.integers(3, size=(6, 8))
        found = partition(draws, loss)
        renamed = np.array([rng.permutation(3)[draw] for draw in draws])
        again = partition(renamed, loss)
        assert again.expected_loss == pytest.approx(found.expected_loss, abs=ALGEBRA)
        order = rng.permutation(8)
        reordered = partition(draws[:, order], loss)
        assert reordered.expected_loss == pytest.approx(found.expected_loss, abs=ALGEBRA)
        assert found.expected_loss_of(np.argsort(order)[order]) == pytest.approx(found.expected_loss_of(range(8)))

    def test_the_same_seed_gives_the_same_result(self):
        draws = noisy_draws(TRUTH, noise=0.7)
        np.testing.assert_array_equal(partition(draws, seed=3).labels, partition(draws, seed=3).labels)

    def test_names_are_as_good_as_numbers(self):
        draws = noisy_draws(TRUTH)
        named = np.array(["left", "right", "top"])[draws]
        for other in (named, named.astype(object), draws - 5, draws * 10**6, draws.astype(float), draws[None]):
            np.testing.assert_array_equal(partition(other, "binder").labels, partition(draws, "binder").labels)

    def test_clusters_are_numbered_by_size(self):
        np.testing.assert_array_equal(sort_by_size(np.array([4, 4, 2, 2, 2, 9, 9, 0])), [1, 1, 0, 0, 0, 2, 2, 3])


class TestLosses:
    @pytest.mark.parametrize("loss", LOSSES)
    def test_of_any_partition_is_its_definition(self, loss):
        draws = noisy_draws(TRUTH[:30], noise=0.5, n_draws=20)
        found = partition(draws, loss, n_runs=1)
        for labels in (TRUTH[:30], np.arange(30), np.zeros(30, dtype=int)):
            assert found.expected_loss_of(labels) == pytest.approx(by_hand(loss, labels, draws.T), abs=ALGEBRA)

    def test_the_lower_bound_is_one_up_to_a_constant(self):
        draws = noisy_draws(TRUTH, noise=0.5)
        exact, bound = partition(draws, "vi", n_runs=1), partition(draws, "vi_lb", n_runs=1)
        # Jensen's inequality works the other way in the part that no partition changes.
        of_the_matrix = np.log2(bound.similarity.sum(axis=1)).mean()
        of_the_draws = np.mean([np.log2(np.bincount(draw)[draw]).mean() for draw in draws])
        for labels in (TRUTH, exact.labels, bound.labels, np.arange(120)):
            lowered = bound.expected_loss_of(labels) - of_the_matrix + of_the_draws
            assert lowered <= exact.expected_loss_of(labels) + ALGEBRA

    def test_distances_to_every_draw(self):
        draws = noisy_draws(TRUTH)
        found = partition(draws, n_runs=1)
        assert_close(found.distances_to(TRUTH).mean(), found.expected_loss_of(TRUTH), EXACT)
        expected = [1 - metrics.adjusted_rand_score(TRUTH, draw) for draw in draws]
        assert_close(found.distances_to(TRUTH, "ari"), expected, ALGEBRA)


class TestLargeTables:
    def test_without_the_matrix_the_exact_losses_stand(self):
        draws = noisy_draws(TRUTH)
        found = partition(draws, max_rows=50)
        assert found.similarity is None
        assert "no similarity matrix: 120 rows are too many" in repr(found)
        assert found.expected_loss == pytest.approx(partition(draws).expected_loss, abs=EXACT)

    @pytest.mark.parametrize("loss", ["vi_lb", "binder"])
    def test_what_needs_the_matrix_works_on_some_rows_and_says_so(self, loss):
        draws = noisy_draws(TRUTH, noise=0.05)
        found = partition(draws, loss, max_rows=50)
        assert (len(found.labels), found.similarity.shape) == (50, (50, 50))
        assert "of 120 rows, 50 chosen at random" in repr(found)
        assert same_partition(found.labels, TRUTH[found.rows])

    def test_fewer_draws_in_the_search_are_said(self, monkeypatch):
        monkeypatch.setattr(partitions_module, "SWEEP_WORK", 1)
        monkeypatch.setattr(partitions_module, "MIN_SEARCH_DRAWS", 15)
        draws = noisy_draws(TRUTH, noise=0.3)
        found = partition(draws)
        assert "the search used 15 of the 60 draws of labels, its last descent all" in repr(found)
        assert found.expected_loss == pytest.approx(by_hand("vi", found.labels, draws.T))

    def test_a_limit_that_binds_is_said(self):
        # Twelve groups that are always together, each draw with five labels for them.
        draws = np.random.default_rng(0).integers(5, size=(40, 12)).repeat(5, axis=1)
        found = partition(draws, "ari", n_runs=2)
        assert found.n_clusters == 10
        assert partition(draws, "ari", max_clusters=20).n_clusters > 10
        assert "no more than 10 clusters" in repr(found)
        assert partition(noisy_draws(TRUTH), max_clusters=2).n_clusters == 2


class TestMixtures:
    def test_a_posterior_gives_its_partition(self):
        found = partition_mixture(jitter(MIXTURE, 120, chains=2, draws=50), X)
        assert same_partition(found.labels, MIXTURE.responsibilities(X).argmax(axis=1))
        assert found.draws.shape == (120, 100)
        assert repr(found).startswith("Partition(120 rows in 3 clusters of sizes ")

    def test_it_does_not_depend_on_how_components_are_numbered(self):
        draws = jitter(random_mixture(3, 2), 60, chains=2, draws=50)
        orders = np.random.default_rng(0).permuted(np.broadcast_to(np.arange(3), draws.weights.shape), axis=-1)
        found, again = (partition_mixture(m, X, "binder") for m in (draws, draws.permute(orders)))
        assert_close(found.similarity, again.similarity, ALGEBRA)
        np.testing.assert_array_equal(found.labels, again.labels)

    def test_drawn_labels_have_the_probabilities(self):
        one = random_mixture(3, 2)
        found = partition_mixture(one, X[:20], n_runs=1)
        shares = one.responsibilities(X[:20])
        assert found.draws.shape == (20, 1000)
        together = (found.draws[:, None] == found.draws[None]).mean(axis=-1)
        expected = shares @ shares.T
        error = np.sqrt(expected * (1 - expected) / 1000) + 1e-3
        apart = ~np.eye(20, dtype=bool)
        assert np.all(np.abs(together - expected)[apart] < 4 * error[apart])
        assert_close(found.similarity[apart], expected[apart], ALGEBRA)

    def test_fewer_draws_are_said(self, monkeypatch):
        monkeypatch.setattr(partitions_module, "MAX_LABELS", 120 * 10)
        monkeypatch.setattr(partitions_module, "SIMILARITY_WORK", 120**2 * 3 * 20)
        found = partition_mixture(jitter(MIXTURE, 120, chains=2, draws=50), X)
        assert found.draws.shape == (120, 10)
        assert found.notes == (
            "labels were drawn from 10 of the 100 draws", "the similarity matrix is of 20 of the 100 draws"
        )  # fmt: skip

    def test_blocks_do_not_change_the_posterior(self, monkeypatch):
        draws = jitter(MIXTURE, 120, chains=2, draws=50)
        whole = partition_mixture(draws, X)
        for module in ("partitions", "similarity"):
            monkeypatch.setattr(f"bayesgmm.posterior.{module}.BLOCK", 1)
        found = partition_mixture(draws, X)
        assert_close(found.similarity, whole.similarity, ALGEBRA)
        np.testing.assert_array_equal(found.draws, whole.draws)


class TestRefusals:
    DRAWS = noisy_draws(TRUTH[:10], n_draws=4)

    @pytest.mark.parametrize(
        ("draws", "options", "match"),
        [
            (DRAWS, {"loss": "squared"}, "loss='squared' is not known; use 'vi', 'vi_lb', 'binder', 'ari'"),
            (DRAWS, {"n_runs": 0}, "n_runs=0 must be a whole number, at least 1"),
            (DRAWS, {"max_clusters": 1.5}, "max_clusters=1.5 must be a whole number"),
            (DRAWS, {"prob": 1.0}, "prob=1.0 must lie between 0 and 1"),
            (DRAWS[0], {}, r"label_draws has shape \(10,\)"),
            (np.empty((0, 4)), {}, r"label_draws has shape \(0, 4\)"),
            (DRAWS + 0.5, {}, "label_draws holds numbers that are not whole"),
            (np.where(DRAWS == 1, np.nan, DRAWS), {}, "label_draws holds numbers that are not whole"),
            (DRAWS.astype(complex), {}, "label_draws is an array of complex128"),
            (np.where(DRAWS == 1, None, DRAWS.astype(object)), {}, "neither a whole number nor a name"),
        ],
    )
    def test_what_cannot_be_a_posterior_of_labels(self, draws, options, match):
        with pytest.raises(ArgumentError, match=match):
            partition(draws, **options)

    def test_a_partition_of_other_rows(self):
        found = partition(self.DRAWS)
        with pytest.raises(ArgumentError, match=r"labels has shape \(9,\); this partition has 10 rows"):
            found.expected_loss_of(np.zeros(9))
        with pytest.raises(ArgumentError, match="distance='euclid' is not known"):
            found.distances_to(np.zeros(10), "euclid")
