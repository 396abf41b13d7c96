"""The PyMC model: its log density term by term with SciPy, its dimensions, its start, its prior draws."""

import numpy as np
import pymc as pm
import pytest
from scipy import stats

from bayesgmm.bayes.model import MODELLED, build_model, start_values
from bayesgmm.bayes.priors import Priors
from bayesgmm.data import load_dataset, prepare
from bayesgmm.em.fit import fit_em
from bayesgmm.errors import DataError
from bayesgmm.mixture import Mixture
from bayesgmm.structure import as_structure
from tests.examples import random_covariances

FAITHFUL = prepare(load_dataset("faithful"))
ESTIMATE = Mixture(
    [0.6, 0.4], [[4.3, 80.0], [2.0, 54.0]], [[[0.17, 0.9], [0.9, 36.0]], [[0.07, 0.4], [0.4, 33.0]]], FAITHFUL.features
)


def restricted(structure):
    """Return a mixture that obeys a structure, standardised units."""
    standard = FAITHFUL.scaling(structure).mixture_to_standard(ESTIMATE)
    return Mixture(standard.weights, standard.means, 0.3 * random_covariances(structure.code, 2, 2))


def term_values(model, values):
    """Return every term of the model's log density, without Jacobians, in Python (no compilation)."""
    terms = model.logp(vars=model.basic_RVs, jacobian=False, sum=False)
    names = [variable.name for variable in model.basic_RVs]
    point = unconstrained(model, values)
    found = model.compile_fn(terms, inputs=model.value_vars, mode="FAST_COMPILE")(point)
    return {name: float(np.sum(value)) for name, value in zip(names, found, strict=True)}


def unconstrained(model, values):
    """Return values of the model's value variables."""
    point = {}
    for name, value in values.items():
        variable = model[name]
        transform = model.rvs_to_transforms[variable]
        inner = (
            value if transform is None else transform.forward(value, *variable.owner.inputs).eval(mode="FAST_COMPILE")
        )
        point[model.rvs_to_values[variable].name] = inner
    return point


FREE = ("EII", "VII", "EEI", "VVI", "EEE", "VVV")
CASES = [
    *((code, None) for code in MODELLED),
    *((code, family) for code in FREE for family in ("factorised", "lkj")),
]


@pytest.mark.parametrize(("code", "family"), CASES)
def test_every_term_is_the_density_it_should_be(code, family):
    structure = as_structure(code)
    mixture = restricted(structure)
    model = build_model(FAITHFUL, 2, structure, Priors(concentration=[2.0, 3.0], covariance=family))
    found = term_values(model, start_values(model, structure, mixture))
    scaling = FAITHFUL.scaling(structure)
    lowest, highest = FAITHFUL.values.min(axis=0), FAITHFUL.values.max(axis=0)
    means = stats.norm(
        (scaling.standardize(lowest) + scaling.standardize(highest)) / 2, (highest - lowest) / scaling.scale
    )
    assert found["weights"] == pytest.approx(stats.dirichlet([2.0, 3.0]).logpdf(mixture.weights))
    assert found["means"] == pytest.approx(means.logpdf(mixture.means).sum())
    assert found["x"] == pytest.approx(mixture.log_density(scaling.standardize(FAITHFUL.values)).sum(), rel=1e-9)


@pytest.mark.parametrize(("code", "family"), CASES)
def test_the_gradient_is_finite_at_the_start(code, family):
    structure = as_structure(code)
    model = build_model(FAITHFUL, 2, structure, Priors(covariance=family))
    values = start_values(model, structure, restricted(structure))
    point = unconstrained(model, values)
    gradient = model.compile_dlogp(mode="FAST_COMPILE")(point)
    assert gradient.shape == (sum(value.size for value in point.values()),)
    assert np.all(np.isfinite(gradient))


