"""The fused likelihood: against SciPy, against autodiff of the plain formula, and where inputs are hard."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from scipy import stats

from bayesgmm.bayes.likelihood import mixture_log_likelihood
from bayesgmm.kernels.em import log_likelihood_and_gradient


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


@pytest.mark.parametrize(("n", "d", "k"), [(20, 1, 2), (700, 6, 3)])
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
