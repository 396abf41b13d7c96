"""The parts of the Gibbs sweep, each against SciPy, NumPy or the generator's published output."""

import numpy as np
import pytest
from scipy import stats

from bayesgmm.bayes.conjugate_rows import make_table
from bayesgmm.kernels import labels as kernels
from bayesgmm.kernels.conditionals import Parameters, Prior, draw_parameters
from bayesgmm.kernels.conjugate import log_determinant, upper_cholesky, wishart
from bayesgmm.kernels.gibbs import run_chain
from bayesgmm.kernels.random_numbers import log_gamma, normal, uniform
from bayesgmm.kernels.telescope import DYNAMIC, PROCESS, STATIC, fill_urn
from tests.examples import random_mixture, random_rows
from tests.tolerances import ALGEBRA, EXACT, assert_close, assert_within_errors


def stream(seed=0):
    return np.random.SeedSequence(seed).generate_state(4, np.uint64)


def parameters_of(mixture):
    with np.errstate(divide="ignore"):
        log_weights = np.log(mixture.weights)
    factors = np.linalg.cholesky(np.linalg.inv(mixture.covariances))
    return Parameters(log_weights, mixture.means.copy(), factors, np.eye(mixture.n_features))


def allocate(mixture, rows, copies, *, seed=0, is_diagonal=False, parts=1):
    """Run the pass in parts; return the log-likelihood, the labels and the sums."""
    n, (k, d) = len(rows), mixture.means.shape
    s0, s1, s2 = np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))
    labels, key, value = np.full(n, -1, dtype=np.int16), np.uint64(kernels.label_key(stream(seed))), 0.0
    for part in range(parts):
        value += kernels.allocate(
            rows, np.asarray(copies), n * part // parts, n * (part + 1) // parts, 0, k, is_diagonal,
            parameters_of(mixture), key, labels, s0, s1, s2,
        )  # fmt: skip
    return value, labels, s0, s1, s2


# -------------------------------------------------------------------- random numbers


def test_the_generator_is_xoshiro256_plus_plus():
    """The first outputs from the state 1, 2, 3, 4 (Blackman & Vigna's reference code)."""
    published = [41943041, 58720359, 3588806011781223, 3591011842654386, 9228616714210784205, 9973669472204895162]
    state = np.array([1, 2, 3, 4], dtype=np.uint64)
    found = [uniform(state) for _ in published]
    assert found == [((value >> 11) + 0.5) * 2.0**-53 for value in published]


@pytest.mark.parametrize("shape", [0.01, 0.4, 1.0, 3.5, 800.0])
def test_gamma_numbers_are_gamma(shape):
    state = stream(1)
    draws = np.array([log_gamma(shape, state) for _ in range(5000)])
    assert np.all(np.isfinite(draws))
    # log X of a Gamma(a) number is loggamma; below 0.1 X itself underflows.
    assert stats.kstest(draws, stats.loggamma(shape).cdf).pvalue > 1e-3


def test_normal_numbers_are_normal():
    state = stream(2)
    assert stats.kstest([normal(state) for _ in range(5000)], stats.norm.cdf).pvalue > 1e-3


@pytest.mark.parametrize("p", [1, 3])
def test_wishart_matrices_are_those_of_scipy(p):
    rng, state = np.random.default_rng(p), stream(3)
    root = rng.normal(size=(p, p))
    rate, dof = root @ root.T + np.eye(p), p + 2.5
    factor, draws = np.zeros((p, p)), []
    for _ in range(4000):
        wishart(dof, rate, state, factor)
        draws.append(factor @ factor.T)
    reference = stats.wishart(dof, np.linalg.inv(rate)).rvs(4000, random_state=rng).reshape(-1, p, p)
    for summary in (lambda m: np.linalg.slogdet(m)[1], lambda m: m[:, 0, -1], lambda m: m[:, -1, -1]):
        assert stats.ks_2samp(summary(np.array(draws)), summary(reference)).pvalue > 1e-3


def test_matrices_are_factored_from_the_lower_right_corner():
    root = np.random.default_rng(0).normal(size=(4, 4))
    matrix, upper = root @ root.T + np.eye(4), np.zeros((4, 4))
    upper_cholesky(matrix, upper)
    assert_close(upper @ upper.T, matrix, EXACT)
    np.testing.assert_array_equal(upper, np.triu(upper))
    assert log_determinant(matrix) == pytest.approx(np.linalg.slogdet(matrix)[1])


def test_the_exponential_is_accurate_over_its_range():
    x = np.linspace(-45.0, 0.0, 2001)
    np.testing.assert_allclose([kernels._exp(value) for value in x], np.exp(x), rtol=2e-13)


# -------------------------------------------------------------------- labels and sums


