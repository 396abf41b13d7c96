"""Mixture: identities of densities and their transformations, with SciPy and scikit-learn as a second route."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import integrate, special, stats
from sklearn.mixture import GaussianMixture as SklearnMixture

from bayesgmm.errors import ArgumentError
from bayesgmm.mixture import Mixture, default_features, log_sum_exp, simulate
from bayesgmm.mixture import value as mixture_module
from tests.examples import random_mixture, random_rows
from tests.tolerances import ALGEBRA, EXACT, assert_close, assert_within_errors

SHAPES = [(1, 1), (3, 1), (1, 3), (3, 2), (4, 5)]
BATCHES = [(), (5,), (2, 3)]


def assert_same_mixture(found, expected, tolerance=0.0):
    assert found.features == expected.features
    for name in ("weights", "means", "covariances"):
        assert_close(getattr(found, name), getattr(expected, name), tolerance)


def densities_by_scipy(mixture, X):
    """Return w_k N(x; mu_k, Sigma_k) of a single mixture, shape (n, K)."""
    parts = zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    return np.stack([w * stats.multivariate_normal(m, c).pdf(X).reshape(len(X)) for w, m, c in parts], axis=1)


def as_sklearn(mixture):
    """Return scikit-learn's estimator with these parameters; it is never fitted."""
    other = SklearnMixture(mixture.n_components)
    other.weights_, other.means_, other.covariances_ = mixture.weights, mixture.means, mixture.covariances
    other.precisions_cholesky_ = np.swapaxes(np.linalg.inv(np.linalg.cholesky(mixture.covariances)), -1, -2)
    return other


def every(mixture):
    """Yield the single mixtures of a batch, with their index."""
    for index in np.ndindex(mixture.batch_shape):
        yield index, mixture[index] if index else mixture


