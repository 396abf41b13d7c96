"""`GaussianMixture` as scikit-learn's users handle it: attributes, seeds, pipelines, copies, messages."""

import copy
import pickle
import warnings

import joblib
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp
from sklearn import exceptions as sklearn_exceptions
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bayesgmm.data.datasets import load_dataset
from bayesgmm.em.fit import fit_em
from bayesgmm.errors import ArgumentError, ConvergenceWarning, DataError, DegenerateFitWarning
from bayesgmm.estimators.gaussian import GaussianMixture
from bayesgmm.structure import STRUCTURES
from tests.estimators.conftest import fit_quietly
from tests.tolerances import ALGEBRA, EXACT, assert_close, assert_within_errors

NAMED = ["full", "tied", "diag", "spherical"]
RECIPES = ["kmeans", "k-means++", "random", "random_from_data"]


# ---------------------------------------------------------------- what the attributes say


@pytest.mark.parametrize("covariance_type", [*NAMED, "VEV", "EEI"])
def test_precisions_are_inverses_and_factors_of_the_covariances(iris, covariance_type):
    found = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(iris)
    covariances, precisions, factors = found.covariances_, found.precisions_, found.precisions_cholesky_
    if covariance_type in ("diag", "spherical"):
        assert_close(precisions * covariances, np.ones_like(covariances), ALGEBRA)
        assert_close(factors**2, precisions, ALGEBRA)
    else:
        assert_close(covariances @ precisions, np.broadcast_to(np.eye(4), covariances.shape), ALGEBRA)
        assert_close(factors @ np.swapaxes(factors, -1, -2), precisions, ALGEBRA)
        np.testing.assert_array_equal(factors, np.triu(factors))


@pytest.mark.parametrize("covariance_type", NAMED)
def test_densities_and_probabilities_are_those_of_the_attributes(rows, covariance_type):
    found = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(rows)
    k, d = found.means_.shape
    covariances = {
        "full": lambda c: c,
        "tied": lambda c: [c] * k,
        "diag": lambda c: [np.diag(row) for row in c],
        "spherical": lambda c: [v * np.eye(d) for v in c],
    }[covariance_type](found.covariances_)
    log_joint = np.stack(
        [np.log(w) + stats.multivariate_normal(m, c).logpdf(rows)
         for w, m, c in zip(found.weights_, found.means_, covariances, strict=True)], axis=1
    )  # fmt: skip
    assert_close(found.score_samples(rows), logsumexp(log_joint, axis=1), ALGEBRA)
    assert_close(found.score(rows), logsumexp(log_joint, axis=1).mean(), ALGEBRA)
    expected = np.exp(log_joint - logsumexp(log_joint, axis=1, keepdims=True))
    assert_close(found.predict_proba(rows), expected, ALGEBRA)
    np.testing.assert_array_equal(found.predict(rows), log_joint.argmax(axis=1))


@pytest.mark.parametrize("code", ["full", "tied", "diag", "spherical", *STRUCTURES])
def test_every_structure_is_fitted_and_counted(iris, code):
    found = fit_quietly(GaussianMixture(2, covariance_type=code, random_state=0), iris)
    structure = next(s for s in STRUCTURES.values() if code in (s.code, s.name))
    expected = 2.0 * structure.n_parameters(2, 4) - 2.0 * len(iris) * found.score(iris)
    assert_close(found.aic(iris), expected, ALGEBRA)
    if code in STRUCTURES:
        assert found.covariances_.shape == (2, 4, 4)


@pytest.mark.parametrize(("name", "code"), [("full", "VVV"), ("tied", "EEE"), ("diag", "VVI"), ("spherical", "VII")])
def test_a_name_and_its_code_are_one_model(iris, name, code):
    named, coded = (GaussianMixture(3, covariance_type=kind, random_state=0).fit(iris) for kind in (name, code))
    assert_close(named.score_samples(iris), coded.score_samples(iris), EXACT)
    assert_close(named.bic(iris), coded.bic(iris), EXACT)


@pytest.mark.parametrize("covariance_type", [*NAMED, "E", "V"])
def test_one_column_has_a_variance_whatever_the_type(covariance_type):
    column = load_dataset("galaxies").to_numpy()
    found = GaussianMixture(1, covariance_type=covariance_type, reg_covar=0.0).fit(column)
    assert_close(found.covariances_.ravel(), [column.var()], ALGEBRA)


