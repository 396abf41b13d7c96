"""`GaussianMixture`: scikit-learn's class as the reference for what it has, identities for what it has not."""

import inspect

import numpy as np
import pytest
from sklearn import config_context, mixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from bayesgmm.em.fit import fit_em
from bayesgmm.errors import DegenerateFitWarning
from bayesgmm.estimators.gaussian import GaussianMixture
from tests.estimators.conftest import fit_quietly
from tests.tolerances import ALGEBRA, EXACT, OPTIMUM, assert_close

NAMED = ["full", "tied", "diag", "spherical"]
RECIPES = ["kmeans", "k-means++", "random", "random_from_data"]
TIGHT = {"reg_covar": 0.0, "tol": 1e-12, "max_iter": 5000}


def precisions_like(rows, covariance_type, k):
    """Return precisions of every component equal to that of the data, in scikit-learn's shape."""
    covariance = np.cov(rows.T)
    return {
        "full": np.stack([np.linalg.inv(covariance)] * k),
        "tied": np.linalg.inv(covariance),
        "diag": np.stack([1.0 / np.diag(covariance)] * k),
        "spherical": np.full(k, 1.0 / np.diag(covariance).mean()),
    }[covariance_type]


def given_start(rows, covariance_type, k):
    return {
        "weights_init": np.arange(1.0, k + 1.0) / np.arange(1.0, k + 1.0).sum(),
        "means_init": rows[:: len(rows) // k][:k],
        "precisions_init": precisions_like(rows, covariance_type, k),
    }


# ---------------------------------------------------------------- the same interface


def test_the_constructor_is_scikit_learns_but_for_one_default():
    ours, theirs = (inspect.signature(cls).parameters for cls in (GaussianMixture, mixture.GaussianMixture))
    assert list(ours) == list(theirs)
    assert {name for name in ours if ours[name].default != theirs[name].default} == {"reg_covar"}
    assert all(ours[name].kind == theirs[name].kind for name in ours)


def test_everything_that_a_fitted_one_has_is_there(rows):
    theirs = mixture.GaussianMixture(2, random_state=0).fit(rows)
    ours = GaussianMixture(2, random_state=0).fit(rows)
    assert {name for name in dir(theirs) if not name.startswith("_")} <= set(dir(ours))
    assert isinstance(ours.n_iter_, int)
    assert isinstance(ours.converged_, bool)
    assert isinstance(ours.score(rows), float)


@pytest.mark.parametrize("covariance_type", NAMED)
def test_shapes_are_scikit_learns(rows, covariance_type):
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        ours, theirs = (
            getattr(cls(3, covariance_type=covariance_type, random_state=0).fit(rows), name)
            for cls in (GaussianMixture, mixture.GaussianMixture)
        )
        assert ours.shape == theirs.shape
        assert ours.dtype == np.float64


# ---------------------------------------------------------------- the same fit


@pytest.mark.parametrize("covariance_type", NAMED)
@pytest.mark.parametrize("data", ["rows", "iris"])
def test_the_same_start_leads_to_the_same_optimum(data, covariance_type, request):
    X = request.getfixturevalue(data)
    start = given_start(X, covariance_type, 2)
    ours = GaussianMixture(2, covariance_type=covariance_type, **TIGHT, **start).fit(X)
    theirs = mixture.GaussianMixture(2, covariance_type=covariance_type, **TIGHT, **start).fit(X)
    assert_close(ours.score(X), theirs.score(X), 1e-9)
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        assert_close(getattr(ours, name), getattr(theirs, name), 10 * OPTIMUM)
    assert_close(ours.predict_proba(X), theirs.predict_proba(X), 10 * OPTIMUM)
    assert_close([ours.aic(X), ours.bic(X)], [theirs.aic(X), theirs.bic(X)], ALGEBRA)


@pytest.mark.parametrize("covariance_type", NAMED)
def test_the_same_seed_leads_to_the_same_optimum(rows, covariance_type):
    ours = GaussianMixture(3, covariance_type=covariance_type, random_state=0, **TIGHT).fit(rows)
    theirs = mixture.GaussianMixture(3, covariance_type=covariance_type, random_state=0, **TIGHT).fit(rows)
    assert_close(ours.score(rows), theirs.score(rows), 1e-9)
    assert_close(ours.means_, theirs.means_, 10 * OPTIMUM)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_seed_draws_the_same_start(rows, recipe):
    ours, theirs = (
        cls(4, init_params=recipe, random_state=7, max_iter=0).fit(rows)
        for cls in (GaussianMixture, mixture.GaussianMixture)
    )
    assert_close(ours.means_, theirs.means_, EXACT)
    assert ours.n_iter_ == theirs.n_iter_ == 0
    assert ours.lower_bound_ == theirs.lower_bound_ == -np.inf
    assert ours.lower_bounds_ == theirs.lower_bounds_ == []


@pytest.mark.parametrize("max_iter", [1, 2, 5])
@pytest.mark.parametrize("covariance_type", NAMED)
def test_max_iter_counts_em_steps(rows, covariance_type, max_iter):
    settings = {"covariance_type": covariance_type, "random_state": 0, "reg_covar": 0.0, "max_iter": max_iter}
    ours = fit_quietly(GaussianMixture(3, **settings, tol=0.0), rows)
    theirs = fit_quietly(mixture.GaussianMixture(3, **settings, tol=0.0), rows)
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        assert_close(getattr(ours, name), getattr(theirs, name), ALGEBRA)
    assert ours.n_iter_ == max_iter
    assert_close(ours.lower_bounds_[:-1], theirs.lower_bounds_[1:], ALGEBRA)
    assert_close(ours.lower_bound_, ours.score(rows), ALGEBRA)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
def test_every_recipe_takes_the_same_first_steps(rows, covariance_type, recipe):
    settings = {"covariance_type": covariance_type, "init_params": recipe, "random_state": 3, "reg_covar": 1e-8}
    ours = fit_quietly(GaussianMixture(3, **settings, max_iter=2), rows)
    theirs = fit_quietly(mixture.GaussianMixture(3, **settings, max_iter=2), rows)
    assert_close(ours.means_, theirs.means_, OPTIMUM)
    assert_close(ours.covariances_, theirs.covariances_, OPTIMUM)


@pytest.mark.parametrize("names", [["means_init"], ["weights_init", "precisions_init"], ["precisions_init"]])
def test_a_part_of_a_start_is_completed_by_the_recipe(rows, names):
    start = {name: value for name, value in given_start(rows, "full", 2).items() if name in names}
    settings = {"random_state": 0, "reg_covar": 0.0, "max_iter": 2}
    ours = fit_quietly(GaussianMixture(2, **start, **settings), rows)
    theirs = fit_quietly(mixture.GaussianMixture(2, **start, **settings), rows)
    assert_close(ours.means_, theirs.means_, ALGEBRA)
    assert_close(ours.covariances_, theirs.covariances_, ALGEBRA)


def test_components_keep_the_order_of_the_start(rows):
    means = np.array([[2.0, 54.0], [4.3, 80.0]])
    small_first = GaussianMixture(2, means_init=means).fit(rows)
    large_first = GaussianMixture(2, means_init=means[::-1]).fit(rows)
    assert small_first.weights_[0] < 0.5 < large_first.weights_[0]
    assert_close(small_first.means_, large_first.means_[::-1], ALGEBRA)


def test_more_starts_are_never_worse(iris):
    bounds = [GaussianMixture(4, n_init=n, init_params="random", random_state=1, max_iter=500).fit(iris).lower_bound_
              for n in (1, 3, 10)]  # fmt: skip
    assert bounds == sorted(bounds)


def test_the_search_is_that_of_fit_em(iris):
    found = GaussianMixture(3, init_params="search", random_state=0, **TIGHT).fit(iris)
    assert_close(found.means_, fit_em(iris, 3, seed=0).mixture.means, OPTIMUM)
    assert np.all(np.diff(found.weights_) <= 0.0)


def test_a_given_start_is_not_searched_for(rows):
    given = given_start(rows, "full", 2)
    searched, plain = (
        GaussianMixture(2, init_params=recipe, random_state=0, **given).fit(rows) for recipe in ("search", "kmeans")
    )
    np.testing.assert_array_equal(searched.means_, plain.means_)


# ---------------------------------------------------------------- regularisation and units


@pytest.mark.parametrize("covariance_type", NAMED)
def test_a_number_is_added_to_the_variances_in_the_users_units(rows, covariance_type):
    plain, regular = (
        GaussianMixture(1, covariance_type=covariance_type, reg_covar=r).fit(rows).mixture_.covariances[0]
        for r in (0.0, 0.5)
    )
    assert_close(regular - plain, 0.5 * np.eye(2), ALGEBRA)


def test_none_adds_a_fraction_of_each_columns_variance(rows):
    plain, regular = (GaussianMixture(1, reg_covar=r).fit(rows).covariances_[0] for r in (0.0, None))
    np.testing.assert_allclose(np.diag(regular - plain), 1e-6 * rows.var(axis=0), rtol=1e-6)


@pytest.mark.parametrize("covariance_type", [*NAMED, "VEV"])
@pytest.mark.parametrize(("factor", "offset"), [(1e-9, 0.0), (1e12, 0.0), (1.0, 1e9)])
def test_the_units_do_not_matter(rows, covariance_type, factor, offset):
    settings = {"covariance_type": covariance_type, "random_state": 0, "tol": 1e-8, "max_iter": 1000}
    here = GaussianMixture(2, **settings).fit(rows)
    there = GaussianMixture(2, **settings).fit(factor * rows + offset)
    assert_close(there.predict_proba(factor * rows + offset), here.predict_proba(rows), 10 * OPTIMUM)
    assert_close(there.score(factor * rows + offset) + 2.0 * np.log(factor), here.score(rows), OPTIMUM)


@pytest.mark.parametrize("covariance_type", NAMED)
@pytest.mark.parametrize("reg_covar", [None, 1e-6])
def test_a_constant_column_is_no_obstacle(rows, covariance_type, reg_covar):
    X = np.column_stack([rows[:, 1], np.full(len(rows), 3.0)])
    found = GaussianMixture(2, covariance_type=covariance_type, reg_covar=reg_covar, random_state=0).fit(X)
    assert_close(found.means_[:, 1], [3.0, 3.0], ALGEBRA)
    assert np.all(np.isfinite(found.score_samples(X)))


@pytest.mark.parametrize("covariance_type", NAMED)
def test_without_regularisation_singular_data_are_refused(covariance_type):
    X = np.repeat([[0.0, 0.0], [1.0, 1.0]], 5, axis=0)
    with pytest.raises(ValueError, match="some components have ill-defined empirical covariance"):
        fit_quietly(GaussianMixture(3, covariance_type=covariance_type, reg_covar=0.0, random_state=0), X)


def test_a_collapsed_component_is_named():
    X = np.concatenate([np.random.default_rng(0).normal(size=(40, 1)), [[9.0], [9.001]]])
    with pytest.warns(DegenerateFitWarning, match="component 1 has collapsed"):
        found = GaussianMixture(2, means_init=[[0.0], [9.0]], reg_covar=0.0, random_state=0).fit(X)
    assert not found.converged_


# ---------------------------------------------------------------- row weights


@pytest.mark.parametrize("covariance_type", [*NAMED, "VEV"])
def test_a_weight_of_two_is_a_row_that_occurs_twice(rows, covariance_type):
    weights = np.random.default_rng(0).integers(0, 4, size=len(rows))
    settings = {"covariance_type": covariance_type, "tol": 1e-10, "max_iter": 2000}
    settings |= {"means_init": rows[[0, 1]], "random_state": 0}
    weighted = GaussianMixture(2, **settings).fit(rows, sample_weight=weights)
    repeated = GaussianMixture(2, **settings).fit(np.repeat(rows, weights, axis=0))
    assert_close(weighted.predict_proba(rows), repeated.predict_proba(rows), OPTIMUM)
    assert_close(weighted.lower_bound_, repeated.lower_bound_, ALGEBRA)


@pytest.mark.parametrize("recipe", [*RECIPES, "search"])
def test_a_row_of_weight_zero_is_not_there(rows, recipe):
    weights = np.r_[np.zeros(40), np.ones(len(rows) - 40)]
    far = np.r_[rows[:40] + 1e6, rows[40:]]
    settings = {"init_params": recipe, "random_state": 0}
    weighted = GaussianMixture(2, **settings).fit(far, sample_weight=weights)
    without = GaussianMixture(2, **settings).fit(rows[40:], sample_weight=weights[40:])
    np.testing.assert_array_equal(weighted.means_, without.means_)
    np.testing.assert_array_equal(weighted.covariances_, without.covariances_)


@pytest.mark.parametrize("covariance_type", [*NAMED, "VEV"])
def test_a_search_starts_at_the_same_place_for_weights_and_repeated_rows_in_any_order(iris, covariance_type):
    rng = np.random.default_rng(1)
    weights = rng.integers(0, 4, size=len(iris))
    order = rng.permutation(len(iris))
    settings = {"covariance_type": covariance_type, "init_params": "search", "random_state": 0, "max_iter": 20}
    weighted = fit_quietly(GaussianMixture(4, **settings), iris[order], sample_weight=weights[order])
    repeated = fit_quietly(GaussianMixture(4, **settings), np.repeat(iris, weights, axis=0))
    np.testing.assert_array_equal(weighted.means_, repeated.means_)
    np.testing.assert_array_equal(weighted.covariances_, repeated.covariances_)


def test_a_weighted_score_is_that_of_repeated_rows(rows):
    weights = np.random.default_rng(0).integers(0, 4, size=len(rows))
    found = GaussianMixture(2, random_state=0).fit(rows)
    assert_close(found.score(rows, sample_weight=weights), found.score(np.repeat(rows, weights, axis=0)), EXACT)
    with pytest.raises(ValueError, match="sample_weight"):
        found.score(rows, sample_weight=[1.0])


@pytest.mark.parametrize(
    ("weights", "words"), [([1.0], "sample_weight"), (-np.ones(272), "[Nn]egative"), (np.zeros(272), "zero")]
)
def test_illegal_weights_are_refused(rows, weights, words):
    with pytest.raises(ValueError, match=words):
        GaussianMixture(2).fit(rows, sample_weight=weights)


def test_weights_are_routed(rows):
    weights = np.random.default_rng(0).uniform(size=len(rows))
    direct = GaussianMixture(2, means_init=rows[[0, 1]], random_state=0).fit(rows, sample_weight=weights)
    with config_context(enable_metadata_routing=True):
        step = GaussianMixture(2, means_init=rows[[0, 1]], random_state=0).set_fit_request(sample_weight=True)
        routed = make_pipeline("passthrough", step).fit(rows, sample_weight=weights)
        step.set_score_request(sample_weight=False)
        searched = GridSearchCV(step, {"n_components": [2]}, cv=2).fit(rows, sample_weight=weights)
        step.set_score_request(sample_weight=True)
        scored = GridSearchCV(step, {"n_components": [2]}, cv=2).fit(rows, sample_weight=weights)
    np.testing.assert_array_equal(routed[-1].means_, direct.means_)
    np.testing.assert_array_equal(searched.best_estimator_.means_, direct.means_)
    assert scored.best_score_ != searched.best_score_
    unweighted = GaussianMixture(2, means_init=rows[[0, 1]], random_state=0).fit(rows)
    assert not np.allclose(direct.means_, unweighted.means_, atol=1e-3)
