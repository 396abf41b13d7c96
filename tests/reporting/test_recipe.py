"""How a fit was made and is made again: what is written is Python that makes the same fit."""

from dataclasses import replace

import numpy as np
import pytest

import bayesgmm
from bayesgmm.em.conjugate import ConjugatePrior
from bayesgmm.em.fit import fit_em
from bayesgmm.em.kmeans import fit_kmeans
from bayesgmm.fit import assemble
from bayesgmm.reporting.recipe import describe_data, describe_fit, python_lines


def made_otherwise(fit, **changes):
    return assemble(fit.mixture, fit.prepared, replace(fit.info, **changes), fit.scaling)


def run_again(fit, table, **names):
    """Run the line of the recipe that makes the fit."""
    line = next(line for line in python_lines(fit, None).splitlines() if line.startswith("em = "))
    return eval(line.removeprefix("em = "), {"bg": bayesgmm, "table": table, **names})  # noqa: S307


class TestRecipe:
    def test_both_fits(self, faithful_em, faithful_draws):
        assert python_lines(faithful_em, faithful_draws).splitlines()[3:] == [
            'em = bg.fit_em(table, 2, structure="full", seed=0)',
            'post = bg.fit_bayes(table, 2, structure="full", seed=0, draws=40, tune=500, chains=2, em=em)',
            "check = bg.compare(em, post)",
            'bg.report(check, "report.html")',
        ]

    def test_settings_that_are_not_the_usual_ones(self, faithful_em):
        settings = {"n_starts": 5, "tol": 1e-10, "reg_covar": 0.01, "start": "given", "n_dropped": 3}
        info = replace(faithful_em.info, settings=settings, seed=7)
        fit = assemble(faithful_em.mixture, faithful_em.prepared, info, faithful_em.scaling)
        assert (
            'em = bg.fit_em(table, 2, structure="full", seed=7, missing="drop", n_starts=5, reg_covar=0.01, start=...)'
            in python_lines(fit, None)
        )

    def test_priors_that_are_the_users_own(self, faithful_draws):
        priors = {"concentration": 4.0, "within_sd": [1.0, 2.0]}
        info = replace(faithful_draws.info, settings={"priors": priors})
        fit = assemble(faithful_draws.mixture, faithful_draws.prepared, info, faithful_draws.scaling)
        assert "priors=bg.Priors(concentration=4.0, within_sd=[1.0, 2.0]))" in python_lines(None, fit)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"sampler": "gibbs"}, 'chains=2, sampler="gibbs")'),
            ({"sampler": "callable"}, "chains=2, sampler=...)"),
            ({"starts": "em"}, 'chains=2, starts="em")'),
            ({"sampler": "nuts", "starts": "optima"}, "chains=2)"),
            ({"priors": None}, "chains=2, model=...)"),
        ],
    )
    def test_sampler_starts_and_model(self, faithful_draws, changes, said):
        fit = made_otherwise(faithful_draws, settings=faithful_draws.info.settings | changes)
        assert python_lines(None, fit).splitlines()[3].endswith(said)

    def test_labels_cannot_be_written_down(self, faithful):
        labels = np.where(np.arange(272) < 9, np.arange(272) % 2, -1)
        fit = fit_em(faithful, 2, seed=0, labels=labels)
        assert (
            python_lines(fit, None).splitlines()[3] == 'em = bg.fit_em(table, 2, structure="full", seed=0, labels=...)'
        )
        assert describe_fit(fit).endswith(
            ". The components of 9 of 272 rows were given: 0 is component 0, 1 is component 1"
        )


class TestAgain:
    @pytest.mark.parametrize(
        ("asked", "said"),
        [
            ({"prior": "default"}, 'prior="default")'),
            ({"prior": "default", "structure": "tied"}, 'prior="default")'),
            ({"prior": ConjugatePrior(kappa=0.5)}, "prior=bg.ConjugatePrior(mean=[3.48"),
            ({"fix": {"weights": [0.25, 0.75]}}, 'fix={"weights": [0.25, 0.75]})'),
            ({"max_eigenvalue_ratio": 3.0}, "max_eigenvalue_ratio=3.0)"),
        ],
    )
    def test_what_em_was_told(self, faithful, asked, said):
        fit = fit_em(faithful, 2, seed=1, n_starts=4, **asked)
        assert said in python_lines(fit, None)
        assert "n_starts=4" in python_lines(fit, None)
        again = run_again(fit, faithful)
        assert again.log_likelihood == pytest.approx(fit.log_likelihood, rel=1e-12)
        assert again.log_likelihood != pytest.approx(fit_em(faithful, 2, seed=1).log_likelihood, abs=1e-3)

    def test_many_held_numbers_are_not_written(self, iris_em):
        settings = {"fixed": ["covariances"]}
        assert 'fix={"covariances": ...}' in python_lines(made_otherwise(iris_em, settings=settings), None)

    def test_rows_with_missing_values(self, faithful):
        values = faithful.values.copy()
        values[[3, 8], [0, 1]] = np.nan
        fit = fit_em(values, 2, seed=0, n_starts=4, missing="marginalize")
        assert 'missing="marginalize"' in python_lines(fit, None)
        assert run_again(fit, values).log_likelihood == pytest.approx(fit.log_likelihood, rel=1e-12)
        assert describe_data(fit, None)["rows"] == (
            "272, with 2 missing values; what was observed of their rows was used"
        )

    def test_k_means(self, faithful):
        fit = fit_kmeans(faithful, 2, seed=3)
        assert python_lines(fit, None).splitlines()[3] == "em = bg.fit_kmeans(table, 2, seed=3)"
        np.testing.assert_array_equal(run_again(fit, faithful).mixture.means, fit.mixture.means)

    def test_weights(self, faithful):
        weights = np.arange(272) % 2 + 0.5
        fit = fit_em(replace(faithful, sample_weight=weights), 2, seed=0, n_starts=4)
        assert "seed=0, sample_weight=..., n_starts=4)" in python_lines(fit, None)


class TestWords:
    @pytest.mark.parametrize(
        ("method", "said"),
        [
            ("nuts", "NUTS, 2 chains x 40 draws, after 500 steps of adaptation, 0 divergences"),
            ("gibbs", "Gibbs sampling, 2 chains x 40 draws, after 500 sweeps that were thrown away, seed 0"),
            ("laplace", "Laplace's approximation corrected by importance sampling, 2 chains x 40 draws, seed 0"),
            ("smc", "sequential Monte Carlo, 2 chains x 40 draws, seed 0"),
            ("advi", "an approximation, ADVI, 2 chains x 40 draws, seed 0"),
            ("callable", "a sampler that was handed in, 2 chains x 40 draws, seed 0"),
        ],
    )
    def test_samplers(self, faithful_draws, method, said):
        assert said in describe_fit(made_otherwise(faithful_draws, method=method))

    def test_an_interruption(self, faithful_draws):
        found = describe_fit(made_otherwise(faithful_draws, diagnostics={"interrupted_after": 40}))
        assert "2 chains x 40 draws, interrupted" in found

    def test_estimates(self, faithful, faithful_em):
        assert "maximum likelihood, converged" in describe_fit(faithful_em)
        prior = "maximum a posteriori, conjugate prior with kappa 0.01 for the means and dof 4 for the covariances"
        assert prior in describe_fit(fit_em(faithful, 2, seed=0, n_starts=4, prior="default"))
