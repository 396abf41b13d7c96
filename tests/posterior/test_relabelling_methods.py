"""Every method undoes what was shuffled and minimises what it says; where labels mean nothing all of them say so."""

import itertools

import numpy as np
import pytest

from bayesgmm.errors import ArgumentError
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.matching import hellinger_cost, wasserstein_cost
from bayesgmm.posterior.relabel import METHODS, relabel
from bayesgmm.posterior.relabelling_methods import Rows, agree, best_draw, order_by_column, pivot
from tests.conftest import jitter
from tests.examples import random_mixture
from tests.posterior.test_relabel import DRAWS, REFERENCE, X, overlapping, shuffled
from tests.tolerances import ALGEBRA, EXACT, assert_close

ORDERS = [list(order) for order in itertools.permutations(range(3))]
FREE = [method for method in METHODS if method != "em"]
# Equal means, so that only covariances tell the components apart; the first is the heavier.
NESTED = Mixture([0.6, 0.4], np.zeros((2, 2)), [0.2 * np.eye(2), 6.0 * np.eye(2)])
OVERLAPPING = random_mixture(3, 2, seed=5)


def batch_of(mixture, count):
    return Mixture(*(np.stack([getattr(mixture, name)] * count)[None] for name in ("weights", "means", "covariances")))


def divergence(shares, permutations, weights=1.0):
    """Return Stephens's objective: the mean divergence of permuted responsibilities from their average."""
    permuted = np.take_along_axis(shares, permutations[:, None, :], axis=-1)
    consensus = np.maximum(permuted.mean(axis=0), 1e-300)
    terms = np.where(permuted > 0, permuted * np.log(np.maximum(permuted, 1e-300) / consensus), 0.0)
    return float((terms.sum(axis=-1) * weights).sum(axis=-1).mean())


class TestEveryMethod:
    @pytest.mark.parametrize("method", FREE)
    def test_shuffled_draws_are_put_in_order(self, method):
        centres = np.array([[0.0, 0.0], [6.0, 1.0], [12.0, 0.0]])
        row_of_three = Mixture([0.5, 0.3, 0.2], centres, [np.eye(2)] * 3)
        rows, _ = row_of_three.sample(200, seed=0)
        draws = jitter(row_of_three, 200, chains=2, draws=20)
        found = relabel(shuffled(draws)[0], rows, method=method)
        np.testing.assert_array_equal(found.mixture.means, draws.means)
        assert found.method == method
        assert found.quality.ambiguous_share == 0

    @pytest.mark.parametrize("method", ["stephens", "ecr", "pivot"])
    def test_equal_means_are_no_obstacle(self, method):
        rows, _ = NESTED.sample(200, seed=0)
        draws = jitter(NESTED, 200, chains=2, draws=20)
        found = relabel(shuffled(draws)[0], rows, method=method)
        np.testing.assert_array_equal(found.mixture.covariances, draws.covariances)
        assert not found.quality.labels_are_doubtful

    @pytest.mark.parametrize("method", FREE)
    def test_the_result_does_not_depend_on_how_draws_were_numbered(self, method):
        draws = jitter(OVERLAPPING, 80, chains=2, draws=25)
        found = [relabel(shuffled(draws, seed)[0], X, method=method) for seed in (0, 1)]
        np.testing.assert_array_equal(found[0].mixture.means, found[1].mixture.means)
        assert_close(found[0].quality.margins, found[1].quality.margins, ALGEBRA)

    @pytest.mark.parametrize("method", FREE)
    def test_what_is_returned_are_the_draws_permuted(self, method):
        mixed, _ = shuffled(jitter(OVERLAPPING, 80))
        found = relabel(mixed, X, method=method)
        for name in ("weights", "means", "covariances"):
            expected = getattr(mixed.permute(found.permutations), name)
            np.testing.assert_array_equal(getattr(found.mixture, name), expected)

    @pytest.mark.parametrize("method", ["stephens", "ecr", "pivot"])
    def test_names_go_by_weight_or_by_the_reference(self, method):
        mixed, _ = shuffled(DRAWS)
        weights = relabel(mixed, X, method=method).mixture.weights.mean(axis=(0, 1))
        assert np.all(np.diff(weights) < 0)
        order = [2, 0, 1]
        found = relabel(mixed, X, method=method, reference=REFERENCE.permute(order))
        np.testing.assert_array_equal(found.mixture.means, DRAWS.permute(order).means)

    @pytest.mark.parametrize("method", FREE)
    def test_blocks_equal_the_whole(self, method, monkeypatch):
        mixed, _ = shuffled(jitter(OVERLAPPING, 80))
        whole = relabel(mixed, X, method=method)
        monkeypatch.setattr("bayesgmm.posterior.relabelling_methods.BLOCK", 1)
        found = relabel(mixed, X, method=method)
        np.testing.assert_array_equal(found.permutations, whole.permutations)
        assert_close(found.quality.margins, whole.quality.margins, ALGEBRA)

    @pytest.mark.parametrize("method", ["stephens", "ecr", "pivot", "order"])
    def test_components_on_top_of_each_other_are_doubtful(self, method):
        rows = np.random.default_rng(0).normal(size=(60, 2))
        assert relabel(overlapping(), rows, method=method).quality.labels_are_doubtful

    @pytest.mark.parametrize("method", ["stephens", "ecr", "pivot"])
    def test_whole_weights_are_repeated_rows(self, method):
        counts = np.random.default_rng(0).integers(0, 3, size=300)
        mixed, _ = shuffled(jitter(OVERLAPPING, 80))
        found = relabel(mixed, X, method=method, sample_weight=counts)
        repeated = relabel(mixed, np.repeat(X, counts, axis=0), method=method)
        np.testing.assert_array_equal(found.permutations, repeated.permutations)
        assert_close(found.quality.margins, repeated.quality.margins, ALGEBRA)


