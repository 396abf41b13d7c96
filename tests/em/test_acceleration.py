"""Coordinates round the corner and back, and quasi-Newton steps that find the maximum of a parabola."""

import numpy as np
import pytest

from bayesgmm.em.acceleration import Coordinates, _two_loops
from bayesgmm.em.m_step import m_step
from bayesgmm.em.statistics import Parameters
from bayesgmm.structure import STRUCTURES
from tests.examples import random_covariances, random_mixture
from tests.tolerances import ALGEBRA, assert_close


def member(code, *, seed):
    mixture = random_mixture(3, 4, seed=seed)
    return Parameters(mixture.weights, mixture.means, random_covariances(code, 3, 4, seed=seed))


@pytest.mark.parametrize("code", STRUCTURES)
def test_a_mixture_comes_back_from_its_vector(code):
    structure, reference, mixture = STRUCTURES[code], member(code, seed=0), member(code, seed=1)
    coordinates = Coordinates(reference, structure, 100.0)
    moments = coordinates.decode(coordinates.encode([mixture])[0])
    found = m_step(moments, structure, previous=mixture)
    assert_close(found.weights, mixture.weights, ALGEBRA)
    assert_close(found.means, mixture.means, ALGEBRA)
    assert_close(found.covariances, mixture.covariances, ALGEBRA)
    assert_close(moments.counts.sum(), 100.0, ALGEBRA)


@pytest.mark.parametrize("code", STRUCTURES)
def test_the_reference_is_the_origin(code):
    reference = member(code, seed=0)
    coordinates = Coordinates(reference, STRUCTURES[code], 100.0)
    vector = coordinates.encode([reference])[0]
    assert_close(1.0 + vector, np.ones_like(vector), ALGEBRA)
    assert coordinates.drift(vector) < ALGEBRA


def test_lengths_are_roots_of_twice_the_divergence():
    """Half the squared length of a small step is the Kullback-Leibler divergence of the complete data."""
    reference, rng, step = member("VVV", seed=0), np.random.default_rng(3), 1e-5
    vector = rng.normal(size=3 + 12 + 30)
    vector[:3] -= reference.weights**0.5 * (reference.weights**0.5 @ vector[:3])  # weights keep their sum
    coordinates = Coordinates(reference, STRUCTURES["VVV"], 100.0)
    moments = coordinates.decode(step * vector)
    other = m_step(moments, STRUCTURES["VVV"])
    divergences = [
        0.5 * (np.trace(np.linalg.solve(b, a)) - 4 + np.linalg.slogdet(b)[1] - np.linalg.slogdet(a)[1]
               + (m - n) @ np.linalg.solve(b, m - n))
        for a, b, m, n in zip(reference.covariances, other.covariances, reference.means, other.means, strict=True)
    ]  # fmt: skip
    total = 100.0 * reference.weights @ (divergences + np.log(reference.weights / other.weights))
    assert_close(total / step**2, 0.5 * vector @ vector, 1e-3)


def test_the_history_of_a_parabola_is_its_inverse():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 5))
    hessian = root @ root.T + np.eye(5)
    point, pairs = rng.normal(size=5), []
    for _ in range(12):
        step = _two_loops(-hessian @ point, pairs)
        size = (step @ -hessian @ point) / (step @ hessian @ step)
        pairs.append((size * step, hessian @ (size * step)))
        point = point + size * step
        if np.linalg.norm(point) < 1e-10:
            break
    assert np.linalg.norm(point) < 1e-8
    assert len(pairs) <= 6
