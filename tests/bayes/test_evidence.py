"""Evidence: closed forms, quadrature, and published values for the galaxies."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import integrate, stats
from scipy.linalg import helmert
from scipy.special import logsumexp

import bayesgmm as bg
from bayesgmm.bayes.bridge import bridge_sampling
from bayesgmm.bayes.evidence import Evidence, log_evidence, model_log_evidence
from bayesgmm.bayes.factorised import factorised_hyperparameters
from bayesgmm.bayes.likelihood import mixture_log_likelihood
from bayesgmm.bayes.model import build_model
from bayesgmm.bayes.prior_mass import log_prior_mass
from bayesgmm.mixture import Mixture
from bayesgmm.structure import as_structure
from tests import tolerances
from tests.bayes.densities import LOG_MASS, two_means

ROWS = np.array([0.3, 1.9, 2.2, 2.4, 3.1, 5.0])


def observe(rows, weights, means, variances):
    """Add rows of one column to a model, labels summed out."""
    pm.Deterministic("means", means[:, None])
    pm.Deterministic("covariances", variances[:, None, None])
    pm.CustomDist(
        "x", np.ones(len(rows)), weights, means[:, None], (variances**-0.5)[:, None, None],
        logp=lambda x, w, p, m, c: mixture_log_likelihood(x, w, pt.log(p), m, c),
        signature="(n),(k),(k,d),(k,d,d)->(n,d)", observed=rows[:, None],
    )  # fmt: skip


def galaxies(rows, k, *, equal):
    """Return the model of Carlin & Chib: mu ~ N(20, 10^2), sigma^2 ~ IG(3, 20), Dirichlet(1)."""
    with pm.Model(coords={"component": range(k)}) as model:
        weights = pm.Dirichlet("weights", np.ones(k), dims="component")
        means = pm.Normal("locations", 20, 10, dims="component")
        variances = pm.InverseGamma("variances", 3, 20, shape=1 if equal else k)
        observe(rows, weights, means, pt.ones(k) * variances)
    return model


@pytest.mark.parametrize("apart", [2.0, 0.5])
def test_a_bridge_finds_the_mass_of_one_numbering_of_chains_that_visit_both(apart):
    density, sample = two_means(apart)
    draws = sample((4, 2000), np.random.default_rng(0))
    value, mcse = bridge_sampling(density, draws, np.random.default_rng(1))
    assert mcse < 0.05
    assert abs(value - LOG_MASS) < tolerances.STANDARD_ERRORS * mcse


def test_a_bridge_knows_that_draws_of_a_chain_are_worth_fewer():
    density, sample = two_means(2.0)
    slow = np.repeat(sample((4, 400), np.random.default_rng(0)), 8, axis=1)
    value, mcse = bridge_sampling(density, slow, np.random.default_rng(1))
    assert mcse < 0.1
    assert abs(value - LOG_MASS) < tolerances.STANDARD_ERRORS * mcse


@pytest.mark.parametrize(
    "method", ["laplace", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bridge", "smc"))]
)
def test_one_mean_with_known_variance_has_a_closed_form(method):
    with pm.Model(coords={"component": [0]}) as model:
        weights = pm.Deterministic("weights", pt.ones(1))
        means = pm.Normal("locations", 1.0, 2.0, shape=1)
        observe(ROWS, weights, means, pt.as_tensor_variable(np.full(1, 1.5)))
    exact = stats.multivariate_normal(np.full(6, 1.0), 1.5 * np.eye(6) + 4.0).logpdf(ROWS)
    found = model_log_evidence(model, Mixture([1.0], [[2.5]], [[[1.5]]]), method=method, seed=3)
    assert found.n_copies == 1
    assert abs(found.value - exact) < tolerances.STANDARD_ERRORS * found.mcse + 1e-6


@pytest.mark.slow
def test_the_default_prior_agrees_with_quadrature_in_the_users_units():
    """n = 6, K = 1, with a guard that matters: the evidence is a ratio of two integrals."""
    priors = bg.Priors(mean_location=[2.0], mean_sd=[3.0], within_sd=[1.0], dof=6.0, scale_dof=3.0, smallest_sd=0.5)
    scale, guard = 1.0**2 * (6.0 - 2) / 3.0, 0.5**2
    log_sd, mean = np.linspace(-4, 5, 1500), np.linspace(-12, 16, 900)
    precision = np.exp(-2 * log_sd)
    # Lambda S nu0 / nu ~ F(nu, nu0), and the guard exp(-g Lambda / 2).
    law = stats.f(6.0, 3.0).logpdf(precision * scale * 3.0 / 6.0) + np.log(precision)
    prior = np.exp(law - 0.5 * guard * precision)
    likelihood = np.array([stats.norm(m, np.exp(log_sd)).logpdf(ROWS[:, None]).sum(axis=0) for m in mean])
    joint = prior * np.exp(likelihood) * stats.norm(2.0, 3.0).pdf(mean)[:, None]
    above = integrate.trapezoid(integrate.trapezoid(joint, log_sd), mean)
    exact = np.log(above / integrate.trapezoid(prior, log_sd))
    laplace = log_evidence(ROWS, 1, priors=priors, seed=0)
    assert abs(laplace.value - exact) < tolerances.STANDARD_ERRORS * laplace.mcse + 0.005
    assert log_prior_mass(build_model(ROWS, 1, priors=priors))[0] < -0.05
    scaled = log_evidence(
        1000 * ROWS, 1, seed=0, priors=bg.Priors(
            mean_location=[2000.0], mean_sd=[3000.0], within_sd=[1000.0], dof=6.0, scale_dof=3.0, smallest_sd=0.5
        ),
    )  # fmt: skip
    assert scaled.value == pytest.approx(laplace.value - 6 * np.log(1000), abs=1e-6)


@pytest.mark.slow  # every model is compiled for itself
@pytest.mark.parametrize(
    ("k", "equal", "method", "published"),
    [
        (2, True, "laplace", -239.76),
        (3, True, "laplace", -226.81),
        (3, False, "bridge", -226.79),
        pytest.param(3, True, "smc", -226.81, marks=pytest.mark.slow),
    ],
)
def test_the_galaxies_have_their_published_evidence(k, equal, method, published):
    rows = bg.load_dataset("galaxies").to_numpy(dtype=float).ravel()
    rows = rows / 1000 if rows.max() > 1000 else rows
    em = bg.fit_em(rows, k, structure="E" if equal else "V", seed=0)
    found = model_log_evidence(galaxies(rows, k, equal=equal), em.mixture, method=method, seed=1)
    assert found.n_copies == (1 if method == "smc" else {2: 2, 3: 6}[k])
    assert found.mcse < (0.5 if method == "smc" else 0.03)
    assert abs(found.value - published) < tolerances.STANDARD_ERRORS * found.mcse + 0.01


def test_a_fit_says_what_its_model_is(faithful_em):
    from_fit = log_evidence(faithful_em, seed=0)
    from_rows = log_evidence(faithful_em.prepared, 2, em=faithful_em, seed=0)
    assert (from_fit.value, from_fit.n_copies) == (from_rows.value, 2)
    assert from_fit.value == pytest.approx(-1165.04, abs=0.05)
    assert "laplace" in repr(from_fit)
    assert float(from_fit) == from_fit.value


@pytest.mark.slow
def test_components_that_differ_a_priori_are_not_counted_as_copies(faithful_em):
    with pytest.raises(bg.ArgumentError, match="not exchangeable"):
        log_evidence(faithful_em, priors=bg.Priors(concentration=[1.0, 2.0]), seed=0)


@pytest.mark.slow
def test_the_two_forms_of_the_guard_have_masses_alike(faithful):
    """VEI and LKJ have it as a potential, VVI inside the density; about the same share of the prior is ruled out."""
    models = [build_model(faithful, 2, code) for code in ("VEI", "VVI")]
    models.append(build_model(faithful, 2, "full", bg.Priors(covariance="lkj")))
    for log_mass, mcse in map(log_prior_mass, models):
        assert -0.1 < log_mass < 0
        assert 0 < mcse < 0.003


@pytest.mark.slow
def test_the_mass_of_a_prior_agrees_with_quadrature():
    """Half-normal deviations in one dimension: the guard's expectation is an integral over one number."""
    priors = bg.Priors(covariance="lkj", sd_prior="halfnormal", smallest_sd=0.3)
    model = build_model(ROWS, 1, priors=priors)
    scale, smallest = float(model["sd_scale"].get_value()[0]), float(model["smallest_variance"].get_value()[0])
    exact, _ = integrate.quad(
        lambda sd: stats.halfnorm.pdf(sd, scale=scale) * np.exp(-0.5 * smallest / sd**2), 0, np.inf
    )
    log_mass, mcse = log_prior_mass(model)
    assert log_mass < -0.1
    assert abs(log_mass - np.log(exact)) < tolerances.STANDARD_ERRORS * mcse


