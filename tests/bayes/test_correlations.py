"""LKJ correlations against PyMC's own density, standard deviations against SciPy."""

import numpy as np
import pymc as pm
import pytensor
import pytest
from pymc.distributions.multivariate import LKJCorr
from scipy import stats

from bayesgmm.bayes.correlations import partial_correlations
from bayesgmm.bayes.model import build_model, start_values
from bayesgmm.bayes.priors import Priors
from bayesgmm.data import prepare
from bayesgmm.mixture import Mixture
from bayesgmm.structure import as_structure
from tests.examples import random_covariances, random_mixture, random_rows
from tests.tolerances import ALGEBRA, assert_close

K, D = 2, 3
ROWS = prepare(random_rows(40, D) * [1.0, 2.0, 0.5])


@pytest.mark.parametrize("code", ["EII", "VII", "EEI", "VVI", "EEE", "VVV"])
def test_the_start_is_the_mixture_it_was_made_from(code):
    structure = as_structure(code)
    mixture = Mixture(np.full(K, 0.5), random_mixture(K, D).means, random_covariances(code, K, D))
    model = build_model(ROWS, K, structure, Priors(covariance="lkj"))
    values = start_values(model, structure, mixture)
    inputs = [model[name] for name in values]
    function = pytensor.function(inputs, model["covariances"], mode="FAST_COMPILE", on_unused_input="ignore")
    assert_close(function(*values.values()), mixture.covariances, ALGEBRA)


@pytest.mark.parametrize("eta", [1.0, 2.5])
def test_partial_correlations_have_the_density_of_pymc(eta):
    """The log densities of two points differ as PyMC's do, each with the Jacobian to the same coordinates."""
    d = 4
    with pm.Model() as ours:
        partial_correlations("shares", eta, 1, d)
    with pm.Model() as theirs:
        LKJCorr("chol", n=d, eta=eta)
    correlations = [np.corrcoef(np.random.default_rng(seed).normal(size=(d, 9))) for seed in range(3)]
    found = [correlation_density(ours, matrix) for matrix in correlations]
    expected = [cholesky_density(theirs, matrix) for matrix in correlations]
    np.testing.assert_allclose(np.diff(found), np.diff(expected), rtol=1e-9)


def partials(matrix):
    """Return z_ij and the log Jacobian of the free entries of the Cholesky factor by them."""
    chol = np.linalg.cholesky(matrix)
    rows, columns = np.tril_indices(len(matrix), -1)
    left = np.array([np.sqrt(1.0 - np.sum(chol[i, :j] ** 2)) for i, j in zip(rows, columns, strict=True)])
    return chol[rows, columns] / left, np.log(left).sum()


def correlation_density(model, matrix):
    z, log_jacobian = partials(matrix)
    variable = model["shares"]
    value = pm.logp(variable, 0.5 + 0.5 * z[None]).sum().eval(mode="FAST_COMPILE")
    return float(value) - log_jacobian


def cholesky_density(model, matrix):
    return float(pm.logp(model["chol"], np.linalg.cholesky(matrix)).eval(mode="FAST_COMPILE"))


@pytest.mark.parametrize(
    ("family", "density"),
    [
        ("lognormal", lambda median: stats.lognorm(1.0, scale=median)),
        ("halfnormal", lambda median: stats.halfnorm(scale=median / stats.halfnorm.median())),
        ("gamma", lambda median: stats.gamma(2.0, scale=median / stats.gamma(2.0).median())),
    ],
)
def test_standard_deviations_have_within_sd_as_their_median(family, density):
    structure = as_structure("diag")
    model = build_model(ROWS, K, structure, Priors(covariance="lkj", sd_prior=family, within_sd=[0.3, 0.4, 0.2]))
    median = np.array([0.3, 0.4, 0.2]) / ROWS.scaling(structure).scale
    sds = np.random.default_rng(0).gamma(3.0, size=(K, D))
    found = pm.logp(model["sds"], sds).eval(mode="FAST_COMPILE")
    assert_close(found, density(median).logpdf(sds), ALGEBRA)


@pytest.mark.parametrize("family", ["lognormal", "halfnormal", "gamma"])
def test_the_guard_stands_in_every_family(family):
    model = build_model(ROWS, K, "full", Priors(covariance="lkj", sd_prior=family))
    assert [potential.name for potential in model.potentials] == ["guard"]
