"""Intervals of memberships: the delta method against differentiation, the bootstrap, and how often they hold."""

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import norm

from bayesgmm.data import load_dataset
from bayesgmm.em.curvature import curvature_of
from bayesgmm.em.fit import fit_em
from bayesgmm.em.membership_intervals import membership_intervals
from bayesgmm.em.standard_errors import standard_errors
from bayesgmm.errors import ArgumentError
from bayesgmm.mixture import Mixture
from bayesgmm.structure import STRUCTURES
from tests.em.differentiation import slopes
from tests.em.test_information import moved
from tests.tolerances import ALGEBRA, EXACT, assert_close

FAITHFUL = load_dataset("faithful")
BETWEEN = np.array([[2.6, 62.0], [2.8, 64.0], [2.9, 66.0], [3.0, 66.5]])


@pytest.fixture(scope="module")
def faithful_fit():
    return fit_em(FAITHFUL, 2, seed=0, n_starts=8)


@pytest.fixture(scope="module")
def iris_fits():
    rows = load_dataset("iris").to_numpy()
    species = np.repeat([0, 1, 2], 50)
    return {code: fit_em(rows, 3, structure=code, start=species, tol=1e-13) for code in ("VVV", "EEE", "VII", "VEV")}


@pytest.mark.parametrize("code", ["VVV", "EEE", "VII", "VEV"])
def test_the_width_on_the_logit_scale_follows_from_differentiation(iris_fits, code):
    fit = iris_fits[code]
    rows = fit.prepared.values[[70, 77, 83, 120, 133]]
    found = membership_intervals(fit, rows, prob=0.9)
    at = curvature_of(fit)
    Z = fit.scaling.standardize(rows)

    def logits(x):
        parts = []
        for weight, mean, cov in zip(*moved(at.space, x), strict=True):
            squares = np.einsum("nd,nd->n", Z - mean, np.linalg.solve(cov, (Z - mean).T).T)
            parts.append(weight * np.exp(-0.5 * squares) / np.sqrt(np.linalg.det(cov)))
        joint = np.stack(parts, axis=1)
        return np.log(joint / (joint.sum(axis=1, keepdims=True) - joint))

    derivatives = slopes(logits, np.zeros(STRUCTURES[code].n_parameters(3, 4)))
    covariance = np.linalg.inv(at.known.observed)
    widths = norm.ppf(0.95) * np.sqrt(np.einsum("nkp,pq,nkq->nk", derivatives, covariance, derivatives))
    is_open = (found["lower"].values > 1e-12) & (found["upper"].values < 1.0 - 1e-9)
    half = 0.5 * (logit(found["upper"].values) - logit(found["lower"].values))
    assert is_open.sum() >= 8
    assert_close(half[is_open], widths[is_open], 1e-5)


@pytest.mark.parametrize("method", ["information", "sandwich", "empirical"])
def test_intervals_hold_the_estimate_and_two_components_mirror_each_other(faithful_fit, method):
    found = membership_intervals(faithful_fit, method=method)
    plain = faithful_fit.memberships()
    assert set(found.data_vars) == set(plain.data_vars)
    assert np.array_equal(found["mean"], plain["mean"])
    assert np.all((found["lower"] <= found["mean"] + EXACT) & (found["mean"] <= found["upper"] + EXACT))
    assert found["lower"].min() >= 0
    assert found["upper"].max() <= 1
    assert_close(found["lower"][:, 0], 1.0 - found["upper"][:, 1], EXACT)


def test_a_bootstrap_has_much_the_same_intervals(faithful_fit):
    """A parametric one, as the information trusts the model as well."""
    errors = standard_errors(faithful_fit, "parametric_bootstrap", n_boot=250, seed=0, n_threads=1)
    drawn = membership_intervals(faithful_fit, BETWEEN, errors)
    derived = membership_intervals(faithful_fit, BETWEEN)
    for side in ("lower", "upper"):
        gaps = np.abs(logit(drawn[side]) - logit(derived[side]))
        widths = logit(derived["upper"]) - logit(derived["lower"])
        assert (gaps < 0.25 * widths).all()
    again = membership_intervals(faithful_fit, BETWEEN, "parametric_bootstrap", n_boot=250, seed=0, n_threads=1)
    assert np.array_equal(again["lower"], drawn["lower"])


def test_intervals_hold_the_truth_as_often_as_they_say():
    """100 samples of 400 rows: nominal 90 % at five points, give or take a binomial error of 3 %."""
    truth = Mixture([0.4, 0.6], [[-1.5], [1.5]], [[[1.0]], [[0.7]]])
    points = np.array([[-0.6], [-0.3], [0.0], [0.3], [0.6]])
    expected = truth.responsibilities(points)[:, 0]
    held = []
    for seed in range(100):
        rows, labels = truth.sample(400, seed)
        fit = fit_em(rows, 2, start=truth, labels=np.where(np.arange(400) < 20, labels, -1))
        found = membership_intervals(fit, points, prob=0.9)
        held.append((found["lower"][:, 0].values <= expected) & (expected <= found["upper"][:, 0].values))
    coverage = np.mean(held, axis=0)
    assert np.all((coverage > 0.81) & (coverage < 0.99)), coverage


def test_units_are_of_no_concern(faithful_fit):
    scale, shift = np.array([1e3, 1e-4]), np.array([5.0, -1.0])
    moved_fit = fit_em(FAITHFUL.to_numpy() * scale + shift, 2, seed=0, n_starts=8)
    first, second = (
        membership_intervals(faithful_fit, BETWEEN),
        membership_intervals(moved_fit, BETWEEN * scale + shift),
    )
    assert_close(second["lower"], first["lower"], 1e-4)


def test_what_is_fixed_has_no_part_in_it():
    fit = fit_em(FAITHFUL, 2, seed=0, n_starts=8)
    held = fit_em(FAITHFUL, 2, seed=0, fix={"means": fit.mixture.means, "weights": fit.mixture.weights}, n_starts=8)
    wide, narrow = membership_intervals(fit, BETWEEN), membership_intervals(held, BETWEEN)
    assert_close(narrow["mean"], wide["mean"], 1e-4)
    assert np.all(narrow["upper"] - narrow["lower"] < wide["upper"] - wide["lower"])


def test_one_component_has_every_row():
    found = membership_intervals(fit_em(FAITHFUL, 1), BETWEEN)
    assert_close(found["lower"], np.ones((4, 1)), ALGEBRA)
    assert_close(found["upper"], np.ones((4, 1)), ALGEBRA)


def test_a_method_without_intervals_is_refused(faithful_fit):
    with pytest.raises(ArgumentError, match="method='jackknife' gives no intervals of memberships"):
        membership_intervals(faithful_fit, method="jackknife")