@pytest.mark.slow
def test_an_order_of_means_leaves_one_numbering():
    with pm.Model(coords={"component": range(2)}) as model:
        weights = pm.Dirichlet("weights", np.ones(2), dims="component")
        means = pm.Normal(
            "locations", 2, 3, dims="component", transform=pm.distributions.transforms.ordered, initval=[1.0, 4.0]
        )
        observe(ROWS, weights, means, pt.as_tensor_variable(np.ones(2)))
    with pm.Model(coords={"component": range(2)}) as free:
        weights = pm.Dirichlet("weights", np.ones(2), dims="component")
        means = pm.Normal("locations", 2, 3, dims="component", initval=[1.0, 4.0])
        observe(ROWS, weights, means, pt.as_tensor_variable(np.ones(2)))
    start = Mixture([0.5, 0.5], [[1.0], [4.0]], np.ones((2, 1, 1)))
    ordered = model_log_evidence(model, start, method="bridge", seed=0)
    every = model_log_evidence(free, start, method="bridge", seed=0)
    assert (ordered.n_copies, every.n_copies) == (1, 2)
    # PyMC does not renormalise an ordered prior: its mass is half, and so is its evidence.
    assert abs(ordered.value + np.log(2) - every.value) < tolerances.STANDARD_ERRORS * np.hypot(
        ordered.mcse, every.mcse
    )


