"""The Bayesian side: what is read from draws, with a sampler that is stood in for, and once with the real ones."""

from types import SimpleNamespace

import arviz as az
import numpy as np
import pandas as pd
import pytest

from bayesgmm.bayes.evidence import Evidence
from bayesgmm.data import load_dataset
from bayesgmm.errors import FitError
from bayesgmm.mixture import Mixture
from bayesgmm.selection import posteriors, select
from bayesgmm.selection.posteriors import Posteriors, number_table, prediction_table
from tests.conftest import build_fit, jitter


@pytest.fixture(scope="module")
def selection():
    return select(load_dataset("faithful"), [1, 2, 3], structures=("full", "VEV"), n_starts=8, seed=0)


@pytest.fixture
def quick(monkeypatch):
    """Stand in for the samplers: draws around the estimate; keeps what they were called with."""
    calls = {"fit": [], "evidence": [], "number": []}

    def sample(prepared, k, *, structure, em, seed, **options):
        calls["fit"].append((structure.code, k, seed, options))
        return build_fit(jitter(em.mixture, prepared.n_rows, chains=2, draws=100), prepared, structure=structure.code)

    def evidence(fit, *, em, method, seed, progress):
        calls["evidence"].append((fit.n_components, method))
        if fit.n_components == 3 and method == "laplace":
            raise FitError("too far from normal")
        return Evidence(-1160.0 - fit.n_components, 0.1, method)

    def number(prepared, *, method, structure, priors, seed, progress):
        calls["number"].append((method, structure.code, priors, seed))
        shares = pd.Series([0.0, 0.6, 0.4], index=pd.RangeIndex(1, 4))
        columns = {"p_filled": shares} | ({"p_components": shares[::-1].set_axis([1, 2, 3])} if method == "mfm" else {})
        r_hat = 1.0 if method == "mfm" else 1.2
        return SimpleNamespace(
            table=pd.DataFrame(columns), structure=structure, diagnostics={"chains": 4, "max_r_hat": r_hat}
        )

    monkeypatch.setattr(posteriors, "fit_bayes", sample)
    monkeypatch.setattr(posteriors, "log_evidence", evidence)
    monkeypatch.setattr(posteriors, "number_of_components", number)
    return calls


def test_the_best_cells_are_sampled_from_their_estimates(selection, quick):
    found = selection.with_posteriors(2, draws=100, priors="own")
    best = [cell.key for cell in selection.ranked[:2]]
    assert list(found.posteriors) == best
    assert quick["fit"] == [(code, k, 0, {"draws": 100, "priors": "own"}) for code, k in best]
    assert selection.posteriors == {}
    assert selection.predictions is None
    # The number of components has a sampler for VVV, not for VEV.
    assert quick["number"] == [("mfm", "VVV", "own", 0), ("sparse", "VVV", "own", 0)]


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_predictions_are_arvizs(selection, quick):
    found = selection.with_posteriors(3).predictions
    assert found["elpd"].is_monotonic_decreasing
    scores = {}
    for _, row in found.iterrows():
        fit = build_fit(
            jitter(selection.fit(row["structure"], row["n_components"]).mixture, 272, chains=2, draws=100),
            selection.prepared, structure=row["structure"],
        )  # fmt: skip
        scores[f"{row['structure']} {row['n_components']}"] = loo = az.loo(fit.tree, pointwise=True)
        assert (row["elpd"], row["elpd_se"], row["p_loo"]) == pytest.approx((loo.elpd, loo.se, loo.p))
        assert row["max_pareto_k"] == pytest.approx(float(loo.pareto_k.max()))
    first, second = list(scores.values())[:2]
    pairs = (second.elpd_i - first.elpd_i).values
    assert found["elpd_diff"].iloc[1] == pytest.approx(pairs.sum())
    assert found["elpd_diff_se"].iloc[1] == pytest.approx(np.sqrt(len(pairs) * pairs.var()))


