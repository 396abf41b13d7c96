"""Pathfinder: curvature by two routes, exact where the posterior is normal, weights that add up over two modes."""

import numpy as np
import pytest
from scipy.optimize import LbfgsInvHessProduct
from scipy.stats import multivariate_normal

from bayesgmm.bayes import diagnostics, pathfinder
from bayesgmm.bayes.pathfinder import NormalApproximation, find_paths, weigh_paths
from bayesgmm.errors import FitError, SamplingWarning
from tests import tolerances
from tests.bayes.densities import LOG_MASS, normal, two_means


def test_the_inverse_hessian_is_scipys_for_the_same_steps():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(7, 7))
    steps = rng.normal(size=(7, 4))
    falls = (root @ root.T + np.eye(7)) @ steps
    found = pathfinder._inverse_hessian(np.ones(7), steps, falls)
    expected = LbfgsInvHessProduct(steps.T, falls.T).todense()
    tolerances.assert_close(found, expected, tolerances.ALGEBRA)


def test_the_diagonal_follows_the_curvature_of_a_diagonal_hessian():
    """It solves the secant equation in the sense that traces agree, and stays where it is right already."""
    curvature = np.array([1.0, 4.0, 0.25])
    step = np.array([0.3, -1.0, 2.0])
    tolerances.assert_close(pathfinder._rescaled(1 / curvature, step, curvature * step), 1 / curvature, 1e-12)


def test_a_normal_approximation_draws_from_its_own_density():
    _, mean, cov = normal(4, seed=2)
    one = NormalApproximation(mean, np.linalg.cholesky(cov))
    vectors = one.draw(5, np.random.default_rng(0))
    tolerances.assert_close(one.log_density(vectors), multivariate_normal(mean, cov).logpdf(vectors), 1e-10)


def test_a_normal_posterior_is_found_with_its_mass():
    density, mean, cov = normal(5)
    rng = np.random.default_rng(1)
    paths = find_paths(density, rng.normal(size=(4, 5)), rng)
    weighted = weigh_paths(density, paths, 8000, rng)
    assert weighted.khat < 0.7
    assert abs(weighted.log_evidence - LOG_MASS) < tolerances.STANDARD_ERRORS * weighted.mcse + 1e-6
    drawn = weighted.resample(4000, rng)
    error = np.sqrt(np.diagonal(cov) / (4000 * weighted.efficiency))
    tolerances.assert_within_errors(drawn.mean(axis=0), mean, error)
    np.testing.assert_allclose(np.cov(drawn.T), cov, atol=0.2 * np.abs(cov).max())


def test_the_bound_is_below_the_mass_and_reaches_it_where_the_posterior_is_normal():
    density, _, _ = normal(3, seed=5)
    rng = np.random.default_rng(0)
    bounds = [path.elbo for path in find_paths(density, rng.normal(size=(3, 3)), rng)]
    np.testing.assert_allclose(bounds, LOG_MASS, atol=0.1)
    skewed, _ = two_means(0.5)
    assert max(path.elbo for path in find_paths(skewed, rng.normal(size=(3, 2)), rng)) < LOG_MASS + np.log(2)


def test_draws_of_paths_to_different_modes_count_in_one_numbering_only():
    """Two copies of the mass: searches end in both, and only the copy that is numbered like the start counts."""
    density, _ = two_means(2.0)
    rng = np.random.default_rng(3)
    paths = find_paths(density, np.array([[-1.5, 1.5], [1.5, -1.5], [-2.5, 2.0]]), rng)
    assert {tuple(np.sign(path.mean)) for path in paths} == {(-1.0, 1.0), (1.0, -1.0)}
    weighted = weigh_paths(density, paths, 9000, rng)
    assert abs(weighted.log_evidence - LOG_MASS) < tolerances.STANDARD_ERRORS * weighted.mcse + 1e-6
    drawn = weighted.resample(1000, rng)
    assert np.all(drawn[:, 0] < drawn[:, 1])


def test_searches_that_come_nowhere_are_an_error():
    density, _, _ = normal(2)
    nowhere = type(density)(2, lambda _: (np.nan, np.zeros(2)), density.expand, density.start)
    with pytest.raises(FitError, match="no search"):
        find_paths(nowhere, np.zeros((2, 2)), np.random.default_rng(0))


def test_weights_that_cannot_correct_an_approximation_are_a_warning():
    told = {
        "chains": 4,
        "draws": 100,
        "max_r_hat": 1.0,
        "min_ess": 500.0,
        "divergences": 0,
        "labels_are_doubtful": False,
    }
    diagnostics.warn(told | {"efficiency": 0.2, "khat": 0.9})
    with pytest.warns(SamplingWarning, match=r"cannot correct this approximation \(4.0% of the proposals count"):
        diagnostics.warn(told | {"efficiency": 0.04, "khat": 0.4})
