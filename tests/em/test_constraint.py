"""The bound on the eigenvalues: the best cut against brute force, kept by every fit, known limits at both ends."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize, minimize_scalar

from bayesgmm.data import load_dataset, prepare
from bayesgmm.em.constraint import BOUNDED, truncated
from bayesgmm.em.fit import fit_em
from bayesgmm.errors import ArgumentError, DegenerateFitWarning
from tests.tolerances import EXACT, OPTIMUM, assert_close

IRIS = load_dataset("iris")
SPECIES = np.repeat([0, 1, 2], 50)
ACIDITY = load_dataset("acidity").to_numpy()[:, 0]
TIED = np.r_[np.random.default_rng(0).normal(size=60), np.full(10, 50.0)]


def loss(variances, found, counts):
    return float((counts[:, None] * (np.log(found) + variances / found)).sum())


@pytest.mark.parametrize("seed", range(20))
def test_the_cut_is_the_best_of_a_search(seed):
    rng = np.random.default_rng(seed)
    k, d = rng.integers(1, 5), rng.integers(1, 4)
    variances, counts = np.exp(3.0 * rng.normal(size=(k, d))), rng.uniform(0.1, 30.0, size=k)
    if seed % 3 == 0 and variances.size > 1:
        variances.flat[0] = 0.0
    ratio = rng.choice([1.0, 1.5, 10.0, 100.0])
    found = truncated(variances, counts, ratio)
    assert found.max() <= ratio * found.min() * (1 + EXACT)

    def at(log_floor):
        return loss(variances, np.clip(variances, np.exp(log_floor), ratio * np.exp(log_floor)), counts)

    grid = np.linspace(np.log(variances[variances > 0].min() / ratio) - 1, np.log(variances.max()) + 1, 400)
    start = grid[np.argmin([at(one) for one in grid])]
    best = minimize_scalar(at, bounds=(start - 0.2, start + 0.2), method="bounded", options={"xatol": 1e-10})
    assert loss(variances, found, counts) <= best.fun + 1e-9 * abs(best.fun)


def test_variances_within_the_bound_are_left_alone():
    variances = np.array([[1.0, 2.0], [3.0, 9.0]])
    assert truncated(variances, np.ones(2), 9.0) is variances
    with pytest.raises(np.linalg.LinAlgError):
        truncated(np.zeros((2, 2)), np.ones(2), 9.0)


@pytest.mark.parametrize("code", BOUNDED)
@pytest.mark.parametrize("ratio", [2.0, 15.0])
def test_every_fit_keeps_the_bound_and_never_falls(code, ratio):
    fit = fit_em(IRIS, 3, structure=code, max_eigenvalue_ratio=ratio, seed=0, n_starts=4)
    standard = fit.scaling.mixture_to_standard(fit.mixture)
    variances = np.linalg.eigvalsh(standard.covariances)
    assert variances.max() <= ratio * variances.min() * (1 + 1e-9)
    assert np.all(np.diff(fit.em_trace) >= -EXACT * abs(fit.log_likelihood))
    assert fit.info.diagnostics["converged"]
    free = fit_em(IRIS, 3, structure=code, seed=0, n_starts=4)
    assert fit.log_likelihood <= free.log_likelihood + 1e-6


def test_a_wide_bound_is_none_and_a_ratio_of_one_is_one_sphere():
    data = prepare(IRIS, scale="common")
    free = fit_em(data, 3, start=SPECIES)
    wide = fit_em(data, 3, start=SPECIES, max_eigenvalue_ratio=1e6)
    assert_close(wide.log_likelihood, free.log_likelihood, 1e-9)
    sphere = fit_em(data, 3, structure="EII", seed=0, n_starts=8)
    for code in ("VVV", "VVI", "VII", "EEE"):
        bound = fit_em(data, 3, structure=code, seed=0, n_starts=8, max_eigenvalue_ratio=1.0)
        assert_close(bound.log_likelihood, sphere.log_likelihood, 1e-8)
        assert_close(bound.mixture.covariances, sphere.mixture.covariances, 1e-4)


def test_a_spike_that_a_wide_bound_lets_through_is_named():
    with pytest.warns(DegenerateFitWarning, match=r"only max_eigenvalue_ratio=1e\+06 keeps component \d"):
        fit_em(IRIS, 3, seed=0, n_starts=4, max_eigenvalue_ratio=1e6)


def test_a_general_optimiser_under_the_bound_gains_nothing():
    """Two components on one column, variances no further apart than 1.2; Nelder-Mead around the fit."""
    ratio = 1.2
    fit = fit_em(ACIDITY, 2, max_eigenvalue_ratio=ratio, seed=0)
    variances = fit.mixture.covariances.ravel()
    assert variances.max() / variances.min() == pytest.approx(ratio)

    def negative(z):
        weight = 1 / (1 + np.exp(-z[0]))
        second = np.exp(z[3] + np.log(ratio) * np.sin(z[4]))
        parts = [
            np.log(weight) + stats.norm(z[1], np.exp(z[3] / 2)).logpdf(ACIDITY),
            np.log1p(-weight) + stats.norm(z[2], np.sqrt(second)).logpdf(ACIDITY),
        ]
        return -np.logaddexp(*parts).sum()

    weights, means = fit.mixture.weights, fit.mixture.means.ravel()
    start = [np.log(weights[0] / weights[1]), *means, np.log(variances[0]), 1.0]
    best = minimize(negative, start, method="Nelder-Mead", options={"maxiter": 4000, "xatol": 1e-8, "fatol": 1e-10})
    assert -best.fun == pytest.approx(fit.log_likelihood, abs=1e-6)


def test_rows_that_tie_are_no_spike():
    fit = fit_em(TIED, 2, max_eigenvalue_ratio=100.0, seed=0)
    assert fit.info.diagnostics["degenerate_components"] == []
    variances = fit.mixture.covariances.ravel()
    assert variances.max() / variances.min() == pytest.approx(100.0)


def test_collinear_columns_are_no_obstacle():
    rows = np.random.default_rng(0).normal(size=(60, 3))
    fit = fit_em(np.c_[rows, rows[:, 0] - rows[:, 2]], 2, max_eigenvalue_ratio=50.0, seed=0, n_starts=4)
    assert fit.info.diagnostics["converged"]


def test_units_are_of_no_concern():
    first = fit_em(IRIS, 3, max_eigenvalue_ratio=10.0, seed=0, n_starts=4)
    scale = np.array([1e3, 1.0, 1e-5, 10.0])
    second = fit_em(IRIS.to_numpy() * scale, 3, max_eigenvalue_ratio=10.0, seed=0, n_starts=4)
    assert_close(second.mixture.means / scale, first.mixture.means, OPTIMUM)


@pytest.mark.parametrize(
    ("ratio", "structure", "message"),
    [
        (0.5, "full", "at least 1"), (0, "full", "must be a positive number"), ("wide", "full", "positive number"),
        (10.0, "VEV", "works with the structures EII, spherical, EEI, diag, tied, full; with VEV"),
    ],
)  # fmt: skip
def test_what_cannot_be_bounded_is_refused(ratio, structure, message):
    with pytest.raises(ArgumentError, match=message):
        fit_em(IRIS, 3, structure=structure, max_eigenvalue_ratio=ratio)
