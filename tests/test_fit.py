"""MixtureFit: estimate and draws alike, each number by a second route."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
import xarray as xr
from scipy import special, stats
from sklearn.mixture import GaussianMixture as SklearnMixture

from bayesgmm.data import load_dataset, prepare
from bayesgmm.errors import ArgumentError, DataError
from bayesgmm.fit import FitInfo, assemble
from bayesgmm.mixture import Mixture
from bayesgmm.structure import STRUCTURES
from tests.conftest import build_fit, jitter
from tests.examples import random_mixture, random_rows
from tests.tolerances import ALGEBRA, EXACT, assert_close, assert_within_errors

FEATURES = ("length", "width")
ROWS = pd.DataFrame(random_rows(40), columns=FEATURES)
ONE = random_mixture(3, 2, features=FEATURES)
DRAWS = random_mixture(3, 2, batch=(2, 15), features=FEATURES)
WEIGHTS = np.random.default_rng(2).integers(0, 4, size=40)
NEW = random_rows(7, seed=5)


@pytest.fixture(params=[ONE, DRAWS], ids=["estimate", "draws"])
def fit(request):
    return build_fit(request.param, prepare(ROWS))


def with_entry(value):
    rows = NEW.copy()
    rows[3, 1] = value
    return rows


def sklearn_of(mixture, structure="full"):
    """Return scikit-learn's estimator with these parameters; it is never fitted."""
    kinds = {
        "full": mixture.covariances,
        "tied": mixture.covariances[0],
        "diag": np.diagonal(mixture.covariances, axis1=1, axis2=2),
        "spherical": mixture.covariances[:, 0, 0],
    }
    other = SklearnMixture(mixture.n_components, covariance_type=structure)
    other.weights_, other.means_, other.covariances_ = mixture.weights, mixture.means, kinds[structure]
    invert = {"full": lambda c: np.swapaxes(np.linalg.inv(np.linalg.cholesky(c)), -1, -2)}
    invert["tied"] = invert["full"]
    other.precisions_cholesky_ = invert.get(structure, lambda v: 1 / np.sqrt(v))(kinds[structure])
    return other


def densities(draws, X):
    """Return the log density of every draw at every row, one draw after another, shape (S, n)."""
    flat = draws.flatten()
    return np.stack([sklearn_of(flat[s]).score_samples(np.asarray(X)) for s in range(flat.n_mixtures)])


class TestWhatItIs:
    def test_an_estimate(self):
        fit = build_fit(ONE, prepare(ROWS))
        assert not fit.has_draws
        assert fit.mixture.batch_shape == ()
        assert repr(fit) == "MixtureFit(em: 3 components, full (VVV), one estimate, 40 rows x 2 columns)"

    def test_draws(self):
        fit = build_fit(DRAWS, prepare(ROWS))
        assert fit.has_draws
        assert fit.mixture.batch_shape == (2, 15)
        assert repr(fit) == "MixtureFit(nuts: 3 components, full (VVV), 2 chains x 15 draws, 40 rows x 2 columns)"

    def test_parameters_come_back_as_they_went_in(self, fit):
        expected = DRAWS if fit.has_draws else ONE
        for name in ("weights", "means", "covariances", "features"):
            np.testing.assert_array_equal(getattr(fit.mixture, name), getattr(expected, name))
        assert (fit.features, fit.n_components, fit.n_rows) == (FEATURES, 3, 40)
        assert fit.structure is STRUCTURES["VVV"]

    def test_data_come_back_as_they_went_in(self):
        table = ROWS.set_axis([f"row {i}" for i in range(40)], axis=0)
        prepared = prepare(table, scale="common", sample_weight=WEIGHTS)
        fit = build_fit(ONE, prepared, settings={"scale": "common", "n_dropped": 3})
        for name in ("values", "rows", "sample_weight", "features", "scale"):
            np.testing.assert_array_equal(getattr(fit.prepared, name), getattr(prepared, name))
        assert fit.prepared.n_dropped == 3
        expected = prepared.scaling(STRUCTURES["VVV"])
        np.testing.assert_array_equal([fit.scaling.shift, fit.scaling.scale], [expected.shift, expected.scale])

    def test_the_tree_has_its_groups(self, fit):
        assert {"posterior", "log_likelihood", "observed_data", "constant_data"} <= set(fit.tree.children)
        assert fit.tree["posterior"]["means"].dims == ("chain", "draw", "component", "feature")
        np.testing.assert_array_equal(fit.tree["observed_data"]["x"], ROWS)

    def test_other_groups_and_variables_are_kept(self):
        posterior = xr.Dataset({"energy": (("chain", "draw"), np.ones((2, 15)))})
        extra = xr.Dataset({"step": 0.5})
        info = FitInfo("nuts", "VVV", 3)
        prepared = prepare(ROWS)
        fit = assemble(
            DRAWS, prepared, info, prepared.scaling(STRUCTURES["VVV"]),
            groups={"posterior": posterior, "sample_stats": extra}, model="the model",
        )  # fmt: skip
        assert {"weights", "means", "covariances", "energy"} == set(fit.tree["posterior"].data_vars)
        assert float(fit.tree["sample_stats"]["step"]) == 0.5
        assert fit.model == "the model"
        assert fit.info == info

    def test_what_only_em_has(self, fit):
        for name in ("optima", "em_trace"):
            with pytest.raises(ArgumentError, match=r"has no (optima|optimization); only EM fits have"):
                getattr(fit, name)