class TestDensities:
    @pytest.mark.parametrize(("k", "d"), SHAPES)
    @pytest.mark.parametrize("batch", BATCHES)
    def test_log_joint_is_that_of_scipy(self, k, d, batch):
        mixture, X = random_mixture(k, d, batch=batch), random_rows(20, d)
        log_joint = mixture.log_joint(X)
        assert log_joint.shape == (*batch, 20, k)
        for index, single in every(mixture):
            assert_close(log_joint[index], np.log(densities_by_scipy(single, X)), EXACT)

    @pytest.mark.parametrize(("k", "d"), SHAPES)
    def test_density_and_responsibilities_are_those_of_scikit_learn(self, k, d):
        mixture, X = random_mixture(k, d), random_rows(200, d)
        assert_close(mixture.log_density(X), as_sklearn(mixture).score_samples(X), EXACT)
        assert_close(mixture.responsibilities(X), as_sklearn(mixture).predict_proba(X), EXACT)

    @pytest.mark.parametrize("batch", BATCHES)
    def test_responsibilities_follow_from_the_joint_by_bayes_rule(self, batch):
        mixture, X = random_mixture(4, 3, batch=batch), random_rows(30, 3)
        shares = mixture.responsibilities(X)
        assert_close(shares.sum(axis=-1), np.ones((*batch, 30)), EXACT)
        assert_close(shares, np.exp(mixture.log_joint(X) - mixture.log_density(X)[..., None]), EXACT)

    def test_integrates_to_one(self):
        mixture = random_mixture(3, 1)
        total, _ = integrate.quad(lambda x: np.exp(mixture.log_density([[x]])[0]), -40, 40, limit=200, epsabs=1e-12)
        assert_close(total, 1.0, ALGEBRA)

    def test_integrates_to_one_over_the_plane(self):
        grid = np.linspace(-20, 20, 801)
        X = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
        # The trapezoidal rule converges faster than any power for a smooth function that vanishes at the ends.
        total = np.exp(random_mixture(3, 2).log_density(X)).sum() * (grid[1] - grid[0]) ** 2
        assert_close(total, 1.0, ALGEBRA)

    @pytest.mark.parametrize("batch", BATCHES)
    @pytest.mark.parametrize("block", [1, 40, 1000])
    def test_blocks_equal_the_whole(self, batch, block, monkeypatch):
        mixture, X = random_mixture(3, 2, batch=batch), random_rows(31, 2)
        methods = [mixture.log_joint, mixture.log_density, mixture.responsibilities]
        whole = [method(X) for method in methods]
        monkeypatch.setattr(mixture_module, "BLOCK", block)
        assert len(list(mixture.blocks(X))) > (1 if block < 1000 else 0)
        for method, expected in zip(methods, whole, strict=True):
            assert_close(method(X), expected, EXACT)

    def test_blocks_are_of_the_size_that_they_should_be(self, monkeypatch):
        monkeypatch.setattr(mixture_module, "BLOCK", 600)
        mixture, X = random_mixture(3, 2, batch=(7, 5)), random_rows(40, 2)
        sizes = [log_joint.size * mixture.n_features for _, log_joint in mixture.blocks(X)]
        assert max(sizes) <= 600
        assert sum(sizes) == 7 * 5 * 40 * 3 * 2

    @pytest.mark.parametrize(("k", "d", "batch"), [(1, 1, ()), (3, 2, ()), (2, 5, (4,)), (4, 3, (2, 17))])
    def test_the_compiled_pass_and_numpy_agree(self, k, d, batch, monkeypatch):
        mixture, X = random_mixture(k, d, batch=batch), random_rows(5001, d)
        expected = mixture.log_density(X), mixture.responsibilities(X)
        monkeypatch.setattr("bayesgmm.mixture.densities._LARGE", 0)
        monkeypatch.setattr("bayesgmm.mixture.densities._ROWS_OF_TASK", 4000)
        assert_close(mixture.log_density(X), expected[0], EXACT)
        assert_close(mixture.responsibilities(X), expected[1], EXACT)

    def test_the_compiled_pass_agrees_at_the_edges(self, monkeypatch):
        mixture = Mixture([0.5, 0.5, 0.0], [[0.0], [1e8], [3.0]], [[[1.0]], [[1.0]], [[1.0]]])
        X = np.array([[0.0], [3.0], [5e7], [1e8], [-1e30], [1e200], [-1e200]])
        expected = mixture.log_density(X), mixture.responsibilities(X)
        monkeypatch.setattr("bayesgmm.mixture.densities._LARGE", 0)
        np.testing.assert_allclose(mixture.log_density(X), expected[0], rtol=EXACT)
        np.testing.assert_allclose(mixture.responsibilities(X), expected[1], atol=EXACT)

    def test_a_row_far_away_belongs_to_the_nearest(self):
        mixture = Mixture([0.5, 0.5], [[0.0], [1.0]], [[[1.0]], [[1.0]]])
        np.testing.assert_array_equal(mixture.responsibilities([[1e6], [-1e6]]), [[0, 1], [1, 0]])
        assert_close(mixture.log_density([[1e6]]), [np.log(0.5) + stats.norm(1).logpdf(1e6)], EXACT)

    @pytest.mark.parametrize("distance", [1e7, 1e8, 1e9, 1e12])
    def test_a_row_far_away_in_the_middle_is_divided(self, distance):
        # The logarithm of its density has no digits left behind the point.
        mixture = Mixture([0.5, 0.5], [[0.0, -1.0], [0.0, 1.0]], [np.eye(2)] * 2)
        np.testing.assert_array_equal(mixture.responsibilities([[distance, 0.0]]), [[0.5, 0.5]])

    def test_a_row_beyond_all_distances_still_has_probabilities(self):
        mixture, X = random_mixture(3, 2), [[1e200, 0.0], [-1e160, 1e160]]
        assert_close(mixture.responsibilities(X).sum(axis=1), [1.0, 1.0], EXACT)
        assert np.all(np.isfinite(mixture.log_density(X)))
        assert np.isfinite(mixture.conditional({"x0": 1e200}).weights).all()

    def test_a_component_without_weight_is_not_there(self):
        both = random_mixture(2, 2)
        mixture = Mixture([0.0, 1.0], both.means, both.covariances)
        alone = Mixture([1.0], both.means[1:], both.covariances[1:])
        X = random_rows(10)
        assert_close(mixture.log_density(X), alone.log_density(X), EXACT)
        np.testing.assert_array_equal(mixture.responsibilities(X), np.tile([0.0, 1.0], (10, 1)))
        assert set(mixture.sample(100, 0)[1]) == {1}

    def test_no_digits_are_lost_far_from_the_origin(self):
        # Differences of these numbers are exact in float64, so that nothing but the code can lose digits.
        mixture, X = random_mixture(3, 2), np.round(random_rows(30) * 1024) / 1024
        near = Mixture(mixture.weights, np.round(mixture.means * 1024) / 1024, mixture.covariances)
        far = near.affine(1.0, 2.0**30)
        assert_close(far.log_joint(X + 2.0**30), near.log_joint(X), EXACT)

    def test_no_rows_have_no_densities(self):
        assert random_mixture(3, 2, batch=(4,)).log_density(np.empty((0, 2))).shape == (4, 0)

    @pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 3), (1, 3, 2)])
    def test_rows_of_another_shape_are_refused(self, shape):
        with pytest.raises(ArgumentError, match=rf"X has shape .*{shape[-1]}.*; this mixture needs \(n, 2\)"):
            random_mixture(3, 2).log_density(np.zeros(shape))


