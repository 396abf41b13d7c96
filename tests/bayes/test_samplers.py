"""The engines: one schema out of each, one posterior behind them, and what each says about itself."""

import arviz as az
import numpy as np
import pymc as pm
import pytest
import xarray as xr

import bayesgmm as bg
from bayesgmm.bayes.diagnostics import diagnose, warn
from bayesgmm.bayes.samplers import SAMPLERS
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.parameters import parameter_draws
from bayesgmm.posterior.relabel import relabel
from bayesgmm.structure import as_structure
from tests import tolerances

FAITHFUL = bg.prepare(bg.load_dataset("faithful"))
PLANS = {
    "nuts": {"draws": 500, "tune": 300, "chains": 4},
    "gibbs": {"draws": 1000, "tune": 200, "chains": 4},
    "laplace": {"draws": 500, "chains": 4},
    "advi": {"draws": 500, "chains": 4},
    "pathfinder": {"draws": 500, "chains": 4},
}


@pytest.fixture(scope="module")
def em():
    return bg.fit_em(FAITHFUL, 2, seed=0)


@pytest.fixture(scope="module")
def fits(em):
    return {name: bg.fit_bayes(FAITHFUL, 2, em=em, seed=0, sampler=name, **plan) for name, plan in PLANS.items()}


def test_every_engine_has_a_plan_here():
    assert set(PLANS) | {"smc"} == set(SAMPLERS)


@pytest.mark.parametrize("name", PLANS)
def test_every_engine_gives_the_same_schema(name, fits):
    fit = fits[name]
    assert (fit.method, fit.info.settings["sampler"]) == (name, name)
    assert {"posterior", "sample_stats", "log_likelihood", "observed_data", "constant_data"} <= set(fit.tree.children)
    assert fit.tree["posterior"]["covariances"].dims == ("chain", "draw", "component", "feature", "feature_bis")
    assert fit.mixture.batch_shape == (PLANS[name]["chains"], PLANS[name]["draws"])
    assert fit.info.diagnostics["is_approximate"] == (name in {"advi", "pathfinder"})
    assert az.loo(fit.tree).elpd == pytest.approx(-1141.5, abs=1.0)


@pytest.mark.parametrize("name", ["gibbs", "laplace", "pathfinder"])
def test_engines_that_are_exact_or_corrected_agree_with_nuts(name, fits):
    """Every parameter, and its square for the spread, within the joint Monte Carlo error."""
    parts = []
    for fit in (fits["nuts"], fits[name]):
        values = parameter_draws(fit.mixture, fit.structure)[1]
        centred = values - parameter_draws(fits["nuts"].mixture, fit.structure)[1].mean(axis=(0, 1))
        both = np.concatenate([centred, centred**2], axis=-1)
        worth = az.ess(xr.Dataset({"x": (("chain", "draw", "p"), both)}))["x"].values
        worth = np.minimum(worth, both[..., 0].size)
        parts.append((both.mean(axis=(0, 1)), both.std(axis=(0, 1)) / np.sqrt(worth)))
    (one, error), (other, other_error) = parts
    assert np.max(np.abs(one - other) / np.hypot(error, other_error)) < tolerances.STANDARD_ERRORS


def test_the_variational_approximation_is_near_and_its_bound_is_below_the_evidence(fits, em):
    fit = fits["advi"]
    exact = parameter_draws(fits["nuts"].mixture, fit.structure)[1]
    values = parameter_draws(fit.mixture, fit.structure)[1]
    sds = exact.std(axis=(0, 1))
    np.testing.assert_array_less(np.abs(values.mean(axis=(0, 1)) - exact.mean(axis=(0, 1))), 0.5 * sds)
    ratios = values.std(axis=(0, 1)) / sds
    assert np.median(ratios) < 1.0
    assert np.all((ratios > 0.5) & (ratios < 1.5))
    # Both of one numbering of the components, standardised units.
    mass = -420.98
    assert mass - 1.0 < fit.info.diagnostics["elbo"] < mass


def test_pathfinder_says_how_far_its_draws_could_be_corrected(fits):
    diagnostics = fits["pathfinder"].info.diagnostics
    assert diagnostics["khat"] < 0.7
    assert 0.2 < diagnostics["efficiency"] <= 1.0
    assert -425.0 < diagnostics["elbo"] < -420.98 + 1.0


