"""Every rule of the verdict, on either side of its threshold."""

import numpy as np
import pandas as pd
import pytest

from bayesgmm.comparison.density import DensityComparison
from bayesgmm.comparison.joint import JointPosition
from bayesgmm.comparison.partition import PartitionComparison
from bayesgmm.comparison.pull import PriorPull
from bayesgmm.comparison.verdict import find, open_verdict, summarize_findings


@pytest.fixture(scope="module")
def tables(faithful_em, faithful_many_draws):
    from bayesgmm.comparison import compare

    check = compare(faithful_em, faithful_many_draws)
    return {
        name: getattr(check, name) for name in ("components", "parameters", "memberships", "prediction", "label_free")
    }


def finding(tables, topic, **changes):
    """Return what is found about a topic when some tables are other ones."""
    found = [f for f in find(tables | changes, {}, 0.89) if f.topic == topic]
    return found[0] if found else None


@pytest.mark.parametrize(("worst", "level"), [(1.004, "good"), (1.02, "caution"), (1.06, "bad")])
def test_r_hat(tables, worst, level):
    assert finding(tables, "sampling", parameters=tables["parameters"].assign(r_hat=worst)).level == level


def test_chains_that_disagree_silence_the_rest(tables):
    found = find(tables | {"parameters": tables["parameters"].assign(r_hat=1.2)}, {}, 0.89)
    assert [f.topic for f in found] == ["sampling"]


@pytest.mark.parametrize(
    ("distance", "margin", "level"),
    [(0.1, 0.8, "good"), (0.3, 0.8, "caution"), (0.6, 0.8, "bad"), (0.1, 0.05, "bad")],
)
def test_components(tables, distance, margin, level):
    changed = tables["components"].assign(hellinger=distance, margin=margin)
    found = finding(tables, "components", components=changed)
    assert found.level == level
    assert f"{distance:.2f}" in found.text


@pytest.mark.parametrize(("ratio", "level"), [(1.4, "good"), (1.6, "caution"), (0.7, "good"), (0.6, "caution")])
def test_errors(tables, ratio, level):
    errors = pd.DataFrame({"ratio": [1.0, ratio, np.nan]}, index=["a", "b", "c"])
    assert finding(tables, "errors", errors=errors).level == level


@pytest.mark.parametrize(("tail", "level"), [(0.02, "good"), (0.005, "caution")])
def test_joint(tables, tail, level):
    assert finding(tables, "joint", joint=JointPosition(3.0, 11, 3.3, tail, tail)).level == level
    assert finding(tables, "joint", joint="withheld") is None


@pytest.mark.parametrize(("pull", "level"), [(0.4, "good"), (-0.6, "caution")])
def test_prior(tables, pull, level):
    table = pd.DataFrame({"pull": [0.0, pull]}, index=["a", "b"])
    found = finding(tables, "prior", pull=PriorPull(table, pd.Series(dtype=float), np.nan, None))
    assert found.level == level
    assert "in b" in found.text


@pytest.mark.parametrize(("quantile", "level"), [(0.9, "good"), (0.96, "caution")])
def test_density(tables, quantile, level):
    table = pd.DataFrame({"em": [0.1, 0.05], "quantile": [quantile, 0.5]}, index=["hellinger", "outside"])
    assert finding(tables, "density", density=DensityComparison(table, 0.89, 10, 10)).level == level


@pytest.mark.parametrize(
    ("flips", "excess", "level", "word"),
    [(0, 0.0, "good", "settled"), (6, 0.0, "caution", "not settled"), (0, 0.05, "caution", "surer")],
)
def test_memberships(tables, flips, excess, level, word):
    table = tables["memberships"].assign(entropy=0.1, em_entropy=0.1 - excess, outside=False)
    table["flips"] = np.arange(len(table)) < flips
    found = finding(tables, "memberships", memberships=table)
    assert found.level == level
    assert word in found.text
    assert ("(0, 1, 2, 3, 4, ...)" in found.text) == (flips == 6)


@pytest.mark.parametrize(("inside", "level"), [(True, "good"), (False, "caution")])
def test_partition(tables, inside, level):
    row = {"ari_mean": 0.9, "vi_mean": 0.1, "ball_distance": 0.2, "ball_radius": 0.3}
    table = pd.DataFrame([row | {"in_ball": inside}, row | {"in_ball": False}], index=["em", "kmeans"])
    found = finding(tables, "partition", partition=PartitionComparison(table, None, 10, 0.89))
    assert found.level == level
    assert "k-means lies outside" in found.text


@pytest.mark.parametrize(("share", "level"), [(0.9, "good"), (0.3, "caution")])
def test_optimum(tables, share, level):
    table = pd.DataFrame({"gap": [0.0, 2.0], "is_degenerate": [False, False], "share": [share, 1 - share]})
    found = finding(tables, "optimum", optimum=table)
    assert found.level == level
    assert "2.0 nats lower" in found.text


def test_prediction_names_its_rows(tables):
    k = np.where(np.arange(len(tables["memberships"])) == 17, 0.9, 0.1)
    found = finding(tables, "prediction", memberships=tables["memberships"].assign(pareto_k=k))
    assert found.level == "caution"
    assert "row 17" in found.text


def test_the_paragraph_opens_with_its_sum_and_ends_with_what_to_do(tables):
    found = find(tables | {"components": tables["components"].assign(hellinger=0.6)}, {}, 0.89)
    assert open_verdict(found) == "The EM estimate is not a summary of this posterior."
    text = summarize_findings(found)
    assert text.index("not a summary") < text.index("are not those of EM") < text.index("What to do:")