# -------------------------------------------------------------------- covariances with axes


def by_quadrature(rows, code):
    """Return the log evidence of one component in the plane: the mean integrated, volume, shape and angle on a grid."""
    structure, n = as_structure(code), rows.n_rows
    scaling = rows.scaling(structure)
    priors = bg.Priors().resolve(rows, structure, 1)
    numbers = factorised_hyperparameters(priors, scaling, structure, 1)
    x = scaling.standardize(rows.values)
    scores = np.linspace(-7, 7, 221)
    volume, shape, angle = np.meshgrid(
        numbers["log_variance_location"][0] + numbers["volume_root"][0, 0] * scores,
        numbers["shape_root"][0, 0] * scores / np.sqrt(2), np.arange(90) * np.pi / 90, indexing="ij",
    )  # fmt: skip
    log_prior = stats.norm.logpdf(scores)[:, None, None] + stats.norm.logpdf(scores)[None, :, None]
    cov = plane_matrices(np.exp(volume + shape), np.exp(volume - shape), angle)
    precision = plane_matrices(np.exp(-volume - shape), np.exp(-volume + shape), angle)
    guard = -0.5 * sum(numbers["smallest_variance"][j] * precision[j] for j in range(2))
    spread = (x - x.mean(axis=0)).T @ (x - x.mean(axis=0))
    within = -0.5 * (spread[0, 0] * precision[0] + spread[1, 1] * precision[1] + 2 * spread[0, 1] * precision[2])
    within -= (n - 1) * (volume + np.log(2 * np.pi)) + np.log(n)
    # The mean of the rows is normal around the prior's location.
    sd, offset = priors.mean_sd / scaling.scale, x.mean(axis=0) - (priors.mean_location - scaling.shift) / scaling.scale
    a, b, c = cov[0] / n + sd[0] ** 2, cov[1] / n + sd[1] ** 2, cov[2] / n
    determinant = a * b - c**2
    square = (b * offset[0] ** 2 + a * offset[1] ** 2 - 2 * c * offset[0] * offset[1]) / determinant
    of_mean = -np.log(2 * np.pi) - 0.5 * np.log(determinant) - 0.5 * square
    log_ratio = logsumexp(log_prior + guard + within + of_mean) - logsumexp(log_prior + guard)
    return log_ratio - n * np.log(scaling.scale).sum()


def plane_matrices(first, second, angle):
    """Return the elements 11, 22 and 12 of matrices with given eigenvalues, the first's axis at an angle."""
    cos, sin = np.cos(angle), np.sin(angle)
    return first * cos**2 + second * sin**2, first * sin**2 + second * cos**2, (first - second) * cos * sin