@pytest.mark.parametrize(("n", "k", "d"), [(5, 1, 1), (300, 3, 2), (600, 5, 4)])
@pytest.mark.parametrize("is_diagonal", [False, True])
def test_sums_are_those_of_the_labels(n, k, d, is_diagonal):
    mixture, rows = random_mixture(k, d), random_rows(n, d)
    if is_diagonal:
        mixture = type(mixture)(mixture.weights, mixture.means, mixture.covariances * np.eye(d))
    value, labels, s0, s1, s2 = allocate(mixture, rows, np.ones(n, dtype=int), is_diagonal=is_diagonal)
    assert value == pytest.approx(mixture.log_density(rows).sum(), rel=1e-12)
    offsets = rows - mixture.means[labels]
    members = labels[:, None] == np.arange(k)
    squares = np.einsum("nk,nd,ne->kde", members, offsets, offsets)
    assert_close(s0, members.sum(axis=0), EXACT)
    assert_close(s1, members.T @ offsets, ALGEBRA)
    assert_close(s2, squares * np.eye(d) if is_diagonal else np.tril(squares), ALGEBRA)


def test_labels_are_drawn_with_their_responsibilities():
    mixture, rows = random_mixture(4, 2), random_rows(8, 2)
    repeated = np.repeat(rows, 5000, axis=0)
    _, labels, *_ = allocate(mixture, repeated, np.ones(len(repeated), dtype=int), parts=3)
    shares = (labels.reshape(8, 5000)[..., None] == np.arange(4)).mean(axis=1)
    expected = mixture.responsibilities(rows)
    assert_within_errors(shares, expected, np.sqrt(expected * (1 - expected) / 5000) + 1e-9)


def test_each_copy_of_a_row_gets_a_label_of_its_own():
    mixture, rows = random_mixture(3, 2), random_rows(4, 2)
    copies = np.array([20_000, 1, 0, 3])
    value, labels, s0, _, _ = allocate(mixture, rows, copies)
    assert value == pytest.approx(copies @ mixture.log_density(rows))
    assert s0.sum() == copies.sum()
    assert labels[2] == -1
    expected = mixture.responsibilities(rows)[0]
    assert_within_errors(s0 / 20_000, expected, np.sqrt(expected * (1 - expected) / 20_000) + 4 / 20_000)


def test_a_component_without_weight_gets_nothing():
    mixture = random_mixture(3, 2)
    empty = type(mixture)([0.5, 0.0, 0.5], mixture.means, mixture.covariances)
    value, labels, s0, _, _ = allocate(empty, random_rows(500, 2), np.ones(500, dtype=int))
    assert s0[1] == 0
    assert not np.any(labels == 1)
    assert value == pytest.approx(empty.log_density(random_rows(500, 2)).sum())


def test_rows_far_from_every_component_are_counted():
    mixture = random_mixture(3, 2)
    rows = np.array([[1e6, -1e6], [-1e5, 1e5]])
    value, _, s0, _, _ = allocate(mixture, rows, np.ones(2, dtype=int))
    assert s0.sum() == 2
    assert value == pytest.approx(mixture.log_density(rows).sum())


def test_draws_do_not_depend_on_the_order_in_which_chunks_run():
    """A sweep of `run_chain` by hand, its chunks in reverse: a label's number is that of its row."""
    k, d, n = 2, 2, 900
    mixture, rows = random_mixture(k, d), random_rows(n, d)
    prior = Prior(
        np.zeros(d), np.eye(d), 6.0, 4.0, np.eye(d), np.full(d, 1e-4), guard_is_normalised=False, is_diagonal=False,
        is_spherical=False, is_shared=False,
    )  # fmt: skip
    bounds, copies, concentration = np.array([0, 300, 600, 900]), np.ones(n, dtype=np.int64), np.ones(k)
    here, streams = parameters_of(mixture), np.stack([stream(seed) for seed in range(2)])
    kept = Parameters(np.empty((1, k)), np.empty((1, k, d)), np.empty((1, k, d, d)), np.empty((0, 0, 0)))
    table = make_table(rows)._replace(bounds=bounds)
    run_chain(
        prior, concentration, table, here, streams, 1, kept, np.empty(1), np.empty(1, dtype=np.int64), np.empty(1)
    )

    there, streams = parameters_of(mixture), np.stack([stream(seed) for seed in range(2)])
    parts = [(np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))) for _ in range(3)]
    key = np.uint64(kernels.label_key(streams[0]))
    for chunk in (2, 0, 1):
        kernels.allocate(
            rows, copies, bounds[chunk], bounds[chunk + 1], 0, k, False, there, key,
            np.empty(n, dtype=np.int16), *parts[chunk],
        )  # fmt: skip
    sums = [sum(part[j] for part in parts) for j in range(3)]
    draw_parameters(prior, concentration, *sums, there, streams[-1])
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_urn_is_a_distribution_that_starts_with_one():
    out = np.empty(6)
    fill_urn(1, 5, STATIC, 0.3, out)
    np.testing.assert_array_equal(out, [0, 1, 0, 0, 0, 0])
    for kind in (STATIC, DYNAMIC, PROCESS):
        fill_urn(1000, 5, kind, 0.7, out)
        assert out.sum() == pytest.approx(1.0)
        assert out[0] == 0.0
