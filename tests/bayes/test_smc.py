"""Sequential Monte Carlo: what several populations say of the evidence together, and what they leave open."""

import numpy as np
import pymc as pm
import pytest
import xarray as xr

from bayesgmm.bayes.smc import pooled_log_evidence, sample_smc
from bayesgmm.mixture import Mixture
from tests import tolerances

START = Mixture([1.0], [[0.0]], [[[1.0]]])


@pytest.mark.parametrize("n", [2, 3, 4, 8])
@pytest.mark.parametrize("sd", [0.1, 0.6])
def test_two_standard_errors_cover_as_often_as_they_say(n, sd):
    """Lognormal evidences with mean one, as those of populations are; the share within two errors is 95.4 %."""
    repetitions = 1500
    logs = np.random.default_rng(0).normal(-0.5 * sd**2, sd, size=(repetitions, n))
    covered = 0
    for one in logs:
        value, mcse = pooled_log_evidence(one)
        covered += abs(value) < 2 * mcse
    # The few that are missed beyond that come from skewness.
    assert covered / repetitions == pytest.approx(
        0.954, abs=0.015 + tolerances.STANDARD_ERRORS * 0.21 / repetitions**0.5
    )


def test_evidences_are_averaged_not_their_logarithms():
    value, _ = pooled_log_evidence(np.log([1.0, 3.0]))
    assert value == pytest.approx(np.log(2.0))


def test_equal_populations_have_no_error_and_one_has_none_that_is_known():
    assert pooled_log_evidence(np.full(4, -3.0)) == pytest.approx((-3.0, 0.0))
    value, mcse = pooled_log_evidence(np.array([-3.0]))
    assert value == pytest.approx(-3.0)
    assert np.isnan(mcse)


def test_the_guard_is_part_of_the_prior_though_it_is_tempered_with_the_likelihood(monkeypatch):
    """E exp(-x^2 / 2) is one over the root of two where x is standard normal."""
    with pm.Model() as model:
        pm.Potential("guard", -0.5 * pm.Normal("x", 0.0, 1.0) ** 2)
    stats = xr.Dataset({"log_marginal_likelihood": (("chain", "stage"), [[-1.0, -5.0], [-1.0, -5.0]])})
    posterior = xr.Dataset({"x": (("chain", "draw"), np.zeros((2, 3)))})
    tree = xr.DataTree.from_dict({"posterior": posterior, "sample_stats": stats})
    monkeypatch.setattr(pm, "sample_smc", lambda *_arguments, **_options: tree)
    found = sample_smc(model, structure=None, start=START, draws=3, tune=0, chains=2, seed=0, progress=False)
    attributes = found["sample_stats"].attrs
    assert 0.0 < attributes["log_evidence_mcse"] < 0.01
    tolerances.assert_within_errors(
        attributes["log_evidence"], -5.0 + 0.5 * np.log(2.0), attributes["log_evidence_mcse"]
    )


@pytest.mark.slow
def test_populations_find_the_evidence_within_their_errors():
    """Rows with one unknown mean have a closed form; twenty pairs of small populations, most within two errors."""
    x = np.array([0.3, 1.9, 2.2, 2.4, 3.1, 5.0])
    with pm.Model() as model:
        mean = pm.Normal("mean", 1.0, 2.0)
        pm.Normal("x", mean, 1.5**0.5, observed=x)
    covariance = 1.5 * np.eye(6) + 4.0
    offset = x - 1.0
    exact = -0.5 * (offset @ np.linalg.solve(covariance, offset) + np.linalg.slogdet(2 * np.pi * covariance)[1])
    logs = []
    for seed in range(20):
        found = sample_smc(model, structure=None, start=START, draws=100, tune=0, chains=4, seed=seed, progress=False)
        attributes = found["sample_stats"].attrs
        logs.append((attributes["log_evidence"] - exact) / attributes["log_evidence_mcse"])
    assert np.mean(np.abs(logs) < 2.0) >= 0.85
