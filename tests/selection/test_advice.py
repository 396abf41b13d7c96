"""The rules of the advice, each at and beyond its threshold, on tables made by hand."""

import numpy as np
import pandas as pd
import pytest

from bayesgmm.comparison.verdict import advise
from bayesgmm.selection.advice import find, say


def cells(*rows):
    """Build a table of criteria from (structure, K, bic, icl), best first."""
    table = pd.DataFrame(rows, columns=["structure", "n_components", "bic", "icl"])
    return table.assign(aic=table["bic"], n_parameters=10, smallest=50.0, is_sound=True, why="")


CLEAR = cells(("VVV", 2, 100.0, 101.0), ("VVV", 3, 120.0, 125.0), ("VVV", 1, 300.0, 300.0), ("VVV", 4, 400.0, 400.0))


def levels(table, criterion="bic", **more):
    found = find(table, criterion, n_rows=500.0, n_features=2, **more)
    return {finding.topic: finding for finding in found}


def test_nothing_stands_against_a_clear_choice():
    found = levels(CLEAR)
    assert {finding.level for finding in found.values()} == {"good"}
    assert found["choice"].text == "BIC chooses 2 components, full (VVV) (100.0)."
    assert found["margin"].text == "The next best, 3 components, full (VVV), is 20.0 behind."
    assert found["clusters"].text == "BIC and ICL agree on 2 components."
    assert advise(tuple(found.values())) == ()


def test_the_choice_comes_first_and_cautions_before_the_rest():
    table = CLEAR.assign(smallest=2.0)
    text = say(find(table, "bic", n_rows=500.0, n_features=2))
    assert text.startswith("BIC chooses 2 components")
    assert text.index("holds 2.0 rows") < text.index("The next best")


@pytest.mark.parametrize(("gap", "level"), [(1.99, "caution"), (2.0, "good")])
def test_ties(gap, level):
    table = CLEAR.copy()
    table.loc[1, "bic"] = 100.0 + gap
    assert levels(table)["margin"].level == level


def test_edges_of_the_range():
    assert "range" not in levels(CLEAR)
    assert levels(CLEAR[:2])["range"].text == "2 is the smallest number of components that was tried."
    assert "range(1, 4)" in levels(CLEAR[:2])["range"].advice
    upper = levels(CLEAR.iloc[[0, 2]])["range"]
    assert (upper.text, upper.advice) == (
        "2 is the largest number of components that was tried.", "Try more: n_components=range(1, 5)."
    )  # fmt: skip
    # One is the smallest number that there is.
    assert "range" not in levels(cells(("VVV", 1, 1.0, 1.0), ("VVV", 2, 50.0, 50.0)))


def test_clusters_and_components():
    table = cells(("EEE", 3, 100.0, 150.0), ("VVV", 2, 110.0, 111.0), ("VVV", 4, 190.0, 191.0))
    found = levels(table)["clusters"]
    assert found.level == "caution"
    assert found.text.startswith("BIC takes 3 components, tied (EEE), ICL 2 components, full (VVV): some components")
    assert found.advice == "Take 3 to describe the density, 2 to count clusters."


def test_small_components_and_few_rows():
    assert "size" not in levels(CLEAR)
    assert "holds 4.9 rows" in levels(CLEAR.assign(smallest=4.9))["size"].text
    # With many columns a component needs more rows than columns.
    many = find(CLEAR.assign(smallest=20.0), "bic", n_rows=500.0, n_features=20)
    assert "holds 20.0 rows" in " ".join(finding.text for finding in many)
    assert levels(CLEAR.assign(n_parameters=100)).keys() >= {"choice"}
    assert "size" not in levels(CLEAR.assign(n_parameters=100))
    assert "4.9 rows for each free parameter" in levels(CLEAR.assign(n_parameters=102))["size"].text