class TestCriteria:
    @pytest.mark.parametrize(
        ("structure", "code"), [("full", "VVV"), ("tied", "EEE"), ("diag", "VVI"), ("spherical", "VII")]
    )
    def test_are_those_of_scikit_learn(self, structure, code):
        covariances = {
            "full": ONE.covariances,
            "tied": np.stack([ONE.covariances[0]] * 3),
            "diag": ONE.covariances * np.eye(2),
            "spherical": ONE.covariances[:, :1, :1] * np.eye(2),
        }[structure]
        mixture = Mixture(ONE.weights, ONE.means, covariances, FEATURES)
        fit, other, X = (
            build_fit(mixture, prepare(ROWS), structure=structure),
            sklearn_of(mixture, structure),
            ROWS.to_numpy(),
        )
        assert fit.structure.code == code
        assert_close(fit.log_likelihood, other.score(X) * 40, EXACT)
        assert_close(fit.aic, other.aic(X), EXACT)
        assert_close(fit.bic, other.bic(X), EXACT)
        uncertainty = -2 * np.log(other.predict_proba(X).max(axis=1)).sum()
        assert_close(fit.icl, other.bic(X) + uncertainty, EXACT)

    def test_icl_counts_each_row_for_its_most_probable_component(self):
        # Complete-data log-likelihood at the most probable labels, penalised like the BIC (Biernacki et al. 2000).
        fit, X = build_fit(ONE, prepare(ROWS)), ROWS.to_numpy()
        labels = ONE.responsibilities(X).argmax(axis=1)
        complete = sum(
            np.log(ONE.weights[k]) + stats.multivariate_normal(ONE.means[k], ONE.covariances[k]).logpdf(x)
            for k, x in zip(labels, X, strict=True)
        )
        assert_close(fit.icl, -2 * complete + fit.n_parameters * np.log(40), EXACT)

    def test_weights_count_as_repeated_rows(self):
        weighted = build_fit(ONE, prepare(ROWS, sample_weight=WEIGHTS))
        repeated = build_fit(ONE, prepare(np.repeat(ROWS.to_numpy(), WEIGHTS, axis=0)))
        for name in ("log_likelihood", "aic", "bic", "icl"):
            assert_close(getattr(weighted, name), getattr(repeated, name), EXACT)

    def test_of_draws_the_log_likelihood_has_one_number_each(self):
        fit = build_fit(DRAWS, prepare(ROWS))
        assert_close(fit.log_likelihood, densities(DRAWS, ROWS).sum(axis=1).reshape(2, 15), EXACT)

    def test_an_estimate_has_one_number(self):
        assert type(build_fit(ONE, prepare(ROWS)).log_likelihood) is float

    @pytest.mark.parametrize("name", ["aic", "bic", "icl"])
    def test_draws_have_no_criteria_of_a_point(self, name):
        with pytest.raises(
            ArgumentError, match=rf"{name} belongs to a point estimate; for draws use az.loo\(fit.tree\)"
        ):
            getattr(build_fit(DRAWS, prepare(ROWS)), name)


