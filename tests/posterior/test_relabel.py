"""Relabelling undoes permutations, moves everything together, and says when labels mean nothing."""

from importlib import import_module

import numpy as np
import pytest

from bayesgmm.errors import ArgumentError
from bayesgmm.mixture import Mixture
from bayesgmm.posterior import relabel as exported
from bayesgmm.posterior.relabel import RelabellingQuality, relabel
from tests.conftest import jitter
from tests.examples import random_mixture
from tests.tolerances import EXACT, assert_close

CENTRES = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
# The function has the name of its module, so that the package's attribute is not the module.
relabel_module = import_module("bayesgmm.posterior.relabel")
REFERENCE = Mixture([0.5, 0.3, 0.2], CENTRES, [np.eye(2)] * 3)
X, LABELS = REFERENCE.sample(300, seed=2)
DRAWS = jitter(REFERENCE, 300, chains=3, draws=20, seed=4)


def shuffled(draws, seed=0):
    orders = np.random.default_rng(seed).permuted(
        np.broadcast_to(np.arange(draws.n_components), draws.weights.shape), axis=-1
    )
    return draws.permute(orders), orders


def overlapping(n_draws=50):
    """Draws of two components that lie on top of each other, in any order."""
    rng = np.random.default_rng(1)
    means = rng.normal(scale=0.1, size=(1, n_draws, 2, 2))
    return Mixture(np.full((1, n_draws, 2), 0.5), means, np.broadcast_to(np.eye(2), (1, n_draws, 2, 2, 2)))


class TestMatch:
    def test_shuffled_draws_are_put_in_order(self):
        mixed, orders = shuffled(DRAWS)
        found = relabel(mixed, X, reference=REFERENCE)
        for name in ("weights", "means", "covariances"):
            np.testing.assert_array_equal(getattr(found.mixture, name), getattr(DRAWS, name))
        np.testing.assert_array_equal(
            np.take_along_axis(orders, found.permutations, axis=-1), np.broadcast_to(np.arange(3), orders.shape)
        )

    def test_the_result_does_not_depend_on_how_draws_were_numbered(self):
        found = [relabel(shuffled(DRAWS, seed)[0], X, reference=REFERENCE) for seed in (0, 1)]
        np.testing.assert_array_equal(found[0].mixture.means, found[1].mixture.means)
        assert_close(found[0].quality.margins, found[1].quality.margins, EXACT)

    def test_draws_in_order_are_left_alone(self):
        found = relabel(DRAWS, X, reference=REFERENCE)
        assert found.quality.changed_share == 0
        np.testing.assert_array_equal(found.mixture.means, DRAWS.means)

    def test_responsibilities_move_with_the_parameters(self):
        mixed, _ = shuffled(DRAWS)
        found = relabel(mixed, X, reference=REFERENCE)
        moved = np.take_along_axis(mixed.responsibilities(X), found.permutations[:, :, None, :], axis=-1)
        assert_close(found.mixture.responsibilities(X), moved, EXACT)
        assert_close(found.mixture.log_density(X), mixed.log_density(X), EXACT)

    def test_the_reference_decides_the_names(self):
        order = [2, 0, 1]
        found = relabel(DRAWS, X, reference=REFERENCE.permute(order))
        np.testing.assert_array_equal(found.mixture.means, DRAWS.permute(order).means)

    def test_blocks_equal_the_whole(self, monkeypatch):
        mixed, _ = shuffled(DRAWS)
        whole = relabel(mixed, X, reference=REFERENCE)
        monkeypatch.setattr("bayesgmm.posterior.relabelling_methods.BLOCK", 1)
        found = relabel(mixed, X, reference=REFERENCE)
        np.testing.assert_array_equal(found.permutations, whole.permutations)
        assert_close(found.quality.margins, whole.quality.margins, EXACT)


class TestRows:
    def test_a_row_without_weight_has_no_effect(self):
        mixed, _ = shuffled(DRAWS)
        extra = np.vstack([X, np.random.default_rng(0).normal(size=(100, 2)) * 20])
        weights = np.r_[np.ones(300), np.zeros(100)]
        found = relabel(mixed, extra, reference=REFERENCE, sample_weight=weights)
        assert_close(found.quality.margins, relabel(mixed, X, reference=REFERENCE).quality.margins, EXACT)

    def test_whole_weights_are_repeated_rows(self):
        counts = np.random.default_rng(0).integers(0, 3, size=300)
        found = relabel(DRAWS, X, reference=REFERENCE, sample_weight=counts)
        repeated = relabel(DRAWS, np.repeat(X, counts, axis=0), reference=REFERENCE)
        assert_close(found.quality.margins, repeated.quality.margins, EXACT)

    def test_many_rows_are_thinned_evenly_with_their_weights(self, monkeypatch):
        monkeypatch.setattr(relabel_module, "MAX_ROWS", 60)
        mixed, _ = shuffled(DRAWS)
        kept = np.unique(np.linspace(0, 299, 60).astype(int))
        assert (kept[0], kept[-1], len(kept)) == (0, 299, 60)
        weights = np.random.default_rng(0).random(300)
        found = relabel(mixed, X, reference=REFERENCE, sample_weight=weights)
        expected = relabel(mixed, X[kept], reference=REFERENCE, sample_weight=weights[kept])
        np.testing.assert_array_equal(found.quality.margins, expected.quality.margins)
        np.testing.assert_array_equal(found.mixture.means, DRAWS.means)