def test_evidence_falls_back_to_bridge_sampling(selection, quick):
    found = selection.with_posteriors(4)
    tried = dict.fromkeys(quick["evidence"])
    assert (3, "laplace") in tried
    assert (3, "bridge") in tried
    assert (2, "bridge") not in tried
    assert set(found.predictions["log_evidence"]) <= {-1162.0, -1163.0}


def test_evidence_that_no_method_gives_is_left_out(selection, quick, monkeypatch):
    def fail(*_given, **_options):
        raise FitError("no way")

    monkeypatch.setattr(posteriors, "log_evidence", fail)
    assert selection.with_posteriors(1).predictions["log_evidence"].isna().all()


def test_numbers_are_withheld_where_chains_have_not_met(selection, quick):
    found = selection.with_posteriors(1).number_of_components
    assert list(found.columns) == ["bic_weight", "bic_weight_within", "mfm_k", "mfm_filled", "sparse_filled"]
    assert list(found["mfm_filled"]) == [0.0, 0.6, 0.4]
    assert list(found["mfm_k"]) == [0.4, 0.6, 0.0]
    assert found["sparse_filled"].isna().all()
    assert found["bic_weight_within"].sum() == pytest.approx(1.0)
    own = selection.table[selection.table["structure"] == "VVV"].set_index("n_components")["bic_weight"]
    assert found["bic_weight_within"][2] == pytest.approx(own[2] / own.sum())


def test_words(selection, quick):
    found = selection.with_posteriors(2)
    text = repr(found)
    assert "Posteriors: prediction and evidence (larger is better; elpd must not choose K by itself)" in text
    assert "Number of components, as probabilities" in text
    assert "60% of the posterior are for 2 filled components" in found.verdict


class TestTrouble:
    def test_chains_that_have_not_met(self, faithful_mixture, faithful):
        draws = jitter(faithful_mixture, 272, chains=2, draws=50)
        # The second chain is somewhere else.
        means = draws.means.copy()
        means[1] += 2.0
        apart = build_fit(Mixture(draws.weights, means, draws.covariances, draws.features), faithful)
        together = build_fit(draws, faithful, diagnostics={"divergences": 3})
        found = prediction_table(Posteriors({("VVV", 2): apart, ("VVV", 3): together}, {}, {}))
        met, not_met = found.iloc[0], found.iloc[1]
        assert np.isnan(not_met["elpd"])
        assert "the chains have not met (R-hat" in not_met["trouble"]
        assert np.isfinite(met["elpd"])
        assert met["trouble"].endswith("3 divergences")

    def test_rows_that_the_posterior_hangs_on(self, faithful_mixture, faithful):
        """Draws much wider than the posterior: single rows decide which of them count."""
        wild = build_fit(jitter(faithful_mixture, 12, chains=2, draws=50), faithful)
        found = prediction_table(Posteriors({("VVV", 2): wild}, {}, {})).iloc[0]
        assert found["n_bad_k"] > 0
        assert f"Pareto k above 0.7 in {found['n_bad_k']:.0f} row" in found["trouble"]
        assert found["elpd_diff"] == 0.0

    def test_no_numbers_no_table(self):
        assert number_table(Posteriors({}, {}, {})).empty


def test_with_the_real_samplers():
    found = select(
        load_dataset("galaxies"), [3], structures="full", n_starts=4, seed=0, bayes=True, n_survivors=1,
        draws=100, tune=200, chains=2,
    )  # fmt: skip
    row = found.predictions.iloc[0]
    # Leave-one-out lies below the likelihood by about the effective number of parameters.
    assert -225.0 < row["elpd"] < found.best.log_likelihood
    assert -235.0 < row["log_evidence"] < found.best.log_likelihood
    numbers = found.number_of_components
    assert numbers["mfm_filled"].sum() == pytest.approx(1.0, abs=0.02)
    assert numbers["mfm_filled"].idxmax() == 3


def test_weighted_rows_have_no_sampler_of_the_number(quick):
    found = select(
        load_dataset("galaxies"), [2], structures="full", n_starts=2, seed=0, sample_weight=np.full(82, 2.0), bayes=True
    )
    assert list(found.number_of_components.columns) == ["bic_weight"]
    assert quick["number"] == []
