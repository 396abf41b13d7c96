"""Gibbs chains over rows with gaps and over fractional weights: what must not change, what must be said.

That their posterior is right is shown by test_exact.py, against enumeration and quadrature; but for fractional weights
in the plane, which are here, against NUTS.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import bayesgmm as bg
from bayesgmm.bayes import gibbs
from bayesgmm.bayes.conjugate_rows import make_table
from bayesgmm.bayes.gibbs import describe_mixing
from bayesgmm.bayes.gibbs_chains import room_for
from bayesgmm.bayes.likelihood import Patterns
from bayesgmm.kernels.conditionals import Parameters
from bayesgmm.kernels.gibbs import run_chain
from bayesgmm.structure import as_structure
from tests.bayes import enumeration, geweke, interruptions
from tests.bayes.test_exact import LARGEST_Z, LEAST_ESS, LINE, PLANE, POINTS, belief_of, independent_worth, sample

TABLE = bg.load_dataset("faithful")
RNG = np.random.default_rng(5)
HOLES = TABLE.mask(RNG.random(TABLE.shape) < 0.2)
FRACTIONS = RNG.uniform(0.5, 1.5, size=len(TABLE))
PLAN = {"sampler": "gibbs", "seed": 1, "draws": 30, "tune": 10, "chains": 2}
# In chains so short much is amiss, and said.
pytestmark = pytest.mark.filterwarnings("ignore::bayesgmm.BayesGMMWarning")


@pytest.fixture(scope="module")
def em():
    return bg.fit_em(TABLE, 2, seed=0)


def assert_same_draws(found, expected):
    for group in ("posterior", "sample_stats"):
        assert found.tree[group].to_dataset().identical(expected.tree[group].to_dataset()), group


def run(table, k=2, sweeps=20):
    """Make sweeps over a table; return where the chain ends and the log-likelihoods."""
    d = table.rows.shape[1]
    here = Parameters(np.full(k, -np.log(k)), np.eye(k, d), np.stack([np.eye(d)] * k), np.eye(d))
    draws = room_for(sweeps, here)
    prior, streams = geweke.make_prior(as_structure("full"), d), gibbs.random_streams(3, 0)
    run_chain(prior, np.ones(k), table, here, streams, 1, *draws)
    return [*here, draws.log_likelihood]


# -------------------------------------------------------------------- what must not change


@pytest.mark.parametrize("data", [TABLE, HOLES], ids=["complete", "gaps"])
@pytest.mark.parametrize(
    ("added", "weight"),
    [([np.nan, np.nan], 1.0), ([np.nan, np.nan], 0.7), ([np.nan, 1.0], 0.0), ([2.0, 1.0], 0.0)],
)
def test_a_row_without_effect_changes_no_bit(data, added, weight):
    """One that lacks everything, whatever its weight, or has no weight; the others keep their numbers."""
    rows = data.to_numpy()[:60]
    # Complete rows alone: nothing is said of gaps and weights, so that these ways are not gone at all.
    alone = (rows,) if data is TABLE else (np.nan_to_num(rows), None, Patterns.of(rows))
    more, weights = np.concatenate([rows, [added]]), np.append(np.ones(len(rows)), weight)
    found, expected = (run(make_table(*told)) for told in ((np.nan_to_num(more), weights, Patterns.of(more)), alone))
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    "rows", [{"data": HOLES, "missing": "marginalize"}, {"data": TABLE, "sample_weight": FRACTIONS}]
)
def test_an_interrupted_run_becomes_what_it_would_have_been(rows, em, tmp_path, monkeypatch):
    fit = partial(bg.fit_bayes, **rows, n_components=2, em=em, cores=1, **PLAN)
    whole, path = fit(), tmp_path / "run.zarr"
    monkeypatch.setattr(gibbs, "BATCH", 5 * 272 * 2)
    interruptions.stop_after(monkeypatch, 12)
    fit(checkpoint=path)
    monkeypatch.undo()
    assert_same_draws(fit(checkpoint=path), whole)


@pytest.mark.parametrize(("rows", "structure"), [(LINE, "EII"), (PLANE, "full")])
def test_chains_with_fractional_weights_look_the_same_backwards(rows, structure):
    """The rule of Metropolis and Hastings as it is used here wants proposals that are reversible."""
    weights = np.array([0.5, 1.7, 0.3, 2.4, 0.6, 0.9])[: len(rows)]
    plan = {"draws": 20_000, "tune": 100, "chains": 4, "thin": 1}
    draws, attributes = sample("gibbs", rows, belief_of(rows.shape[1]), structure, weights=weights, plan=plan)
    assert 0.5 < attributes["acceptance_rate"] < 1.0
    distances = ((rows[:, None] - draws.means[..., None, :, :]) ** 2).sum(axis=-1)
    spreads = np.log(np.einsum("n,cdnk,cdnk->cd", weights, draws.responsibilities(rows), distances))
    volumes = np.linalg.slogdet(draws.covariances)[1].mean(axis=-1)
    one, other = ((values - values.mean()) / values.std() for values in (spreads, volumes))
    asymmetry = one[:, :-1] * other[:, 1:] - other[:, :-1] * one[:, 1:]
    # Batches of 100 sweeps are all but independent.
    batches = asymmetry[:, : 199 * 100].reshape(-1, 100).mean(axis=1)
    assert abs(batches.mean()) < 4.5 * batches.std() / np.sqrt(len(batches))


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["full", "tied", "diag"])
def test_a_few_rows_with_fractional_weights_have_the_posterior_that_nuts_finds(structure):
    """So few that the bound alone, without the rule that mends it, is 17 standard errors away."""
    found = []
    for engine in ("gibbs", "nuts"):
        draws, attributes = sample(engine, PLANE, belief_of(2), structure, weights=[0.5, 1.7, 0.3, 2.4, 0.6])
        sampled = enumeration.quantities(draws, PLANE, POINTS)
        found.append({name: (part, independent_worth(part, attributes)) for name, part in sampled.items()})
    for name, (one, worth) in found[0].items():
        other, other_worth = found[1][name]
        assert min(worth, other_worth) >= LEAST_ESS, name
        error = np.hypot(one.std() / np.sqrt(worth), other.std() / np.sqrt(other_worth))
        assert abs(one.mean() - other.mean()) < LARGEST_Z * error, name


# -------------------------------------------------------------------- what is said


def test_the_share_of_sweeps_that_were_taken_is_recorded(em):
    stats = bg.fit_bayes(TABLE, 2, em=em, sample_weight=FRACTIONS, **PLAN).tree["sample_stats"]
    assert stats["acceptance_rate"].shape == stats["lp"].shape
    assert float(stats["acceptance_rate"].mean()) > 0.9
    assert "acceptance_rate" not in bg.fit_bayes(TABLE, 2, em=em, **PLAN).tree["sample_stats"]


def test_fractional_weights_of_rows_with_gaps_are_refused(em):
    with pytest.raises(bg.ArgumentError, match=r"\d+ rows that lack values have weights .*; use sampler='nuts'"):
        bg.fit_bayes(HOLES, 2, em=em, missing="marginalize", sample_weight=FRACTIONS, **PLAN)


def test_fractional_weights_without_an_anchor_are_refused():
    with pytest.raises(bg.ArgumentError, match=r"1 rows whose weights are not whole numbers .*; give anchor"):
        make_table(np.zeros((3, 2)), np.array([1.0, 0.5, 2.0]))


def test_fractional_weights_of_complete_rows_go_with_gaps_in_others(em):
    weights = np.where(HOLES.isna().any(axis=1), 2.0, FRACTIONS)
    fit = bg.fit_bayes(HOLES, 2, em=em, missing="marginalize", sample_weight=weights, **PLAN)
    assert np.isfinite(fit.tree["sample_stats"]["lp"]).all()


def test_a_chain_that_does_not_move_is_told_from_one_that_mixes():
    said = describe_mixing(max_r_hat=np.nan, min_ess=4000.0, n_draws=4000, acceptance_rate=0.012)
    assert said.startswith("Gibbs does not move")
    assert "1.2% were taken; use sampler='nuts'" in said
    assert describe_mixing(max_r_hat=1.0, min_ess=4000.0, n_draws=4000, acceptance_rate=0.6) == ""


# -------------------------------------------------------------------- the number of components


def test_the_number_of_components_takes_rows_with_gaps():
    """In other units each observed value adds the logarithm of its unit, and nothing else changes."""
    plan = {"missing": "marginalize", "seed": 2, "draws": 20, "tune": 10, "chains": 2, "thin": 2}
    one, other = (bg.number_of_components(HOLES * unit, **plan) for unit in (1.0, 8.0))
    np.testing.assert_array_equal(one.draws["n_filled"], other.draws["n_filled"])
    n_values = int(HOLES.notna().to_numpy().sum())
    gap = one.draws["log_likelihood"] - other.draws["log_likelihood"]
    np.testing.assert_allclose(gap, n_values * np.log(8.0), rtol=1e-9)
    labels = one.allocations.values
    assert labels.min() == 0
    assert np.array_equal(labels.max(axis=-1) + 1, one.draws["n_filled"].sel(draw=one.allocations["draw"]))


def test_rows_that_lack_everything_belong_to_no_component():
    prepared = bg.prepare(TABLE)
    values = prepared.values.copy()
    values[3] = np.nan
    with pytest.raises(bg.DataError, match="1 rows lack every value"):
        bg.number_of_components(replace(prepared, values=values), draws=20, tune=10)