class TestLogSumExp:
    @settings(deadline=None, derandomize=True)
    @given(hnp.arrays(float, (4, 3), elements=st.floats(-1e4, 1e4) | st.just(-np.inf)), st.sampled_from([0, 1, -1]))
    def test_is_that_of_scipy(self, values, axis):
        with np.errstate(divide="ignore"):
            expected = special.logsumexp(values, axis=axis)
        assert_close(log_sum_exp(values, axis), expected, EXACT)

    def test_no_probability_at_all(self):
        assert log_sum_exp(np.full(3, -np.inf)) == -np.inf


class TestAffine:
    scale, shift = np.array([2.0, 0.25, 10.0]), np.array([-3.0, 0.0, 1e3])

    @pytest.mark.parametrize("batch", BATCHES)
    def test_density_changes_by_the_jacobian_only(self, batch):
        mixture, X = random_mixture(3, 3, batch=batch), random_rows(20, 3)
        moved = mixture.affine(self.scale, self.shift)
        expected = mixture.log_density(X) - np.log(self.scale).sum()
        assert_close(moved.log_density(X * self.scale + self.shift), expected, EXACT * 1e3)
        assert_close(moved.responsibilities(X * self.scale + self.shift), mixture.responsibilities(X), ALGEBRA)

    @settings(deadline=None, derandomize=True, max_examples=30)
    @given(
        hnp.arrays(float, 3, elements=st.floats(1e-3, 1e3)),
        hnp.arrays(float, 3, elements=st.floats(-10, 10)),
        st.integers(0, 10),
    )
    def test_there_and_back(self, scale, shift, seed):
        mixture = random_mixture(2, 3, seed=seed)
        back = mixture.affine(scale, shift).affine(1.0, -shift).affine(1.0 / scale, 0.0)
        for name in ("means", "covariances"):
            np.testing.assert_allclose(getattr(back, name), getattr(mixture, name), rtol=1e-10, atol=1e-10)

    def test_moments_move_along(self):
        mixture = random_mixture(3, 3)
        moved = mixture.affine(self.scale, self.shift)
        assert_close(moved.mean, mixture.mean * self.scale + self.shift, EXACT)
        assert_close(moved.covariance, mixture.covariance * np.outer(self.scale, self.scale), EXACT)

    def test_one_number_serves_all_columns(self):
        mixture = random_mixture(2, 3)
        assert_same_mixture(mixture.affine(2.0, 1.0), mixture.affine(np.full(3, 2.0), np.ones(3)))

    @pytest.mark.parametrize(
        ("scale", "shift", "match"),
        [
            ([1.0, 0.0, 1.0], 0.0, "scale must be positive; the smallest is 0"),
            (-2.0, 0.0, "scale must be positive; the smallest is -2"),
            ([1.0, 2.0], 0.0, "scale must be 3 finite numbers"),
            (1.0, [0.0, np.nan, 0.0], "shift must be 3 finite numbers"),
        ],
    )
    def test_impossible_changes_are_refused(self, scale, shift, match):
        with pytest.raises(ArgumentError, match=match):
            random_mixture(2, 3).affine(scale, shift)


