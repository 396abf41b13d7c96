"""What a fit was told is in its information and in its replicates: labels, fixed parameters, a prior, a bound."""

import numpy as np
import pytest

from bayesgmm.data import load_dataset
from bayesgmm.em.bootstrap import replicate
from bayesgmm.em.conjugate import ConjugatePrior
from bayesgmm.em.curvature import curvature_of
from bayesgmm.em.fit import fit_em
from bayesgmm.em.information import information
from bayesgmm.em.standard_errors import standard_errors
from bayesgmm.em.statistics import Moments, Parameters
from bayesgmm.em.tangent import tangent_space
from bayesgmm.errors import FitError
from bayesgmm.structure import STRUCTURES
from tests.em.differentiation import log_density, second_slopes, slopes
from tests.em.test_information import mixture_of, moved
from tests.examples import random_rows
from tests.tolerances import ALGEBRA, EXACT, assert_close

FAITHFUL = load_dataset("faithful")
X = FAITHFUL.to_numpy()
LONG = (X[:, 0] > 3).astype(int)
NO_ROWS = Moments(0.0, np.ones(1), np.zeros((1, 3)), np.eye(3)[None])


def terms_of(code):
    scale = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 3.0]])
    return ConjugatePrior(mean=[0.5, -1.0, 2.0], kappa=2.5, dof=6.0, scale=scale).terms(STRUCTURES[code], 2, NO_ROWS)


def log_prior(terms, means, covariances):
    """Return the log prior density, up to a constant, of parameters that may be complex."""
    found = 0.0
    for mean, cov in zip(means, covariances, strict=True):
        offset, inverse = mean - terms.mean, np.linalg.inv(cov)
        added = terms.scatter + terms.kappa * offset[:, None] * offset
        found += -0.5 * (terms.count * np.log(np.linalg.det(cov)) + np.trace(inverse @ added))
    return found


@pytest.mark.parametrize("code", ["VII", "EEI", "EEE", "VEV"])
def test_derivatives_with_labels_and_a_prior(code):
    mixture = mixture_of(code)
    space, Z, terms = tangent_space(mixture, STRUCTURES[code]), random_rows(30, 3), terms_of(code)
    rng = np.random.default_rng(2)
    weights, labels = rng.uniform(0.2, 3.0, size=30), rng.integers(-1, 2, size=30)
    origin = np.zeros(STRUCTURES[code].n_parameters(2, 3))
    assert_close(
        terms.log_density(Parameters(mixture.weights, mixture.means, mixture.covariances)),
        log_prior(terms, mixture.means, mixture.covariances),
        EXACT,
    )

    def by_row(parameters):
        whole = log_density(Z, *parameters)
        alone = [log_density(Z, *(values[k : k + 1] for values in parameters)) for k in range(2)]
        return np.where(labels < 0, whole, np.where(labels == 0, *alone))

    def log_posterior(x):
        parameters = moved(space, x)
        return weights @ by_row(parameters) + log_prior(terms, *parameters[1:])

    found = information(space, Z, weights, labels=labels, prior=terms)
    assert_close(found.gradient, slopes(log_posterior, origin), EXACT)
    assert_close(-found.observed, second_slopes(log_posterior, origin), ALGEBRA)
    scores = slopes(lambda x: by_row(moved(space, x)), origin)
    assert_close(found.scores, (weights * scores.T) @ scores, EXACT)


@pytest.mark.parametrize(
    "told",
    [
        {"labels": np.where(np.arange(272) % 3 == 0, LONG, -1)},
        {"prior": "default"},
        {"fix": {"means": [[2.0, 54.5], [4.3, 80.0]]}},
        {"labels": np.where(np.arange(272) % 3 == 0, LONG, -1), "prior": "default", "fix": {"weights": [0.35, 0.65]}},
    ],
)  # fmt: skip
class TestFits:
    def test_the_gradient_along_what_is_free_is_zero(self, told):
        fit = fit_em(FAITHFUL, 2, seed=0, n_starts=4, tol=1e-13, **told)
        at = curvature_of(fit)
        assert np.abs(at.known.gradient).max() < 1e-4
        assert len(at.free) == 11 - sum({"weights": 1, "means": 4}[name] for name in told.get("fix", {}))

    def test_replicates_are_told_the_same(self, told):
        fit = fit_em(FAITHFUL, 2, seed=0, n_starts=4, **told)
        for method in ("bootstrap", "parametric_bootstrap", "weighted_bootstrap"):
            found = replicate(fit, method, n_boot=3, seed=0, n_threads=1)
            for name, values in told.get("fix", {}).items():
                assert_close(getattr(found.mixture, name), np.broadcast_to(values, (3, *np.shape(values))), EXACT)

    def test_a_bootstrap_agrees_with_the_sandwich(self, told):
        fit = fit_em(FAITHFUL, 2, seed=0, n_starts=4, **told)
        derived = standard_errors(fit, "sandwich").table
        drawn = standard_errors(fit, "bootstrap", n_boot=150, seed=0, n_threads=1).table
        assert list(derived.index) == list(drawn.index)
        ratios = drawn["se"] / derived["se"]
        # 150 replicates know a standard deviation to 6 %; the rest is that rows are few for small components.
        assert ratios.between(0.75, 1.3).all(), ratios
        for name in told.get("fix", {}):
            assert not derived.index.str.startswith(name).any()


def test_all_labels_known_is_the_textbook():
    fit = fit_em(FAITHFUL, 2, labels=LONG)
    table = standard_errors(fit).table
    for k in range(2):
        rows = X[k == LONG]
        expected = np.sqrt(rows.var(axis=0) / len(rows))
        assert_close(table.loc[[f"means[{k}, eruptions]", f"means[{k}, waiting]"], "se"], expected, ALGEBRA)
    share = LONG.mean()
    assert table.loc["weights[0]", "se"] == pytest.approx(np.sqrt(share * (1 - share) / 272))
    assert standard_errors(fit).missing_information == pytest.approx(0.0, abs=ALGEBRA)


def test_a_fit_at_the_bound_has_no_information():
    fit = fit_em(FAITHFUL, 2, max_eigenvalue_ratio=2.0, seed=0, n_starts=4)
    with pytest.raises(FitError, match="max_eigenvalue_ratio=2 holds the fit"):
        standard_errors(fit)
    assert standard_errors(fit, "bootstrap", n_boot=5, seed=0, n_threads=1).table["se"].gt(0).all()
    free = fit_em(FAITHFUL, 2, max_eigenvalue_ratio=1e3, seed=0, n_starts=4)
    assert standard_errors(free).table["se"].gt(0).all()