class TestStephens:
    @pytest.mark.parametrize("seed", range(5))
    def test_is_the_best_of_all_permutations_of_few_draws(self, seed):
        # Components that are three standard deviations apart.
        closer = Mixture(REFERENCE.weights, 0.5 * REFERENCE.means, REFERENCE.covariances)
        mixed, _ = shuffled(jitter(closer, 40, chains=1, draws=4, seed=seed))
        rows = 0.5 * X[:40]
        found = relabel(mixed, rows, method="stephens")
        shares = mixed.responsibilities(rows)[0]
        # Renaming all draws alike changes nothing: the first keeps its names.
        every = itertools.product([ORDERS[0]], ORDERS, ORDERS, ORDERS)
        lowest = min(divergence(shares, np.array(permutations)) for permutations in every)
        assert divergence(shares, found.permutations[0]) == pytest.approx(lowest, rel=ALGEBRA)

    @pytest.mark.parametrize("seed", range(4))
    def test_no_single_draw_would_gain_by_another_permutation(self, seed):
        draws = random_mixture(4, 2, batch=(1, 25), seed=seed)
        found = relabel(draws, X, method="stephens").permutations[0]
        shares = draws.responsibilities(X)[0]
        consensus = np.take_along_axis(shares, found[:, None, :], axis=-1).mean(axis=0)
        for share, chosen in zip(shares, found, strict=True):
            gains = [np.sum(share[:, list(order)] * np.log(consensus)) for order in itertools.permutations(range(4))]
            assert np.sum(share[:, chosen] * np.log(consensus)) == pytest.approx(max(gains), rel=ALGEBRA)


class TestEcr:
    def test_no_single_draw_would_agree_better_with_the_most_frequent_allocation(self):
        mixed, _ = shuffled(jitter(OVERLAPPING, 40, chains=1, draws=30))
        found = relabel(mixed, X, method="ecr").permutations[0]
        allocations = mixed.responsibilities(X)[0].argmax(axis=-1)
        renamed = np.array([np.argsort(p)[z] for p, z in zip(found, allocations, strict=True)])
        usual = np.array([np.bincount(column, minlength=3).argmax() for column in renamed.T])
        for z, chosen in zip(allocations, found, strict=True):
            agreements = [np.sum(np.argsort(order)[z] == usual) for order in ORDERS]
            assert np.sum(np.argsort(chosen)[z] == usual) == max(agreements)


