"""The fused likelihood: against SciPy, against PyMC's mixture and its autodiff, and where inputs are hard."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from scipy import stats

from bayesgmm.bayes.likelihood import Patterns, mixture_log_likelihood, observed_log_likelihood
from bayesgmm.em.incomplete import IncompletePass
from bayesgmm.em.statistics import Parameters
from bayesgmm.kernels.em import FULL
from bayesgmm.kernels.gradient import log_likelihood_and_gradient, log_likelihood_by_precisions
from bayesgmm.structure import STRUCTURES
from tests.examples import random_covariances, random_mixture, random_rows
from tests.tolerances import ALGEBRA, assert_close

#: What the fused likelihood is held to: rounding of a few hundred operations.
FUSED = 1e-10


def random_case(n, d, k, seed=0):
    rng = np.random.default_rng(seed)
    chols = np.tril(0.3 * rng.normal(size=(k, d, d)))
    chols[:, range(d), range(d)] = np.exp(0.3 * rng.normal(size=(k, d)))
    weights = np.log(rng.dirichlet(np.ones(k)))
    return rng.normal(size=(n, d)), rng.uniform(0, 2, size=n), weights, rng.normal(size=(k, d)), chols


def scipy_log_density(rows, log_weights, means, chols):
    parts = [
        weight + stats.multivariate_normal(mean, np.linalg.inv(chol @ chol.T)).logpdf(rows)
        for weight, mean, chol in zip(log_weights, means, chols, strict=True)
    ]
    return np.logaddexp.reduce(parts, axis=0)


@pytest.mark.parametrize(("n", "d", "k"), [(5, 1, 1), (130, 1, 2), (300, 3, 4), (128, 2, 3), (9000, 5, 3)])
def test_value_is_the_weighted_sum_of_log_densities(n, d, k):
    rows, row_weights, *parameters = random_case(n, d, k)
    value, *_ = log_likelihood_and_gradient(rows, row_weights, *parameters)
    assert value == pytest.approx(row_weights @ np.atleast_1d(scipy_log_density(rows, *parameters)), rel=1e-12)


@pytest.mark.parametrize(("n", "d", "k"), [(20, 1, 2), (2500, 4, 2), (700, 6, 3), (40, 9, 2)])
def test_gradient_is_autodiff_of_the_plain_formula(n, d, k):
    rows, row_weights, *parameters = random_case(n, d, k, seed=1)
    log_weights, means, chols = pt.dvector(), pt.dmatrix(), pt.dtensor3()
    white = (chols[None] * (rows[:, None] - means)[..., None]).sum(axis=-2)
    log_diagonal = sum(pt.log(chols[:, j, j]) for j in range(d))
    log_joint = log_weights + log_diagonal - 0.5 * (white**2).sum(axis=-1) - 0.5 * d * np.log(2 * np.pi)
    plain = (row_weights * pt.logsumexp(log_joint, axis=1)).sum()
    inputs = [log_weights, means, chols]
    expected = pytensor.function(inputs, pytensor.grad(plain, inputs), mode="FAST_COMPILE")(*parameters)
    expected[2] = np.tril(expected[2])
    fused = mixture_log_likelihood(rows, row_weights, *inputs)
    found = pytensor.function(inputs, pytensor.grad(fused, inputs), mode="FAST_COMPILE")(*parameters)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


def test_numba_and_python_evaluate_the_op_alike():
    rows, row_weights, *parameters = random_case(40, 2, 3, seed=2)
    inputs = [pt.dvector(), pt.dmatrix(), pt.dtensor3()]
    value = mixture_log_likelihood(rows, row_weights, *inputs)
    outputs = [value, *pytensor.grad(value, inputs)]
    slow = pytensor.function(inputs, outputs, mode="FAST_COMPILE")(*parameters)
    fast = pytensor.function(inputs, outputs, mode="NUMBA")(*parameters)
    for one, other in zip(fast, slow, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)


def test_rows_of_weight_zero_have_no_effect_even_if_absurd():
    rows, row_weights, *parameters = random_case(50, 2, 2)
    expected = log_likelihood_and_gradient(rows, row_weights, *parameters)
    absurd = np.vstack([rows, [[1e200, -1e200]]])
    found = log_likelihood_and_gradient(absurd, np.append(row_weights, 0.0), *parameters)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_integer_weights_equal_repeated_rows():
    rows, _, *parameters = random_case(30, 2, 3)
    counts = np.random.default_rng(0).integers(0, 4, size=30)
    once = log_likelihood_and_gradient(rows, counts.astype(float), *parameters)
    repeated = np.repeat(rows, counts, axis=0)
    many = log_likelihood_and_gradient(repeated, np.ones(len(repeated)), *parameters)
    for one, other in zip(once, many, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


def test_an_offset_of_1e8_costs_no_more_than_the_rounding_of_the_rows():
    rows, row_weights, log_weights, means, chols = random_case(60, 2, 2)
    moved = rows + 1e8
    exact = moved - 1e8
    expected = log_likelihood_and_gradient(exact, row_weights, log_weights, means, chols)
    found = log_likelihood_and_gradient(moved, row_weights, log_weights, means + 1e8, chols)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_nan_parameters_give_nan():
    rows, row_weights, log_weights, means, chols = random_case(10, 2, 2)
    means = means.copy()
    means[0, 0] = np.nan
    value, *_ = log_likelihood_and_gradient(rows, row_weights, log_weights, means, chols)
    assert np.isnan(value)


def test_rows_far_from_every_component_stay_finite():
    _, _, *parameters = random_case(1, 2, 3)
    value, *gradient = log_likelihood_and_gradient(np.array([[1e6, 1e6]]), np.ones(1), *parameters)
    assert np.isfinite(value)
    assert all(np.isfinite(part).all() for part in gradient)


# -------------------------------------------------------------------- against PyMC's own mixture


def symmetric(matrices):
    return 0.5 * (matrices + np.swapaxes(matrices, -1, -2))


@pytest.fixture(scope="module")
def pymc_mixture():
    """PyMC's marginal mixture of normals: weighted log-likelihood and its derivatives by autodiff."""
    rows, row_weights = pt.dmatrix(), pt.dvector()
    weights, means, precisions = pt.dvector(), pt.dmatrix(), pt.dtensor3()
    components = pm.MvNormal.dist(mu=means, tau=precisions)
    value = (row_weights * pm.logp(pm.Mixture.dist(w=weights, comp_dists=components), rows)).sum()
    outputs = [value, *pytensor.grad(value, [weights, means, precisions])]
    return pytensor.function([rows, row_weights, weights, means, precisions], outputs, mode="FAST_COMPILE")


