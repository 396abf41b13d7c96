"""Quantities without labels: the same under every numbering, and judged by ArviZ."""

import arviz as az
import numpy as np
import pytest
from scipy import stats

from bayesgmm.errors import ArgumentError
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.diagnostics import label_free_diagnostics, label_free_draws
from tests.conftest import jitter
from tests.examples import random_mixture
from tests.posterior.test_relabel import shuffled
from tests.tolerances import ALGEBRA, EXACT, assert_close

MIXTURE = random_mixture(3, 2)
X, _ = MIXTURE.sample(40, seed=0)
DRAWS = jitter(MIXTURE, 40, chains=2, draws=30)


class TestDraws:
    def test_are_their_definitions(self):
        found = label_free_draws(DRAWS, X, n_points=3)
        shares = DRAWS.responsibilities(X)
        assert_close(found["log_likelihood"], DRAWS.log_density(X).sum(axis=-1), EXACT)
        assert_close(found["entropy"], stats.entropy(shares, axis=-1).mean(axis=-1), EXACT)
        assert_close(found["filled_components"], (1 - np.prod(1 - shares, axis=2)).sum(axis=-1), ALGEBRA)
        points = [int(name[12:-1]) for name in found if name.startswith("log_density[")]
        assert len(points) == 3
        for i in points:
            assert_close(found[f"log_density[{i}]"], DRAWS.log_density(X)[..., i], EXACT)
        means = DRAWS.log_density(X).mean(axis=(0, 1))
        assert (points[0], points[-1]) == (means.argmin(), means.argmax())

    def test_do_not_depend_on_labels(self):
        found, again = label_free_draws(DRAWS, X), label_free_draws(shuffled(DRAWS)[0], X)
        for name in found:
            assert_close(again[name], found[name], ALGEBRA)

    def test_filled_components_are_counted_like_drawn_allocations(self):
        rare = Mixture([0.97, 0.03], [[0.0, 0.0], [1.0, 0.0]], [np.eye(2)] * 2)
        rows = X[:15]
        copies = Mixture(*(np.stack([getattr(rare, n)] * 4)[None] for n in ("weights", "means", "covariances")))
        found = label_free_draws(copies, rows)["filled_components"][0, 0]
        shares = rare.responsibilities(rows)
        labels = np.random.default_rng(0).random((4000, 15)) < shares[:, 1]
        counts = labels.any(axis=1).astype(int) + (~labels).any(axis=1)
        assert abs(found - counts.mean()) < 4 * counts.std() / np.sqrt(4000)

    def test_whole_weights_are_repeated_rows(self):
        counts = np.random.default_rng(0).integers(0, 3, size=40)
        found = label_free_draws(DRAWS, X, sample_weight=counts, n_points=0)
        repeated = label_free_draws(DRAWS, np.repeat(X, counts, axis=0), n_points=0)
        for name in ("log_likelihood", "entropy"):
            assert_close(found[name], repeated[name], ALGEBRA)

    def test_blocks_equal_the_whole(self, monkeypatch):
        whole = label_free_draws(DRAWS, X)
        monkeypatch.setattr("bayesgmm.posterior.diagnostics.BLOCK", 1)
        found = label_free_draws(DRAWS, X)
        for name in whole:
            assert_close(found[name], whole[name], EXACT)


class TestTable:
    def test_is_what_arviz_says(self):
        table, draws = label_free_diagnostics(DRAWS, X), label_free_draws(DRAWS, X)
        assert list(table.index) == list(draws)
        assert table.loc["entropy", "r_hat"] == pytest.approx(float(az.rhat(draws["entropy"])))
        assert table.loc["entropy", "ess_bulk"] == pytest.approx(float(az.ess(draws["entropy"])))
        assert_close(table["mean"], [values.mean() for values in draws.values()], EXACT)

    def test_chains_that_disagree_are_seen(self):
        apart = Mixture(DRAWS.weights, DRAWS.means + np.array([0.0, 3.0])[:, None, None, None], DRAWS.covariances)
        assert label_free_diagnostics(apart, X).loc["log_likelihood", "r_hat"] > 1.5

    def test_what_never_changes_is_marked(self):
        separate = Mixture([0.5, 0.5], [[0.0, 0.0], [50.0, 0.0]], [np.eye(2)] * 2)
        rows, _ = separate.sample(30, seed=0)
        row = label_free_diagnostics(jitter(separate, 30), rows).loc["filled_components"]
        assert row["is_constant"]
        assert row["mean"] == 2
        assert np.isnan(row["r_hat"])

    def test_one_chain_has_no_r_hat(self):
        table = label_free_diagnostics(DRAWS[:1], X)
        assert table["r_hat"].isna().all()
        assert table["ess_bulk"].notna().all()

    @pytest.mark.parametrize(
        ("draws", "options", "match"),
        [
            (DRAWS.flatten(), {}, r"leading dimensions \(chain, draw\), not \(60,\)"),
            (DRAWS[:, :3], {}, "3 draws in a chain say nothing"),
            (DRAWS, {"n_points": -1}, "n_points=-1 must be a whole number"),
            (DRAWS, {"sample_weight": np.ones(7)}, r"sample_weight has shape \(7,\)"),
        ],
    )
    def test_refusals(self, draws, options, match):
        with pytest.raises(ArgumentError, match=match):
            label_free_diagnostics(draws, X, **options)