class TestOrder:
    @pytest.mark.parametrize("batch", BATCHES)
    def test_density_does_not_depend_on_it(self, batch):
        mixture, X = random_mixture(4, 2, batch=batch), random_rows(20)
        order = np.random.default_rng(0).permuted(np.broadcast_to(np.arange(4), (*batch, 4)), axis=-1)
        permuted = mixture.permute(order)
        assert_close(permuted.log_density(X), mixture.log_density(X), EXACT)
        expected = np.take_along_axis(mixture.responsibilities(X), order[..., None, :], axis=-1)
        assert_close(permuted.responsibilities(X), expected, EXACT)

    @settings(deadline=None, derandomize=True)
    @given(st.permutations(range(4)), st.permutations(range(4)))
    def test_one_permutation_after_another_is_their_product(self, first, second):
        mixture = random_mixture(4, 2, batch=(2,))
        assert_same_mixture(mixture.permute(first).permute(second), mixture.permute(np.array(first)[second]))

    @settings(deadline=None, derandomize=True)
    @given(st.permutations(range(4)))
    def test_a_permutation_is_undone_by_its_inverse(self, order):
        mixture = random_mixture(4, 2, batch=(2,))
        assert_same_mixture(mixture.permute(order).permute(np.argsort(order)), mixture)

    def test_sorted_by_weight(self):
        mixture = random_mixture(4, 2, batch=(3, 5)).sorted_by_weight()
        assert np.all(np.diff(mixture.weights, axis=-1) <= 0)

    def test_equal_weights_keep_their_order(self):
        mixture = Mixture([0.25, 0.5, 0.25], [[0.0], [1.0], [2.0]], np.ones((3, 1, 1))).sorted_by_weight()
        np.testing.assert_array_equal(mixture.means.ravel(), [1, 0, 2])

    @pytest.mark.parametrize("wrong", [[0, 0, 1], [0, 1, 3], [-1, 0, 1]])
    def test_what_is_no_permutation_is_refused(self, wrong):
        with pytest.raises(ArgumentError, match="every number from 0 to 2 once"):
            random_mixture(3).permute(wrong)


class TestBatch:
    def test_an_index_selects_mixtures(self):
        mixture, X = random_mixture(3, 2, batch=(2, 5)), random_rows(10)
        every_density = mixture.log_density(X)
        for index in [1, (0, 3), (slice(None), -1), (slice(None), slice(1, 4)), [1, 0], every_density[..., 0] > -3.0]:
            assert_close(mixture[index].log_density(X), every_density[index], EXACT)

    def test_flatten_merges_in_c_order(self):
        mixture = random_mixture(3, 2, batch=(2, 5))
        flat = mixture.flatten()
        assert flat.batch_shape == (10,)
        assert_same_mixture(flat[7], mixture[1, 2])

    @pytest.mark.parametrize("batch", BATCHES)
    def test_pooled_is_the_average_density(self, batch):
        mixture, X = random_mixture(3, 2, batch=batch), random_rows(20)
        densities = np.exp(mixture.log_density(X)).reshape(-1, 20)
        assert mixture.pooled().batch_shape == ()
        assert_close(mixture.pooled().log_density(X), np.log(densities.mean(axis=0)), EXACT)

    def test_sizes(self):
        mixture = random_mixture(3, 2, batch=(2, 5))
        assert (mixture.n_components, mixture.n_features, mixture.batch_shape, mixture.n_mixtures) == (3, 2, (2, 5), 10)
        assert (mixture[0, 0].batch_shape, mixture[0, 0].n_mixtures) == ((), 1)

    @pytest.mark.parametrize("index", [..., (0, ...), (0, 0, 0), (slice(None), 0, slice(None))])
    def test_components_are_no_leading_dimension(self, index):
        with pytest.raises(ArgumentError, match=r"leading dimensions \(2, 5\)"):
            random_mixture(3, 2, batch=(2, 5))[index]

    def test_a_single_mixture_has_no_index(self):
        with pytest.raises(ArgumentError, match="single mixture"):
            random_mixture()[0]