def test_the_mixture_has_the_names_of_the_columns(table):
    found = GaussianMixture(2, random_state=0).fit(table)
    assert list(found.feature_names_in_) == ["eruptions", "waiting"]
    assert found.mixture_.features == ("eruptions", "waiting")
    assert_close(found.mixture_.log_density(table), found.score_samples(table), EXACT)
    continued = fit_em(table, 2, start=found.mixture_)
    assert_close(continued.log_likelihood, -1130.2639601847, 1e-10)


def test_an_estimator_may_be_filled_in_by_hand(rows):
    fitted = GaussianMixture(2, random_state=0).fit(rows)
    by_hand = GaussianMixture(2)
    by_hand.weights_, by_hand.means_ = fitted.weights_, fitted.means_
    by_hand.precisions_cholesky_ = fitted.precisions_cholesky_
    assert_close(by_hand.score_samples(rows), fitted.score_samples(rows), ALGEBRA)
    by_hand.covariances_ = fitted.covariances_
    np.testing.assert_array_equal(by_hand.predict_proba(rows), fitted.predict_proba(rows))


def test_components_may_be_reordered_by_hand(rows):
    found = GaussianMixture(2, random_state=0).fit(rows)
    before = found.predict_proba(rows)
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        setattr(found, name, getattr(found, name)[::-1])
    assert_close(found.predict_proba(rows), before[:, ::-1], EXACT)


# ---------------------------------------------------------------- seeds, warm starts, sampling


@pytest.mark.parametrize(
    "source",
    [lambda: 3, lambda: np.random.RandomState(3), lambda: np.random.default_rng(3)],
    ids=["int", "state", "rng"],
)
@pytest.mark.parametrize("recipe", [*RECIPES, "search"])
def test_a_seed_settles_everything(rows, source, recipe):
    one, two = (
        fit_quietly(GaussianMixture(4, init_params=recipe, random_state=source(), max_iter=5), rows) for _ in range(2)
    )
    np.testing.assert_array_equal(one.means_, two.means_)
    np.testing.assert_array_equal(one.sample(5)[0], two.sample(5)[0])


def test_none_is_numpys_global_state(rows):
    found = []
    for _ in range(2):
        np.random.seed(5)  # noqa: NPY002
        found.append(fit_quietly(GaussianMixture(3, init_params="random", max_iter=3), rows).means_)
    np.testing.assert_array_equal(*found)


def test_a_warm_start_goes_on_where_the_last_fit_ended(rows):
    settings = {"random_state": 0, "reg_covar": 0.0, "tol": 1e-6}
    in_one = fit_quietly(GaussianMixture(2, max_iter=2, **settings), rows)
    in_two = GaussianMixture(2, max_iter=1, warm_start=True, **settings)
    fit_quietly(fit_quietly(in_two, rows), rows)
    assert_close(in_two.means_, in_one.means_, ALGEBRA)
    assert_close(in_two.precisions_, in_one.precisions_, ALGEBRA)
    for _ in range(100):
        bound = in_two.lower_bound_
        fit_quietly(in_two, rows)
        assert in_two.lower_bound_ >= bound - EXACT
        if in_two.converged_:
            break
    assert in_two.converged_


def test_without_a_warm_start_a_second_fit_begins_anew(rows, iris):
    again = GaussianMixture(2, random_state=0).fit(iris).fit(rows)
    np.testing.assert_array_equal(again.means_, GaussianMixture(2, random_state=0).fit(rows).means_)


def test_samples_have_the_moments_of_the_components(rows):
    found = GaussianMixture(2, random_state=0).fit(rows)
    n = 40_000
    X, y = found.sample(n)
    assert X.shape == (n, 2)
    assert np.all(np.diff(y) >= 0)
    shares = np.bincount(y) / n
    assert_within_errors(shares, found.weights_, np.sqrt(found.weights_ * (1 - found.weights_) / n))
    for k in range(2):
        part, covariance = X[y == k], found.covariances_[k]
        assert_within_errors(part.mean(axis=0), found.means_[k], np.sqrt(np.diag(covariance) / len(part)))
        errors = np.sqrt((np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2) / len(part))
        assert_within_errors(np.cov(part.T), covariance, errors)


# ---------------------------------------------------------------- within scikit-learn