class TestPointwise:
    @pytest.mark.parametrize("weights", [None, WEIGHTS])
    def test_log_likelihood_is_weighted_row_by_row(self, weights):
        fit = build_fit(DRAWS, prepare(ROWS, sample_weight=weights))
        expected = densities(DRAWS, ROWS) * (1 if weights is None else weights)
        found = fit.tree["log_likelihood"]["x"]
        assert found.dims == ("chain", "draw", "row")
        assert_close(found, expected.reshape(2, 15, 40), EXACT)

    @pytest.mark.parametrize("mixture", [ONE, DRAWS], ids=["estimate", "draws"])
    @pytest.mark.parametrize("weights", [None, WEIGHTS])
    def test_where_there_is_no_room_for_it_the_sum_is_the_same(self, mixture, weights, monkeypatch):
        prepared = prepare(ROWS, sample_weight=weights)
        with_rows = build_fit(mixture, prepared)
        monkeypatch.setattr("bayesgmm.fit.tree.MAX_POINTWISE", 39)
        monkeypatch.setattr("bayesgmm.mixture.value.BLOCK", 60)
        without = build_fit(mixture, prepared)
        assert "log_likelihood" not in without.tree.children
        assert np.shape(without.log_likelihood) == np.shape(with_rows.log_likelihood)
        assert_close(without.log_likelihood, with_rows.log_likelihood, EXACT)

    def test_a_row_without_weight_has_no_effect_however_far(self):
        rows = pd.concat([ROWS, pd.DataFrame([[1e200, -1e200]], columns=FEATURES)])
        fit, alone = (build_fit(ONE, prepare(table, sample_weight=w)) for table, w in
                      [(rows, np.r_[np.ones(40), 0.0]), (ROWS, None)])  # fmt: skip
        for name in ("log_likelihood", "aic", "bic", "icl"):
            assert_close(getattr(fit, name), getattr(alone, name), EXACT)


class TestRows:
    def test_density_of_draws_is_the_average_density(self):
        fit = build_fit(DRAWS, prepare(ROWS))
        expected = special.logsumexp(densities(DRAWS, NEW), axis=0) - np.log(30)
        assert_close(fit.log_density(NEW), expected, EXACT)
        assert_close(fit.log_density(), special.logsumexp(densities(DRAWS, ROWS), axis=0) - np.log(30), EXACT)

    def test_responsibilities_of_draws_are_average_probabilities(self):
        fit, flat = build_fit(DRAWS, prepare(ROWS)), DRAWS.flatten()
        expected = np.mean([sklearn_of(flat[s]).predict_proba(NEW) for s in range(30)], axis=0)
        assert_close(fit.responsibilities(NEW), expected, EXACT)
        np.testing.assert_array_equal(fit.predict(NEW), expected.argmax(axis=1))

    def test_an_estimate_is_scikit_learn_s(self):
        fit, other = build_fit(ONE, prepare(ROWS)), sklearn_of(ONE)
        assert_close(fit.log_density(NEW), other.score_samples(NEW), EXACT)
        assert_close(fit.responsibilities(NEW), other.predict_proba(NEW), EXACT)
        np.testing.assert_array_equal(fit.predict(NEW), other.predict(NEW))

    @pytest.mark.parametrize("block", [1, 50, 500])
    def test_blocks_equal_the_whole(self, fit, block, monkeypatch):
        whole = fit.log_density(), fit.responsibilities()
        monkeypatch.setattr("bayesgmm.mixture.value.BLOCK", block)
        assert_close(fit.log_density(), whole[0], EXACT)
        assert_close(fit.responsibilities(), whole[1], EXACT)

    def test_rows_without_hope_have_a_density_of_zero_not_nan(self, fit):
        assert np.all(fit.log_density([[1e6, 1e6]]) < -1e6)
        assert_close(fit.responsibilities([[1e6, 1e6]]).sum(axis=1), [1.0], EXACT)

    @pytest.mark.parametrize("method", ["log_density", "responsibilities", "predict", "memberships"])
    def test_tables_are_read_by_name(self, fit, method):
        table = pd.DataFrame(NEW, columns=FEATURES)
        expected = getattr(fit, method)(NEW)
        others = [
            table,
            table[["width", "length"]],
            table.assign(name="text"),
            pl.from_pandas(table),
            prepare(table),
            table.to_xarray().drop_vars("index"),
        ]
        for other in others:
            found = getattr(fit, method)(other)
            if method == "memberships":
                xr.testing.assert_equal(found, expected)
            else:
                np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize("method", ["log_density", "responsibilities", "predict", "memberships"])
    @pytest.mark.parametrize(
        ("table", "match"),
        [
            (NEW[:, :1], "the table has 1 column; the fit has 2: length, width"),
            (pd.DataFrame(NEW, columns=["length", "depth"]), "the fit needs a column named 'width'"),
            (with_entry(np.nan), r"column 'x1' has 1 missing value \(row 3\); fill them or leave"),
            (with_entry(np.inf), r"column 'x1' has 1 infinite value \(row 3\)"),
            ("new.csv", "expected a table of numbers, found str"),
        ],
    )
    def test_what_is_no_such_table_is_refused(self, fit, method, table, match):
        with pytest.raises(DataError, match=match):
            getattr(fit, method)(table)

    def test_no_rows_are_no_error(self, fit):
        assert fit.log_density(NEW[:0]).shape == (0,)
        assert fit.responsibilities(NEW[:0]).shape == (0, 3)
        assert fit.predict(NEW[:0]).shape == (0,)
        assert fit.memberships(NEW[:0])["mean"].shape == (0, 3)


