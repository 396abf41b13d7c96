"""Derivatives of the log-likelihood against differentiation by complex steps, at points that are no maximum."""

import numpy as np
import pytest
from scipy.linalg import expm

from bayesgmm.em.information import information
from bayesgmm.em.tangent import jacobian, tangent_space
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.parameters import list_parameters, parameter_draws
from bayesgmm.structure import STRUCTURES
from tests.em.differentiation import log_density, second_slopes, slopes
from tests.examples import random_covariances, random_mixture, random_rows
from tests.tolerances import ALGEBRA, EXACT, assert_close

REG_COVAR = 0.1


def mixture_of(code, k=2, d=3):
    mixture = random_mixture(k, d)
    return Mixture(mixture.weights, mixture.means, random_covariances(code, k, d))


def moved(space, x):
    """Go to coordinates x, which may be complex: the definition, with nothing expanded."""
    k, d = space.mixture.means.shape
    contrasts, means, free = np.split(x, [k - 1, k - 1 + k * d])
    weights = space.mixture.weights * np.exp(space.contrasts @ contrasts)
    covariances = []
    for root, directions in zip(space.roots, space.directions, strict=True):
        own, sds = free[directions.columns], np.linalg.norm(root, axis=0)
        is_turn = directions.turns.any(axis=(1, 2))
        change = np.tensordot(own[~is_turn], directions.changes[~is_turn], axes=1)
        skew = np.tensordot(own[is_turn], directions.turns[is_turn], axes=1) * sds[:, None] / sds
        turned = (root / sds) @ expm(skew) * sds if is_turn.any() else root
        covariances.append(turned @ expm(change) @ turned.T)
    return weights / weights.sum(), space.mixture.means + (space.roots @ means.reshape(k, d, 1))[..., 0], covariances


@pytest.mark.parametrize("code", STRUCTURES)
def test_derivatives_of_the_log_likelihood(code):
    space = tangent_space(mixture_of(code), STRUCTURES[code])
    Z = random_rows(30, 3)
    weights = np.random.default_rng(2).uniform(0.2, 3.0, size=30)
    amount = REG_COVAR * weights.sum() / 2
    origin = np.zeros(STRUCTURES[code].n_parameters(2, 3))

    def log_likelihood(x):
        parameters = moved(space, x)
        penalty = sum(np.trace(np.linalg.inv(cov)) for cov in parameters[2])
        return weights @ log_density(Z, *parameters) - 0.5 * amount * penalty

    found = information(space, Z, weights, reg_covar=REG_COVAR)
    assert_close(found.gradient, slopes(log_likelihood, origin), EXACT)
    assert_close(-found.observed, second_slopes(log_likelihood, origin), ALGEBRA)
    scores = slopes(lambda x: log_density(Z, *moved(space, x)), origin)
    assert_close(found.scores, (weights * scores.T) @ scores, EXACT)


@pytest.mark.parametrize("code", STRUCTURES)
def test_derivatives_of_the_named_parameters(code):
    mixture = mixture_of(code)
    space = tangent_space(mixture, STRUCTURES[code])
    parameters = list_parameters(code, 2, mixture.features)
    origin = np.zeros(STRUCTURES[code].n_parameters(2, 3))

    def named(x):
        weights, means, covariances = moved(space, x)
        arrays = {"weights": weights, "means": means, "covariances": np.stack(covariances)}
        return np.array([arrays[parameter.group][parameter.position] for parameter in parameters])

    assert_close(named(origin), parameter_draws(mixture, code)[1], EXACT)
    assert_close(jacobian(space, parameters), slopes(named, origin), EXACT)


def test_known_labels_leave_nothing_missing():
    mixture = Mixture([0.4, 0.6], [[-100.0, 0.0], [100.0, 0.0]], random_mixture(2, 2).covariances)
    Z, _ = mixture.sample(200, 0)
    found = information(tangent_space(mixture, STRUCTURES["VVV"]), Z)
    assert_close(found.observed, found.complete, EXACT)


def test_blocks_add_up(monkeypatch):
    space, Z = tangent_space(mixture_of("VVV"), STRUCTURES["VVV"]), random_rows(100, 3)
    whole = information(space, Z)
    monkeypatch.setattr("bayesgmm.em.information._BLOCK", 500)
    parts = information(space, Z)
    for name in ("gradient", "complete", "observed", "scores"):
        assert_close(getattr(parts, name), getattr(whole, name), EXACT)


def test_one_component_in_one_dimension():
    x = np.array([[1.0], [2.0], [6.0]])
    mixture = Mixture([1.0], [[3.0]], [[[14.0 / 3.0]]])
    found = information(tangent_space(mixture, STRUCTURES["VII"]), x)
    # Coordinates: the mean in standard deviations, the logarithm of the variance.
    np.testing.assert_allclose(found.observed, [[3.0, 0.0], [0.0, 1.5]], atol=EXACT)
    np.testing.assert_allclose(found.gradient, 0.0, atol=EXACT)