def test_it_works_in_a_pipeline_and_a_grid_search(rows):
    steps = make_pipeline(StandardScaler(), GaussianMixture(random_state=0, max_iter=500))
    search = GridSearchCV(steps, {"gaussianmixture__n_components": [1, 2]}, cv=3).fit(rows)
    assert search.best_params_ == {"gaussianmixture__n_components": 2}
    assert search.predict_proba(rows).shape == (len(rows), 2)
    assert_close(search.score(rows), search.best_estimator_.score_samples(rows).mean(), EXACT)


def test_probabilities_are_columns_for_the_next_step(table):
    labels = table["waiting"].to_numpy() > 68
    step = GaussianMixture(2, random_state=0)
    classifier = make_pipeline(StandardScaler(), step, LogisticRegression()).fit(table, labels)
    assert classifier.score(table, labels) > 0.95
    np.testing.assert_array_equal(step.fit_transform(table), step.predict_proba(table))


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_probabilities_come_as_the_table_that_is_asked_for(table, container):
    relabelled = table.set_axis(range(1000, 1000 + len(table)))
    found = GaussianMixture(3, random_state=0).set_output(transform=container).fit(relabelled)
    shown = found.transform(relabelled)
    assert list(shown.columns) == list(found.get_feature_names_out()) == [f"gaussianmixture{k}" for k in range(3)]
    np.testing.assert_array_equal(shown.to_numpy(), found.predict_proba(relabelled))
    if container == "pandas":
        assert list(shown.index) == list(relabelled.index)
    assert isinstance(found.predict_proba(relabelled), np.ndarray)


def test_names_come_through_a_pipeline(table):
    steps = make_pipeline(StandardScaler(), GaussianMixture(2, random_state=0)).set_output(transform="pandas")
    found = steps.fit(table)[-1]
    assert list(found.feature_names_in_) == ["eruptions", "waiting"]
    assert found.n_features_in_ == 2
    assert found.mixture_.features == ("eruptions", "waiting")


def test_a_fitted_one_survives_joblib(rows, tmp_path):
    found = GaussianMixture(2, random_state=0).fit(rows)
    joblib.dump(found, tmp_path / "fit.joblib")
    np.testing.assert_array_equal(joblib.load(tmp_path / "fit.joblib").predict_proba(rows), found.predict_proba(rows))


def test_a_clone_is_unfitted_and_a_copy_is_not(rows):
    found = GaussianMixture(2, covariance_type="VEV", random_state=0).fit(rows)
    assert clone(found).get_params() == found.get_params()
    with pytest.raises(NotFittedError, match="This GaussianMixture instance is not fitted yet"):
        clone(found).predict(rows)
    for duplicate in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):  # noqa: S301
        np.testing.assert_array_equal(duplicate.predict_proba(rows), found.predict_proba(rows))


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score", "score_samples", "aic", "bic"])
def test_an_unfitted_one_says_so(rows, method):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(GaussianMixture(), method)(rows)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        GaussianMixture().sample()
    assert not hasattr(GaussianMixture(), "mixture_")


def test_fitting_and_predicting_at_once_is_the_same(rows):
    at_once = GaussianMixture(3, n_init=3, random_state=0).fit_predict(rows)
    np.testing.assert_array_equal(at_once, GaussianMixture(3, n_init=3, random_state=0).fit(rows).predict(rows))


def test_columns_are_known_by_name(table):
    found = GaussianMixture(2, random_state=0).fit(table)
    with pytest.raises(ValueError, match="feature names"):
        found.predict(table[["waiting", "eruptions"]])
    with pytest.raises(ValueError, match="expecting 2 features"):
        GaussianMixture(2, random_state=0).fit(table.to_numpy()).predict([[1.0]])


def test_integers_and_lists_are_taken_as_numbers(rows):
    whole = np.rint(rows).astype(np.int32)
    by_int, by_list = (GaussianMixture(2, random_state=0).fit(X) for X in (whole, whole.tolist()))
    np.testing.assert_array_equal(by_int.means_, by_list.means_)
    assert_close(by_int.score(whole), by_list.score(whole.astype(float)), EXACT)
    assert_close(by_int.bic(whole.tolist()), by_int.bic(whole), EXACT)


# ---------------------------------------------------------------- what is said


