"""M steps of all fourteen structures: fixed points, maxima, closed forms."""

import numpy as np
import pytest

from bayesgmm.em.m_step import m_step
from bayesgmm.em.statistics import Moments, Parameters, kind_of, reduced_scatters
from bayesgmm.structure import STRUCTURES
from tests.examples import random_covariances
from tests.tolerances import ALGEBRA, EXACT, assert_close

COUNTS = np.array([12.5, 40.0, 7.25])


def random_moments(d=4, *, seed=0):
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(3, d, d + 3)) * np.exp(rng.normal(size=(3, 1, 1)))
    scatters = COUNTS[:, None, None] * roots @ roots.transpose(0, 2, 1)
    return Moments(0.0, COUNTS, rng.normal(size=(3, d)), scatters)


def expected_log_likelihood(moments, covariances):
    """Return the part of the expected complete log-likelihood that covariances have a share in."""
    log_determinants = np.linalg.slogdet(covariances)[1]
    traces = np.trace(np.linalg.solve(covariances, moments.scatters), axis1=1, axis2=2)
    return -0.5 * float(moments.counts @ log_determinants + traces.sum())


@pytest.mark.parametrize("d", [2, 5])
@pytest.mark.parametrize("code", STRUCTURES)
def test_moments_of_a_member_lead_back_to_it(code, d):
    covariances = random_covariances(code, 3, d)
    moments = Moments(0.0, COUNTS, np.zeros((3, d)), COUNTS[:, None, None] * covariances)
    found = m_step(moments, STRUCTURES[code])
    assert_close(found.covariances, covariances, ALGEBRA)
    assert_close(found.weights, COUNTS / COUNTS.sum(), EXACT)


@pytest.mark.parametrize("code", STRUCTURES)
def test_the_result_is_a_member(code):
    found = m_step(random_moments(), STRUCTURES[code]).covariances
    values, axes = np.linalg.eigh(found)
    volumes = values.prod(axis=1) ** 0.25
    shapes = values / volumes[:, None]
    volume, shape, orientation = code
    if volume == "E":
        assert_close(volumes, np.full(3, volumes[0]), ALGEBRA)
    if shape == "I":
        assert_close(shapes, np.ones((3, 4)), ALGEBRA)
    if orientation == "I":
        assert_close(found, found * np.eye(4), EXACT)
        shapes = np.diagonal(found, axis1=1, axis2=2) / volumes[:, None]
    if shape == "E":
        assert_close(shapes, np.tile(shapes[0], (3, 1)), ALGEBRA)
    if orientation == "E":
        rotated = axes[0].T @ found @ axes[0]
        assert_close(rotated, rotated * np.eye(4), ALGEBRA)


@pytest.mark.parametrize("code", STRUCTURES)
def test_no_neighbour_within_the_structure_is_better(code):
    moments, structure = random_moments(), STRUCTURES[code]
    best = m_step(moments, structure)
    value = expected_log_likelihood(moments, best.covariances)
    rng = np.random.default_rng(1)
    for size in (1e-3, 1e-1, 1.0):
        for _ in range(20):
            # Any scatters lead to a member; scatters near the given ones lead to members near the best.
            noise = rng.normal(size=(3, 4, 4)) * size
            factors = np.eye(4) + 0.3 * (noise + noise.transpose(0, 2, 1))
            shaken = Moments(0.0, COUNTS, moments.means, factors @ moments.scatters @ factors.transpose(0, 2, 1))
            neighbour = m_step(shaken, structure).covariances
            assert expected_log_likelihood(moments, neighbour) <= value + 1e-9 * abs(value)


@pytest.mark.parametrize("code", STRUCTURES)
def test_reduced_scatters_are_enough(code):
    moments, structure = random_moments(), STRUCTURES[code]
    kind = kind_of(structure)
    reduced = Moments(0.0, COUNTS, moments.means, reduced_scatters(moments.scatters, kind))
    for prior in (None, np.diag([0.1, 0.2, 0.3, 0.4])):
        full = m_step(moments, structure, prior=prior)
        assert_close(m_step(reduced, structure, prior=prior).covariances, full.covariances, ALGEBRA)


@pytest.mark.parametrize("code", STRUCTURES)
def test_where_the_search_starts_does_not_matter(code):
    moments, structure = random_moments(), STRUCTURES[code]
    cold = m_step(moments, structure)
    nearby = m_step(random_moments(seed=0), structure)
    assert_close(m_step(moments, structure, previous=nearby).covariances, cold.covariances, ALGEBRA)
    if structure.orientation != "E" or structure.shape == "E":
        far = Parameters(cold.weights, cold.means, random_covariances(code, 3, 4, seed=9))
        assert_close(m_step(moments, structure, previous=far).covariances, cold.covariances, ALGEBRA)


def test_closed_forms():
    moments = random_moments()
    pooled = moments.scatters.sum(axis=0) / COUNTS.sum()
    own = moments.scatters / COUNTS[:, None, None]

    def covariances(code):
        return m_step(moments, STRUCTURES[code]).covariances

    assert_close(covariances("VVV"), own, EXACT)
    assert_close(covariances("EEE"), np.stack([pooled] * 3), EXACT)
    assert_close(covariances("VVI"), own * np.eye(4), EXACT)
    assert_close(covariances("EEI"), np.stack([pooled * np.eye(4)] * 3), EXACT)
    assert_close(covariances("VII"), np.trace(own, axis1=1, axis2=2)[:, None, None] / 4 * np.eye(4), EXACT)
    assert_close(covariances("EII"), np.stack([np.trace(pooled) / 4 * np.eye(4)] * 3), EXACT)


@pytest.mark.parametrize("code", STRUCTURES)
def test_a_prior_makes_singular_scatters_regular(code):
    moments, structure = random_moments(), STRUCTURES[code]
    scatters = moments.scatters.copy()
    scatters[1] = 0.0
    collapsed = Moments(0.0, COUNTS, moments.means, scatters)
    regular = m_step(collapsed, structure, prior=0.01 * np.eye(4)).covariances
    assert np.linalg.eigvalsh(regular)[:, 0].min() > 1e-4


@pytest.mark.parametrize("code", ["VVV", "EVV", "VVI", "VII", "EVE", "VVE"])
def test_singular_scatters_are_an_error(code):
    moments = random_moments()
    scatters = moments.scatters.copy()
    scatters[1] = 0.0
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(m_step(Moments(0.0, COUNTS, moments.means, scatters), STRUCTURES[code]).covariances)


def test_the_prior_is_a_covariance_at_an_even_share():
    moments, prior = random_moments(), np.diag([0.1, 0.2, 0.3, 0.4])
    even = Moments(0.0, np.full(3, 20.0), moments.means, moments.scatters)
    found = m_step(even, STRUCTURES["VVV"], prior=prior).covariances
    assert_close(found, moments.scatters / 20.0 + prior, EXACT)
