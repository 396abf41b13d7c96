"""Volume, shape and orientation: their coordinates, their priors by SciPy and by hand, and the way back from EM."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from scipy import integrate, stats

from bayesgmm.bayes.factorised import CayleyRotations, factorised_hyperparameters, rotations
from bayesgmm.bayes.model import build_model, start_values
from bayesgmm.bayes.priors import Priors
from bayesgmm.data import prepare
from bayesgmm.mixture import Mixture
from bayesgmm.structure import STRUCTURES, as_structure
from tests.examples import random_covariances, random_mixture, random_rows
from tests.tolerances import ALGEBRA, assert_close, assert_within_errors

FACTORISED = Priors(covariance="factorised")
K, D = 3, 3
ROWS = prepare(random_rows(40, D) * [1.0, 2.0, 0.5])


def standard_mixture(code, seed=0):
    """Return a mixture that obeys a structure, standardised units."""
    return Mixture(np.array([0.5, 0.3, 0.2]), random_mixture(K, D).means, random_covariances(code, K, D, seed=seed))


def python(inputs, outputs):
    return pytensor.function(inputs, outputs, mode="FAST_COMPILE", on_unused_input="ignore")


def cayley(d):
    """Return coordinates to rotations, back, and the log Jacobian, as plain functions around a centre."""
    transform, value, matrix, centre = CayleyRotations(d), pt.dmatrix(), pt.dtensor3(), pt.dtensor3()
    return (
        python([value, centre], transform.backward(value, centre)),
        python([matrix, centre], transform.forward(matrix, centre)),
        python([value, centre], transform.log_jac_det(value, centre)),
    )


@pytest.mark.parametrize("d", [2, 3, 5])
def test_coordinates_give_rotations_and_come_back(d):
    backward, forward, _ = cayley(d)
    centre = stats.special_ortho_group(d, seed=1).rvs(2)
    coordinates = np.random.default_rng(0).normal(size=(2, d * (d - 1) // 2))
    found = backward(coordinates, centre)
    assert_close(found @ np.swapaxes(found, 1, 2), np.tile(np.eye(d), (2, 1, 1)), 1e-12)
    assert_close(np.linalg.det(found), np.ones(2), 1e-12)
    assert_close(forward(found, centre), coordinates, ALGEBRA)
    assert_close(backward(np.zeros_like(coordinates), centre), centre, 1e-12)


def test_the_density_of_coordinates_in_the_plane_integrates_to_one():
    *_, log_jacobian = cayley(2)
    centre = np.eye(2)[None]
    total, _ = integrate.quad(lambda u: np.exp(log_jacobian(np.array([[u]]), centre)), -30, 30)
    assert total == pytest.approx(1.0, rel=1e-8)


@pytest.mark.parametrize("d", [3, 4])
def test_the_density_of_coordinates_is_that_of_uniform_rotations(d):
    """With u the coordinates of uniform rotations, E h(u) / p(u) is one for any density h; here SciPy draws them."""
    _, forward, log_jacobian = cayley(d)
    centre = stats.special_ortho_group(d, seed=2).rvs(1)[None]
    draws = stats.special_ortho_group(d, seed=3).rvs(20_000)
    coordinates = forward(draws, np.tile(centre, (len(draws), 1, 1)))
    size = coordinates.shape[1]
    near = np.flatnonzero(np.all(np.abs(coordinates) < 1.0, axis=1))
    # h is uniform on the cube from -1 to 1.
    ratios = np.zeros(len(draws))
    ratios[near] = [2.0**-size / np.exp(log_jacobian(coordinates[[i]], centre)) for i in near]
    assert_within_errors(ratios.mean(), 1.0, ratios.std() / np.sqrt(len(draws)))


def test_rotations_from_the_prior_are_uniform():
    """E Q_ij Q_kl is delta_ik delta_jl / d, for SciPy's rotations as for these."""
    with pm.Model():
        draws = pm.draw(rotations("axes", np.eye(4)[None], 4), 3000, random_seed=0, mode="FAST_COMPILE")[:, 0]
    entries = draws.reshape(3000, -1)
    error = 0.25 / np.sqrt(3000)
    assert_within_errors(entries.mean(axis=0), 0.0, 0.5 / np.sqrt(3000))
    assert_within_errors(entries.T @ entries / 3000, np.eye(16) / 4, 2.0 * error)