def test_sample_weights_multiply_the_rows_of_the_likelihood():
    weights = np.random.default_rng(0).uniform(0, 2, size=FAITHFUL.n_rows)
    weighted = prepare(load_dataset("faithful"), sample_weight=weights)
    structure = as_structure("full")
    mixture = weighted.scaling(structure).mixture_to_standard(ESTIMATE)
    model = build_model(weighted, 2)
    found = term_values(model, start_values(model, structure, mixture))
    expected = weights @ mixture.log_density(weighted.scaling(structure).standardize(weighted.values))
    assert found["x"] == pytest.approx(expected, rel=1e-9)


def test_variables_have_named_dimensions():
    model = build_model(FAITHFUL, 3, "diag")
    dims = model.named_vars_to_dims
    assert dims["weights"] == ("component",)
    assert dims["means"] == ("component", "feature")
    assert dims["covariances"] == ("component", "feature", "feature_bis")
    assert dims["x"] == ("row", "feature")
    assert list(model.coords["feature"]) == ["eruptions", "waiting"]


def test_prior_draws_obey_the_structure():
    for code in MODELLED:
        structure = as_structure(code)
        with build_model(FAITHFUL, 2, structure) as model:
            weights, covariances = pm.draw(
                [model["weights"], model["covariances"]], 5, random_seed=1, mode="FAST_COMPILE"
            )
        np.testing.assert_allclose(weights.sum(axis=1), 1.0)
        assert np.all(np.linalg.eigvalsh(covariances) > 0)
        if structure.is_shared:
            np.testing.assert_allclose(covariances[:, 0], covariances[:, 1])
        if structure.is_diagonal:
            np.testing.assert_allclose(covariances[..., 0, 1], 0.0, atol=1e-12)
        if structure.is_spherical:
            np.testing.assert_allclose(covariances[..., 0, 0], covariances[..., 1, 1])


def test_rows_can_be_drawn_from_the_prior():
    with build_model(FAITHFUL, 2) as model:
        rows = pm.draw(model["x"], 2, random_seed=1, mode="FAST_COMPILE")
    assert rows.shape == (2, FAITHFUL.n_rows, 2)
    assert np.all(np.isfinite(rows))


def test_too_many_components_are_refused():
    with pytest.raises(DataError, match="n_components=300"):
        build_model(FAITHFUL, 300)


def test_means_may_be_correlated():
    covariance = np.array([[1.0, 5.0], [5.0, 100.0]])
    structure = as_structure("full")
    model = build_model(FAITHFUL, 2, structure, Priors(mean_location=[3.0, 70.0], mean_cov=covariance))
    mixture = restricted(structure)
    found = term_values(model, start_values(model, structure, mixture))
    scale = FAITHFUL.scaling(structure).scale
    user = FAITHFUL.scaling(structure).mixture_to_user(mixture)
    expected = stats.multivariate_normal([3.0, 70.0], covariance).logpdf(user.means).sum() + 2 * np.log(scale).sum()
    assert found["means"] == pytest.approx(expected)


# -------------------------------------------------------------------- missing values


def incomplete():
    """Return Old Faithful with holes."""
    values = FAITHFUL.values.copy()
    rng = np.random.default_rng(0)
    values[rng.choice(272, 40, replace=False), 0] = np.nan
    values[rng.choice(272, 40, replace=False), 1] = np.nan
    return prepare(values, missing="marginalize")


@pytest.mark.parametrize(("code", "family"), [("VVV", None), ("VVI", None), ("VEV", None), ("EEE", "lkj")])
def test_rows_with_missing_values_count_as_in_em(code, family):
    prepared, structure = incomplete(), as_structure(code)
    fit = fit_em(prepared, 2, structure=structure, seed=0)
    scaling = prepared.scaling(structure)
    model = build_model(prepared, 2, structure, Priors(covariance=family))
    found = term_values(model, start_values(model, structure, scaling.mixture_to_standard(fit.mixture)))
    in_user_units = found["x"] - np.sum(~np.isnan(prepared.values) @ np.log(scaling.scale))
    assert in_user_units == pytest.approx(float(fit.log_likelihood), rel=1e-9)


def test_nothing_is_imputed():
    model = build_model(incomplete(), 2)
    assert {variable.name for variable in model.free_RVs} == {"weights", "means", "precisions"}
