"""Volume, shape and orientation: their coordinates, their priors by SciPy and by hand, and the way back from EM."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from scipy import stats
from scipy.linalg import logm, sqrtm

from bayesgmm.bayes.factorised import factorised_hyperparameters
from bayesgmm.bayes.model import build_model, start_values
from bayesgmm.bayes.priors import Priors
from bayesgmm.bayes.rotations import PolarRotations, rotations
from bayesgmm.data import prepare
from bayesgmm.mixture import Mixture
from bayesgmm.structure import STRUCTURES, as_structure
from tests.examples import random_covariances, random_mixture, random_rows
from tests.tolerances import ALGEBRA, assert_close, assert_within_errors

FACTORISED = Priors(covariance="factorised")
WITH_AXES = ("EVE", "VVE", "EEV", "VEV")
WHOLE = ("EEE", "VEE", "EVV", "VVV")
K, D = 3, 3
ROWS = prepare(random_rows(40, D) * [1.0, 2.0, 0.5])


def standard_mixture(code, seed=0):
    """Return a mixture that obeys a structure, standardised units."""
    return Mixture(np.array([0.5, 0.3, 0.2]), random_mixture(K, D).means, random_covariances(code, K, D, seed=seed))


def python(inputs, outputs):
    return pytensor.function(inputs, outputs, mode="FAST_COMPILE", on_unused_input="ignore")


def polar(d):
    """Return matrices to rotations, back, and the log density of the matrices, as plain functions."""
    transform, value = PolarRotations(d), pt.dtensor3()
    return tuple(
        python([value], method(value)) for method in (transform.backward, transform.forward, transform.log_jac_det)
    )


def matrices_of_uniform_rotations(n, d, seed):
    """Draw Q and S^2 ~ Wishart with SciPy; return Q, and Q S."""
    turned = np.reshape(stats.special_ortho_group(d, seed=seed).rvs(n), (n, d, d))
    dof = 10 * d
    squares = stats.wishart(dof, np.eye(d) / dof, seed=seed + 1).rvs(n)
    return turned, np.stack([one @ sqrtm(square) for one, square in zip(turned, squares, strict=True)])


@pytest.mark.parametrize("d", [2, 3, 5])
def test_coordinates_give_rotations_and_come_back(d):
    backward, forward, _ = polar(d)
    turned, given = matrices_of_uniform_rotations(3, d, seed=1)
    assert_close(backward(given), turned, 1e-12)
    assert_close(backward(forward(turned)), turned, 1e-12)


@pytest.mark.parametrize(("d", "n"), [(2, 100_000), (3, 400_000)])
def test_the_density_of_coordinates_integrates_to_one(d, n):
    """E p(G) / q(G) is one for G from any density q, here that of independent normal entries."""
    *_, log_density = polar(d)
    draws = np.random.default_rng(3).normal(scale=d**-0.5, size=(n, d, d))
    log_q = stats.norm(scale=d**-0.5).logpdf(draws).sum(axis=(1, 2))
    stretches = np.linalg.svd(draws, compute_uv=False)
    # Beyond is less than 1e-4 of the mass.
    near = (np.linalg.det(draws) > 0.0) & (stretches.min(axis=1) > 0.35) & (stretches.max(axis=1) < 1.9)
    ratios = np.zeros(n)
    ratios[near] = [np.exp(log_density(one[None]) - log) for one, log in zip(draws[near], log_q[near], strict=True)]
    assert_within_errors(ratios.mean(), 1.0, ratios.std() / np.sqrt(n))


@pytest.mark.parametrize("d", [2, 4])
def test_the_density_of_coordinates_is_that_of_uniform_rotations(d):
    """Among matrices with one rotation the other factor is a Wishart matrix, by SciPy, but for the change to its root.

    That from G to S^2 has the determinant of S^2, to the power -1/2, and a constant as its density (Muirhead 1982).
    """
    *_, log_density = polar(d)
    turned, given = matrices_of_uniform_rotations(3, d, seed=3)
    squares = np.swapaxes(given, 1, 2) @ given
    expected = stats.wishart(10 * d, np.eye(d) / (10 * d)).logpdf(np.moveaxis(squares, 0, -1))
    expected = expected + 0.5 * np.linalg.slogdet(squares)[1]
    found = np.array([log_density(one[None]) for one in given])
    assert_close(found - found[0], expected - expected[0], ALGEBRA)
    turn = stats.special_ortho_group(d, seed=9).rvs()
    assert log_density(turn @ given) == pytest.approx(log_density(given), rel=1e-12)
    assert_close(turned[0], polar(d)[0](given)[0], ALGEBRA)


def test_all_copies_of_axes_look_alike():
    """Half turns and other orders are linear maps of the coordinates that change no density."""
    backward, _, log_density = polar(3)
    given = matrices_of_uniform_rotations(2, 3, seed=5)[1]
    other_order = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    for change in (np.diag([-1.0, 1.0, -1.0]), other_order):
        assert_close(backward(given @ change), backward(given) @ change, 1e-12)
        assert log_density(given @ change) == pytest.approx(log_density(given), rel=1e-12)


def test_reflections_have_no_density():
    backward, _, log_density = polar(2)
    reflection = np.diag([1.0, -1.0])[None]
    assert np.isnan(log_density(reflection))
    assert np.isnan(backward(reflection)).all()


def test_rotations_from_the_prior_are_uniform():
    """E Q_ij Q_kl is delta_ik delta_jl / d, for SciPy's rotations as for these."""
    with pm.Model():
        draws = pm.draw(rotations("axes", 1, 4), 3000, random_seed=0, mode="FAST_COMPILE")[:, 0]
    entries = draws.reshape(3000, -1)
    error = 0.25 / np.sqrt(3000)
    assert_within_errors(entries.mean(axis=0), 0.0, 0.5 / np.sqrt(3000))
    assert_within_errors(entries.T @ entries / 3000, np.eye(16) / 4, 2.0 * error)


