"""The EM loop: never downhill, at the optimum that plain EM leads to, and out of breath at a spike."""

from dataclasses import replace

import numpy as np
import pytest

from bayesgmm.em.loop import Settings, run_em
from bayesgmm.em.rows import pack
from bayesgmm.em.starts import moments_of_labels, start_from
from bayesgmm.em.statistics import Parameters, Pass
from bayesgmm.structure import STRUCTURES
from tests.em.references import labels_of, standardised
from tests.tolerances import assert_close

PLAIN = {"reach": 0.0, "patience": 10**6, "max_iter": 20_000, "tol": 1e-13}


def start_at_labels(name, code, k):
    Z, structure, _ = standardised(name, code)
    return (
        Z,
        structure,
        start_from(moments_of_labels(Z, labels_of(name, k), k, None), structure, prior=None, shrunk=False),
    )


def run(Z, start, settings):
    with Pass.over(pack(Z), 1) as data:
        return run_em(data, start, settings)


@pytest.mark.parametrize("code", STRUCTURES)
def test_the_log_likelihood_never_falls(code):
    Z, structure, start = start_at_labels("iris", code, 3)
    for settings in (Settings(structure), Settings(structure).faithful(), Settings(structure, n_plain=60)):
        trace = np.array(run(Z, start, settings).trace)
        assert np.all(np.diff(trace) >= -1e-12 * np.abs(trace[-1]))


@pytest.mark.parametrize(("name", "code", "k"), [("faithful", "VVV", 3), ("iris", "VEV", 3), ("galaxies", "VII", 5)])
def test_acceleration_ends_where_plain_em_ends_in_fewer_passes(name, code, k):
    Z, structure, start = start_at_labels(name, code, k)
    plain = run(Z, start, Settings(structure, **PLAIN))
    faithful = run(Z, start, Settings(structure).faithful())
    assert plain.converged
    assert faithful.converged
    assert faithful.n_passes < plain.n_passes
    assert_close(faithful.log_likelihood, plain.log_likelihood, 1e-9)
    assert_close(faithful.parameters.means, plain.parameters.means, 1e-4)


def test_the_remaining_gain_is_told_and_not_the_gain_of_a_step():
    """On a slow problem, plain EM stops when the last step gains 1e-10 per row; far more is left than that."""
    Z, structure, start = start_at_labels("faithful", "VVV", 3)
    best = run(Z, start, Settings(structure, **PLAIN)).log_likelihood
    for tol in (1e-5, 1e-7, 1e-9):
        found = run(Z, start, replace(Settings(structure).faithful(), tol=tol))
        assert found.converged
        assert best - found.log_likelihood <= 3.0 * tol * len(Z)


def test_a_run_that_is_out_of_passes_says_so():
    Z, structure, start = start_at_labels("faithful", "VVV", 3)
    found = run(Z, start, Settings(structure, max_iter=5))
    assert not found.converged
    assert found.n_passes == 5
    assert found.degenerate == ()


@pytest.mark.parametrize("code", ["VVV", "VII", "VVI", "VEV"])
def test_a_component_on_tied_rows_collapses_and_is_named(code):
    rng = np.random.default_rng(0)
    Z = np.concatenate([rng.normal(size=(60, 2)), np.full((10, 2), 8.0)])
    labels = np.r_[np.zeros(60, int), np.ones(10, int)]
    structure = STRUCTURES[code]
    start = start_from(moments_of_labels(Z, labels, 2, None), structure, prior=None, shrunk=True)
    found = run(Z, start, Settings(structure))
    assert found.degenerate == (1,)
    assert not found.converged
    assert np.isfinite(found.log_likelihood)


def test_a_tight_group_far_away_is_sound():
    rng = np.random.default_rng(0)
    Z = np.concatenate([rng.normal(size=(200, 2)), 1e-4 * rng.normal(size=(50, 2)) + 5.0])
    labels = np.r_[np.zeros(200, int), np.ones(50, int)]
    structure = STRUCTURES["VVV"]
    start = start_from(moments_of_labels(Z, labels, 2, None), structure, prior=None, shrunk=False)
    found = run(Z, start, Settings(structure))
    assert found.converged
    assert found.degenerate == ()
    assert_close(found.parameters.covariances[1], np.cov(Z[200:].T, bias=True), 1e-6)


def test_a_tied_covariance_far_smaller_than_the_total_keeps_its_digits():
    """Total minus between would lose 16 digits of a pooled variance 1e-12 times the total."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, size=300)
    noise = rng.normal(size=(300, 2))
    centres = np.array([[-1.17, 0.31], [0.23, 1.07], [0.91, -1.33]])
    structure = STRUCTURES["EEE"]
    found = []
    for scale in (1e-2, 1e-6, 1e-8):
        Z = centres[labels] + scale * noise
        start = start_from(moments_of_labels(Z, labels, 3, None), structure, prior=None, shrunk=True)
        one = run(Z, start, Settings(structure))
        assert one.converged
        found.append(one.parameters.covariances[0] / scale**2)
    assert_close(found[1], found[0], 1e-7)
    assert_close(found[2], found[0], 1e-6)


def test_a_prior_bounds_the_variance_and_its_objective_never_falls():
    rng = np.random.default_rng(0)
    Z = np.concatenate([rng.normal(size=(60, 2)), np.full((10, 2), 8.0)])
    structure, prior = STRUCTURES["VVV"], 1e-3 * np.eye(2)
    labels = np.r_[np.zeros(60, int), np.ones(10, int)]
    start = start_from(moments_of_labels(Z, labels, 2, None), structure, prior=prior, shrunk=False)
    objectives = [run(Z, start, Settings(structure, prior=prior, max_iter=n)).objective for n in range(2, 30)]
    assert np.all(np.diff(objectives) >= -1e-10)
    found = run(Z, start, Settings(structure, prior=prior))
    assert found.degenerate == ()
    # Ten rows of 70 hold less than the even share of 35: they get 35 / 10 of the prior.
    assert_close(found.parameters.covariances[1], 3.5e-3 * np.eye(2), 1e-6)


def test_a_singular_start_is_an_error():
    Z, structure, start = start_at_labels("faithful", "VVV", 2)
    flat = Parameters(start.weights, start.means, np.zeros_like(start.covariances))
    with pytest.raises(np.linalg.LinAlgError):
        run(Z, flat, Settings(structure))