def test_cells_that_are_not_ranked():
    table = CLEAR.copy()
    table.loc[3, ["is_sound", "why"]] = [False, "collapsed"]
    assert levels(table)["cells"].text == "1 of 4 cells are not ranked (the column why says for what reason)."
    table.loc[3, "bic"] = 50.0
    assert levels(table)["cells"].level == "caution"
    assert "4 components, full (VVV) has the smaller BIC, but it is no maximum" in levels(table)["cells"].text


def test_aic():
    assert levels(CLEAR, "aic")["choice"].level == "caution"


def predictions(*rows):
    names = ["structure", "n_components", "elpd", "elpd_diff", "elpd_diff_se", "n_bad_k", "log_evidence", "trouble"]
    return pd.DataFrame(rows, columns=names).assign(log_evidence_se=0.1)


@pytest.mark.parametrize(
    ("gap", "error", "level"), [(3.9, 0.1, "good"), (10.0, 5.1, "good"), (10.0, 4.9, "caution"), (4.1, 1.0, "caution")]
)
def test_elpd_must_not_choose_alone(gap, error, level):
    found = levels(CLEAR, predictions=predictions(
        ("VVV", 3, -200.0, 0.0, 0.0, 0, -300.0, ""), ("VVV", 2, -200.0 - gap, -gap, error, 0, -250.0, "")
    ))["prediction"]  # fmt: skip
    assert found.level == level
    assert ("Do not choose the number of components by elpd alone" in found.advice) == (level == "caution")


def test_elpd_agrees_or_is_not_to_be_relied_on():
    agreeing = predictions(("VVV", 2, -200.0, 0.0, 0.0, 0, -250.0, ""), ("VVV", 3, -210.0, -10.0, 1.0, 0, -300.0, ""))
    found = levels(CLEAR, predictions=agreeing)
    assert found["prediction"].text == "Leave-one-out prediction is best for 2 components as well."
    assert found["evidence"].text == "The evidence is largest for 2 components, full (VVV) as well."
    assert "posteriors" not in found
    troubled = predictions(
        ("VVV", 3, -200.0, 0.0, 0.0, 2, -300.0, "Pareto k above 0.7 in 2 rows"),
        ("VVV", 2, -250.0, -50.0, 1.0, 0, -250.0, ""),
    )
    found = levels(CLEAR, predictions=troubled)
    assert "prediction" not in found
    assert "3 components, full (VVV): Pareto k above 0.7 in 2 rows" in found["posteriors"].text


@pytest.mark.parametrize(("gap", "level"), [(0.9, "good"), (1.1, "caution")])
def test_evidence_against_the_criterion(gap, level):
    found = levels(CLEAR, predictions=predictions(
        ("VVV", 2, -200.0, 0.0, 0.0, 0, -250.0, ""), ("VVV", 3, -201.0, -1.0, 1.0, 0, -250.0 + gap, "")
    ))["evidence"]  # fmt: skip
    assert found.level == level


def test_posterior_of_the_number():
    index = pd.Index([1, 2, 3], name="n_components")
    numbers = pd.DataFrame({"bic_weight_within": [0.1, 0.9, 0.0], "mfm_filled": [0.0, 0.75, 0.25]}, index=index)
    given = predictions(("VVV", 2, -200.0, 0.0, 0.0, 0, np.nan, ""))
    agreeing = levels(CLEAR, predictions=given, numbers=numbers)
    assert "evidence" not in agreeing
    assert agreeing["number"].text == "75% of the posterior are for 2 filled components, as BIC within that structure."
    other = numbers.assign(mfm_filled=[0.0, 0.25, 0.75])
    found = levels(CLEAR, predictions=given, numbers=other)["number"]
    assert found.level == "caution"
    assert "75% of the posterior are for 3 filled components, and 25% for 2" in found.text
    withheld = levels(CLEAR, predictions=given, numbers=numbers.assign(mfm_filled=np.nan))["number"]
    assert "withheld" in withheld.text