@pytest.mark.parametrize("category", [ConvergenceWarning, sklearn_exceptions.ConvergenceWarning])
def test_not_having_converged_is_said_to_filters_of_either_package(rows, category):
    with pytest.warns(category, match="Best performing initialization did not converge"):
        found = GaussianMixture(3, max_iter=1, random_state=0).fit(rows)
    assert not found.converged_


def test_nothing_is_said_of_a_start_that_was_asked_for(rows):
    assert not GaussianMixture(3, max_iter=0, random_state=0).fit(rows).converged_


def test_verbose_prints_starts_and_passes(rows, capsys):
    GaussianMixture(2, n_init=2, random_state=0, verbose=1, verbose_interval=1).fit(rows)
    brief = capsys.readouterr().out.splitlines()
    assert [line for line in brief if line.startswith("Init")] == [
        "Initialization 0", "Initialization converged.", "Initialization 1", "Initialization converged."
    ]  # fmt: skip
    assert "  Iteration 2" in brief
    GaussianMixture(2, random_state=0, verbose=2, verbose_interval=1).fit(rows)
    assert "ll change" in capsys.readouterr().out
    GaussianMixture(2, random_state=0).fit(rows)
    assert capsys.readouterr().out == ""


BAD_STARTS = [
    ({"weights_init": [0.5, 0.2, 0.3]}, "weights_init .* should have the shape of \\(2,\\), but got \\(3,\\)"),
    ({"weights_init": [1.5, -0.5]}, "weights_init .* in the range \\[0, 1\\]"),
    ({"weights_init": [0.5, 0.6]}, "weights_init .* should be normalized"),
    ({"means_init": [[0.0, 1.0]]}, "means_init .* should have the shape of \\(2, 2\\)"),
    ({"means_init": [[0.0, 1.0], [np.nan, 2.0]]}, "means_init .* finite"),
    ({"means_init": [["a", "b"], ["c", "d"]]}, "means_init .* should be an array of numbers"),
    (
        {"precisions_init": np.ones((2, 2))},
        "precisions_init .* 'full precision' should have the shape of \\(2, 2, 2\\)",
    ),
    ({"precisions_init": -np.stack([np.eye(2)] * 2)}, "'full precision' should be symmetric, positive-definite"),
    ({"precisions_init": [[2.0, 1.0], [0.0, 2.0]], "covariance_type": "tied"}, "'tied precision' should be symmetric"),
    ({"precisions_init": [[1.0, 0.0], [1.0, 1.0]], "covariance_type": "diag"}, "'diag precision' should be positive"),
    ({"precisions_init": [1.0, -1.0], "covariance_type": "spherical"}, "'spherical precision' should be positive"),
]


@pytest.mark.parametrize(("settings", "words"), BAD_STARTS)
def test_a_start_that_cannot_be_used_is_named(rows, settings, words):
    with pytest.raises(ArgumentError, match=words):
        GaussianMixture(2, **settings).fit(rows)


@pytest.mark.parametrize(
    "settings",
    [{"n_components": 0}, {"n_components": 1.5}, {"covariance_type": "round"}, {"tol": -1.0}, {"reg_covar": -1e-3},
     {"max_iter": -1}, {"n_init": 0}, {"init_params": "guess"}, {"random_state": "one"}, {"verbose_interval": 0}],
)  # fmt: skip
def test_an_illegal_parameter_is_named(rows, settings):
    with pytest.raises(ValueError, match=f"The '{next(iter(settings))}' parameter"):
        GaussianMixture(**settings).fit(rows)


def test_a_code_of_one_dimension_is_refused_in_two(rows):
    with pytest.raises(ArgumentError, match="'V' is not known"):
        GaussianMixture(covariance_type="V").fit(rows)


def test_fewer_rows_than_components_are_refused(rows):
    with pytest.raises(DataError, match="Expected n_samples >= n_components but got n_components = 5, n_samples = 4"):
        GaussianMixture(5).fit(rows[:4])


def test_as_many_rows_as_components_are_enough(rows):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateFitWarning)
        found = GaussianMixture(3, covariance_type="spherical", random_state=0).fit(rows[:3])
    assert sorted(found.predict(rows[:3])) == [0, 1, 2]


@pytest.mark.parametrize("n_samples", [0, 1.5, "x", None])
def test_a_sample_has_at_least_one_row(rows, n_samples):
    with pytest.raises(ArgumentError, match=f"Invalid value for 'n_samples': {n_samples!r}"):
        GaussianMixture(2, random_state=0).fit(rows).sample(n_samples)
