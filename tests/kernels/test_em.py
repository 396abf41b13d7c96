"""The EM pass against SciPy's normal density and NumPy's sums."""

import numpy as np
import pytest
from scipy import stats

from bayesgmm.em.rows import pack
from bayesgmm.kernels import em as kernels
from bayesgmm.kernels.elementary import exponential, logarithm
from tests.examples import random_mixture, random_rows
from tests.tolerances import ALGEBRA, EXACT, assert_close

KINDS = [kernels.FULL, kernels.DIAGONAL, kernels.SPHERICAL, kernels.TIED]


def covariances_of_kind(mixture, kind):
    d = mixture.n_features
    if kind == kernels.FULL:
        return mixture.covariances
    if kind == kernels.TIED:
        return np.broadcast_to(mixture.covariances[0], mixture.covariances.shape)
    diagonals = np.diagonal(mixture.covariances, axis1=1, axis2=2)
    return (diagonals if kind == kernels.DIAGONAL else diagonals[:, :1])[:, :, None] * np.eye(d)


def log_joint_by_scipy(mixture, covariances, rows):
    densities = [stats.multivariate_normal(m, c).logpdf(rows) for m, c in zip(mixture.means, covariances, strict=True)]
    return np.log(mixture.weights) + np.stack(densities, axis=-1).reshape(len(rows), -1)


def run_pass(mixture, covariances, kind, rows, weights=None):
    packed = pack(rows, weights)
    k, d = mixture.means.shape
    factors = np.tril(np.linalg.inv(np.linalg.cholesky(covariances)))
    constants = np.log(mixture.weights) + np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
    constants -= 0.5 * d * np.log(2 * np.pi)
    means = mixture.means @ factors[0].T if kind == kernels.TIED else mixture.means
    layout = {
        kernels.FULL: factors,
        kernels.DIAGONAL: np.diagonal(factors, axis1=1, axis2=2)[:, None, :],
        kernels.SPHERICAL: factors[:, :1, :1],
        kernels.TIED: factors[:1],
    }[kind]
    s2 = np.zeros({kernels.FULL: (k, d, d), kernels.DIAGONAL: (k, 1, d)}.get(kind, (k, 1, 1)))
    sums = np.zeros(1), np.zeros(k), np.zeros((k, d)), s2
    kernels.em_pass(
        kind, packed.blocks, packed.weights, 0, packed.n_blocks, np.ascontiguousarray(means),
        np.ascontiguousarray(layout), constants, *sums,
    )  # fmt: skip
    return sums


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("n", "k", "d"),
    [(3, 1, 1), (50, 3, 2), (4200, 2, 3), (70, 2, 4), (300, 4, 5), (270, 3, 11), (140, 2, 34), (30, 1, 130)],
)
def test_sums_are_those_of_scipy(kind, n, k, d):
    mixture, rows = random_mixture(k, d), random_rows(n, d)
    weights = np.random.default_rng(2).gamma(2.0, size=n)
    covariances = covariances_of_kind(mixture, kind)
    log_joint = log_joint_by_scipy(mixture, covariances, rows)
    log_density = np.logaddexp.reduce(log_joint, axis=1)
    r = np.exp(log_joint - log_density[:, None]) * weights[:, None]
    centred = rows[:, None] - mixture.means
    s1 = np.einsum("nk,nkd->kd", r, centred)
    s2 = np.einsum("nk,nkd,nke->kde", r, centred, centred)

    log_likelihood, s0, found_s1, found_s2 = run_pass(mixture, covariances, kind, rows, weights)

    assert_close(log_likelihood, [weights @ log_density], ALGEBRA)
    assert_close(s0, r.sum(axis=0), ALGEBRA)
    if kind == kernels.TIED:
        assert_close(found_s1 @ np.linalg.cholesky(covariances[0]).T, s1, ALGEBRA)
        return
    assert_close(found_s1, s1, ALGEBRA)
    expected = {
        kernels.FULL: np.tril(s2),
        kernels.DIAGONAL: np.diagonal(s2, axis1=1, axis2=2)[:, None, :],
        kernels.SPHERICAL: np.trace(s2, axis1=1, axis2=2)[:, None, None],
    }[kind]
    assert_close(np.tril(found_s2) if kind == kernels.FULL else found_s2, expected, ALGEBRA)


@pytest.mark.parametrize("kind", [kernels.FULL, kernels.DIAGONAL, kernels.SPHERICAL])
def test_an_offset_of_the_data_costs_no_digits(kind):
    mixture, offset = random_mixture(3, 3), 2.0**30
    rows = np.round(random_rows(400, 3) * 2**10) / 2**10  # so that the sum with the offset is exact
    means = np.round(mixture.means * 2**10) / 2**10
    near = type(mixture)(mixture.weights, means, mixture.covariances)
    far = type(mixture)(mixture.weights, means + offset, mixture.covariances)
    covariances = covariances_of_kind(mixture, kind)
    for here, there in zip(
        run_pass(near, covariances, kind, rows), run_pass(far, covariances, kind, rows + offset), strict=True
    ):
        np.testing.assert_array_equal(here, there)


@pytest.mark.parametrize("kind", KINDS)
def test_a_component_out_of_reach_gets_exactly_nothing(kind):
    mixture = random_mixture(2, 2)
    means = mixture.means.copy()
    means[1] += 1e4
    apart = type(mixture)(mixture.weights, means, mixture.covariances)
    _, s0, s1, s2 = run_pass(apart, covariances_of_kind(apart, kind), kind, random_rows(50, 2))
    assert s0[1] == 0.0
    assert not s1[1].any()
    assert kind == kernels.TIED or not s2[1].any()
    assert_close(s0[0], 50.0, EXACT)


def test_exponential_and_logarithm_are_accurate_over_their_range():
    x = np.r_[-np.logspace(-18, np.log10(650.0), 5000), 0.0]
    found = np.array([exponential(value) for value in x])
    np.testing.assert_allclose(found, np.exp(x), rtol=2e-15, atol=0.0)
    y = np.logspace(0, 300, 5000)
    np.testing.assert_allclose([logarithm(value) for value in y], np.log(y), rtol=1e-15, atol=1e-16)
