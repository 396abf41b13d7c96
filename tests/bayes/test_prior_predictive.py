"""Draws from the prior in the user's units, and the log prior of draws."""

import arviz as az
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from scipy import stats

from bayesgmm.bayes.density import log_prior
from bayesgmm.bayes.model import build_model
from bayesgmm.bayes.prior_predictive import prior_predictive
from bayesgmm.bayes.priors import Priors
from bayesgmm.data import load_dataset, prepare
from bayesgmm.errors import ArgumentError, FitError
from bayesgmm.mixture import Mixture
from bayesgmm.structure import STRUCTURES
from tests.tolerances import ALGEBRA, assert_within_errors

FAITHFUL = prepare(load_dataset("faithful"))


@pytest.mark.parametrize("code", STRUCTURES)
def test_every_structure_has_a_prior_to_draw_from(code):
    tree = prior_predictive(FAITHFUL, 2, structure=code, draws=5, seed=0)
    mixture = Mixture.from_dataset(tree["prior"].to_dataset())
    assert mixture.batch_shape == (1, 5)
    assert tree["prior_predictive"]["x"].shape == (1, 5, 272, 2)
    assert np.all(np.isfinite(tree["prior_predictive"]["x"]))
    assert list(tree["prior"]["feature"].values) == ["eruptions", "waiting"]


def test_the_same_seed_gives_the_same_draws():
    one, other = (prior_predictive(FAITHFUL, 2, draws=3, seed=4) for _ in range(2))
    assert one.identical(other)


def test_means_and_deviations_are_where_the_prior_says_in_the_users_units():
    priors = Priors(mean_location=[3.0, 70.0], mean_sd=[0.5, 9.0], within_sd=[0.2, 4.0], covariance="lkj")
    tree = prior_predictive(FAITHFUL, 2, priors=priors, draws=1000, seed=1)
    means = tree["prior"]["means"].values.reshape(-1, 2)
    assert_within_errors(means.mean(axis=0), [3.0, 70.0], np.array([0.5, 9.0]) / np.sqrt(2000))
    variances = np.diagonal(tree["prior"]["covariances"].values, axis1=-2, axis2=-1).reshape(-1, 2)
    logs = 0.5 * np.log(variances)
    assert_within_errors(logs.mean(axis=0), np.log([0.2, 4.0]), 1.0 / np.sqrt(2000))


def test_the_guard_thins_draws_exactly():
    """With one column and one component the guarded density of the deviation is known but for its constant."""
    velocity = prepare(load_dataset("galaxies"))
    priors = Priors(covariance="lkj", sd_prior="halfnormal", within_sd=[1.0], smallest_sd=0.8)
    tree = prior_predictive(velocity, 1, structure="spherical", priors=priors, draws=2000, seed=2)
    found = np.sqrt(tree["prior"]["covariances"].values.ravel())
    grid = np.linspace(1e-3, 12.0, 20_000)
    density = stats.halfnorm(scale=1.0 / stats.halfnorm.median()).pdf(grid) * np.exp(-0.5 * (0.8 / grid) ** 2)
    distribution = np.cumsum(density) / density.sum()
    assert stats.kstest(found, lambda sd: np.interp(sd, grid, distribution)).pvalue > 1e-3


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(ArgumentError, match="draws=0 must be a whole number"):
        prior_predictive(FAITHFUL, 2, draws=0)
    with pytest.raises(FitError, match="lower smallest_sd"):
        prior_predictive(FAITHFUL, 2, structure="VEV", priors=Priors(smallest_sd=1e3), draws=2)


def posterior_like(model, draws=30):
    """Return draws from the prior in the shape of a posterior."""
    names = [variable.name for variable in model.free_RVs]
    drawn = pm.draw([model[name] for name in names], 2 * draws, random_seed=0, mode="FAST_COMPILE")
    return xr.Dataset(
        {
            name: (("chain", "draw", *(f"{name}_{j}" for j in range(values.ndim - 1))), two_chains(values))
            for name, values in zip(names, drawn, strict=True)
        }
    )


def two_chains(values):
    return values.reshape(2, -1, *values.shape[1:])


@pytest.mark.parametrize("code", ["VVV", "VEV"])
def test_the_log_prior_of_draws_is_that_of_scipy(code):
    model = build_model(FAITHFUL, 2, code, Priors(concentration=[2.0, 3.0]))
    draws = posterior_like(model)
    found = log_prior(model, draws)
    covariance_terms = {"precisions"} if code == "VVV" else {"volume_scores", "shape_scores", "axes", "guard"}
    assert set(found) == {"weights", "means"} | covariance_terms
    assert all(found[name].dims == ("chain", "draw") for name in found)
    weights, means = draws["weights"].values, draws["means"].values
    np.testing.assert_allclose(found["weights"][1, 3], stats.dirichlet([2.0, 3.0]).logpdf(weights[1, 3]), rtol=1e-9)
    location, sd = model["mean_location"].get_value(), model["mean_sd"].get_value()
    expected = stats.norm(location, sd).logpdf(means).sum(axis=(-2, -1))
    np.testing.assert_allclose(found["means"], expected, rtol=1e-9)
    if code == "VEV":
        expected = stats.norm.logpdf(draws["shape_scores"].values).sum(axis=(-2, -1))
        np.testing.assert_allclose(found["shape_scores"], expected, rtol=1e-9)
        np.testing.assert_array_equal(found["axes"], 0.0)


@pytest.mark.parametrize("structure", ["full", "tied", "diag", "spherical"])
def test_covariances_stand_for_precisions_that_were_not_kept(structure):
    model = build_model(FAITHFUL, 2, structure)
    names = ["weights", "means", "precisions", "covariances"]
    drawn = pm.draw([model[name] for name in names], 6, random_seed=0, mode="FAST_COMPILE")
    dims = [
        ("chain", "draw", *(f"{name}_{j}" for j in range(part.ndim - 1)))
        for name, part in zip(names, drawn, strict=True)
    ]
    draws = xr.Dataset({name: (dim, two_chains(part)) for name, dim, part in zip(names, dims, drawn, strict=True)})
    found = log_prior(model, draws.drop_vars("precisions"))
    np.testing.assert_allclose(found["precisions"], log_prior(model, draws)["precisions"], rtol=ALGEBRA)
    assert log_prior(model, draws.drop_vars(["precisions", "covariances"])) is None


def test_arviz_scales_the_prior_by_it():
    model = build_model(FAITHFUL, 2, "diag")
    draws = posterior_like(model, draws=200)
    first, other = np.moveaxis(draws["means"].values[..., 0], -1, 0)
    posterior = xr.Dataset({"first": (("chain", "draw"), first), "other": (("chain", "draw"), other)})
    rows = xr.Dataset({"x": (("chain", "draw", "row"), np.zeros((2, 200, 3)))})
    groups = {"posterior": posterior, "log_prior": log_prior(model, draws), "log_likelihood": rows}
    # Draws of the prior itself: it is what they depend on.
    assert az.psense(xr.DataTree.from_dict(groups), group="prior")["first"] > 0.0