def test_laplace_says_how_far_it_can_be_trusted_and_refuses_where_it_cannot(fits):
    diagnostics = fits["laplace"].info.diagnostics
    assert diagnostics["khat"] < 0.7
    assert 0.5 < diagnostics["efficiency"] <= 1.0
    with pytest.raises(bg.FitError, match=r"k-hat.*use sampler='nuts'"):
        bg.fit_bayes(FAITHFUL, 3, seed=0, sampler="laplace", draws=200)


@pytest.mark.parametrize(
    ("sampler", "options", "message"),
    [
        ("laplace", {"magic": 1}, "sampler='laplace' has no option 'magic'"),
        ("gibbs", {"magic": 1}, "sampler='gibbs' has no option 'magic'"),
        ("nuts", {"magic": 1}, "refuses an option.*magic"),
        ("nuts", {"geometry": "flat"}, "geometry='flat'"),
        ("advi", {"n_fixed": 1}, "n_fixed=1"),
        ("pathfinder", {"n_paths": 0}, "n_paths=0"),
    ],
)
def test_illegal_options_are_named(sampler, options, message, em):
    with pytest.raises(bg.ArgumentError, match=message):
        bg.fit_bayes(FAITHFUL, 2, em=em, seed=0, sampler=sampler, **options)


def test_a_callable_must_return_what_a_mixture_needs(em):
    def forgetful(_model, **_options):
        return xr.DataTree.from_dict({"posterior": xr.Dataset({"weights": (("chain", "draw"), np.ones((2, 3)))})})

    with pytest.raises(bg.ArgumentError, match="no 'means'"):
        bg.fit_bayes(FAITHFUL, 2, em=em, seed=0, sampler=forgetful)


@pytest.mark.filterwarnings("ignore::bayesgmm.errors.SamplingWarning")
def test_a_callable_may_take_the_model_by_name_as_that_of_pymc_does(em, fits):
    drawn = fits["nuts"].tree["posterior"].to_dataset()

    def like_pymc(draws=1000, tune=1000, *, chains=None, model=None, random_seed=None):
        assert model is pm.modelcontext(None)
        assert (draws, tune, chains, isinstance(random_seed, int)) == (7, 500, 2, True)
        values = {name: (drawn[name].dims, np.tile(value, (2, 7, *[1] * value.ndim))) for name, value in start.items()}
        return xr.DataTree.from_dict({"posterior": xr.Dataset(values)})

    standard = em.scaling.mixture_to_standard(em.mixture)
    start = {name: getattr(standard, name) for name in ("weights", "means", "covariances")}
    found = bg.fit_bayes(FAITHFUL, 2, em=em, seed=0, sampler=like_pymc, draws=7, chains=2)
    tolerances.assert_close(found.mixture.means[0, 0], em.mixture.means, tolerances.ALGEBRA)


def test_chains_that_do_not_move_are_a_failure(faithful_mixture, faithful):
    arrays = [getattr(faithful_mixture, name) for name in ("weights", "means", "covariances")]
    still = Mixture(*(np.tile(array, (2, 50, *[1] * array.ndim)) for array in arrays), faithful_mixture.features)
    matched = relabel(still, faithful.values, reference=faithful_mixture)
    diagnostics = diagnose(matched, {}, as_structure("full"))
    assert np.isnan(diagnostics["max_r_hat"])
    with pytest.warns(bg.SamplingWarning, match="disagree"):
        warn(diagnostics)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the chains disagree", "ignore:only .* effective draws")
def test_a_population_from_the_prior_finds_the_posterior_and_its_evidence(em):
    fit = bg.fit_bayes(FAITHFUL, 2, em=em, seed=0, sampler="smc", draws=1000, chains=2)
    diagnostics = fit.info.diagnostics
    np.testing.assert_allclose(fit.mixture.weights.mean(axis=(0, 1)), [0.644, 0.356], atol=0.02)
    assert abs(diagnostics["log_evidence"] - (-420.98 + np.log(2))) < 4 * diagnostics["log_evidence_mcse"] + 0.5
