"""fit_em: known maxima, units and weights that are of no concern, every kind of start, and warnings in words."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.mixture import GaussianMixture as SklearnMixture

from bayesgmm.data import load_dataset, prepare
from bayesgmm.em.fit import fit_em
from bayesgmm.em.maximise import maximise
from bayesgmm.errors import ArgumentError, ConvergenceWarning, DataError, DegenerateFitWarning, FitError
from bayesgmm.mixture import Mixture
from tests.conftest import build_fit, jitter
from tests.examples import random_mixture
from tests.tolerances import ALGEBRA, EXACT, OPTIMUM, assert_close

FAITHFUL = load_dataset("faithful")
X = FAITHFUL.to_numpy()
LONG = (X[:, 0] > 3).astype(int)
# Ten rows far from the others are one and the same.
TIED = np.r_[np.random.default_rng(0).normal(size=60), np.full(10, 50.0)]
COMMON = ["full", "tied", "diag", "spherical"]

# R's mclust 6.0.0 on faithful, VVV with two components, iterated to 1e-13.
MCLUST = Mixture(
    [0.644127132170259, 0.355872867829741],
    [[4.28966199619099, 79.9681154531944], [2.03638848071935, 54.4785166394832]],
    [
        [[0.169968406428974, 0.940608946350067], [0.940608946350067, 36.0462071189354]],
        [[0.0691676932806912, 0.435167840664683], [0.435167840664683, 33.6972835464025]],
    ],
    ("eruptions", "waiting"),
)
# Log-likelihoods of mclust 6.0.0 iterated to 1e-13, two components, and its ICL after its default, earlier stop.
LOG_LIKELIHOODS = {"full": -1130.26396018475, "tied": -1140.18675943708, "diag": -1147.80635253781,
                   "spherical": -1709.52928217743}  # fmt: skip
ICL = [
    ("faithful", 1, "VVV", -2607.62250044),
    ("faithful", 2, "VVV", -2322.69746733),
    ("faithful", 2, "EEE", -2326.70973199),
    ("faithful", 2, "EEI", -2356.27307110),
    ("faithful", 2, "VVI", -2346.16080859),
    ("faithful", 2, "EII", -3455.81447562),
    ("faithful", 2, "VII", -3460.90275244),
    ("iris", 2, "VVV", -574.019098676),
    ("iris", 2, "EEE", -688.098504295),
    ("iris", 3, "EEE", -637.840093972),
    ("acidity", 1, "E", -461.657581117),
    ("acidity", 2, "E", -398.555433815),
]
# mclust stops when the log-likelihood gains less than 1e-5 of itself; its ICL is that far from the one at the optimum.
EARLY_STOP = 0.05


def fit_quietly(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit_em(*arguments, **options)


def assert_same_fit(found, expected, tolerance):
    for name in ("weights", "means", "covariances"):
        assert_close(getattr(found.mixture, name), getattr(expected.mixture, name), tolerance)


@pytest.fixture(scope="module")
def faithful_fit():
    return fit_em(FAITHFUL, 2, seed=0)


@pytest.fixture(scope="module")
def iris_fit():
    return fit_em(load_dataset("iris"), 3, seed=0, n_starts=12)


class TestKnownMaxima:
    def test_parameters_of_faithful(self, faithful_fit):
        for name in ("weights", "means", "covariances"):
            assert_close(getattr(faithful_fit.mixture, name), getattr(MCLUST, name), OPTIMUM)
        assert np.round(faithful_fit.mixture.weights, 3).tolist() == [0.644, 0.356]

    @pytest.mark.parametrize("structure", COMMON)
    def test_log_likelihood_of_faithful(self, structure):
        fit = fit_em(FAITHFUL, 2, structure=structure, seed=0, n_starts=8)
        assert fit.log_likelihood == pytest.approx(LOG_LIKELIHOODS[structure], abs=1e-6)
        assert fit.bic == pytest.approx(-2 * LOG_LIKELIHOODS[structure] + fit.n_parameters * np.log(272), abs=OPTIMUM)

    @pytest.mark.parametrize(("corrected", "expected"), [(False, -203.1792), (True, -203.4820)])
    def test_log_likelihood_of_galaxies(self, corrected, expected):
        fit = fit_em(load_dataset("galaxies", corrected=corrected), 3, seed=0)
        assert fit.log_likelihood == pytest.approx(expected, abs=1e-4)

    @pytest.mark.parametrize(("name", "k", "code", "expected"), ICL)
    def test_icl_is_minus_that_of_mclust(self, name, k, code, expected):
        fit = fit_em(load_dataset(name), k, structure=code, seed=0, n_starts=8)
        assert fit.icl == pytest.approx(-expected, abs=EARLY_STOP)

    @pytest.mark.parametrize("structure", COMMON)
    def test_scikit_learn_gains_nothing_from_there(self, structure):
        fit = fit_em(load_dataset("iris"), 3, structure=structure, seed=0, n_starts=8)
        values = load_dataset("iris").to_numpy()
        precisions = np.linalg.inv(fit.mixture.covariances)
        start = {
            "full": precisions, "tied": precisions[0], "diag": np.diagonal(precisions, axis1=1, axis2=2),
            "spherical": precisions[:, 0, 0],
        }[structure]  # fmt: skip
        other = SklearnMixture(
            3, covariance_type=structure, weights_init=fit.mixture.weights, means_init=fit.mixture.means,
            precisions_init=start, reg_covar=0.0, tol=1e-12, max_iter=1000,
        ).fit(values)  # fmt: skip
        assert other.score(values) * 150 == pytest.approx(fit.log_likelihood, abs=1e-4)
        assert other.bic(values) == pytest.approx(fit.bic, abs=1e-3)
        assert_close(other.means_, fit.mixture.means, 1e-3)

    @pytest.mark.parametrize("structure", ["EII", "VVI", "EEE", "VVV"])
    def test_one_component_has_the_moments_of_the_data(self, structure):
        fit = fit_em(FAITHFUL, 1, structure=structure, seed=0)
        assert_close(fit.mixture.means[0], X.mean(axis=0), EXACT)
        cov = np.cov(X.T, bias=True)
        expected = {"EII": np.eye(2) * np.trace(cov) / 2, "VVI": np.diag(np.diag(cov))}.get(structure, cov)
        assert_close(fit.mixture.covariances[0], expected, EXACT)


class TestResult:
    def test_is_what_it_says(self, faithful_fit):
        assert (faithful_fit.method, faithful_fit.has_draws, faithful_fit.n_components) == ("em", False, 2)
        assert faithful_fit.features == ("eruptions", "waiting")
        assert faithful_fit.structure.name == "full"
        diagnostics = faithful_fit.info.diagnostics
        assert diagnostics["converged"] is True
        assert diagnostics["degenerate_components"] == []
        assert diagnostics["remaining_gain"] < 1e-10
        assert faithful_fit.info.settings["n_starts"] == 32
        assert {"bayesgmm", "numpy", "numba"} <= faithful_fit.info.versions.keys()

    def test_components_come_by_decreasing_weight(self, iris_fit):
        assert np.all(np.diff(iris_fit.mixture.weights) < 0)

    def test_the_trace_ends_at_the_log_likelihood_and_never_falls(self, iris_fit):
        assert iris_fit.em_trace[-1] == pytest.approx(iris_fit.log_likelihood, rel=EXACT)
        assert np.all(np.diff(iris_fit.em_trace) >= -EXACT * abs(iris_fit.log_likelihood))

    def test_optima_are_listed_best_first(self, iris_fit):
        optima = iris_fit.optima
        assert list(optima.columns) == ["log_likelihood", "times_reached", "is_degenerate"]
        assert optima["log_likelihood"][0] == pytest.approx(iris_fit.log_likelihood, rel=EXACT)
        assert not optima["is_degenerate"][0]
        sound = optima.loc[~optima["is_degenerate"], "log_likelihood"]
        assert sound.is_monotonic_decreasing
        assert optima["times_reached"].between(1, 12).all()

    def test_every_optimum_has_its_parameters_in_the_user_s_units(self, iris_fit):
        group = iris_fit.tree["optima"]
        for o, log_likelihood in enumerate(iris_fit.optima["log_likelihood"]):
            one = Mixture(*(group[name][o].values for name in ("weights", "means", "covariances")))
            assert one.log_density(load_dataset("iris")).sum() == pytest.approx(log_likelihood, rel=ALGEBRA)

    def test_parameters_are_a_fixed_point_of_em(self, faithful_fit):
        shares = faithful_fit.responsibilities()
        assert_close(faithful_fit.mixture.weights, shares.mean(axis=0), OPTIMUM)
        means = shares.T @ X / shares.sum(axis=0)[:, None]
        assert_close(faithful_fit.mixture.means, means, OPTIMUM)
        covariances = [np.cov(X.T, aweights=shares[:, k], bias=True) for k in (0, 1)]
        assert_close(faithful_fit.mixture.covariances, covariances, OPTIMUM)

    @pytest.mark.parametrize(
        "make", [lambda t: t, lambda t: t.to_numpy(), pl.from_pandas, prepare, lambda t: t.to_numpy("f4")]
    )
    def test_does_not_depend_on_the_make_of_the_table(self, make, faithful_fit):
        fit = fit_em(make(FAITHFUL), 2, seed=0, n_starts=4)
        assert_same_fit(fit, faithful_fit, OPTIMUM)


class TestSeed:
    def test_the_same_seed_gives_the_same_fit(self):
        one, other = (fit_em(FAITHFUL, 3, seed=4, n_starts=6) for _ in range(2))
        assert_same_fit(one, other, 0.0)
        pd.testing.assert_frame_equal(one.optima, other.optima)

    def test_a_fit_without_seed_can_be_repeated_from_its_record(self):
        fit = fit_em(FAITHFUL, 3, n_starts=6)
        assert_same_fit(fit_em(FAITHFUL, 3, n_starts=6, seed=fit.info.seed), fit, 0.0)

    @pytest.mark.parametrize("seed", [np.random.default_rng(1), np.random.RandomState(1), np.int64(5)])
    def test_seeds_of_every_kind(self, seed):
        assert type(fit_em(FAITHFUL, 1, seed=seed).info.seed) is int

    def test_threads_have_no_influence(self):
        one, two = (fit_em(FAITHFUL, 3, seed=4, n_starts=6, n_threads=n) for n in (1, 2))
        assert_same_fit(one, two, 0.0)


class TestUnits:
    @pytest.mark.parametrize("structure", COMMON)
    @pytest.mark.parametrize(("scale", "shift"), [(1e-9, 0.0), (1e9, 0.0), (1.0, 1e9), (1e-3, -1e6)])
    def test_one_unit_for_all_columns_is_of_no_concern(self, structure, scale, shift):
        fit = fit_em(FAITHFUL, 2, structure=structure, seed=0, n_starts=4)
        # An offset of 1e9 leaves the numbers seven digits behind the point, before the package sees them.
        other = fit_em((X + shift) * scale, 2, structure=structure, seed=0, n_starts=4)
        np.testing.assert_array_equal(other.predict(), fit.predict())
        assert other.log_likelihood + 272 * 2 * np.log(scale) == pytest.approx(fit.log_likelihood, abs=1e-5)
        assert_close(other.mixture.weights, fit.mixture.weights, OPTIMUM)
        assert_close(other.mixture.means / scale - shift, fit.mixture.means, OPTIMUM)
        assert_close(other.mixture.covariances / scale**2, fit.mixture.covariances, OPTIMUM)

    @pytest.mark.parametrize("structure", ["full", "tied", "diag"])
    def test_one_unit_for_each_column_is_of_no_concern_where_the_model_allows(self, structure):
        scale, shift = np.array([1e-9, 1e6]), np.array([1e3, -1e8])
        fit = fit_em(FAITHFUL, 2, structure=structure, seed=0, n_starts=4)
        other = fit_em((X + shift) * scale, 2, structure=structure, seed=0, n_starts=4)
        np.testing.assert_array_equal(other.predict(), fit.predict())
        assert other.log_likelihood + 272 * np.log(scale).sum() == pytest.approx(fit.log_likelihood, abs=1e-5)

    @pytest.mark.parametrize("structure", ["full", "tied", "diag", "EEV"])
    def test_the_scale_of_the_fit_is_of_no_concern(self, structure):
        log_likelihoods = [
            fit_em(prepare(FAITHFUL, scale=scale), 2, structure=structure, seed=0, n_starts=4).log_likelihood
            for scale in (("auto", "common", "none") if structure == "EEV" else ("auto", "feature", "common", "none"))
        ]
        assert np.ptp(log_likelihoods) < 1e-6

    def test_a_spherical_fit_is_spherical_in_the_user_s_units(self):
        covariances = fit_em(FAITHFUL, 2, structure="spherical", seed=0, n_starts=4).mixture.covariances
        assert_close(covariances, covariances[:, :1, :1] * np.eye(2), EXACT)


class TestWeights:
    counts = np.random.default_rng(3).integers(0, 4, size=272)

    @pytest.mark.parametrize("structure", COMMON)
    def test_whole_ones_are_repeated_rows(self, structure):
        start = Mixture(MCLUST.weights, MCLUST.means, MCLUST.covariances)
        weighted = fit_em(X, 2, structure=structure, sample_weight=self.counts, start=start)
        repeated = fit_em(np.repeat(X, self.counts, axis=0), 2, structure=structure, start=start)
        assert_same_fit(weighted, repeated, OPTIMUM)
        for name in ("log_likelihood", "bic", "aic", "icl"):
            assert_close(getattr(weighted, name), getattr(repeated, name), ALGEBRA)
        assert_close(weighted.em_trace[:2], repeated.em_trace[:2], ALGEBRA)
        assert_close(weighted.optima["log_likelihood"][0], weighted.log_likelihood, EXACT)

    @pytest.mark.parametrize("row", [[0.0, 0.0], [1e20, -1e20]])
    @pytest.mark.parametrize("position", [0, 100, 272])
    def test_a_row_without_weight_has_no_effect(self, row, position, faithful_fit):
        rows = np.insert(X, position, row, axis=0)
        fit = fit_em(rows, 2, seed=0, n_starts=4, sample_weight=np.insert(np.ones(272), position, 0.0))
        assert_same_fit(fit, faithful_fit, ALGEBRA)
        for name in ("log_likelihood", "bic", "icl"):
            assert_close(getattr(fit, name), getattr(faithful_fit, name), ALGEBRA)

    def test_a_common_factor_scales_the_log_likelihood_only(self, faithful_fit):
        fit = fit_em(FAITHFUL, 2, seed=0, n_starts=4, sample_weight=np.full(272, 2.5))
        assert_same_fit(fit, faithful_fit, OPTIMUM)
        assert_close(fit.log_likelihood, 2.5 * faithful_fit.log_likelihood, ALGEBRA)


class TestMissing:
    def test_dropped_rows_leave_the_fit_of_the_others(self):
        table = FAITHFUL.copy()
        table.loc[[3, 50], "waiting"] = np.nan
        fit = fit_em(table, 2, seed=0, n_starts=4, missing="drop")
        assert_same_fit(fit, fit_em(table.dropna(), 2, seed=0, n_starts=4), EXACT)
        assert (fit.n_rows, fit.prepared.n_dropped) == (270, 2)

    def test_refused_by_default(self):
        with pytest.raises(DataError, match="column 'waiting' has 1 missing value"):
            fit_em(FAITHFUL.assign(waiting=FAITHFUL["waiting"].where(FAITHFUL.index != 5)), 2)


class TestStart:
    @pytest.mark.parametrize(
        "start",
        [
            LONG,
            LONG.astype(bool),
            np.array(["short", "long"])[LONG],
            pd.Series(LONG * 10 - 3),
            LONG.tolist(),
            np.eye(2)[LONG],
            0.9 * np.eye(2)[LONG] + 0.05,
            MCLUST,
            MCLUST.permute([1, 0]),
            MCLUST.marginal(["waiting", "eruptions"]),
            Mixture(MCLUST.weights, MCLUST.means, MCLUST.covariances),
        ],
        ids=[
            "numbers",
            "bools",
            "text",
            "any numbers",
            "list",
            "hard",
            "soft",
            "mixture",
            "permuted",
            "turned",
            "unnamed",
        ],
    )
    def test_of_every_kind_leads_to_the_same_maximum(self, start, faithful_fit):
        fit = fit_em(FAITHFUL, 2, start=start)
        assert_same_fit(fit, faithful_fit, OPTIMUM)
        assert (fit.info.settings["start"], fit.info.settings["n_starts"], len(fit.optima)) == ("given", 1, 1)

    def test_a_fit(self, faithful_fit):
        fit = fit_em(FAITHFUL[["waiting", "eruptions"]], 2, start=faithful_fit)
        assert_close(fit.mixture.means, faithful_fit.mixture.means[:, ::-1], OPTIMUM)
        assert fit.em_trace[0] == pytest.approx(faithful_fit.log_likelihood, rel=ALGEBRA)

    def test_the_first_log_likelihood_is_that_after_one_m_step(self):
        shares = np.eye(2)[LONG]
        fit = fit_em(FAITHFUL, 2, start=shares)
        parts = [X[shares[:, k] == 1] for k in (0, 1)]
        by_hand = Mixture(
            shares.mean(axis=0), [part.mean(axis=0) for part in parts], [np.cov(part.T, bias=True) for part in parts]
        )
        assert fit.em_trace[0] == pytest.approx(by_hand.log_density(X).sum(), rel=ALGEBRA)

    def test_labels_and_hard_responsibilities_are_one_start(self):
        by_labels, by_shares = (fit_em(FAITHFUL, 2, start=start) for start in (LONG, np.eye(2)[LONG]))
        assert_close(by_labels.em_trace[:3], by_shares.em_trace[:3], EXACT)
        assert_same_fit(by_labels, by_shares, OPTIMUM)

    def test_none_is_better_than_all_of_our_own(self):
        values = load_dataset("galaxies")
        own = fit_em(values, 3, seed=0)
        given = fit_em(values, 3, start=np.arange(82) // 28)
        assert given.log_likelihood <= own.log_likelihood + 1e-6

    @pytest.mark.parametrize(
        ("start", "match"),
        [
            ([0, 1], r"start has shape \(2,\); it needs one label or K responsibilities for each of 272 rows"),
            (np.arange(272) % 3, "start has 3 different labels; it needs n_components=2"),
            (np.zeros(272), "start has 1 different labels; it needs n_components=2"),
            (np.full((272, 3), 1 / 3), r"start has shape \(272, 3\)"),
            (np.full((272, 2), 1 / 3), "start has rows that are not responsibilities"),
            (np.tile([1.5, -0.5], (272, 1)), "start has rows that are not responsibilities"),
            (np.tile([np.nan, 1.0], (272, 1)), "start has rows that are not responsibilities"),
            (np.full((272, 2), "a"), "start holds text values"),
            (np.zeros((272, 2, 1)), r"start has shape \(272, 2, 1\)"),
            ("kmeans", r"start has shape \(\)"),
            (random_mixture(3, 2), "is not a single mixture of 2 components and 2 columns"),
            (random_mixture(2, 3), "is not a single mixture of 2 components and 2 columns"),
            (random_mixture(2, 2, batch=(1, 3)), "is not a single mixture"),
            (random_mixture(2, 2, features=("eruptions", "depth")), "no column named 'waiting'"),
            (build_fit(jitter(MCLUST, 272, draws=3), prepare(FAITHFUL)), "is not a single mixture"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, start, match):
        with pytest.raises(ValueError, match=match):
            fit_em(FAITHFUL, 2, start=start)


class TestWarnings:
    @pytest.mark.parametrize("max_iter", [1, 5])
    def test_a_run_cut_short_says_how_far_it_came_and_what_to_do(self, max_iter):
        with pytest.warns(ConvergenceWarning) as caught:
            fit = fit_em(FAITHFUL, 3, seed=0, max_iter=max_iter, n_starts=4)
        message = str(caught[0].message)
        iterations = fit.info.diagnostics["iterations"]
        assert message.startswith(f"EM stopped after {iterations} passes (max_iter={max_iter}) with an ")
        assert "inf" not in message
        assert message.endswith("left to gain; raise max_iter, use fewer components, or a simpler structure")
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert not fit.info.diagnostics["converged"]

    def test_more_passes_gain_what_was_left(self):
        short = fit_quietly(FAITHFUL, 2, start=LONG[::-1], max_iter=10)
        whole = fit_em(FAITHFUL, 2, start=LONG[::-1])
        assert short.log_likelihood < whole.log_likelihood

    @pytest.mark.parametrize("start", [TIED > 40, TIED < 40])
    def test_a_collapsed_component_is_named(self, start):
        with pytest.warns(
            DegenerateFitWarning, match=r"component 1 collapsed on a few rows: .* reg_covar=1e-3"
        ) as caught:
            fit = fit_em(TIED, 2, start=start)
        assert caught[0].filename == __file__
        assert fit.info.diagnostics["degenerate_components"] == [1]
        assert fit.mixture.weights[1] == pytest.approx(10 / 70, rel=0.1)
        assert fit.optima["is_degenerate"].all()

    @pytest.mark.parametrize("remedy", [{"reg_covar": 1e-3}, {"structure": "tied"}])
    def test_the_remedies_of_the_warning_help(self, remedy):
        fit = fit_em(TIED, 2, start=TIED > 40, **remedy)
        assert fit.info.diagnostics["degenerate_components"] == []
        assert fit.info.diagnostics["converged"]

    def test_own_starts_prefer_an_optimum_that_is_sound(self):
        rows = np.r_[np.random.default_rng(0).normal(size=60), np.zeros(2)]
        assert fit_em(rows, 2, seed=0).info.diagnostics["degenerate_components"] == []


class TestRefusals:
    @pytest.mark.parametrize("k", [0, -1, 1.5, True, "2", None])
    def test_numbers_of_components(self, k):
        with pytest.raises(ArgumentError, match=f"n_components={k!r} must be a positive whole number"):
            fit_em(FAITHFUL, k)

    def test_more_components_than_rows(self):
        with pytest.raises(DataError, match="272 rows cannot support n_components=272"):
            fit_em(FAITHFUL, 272)

    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("n_starts", 0, "a positive whole number"),
            ("n_starts", 2.5, "a positive whole number"),
            ("n_starts", True, "a positive whole number"),
            ("max_iter", 0, "a positive whole number"),
            ("max_iter", None, "a positive whole number"),
            ("n_threads", 0, "a positive whole number"),
            ("n_threads", -1, "a positive whole number"),
            ("tol", 0, "a positive number"),
            ("tol", -1e-3, "a positive number"),
            ("tol", np.nan, "a positive number"),
            ("tol", "1e-3", "a positive number"),
            ("tol", None, "a positive number"),
            ("reg_covar", -1e-6, "zero or a positive number"),
            ("reg_covar", np.inf, "zero or a positive number"),
        ],
    )
    def test_settings(self, name, value, expected):
        with pytest.raises(ArgumentError) as caught:
            fit_em(FAITHFUL, 2, **{name: value})
        assert str(caught.value) == f"{name}={value!r} must be {expected}"

    @pytest.mark.parametrize("structure", ["ful", None, ["full"]])
    def test_structures(self, structure):
        with pytest.raises(ArgumentError, match="is not known; use one of full, tied, diag, spherical"):
            fit_em(FAITHFUL, 2, structure=structure)

    @pytest.mark.parametrize("seed", [-1, 1.5, "seed"])
    def test_seeds(self, seed):
        with pytest.raises(ArgumentError, match="seed="):
            fit_em(FAITHFUL, 2, seed=seed)

    def test_collinear_columns(self):
        table = FAITHFUL.assign(hours=FAITHFUL["waiting"] / 60)
        with pytest.raises(FitError, match="linear combinations of others; drop one of them"):
            fit_em(table, 2, seed=0, n_starts=4)
        assert np.isfinite(fit_em(table, 2, structure="diag", seed=0, n_starts=4).log_likelihood)

    def test_rows_that_tie(self):
        rows = np.repeat([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0], [5.0, 5.0], [3.0, 1.0]], 10, axis=0)
        with pytest.raises(
            (FitError, DegenerateFitWarning), match="use fewer components, a simpler structure, or reg_cov"
        ):
            fit_em(rows, 3, seed=0)
        assert np.isfinite(fit_em(rows, 3, seed=0, reg_covar=1e-3).log_likelihood)

    def test_a_solution_without_density(self, monkeypatch):
        singular = Mixture(MCLUST.weights, MCLUST.means, [np.eye(2), np.zeros((2, 2))])

        def collapse(*arguments, **options):
            return replace(maximise(*arguments, **options), mixture=singular, degenerate_components=(1,))

        monkeypatch.setattr("bayesgmm.em.fit.maximise", collapse)
        with pytest.raises(
            FitError, match=r"component 1 is not positive definite .* no start led to a sound optimum; use"
        ):
            fit_em(FAITHFUL, 2, start=LONG)


def test_settings_may_be_numpy_numbers():
    fit = fit_em(
        FAITHFUL, np.int64(2), seed=np.uint8(3), n_starts=np.int32(3), max_iter=np.int64(500), tol=np.float32(1e-9),
        reg_covar=np.float32(0),
    )  # fmt: skip
    assert {type(value) for value in fit.info.settings.values()} <= {int, float, str}
    assert (fit.info.n_components, fit.info.seed) == (2, 3)


def test_a_little_regularisation_changes_little():
    plain, regular = (fit_em(FAITHFUL, 2, seed=0, n_starts=4, reg_covar=r) for r in (0.0, 1e-8))
    assert_same_fit(regular, plain, 1e-6)
    assert regular.log_likelihood <= plain.log_likelihood


def test_whole_weights_are_repeated_rows_in_any_order_from_own_starts():
    rng = np.random.default_rng(0)
    rows = load_dataset("iris").to_numpy()
    weights = rng.integers(1, 4, size=len(rows))
    repeated = rng.permutation(np.repeat(rows, weights, axis=0))
    weighted = fit_em(rows, 4, sample_weight=weights, n_starts=8, seed=0)
    assert fit_em(repeated, 4, n_starts=8, seed=0).log_likelihood == pytest.approx(weighted.log_likelihood, rel=1e-9)
