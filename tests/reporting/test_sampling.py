"""What is said of draws without the names of components, and pages about the draws of every sampler."""

from dataclasses import replace

import numpy as np
import pytest

from bayesgmm.bayes import fit_bayes
from bayesgmm.em.fit import fit_em
from bayesgmm.fit import assemble
from bayesgmm.posterior import label_free_diagnostics
from bayesgmm.reporting import sampling
from bayesgmm.reporting.page import report
from bayesgmm.reporting.recipe import python_lines
from bayesgmm.reporting.sampling import describe_label_free, label_free_table, sampling_section


def with_mixture(fit, mixture, **changes):
    return assemble(mixture, fit.prepared, replace(fit.info, **changes), fit.scaling)


class TestTable:
    def test_numbers_are_those_of_the_room_that_computes_them(self, faithful_draws):
        found = label_free_table(faithful_draws)
        expected = label_free_diagnostics(faithful_draws.mixture, faithful_draws.prepared.values)
        np.testing.assert_array_equal(found.to_numpy(dtype=float), expected.to_numpy(dtype=float))
        assert found.index[0] == "log-likelihood"
        assert list(found.index[-2:]) == ["average entropy of the memberships", "number of components that own rows"]

    def test_it_does_not_depend_on_the_numbering(self, faithful_draws):
        turned = with_mixture(faithful_draws, faithful_draws.mixture.permute(np.array([1, 0])))
        found, expected = label_free_table(turned), label_free_table(faithful_draws)
        np.testing.assert_allclose(found["mean"].to_numpy(), expected["mean"].to_numpy(), rtol=1e-12)

    def test_rows_are_thinned_where_all_take_long(self, faithful_draws, monkeypatch):
        monkeypatch.setattr(sampling, "_WORK", 80 * 2 * 2 * 100)
        found = label_free_table(faithful_draws)
        assert found.attrs["n_rows"] == len(faithful_draws.prepared.rows[::3])
        thinned = label_free_diagnostics(faithful_draws.mixture, faithful_draws.prepared.values[::3])
        np.testing.assert_array_equal(found["mean"], thinned["mean"])
        points = [int(name.removeprefix("log density at row ")) for name in found.index if "density" in name]
        assert points == [3 * int(name[12:-1]) for name in thinned.index if "density" in name]
        assert "Computed at 91 of 272 rows." in sampling_section(faithful_draws)

    def test_not_where_rows_are_many_or_draws_few(self, faithful_draws, monkeypatch):
        assert label_free_table(with_mixture(faithful_draws, faithful_draws.mixture[:, :3])) is None
        monkeypatch.setattr(sampling, "MOST_ROWS", 271)
        assert label_free_table(faithful_draws) is None
        assert sampling_section(faithful_draws) == ""


class TestWords:
    def test_chains_that_agree(self, faithful_many_draws):
        found = describe_label_free(label_free_table(faithful_many_draws))
        assert found.startswith("What needs no names of components can be relied on")

    def test_chains_that_disagree(self, faithful_many_draws):
        means = faithful_many_draws.mixture.means.copy()
        means[1] += 0.1
        moved = with_mixture(faithful_many_draws, replace(faithful_many_draws.mixture, means=means))
        found = describe_label_free(label_free_table(moved))
        assert found.startswith("Chains disagree even about what needs no names of components: R-hat is")

    def test_few_draws(self, faithful_draws):
        few = describe_label_free(label_free_table(faithful_draws).assign(r_hat=1.0))
        assert few.startswith("Even of what needs no names of components there are few draws:")

    def test_one_chain_has_no_r_hat(self, faithful_many_draws):
        long = faithful_many_draws.mixture.flatten()[np.arange(2000)[None]]
        found = describe_label_free(label_free_table(with_mixture(faithful_many_draws, long)))
        assert "can be relied on" in found
        assert "R-hat" not in found

    def test_chains_that_do_not_move(self, faithful_draws):
        still = faithful_draws.mixture[np.zeros((2, 40), dtype=int), np.zeros((2, 40), dtype=int)]
        assert "do not move" in describe_label_free(label_free_table(with_mixture(faithful_draws, still)))


@pytest.fixture(scope="module")
def optimum(faithful):
    return fit_em(faithful, 2, seed=0, n_starts=4)


@pytest.mark.filterwarnings("ignore::bayesgmm.errors.SamplingWarning")
@pytest.mark.parametrize(
    ("sampler", "kind", "own"),
    [
        ("gibbs", "posterior draws (gibbs)", "needs no names of components"),
        ("laplace", "posterior draws (laplace)", "a proposal is worth"),
        ("advi", "draws from an approximation of the posterior (advi)", "corrected by importance sampling"),
    ],
)
def test_every_sampler_has_its_summary_and_page(faithful, optimum, tmp_path, sampler, kind, own):
    fit = fit_bayes(faithful, 2, seed=0, em=optimum, sampler=sampler, draws=60, tune=50, chains=2)
    summary = fit.summary()
    assert kind in summary.header[0]
    assert any("from an approximation (advi)" in line for line in summary.advice) == (sampler == "advi")
    page = report(fit, tmp_path / "page.md").read_text()
    assert "## Sampling" in page
    assert own in page
    assert f'chains=2, sampler="{sampler}")' in page
    assert python_lines(optimum, fit).splitlines()[4].endswith(f'chains=2, sampler="{sampler}", em=em)')