def by_prior_draws(rows, code, k, priors, n=400_000):
    """Return the log of the mean likelihood of draws from the prior, and its standard error; two columns."""
    structure, rng = as_structure(code), np.random.default_rng(0)
    scaling = rows.scaling(structure)
    resolved = priors.resolve(rows, structure, k)
    numbers = factorised_hyperparameters(resolved, scaling, structure, k)
    weights = rng.dirichlet(np.broadcast_to(resolved.concentration, k), n)
    location = (resolved.mean_location - scaling.shift) / scaling.scale
    means = location + rng.normal(size=(n, k, 2)) * resolved.mean_sd / scaling.scale
    roots = numbers["volume_root"], numbers["shape_root"]
    volumes, shapes = (root @ rng.normal(size=(n, root.shape[1], 1)) for root in roots)
    logs = numbers["log_variance_location"] + volumes + shapes @ helmert(2)
    angles = rng.uniform(0, 2 * np.pi, size=(n, k if structure.orientation == "V" else 1))
    precision = plane_matrices(np.exp(-logs[..., 0]), np.exp(-logs[..., 1]), angles)
    guard = -0.5 * sum(numbers["smallest_variance"][j] * precision[j] for j in range(2)).sum(axis=1)
    log_likelihood = np.zeros(n)
    for x in scaling.standardize(rows.values):
        e = x - means
        squares = precision[0] * e[..., 0] ** 2 + precision[1] * e[..., 1] ** 2 + 2 * precision[2] * e.prod(axis=-1)
        log_joint = np.log(weights) - np.log(2 * np.pi) - 0.5 * logs.sum(axis=-1) - 0.5 * squares
        log_likelihood += logsumexp(log_joint, axis=1)
    total = logsumexp(guard + log_likelihood)
    error = np.std(n * np.exp(guard + log_likelihood - total)) / np.sqrt(n)
    return total - logsumexp(guard) - rows.n_rows * np.log(scaling.scale).sum(), error


@pytest.mark.slow
@pytest.mark.parametrize("stretch", [3.0, 1.2])
def test_one_component_with_axes_agrees_with_quadrature(stretch):
    """Nearly round rows leave the axes open: all four descriptions of a covariance overlap."""
    rng = np.random.default_rng(0)
    rows = bg.prepare(rng.normal(size=(30, 2)) * [stretch, 1.0] @ stats.ortho_group.rvs(2, random_state=1) + [3.0, 5.0])
    found = [
        log_evidence(rows, 1, structure=code, method=method, seed=1)
        for code, method in (("EEV", "laplace"), ("VEV", "laplace"), ("EVE", "bridge"))
    ]
    for one in found:
        assert one.n_copies == 4
        assert one.mcse < 0.05
        assert abs(one.value - by_quadrature(rows, "EEV")) < tolerances.STANDARD_ERRORS * one.mcse
    # With one component these are one model.
    assert found[0].value == pytest.approx(found[1].value, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("code", "method", "copies"), [("EEV", "bridge", 16), ("VVE", "laplace", 8)])
def test_two_components_with_axes_agree_with_draws_from_the_prior(code, method, copies):
    """Eight rows and a firm prior: names of components and axes are wide open, and every copy touches the others."""
    x = [[0.0, 0], [1, 0.8], [-0.7, 0.4], [0.3, -1.2], [1.5, 0.2], [-0.2, 1.1], [-1.2, -0.9], [0.8, 0.1]]
    rows, structure = bg.prepare(np.array(x)), as_structure(code)
    scaling = rows.scaling(structure)
    priors = bg.Priors(
        concentration=10.0, mean_location=[0.0, 0.0], mean_sd=[0.7, 0.7], within_sd=[1.0, 1.0], dof=30.0, scale_dof=20.0
    )
    exact, error = by_prior_draws(rows, code, 2, priors)
    start = Mixture([0.5, 0.5], [[-0.3, -0.2], [0.3, 0.2]], np.tile(np.diag([1.2, 0.9]), (2, 1, 1)))
    options = {"draws": 2000} if method == "bridge" else {}
    found = model_log_evidence(
        build_model(rows, 2, structure, priors), scaling.mixture_to_standard(start), structure=structure,
        method=method, seed=1, **options,
    )  # fmt: skip
    assert found.n_copies == copies
    # Had a copy been counted twice, or not at all, it would be log 2 = 0.69 away.
    assert found.mcse < 0.15
    value = found.value - rows.n_rows * np.log(scaling.scale).sum()
    assert abs(value - exact) < tolerances.STANDARD_ERRORS * np.hypot(found.mcse, error)


def test_an_error_that_is_not_known_is_not_printed_as_a_number():
    assert repr(Evidence(-3.0, float("nan"), "smc")) == "Evidence(-3.000, MCSE unknown, smc)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "magic"}, "method='magic'"),
        ({"draws": 10}, "has no option 'draws'"),
    ],
)
def test_illegal_arguments_are_named(arguments, message, faithful):
    with pytest.raises(bg.ArgumentError, match=message):
        log_evidence(faithful, 2, seed=0, **arguments)


def test_the_number_of_components_is_needed(faithful):
    with pytest.raises(bg.ArgumentError, match="n_components"):
        log_evidence(faithful)