class TestMarginal:
    def test_is_the_integral_over_the_other_column(self):
        mixture = random_mixture(3, 2, features=("a", "b"))
        for x in (-1.0, 0.5, 3.0):
            total, _ = integrate.quad(
                lambda y, x=x: np.exp(mixture.log_density([[x, y]])[0]), -40, 40, limit=200, epsabs=1e-12
            )
            assert_close(np.exp(mixture.marginal(["a"]).log_density([[x]])), [total], ALGEBRA)

    def test_columns_come_in_the_order_asked_for(self):
        mixture, X = random_mixture(3, 3, features=("a", "b", "c")), random_rows(10, 3)
        turned = mixture.marginal(["c", "a", "b"])
        assert turned.features == ("c", "a", "b")
        assert_close(turned.log_density(X[:, [2, 0, 1]]), mixture.log_density(X), EXACT)

    def test_of_all_columns_is_the_mixture(self):
        mixture = random_mixture(3, 3, batch=(2,))
        assert_same_mixture(mixture.marginal(mixture.features), mixture)

    def test_a_name_alone_is_one_column(self):
        mixture = random_mixture(2, 2, features=("ab", "c"))
        assert_same_mixture(mixture.marginal("ab"), mixture.marginal(["ab"]))

    def test_commutes_with_a_change_of_units(self):
        mixture = random_mixture(2, 3)
        scale, shift = np.array([2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0])
        first = mixture.affine(scale, shift).marginal(["x2", "x0"])
        assert_same_mixture(first, mixture.marginal(["x2", "x0"]).affine(scale[[2, 0]], shift[[2, 0]]), EXACT)

    @pytest.mark.parametrize(
        ("names", "match"),
        [
            (["q"], "no column named 'q'; the mixture has x0, x1"),
            ([], "at least one column"),
            (["x0", "x0"], "different"),
        ],
    )
    def test_impossible_columns_are_refused(self, names, match):
        with pytest.raises(ArgumentError, match=match):
            random_mixture().marginal(names)


class TestConditional:
    features = ("a", "b", "c", "d")

    @pytest.mark.parametrize("fixed", [["b"], ["d", "a"], ["c", "a", "b"]])
    @pytest.mark.parametrize("batch", BATCHES)
    def test_times_the_marginal_is_the_joint(self, fixed, batch):
        mixture = random_mixture(3, 4, batch=batch, features=self.features)
        free = [name for name in self.features if name not in fixed]
        for row in random_rows(5, 4):
            values = dict(zip(self.features, row, strict=True))
            conditional = mixture.conditional({name: values[name] for name in fixed})
            assert conditional.features == tuple(free)
            marginal = mixture.marginal(fixed).log_density([[values[name] for name in fixed]])
            product = marginal + conditional.log_density([[values[name] for name in free]])
            assert_close(product, mixture.log_density([row]), ALGEBRA)

    def test_one_value_after_another_is_all_at_once(self):
        mixture = random_mixture(3, 4, features=self.features)
        at_once = mixture.conditional({"a": 0.3, "c": -1.0})
        assert_same_mixture(mixture.conditional({"c": -1.0}).conditional({"a": 0.3}), at_once, ALGEBRA)

    def test_a_value_far_away_leaves_the_component_that_reaches_it(self):
        narrow, wide = np.eye(2), 100.0 * np.eye(2)
        mixture = Mixture([0.5, 0.5], [[0.0, 0.0], [0.0, 7.0]], [narrow, wide])
        conditional = mixture.conditional({"x0": 1e3})
        np.testing.assert_array_equal(conditional.weights, [0, 1])
        assert_close(conditional.mean, [7.0], EXACT)

    @pytest.mark.parametrize(
        ("values", "match"),
        [
            ({}, "condition on at least one and not on all of the columns a, b, c, d"),
            (dict.fromkeys("abcd", 0.0), "condition on at least one and not on all"),
            ({"q": 1.0}, "no column named 'q'"),
            ({"b": np.nan}, "column 'b' is fixed at nan; it needs a finite number"),
            ({"b": np.inf}, "column 'b' is fixed at inf"),
            ({"b": "tall"}, "column 'b' is fixed at 'tall'"),
            ({"b": [1.0, 2.0]}, r"column 'b' is fixed at \[1.0, 2.0\]"),
        ],
    )
    def test_impossible_conditions_are_refused(self, values, match):
        with pytest.raises(ArgumentError, match=match):
            random_mixture(3, 4, features=self.features).conditional(values)


