"""`BayesianGaussianMixture`: what it asks `fit_bayes` for, and what it makes of the answer; once with real chains."""

import pickle

import numpy as np
import pytest
from sklearn import mixture
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import bayesgmm.bayes
from bayesgmm.bayes.priors import Priors
from bayesgmm.errors import ArgumentError
from bayesgmm.estimators.bayesian import BayesianGaussianMixture
from tests.tolerances import ALGEBRA, EXACT, assert_close, assert_within_errors


@pytest.fixture
def asked(monkeypatch, faithful_draws):
    """Answer every call of fit_bayes with the same draws; return what was asked for."""
    calls = []

    def answer(data, n_components, **settings):
        calls.append({"data": data, "n_components": n_components} | settings)
        return faithful_draws

    monkeypatch.setitem(faithful_draws.info.diagnostics, "max_r_hat", 1.003)
    monkeypatch.setattr(bayesgmm.bayes, "fit_bayes", answer)
    return calls


# ---------------------------------------------------------------- the question


def test_scikit_learns_arguments_are_all_there():
    theirs, ours = mixture.BayesianGaussianMixture().get_params(), BayesianGaussianMixture().get_params()
    assert set(theirs) <= set(ours)
    assert {name for name in theirs if theirs[name] != ours[name]} == {"weight_concentration_prior_type"}


def test_settings_are_passed_on(asked, table):
    BayesianGaussianMixture(
        n_components=2, covariance_type="tied", random_state=7, draws=11, tune=12, chains=3, sampler=print,
        sampler_options={"target_accept": 0.9}, verbose=1,
    ).fit(table, sample_weight=np.full(272, 2.0))  # fmt: skip
    (call,) = asked
    assert call["structure"].code == "EEE"
    found = {
        name: call[name] for name in ("n_components", "seed", "draws", "tune", "chains", "target_accept", "progress")
    }
    assert found == {
        "n_components": 2, "seed": 7, "draws": 11, "tune": 12, "chains": 3, "target_accept": 0.9, "progress": True
    }  # fmt: skip
    assert call["sampler"] is print
    assert call["priors"] == Priors()
    assert call["data"].features == ("eruptions", "waiting")
    assert np.all(call["data"].sample_weight == 2.0)


@pytest.mark.parametrize("source", [np.random.RandomState, np.random.default_rng])
def test_a_generator_settles_the_seed(asked, table, source):
    for _ in range(2):
        BayesianGaussianMixture(n_components=2, random_state=source(3)).fit(table)
    assert asked[0]["seed"] == asked[1]["seed"]


def test_priors_are_translated(asked, table):
    BayesianGaussianMixture(
        n_components=2, weight_concentration_prior=0.5, mean_prior=[3.0, 70.0], degrees_of_freedom_prior=7.0,
        covariance_prior=np.diag([0.4, 160.0]),
    ).fit(table)  # fmt: skip
    priors = asked[0]["priors"]
    assert (priors.concentration, priors.mean_location, priors.dof) == (0.5, [3.0, 70.0], 7.0)
    # The mean of the inverse Wishart distribution: scale / (nu - D - 1).
    assert_close(np.square(priors.within_sd), [0.4 / 4.0, 160.0 / 4.0], ALGEBRA)


@pytest.mark.parametrize(
    ("covariance_type", "scale", "expected"), [("diag", [3.0, 9.0], [1.0, 3.0]), ("spherical", 6.0, 2.0)]
)
def test_diagonal_covariances_have_priors_of_one_dimension(asked, table, covariance_type, scale, expected):
    BayesianGaussianMixture(
        n_components=2, covariance_type=covariance_type, degrees_of_freedom_prior=5.0, covariance_prior=scale
    ).fit(table)
    assert_close(np.square(asked[0]["priors"].within_sd), np.broadcast_to(expected, 2), ALGEBRA)


def test_the_packages_own_priors_are_passed_on(asked, table):
    priors = Priors(mean_sd=[1.0, 20.0])
    BayesianGaussianMixture(n_components=2, priors=priors).fit(table)
    assert asked[0]["priors"] == priors


REFUSED = [
    ({"weight_concentration_prior_type": "dirichlet_process"}, "dirichlet_distribution"),
    ({"mean_precision_prior": 1.0}, "mean_precision_prior=1.0 has no counterpart"),
    ({"covariance_prior": np.eye(2)}, "degrees_of_freedom_prior"),
    ({"covariance_prior": np.ones((2, 2)), "degrees_of_freedom_prior": 6.0}, "diagonal"),
    ({"covariance_prior": 1.0, "degrees_of_freedom_prior": 6.0}, "shape"),
    ({"covariance_prior": [["a", "b"], ["c", "d"]], "degrees_of_freedom_prior": 6.0}, "must be numbers"),
    ({"covariance_prior": np.eye(2), "degrees_of_freedom_prior": 3.0}, "large enough"),
    ({"covariance_prior": -np.eye(2), "degrees_of_freedom_prior": 6.0}, "must be positive"),
    ({"priors": Priors(), "weight_concentration_prior": 1.0}, "leave out the other arguments"),
]


