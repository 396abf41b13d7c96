"""The matcher against enumeration of all permutations; distances between Gaussians against integrals."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import integrate, linalg, stats

from bayesgmm.mixture import Mixture
from bayesgmm.posterior.matching import (
    assign,
    bhattacharyya_coefficients,
    hellinger_cost,
    overlap_cost,
    wasserstein_cost,
)
from tests.examples import random_mixture
from tests.tolerances import ALGEBRA, EXACT, assert_close


def by_enumeration(cost):
    """Return the cheapest permutation, its cost, and how much more the next one costs."""
    k = len(cost)
    every = sorted((sum(cost[j, p[j]] for j in range(k)), p) for p in itertools.permutations(range(k)))
    margin = every[1][0] - every[0][0] if k > 1 else math.inf
    return every[0][1], every[0][0], margin


class TestAssign:
    @pytest.mark.parametrize("k", range(1, 7))
    @pytest.mark.parametrize("scale", [1.0, 1e-9, 1e9])
    def test_is_the_best_of_all_permutations(self, k, scale):
        costs = scale * np.random.default_rng(k).random((12, k, k))
        found = assign(costs)
        for s, cost in enumerate(costs):
            permutation, best, margin = by_enumeration(cost)
            assert tuple(found.permutations[s]) == permutation
            assert_close(found.costs[s], best, EXACT)
            assert found.margins[s] == pytest.approx(margin, rel=ALGEBRA, abs=EXACT * scale)

    @settings(deadline=None, derandomize=True, max_examples=200)
    @given(hnp.arrays(float, (4, 4), elements=st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0])))
    def test_ties_have_no_margin(self, cost):
        found = assign(cost[None])
        _, best, margin = by_enumeration(cost)
        assert found.costs[0] == best
        assert found.margins[0] == margin

    def test_a_permutation_of_the_components_is_found(self):
        cost = np.random.default_rng(3).random((5, 5)) + 2.0 * (1 - np.eye(5))
        order = np.array([3, 0, 4, 1, 2])
        # Component order[j] of the reference is put at j, so that j must be called order[j] again.
        found = assign(cost[None, :, order])
        np.testing.assert_array_equal(order[found.permutations[0]], np.arange(5))

    def test_no_mixtures_are_no_error(self):
        found = assign(np.empty((0, 3, 3)))
        assert (found.permutations.shape, found.costs.shape, found.margins.shape) == ((0, 3), (0,), (0,))


class TestOverlap:
    def hard(self, labels, k=3):
        return np.eye(k)[labels]

    def test_equal_partitions_cost_nothing(self):
        held = self.hard([0, 1, 1, 2])
        np.testing.assert_array_equal(overlap_cost(held, held[None])[0], 1 - np.eye(3))

    def test_counts_the_share_of_rows_that_go_elsewhere(self):
        reference, other = self.hard([0, 0, 0, 0, 1, 2]), self.hard([0, 0, 0, 1, 1, 1])
        expected = [[0.25, 0.75, 1], [1, 0, 1], [1, 0, 1]]
        np.testing.assert_array_equal(overlap_cost(reference, other[None])[0], expected)

    def test_is_the_sum_written_out(self):
        rng = np.random.default_rng(0)
        reference, others = rng.dirichlet(np.ones(3), 20), rng.dirichlet(np.ones(3), (4, 20))
        weights = rng.random(20)
        found = overlap_cost(reference, others, weights)
        for s, j, k in np.ndindex(found.shape):
            share = sum(weights * reference[:, j] * others[s, :, k]) / sum(weights * reference[:, j])
            assert_close(found[s, j, k], 1 - share, EXACT)

    def test_costs_of_a_component_leave_one_behind(self):
        rng = np.random.default_rng(0)
        found = overlap_cost(rng.dirichlet(np.ones(4), 20), rng.dirichlet(np.ones(4), (5, 20)))
        assert_close(found.sum(axis=2), np.full((5, 4), 3.0), EXACT)
        assert found.min() >= 0
        assert found.max() <= 1

    def test_weights_count_as_repeated_rows(self):
        rng = np.random.default_rng(0)
        reference, others = rng.dirichlet(np.ones(3), 6), rng.dirichlet(np.ones(3), (4, 6))
        counts = np.array([0, 1, 2, 3, 0, 1])
        repeated = overlap_cost(np.repeat(reference, counts, axis=0), np.repeat(others, counts, axis=1))
        assert_close(overlap_cost(reference, others, counts), repeated, EXACT)

    def test_a_component_without_rows_costs_the_same_everywhere(self):
        found = overlap_cost(self.hard([0, 1, 1]), self.hard([0, 1, 2])[None])
        np.testing.assert_array_equal(found[0, 2], [1, 1, 1])


class TestHellinger:
    @pytest.mark.parametrize(
        ("mean_a", "sd_a", "mean_b", "sd_b"), [(0, 1, 0, 1), (0, 1, 3, 1), (0, 1, 0, 4), (-2, 0.5, 1, 3)]
    )
    def test_is_the_integral_in_one_dimension(self, mean_a, sd_a, mean_b, sd_b):
        p, q = stats.norm(mean_a, sd_a), stats.norm(mean_b, sd_b)
        overlap, _ = integrate.quad(lambda x: np.sqrt(p.pdf(x) * q.pdf(x)), -30, 30, epsabs=1e-12, limit=200)
        found = bhattacharyya_coefficients(
            np.array([mean_a]), np.array([[sd_a**2]]), np.array([mean_b]), np.array([[sd_b**2]])
        )
        assert_close(found, overlap, ALGEBRA)
        # Half the squared distance of the roots of the densities is the other way to write it.
        distance, _ = integrate.quad(
            lambda x: 0.5 * (np.sqrt(p.pdf(x)) - np.sqrt(q.pdf(x))) ** 2, -30, 30, epsabs=1e-12, limit=200
        )
        assert 1 - found == pytest.approx(distance, abs=ALGEBRA)

    def test_is_the_integral_over_the_plane(self):
        mixture = random_mixture(2, 2, seed=4)
        grid = np.linspace(-25, 25, 1001)
        X = np.stack(np.meshgrid(grid, grid), axis=-1)
        densities = [
            stats.multivariate_normal(m, c).pdf(X) for m, c in zip(mixture.means, mixture.covariances, strict=True)
        ]
        overlap = np.sqrt(densities[0] * densities[1]).sum() * (grid[1] - grid[0]) ** 2
        assert_close(hellinger_cost(mixture, mixture)[0, 0, 1], 1 - overlap, ALGEBRA)

    @pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
    def test_costs_are_those_of_every_pair(self, batch):
        reference, others = random_mixture(3, 2, seed=1), random_mixture(3, 2, batch=batch, seed=2)
        costs, flat = hellinger_cost(reference, others), others.flatten()
        assert costs.shape == (others.n_mixtures, 3, 3)
        for s, j, k in np.ndindex(costs.shape):
            expected = 1 - bhattacharyya_coefficients(
                reference.means[j], reference.covariances[j], flat.means[s, k], flat.covariances[s, k]
            )
            assert_close(costs[s, j, k], expected, EXACT)

    def test_is_symmetric_and_does_not_depend_on_the_units(self):
        a, b = random_mixture(3, 2, seed=1), random_mixture(3, 2, seed=2)
        costs = hellinger_cost(a, b)
        assert_close(hellinger_cost(b, a), np.swapaxes(costs, 1, 2), EXACT)
        scale, shift = np.array([1e-6, 1e3]), np.array([5.0, -1e3])
        assert_close(hellinger_cost(a.affine(scale, shift), b.affine(scale, shift)), costs, ALGEBRA)

    def test_is_nothing_between_equals_and_all_between_strangers(self):
        for seed in range(20):
            mixture = random_mixture(3, 4, seed=seed)
            own = np.diagonal(hellinger_cost(mixture, mixture)[0])
            # Never below zero, where a square root would be NaN.
            assert np.all((own >= 0) & (own < ALGEBRA))
        apart = hellinger_cost(mixture, mixture.affine(1.0, 1e6))
        np.testing.assert_array_equal(apart, np.ones((1, 3, 3)))

    def test_leading_dimensions_are_broadcast(self):
        mixture, one = random_mixture(5, 2), np.eye(2)
        spread = bhattacharyya_coefficients(mixture.means, one, np.zeros(2), one)
        assert_close(spread, np.exp(-np.sum(mixture.means**2, axis=1) / 8), EXACT)

    def test_permuted_components_are_matched(self):
        reference = random_mixture(4, 3)
        orders = np.array(list(itertools.permutations(range(4))))
        copies = [np.stack([getattr(reference, name)] * 24) for name in ("weights", "means", "covariances")]
        stacked = Mixture(*copies).permute(orders)
        found = assign(hellinger_cost(reference, stacked))
        np.testing.assert_array_equal(
            np.take_along_axis(orders, found.permutations, axis=1), np.tile(range(4), (24, 1))
        )
        assert found.margins.min() > 0


class TestWasserstein:
    @pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
    def test_is_that_of_matrix_square_roots(self, batch):
        reference, others = random_mixture(3, 2, seed=1), random_mixture(3, 2, batch=batch, seed=2)
        costs, flat = wasserstein_cost(reference, others), others.flatten()
        assert costs.shape == (others.n_mixtures, 3, 3)
        for s, j, k in np.ndindex(costs.shape):
            a, b = reference.covariances[j], flat.covariances[s, k]
            root = linalg.sqrtm(a)
            cross = np.real(linalg.sqrtm(root @ b @ root))
            offset = reference.means[j] - flat.means[s, k]
            assert costs[s, j, k] == pytest.approx(offset @ offset + np.trace(a + b - 2 * cross), rel=ALGEBRA)

    def test_in_one_dimension_means_and_standard_deviations_are_coordinates(self):
        a, b = random_mixture(3, 1, seed=1), random_mixture(3, 1, seed=2)
        sds = [np.sqrt(mixture.covariances[:, 0, 0]) for mixture in (a, b)]
        expected = (a.means - b.means.T) ** 2 + (sds[0][:, None] - sds[1]) ** 2
        assert_close(wasserstein_cost(a, b)[0], expected, ALGEBRA)

    def test_is_nothing_between_equals_and_symmetric(self):
        a, b = random_mixture(3, 4, seed=1), random_mixture(3, 4, seed=2)
        own = np.diagonal(wasserstein_cost(a, a)[0])
        assert np.all((own >= 0) & (own < ALGEBRA))
        assert_close(wasserstein_cost(b, a), np.swapaxes(wasserstein_cost(a, b), 1, 2), ALGEBRA)


def test_overlap_and_hellinger_agree_on_separate_components():
    mixture = random_mixture(3, 2)
    apart = Mixture(mixture.weights, 50.0 * mixture.means, mixture.covariances)
    X, _ = apart.sample(300, seed=1)
    order = np.array([2, 0, 1])
    by_rows = assign(overlap_cost(apart.responsibilities(X), apart.permute(order).responsibilities(X)[None]))
    by_density = assign(hellinger_cost(apart, apart.permute(order)))
    np.testing.assert_array_equal(by_rows.permutations, by_density.permutations)
    np.testing.assert_array_equal(order[by_rows.permutations[0]], np.arange(3))
    # Two exchanged components without rows in common cost two.
    assert_close(by_rows.margins, [2.0], ALGEBRA)