class TestQuality:
    def test_separate_components_are_clear(self):
        mixed, orders = shuffled(DRAWS)
        quality = relabel(mixed, X, reference=REFERENCE).quality
        assert quality.margins.shape == (3, 20)
        assert quality.margins.min() > 1.5
        assert quality.margins.max() <= 2.0
        assert quality.ambiguous_share == 0
        assert not quality.labels_are_doubtful
        changed = np.any(orders != np.arange(3), axis=-1)
        assert quality.changed_share == changed.mean()
        np.testing.assert_array_equal(quality.changed_by_chain, changed.mean(axis=1))
        assert str(quality).startswith("labels are clear: 0.0% of draws ambiguous")

    def test_components_on_top_of_each_other_are_doubtful(self):
        reference = Mixture([0.5, 0.5], [[0.0, 0.0], [0.1, 0.0]], [np.eye(2)] * 2)
        quality = relabel(overlapping(), X[LABELS == 0], reference=reference).quality
        assert quality.labels_are_doubtful
        assert quality.ambiguous_share > 0.9
        assert str(quality).startswith("labels are doubtful")

    @pytest.mark.parametrize(("share", "doubtful"), [(0.0, False), (0.05, False), (0.06, True)])
    def test_more_than_one_in_twenty_is_doubtful(self, share, doubtful):
        quality = RelabellingQuality(np.ones((1, 1)), share, 0.0, np.zeros(1), np.zeros(1))
        assert quality.labels_are_doubtful == doubtful

    def test_the_share_of_one_chain_is_its_own(self):
        # One chain of two is ambiguous from end to end.
        clear, muddled = jitter(REFERENCE, 300, chains=1, draws=10), random_mixture(3, 2).affine(0.01, 0.0)
        same = Mixture(np.full(3, 1 / 3), np.repeat(muddled.means[:1], 3, axis=0), [np.eye(2)] * 3)
        both = Mixture(
            *(
                np.concatenate([getattr(clear, name), np.broadcast_to(getattr(same, name), getattr(clear, name).shape)])
                for name in ("weights", "means", "covariances")
            )
        )
        quality = relabel(both, X, reference=REFERENCE).quality
        np.testing.assert_array_equal(quality.ambiguous_by_chain, [0, 1])
        assert quality.ambiguous_share == 0.5
        assert_close(quality.margins[1], np.zeros(10), EXACT)

    def test_one_component_cannot_be_confused(self):
        reference = random_mixture(1, 2)
        quality = relabel(jitter(reference, 50), X, reference=reference).quality
        assert np.all(np.isposinf(quality.margins))
        assert (quality.ambiguous_share, quality.changed_share) == (0, 0)

    def test_repr_says_how_sure_it_is(self):
        assert repr(relabel(DRAWS, X, reference=REFERENCE)).startswith("Relabelling(labels are clear: ")


class TestRefusals:
    @pytest.mark.parametrize(
        ("draws", "arguments", "match"),
        [
            (DRAWS, {"method": "magic", "reference": REFERENCE}, "method='magic' is not known"),
            (DRAWS, {}, "method='em' needs reference="),
            (DRAWS.flatten(), {"reference": REFERENCE}, r"leading dimensions \(chain, draw\), and reference none"),
            (DRAWS, {"reference": DRAWS}, "and reference none"),
            (DRAWS, {"reference": random_mixture(2, 2)}, "the draws and the reference do not fit together"),
            (DRAWS, {"reference": random_mixture(3, 3)}, "the draws and the reference do not fit together"),
            (DRAWS, {"reference": REFERENCE, "sample_weight": np.ones(10)}, r"sample_weight has shape \(10,\)"),
            (DRAWS, {"reference": REFERENCE, "sample_weight": np.ones(500)}, r"sample_weight has shape \(500,\)"),
        ],
    )
    def test_what_does_not_fit_together(self, draws, arguments, match):
        with pytest.raises(ArgumentError, match=match):
            relabel(draws, X, **arguments)

    def test_rows_of_other_columns(self):
        with pytest.raises(ArgumentError, match=r"X has shape \(300, 1\)"):
            relabel(DRAWS, X[:, :1], reference=REFERENCE)


def test_the_room_exports_it():
    assert exported is relabel