class TestMoments:
    def test_are_integrals_over_the_density(self):
        mixture = random_mixture(3, 1)

        def moment(power, centre=0.0):
            def weighted(x):
                return (x - centre) ** power * np.exp(mixture.log_density([[x]])[0])

            return integrate.quad(weighted, -40, 40, limit=200, epsabs=1e-12)[0]

        assert_close(mixture.mean, [moment(1)], ALGEBRA)
        assert_close(mixture.covariance, [[moment(2, centre=moment(1))]], ALGEBRA)

    def test_covariance_is_mean_square_minus_square_mean(self):
        mixture = random_mixture(3, 2, batch=(4,))
        outer = mixture.means[..., :, None] * mixture.means[..., None, :]
        squares = np.sum(mixture.weights[..., None, None] * (mixture.covariances + outer), axis=-3)
        assert_close(mixture.covariance, squares - mixture.mean[..., :, None] * mixture.mean[..., None, :], EXACT)

    def test_of_one_component_are_its_own(self):
        mixture = random_mixture(1, 3)
        assert_close(mixture.mean, mixture.means[0], EXACT)
        assert_close(mixture.covariance, mixture.covariances[0], EXACT)


class TestSampling:
    n = 20_000

    @pytest.mark.parametrize(("k", "d"), SHAPES)
    def test_moments(self, k, d):
        mixture = random_mixture(k, d, seed=3)
        X, labels = simulate(mixture, self.n, seed=11)
        assert (X.shape, labels.shape) == ((self.n, d), (self.n,))
        assert_within_errors(X.mean(axis=0), mixture.mean, np.sqrt(np.diagonal(mixture.covariance) / self.n))
        products = np.einsum("nd,ne->nde", X - mixture.mean, X - mixture.mean)
        assert_within_errors(products.mean(axis=0), mixture.covariance, products.std(axis=0) / np.sqrt(self.n))

    def test_each_component_has_its_share_and_its_moments(self):
        mixture = random_mixture(3, 2, seed=3)
        X, labels = mixture.sample(self.n, seed=12)
        shares = np.bincount(labels, minlength=3) / self.n
        assert_within_errors(shares, mixture.weights, np.sqrt(mixture.weights * (1 - mixture.weights) / self.n))
        for k in range(3):
            own = X[labels == k]
            errors = np.sqrt(np.diagonal(mixture.covariances[k]) / len(own))
            assert_within_errors(own.mean(axis=0), mixture.means[k], errors)

    def test_rows_follow_the_distribution_function(self):
        mixture = random_mixture(3, 1)
        parts = list(zip(mixture.weights, mixture.means[:, 0], np.sqrt(mixture.covariances[:, 0, 0]), strict=True))
        X, _ = mixture.sample(self.n, seed=13)
        test = stats.kstest(X[:, 0], lambda x: sum(w * stats.norm(m, s).cdf(x) for w, m, s in parts))
        assert test.pvalue > 1e-4

    def test_from_a_batch_each_row_comes_from_one_of_its_mixtures(self):
        batch = random_mixture(2, 2, batch=(3, 4), seed=5)
        flat = batch.flatten()
        merged = Mixture(flat.weights.ravel() / 12, flat.means.reshape(-1, 2), flat.covariances.reshape(-1, 2, 2))
        X, labels = batch.sample(self.n, seed=14)
        assert_within_errors(X.mean(axis=0), merged.mean, np.sqrt(np.diagonal(merged.covariance) / self.n))
        share = batch.weights[..., 0].mean()
        assert_within_errors(np.mean(labels == 0), share, np.sqrt(share * (1 - share) / self.n))

    def test_the_same_seed_gives_the_same_rows_in_blocks_too(self, monkeypatch):
        mixture = random_mixture(3, 2)
        whole = mixture.sample(100, seed=7)
        monkeypatch.setattr(mixture_module, "BLOCK", 30)
        for found in (mixture.sample(100, seed=7), simulate(mixture, 100, seed=np.random.default_rng(7))):
            np.testing.assert_array_equal(found[0], whole[0])
            np.testing.assert_array_equal(found[1], whole[1])
        assert not np.array_equal(mixture.sample(100, seed=8)[0], whole[0])

    @pytest.mark.parametrize("n", [0, -1, 2.5, True, "10", None])
    def test_impossible_numbers_are_refused(self, n):
        with pytest.raises(ArgumentError, match=f"n={n!r} rows cannot be drawn; n must be a whole number, at least 1"):
            simulate(random_mixture(), n)