class TestByParameters:
    def test_pivot_has_the_closest_parameters(self):
        draws = jitter(OVERLAPPING, 40, chains=1, draws=15)[0]
        found = pivot(draws, OVERLAPPING)
        lower = np.tril_indices(2)
        sd = np.sqrt(np.diagonal(draws.covariances, axis1=-2, axis2=-1).mean(axis=(0, 1)))

        def vectors(mixture):
            covariances = (mixture.covariances / np.outer(sd, sd))[..., lower[0], lower[1]]
            return np.concatenate([mixture.weights[..., None], mixture.means / sd, covariances], axis=-1)

        target = vectors(OVERLAPPING)
        for draw, chosen in zip(vectors(draws), found, strict=True):
            distances = [np.sum((draw[order] - target) ** 2) for order in ORDERS]
            assert np.sum((draw[chosen] - target) ** 2) == pytest.approx(min(distances), rel=ALGEBRA)

    def test_pivot_does_not_depend_on_the_units(self):
        draws, scale = shuffled(jitter(OVERLAPPING, 40))[0], np.array([1e-6, 1e4])
        found = relabel(draws, X, method="pivot")
        scaled = relabel(draws.affine(scale, 5.0), X * scale + 5.0, method="pivot")
        np.testing.assert_array_equal(scaled.permutations, found.permutations)

    def test_the_best_draw_has_the_largest_likelihood(self):
        draws = jitter(OVERLAPPING, 40, chains=1, draws=15)[0]
        weights = np.random.default_rng(0).random(300)
        best = best_draw(draws, Rows(X, weights))
        assert_close(best.log_density(X) @ weights, (draws.log_density(X) @ weights).max(), EXACT)

    def test_order_sorts_the_means_of_the_column(self):
        draws = DRAWS.flatten()
        for position, column in enumerate(draws.features):
            means = draws.permute(order_by_column(draws, column)).means
            assert np.all(np.diff(means[:, :, position], axis=1) >= 0)

    def test_order_takes_the_column_that_separates(self):
        wide = Mixture([0.5, 0.5], [[0.0, 9.0], [5.0, 0.0]], [np.diag([100.0, 1.0])] * 2)
        draws = batch_of(wide, 6)[0]
        np.testing.assert_array_equal(order_by_column(draws, None), np.tile([1, 0], (6, 1)))


class TestQuality:
    def test_two_components_for_one_cluster_are_seen(self):
        # The third component owns a few rows in the middle of the first cluster.
        doubled = Mixture([0.5, 0.1, 0.4], [[0.0, 0.0], [0.0, 0.0], [9.0, 0.0]], [np.eye(2)] * 3)
        rows, _ = doubled.sample(200, seed=0)
        apart = Mixture([0.5, 0.1, 0.4], [[0.0, 0.0], [0.0, 9.0], [9.0, 0.0]], [np.eye(2)] * 3)
        both = Mixture(
            *(
                np.concatenate([getattr(batch_of(m, 5), name) for m in (doubled, apart)])
                for name in ("weights", "means", "covariances")
            )
        )
        quality = relabel(both, rows, method="em", reference=doubled).quality
        assert quality.non_permutation_share == 0.5
        assert "two components nearest to one name in 50.0%" in str(quality)

    def test_a_component_without_rows_collides_with_nothing(self):
        empty = Mixture([0.6, 1e-9, 0.4], [[0.0, 0.0], [0.5, 0.5], [9.0, 0.0]], [np.eye(2)] * 3)
        rows, _ = empty.sample(100, seed=0)
        assert relabel(batch_of(empty, 5), rows, method="stephens").quality.non_permutation_share == 0

    def test_a_permutation_that_shares_fewer_rows_has_a_negative_margin(self):
        # Sorted by the means, the nested components are exchanged whenever noise says so.
        rows, _ = NESTED.sample(200, seed=0)
        quality = relabel(jitter(NESTED, 200, chains=2, draws=50), rows, method="order", order_by="x0").quality
        assert quality.margins.min() < -0.01
        assert quality.labels_are_doubtful

    def test_what_changed_is_told_against_most_draws(self):
        renamed = DRAWS.permute([1, 2, 0])
        assert relabel(renamed, X, method="stephens").quality.changed_share == 0
        assert relabel(renamed, X, reference=REFERENCE).quality.changed_share == 1

    def test_table_by_chain(self):
        quality = relabel(shuffled(DRAWS)[0], X, method="stephens").quality
        table = quality.by_chain
        assert table.index.tolist() == [0, 1, 2]
        np.testing.assert_array_equal(table["changed_share"], quality.changed_by_chain)
        assert np.all(table["margin_5%"] <= table["margin_50%"])

    def test_table_of_a_single_component(self):
        one = random_mixture(1, 2)
        assert np.all(np.isposinf(relabel(jitter(one, 50), X, method="stephens").quality.by_chain["margin_50%"]))