@pytest.mark.parametrize(("settings", "words"), REFUSED)
def test_a_prior_without_a_counterpart_is_refused(asked, table, settings, words):
    with pytest.raises(ArgumentError, match=words):
        BayesianGaussianMixture(n_components=2, **settings).fit(table)
    assert asked == []


@pytest.mark.parametrize("settings", [{"draws": 0}, {"tune": -1}, {"chains": 1.5}, {"weight_concentration_prior": 0.0}])
def test_an_illegal_parameter_is_named(table, settings):
    with pytest.raises(ValueError, match=f"The '{next(iter(settings))}' parameter"):
        BayesianGaussianMixture(**settings).fit(table)


# ---------------------------------------------------------------- the answer


@pytest.fixture
def fitted(asked, table):
    return BayesianGaussianMixture(n_components=2, random_state=0).fit(table)


def test_attributes_are_posterior_means(fitted, faithful_draws):
    draws = faithful_draws.tree["posterior"].mean(("chain", "draw"))
    assert_close(fitted.weights_, draws["weights"].values, EXACT)
    assert_close(fitted.means_, draws["means"].values, EXACT)
    assert_close(fitted.covariances_, draws["covariances"].values, EXACT)
    assert_close(fitted.precisions_ @ fitted.covariances_, np.stack([np.eye(2)] * 2), ALGEBRA)
    assert fitted.n_iter_ == 1500


def test_memberships_are_columns_for_the_next_step(fitted, table):
    np.testing.assert_array_equal(fitted.transform(table), fitted.predict_proba(table))
    assert list(fitted.get_feature_names_out()) == ["bayesiangaussianmixture0", "bayesiangaussianmixture1"]


def test_predictions_are_averages_over_draws(fitted, faithful_draws, table):
    draws = faithful_draws.mixture.flatten()
    each = [draws[s].responsibilities(table) for s in range(draws.n_mixtures)]
    assert_close(fitted.predict_proba(table), np.mean(each, axis=0), EXACT)
    densities = [np.exp(draws[s].log_density(table)) for s in range(draws.n_mixtures)]
    assert_close(fitted.score_samples(table), np.log(np.mean(densities, axis=0)), EXACT)
    np.testing.assert_array_equal(fitted.predict(table), np.mean(each, axis=0).argmax(axis=1))


@pytest.mark.parametrize(
    ("max_r_hat", "divergences", "expected"), [(1.003, 0, True), (1.02, 0, False), (1.003, 1, False)]
)
def test_converged_means_that_the_chains_agree(
    asked, faithful_draws, table, monkeypatch, max_r_hat, divergences, expected
):
    monkeypatch.setitem(faithful_draws.info.diagnostics, "max_r_hat", max_r_hat)
    monkeypatch.setitem(faithful_draws.info.diagnostics, "divergences", divergences)
    assert BayesianGaussianMixture(n_components=2).fit(table).converged_ is expected


def test_samples_are_from_the_posterior_predictive(fitted, faithful_draws):
    X, y = fitted.sample(20_000)
    draws = faithful_draws.mixture
    mean, variance = draws.mean.mean(axis=(0, 1)), draws.covariance.mean(axis=(0, 1)).diagonal()
    assert_within_errors(X.mean(axis=0), mean, np.sqrt(variance / len(X)))
    assert np.all(np.diff(y) >= 0)


def test_it_survives_pickling_without_its_model(fitted, table):
    fitted.fit_.model = lambda: "not to be pickled"
    restored = pickle.loads(pickle.dumps(fitted))  # noqa: S301
    assert restored.fit_.model is None
    assert fitted.fit_.model is not None
    np.testing.assert_array_equal(restored.predict_proba(table), fitted.predict_proba(table))
    fitted.fit_.model = None


def test_a_clone_is_unfitted(table):
    settings = {"n_components": 2, "priors": Priors(concentration=2.0), "sampler_options": {"cores": 1}}
    estimator = BayesianGaussianMixture(**settings)
    copied = clone(estimator)
    assert copied.get_params() == estimator.get_params()
    with pytest.raises(NotFittedError):
        copied.predict(table)


# ---------------------------------------------------------------- with chains


@pytest.mark.filterwarnings("ignore::bayesgmm.errors.SamplingWarning")
def test_real_chains_find_two_kinds_of_eruption(table):
    found = BayesianGaussianMixture(n_components=2, random_state=0, draws=30, tune=60, chains=2).fit(table)
    assert found.fit_.has_draws
    assert list(found.feature_names_in_) == list(found.fit_.features)
    assert abs(found.means_[0, 1] - 80.0) < 2.0
    assert abs(found.means_[1, 1] - 54.5) < 2.0
    assert np.bincount(found.predict(table)).tolist() == pytest.approx([175, 97], abs=4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::bayesgmm.errors.BayesGMMWarning")
def test_more_columns_than_rows_can_be_sampled():
    X = np.random.default_rng(0).normal(size=(5, 6))
    found = BayesianGaussianMixture(random_state=0, draws=3, tune=3, chains=1).fit(X)
    assert np.all(np.isfinite(found.score_samples(X)))
