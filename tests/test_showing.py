"""What results say of themselves: a screen at most, no dump of arrays, the same in a notebook, escaped."""

import numpy as np
import pandas as pd
import pytest

import bayesgmm as bg
from bayesgmm.comparison import compare
from bayesgmm.em.standard_errors import standard_errors
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.partitions import partition_mixture
from bayesgmm.posterior.relabel import relabel
from bayesgmm.reporting.summary import summarize
from bayesgmm.showing import in_short, name_some

LINES, COLUMNS = 75, 160


@pytest.fixture(scope="module")
def shown(faithful_em, faithful_draws, faithful_check, iris_check, iris_em):
    """One of each kind that is made without sampling; the larger of two where size matters."""
    found = partition_mixture(faithful_draws.mixture, faithful_draws.prepared.values)
    matched = relabel(faithful_draws.mixture, faithful_draws.prepared.values, reference=faithful_em.mixture)
    rows = faithful_em.prepared.values.copy()
    rows[3, 0] = np.nan
    selection = bg.select(bg.load_dataset("galaxies"), [1, 2], structures="full", n_starts=2, seed=0)
    wide = Mixture([1.0], np.zeros((1, 60)), np.eye(60)[None])
    results = [
        faithful_em, faithful_draws, faithful_em.mixture, wide, faithful_em.prepared, faithful_em.structure,
        bg.prepare(np.random.default_rng(0).normal(size=(70, 60))), summarize(faithful_draws), summarize(iris_em),
        faithful_check, iris_check, faithful_check.density, faithful_check.partition, faithful_check.joint,
        iris_check.pull, compare(faithful_em, faithful_draws, faithful_em), selection, found, found.credible_ball,
        found.credible_ball.upper, matched, matched.quality, standard_errors(faithful_em), bg.Priors(),
        bg.ConjugatePrior(), bg.ConjugatePrior(mean=np.zeros(40), scale=np.eye(40)),
        bg.Evidence(-1.0, 0.1, "laplace", 0.2), bg.impute(faithful_em, rows),
        bg.regress(faithful_em, pd.DataFrame({"eruptions": [2.0, 3.0]})),
    ]  # fmt: skip
    # What is withheld is a sentence that says why.
    return [result for result in results if not isinstance(result, str)]


def test_a_screen_at_most(shown):
    for result in shown:
        lines = repr(result).splitlines()
        assert len(lines) <= LINES, type(result)
        assert max(map(len, lines)) <= COLUMNS, type(result)


def test_no_dump_of_arrays(shown):
    for result in shown:
        assert not any(word in repr(result) for word in ("array(", "<xarray", "DataFrame(", " object at 0x"))


def test_notebooks_show_it_escaped(shown):
    for result in shown:
        markup = result._repr_html_()
        assert markup.strip().startswith("<")
        assert markup.count("<") == markup.count(">")


def test_names_are_escaped(faithful_em):
    mixture = Mixture([1.0], [[0.0]], [[[1.0]]], ["<script>"])
    assert "&lt;script&gt;" in mixture._repr_html_()


def test_priors_say_what_is_not_usual():
    assert repr(bg.Priors()) == "Priors()"
    assert repr(bg.Priors(concentration=4.0, within_sd=[1.0, 2.0])) == "Priors(concentration=4.0, within_sd=[1.0, 2.0])"


def test_a_prior_of_em_says_what_is_not_usual():
    assert repr(bg.ConjugatePrior()) == repr(bg.ConjugatePrior(kappa=0.01)) == "ConjugatePrior()"
    given = bg.ConjugatePrior(mean=[1.0, 2.0], dof=5, scale=np.eye(2))
    assert repr(given) == "ConjugatePrior(mean=[1.0, 2.0], dof=5, scale=[[1.0, 0.0], [0.0, 1.0]])"
    assert "scale=[[1.0, 0.0, 0.0, 0.0, 0...0, 0.0, 0.0, 0.0, 1.0]])" in repr(bg.ConjugatePrior(scale=np.eye(9)))


def test_long_names_and_many():
    assert in_short("a" * 60 + " (cm)", 21) == "aaaaaaaaa...aaaa (cm)"
    assert name_some(list("abcdefghij")) == "a, b, c, d, e, f, g, h and 2 more"
    assert name_some(["a", "b"]) == "a, b"
