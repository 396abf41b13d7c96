"""fit_bayes: one sampled fit that many tests look at, a sampler by hand where only the plumbing is in question."""

import arviz as az
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from scipy import integrate, stats

import bayesgmm as bg
from bayesgmm.bayes.density import unconstrained_density
from bayesgmm.bayes.model import build_model, start_values
from bayesgmm.structure import as_structure

FAITHFUL = bg.prepare(bg.load_dataset("faithful"))


@pytest.fixture(scope="session")
def em():
    return bg.fit_em(FAITHFUL, 2, seed=0)


@pytest.fixture(scope="session")
def post(em):
    return bg.fit_bayes(FAITHFUL, 2, seed=0, em=em, draws=500, tune=300, chains=4)


def handmade(em, swap=False):
    """Return a sampler that knows the answer: draws around EM, every other chain with its components exchanged."""

    def sampler(model, *, draws, chains, random_seed, **_options):
        rng = np.random.default_rng(random_seed)
        centre = em.scaling.mixture_to_standard(em.mixture)
        shape = (chains, draws)
        weights = rng.dirichlet(400 * centre.weights, size=shape)
        means = centre.means + 0.03 * rng.normal(size=(*shape, 2, 2))
        covariances = centre.covariances * np.exp(0.05 * rng.normal(size=(*shape, 2, 1, 1)))
        if swap:
            weights[1::2], means[1::2] = weights[1::2, :, ::-1], means[1::2, :, ::-1]
            covariances[1::2] = covariances[1::2, :, ::-1]
        dims = ("chain", "draw", "component")
        posterior = xr.Dataset(
            {
                "weights": (dims, weights),
                "means": ((*dims, "feature"), means),
                "covariances": ((*dims, "feature", "feature_bis"), covariances),
                "first_mean": (("chain", "draw"), means[..., 0, 0]),
                "mean_of": (dims, means[..., 0]),
            }
        )
        return xr.DataTree.from_dict({"posterior": posterior})

    return sampler


def test_the_posterior_of_old_faithful_is_found(post, em):
    diagnostics = post.info.diagnostics
    assert diagnostics["divergences"] == 0
    assert diagnostics["max_r_hat"] < 1.01
    assert diagnostics["min_ess"] > 400
    draws = post.mixture.weights[..., 0]
    assert abs(draws.mean() - em.mixture.weights[0]) < 4 * draws.std() / np.sqrt(diagnostics["min_ess"]) + 0.005
    assert draws.std() == pytest.approx(np.sqrt(0.644 * 0.356 / 272), rel=0.1)


def test_the_tree_is_one_that_arviz_takes(post):
    assert {"posterior", "sample_stats", "log_likelihood", "observed_data", "constant_data"} <= set(post.tree.children)
    summary = az.summary(post.tree, var_names=["weights", "means"])
    assert "means[1, waiting]" in summary.index
    loo = az.loo(post.tree)
    assert loo.elpd == pytest.approx(-1141.5, abs=1.0)
    assert np.all(np.asarray(post.tree["observed_data"]["x"]) == FAITHFUL.values)


def test_the_tree_knows_the_prior_of_its_draws(post):
    """Power-scaling; ArviZ writes its own dimension named component."""
    assert post.tree["log_prior"]["means"].dims == ("chain", "draw")
    tree = post.tree.map_over_datasets(
        lambda part: part.rename({"component": "k"}) if "component" in part.dims else part
    )
    table = az.psense_summary(tree, var_names=["means"])
    assert (table["prior"] < 0.05).all()
    assert (table["likelihood"] > 0.05).all()


def test_draws_are_in_the_units_of_the_data(post):
    totals = post.mixture.log_density(FAITHFUL.values).sum(axis=-1)
    np.testing.assert_allclose(post.tree["log_likelihood"]["x"].sum("row"), totals)
    np.testing.assert_allclose(post.log_likelihood, totals)
    np.testing.assert_allclose(totals.mean(), -1135.7, atol=0.6)


def test_the_log_density_is_that_of_the_model_and_its_gradient_is_right(em):
    structure = as_structure("full")
    model = build_model(FAITHFUL, 2)
    start = start_values(model, structure, em.scaling.mixture_to_standard(em.mixture))
    density = unconstrained_density(model, start)
    rng = np.random.default_rng(0)
    at = density.start + 0.1 * rng.normal(size=density.size)
    expanded = density.expand(at[None])
    value, gradient = density.evaluate(at)
    step = 1e-5
    numerical = [
        (density.evaluate(at + step * unit)[0] - density.evaluate(at - step * unit)[0]) / (2 * step)
        for unit in np.eye(density.size)
    ]
    np.testing.assert_allclose(gradient, numerical, rtol=1e-5, atol=1e-4)
    assert np.isfinite(value)
    np.testing.assert_allclose(
        expanded["covariances"][0] @ expanded["precisions"][0], np.stack([np.eye(2)] * 2), atol=1e-9
    )
    np.testing.assert_allclose(density.expand(density.start[None])["means"][0], start["means"], atol=1e-12)


def test_labels_that_chains_disagree_on_are_matched(em):
    fit = bg.fit_bayes(FAITHFUL, 2, seed=1, em=em, draws=400, chains=4, sampler=handmade(em, swap=True))
    assert fit.info.diagnostics["changed_share"] == 0.5
    assert fit.info.diagnostics["max_r_hat"] < 1.02
    np.testing.assert_allclose(fit.mixture.means.mean(axis=(0, 1)), em.mixture.means, rtol=0.02)


