"""Summaries: ArviZ's numbers under our names, and advice by its rules."""

from dataclasses import replace

import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayesgmm.data.prepare import prepare
from bayesgmm.em.kmeans import fit_kmeans
from bayesgmm.errors import ArgumentError
from bayesgmm.fit import FitInfo, MixtureFit, assemble
from bayesgmm.mixture import Mixture, simulate
from bayesgmm.posterior.parameters import parameter_names
from bayesgmm.reporting.advice import advise
from bayesgmm.reporting.summary import summarize
from bayesgmm.structure import as_structure


def with_diagnostics(fit, **diagnostics):
    """Return the same fit with other diagnostics."""
    tree = fit.tree.copy()
    tree.attrs = {"bayesgmm_info": replace(fit.info, diagnostics=diagnostics).to_json()}
    return MixtureFit(tree)


def with_settings(fit, **settings):
    """Return the same fit, asked for in another way."""
    tree = fit.tree.copy()
    tree.attrs = {"bayesgmm_info": replace(fit.info, settings=fit.info.settings | settings).to_json()}
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

    def test_a_long_table_is_a_screen_at_most(self):
        names = [f"column number {j} of twelve, in units of its own" for j in range(12)]
        mixture = Mixture(np.full(3, 1 / 3), np.arange(36.0).reshape(3, 12), np.tile(np.eye(12), (3, 1, 1)), names)
        prepared = prepare(pd.DataFrame(simulate(mixture, 50, 0)[0], columns=names))
        scaling = prepared.scaling(as_structure("VVV"))
        summary = summarize(assemble(mixture, prepared, FitInfo("em", "VVV", 3), scaling))
        lines = repr(summary).splitlines()
        assert len(lines) <= 60
        assert max(map(len, lines)) <= 100
        assert "The first 40 of 273 rows; all are in fit.summary().table." in lines
        assert summary._repr_html_().count("<tr>") == 41
        assert len(summary.table) == 273

    def test_an_approximation_says_so(self, faithful_many_draws):
        fit = with_diagnostics(faithful_many_draws, is_approximate=True)
        assert "draws from an approximation of the posterior (nuts)" in summarize(fit).header[0]
        assert "Gaussian mixture, posterior draws (nuts)" in summarize(faithful_many_draws).header[0]

    def test_the_mode_of_a_posterior_names_its_prior(self, faithful_em):
        prior = {"mean": [0.0, 0.0], "kappa": 0.01, "dof": 4.0, "scale": [[1.0, 0.0], [0.0, 1.0]]}
        header = summarize(with_settings(faithful_em, prior=prior)).header
        assert "maximum a posteriori (em)" in header[0]
        assert header[2] == "conjugate prior with kappa 0.01 for the means and dof 4 for the covariances"

    def test_what_em_was_told(self, faithful_em):
        told = {"label_names": {"short": 0, "long": 1}, "n_labelled": 9, "fixed": ["means"], "max_eigenvalue_ratio": 20}
        assert summarize(with_settings(faithful_em, **told)).notes[:3] == (
            "The components of 9 of 272 rows were given: short is component 0, long is component 1.",
            "Held as they were given, not estimated: means.",
            "Variances of the scaled data differ by a factor of at most 20 (max_eigenvalue_ratio).",
        )

    def test_weights_of_k_means_are_not_called_fixed(self, faithful):
        summary = summarize(fit_kmeans(faithful, 2, seed=0))
        assert "centroids of k-means (kmeans)" in summary.header[0]
        assert not any("Held" in note for note in summary.notes)

    def test_a_sample_of_the_rows(self, faithful_em):
        known = {"n_rows": 5000, "effective_rows": 5000.0, "log_likelihood": -9.0, "log_certainty": -1.0}
        tree = faithful_em.tree.copy()
        tree["all_rows"] = xr.DataTree(xr.Dataset(known))
        summary = summarize(MixtureFit(tree))
        expected = "5,000 rows x 2 columns: eruptions, waiting; holding a random sample of 272 of them"
        assert summary.header[1] == expected
        assert "log-likelihood -9.000" in summary.notes[0]

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

    def test_what_makes_the_rest_meaningless_comes_first(self, faithful_many_draws):
        diagnostics = {
            "divergences": 2, "modes_in_words": "chains keep to different modes: 0 and 1", "is_approximate": True,
            "mixing_in_words": "Gibbs has not mixed.", "khat": 1.234,
        }  # fmt: skip
        assert summarize(with_diagnostics(faithful_many_draws, **diagnostics)).advice == (
            "Chains keep to different modes: 0 and 1.",
            "Gibbs has not mixed.",
            (
                "These draws are from an approximation (nuts), not the posterior, and far from it (Pareto k-hat 1.23, "
                "above 0.7); check with sampler='nuts'."
            ),
            "2 divergences: parts of the posterior were not explored. Sample again with target_accept=0.95.",
        )

    def test_nothing_is_said_where_gibbs_has_mixed(self, faithful_many_draws):
        fit = with_diagnostics(faithful_many_draws, modes_in_words="", mixing_in_words="")
        assert summarize(fit).advice == ()

    def test_mixing_is_said_once(self, faithful_draws):
        fit = with_diagnostics(shifted(faithful_draws, 5.0), mixing_in_words="Gibbs has not mixed")
        assert summarize(fit).advice == ("Gibbs has not mixed.",)

    def test_an_interruption(self, faithful_many_draws):
        fit = with_settings(with_diagnostics(faithful_many_draws, interrupted_after=500), chains=4, draws=1000)
        assert summarize(fit).advice == (
            (
                "Sampling was interrupted: fewer draws than asked for, 4 chains x 500 draws of 4 x 1,000. Sample again "
                "to have them all."
            ),
        )

    def test_independent_draws_need_no_chains(self, faithful_many_draws):
        info = replace(faithful_many_draws.info, method="laplace")
        alone = faithful_many_draws.mixture[:1]
        fit = assemble(alone, faithful_many_draws.prepared, info, faithful_many_draws.scaling)
        assert not any("one chain" in line for line in summarize(fit).advice)

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
    assert any("What needs no names of components can be relied on" in note for note in summary.notes)
    assert "nan" not in repr(summary).lower()