class TestMemberships:
    def test_of_fitted_rows_have_their_labels(self):
        table = ROWS.set_axis([f"row {i}" for i in range(40)], axis=0)
        found = build_fit(DRAWS, prepare(table)).memberships()
        np.testing.assert_array_equal(found["row"], table.index)

    def test_mean_is_what_responsibilities_say(self, fit):
        found = fit.memberships(NEW, prob=0.8)
        assert_close(found["mean"], fit.responsibilities(NEW), EXACT)
        assert found.attrs["interval"] == "equal-tailed, 80%"
        width = (found["upper"] - found["lower"]).values
        assert (width.max() > 0) == fit.has_draws

    @pytest.mark.parametrize("prob", [0, 1, -0.5, 95])
    def test_an_impossible_probability_is_refused(self, fit, prob):
        with pytest.raises(ArgumentError, match=f"prob={prob} must lie between 0 and 1"):
            fit.memberships(prob=prob)


class TestSampling:
    def test_follows_the_posterior_predictive(self, fit):
        n = 20_000
        X, labels = fit.sample(n, seed=3)
        pooled = fit.mixture.pooled()
        assert_within_errors(X.mean(axis=0), pooled.mean, np.sqrt(np.diagonal(pooled.covariance) / n))
        share = fit.mixture.weights.reshape(-1, 3).mean(axis=0)
        assert_within_errors(np.bincount(labels, minlength=3) / n, share, np.sqrt(share * (1 - share) / n))

    @pytest.mark.parametrize("n", [0, -3, 1.5])
    def test_an_impossible_number_is_refused(self, fit, n):
        with pytest.raises(ArgumentError, match=f"n={n} rows cannot be drawn"):
            fit.sample(n)


class TestInfo:
    info = FitInfo(
        "nuts", "VVV", 3, seed=7, settings={"draws": 10, "ok": True, "none": None, "x": [1, 2.5]},
        diagnostics={"gain": np.inf}, versions={"bayesgmm": "0.1"},
    )  # fmt: skip

    def test_round_trip_through_json(self):
        assert FitInfo.from_json(self.info.to_json()) == self.info
        assert json.loads(self.info.to_json())["settings"]["draws"] == 10

    def test_is_kept_in_the_tree(self):
        prepared = prepare(ROWS)
        fit = assemble(ONE, prepared, self.info, prepared.scaling(STRUCTURES["VVV"]))
        assert isinstance(fit.tree.attrs["bayesgmm_info"], str)
        assert (fit.info, fit.method) == (self.info, "nuts")


def test_log_densities_are_in_the_user_s_units():
    # Plain addition of the Jacobian: the same posterior in other units of the columns.
    scale = np.array([1e-6, 1e3])
    fit = build_fit(DRAWS, prepare(ROWS))
    other = build_fit(DRAWS.affine(scale, 0.0), prepare(ROWS * scale))
    assert_close(other.log_likelihood, fit.log_likelihood - 40 * np.log(scale).sum(), ALGEBRA)
    assert_close(other.log_density(NEW * scale), fit.log_density(NEW) - np.log(scale).sum(), ALGEBRA)


def test_the_number_of_parameters_is_that_of_the_structure():
    prepared = prepare(load_dataset("iris"))
    fit = build_fit(random_mixture(3, 4, features=prepared.features), prepared, structure="VEV")
    assert fit.n_parameters == 38


def test_one_draw_of_one_chain_is_an_estimate():
    fit = build_fit(jitter(ONE, 40, chains=1, draws=1), prepare(ROWS))
    assert not fit.has_draws
    assert type(fit.log_likelihood) is float