class TestDistances:
    DISTANCES = ("hellinger", "wasserstein")

    @pytest.mark.parametrize("cost", DISTANCES)
    @pytest.mark.parametrize(("truth", "seed"), [(NESTED, 0), (REFERENCE, 1)])
    def test_shuffled_draws_are_put_in_order(self, cost, truth, seed):
        rows, _ = truth.sample(200, seed=seed)
        draws = jitter(truth, 200, chains=2, draws=20)
        found = relabel(shuffled(draws)[0], rows, cost=cost, reference=truth)
        np.testing.assert_array_equal(found.mixture.covariances, draws.covariances)
        assert found.quality.ambiguous_share == 0

    @pytest.mark.parametrize("cost", DISTANCES)
    def test_is_the_cheapest_of_all_permutations(self, cost):
        mixed, _ = shuffled(jitter(OVERLAPPING, 80, chains=1, draws=25))
        found = relabel(mixed, X, cost=cost, reference=OVERLAPPING)
        flat, reference = mixed.flatten(), OVERLAPPING
        if cost == "hellinger":
            costs = hellinger_cost(reference, flat)
        else:
            scale = np.sqrt(1.0 / np.diagonal(flat.covariances, axis1=-2, axis2=-1).mean(axis=(0, 1)))
            costs = wasserstein_cost(reference.affine(scale, 0.0), flat.affine(scale, 0.0))
        totals = np.stack([costs[:, range(3), order].sum(axis=1) for order in ORDERS], axis=1)
        np.testing.assert_array_equal(found.permutations[0], np.array(ORDERS)[totals.argmin(axis=1)])

    @pytest.mark.parametrize("cost", DISTANCES)
    def test_does_not_depend_on_the_units(self, cost):
        # Apart in the first column, which has the small unit then, and hardly in the second.
        apart, scale = Mixture([0.5, 0.5], [[0.0, 0.0], [3.0, 0.2]], [np.eye(2)] * 2), np.array([1e-3, 1e4])
        draws = jitter(apart, 60)
        found = relabel(draws, X, cost=cost, reference=apart)
        scaled = relabel(draws.affine(scale, 5.0), X * scale + 5.0, cost=cost, reference=apart.affine(scale, 5.0))
        np.testing.assert_array_equal(found.permutations, scaled.permutations)
        assert found.quality.changed_share == 0

    @pytest.mark.parametrize("cost", DISTANCES)
    def test_blocks_equal_the_whole(self, cost, monkeypatch):
        mixed, _ = shuffled(jitter(OVERLAPPING, 80))
        whole = relabel(mixed, X, cost=cost, reference=OVERLAPPING)
        monkeypatch.setattr("bayesgmm.posterior.relabelling_methods.BLOCK", 1)
        found = relabel(mixed, X, cost=cost, reference=OVERLAPPING)
        np.testing.assert_array_equal(found.permutations, whole.permutations)


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"method": "kmeans"}, "use 'em', 'stephens', 'ecr', 'pivot', 'order'"),
            ({"method": "order", "reference": REFERENCE}, "method='order' takes names from the means"),
            ({"method": "order", "order_by": "height"}, "order_by='height' is not a column; use one of x0, x1"),
            ({"method": "ecr", "order_by": "x0"}, "order_by='x0' is for method='order', not for 'ecr'"),
            ({"method": "ecr", "cost": "hellinger"}, "cost='hellinger' is for method='em', not for 'ecr'"),
            ({"cost": "euclid"}, "cost='euclid' is not known; use 'overlap', 'hellinger', 'wasserstein'"),
            ({"method": "ecr", "reference": random_mixture(2, 2)}, "do not fit together"),
        ],
    )
    def test_what_contradicts_itself(self, options, match):
        with pytest.raises(ArgumentError, match=match):
            relabel(DRAWS, X, **options)


def test_agreement_is_reached_from_any_start():
    mixed, _ = shuffled(DRAWS)
    flat, rows = mixed.flatten(), Rows(X)
    for start in (0, 7, 30):
        found = agree(flat, rows, [flat[start].responsibilities(X)], "stephens")
        spread = flat.permute(found).means.std(axis=0)
        assert spread.max() < 0.5