class TestDataset:
    @pytest.mark.parametrize("batch", [(), (2, 3)])
    def test_round_trip(self, batch):
        mixture = random_mixture(3, 2, batch=batch, features=("height", "width"))
        back = Mixture.from_dataset(mixture.to_dataset())
        assert back.batch_shape == (batch or (1, 1))
        assert_same_mixture(back if batch else back[0, 0], mixture)

    def test_names_select_entries(self):
        mixture = random_mixture(3, 2, batch=(2, 3), features=("height", "width"))
        chosen = mixture.to_dataset()["covariances"].sel(
            chain=1, draw=2, component=0, feature="width", feature_bis="height"
        )
        assert float(chosen) == mixture.covariances[1, 2, 0, 1, 0]

    def test_the_order_of_dimensions_is_of_no_concern(self):
        mixture = random_mixture(3, 2, batch=(2, 4))
        turned = mixture.to_dataset().transpose("feature_bis", "component", "draw", "feature", "chain")
        assert_same_mixture(Mixture.from_dataset(turned), mixture)

    def test_other_leading_dimensions_are_refused(self):
        with pytest.raises(ArgumentError, match=r"must be \(\) or \(chain, draw\), not \(5,\)"):
            random_mixture(batch=(5,)).to_dataset()


class TestConstruction:
    valid = {"weights": [0.5, 0.5], "means": [[0.0], [1.0]], "covariances": [[[1.0]], [[1.0]]]}

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"weights": [0.5, 0.4]}, "weights must sum to one; the sum is off by 0.1"),
            ({"weights": [1.5, -0.5]}, "weights must not be negative; the smallest is -0.5"),
            ({"weights": [np.nan, 1.0]}, "weights of a mixture must be finite; found 1 that are not"),
            ({"weights": [1.0]}, r"must have shapes \(..., K\).*found \(1,\), \(2, 1\), \(2, 1, 1\)"),
            ({"weights": ["a", "b"]}, "weights of a mixture must be an array of numbers"),
            ({"means": [0.0, 1.0]}, r"means must have shape \(..., K, D\), not \(2,\)"),
            ({"means": [[0.0], [1.0, 2.0]]}, "means of a mixture must be an array of numbers"),
            ({"means": [[0.0], [np.inf]]}, "means of a mixture must be finite"),
            ({"covariances": [[1.0], [1.0]]}, "must have shapes"),
            ({"features": ("a", "b")}, "features must be 1 different names"),
        ],
    )
    def test_impossible_parameters_are_refused(self, changes, match):
        with pytest.raises(ArgumentError, match=match):
            Mixture(**self.valid | changes)

    def test_repeated_names_are_refused(self):
        with pytest.raises(ArgumentError, match="different names"):
            Mixture([1.0], [[0.0, 0.0]], [np.eye(2)], ("a", "a"))

    def test_a_covariance_that_is_not_symmetric_is_refused(self):
        # The two columns differ by six orders of magnitude; so do the entries, and neither may hide the other's.
        covariances = np.array([[1e12, 2e5], [1e5, 1.0]])
        with pytest.raises(ArgumentError, match="covariances must be symmetric; two mirrored entries differ by 100000"):
            Mixture([1.0], [[0.0, 0.0]], [covariances])
        assert Mixture([1.0], [[0.0, 0.0]], [[[1.0, 0.5], [0.5 + 1e-12, 1.0]]]).n_features == 2

    def test_a_covariance_that_is_not_positive_definite_is_named(self):
        mixture = Mixture([0.5, 0.5], np.zeros((2, 2)), [np.eye(2), [[1.0, 2.0], [2.0, 1.0]]])
        with pytest.raises(ArgumentError, match=r"component 1 is not positive definite \(smallest eigenvalue -1\)"):
            mixture.log_density([[0.0, 0.0]])

    def test_arrays_are_copied_and_cannot_be_written_to(self):
        weights = np.array([0.5, 0.5])
        mixture = Mixture(weights, self.valid["means"], self.valid["covariances"])
        weights[:] = [1.0, 0.0]
        np.testing.assert_array_equal(mixture.weights, [0.5, 0.5])
        for name in ("weights", "means", "covariances"):
            with pytest.raises(ValueError, match="read-only"):
                getattr(mixture, name)[0] = 0.0

    def test_columns_without_names_are_numbered(self):
        assert random_mixture(2, 3).features == default_features(3) == ("x0", "x1", "x2")

    @pytest.mark.parametrize("dtype", [np.float32, np.float64, int])
    def test_any_numbers_become_float64(self, dtype):
        mixture = Mixture(np.array([1], dtype), np.array([[2]], dtype), np.array([[[3]]], dtype))
        assert {mixture.weights.dtype, mixture.means.dtype, mixture.covariances.dtype} == {np.dtype(float)}

    def test_repr_says_what_it_is(self):
        assert repr(random_mixture(3, 2)) == "Mixture(3 components, 2 features: x0, x1)"
        assert repr(random_mixture(3, 2, batch=(2, 5))) == "Mixture(3 components, 2 features: x0, x1, batch (2, 5))"


