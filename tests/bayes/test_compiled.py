"""What is compiled once for a form of models: right for other data, and not taken for a model that was changed."""

import numpy as np
import pymc as pm
import pytensor
import pytest
from pymc.initial_point import make_initial_point_fn

import bayesgmm as bg
from bayesgmm.bayes import compiled
from bayesgmm.bayes.compiled import mark_form, vector_of
from bayesgmm.bayes.density import log_prior, unconstrained_density
from bayesgmm.bayes.model import build_model, start_values
from bayesgmm.mixture import Mixture
from bayesgmm.structure import as_structure
from tests.examples import random_covariances, random_rows
from tests.tolerances import ALGEBRA, EXACT, assert_close

FAITHFUL = bg.load_dataset("faithful")
START = Mixture([0.6, 0.4], [[0.7, 0.7], [-1.2, -1.2]], [np.eye(2) * 0.2, np.eye(2) * 0.1])


def model_of(table, *, is_marked, **options):
    model = build_model(table, 2, "full", bg.Priors(**options))
    if is_marked:
        mark_form(model, ("full", 2, 2))
    return model


def density_of(model):
    return unconstrained_density(model, start_values(model, as_structure("full"), START))


def test_models_of_one_form_share_machine_code_and_each_has_its_own_data():
    first = density_of(model_of(FAITHFUL, is_marked=True))
    other = FAITHFUL.iloc[:100] * [2.0, 1.0]
    priors = {"dof": 9.0, "concentration": 3.0}
    shared, alone = (density_of(model_of(other, is_marked=flag, **priors)) for flag in (True, False))
    assert shared.native.compiled is first.native.compiled
    assert alone.native.compiled is not first.native.compiled
    at = shared.start + 0.1 * np.random.default_rng(0).normal(size=(5, shared.size))
    for found, expected in zip(shared.evaluate_all(at), alone.evaluate_all(at), strict=True):
        assert_close(found, expected, EXACT)
    for name, expected in alone.expand(at).items():
        assert_close(shared.expand(at)[name], expected, EXACT)
    assert np.all(first.evaluate_all(at)[0] != shared.evaluate_all(at)[0])


def test_one_point_at_a_time_is_the_same_as_all_at_once_and_whitened_coordinates_obey_the_chain_rule():
    density = density_of(model_of(FAITHFUL, is_marked=True))
    rng = np.random.default_rng(1)
    at = density.start + 0.1 * rng.normal(size=(3, density.size))
    values, gradients = density.evaluate_all(at)
    one_by_one = [density.evaluate(point) for point in at]
    assert_close([value for value, _ in one_by_one], values, EXACT)
    assert_close([gradient for _, gradient in one_by_one], gradients, EXACT)
    root = np.eye(density.size) * 0.1 + 0.02 * rng.normal(size=(density.size, density.size))
    whitened = density.whitened(density.start, root)
    u = np.linalg.solve(root, (at - density.start).T).T
    assert_close(whitened.evaluate_all(u)[0], values, ALGEBRA)
    assert_close(whitened.evaluate(u[1])[1], gradients[1] @ root, ALGEBRA)
    assert_close(whitened.expand(u)["means"], density.expand(at)["means"], ALGEBRA)


@pytest.mark.parametrize("change", ["potential", "variable", "deterministic"])
def test_a_model_that_was_changed_has_no_form(change):
    model = model_of(FAITHFUL, is_marked=True)
    assert compiled._form_of(model) is not None
    with model:
        if change == "potential":
            pm.Potential("more", -(model["means"] ** 2).sum())
        elif change == "variable":
            pm.Normal("more")
        else:
            pm.Deterministic("more", model["means"].sum())
    assert compiled._form_of(model) is None


def test_new_numbers_in_a_models_data_are_no_change_of_form():
    model = model_of(FAITHFUL, is_marked=True)
    form = compiled._form_of(model)
    pm.set_data({"mean_sd": np.ones(2)}, model=model)
    assert compiled._form_of(model) == form


@pytest.mark.parametrize("code", ["VVV", "VVI", "EEE", "VEV", "EVE"])
def test_vectors_are_those_of_pymc(code):
    rows, structure = random_rows(40, 3), as_structure(code)
    model = build_model(rows, 2, structure)
    mixture = Mixture([0.7, 0.3], np.zeros((2, 3)), random_covariances(code, 2, 3, seed=1))
    values = start_values(model, structure, mixture)
    overrides = {model[name]: value for name, value in values.items()}
    point = make_initial_point_fn(model=model, overrides=overrides, return_transformed=True)(0)
    expected = np.concatenate([np.ravel(point[variable.name]) for variable in model.value_vars])
    assert_close(vector_of(model, values), expected, EXACT)


def test_the_log_prior_of_one_form_follows_the_numbers_of_each_model():
    draws = {"weights": [0.6, 0.4], "means": START.means, "precisions": np.linalg.inv(START.covariances)}
    import xarray as xr

    posterior = xr.Dataset(
        {name: (("chain", "draw", *[f"{name}_{j}" for j in range(np.ndim(value))]), np.asarray(value)[None, None])
         for name, value in draws.items()}
    )  # fmt: skip
    for options in ({}, {"dof": 9.0}):
        marked, plain = (log_prior(model_of(FAITHFUL, is_marked=flag, **options), posterior) for flag in (True, False))
        assert set(marked) == set(plain)
        for name in plain:
            assert_close(marked[name], plain[name], EXACT)


def test_models_that_differ_in_the_kind_of_their_data_only_do_not_share_machine_code():
    found = {}
    for dtype in ("int32", "int64", "float32"):
        with build_model(np.arange(12.0)[:, None], 2) as model:
            pm.Potential("pull", (pytensor.shared(np.array([3, -2], dtype=dtype)) * model["means"][:, 0]).sum())
        density = unconstrained_density(model, {})
        expected = model.compile_logp(mode="FAST_COMPILE")(model.initial_point(0))
        found[dtype] = density.evaluate(density.start)[0], float(expected)
    for value, expected in found.values():
        assert value == pytest.approx(expected, rel=ALGEBRA)
