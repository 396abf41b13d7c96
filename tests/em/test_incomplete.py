"""Missing values: expected moments row by row, what EM must and must not notice, and recovery."""

import numpy as np
import pytest

import bayesgmm as bg
from bayesgmm.em.incomplete import IncompletePass, completed
from bayesgmm.em.rows import pack
from bayesgmm.em.statistics import Parameters, Pass
from bayesgmm.kernels import em as kernels
from bayesgmm.structure import STRUCTURES
from tests.tolerances import OPTIMUM


def holey(n=200, d=3, share=0.3, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, d)) + 3 * (np.arange(n) % 2)[:, None]
    rows[rng.random(rows.shape) < share] = np.nan
    return rows[~np.isnan(rows).all(axis=1)]


def some_mixture(d=3):
    rng = np.random.default_rng(1)
    return bg.Mixture([0.4, 0.6], rng.normal(size=(2, d)), [np.eye(d) + 0.3, 2 * np.eye(d) - 0.1])


def expected_moments(rows, weights, mixture):
    """Complete every row in expectation, one at a time, by the textbook formulas."""
    k, d = mixture.means.shape
    log_likelihood, s0, s1, s2 = 0.0, np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))
    for row, weight in zip(rows, weights, strict=True):
        there = ~np.isnan(row)
        marginal = mixture.marginal([mixture.features[j] for j in np.flatnonzero(there)])
        log_likelihood += weight * marginal.log_density(row[None, there])[0]
        shares = weight * marginal.responsibilities(row[None, there])[0]
        for component in range(k):
            mean, covariance = mixture.means[component], mixture.covariances[component]
            slope = covariance[np.ix_(~there, there)] @ np.linalg.inv(covariance[np.ix_(there, there)])
            full, residual = row.copy(), np.zeros((d, d))
            full[~there] = mean[~there] + slope @ (row[there] - mean[there])
            residual[np.ix_(~there, ~there)] = (
                covariance[np.ix_(~there, ~there)] - slope @ covariance[np.ix_(there, ~there)]
            )
            s0[component] += shares[component]
            s1[component] += shares[component] * full
            s2[component] += shares[component] * (np.outer(full, full) + residual)
    means = s1 / s0[:, None]
    return log_likelihood, s0, means, s2 - s0[:, None, None] * means[:, :, None] * means[:, None, :]


def test_moments_are_the_expected_ones_row_by_row():
    rows, mixture = holey(), some_mixture()
    weights = np.random.default_rng(2).uniform(0.5, 2.0, size=len(rows))
    with IncompletePass.over(rows, weights) as data:
        found = data.moments(Parameters(mixture.weights, mixture.means, mixture.covariances), kernels.FULL)
    log_likelihood, counts, means, scatters = expected_moments(rows, weights, mixture)
    assert found.log_likelihood == pytest.approx(log_likelihood, rel=1e-12)
    np.testing.assert_allclose(found.counts, counts, rtol=1e-11)
    np.testing.assert_allclose(found.means, means, rtol=1e-10)
    np.testing.assert_allclose(found.scatters, scatters, rtol=1e-9)


@pytest.mark.parametrize("kind", [kernels.FULL, kernels.DIAGONAL, kernels.SPHERICAL, kernels.TIED])
def test_complete_rows_have_the_moments_of_the_ordinary_pass(kind):
    rows = np.nan_to_num(holey())
    parameters = Parameters(np.array([0.4, 0.6]), some_mixture().means, np.stack([2 * np.eye(3)] * 2))
    with IncompletePass.over(rows, None) as data, Pass.over(pack(rows)) as ordinary:
        found, expected = data.moments(parameters, kind), ordinary.moments(parameters, kind)
    for one, other in zip(vars(found).values(), vars(expected).values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)


def test_completed_rows_keep_what_was_observed():
    rows = holey()
    with IncompletePass.over(rows, None) as data:
        filled = completed(rows, data.total, np.random.default_rng(0))
    assert np.all(np.isfinite(filled))
    np.testing.assert_array_equal(filled[~np.isnan(rows)], rows[~np.isnan(rows)])


@pytest.mark.parametrize("code", STRUCTURES)
def test_every_structure_climbs_to_a_maximum(code):
    fit = bg.fit_em(holey(), 2, structure=code, missing="marginalize", seed=0, n_starts=4)
    assert fit.info.diagnostics["converged"]
    assert np.all(np.diff(fit.em_trace) > -1e-8)
    assert fit.log_likelihood == pytest.approx(fit.em_trace[-1], abs=OPTIMUM)


def test_one_gaussian_without_a_column_is_the_gaussian_of_the_others():
    """Values that are missing in a whole block of rows leave the observed columns' estimates what they were."""
    rng = np.random.default_rng(3)
    rows = rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], size=300)
    rows[100:, 1] = np.nan
    fit = bg.fit_em(rows, 1, missing="marginalize", seed=0)
    assert fit.mixture.means[0, 0] == pytest.approx(rows[:, 0].mean(), abs=1e-8)
    assert fit.mixture.covariances[0, 0, 0] == pytest.approx(rows[:, 0].var(), abs=1e-7)
    # Anderson (1957): the regression of the second column is that of the complete rows.
    slope, intercept = np.polyfit(rows[:100, 0], rows[:100, 1], 1)
    found = fit.mixture.covariances[0, 0, 1] / fit.mixture.covariances[0, 0, 0]
    assert found == pytest.approx(slope, abs=1e-6)
    assert fit.mixture.means[0, 1] == pytest.approx(intercept + slope * rows[:, 0].mean(), abs=1e-6)


def test_a_row_without_values_is_left_out_and_units_do_not_matter():
    rows = holey()
    with_empty = np.vstack([rows, np.full((3, 3), np.nan)])
    fit = bg.fit_em(rows, 2, missing="marginalize", seed=0)
    same = bg.fit_em(with_empty, 2, missing="marginalize", seed=0)
    assert same.prepared.n_dropped == 3
    assert same.log_likelihood == pytest.approx(fit.log_likelihood, rel=1e-10)
    moved = bg.fit_em(rows * 1e-6 + 5.0, 2, missing="marginalize", seed=0)
    n_values = int(np.sum(~np.isnan(rows)))
    assert moved.log_likelihood == pytest.approx(fit.log_likelihood + n_values * np.log(1e6), rel=1e-8)


def test_incomplete_rows_have_responsibilities_and_survive_a_file(tmp_path):
    fit = bg.fit_em(holey(), 2, missing="marginalize", seed=0)
    again = bg.load(fit.save(tmp_path / "fit.nc"))
    np.testing.assert_array_equal(again.responsibilities(), fit.responsibilities())
    assert np.all(np.isfinite(fit.memberships()["mean"]))
    assert fit.log_density([[np.nan, np.nan, np.nan]]) == pytest.approx(0.0, abs=1e-12)


def test_what_cannot_marginalise_says_so():
    prepared = bg.prepare(holey(), missing="marginalize")
    with pytest.raises(bg.DataError, match=r"needs complete rows, and \d+ have missing values"):
        bg.fit_kmeans(prepared, 2)
    with pytest.raises(bg.DataError, match="column 'x1' has no values"):
        bg.prepare([[1.0, np.nan], [2.0, np.nan]], missing="marginalize")
