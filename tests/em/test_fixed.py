"""Fixed parameters: held to the last bit, the others at the maximum given them, and refused where they do not fit."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from bayesgmm.data import load_dataset
from bayesgmm.em.fit import fit_em
from bayesgmm.em.loop import Settings
from bayesgmm.errors import ArgumentError, DegenerateFitWarning
from bayesgmm.mixture import Mixture
from bayesgmm.structure import STRUCTURES
from tests.em.references import labels_of
from tests.tolerances import ALGEBRA, EXACT, OPTIMUM, assert_close

FAITHFUL = load_dataset("faithful")
X = FAITHFUL.to_numpy()
MEANS = np.array([[2.0, 54.0], [4.3, 80.0]])
WEIGHTS = np.array([0.4, 0.6])
COVARIANCES = np.array([[[0.07, 0.4], [0.4, 33.0]], [[0.2, 0.9], [0.9, 36.0]]])
GIVEN = {"weights": WEIGHTS, "means": MEANS, "covariances": COVARIANCES}
SUBSETS = [
    ("weights",), ("means",), ("covariances",), ("weights", "means"), ("weights", "covariances"),
    ("means", "covariances"),
]  # fmt: skip


def subset(names):
    return {name: GIVEN[name] for name in names}


@pytest.mark.parametrize("names", SUBSETS)
class TestHeld:
    def test_what_is_fixed_comes_out_as_it_went_in_and_the_rest_converges(self, names):
        fit = fit_em(FAITHFUL, 2, fix=subset(names), seed=0, n_starts=4)
        for name in names:
            assert np.array_equal(getattr(fit.mixture, name), GIVEN[name])
        assert fit.info.diagnostics["converged"]
        assert np.all(np.diff(fit.em_trace) >= -EXACT * abs(fit.log_likelihood))
        assert fit.em_trace[-1] == pytest.approx(fit.log_likelihood, rel=EXACT)
        assert fit.info.settings["fixed"] == list(names)

    def test_what_is_fixed_is_no_free_parameter(self, names):
        fit = fit_em(FAITHFUL, 2, fix=subset(names), seed=0, n_starts=4)
        free = {"weights": 1, "means": 4, "covariances": 6}
        assert fit.n_parameters == sum(count for name, count in free.items() if name not in names)
        assert fit.aic == pytest.approx(2 * fit.n_parameters - 2 * fit.log_likelihood, rel=EXACT)

    def test_a_general_optimiser_gains_nothing(self, names):
        """Weights by log-ratios, means as they are, covariances by log Cholesky factors; Nelder-Mead around the fit."""
        fit = fit_em(FAITHFUL, 2, fix=subset(names), seed=0, n_starts=4)
        best = fit.mixture

        def mixture_at(z):
            weights = (
                best.weights
                if "weights" in names
                else np.exp(log_softmax(np.log(best.weights) + np.array([0.0, z[0]])))
            )
            sds = np.sqrt(np.diagonal(best.covariances, axis1=1, axis2=2))
            means = best.means if "means" in names else best.means + z[1:5].reshape(2, 2) * sds
            if "covariances" in names:
                return Mixture(weights, means, best.covariances)
            low = np.zeros((2, 2, 2))
            low[:, [0, 1, 1], [0, 0, 1]] = z[5:].reshape(2, 3)
            low[:, [0, 1], [0, 1]] = np.exp(low[:, [0, 1], [0, 1]])
            chols = best.cholesky @ low
            return Mixture(weights, means, chols @ chols.transpose(0, 2, 1))

        result = minimize(lambda z: -mixture_at(z).log_density(X).sum(), np.full(11, 1e-3), method="BFGS")
        assert -result.fun <= fit.log_likelihood + 1e-6
        assert -result.fun == pytest.approx(fit.log_likelihood, abs=1e-4)


@pytest.mark.parametrize("code", STRUCTURES)
def test_every_structure_is_fitted_around_fixed_means_and_with_fixed_covariances(code):
    rows = load_dataset("iris").to_numpy()
    plain = fit_em(rows, 3, structure=code, start=labels_of("iris", 3), max_iter=5000)
    for name in ("means", "covariances"):
        values = getattr(plain.mixture, name)
        fit = fit_em(rows, 3, structure=code, fix={name: values}, seed=0, n_starts=8, max_iter=5000)
        assert np.array_equal(getattr(fit.mixture, name), values)
        assert np.all(np.diff(fit.em_trace) >= -EXACT * abs(fit.log_likelihood))
        # What is held is that of an optimum, so the rest of it is the least that can be found.
        assert fit.log_likelihood >= plain.log_likelihood - 1e-6 * abs(plain.log_likelihood)


def test_a_component_that_no_row_needs_is_called_empty():
    wide = np.stack([np.diag([1.0, 150.0]), np.diag([1e4, 1e6])])
    with pytest.warns(DegenerateFitWarning, match="component 1 is empty"):
        fit_em(FAITHFUL, 2, structure="diag", fix={"covariances": wide}, seed=0)


def test_components_stay_where_they_are_fixed():
    for order in ([0, 1], [1, 0]):
        fit = fit_em(FAITHFUL, 2, fix={"means": MEANS[order]}, seed=0)
        assert_close(
            fit.mixture.weights[order], fit_em(FAITHFUL, 2, fix={"means": MEANS}, seed=0).mixture.weights, 1e-6
        )
    heavy = fit_em(FAITHFUL, 2, fix={"weights": [0.64412713, 0.35587287]}, seed=0)
    light = fit_em(FAITHFUL, 2, fix={"weights": [0.35587287, 0.64412713]}, seed=0)
    assert_close(heavy.mixture.means, light.mixture.means[::-1], OPTIMUM)
    assert heavy.log_likelihood == pytest.approx(-1130.26396, abs=1e-4)


def test_acceleration_ends_where_plain_em_ends(monkeypatch):
    accelerated = fit_em(FAITHFUL, 2, fix={"means": MEANS + 0.3}, start=(X[:, 0] > 3).astype(int))
    plain = Settings.faithful
    monkeypatch.setattr(Settings, "faithful", lambda self: plain(self).__class__(
        self.structure, max_iter=20_000, tol=1e-13, reach=0.0, patience=10**6, knowledge=self.knowledge))  # fmt: skip
    slow = fit_em(FAITHFUL, 2, fix={"means": MEANS + 0.3}, start=(X[:, 0] > 3).astype(int))
    assert_close(accelerated.log_likelihood, slow.log_likelihood, ALGEBRA)
    assert_close(accelerated.mixture.covariances, slow.mixture.covariances, 1e-4)


def test_units_are_of_no_concern():
    scale, shift = np.array([1e3, 1e-4]), np.array([-1e4, 7.0])
    first = fit_em(X, 2, fix={"means": MEANS}, seed=0)
    second = fit_em(X * scale + shift, 2, fix={"means": MEANS * scale + shift}, seed=0)
    assert_close(second.mixture.weights, first.mixture.weights, OPTIMUM)
    assert_close(second.mixture.covariances / np.outer(scale, scale), first.mixture.covariances, OPTIMUM)


def test_one_column_takes_vectors():
    fit = fit_em(load_dataset("acidity"), 2, fix={"means": [4.3, 6.2], "covariances": [0.14, 0.27]}, seed=0)
    assert fit.mixture.means.ravel().tolist() == [4.3, 6.2]
    assert fit.mixture.covariances.ravel().tolist() == [0.14, 0.27]


@pytest.mark.parametrize(
    ("fix", "options", "message"),
    [
        ({"mean": MEANS}, {}, "must be a dict with some of 'weights', 'means', 'covariances'"),
        ({}, {}, "must be a dict"),
        (GIVEN, {}, "nothing is left to fit"),
        ({"means": MEANS[:1]}, {}, r"fix\['means'\] has shape \(1, 2\); it needs \(2, 2\)"),
        ({"weights": [0.5, 0.6]}, {}, "sum to"),
        ({"weights": [0.0, 1.0]}, {}, "has a zero"),
        ({"covariances": -COVARIANCES}, {}, "covariance"),
        ({"covariances": COVARIANCES}, {"structure": "tied"}, r"fix\['covariances'\] are not tied \(EEE\)"),
        ({"covariances": COVARIANCES}, {"structure": "diag"}, r"are not diag \(VVI\)"),
        ({"covariances": COVARIANCES}, {"max_eigenvalue_ratio": 10.0}, "nothing for max_eigenvalue_ratio to bound"),
        ({"means": MEANS, "covariances": COVARIANCES}, {"prior": "default"}, "leave prior out"),
    ],
)
def test_what_cannot_be_held_is_refused(fix, options, message):
    with pytest.raises(ArgumentError, match=message):
        fit_em(FAITHFUL, 2, fix=fix, **options)
