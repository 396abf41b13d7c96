"""Laplace's approximation and importance sampling: exact where the posterior is normal, refused where it is not."""

import numpy as np
import pytest

from bayesgmm.bayes.density import UnconstrainedDensity
from bayesgmm.bayes.laplace import importance_sample, laplace_at, largest_khat, weigh
from bayesgmm.bayes.model import build_model
from bayesgmm.data import load_dataset
from bayesgmm.errors import FitError
from tests import tolerances
from tests.bayes.densities import LOG_MASS, normal, two_means


def test_a_normal_density_is_its_own_approximation():
    density, mean, cov = normal(5)
    found = laplace_at(density, density.start)
    np.testing.assert_allclose(found.mode, mean, atol=1e-6)
    np.testing.assert_allclose(found.chol @ found.chol.T, cov, rtol=1e-6, atol=1e-6)
    assert found.log_evidence == pytest.approx(LOG_MASS, abs=1e-6)
    weighted = importance_sample(density, found, 1000, np.random.default_rng(0))
    assert weighted.log_evidence == pytest.approx(LOG_MASS, abs=1e-6)
    assert weighted.efficiency == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("apart", [2.0, 0.6, 0.4])
def test_one_numbering_has_its_share_of_the_mass_however_close_the_other_is(apart):
    density, _ = two_means(apart)
    found = laplace_at(density, density.start)
    weighted = importance_sample(density, found, 20_000, np.random.default_rng(1))
    assert weighted.khat < 0.7
    assert abs(weighted.log_evidence - LOG_MASS) < tolerances.STANDARD_ERRORS * weighted.mcse + 1e-6
    numbered = weighted.resample(2000, np.random.default_rng(2))
    assert np.all(numbered[:, 0] < numbered[:, 1])


@pytest.mark.parametrize(("sd", "khat"), [(0.3, 1 - 0.3**2), (0.5, 1 - 0.5**2), (1.2, -1.0)])
def test_khat_is_the_shape_of_the_tail(sd, khat):
    """A standard normal weighed against a narrower one: the ratios are Pareto-tailed with shape 1 - sd^2."""
    noise = sd * np.random.default_rng(0).standard_normal((20_000, 1))
    ratios = -0.5 * noise[:, 0] ** 2 + 0.5 * (noise[:, 0] / sd) ** 2
    found = weigh(noise, ratios).khat
    assert found < 0 if khat < 0 else found == pytest.approx(khat, abs=0.15)


def test_the_mcse_is_that_of_repetitions():
    density, _, _ = normal(3)
    wide = laplace_at(density, density.start)
    wide = type(wide)(wide.mode + 0.3, wide.log_density, 1.3 * wide.chol)
    found = [importance_sample(density, wide, 1000, np.random.default_rng(seed)) for seed in range(60)]
    values = np.array([one.log_evidence for one in found])
    typical = np.mean([one.mcse for one in found])
    assert values.std() == pytest.approx(typical, rel=0.4)
    assert abs(values.mean() - LOG_MASS) < tolerances.STANDARD_ERRORS * typical / np.sqrt(60) + typical**2


def test_resampling_gives_every_draw_its_weight():
    vectors = np.arange(100.0)[:, None]
    log_ratios = np.log(np.arange(100) + 1.0)
    weighted = weigh(vectors, log_ratios)
    drawn = weighted.resample(20_000, np.random.default_rng(3))
    expected = np.sum(vectors[:, 0] * np.exp(weighted.log_weights))
    assert drawn.mean() == pytest.approx(expected, abs=0.05)


def test_draws_know_their_log_density():
    density, _, _ = normal(3)
    weighted = importance_sample(density, laplace_at(density, density.start), 500, np.random.default_rng(0))
    expected = [density.evaluate(vector)[0] for vector in weighted.vectors]
    np.testing.assert_array_equal(weighted.log_densities, expected)
    chosen = weighted.chosen(200, np.random.default_rng(1))
    np.testing.assert_array_equal(weighted.resample(200, np.random.default_rng(1)), weighted.vectors[chosen])


def test_what_has_no_peak_is_refused():
    def expand(vectors):
        return {}

    ridge = UnconstrainedDensity(2, lambda v: (-0.5 * v[0] ** 2, np.array([-v[0], 0.0])), expand, np.ones(2))
    with pytest.raises(FitError, match="no peak"):
        laplace_at(ridge, ridge.start)


@pytest.mark.parametrize(("code", "limit"), [("VVV", 0.7), ("EVV", 0.7), ("VVE", 0.5), ("EEV", 0.5)])
def test_importance_weights_of_axes_have_to_be_better(code, limit):
    assert largest_khat(build_model(load_dataset("faithful"), 2, code)) == limit