def test_cholesky_and_whitening_are_inverse():
    mixture = random_mixture(3, 4, batch=(2,))
    factors = mixture.cholesky @ np.swapaxes(mixture.cholesky, -1, -2)
    assert_close(factors, mixture.covariances, EXACT)
    assert_close(mixture.whitening @ mixture.cholesky, np.broadcast_to(np.eye(4), (2, 3, 4, 4)), EXACT)
    for i, j in itertools.combinations(range(4), 2):
        assert np.all(mixture.whitening[..., i, j] == 0)


class TestMissingValues:
    @pytest.fixture
    def holes(self):
        rng = np.random.default_rng(4)
        mixture = Mixture([0.4, 0.6], rng.normal(size=(2, 3)), [np.eye(3) + 0.3, 2 * np.eye(3) - 0.1], ["a", "b", "c"])
        rows = rng.normal(size=(40, 3))
        rows[rng.random(rows.shape) < 0.4] = np.nan
        rows[0] = np.nan
        return mixture, rows

    def test_a_row_counts_with_its_marginal_density(self, holes):
        mixture, rows = holes
        found, shares = mixture.log_density(rows), mixture.responsibilities(rows)
        for row, log_density, share in zip(rows[1:], found[1:], shares[1:], strict=True):
            there = ~np.isnan(row)
            if there.any():
                marginal = mixture.marginal([name for name, is_there in zip("abc", there, strict=True) if is_there])
                assert log_density == pytest.approx(marginal.log_density(row[None, there])[0], rel=1e-12)
                np.testing.assert_allclose(share, marginal.responsibilities(row[None, there])[0], rtol=1e-12)

    def test_a_row_without_values_has_density_one_and_the_weights(self, holes):
        mixture, rows = holes
        assert mixture.log_density(rows)[0] == pytest.approx(0.0, abs=1e-12)
        np.testing.assert_allclose(mixture.responsibilities(rows)[0], mixture.weights)

    def test_batches_and_blocks_agree(self, holes, monkeypatch):
        mixture, rows = holes
        batch = Mixture(
            np.stack([mixture.weights] * 3), np.stack([mixture.means] * 3), np.stack([mixture.covariances] * 3)
        )
        monkeypatch.setattr(mixture_module, "BLOCK", 20)
        np.testing.assert_allclose(batch.log_density(rows), np.tile(mixture.log_density(rows), (3, 1)), rtol=1e-12)