def test_variables_that_a_user_adds_are_kept_and_permuted_with_their_components(em):
    fit = bg.fit_bayes(FAITHFUL, 2, seed=1, em=em, draws=400, chains=2, sampler=handmade(em, swap=True))
    added = fit.tree["posterior"]
    assert "first_mean" in added
    expected = (fit.mixture.means[..., 0] - fit.scaling.shift[0]) / fit.scaling.scale[0]
    np.testing.assert_allclose(added["mean_of"], expected)


def test_the_same_seed_gives_the_same_draws_and_is_recorded(em):
    def fit(seed):
        return bg.fit_bayes(FAITHFUL, 2, seed=seed, em=em, draws=300, chains=4, sampler=handmade(em))

    one, same, other = fit(3), fit(3), fit(4)
    np.testing.assert_array_equal(one.mixture.means, same.mixture.means)
    assert not np.array_equal(one.mixture.means, other.mixture.means)
    assert one.info.seed == 3


@pytest.mark.filterwarnings("ignore::bayesgmm.errors.SamplingWarning")
@pytest.mark.parametrize(("geometry", "steps"), [("laplace", 150), ("plain", 500)])
def test_steps_before_the_draws_are_those_that_the_coordinates_need_and_are_recorded(em, geometry, steps):
    call = {"seed": 3, "em": em, "draws": 30, "chains": 2, "cores": 1, "starts": "em", "geometry": geometry}
    chosen, said = bg.fit_bayes(FAITHFUL, 2, **call), bg.fit_bayes(FAITHFUL, 2, tune=steps, **call)
    assert chosen.info.settings["tune"] == steps
    np.testing.assert_array_equal(chosen.mixture.means, said.mixture.means)
    assert bg.fit_bayes(FAITHFUL, 2, tune=10, **call).info.settings["tune"] == 10


def test_a_changed_model_can_be_sampled(em):
    with build_model(FAITHFUL, 2) as model:
        pm.Deterministic("gap", model["means"][0, 1] - model["means"][1, 1])
    fit = bg.fit_bayes(FAITHFUL, 2, seed=0, em=em, model=model, draws=600, tune=300, chains=4)
    gap = fit.tree["posterior"]["gap"] * fit.scaling.scale[1]
    np.testing.assert_allclose(gap, fit.mixture.means[..., 0, 1] - fit.mixture.means[..., 1, 1], rtol=1e-9)


def test_one_component_in_one_dimension_agrees_with_quadrature():
    """n = 6, K = 1: the posterior of mean and precision on a grid, from SciPy's densities."""
    rows = np.array([0.3, 1.9, 2.2, 2.4, 3.1, 5.0])
    priors = bg.Priors(mean_location=[2.0], mean_sd=[3.0], within_sd=[1.0], dof=6.0, scale_dof=3.0)
    fit = bg.fit_bayes(rows, 1, priors=priors, seed=2, draws=2000, tune=500, chains=4)
    means, sds = fit.mixture.means[..., 0, 0], np.sqrt(fit.mixture.covariances[..., 0, 0, 0])

    # Lambda | C ~ Gamma(nu/2, rate C/2), C ~ Gamma(nu0/2, rate 1/(2 S)): Lambda S nu0 / nu ~ F(nu, nu0).
    scale = 1.0**2 * (6.0 - 2) / 3.0
    prior = stats.f(6.0, 3.0)

    def density(sd, mean):
        precision = 1 / sd**2
        log_prior = prior.logpdf(precision * scale * 3.0 / 6.0) + np.log(2 / sd**3) + stats.norm(2.0, 3.0).logpdf(mean)
        return np.exp(log_prior + stats.norm(mean, sd).logpdf(rows[:, None]).sum(axis=0) + 12)

    sd_grid, mean_grid = np.linspace(0.3, 12, 800), np.linspace(-6, 10, 600)
    table = np.stack([density(sd_grid, mean) for mean in mean_grid])
    total = integrate.trapezoid(integrate.trapezoid(table, sd_grid), mean_grid)
    for draws, grid in ((means, mean_grid[:, None]), (sds, sd_grid[None])):
        exact = integrate.trapezoid(integrate.trapezoid(table * grid, sd_grid), mean_grid) / total
        error = draws.std() / np.sqrt(az.ess(draws))
        assert az.ess(draws) > 2000
        assert abs(draws.mean() - exact) < 4.5 * error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"draws": 0}, "draws=0 must be a whole number, at least 1"),
        ({"chains": 0}, "chains=0"),
        ({"tune": -1}, "tune=-1"),
        ({"draws": 1.5}, "draws=1.5"),
        ({"target_accept": 1.5}, "target_accept=1.5"),
        ({"sampler": "magic"}, "sampler='magic'"),
        ({"draws": 10**12}, "do not fit into memory"),
        ({"cores": 0}, "cores=0"),
        ({"structure": "VVVV"}, "structure='VVVV'"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_illegal_arguments_are_named(arguments, message, em):
    with pytest.raises(bg.ArgumentError, match=message):
        bg.fit_bayes(FAITHFUL, 2, em=em if "structure" not in arguments else None, **arguments)


def test_a_reference_of_another_size_is_refused(em):
    with pytest.raises(bg.ArgumentError, match="must be a point estimate with 3 components"):
        bg.fit_bayes(FAITHFUL, 3, em=em, sampler=handmade(em))


def test_a_model_without_covariances_is_refused(em):
    with pm.Model() as model:
        pm.Normal("means")
    with pytest.raises(bg.ArgumentError, match="no variable named 'weights'"):
        bg.fit_bayes(FAITHFUL, 2, em=em, model=model)
