"""Summaries: ArviZ's numbers under our names, and advice by its rules."""

from dataclasses import replace

import arviz as az
import numpy as np
import pandas as pd
import pytest

from bayesgmm.data.prepare import prepare
from bayesgmm.errors import ArgumentError
from bayesgmm.fit import FitInfo, MixtureFit, assemble
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.parameters import parameter_names
from bayesgmm.reporting.advice import advise
from bayesgmm.reporting.summary import summarize
from bayesgmm.structure import as_structure


def with_diagnostics(fit, **diagnostics):
    """Return the same fit with other diagnostics."""
    tree = fit.tree.copy()
    tree.attrs = {"bayesgmm_info": replace(fit.info, diagnostics=diagnostics).to_json()}
    return MixtureFit(tree)


def shifted(fit, by):
    """Return the same fit with the second chain's means moved: chains that disagree."""
    means = fit.mixture.means.copy()
    means[1] += by
    return assemble(replace(fit.mixture, means=means), fit.prepared, fit.info, fit.scaling)


class TestTable:
    def test_draws_have_the_numbers_of_az_summary(self, faithful_draws):
        found = summarize(faithful_draws).table
        expected = az.summary(faithful_draws.tree, var_names=["weights", "means", "covariances"], round_to="none")
        # ArviZ lists both halves of a covariance; each of our names is one of its rows.
        rows = expected.loc[found.index]
        assert list(found.columns) == ["mean", "sd", "eti89_lb", "eti89_ub", "ess_bulk", "ess_tail", "r_hat"]
        np.testing.assert_allclose(found.to_numpy(), rows[list(found.columns)].to_numpy(dtype=float), rtol=1e-10)

    def test_an_estimate_has_its_values(self, faithful_em):
        found = summarize(faithful_em).table
        assert list(found.index) == parameter_names("full", 2, ["eruptions", "waiting"])
        assert found.loc["covariances[1, eruptions, waiting]", "estimate"] == faithful_em.mixture.covariances[1, 0, 1]

    def test_prob_and_kind_of_the_interval(self, faithful_draws):
        assert "eti50_lb" in summarize(faithful_draws, prob=0.5).table
        with az.rc_context({"stats.ci_kind": "hdi", "stats.ci_prob": 0.7}):
            assert "hdi70_ub" in summarize(faithful_draws).table

    def test_refuses_an_impossible_interval(self, faithful_draws):
        with pytest.raises(ArgumentError, match="prob=95"):
            summarize(faithful_draws, prob=95)

    def test_a_method_of_the_fit(self, faithful_em):
        assert repr(faithful_em.summary()) == repr(summarize(faithful_em))


class TestText:
    def test_terminal(self, faithful_em):
        text = repr(summarize(faithful_em))
        assert text.startswith("Gaussian mixture, maximum likelihood (em): 2 components, covariances full (VVV)")
        assert "272 rows x 2 columns: eruptions, waiting" in text
        assert "log-likelihood -1,130.264, 11 free parameters" in text
        assert "means[0, waiting]" in text

    def test_notebook_escapes_names(self, faithful_em):
        prepared = replace(faithful_em.prepared, features=("<b>x</b>", "y"))
        fit = assemble(
            replace(faithful_em.mixture, features=prepared.features), prepared, faithful_em.info, faithful_em.scaling
        )
        markup = summarize(fit)._repr_html_()
        assert "<b>" not in markup
        assert "means[0, &lt;b&gt;x&lt;/b&gt;]" in markup

    def test_notes_say_what_the_rows_stand_for(self):
        prepared = prepare(np.random.default_rng(0).normal(size=(20, 2)))
        mixture = Mixture([0.5, 0.5], [[0, 0], [1, 1]], [np.eye(2)] * 2, prepared.features)
        fit = assemble(mixture, prepared, FitInfo("em", "EII", 2), prepared.scaling(as_structure("EII")))
        shared, same, _ = summarize(fit).notes
        assert "share one covariance" in shared
        assert "same in every column; it is listed under x0" in same


class TestAdvice:
    def test_nothing_to_say(self, faithful_em, faithful_many_draws):
        assert summarize(faithful_em).advice == ()
        assert summarize(faithful_many_draws).advice == ()

    def test_few_draws(self, faithful_draws):
        table = pd.DataFrame({"r_hat": [1.0, 1.0], "ess_bulk": [900.0, 320.0], "ess_tail": [250.0, 800.0]}, ["a", "b"])
        assert advise(faithful_draws, table) == (
            "There are only 250 effective draws of a; its interval is rough below 400. Raise draws.",
        )

    @pytest.mark.parametrize(
        ("diagnostics", "said"),
        [
            ({"converged": False, "iterations": 7}, "EM stopped after 7 passes"),
            ({"degenerate_components": [1]}, "Component 1 has collapsed"),
        ],
    )
    def test_estimates(self, faithful_em, diagnostics, said):
        (advice,) = summarize(with_diagnostics(faithful_em, **diagnostics)).advice
        assert said in advice

    @pytest.mark.parametrize(
        ("diagnostics", "said"),
        [
            ({"divergences": 3}, "3 divergences"),
            (
                {"labels_are_doubtful": True, "ambiguous_share": 0.4},
                "In 40% of the draws the components cannot be told",
            ),
        ],
    )
    def test_draws(self, faithful_draws, diagnostics, said):
        assert any(said in line for line in summarize(with_diagnostics(faithful_draws, **diagnostics)).advice)

    def test_chains_that_disagree_are_named_by_their_worst_parameter(self, faithful_draws):
        advice = summarize(shifted(faithful_draws, np.array([[0.0, 5.0], [0.0, 0.0]]))).advice
        assert "The chains disagree about means[0, waiting] (R-hat" in advice[0]

    def test_a_chain_that_does_not_move_is_a_failure(self, faithful_draws):
        still = faithful_draws.mixture[np.zeros((2, 40), dtype=int), np.zeros((2, 40), dtype=int)]
        fit = assemble(still, faithful_draws.prepared, faithful_draws.info, faithful_draws.scaling)
        assert "The chains disagree about weights[0]" in summarize(fit).advice[0]

    def test_one_chain(self, faithful_draws):
        alone = faithful_draws.mixture[:1]
        fit = assemble(alone, faithful_draws.prepared, faithful_draws.info, faithful_draws.scaling)
        assert summarize(fit).advice == (
            "There is one chain: whether another would agree is not known. Sample with chains=4.",
        )


def test_components_that_cannot_be_told_apart_are_withheld(faithful_many_draws):
    doubtful = with_diagnostics(faithful_many_draws, labels_are_doubtful=True, ambiguous_share=0.4)
    summary = summarize(doubtful)
    assert summary.table.loc["means[0, waiting]"].isna().all()
    whole = faithful_many_draws.mixture.mean[..., 1]
    assert summary.table.loc["mean[waiting]", "mean"] == pytest.approx(whole.mean())
    assert any("left empty" in note for note in summary.notes)
    assert any("cannot be told apart" in line for line in summary.advice)
    assert "nan" not in repr(summary).lower()
