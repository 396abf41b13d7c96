"""Distribution functions, quantiles, regions and anomaly scores, by quadrature, inversion and simulation."""

import numpy as np
import pytest
from scipy import integrate, stats

import bayesgmm as bg
from bayesgmm.regions import anomaly_scores, cdf, highest_density_level, quantile

ONE = bg.Mixture([0.3, 0.7], [[-2.0], [1.0]], [[[0.25]], [[2.0]]])


def test_the_distribution_function_integrates_the_density():
    for x in (-3.0, -1.5, 0.0, 4.0):
        exact, _ = integrate.quad(lambda t: np.exp(ONE.log_density([[t]])[0]), -30, x, points=[-2])
        assert cdf(ONE, x) == pytest.approx(exact, abs=1e-9)


def test_quantiles_invert_the_distribution_function():
    q = np.array([[1e-6, 0.1], [0.5, 1 - 1e-6]])
    np.testing.assert_allclose(cdf(ONE, quantile(ONE, q)), q, rtol=1e-9)


def test_quantiles_move_with_the_units():
    moved = ONE.affine([1e-9], [1e3])
    np.testing.assert_allclose(quantile(moved, [0.2, 0.9]), 1e3 + 1e-9 * quantile(ONE, [0.2, 0.9]), rtol=1e-15)


def test_draws_are_averaged_over():
    batch = bg.Mixture(np.ones((2, 1)), [[[0.0]], [[1.0]]], np.ones((2, 1, 1, 1)))
    assert cdf(batch, 0.5) == pytest.approx(0.5)
    assert cdf(batch, 0.0) == pytest.approx(0.5 * (0.5 + stats.norm.cdf(-1.0)))


def test_the_level_of_a_normal_is_a_chi_square():
    normal = bg.Mixture([1.0], [[0.0, 0.0]], [np.eye(2)])
    exact = -np.log(2 * np.pi) - 0.5 * stats.chi2(2).ppf(0.9)
    assert highest_density_level(normal, 0.9) == pytest.approx(exact, abs=4 * np.sqrt(0.09 / 20_000) / 0.1)


def test_anomaly_scores_of_ordinary_rows_are_uniform():
    rows, _ = ONE.sample(2000, seed=5)
    scores = anomaly_scores(ONE, rows)
    assert stats.kstest(scores, "uniform").pvalue > 1e-3
    assert anomaly_scores(ONE, [[50.0]])[0] == pytest.approx(1 / 20_001)


def test_illegal_arguments_are_named():
    with pytest.raises(bg.ArgumentError, match="strictly between 0 and 1"):
        quantile(ONE, [0.0])
    with pytest.raises(bg.ArgumentError, match="prob=1"):
        highest_density_level(ONE, 1)
    with pytest.raises(bg.ArgumentError, match="2 columns; take one with marginal"):
        cdf(bg.Mixture([1.0], [[0.0, 0.0]], [np.eye(2)]), 0.0)