@pytest.fixture(scope="module")
def fused():
    rows, row_weights = pt.dmatrix(), pt.dvector()
    weights, means, precisions = pt.dvector(), pt.dmatrix(), pt.dtensor3()
    patterns = [pt.lvector(), pt.lvector(), pt.lmatrix(), pt.lvector()]
    value = observed_log_likelihood(rows, row_weights, patterns, pt.log(weights), means, precisions)
    outputs = [value, *pytensor.grad(value, [weights, means, precisions])]
    return pytensor.function([rows, row_weights, *patterns, weights, means, precisions], outputs, mode="FAST_COMPILE")


@pytest.mark.parametrize("offset", [0.0, 1e8])
@pytest.mark.parametrize("code", STRUCTURES)
def test_value_and_gradient_are_those_of_the_pymc_mixture(code, offset, pymc_mixture, fused):
    k, d = 3, 3
    mixture, rows = random_mixture(k, d), random_rows(30, d) + offset
    row_weights = np.random.default_rng(2).uniform(0, 2, size=30)
    precisions = symmetric(np.linalg.inv(random_covariances(code, k, d)))
    arguments = (mixture.weights, mixture.means + offset, precisions)
    expected = pymc_mixture(rows, row_weights, *arguments)
    expected[3] = symmetric(expected[3])
    chols = np.linalg.cholesky(precisions)
    by_chols = log_likelihood_and_gradient(rows, row_weights, np.log(mixture.weights), mixture.means + offset, chols)
    assert by_chols[0] == pytest.approx(float(expected[0]), rel=FUSED)
    for one, other in zip(fused(rows, row_weights, *Patterns.of(rows), *arguments), expected, strict=True):
        assert_close(one, other, FUSED)


# -------------------------------------------------------------------- missing values


def incomplete_case(n=60, d=3, k=2, seed=0):
    """Return rows with NaN in every pattern but the empty one, weights and a mixture."""
    rng = np.random.default_rng(seed)
    absent = rng.random((n, d)) < 0.35
    absent[absent.all(axis=1), 0] = False
    rows = np.where(absent, np.nan, random_rows(n, d))
    return rows, rng.uniform(0, 2, size=n), random_mixture(k, d, seed=seed)


def observed(rows, row_weights, mixture, filling=0.0, precisions=None):
    precisions = symmetric(np.linalg.inv(mixture.covariances)) if precisions is None else precisions
    filled = np.where(np.isnan(rows), filling, rows)
    return log_likelihood_by_precisions(
        filled, row_weights, *Patterns.of(rows), np.log(mixture.weights), mixture.means, precisions
    )