@pytest.mark.parametrize("code", STRUCTURES)
def test_there_are_as_many_coordinates_as_parameters(code):
    structure = as_structure(code)
    model = build_model(ROWS, K, structure, FACTORISED)
    size = sum(np.size(value) for value in model.initial_point().values())
    n_axes = {"E": 1, "V": K}[structure.orientation] if code in WITH_AXES else 0
    # The other factor of the matrices that rotations are the polar factors of.
    assert size == structure.n_parameters(K, D) + n_axes * D * (D + 1) // 2


@pytest.mark.parametrize("code", STRUCTURES)
def test_the_start_is_the_mixture_it_was_made_from(code):
    structure, mixture = as_structure(code), standard_mixture(code)
    model = build_model(ROWS, K, structure, FACTORISED)
    values = start_values(model, structure, mixture)
    covariances = python([model[name] for name in values], model["covariances"])
    assert_close(covariances(*values.values()), mixture.covariances, ALGEBRA)


@pytest.mark.parametrize("code", ["EVE", "VVE", "EEV", "VEV"])
def test_axes_of_a_start_are_rotations_in_the_order_of_the_variances(code):
    structure, mixture = as_structure(code), standard_mixture(code)
    axes = start_values(build_model(ROWS, K, structure), structure, mixture)["axes"]
    assert axes.shape == (1 if code[2] == "E" else K, D, D)
    assert_close(np.linalg.det(axes), np.ones(len(axes)), 1e-12)
    variances = np.diagonal(np.swapaxes(axes, 1, 2) @ mixture.covariances @ axes, axis1=1, axis2=2)
    if code[2] == "V":
        assert np.all(np.diff(variances) <= 0.0)


