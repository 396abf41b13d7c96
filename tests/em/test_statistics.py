"""Passes over packed rows: every layout against sums by hand, and what must not matter does not."""

import numpy as np
import pytest

from bayesgmm.em.rows import pack
from bayesgmm.em.starts import moments_of_responsibilities
from bayesgmm.em.statistics import Parameters, Pass, kind_of, reduced_scatters
from bayesgmm.kernels import em as kernels
from bayesgmm.mixture import Mixture
from bayesgmm.structure import STRUCTURES
from tests.examples import random_covariances, random_mixture, random_rows
from tests.tolerances import ALGEBRA, EXACT, assert_close


def parameters_of(mixture):
    return Parameters(mixture.weights, mixture.means, mixture.covariances)


def moments(rows, mixture, kind=kernels.FULL, *, weights=None, n_threads=1):
    with Pass.over(pack(rows, weights), n_threads) as data:
        return data.moments(parameters_of(mixture), kind)


@pytest.mark.parametrize("code", STRUCTURES)
def test_moments_are_those_of_the_responsibilities(code):
    plain = random_mixture(3, 4)
    mixture = Mixture(plain.weights, plain.means, random_covariances(code, 3, 4))
    rows, weights = random_rows(500, 4), np.random.default_rng(0).gamma(2.0, size=500)
    kind = kind_of(STRUCTURES[code])
    found = moments(rows, mixture, kind, weights=weights)
    expected = moments_of_responsibilities(rows, mixture.responsibilities(rows), weights)
    assert_close(found.log_likelihood, weights @ mixture.log_density(rows), ALGEBRA)
    assert_close(found.counts, expected.counts, ALGEBRA)
    assert_close(found.means, expected.means, ALGEBRA)
    assert_close(found.scatters, reduced_scatters(expected.scatters, kind), ALGEBRA)


@pytest.mark.parametrize("n", [5, 3000])
def test_the_posterior_is_that_of_the_mixture(n):
    mixture, rows = random_mixture(3, 4), random_rows(n, 4)
    with Pass.over(pack(rows), 1) as data:
        log_density, responsibilities = data.posterior(parameters_of(mixture))
    assert_close(log_density, mixture.log_density(rows), ALGEBRA)
    assert_close(responsibilities, mixture.responsibilities(rows), ALGEBRA)


def test_threads_do_not_change_a_bit():
    mixture, rows = random_mixture(5, 6), random_rows(120_000, 6)
    alone, shared = (moments(rows, mixture, n_threads=n) for n in (1, 3))
    assert alone.log_likelihood == shared.log_likelihood
    np.testing.assert_array_equal(alone.counts, shared.counts)
    np.testing.assert_array_equal(alone.scatters, shared.scatters)


def test_chunks_add_up():
    mixture, rows = random_mixture(3, 2), random_rows(30_000, 2)
    whole = moments(rows, mixture)
    parts = [moments(part, mixture) for part in np.array_split(rows, 7)]
    assert_close(whole.log_likelihood, sum(part.log_likelihood for part in parts), EXACT)
    assert_close(whole.counts, sum(part.counts for part in parts), EXACT)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 1023, 1024, 1025])
def test_padding_has_no_effect(n):
    mixture, rows = random_mixture(2, 3), random_rows(n, 3)
    found = moments(rows, mixture)
    assert_close(found.log_likelihood, mixture.log_density(rows).sum(), ALGEBRA)
    assert_close(found.counts.sum(), n, EXACT)


def test_whole_weights_are_repeated_rows():
    mixture, rows = random_mixture(3, 3), random_rows(400, 3)
    weights = np.random.default_rng(1).integers(0, 4, size=400)
    weighted = moments(rows, mixture, weights=weights.astype(float))
    repeated = moments(np.repeat(rows, weights, axis=0), mixture)
    assert_close(weighted.log_likelihood, repeated.log_likelihood, EXACT)
    assert_close(weighted.scatters, repeated.scatters, EXACT)


def test_a_row_of_weight_zero_changes_no_bit():
    mixture, rows = random_mixture(3, 3), random_rows(400, 3)
    weights = np.random.default_rng(1).gamma(1.0, size=400)
    weights[::5] = 0.0
    keep = weights > 0.0
    with_zeros = moments(rows, mixture, weights=weights)
    without = moments(rows[keep], mixture, weights=weights[keep])
    assert with_zeros.log_likelihood == without.log_likelihood
    np.testing.assert_array_equal(with_zeros.scatters, without.scatters)


def test_single_precision_rows_are_packed_in_double():
    rows = random_rows(3000, 3).astype(np.float32)
    np.testing.assert_array_equal(pack(rows).blocks, pack(rows.astype(float)).blocks)


def test_a_singular_covariance_is_an_error():
    mixture = random_mixture(2, 2)
    singular = Parameters(mixture.weights, mixture.means, np.ones((2, 2, 2)))
    with Pass.over(pack(random_rows(20, 2)), 1) as data:
        for kind in (kernels.FULL, kernels.TIED):
            with pytest.raises(np.linalg.LinAlgError):
                data.moments(singular, kind)
        flat = singular._replace(covariances=np.zeros((2, 2, 2)))
        for kind in (kernels.DIAGONAL, kernels.SPHERICAL):
            with pytest.raises(np.linalg.LinAlgError):
                data.moments(flat, kind)