def test_patterns_divide_the_rows():
    rows, *_ = incomplete_case()
    patterns = Patterns.of(rows)
    assert sorted(patterns.members) == list(range(len(rows)))
    for p, (order, missing) in enumerate(zip(patterns.orders, patterns.n_missing, strict=True)):
        members = patterns.members[patterns.bounds[p] : patterns.bounds[p + 1]]
        assert np.isnan(rows[members][:, order[:missing]]).all()
        assert not np.isnan(rows[members][:, order[missing:]]).any()


def test_rows_count_with_the_marginal_density_of_what_was_observed():
    rows, row_weights, mixture = incomplete_case()
    expected = 0.0
    for row, weight in zip(rows, row_weights, strict=True):
        seen = ~np.isnan(row)
        parts = [
            np.log(share) + stats.multivariate_normal(mean[seen], covariance[np.ix_(seen, seen)]).logpdf(row[seen])
            for share, mean, covariance in zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
        ]
        expected += weight * np.logaddexp.reduce(parts)
    assert observed(rows, row_weights, mixture)[0] == pytest.approx(expected, rel=1e-12)


def test_the_log_likelihood_of_incomplete_rows_is_that_of_em():
    rows, row_weights, mixture = incomplete_case(seed=3)
    with IncompletePass.over(rows, row_weights) as data:
        moments = data.moments(Parameters(mixture.weights, mixture.means, mixture.covariances), FULL)
    assert observed(rows, row_weights, mixture)[0] == pytest.approx(moments.log_likelihood, rel=1e-12)


def test_what_stands_in_the_place_of_a_missing_value_has_no_effect():
    case = incomplete_case(seed=4)
    for one, other in zip(observed(*case), observed(*case, filling=1e100), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_gradient_of_incomplete_rows_is_that_of_the_values():
    rows, row_weights, mixture = incomplete_case(seed=5)
    precisions = symmetric(np.linalg.inv(mixture.covariances))
    _, by_weights, by_means, by_precisions = observed(rows, row_weights, mixture)
    assert by_weights.sum() == pytest.approx(row_weights.sum(), rel=1e-12)
    rng = np.random.default_rng(6)
    step = 1e-6
    direction = symmetric(rng.normal(size=precisions.shape))
    up, down = (
        observed(rows, row_weights, mixture, precisions=precisions + sign * step * direction)[0] for sign in (1, -1)
    )
    assert np.sum(by_precisions * direction) == pytest.approx((up - down) / (2 * step), rel=1e-6)
    direction = rng.normal(size=mixture.means.shape)
    up, down = (
        observed(
            rows,
            row_weights,
            type(mixture)(mixture.weights, mixture.means + sign * step * direction, mixture.covariances),
        )[0]
        for sign in (1, -1)
    )
    assert np.sum(by_means * direction) == pytest.approx((up - down) / (2 * step), rel=1e-6)


def test_complete_columns_first_or_last_make_no_difference():
    rows, row_weights, mixture = incomplete_case(seed=7)
    turned = type(mixture)(mixture.weights, mixture.means[:, ::-1], mixture.covariances[:, ::-1, ::-1])
    there = observed(rows[:, ::-1], row_weights, turned)
    here = observed(rows, row_weights, mixture)
    assert here[0] == pytest.approx(there[0], rel=1e-12)
    assert_close(here[3], there[3][:, ::-1, ::-1], ALGEBRA)


@pytest.mark.parametrize("strange", [np.nan, np.inf, -1e3])
def test_precisions_that_are_none_give_nan(strange):
    rows, row_weights, mixture = incomplete_case()
    precisions = np.linalg.inv(mixture.covariances)
    precisions[0, 0, 0] = strange
    assert np.isnan(observed(rows, row_weights, mixture, precisions=precisions)[0])


def test_numba_and_python_evaluate_the_observed_likelihood_alike():
    rows, row_weights, mixture = incomplete_case(n=20, seed=8)
    inputs = [pt.dvector(), pt.dmatrix(), pt.dtensor3()]
    value = observed_log_likelihood(np.nan_to_num(rows), row_weights, Patterns.of(rows), *inputs)
    outputs = [value, *pytensor.grad(value, inputs)]
    arguments = (np.log(mixture.weights), mixture.means, np.linalg.inv(mixture.covariances))
    slow = pytensor.function(inputs, outputs, mode="FAST_COMPILE")(*arguments)
    fast = pytensor.function(inputs, outputs, mode="NUMBA")(*arguments)
    for one, other in zip(fast, slow, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)