@pytest.mark.parametrize("code", ["VEI", "EVE", "VEV", "EVV", "VEE"])
def test_renumbering_the_components_changes_no_density(code):
    structure, mixture = as_structure(code), standard_mixture(code)
    model = build_model(ROWS, K, structure, FACTORISED)
    order = [2, 0, 1]
    found = []
    for one in (mixture, Mixture(mixture.weights[order], mixture.means[order], mixture.covariances[order])):
        values = start_values(model, structure, one)
        terms = model.logp(vars=[model[name] for name in values], jacobian=False, sum=False)
        total = sum(term.sum() for term in terms) + sum(model.replace_rvs_by_values(model.potentials))
        inputs = {model.rvs_to_values[model[name]]: transformed(model, name, value) for name, value in values.items()}
        found.append(python(list(inputs), total)(*inputs.values()))
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


@pytest.mark.parametrize("code", WHOLE)
def test_scores_are_isometric_coordinates_of_the_matrix_logarithm(code):
    """Scores are standard normal: log covariances are normal with the same variance in every direction of trace zero.

    SciPy takes the logarithms. Lengths in the space of symmetric matrices say that nothing depends on the axes.
    """
    structure, priors = as_structure(code), FACTORISED.resolve(ROWS, as_structure(code), K)
    model = build_model(ROWS, K, structure, FACTORISED)
    covariances = python([model["volume_scores"], model["shape_scores"]], model["covariances"])
    volumes, shapes = (np.zeros(model[name].type.shape) for name in ("volume_scores", "shape_scores"))

    def logarithms(shapes):
        return np.stack([logm(one) for one in covariances(volumes, shapes)])

    centre = logarithms(shapes)
    standard = priors.within_sd / ROWS.scaling(structure).scale
    assert_close(centre, np.tile(np.diag(2.0 * np.log(standard)), (K, 1, 1)), ALGEBRA)
    found = np.array([
        (logarithms(unit.reshape(shapes.shape)) - centre).ravel() for unit in np.eye(shapes.size)
    ])  # fmt: skip
    assert_close(np.trace(found.reshape(-1, D, D), axis1=1, axis2=2), np.zeros(len(found) * K), 1e-7)
    # The covariance of vec(A_k), vec(A_l): that of two components times the projection on symmetric, trace zero.
    between, within = (stats.loggamma((dof + D - 1) / 2).var() for dof in (priors.scale_dof, priors.dof))
    of_components = between + within * (np.ones((K, K)) if code[1] == "E" else np.eye(K))
    swap = np.eye(D * D).reshape(D, D, D, D).swapaxes(0, 1).reshape(D * D, D * D)
    identity = np.eye(D).ravel()
    projection = 0.5 * (np.eye(D * D) + swap) - np.outer(identity, identity) / D
    assert_close(found.T @ found, np.kron(of_components, projection), ALGEBRA)


def test_the_prior_of_a_matrix_has_normal_log_variances_that_repel():
    """In the plane the difference of the log variances is then Rayleigh, and the direction of the axes uniform."""
    rows = prepare(random_rows(40, 2))
    scale = rows.scaling(as_structure("VEE")).scale
    model = build_model(rows, 1, "VEE", Priors(covariance="factorised", within_sd=scale, smallest_sd=1e-6))
    draws = pm.draw(model["covariances"], 2000, random_seed=1, mode="FAST_COMPILE")[:, 0]
    values, vectors = np.linalg.eigh(draws)
    spread = np.sqrt(2.0 * sum(stats.loggamma(0.5 * (dof + 1)).var() for dof in (1.0, 5.0)))
    assert stats.kstest(np.log(values[:, 1] / values[:, 0]), stats.rayleigh(scale=spread).cdf).pvalue > 1e-3
    angles = np.arctan2(vectors[:, 1, 0], vectors[:, 0, 0]) % np.pi
    assert stats.kstest(angles / np.pi, stats.uniform.cdf).pvalue > 1e-3


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