@pytest.mark.parametrize("code", STRUCTURES)
def test_there_are_as_many_coordinates_as_parameters(code):
    structure = as_structure(code)
    model = build_model(ROWS, K, structure, FACTORISED)
    size = sum(np.size(value) for value in model.initial_point().values())
    assert size == structure.n_parameters(K, D)


@pytest.mark.parametrize("code", STRUCTURES)
def test_the_start_is_the_mixture_it_was_made_from(code):
    structure, mixture = as_structure(code), standard_mixture(code)
    model = build_model(ROWS, K, structure, FACTORISED)
    values = start_values(model, structure, mixture)
    covariances = python([model[name] for name in values], model["covariances"])
    assert_close(covariances(*values.values()), mixture.covariances, ALGEBRA)


def test_a_second_start_is_found_from_the_coordinates_of_the_first():
    structure = as_structure("VEV")
    model = build_model(ROWS, K, structure)
    first = start_values(model, structure, standard_mixture("VEV"))
    again = start_values(model, structure, standard_mixture("VEV"))
    assert_close(again["axes"], first["axes"], ALGEBRA)
    assert_close(model["axes_centre"].get_value(), first["axes"], ALGEBRA)


@pytest.mark.parametrize("code", ["VEI", "EVE", "VEV", "EVV"])
def test_renumbering_the_components_changes_no_density(code):
    structure, mixture = as_structure(code), standard_mixture(code)
    model = build_model(ROWS, K, structure, FACTORISED)
    order = [2, 0, 1]
    found = []
    for one in (mixture, Mixture(mixture.weights[order], mixture.means[order], mixture.covariances[order])):
        values = start_values(model, structure, one)
        terms = model.logp(vars=[model[name] for name in values], jacobian=False, sum=False)
        total = sum(term.sum() for term in terms) + sum(model.replace_rvs_by_values(model.potentials))
        found.append(total)
        inputs = {model.rvs_to_values[model[name]]: transformed(model, name, value) for name, value in values.items()}
        found[-1] = python(list(inputs), total)(*inputs.values())
    assert found[0] == pytest.approx(found[1], rel=1e-10)


def transformed(model, name, value):
    variable = model[name]
    transform = model.rvs_to_transforms[variable]
    return value if transform is None else transform.forward(value, *variable.owner.inputs).eval(mode="FAST_COMPILE")


def test_log_variances_have_the_spread_of_the_default_prior():
    """The logarithm of a chi-square with nu degrees of freedom has the variance trigamma(nu / 2); SciPy computes it."""
    structure = as_structure("VVI")
    priors = Priors(covariance="factorised", dof=7.0, scale_dof=3.0).resolve(ROWS, structure, K)
    numbers = factorised_hyperparameters(priors, ROWS.scaling(structure), structure, K)
    within = stats.loggamma(7.0 / 2).var()
    between = stats.loggamma(3.0 / 2).var()
    expected = between + within * np.eye(K)
    assert_close(numbers["volume_root"] @ numbers["volume_root"].T, expected, ALGEBRA)
    assert_close(numbers["shape_root"] @ numbers["shape_root"].T, expected, ALGEBRA)


def test_the_guard_forbids_spikes_whatever_the_number_of_tied_rows():
    structure = as_structure("VEI")
    model = build_model(ROWS, K, structure)
    covariances = np.tile(np.eye(D), (K, 1, 1))
    total = []
    for variance in 10.0 ** -np.arange(2, 13, 2):
        spike = covariances.copy()
        spike[0] *= variance
        values = start_values(model, structure, Mixture(np.full(K, 1 / K), np.zeros((K, D)), spike))
        guard = python([model[name] for name in ("volume_scores", "shape_scores")], model["guard"])
        prior = stats.norm.logpdf(values["volume_scores"]).sum()
        total.append(guard(values["volume_scores"], values["shape_scores"]) + prior - 0.5 * 500 * np.log(variance))
    assert total[-1] < total[0]
