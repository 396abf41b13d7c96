"""Several fits side by side: the numbers of each, and refusals."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn import metrics

from bayesgmm.comparison import FitTable, compare, prediction
from bayesgmm.data.datasets import load_dataset
from bayesgmm.em.fit import fit_em
from bayesgmm.em.kmeans import fit_kmeans
from bayesgmm.errors import ArgumentError, ComparisonError
from bayesgmm.fit import MixtureFit
from tests.conftest import build_fit
from tests.tolerances import STANDARD_ERRORS


@pytest.fixture(scope="module")
def em2(faithful):
    return fit_em(faithful, 2, seed=0)


@pytest.fixture(scope="module")
def em3(faithful):
    return fit_em(faithful, 3, structure="tied", seed=0)


@pytest.fixture(scope="module")
def found(em2, em3, faithful, faithful_many_draws):
    return compare(em2, em3, fit_kmeans(faithful, 2, seed=0), faithful_many_draws)


def test_every_fit_has_its_numbers(found, em2, em3):
    assert isinstance(found, FitTable)
    table = found.table
    assert list(table.index) == ["EM 2 full", "EM 3 tied", "k-means 2 EII", "nuts 2 full"]
    assert list(table["bic"].iloc[:2]) == [em2.bic, em3.bic]
    assert table.loc["k-means 2 EII", ["aic", "bic", "icl"]].isna().all()
    assert table.loc["nuts 2 full", "elpd_loo"] < table.loc["EM 2 full", "log_likelihood"]
    assert list(table["n_parameters"]) == [11, em3.n_parameters, 5, 11]


def test_groups_agree_as_scikit_learn_says(found, em2, em3):
    expected = metrics.adjusted_rand_score(em2.predict(), em3.predict())
    assert found.agreement.loc["EM 2 full", "EM 3 tied"] == pytest.approx(expected, abs=5e-4)
    np.testing.assert_allclose(np.diag(found.agreement), 1.0)


def test_two_posteriors_are_compared_row_by_row(em2, faithful_draws, faithful_many_draws):
    table = compare(em2, faithful_draws, faithful_many_draws).table
    assert list(table.index[1:]) == ["nuts 2 full (1)", "nuts 2 full (2)"]
    gap = table["elpd_loo"].iloc[2] - table["elpd_loo"].iloc[1]
    assert table["elpd_difference"].iloc[1:].abs().max() == pytest.approx(abs(gap))
    assert table["elpd_difference"].max() == 0.0


def test_words(found, em2, em3):
    best = "EM 3 tied" if em3.bic < em2.bic else "EM 2 full"
    assert f"BIC prefers {best}, by {abs(em2.bic - em3.bic):.1f}" in found.verdict
    assert "EM 3 tied" in repr(found)
    assert "<table" in found._repr_html_()
    assert "nan" not in repr(found)


def test_names_do_not_become_markup(faithful):
    fits = [fit_em(pd.DataFrame(faithful.values, columns=["<b>", "y"]), k, seed=0, n_starts=2) for k in (1, 2, 3)]
    assert "<b>" not in compare(*fits)._repr_html_()


def test_fits_of_other_rows_or_columns_are_refused(em2, em3, faithful_draws):
    table = load_dataset("faithful")
    with pytest.raises(ComparisonError, match="number of rows: 272 and 100"):
        compare(em2, em3, fit_em(table.iloc[:100], 2, seed=0))
    with pytest.raises(ComparisonError, match="columns"):
        compare(em2, em3, fit_em(table.rename(columns={"waiting": "delay"}), 2, seed=0))
    with pytest.raises(ComparisonError, match="different weights"):
        compare(em2, em3, fit_em(table, 2, seed=0, sample_weight=np.arange(1.0, 273.0)))
    with pytest.raises(ArgumentError, match="fit 3 must be a MixtureFit, not str"):
        compare(em2, faithful_draws, "third")


def test_posteriors_scored_on_a_sample_of_the_rows_differ_by_numbers(em2, faithful_draws, monkeypatch):
    scaled = faithful_draws.mixture.covariances * 1.3
    wider = build_fit(replace(faithful_draws.mixture, covariances=scaled), faithful_draws.prepared)
    whole = compare(em2, faithful_draws, wider).table
    monkeypatch.setattr(prediction, "MAX_ROWS", 200)
    monkeypatch.setattr(prediction, "SAMPLED_ROWS", 100)
    sampled = compare(em2, faithful_draws, wider).table
    assert sampled["elpd_difference"].iloc[1] == 0.0
    gap, error = sampled["elpd_difference"].iloc[2], sampled["difference_se"].iloc[2]
    assert gap < 0
    assert abs(gap - whole["elpd_difference"].iloc[2]) < STANDARD_ERRORS * error
    # The sampling of the rows is a part of the error.
    assert error > whole["difference_se"].iloc[2]


def test_a_fit_that_holds_a_sample_of_its_rows_is_refused(em2, em3, faithful_draws):
    part = em2.tree.copy()
    part["all_rows"] = xr.Dataset(
        {"n_rows": 544, "effective_rows": 544.0, "log_likelihood": -1.0, "log_certainty": 0.0}
    )
    held = MixtureFit(part)
    assert not held.holds_all_rows
    for ask in (
        lambda: compare(held, faithful_draws), lambda: compare(em2, em3, held), held.standard_errors,
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=r"needs every row, and this fit.* has a sample of 272 of 544"):
            ask()
