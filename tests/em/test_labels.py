"""Known labels: discriminant analysis where all are, the joint likelihood where some are, and any way to say so."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis

from bayesgmm.data import load_dataset, prepare
from bayesgmm.em.fit import fit_em
from bayesgmm.em.fixed import Fixed
from bayesgmm.em.knowledge import Knowledge
from bayesgmm.em.labelled import LabelledPass, joint_log_likelihood
from bayesgmm.em.maximise import maximise
from bayesgmm.em.rows import pack
from bayesgmm.em.scatters import pooled_moments
from bayesgmm.em.starts import moments_of_labels
from bayesgmm.em.statistics import Moments, Parameters, Pass, kind_of
from bayesgmm.errors import ArgumentError
from bayesgmm.mixture import Mixture
from bayesgmm.structure import STRUCTURES
from tests.em.references import standardised
from tests.examples import random_covariances, random_mixture
from tests.tolerances import ALGEBRA, EXACT, OPTIMUM, assert_close

IRIS = load_dataset("iris", with_classes=True)
SPECIES = IRIS["species"].to_numpy()
X = IRIS.drop(columns="species").to_numpy()
NUMBERS = np.unique(SPECIES, return_inverse=True)[1]


def some_labels(share=0.3, seed=0):
    """Return the species as numbers, most of them unknown."""
    known = np.random.default_rng(seed).uniform(size=len(X)) < share
    return np.where(known, NUMBERS, -1)


def joint_of(mixture, rows, labels):
    """Compute the log-likelihood with SciPy, row by row."""
    parts = np.stack([
        np.log(weight) + stats.multivariate_normal(mean, covariance).logpdf(rows)
        for weight, mean, covariance in zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    ], axis=1)  # fmt: skip
    by_row = np.logaddexp.reduce(parts, axis=1)
    return np.where(labels >= 0, parts[np.arange(len(rows)), labels], by_row)


class TestAllKnown:
    def test_full_covariances_are_those_of_quadratic_discriminant_analysis(self):
        fit = fit_em(X, 3, labels=SPECIES)
        groups = [X[k == NUMBERS] for k in range(3)]
        assert_close(fit.mixture.means, [group.mean(axis=0) for group in groups], EXACT)
        assert_close(fit.mixture.covariances, [np.cov(group.T, bias=True) for group in groups], ALGEBRA)
        other = QuadraticDiscriminantAnalysis(store_covariance=True).fit(X, NUMBERS)
        assert_close(fit.mixture.means, other.means_, EXACT)
        for found, expected in zip(fit.mixture.covariances, other.covariance_, strict=True):
            ratio = np.trace(expected) / np.trace(found)  # its divisor may be n - 1
            assert_close(found * ratio, expected, ALGEBRA)
            assert ratio == pytest.approx(1.0) or ratio == pytest.approx(50 / 49)

    def test_tied_covariances_are_those_of_linear_discriminant_analysis(self):
        fit = fit_em(X, 3, structure="tied", labels=SPECIES)
        other = LinearDiscriminantAnalysis(solver="lsqr", store_covariance=True).fit(X, NUMBERS)
        assert_close(fit.mixture.covariances[0], other.covariance_, ALGEBRA)
        assert_close(fit.responsibilities(X), other.predict_proba(X), ALGEBRA)

    @pytest.mark.parametrize("code", STRUCTURES)
    def test_one_m_step_is_all_there_is(self, code):
        solution = maximise(*standardised("iris", code)[:1], 3, structure=code, labels=NUMBERS, n_threads=1)
        assert solution.converged
        assert solution.trace[-1] - solution.trace[0] < 1e-7 * abs(solution.trace[0])

    def test_a_component_without_a_row_is_named(self):
        with pytest.raises(ArgumentError, match="none belongs to component 2"):
            fit_em(X[:100], 3, labels=NUMBERS[:100])


class TestSomeKnown:
    @pytest.mark.parametrize("code", STRUCTURES)
    def test_the_log_likelihood_is_that_of_rows_and_labels_and_never_falls(self, code):
        labels = some_labels()
        fit = fit_em(X, 3, structure=code, labels=labels, seed=0, n_starts=4)
        assert_close(fit.log_likelihood, joint_of(fit.mixture, X, labels).sum(), ALGEBRA)
        assert fit.em_trace[-1] == pytest.approx(fit.log_likelihood, rel=EXACT)
        assert np.all(np.diff(fit.em_trace) >= -EXACT * abs(fit.log_likelihood))
        assert fit.info.diagnostics["converged"]

    @pytest.mark.parametrize("code", ["VVV", "EEE", "VVI", "VII", "VEV"])
    def test_no_parameter_nearby_has_a_larger_likelihood(self, code):
        """A random pull of the fit towards another mixture of the structure loses."""
        labels, structure = some_labels(), STRUCTURES[code]
        fit = fit_em(X, 3, structure=code, labels=labels, seed=0, n_starts=4)
        for seed in range(5):
            rng = np.random.default_rng(seed)
            moved = fit.mixture.means + 1e-3 * rng.normal(size=(3, 4))
            scale = np.exp(1e-3 * rng.normal(size=(1 if structure.volume == "E" else 3, 1, 1)))
            other = Mixture(fit.mixture.weights, moved, fit.mixture.covariances * scale)
            assert joint_of(other, X, labels).sum() < fit.log_likelihood

    def test_components_keep_the_order_of_the_labels(self):
        for permutation in ([0, 1, 2], [2, 0, 1]):
            labels = some_labels()
            named = np.where(labels >= 0, np.array(permutation)[labels], -1)
            fit = fit_em(X, 3, labels=named, seed=0, n_starts=4)
            for species in range(3):
                assert np.mean(fit.predict()[species == NUMBERS] == permutation[species]) >= 0.9

    def test_classes_that_nobody_named_are_found(self):
        labels = np.where(NUMBERS == 1, 1, -1)
        labels[::2] = -1
        fit = fit_em(X, 3, labels=labels, seed=0)
        assert np.mean(fit.predict()[NUMBERS == 1] == 1) > 0.9
        assert fit.mixture.weights[0] >= fit.mixture.weights[2]

    def test_weight_two_is_the_row_twice_and_weight_zero_no_row(self):
        labels, rng = some_labels(), np.random.default_rng(1)
        weights = rng.integers(0, 3, size=len(X)).astype(float)
        weighted = fit_em(X, 3, labels=labels, sample_weight=weights, start=NUMBERS)
        copies = np.repeat(np.arange(len(X)), weights.astype(int))
        repeated = fit_em(X[copies], 3, labels=labels[copies], start=NUMBERS[copies])
        assert_close(weighted.log_likelihood, repeated.log_likelihood, ALGEBRA)
        assert_close(weighted.mixture.means, repeated.mixture.means, OPTIMUM)

    def test_units_are_of_no_concern(self):
        labels = some_labels()
        first = fit_em(X, 3, labels=labels, seed=0, n_starts=4)
        scale, shift = np.array([1e-6, 1.0, 1e3, 10.0]), np.array([0.0, 1e4, 0.0, -5.0])
        second = fit_em(X * scale + shift, 3, labels=labels, seed=0, n_starts=4)
        assert_close(second.mixture.weights, first.mixture.weights, OPTIMUM)
        assert_close((second.mixture.means - shift) / scale, first.mixture.means, OPTIMUM)

    def test_unlabelled_rows_may_have_missing_values(self):
        labels, rows = some_labels(), X.copy()
        rows[np.flatnonzero(labels < 0)[::7], 2] = np.nan
        fit = fit_em(rows, 3, labels=labels, missing="marginalize", seed=0, n_starts=4)
        assert fit.em_trace[-1] == pytest.approx(fit.log_likelihood, rel=1e-9)
        assert np.mean(fit.predict() == NUMBERS) > 0.9
        with pytest.raises(ArgumentError, match="a label have missing values"):
            fit_em(rows, 3, labels=NUMBERS, missing="marginalize")

    def test_a_row_with_a_label_is_certain(self):
        labels = some_labels()
        fit = fit_em(X, 3, labels=labels, seed=0, n_starts=2)
        certainty = np.log(fit.mixture.responsibilities(X).max(axis=1))
        assert fit.icl == pytest.approx(fit.bic - 2 * certainty[labels < 0].sum(), rel=EXACT)

    def test_the_labels_are_kept_with_the_data(self):
        labels = some_labels()
        fit = fit_em(X, 3, labels=labels, seed=0, n_starts=2)
        kept = fit.tree["constant_data"]["known_component"].values
        assert np.array_equal(kept, labels)
        assert fit.info.settings["n_labelled"] == np.count_nonzero(labels >= 0)
        fit.info.to_json()


class TestPass:
    @pytest.mark.parametrize("code", ["VVV", "EEE", "VVI", "VII"])
    def test_moments_are_those_with_responsibilities_of_one(self, code):
        mixture = random_mixture(3, 4, seed=2)
        covariances = random_covariances(code, 3, 4, seed=2)
        Z, labels = standardised("iris", "VVV")[0], some_labels()
        with Pass.over(pack(Z[labels < 0]), 1) as others:
            data = LabelledPass(others, moments_of_labels(Z[labels >= 0], labels[labels >= 0], 3, None))
            found = data.moments(Parameters(mixture.weights, mixture.means, covariances), kind_of(STRUCTURES[code]))
        shares = Mixture(mixture.weights, mixture.means, covariances).responsibilities(Z)
        shares[labels >= 0] = np.eye(3)[labels[labels >= 0]]
        assert_close(found.counts, shares.sum(axis=0), ALGEBRA)
        assert_close(found.means, shares.T @ Z / found.counts[:, None], ALGEBRA)
        full = np.stack([(shares[:, k] * (Z - found.means[k]).T) @ (Z - found.means[k]) for k in range(3)])
        diagonals = np.diagonal(full, axis1=1, axis2=2)
        expected = {
            "VVV": full, "EEE": full.sum(axis=0)[None], "VVI": diagonals, "VII": diagonals.sum(axis=1)[:, None],
        }[code]  # fmt: skip
        assert_close(found.scatters, expected, ALGEBRA)
        total = np.cov(Z.T, bias=True) * len(Z)
        assert_close(data.total.scatters[0], total, ALGEBRA)
        assert data.total_weight == len(Z)

    def test_the_joint_log_likelihood_follows_from_moments(self):
        mixture = random_mixture(3, 4, seed=3)
        moments = moments_of_labels(X, NUMBERS, 3, None)
        found = joint_log_likelihood(moments, Parameters(mixture.weights, mixture.means, mixture.covariances))
        assert_close(found, joint_of(mixture, X, NUMBERS).sum(), ALGEBRA)


class TestStarts:
    def test_groups_get_the_names_of_the_components_that_they_are_nearest_to(self):
        """Whatever the order of a partition: by labels, and by each kind of fixed parameter."""
        Z = standardised("iris", "VVV")[0]
        moments = moments_of_labels(Z, NUMBERS, 3, None)
        labelled = moments_of_labels(Z[::7], NUMBERS[::7], 3, None)
        uneven = np.array([0.5, 0.3, 0.2])
        kinds = [
            Knowledge(labelled=labelled),
            Knowledge(Fixed(means=moments.means)),
            Knowledge(Fixed(covariances=moments.scatters / moments.counts[:, None, None])),
        ]
        for order in ([0, 1, 2], [2, 0, 1], [1, 0, 2]):
            shuffled = Moments(np.nan, moments.counts[order], moments.means[order], moments.scatters[order])
            for known in kinds:
                found = known.arranged(shuffled)
                expected = moments if known.labelled is None else pooled_moments(moments, labelled)
                assert_close(found.means, expected.means, EXACT)
                assert_close(found.scatters, expected.scatters, EXACT)
            weighted = Knowledge(Fixed(weights=uneven)).arranged(replace(moments, counts=150 * uneven[order]))
            assert_close(weighted.counts, 150 * uneven, EXACT)

    def test_labelled_rows_alone_are_a_start_where_every_component_has_some(self):
        Z = standardised("iris", "VVV")[0]
        total = moments_of_labels(Z, np.zeros(150, dtype=int), 1, None)
        all_three = moments_of_labels(Z[::50], NUMBERS[::50], 3, None)
        start = Knowledge(labelled=all_three).labelled_start(total)
        assert np.linalg.eigvalsh(start.scatters).min() > 0
        two = moments_of_labels(Z[:100:50], NUMBERS[:100:50], 3, None)
        assert Knowledge(labelled=two).labelled_start(total) is None
        assert Knowledge().labelled_start(total) is None

    def test_one_label_of_each_class_names_the_clusters(self):
        labels = np.full(150, -1)
        labels[[10, 60, 120]] = [2, 0, 1]
        fit = fit_em(X, 3, labels=labels, structure="tied", seed=0)
        assert np.mean(fit.predict() == np.array([2, 0, 1])[NUMBERS]) > 0.9


class TestHowTheyAreSaid:
    @staticmethod
    def fit(labels, **options):
        return fit_em(X, 3, labels=labels, seed=0, n_starts=2, **options).mixture.means

    def test_names_numbers_and_every_kind_of_unknown_are_the_same(self):
        labels = some_labels()
        expected = self.fit(labels)
        known = labels >= 0
        names = np.where(known, SPECIES, None)
        forms = [
            names, list(names), pd.Series(names), pd.Series(names).astype("category"),
            np.where(known, labels.astype(float), np.nan), np.where(known, labels * 10 + 10, -1),
            pd.array(np.where(known, labels, None), dtype="Int64"),
        ]  # fmt: skip
        for form in forms:
            assert np.array_equal(self.fit(form), expected)
        fit = fit_em(X, 3, labels=names, seed=0, n_starts=2)
        assert fit.info.settings["label_names"] == {name: k for k, name in enumerate(sorted(set(SPECIES)))}

    def test_no_known_label_is_no_label(self):
        plain = fit_em(X, 3, seed=0, n_starts=2)
        told = fit_em(X, 3, labels=[None] * len(X), seed=0, n_starts=2)
        assert np.array_equal(plain.mixture.means, told.mixture.means)

    def test_labels_of_rows_that_are_dropped_are_dropped(self):
        rows, labels = X.copy(), some_labels()
        rows[[3, 77], 1] = np.nan
        kept = ~np.isnan(rows).any(axis=1)
        whole = fit_em(rows, 3, labels=labels, missing="drop", seed=0, n_starts=2)
        cut = fit_em(X[kept], 3, labels=labels[kept], seed=0, n_starts=2)
        assert np.array_equal(whole.mixture.means, cut.mixture.means)
        again = fit_em(rows, 3, labels=labels[kept], missing="drop", seed=0, n_starts=2)
        assert np.array_equal(again.mixture.means, cut.mixture.means)
        from_start = fit_em(rows, 3, start=NUMBERS, missing="drop")
        assert_close(from_start.log_likelihood, fit_em(X[kept], 3, start=NUMBERS[kept]).log_likelihood, EXACT)
        with pytest.raises(ArgumentError, match=r"start has shape \(150,\); .* 148 rows \(150 before"):
            fit_em(prepare(rows, missing="drop"), 3, start=NUMBERS)

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (SPECIES[:10], r"labels has shape \(10,\); it needs one entry for each of 150 rows"),
            (np.arange(150), "labels has 150 different names"),
            (["a", 7] * 75, "labels mixes kinds"),
            (X, "labels has shape"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, labels, message):
        with pytest.raises(ArgumentError, match=message):
            fit_em(X, 3, labels=labels)

    def test_labels_go_with_the_other_things_that_are_known(self):
        labels = some_labels()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for told in ({"prior": "default"}, {"max_eigenvalue_ratio": 20.0}, {"fix": {"weights": [0.3, 0.3, 0.4]}}):
                fit = fit_em(X, 3, labels=labels, seed=0, n_starts=2, **told)
                assert np.mean(fit.predict() == NUMBERS) > 0.9
