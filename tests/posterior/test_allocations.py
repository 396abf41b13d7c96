"""Names for the clusters of label draws: undone shuffles, enumeration, and draws that do not have the same clusters."""

import itertools
from importlib import import_module

import numpy as np
import pytest

from bayesgmm.errors import ArgumentError
from bayesgmm.posterior import relabel_allocations

TRUTH = np.repeat(np.arange(3), [50, 30, 20])


def noisy(labels, *, noise=0.1, n_draws=40, seed=0):
    """Draws in which every label is wrong with some probability; every cluster keeps a row."""
    rng = np.random.default_rng(seed)
    width = labels.max() + 1
    draws = np.where(rng.random((n_draws, len(labels))) < noise, rng.integers(width, size=len(labels)), labels)
    draws[:, np.unique(labels, return_index=True)[1]] = np.arange(width)
    return draws


def renamed(draws, seed=1):
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(draws.max() + 1)[draw] for draw in draws])


def test_shuffled_names_are_put_in_order():
    draws = noisy(TRUTH)
    found = relabel_allocations(renamed(draws))
    np.testing.assert_array_equal(found.labels, draws)
    assert (found.n_clusters, found.share) == (3, 1.0)
    np.testing.assert_array_equal(found.positions, np.arange(40))
    assert found.quality.margins.shape == (1, 40)
    assert not found.quality.labels_are_doubtful
    assert found.quality.non_permutation_share == 0


def test_names_and_chains_change_nothing():
    mixed = renamed(noisy(TRUTH, noise=0.4))
    words = np.array(["left", "right", "top"])[mixed]
    for other in (words, mixed.reshape(2, 20, 100), mixed + 7):
        np.testing.assert_array_equal(relabel_allocations(other).labels, relabel_allocations(mixed).labels)


def test_the_most_frequent_number_is_taken():
    more, fewer = noisy(np.repeat(np.arange(4), 25), n_draws=10), noisy(TRUTH, n_draws=30)
    found = relabel_allocations(np.concatenate([more, fewer]))
    assert (found.n_clusters, found.share) == (3, 0.75)
    np.testing.assert_array_equal(found.positions, np.arange(10, 40))
    other = relabel_allocations(np.concatenate([more, fewer]), 4)
    assert (other.n_clusters, other.share, len(other.labels)) == (4, 0.25, 10)
    with pytest.raises(ArgumentError, match="n_clusters=7: no draw has that number of clusters; there are 3, 4"):
        relabel_allocations(np.concatenate([more, fewer]), 7)


def test_every_draw_agrees_with_the_others_as_well_as_any_names_let_it():
    draws = renamed(noisy(TRUTH, noise=0.5, n_draws=15))
    found = relabel_allocations(draws)
    shares = (found.labels[:, :, None] == np.arange(3)).mean(axis=0)
    consensus = shares.argmax(axis=1)
    for labels in found.labels:
        agreements = [np.sum(np.array(order)[labels] == consensus) for order in itertools.permutations(range(3))]
        assert np.sum(labels == consensus) == max(agreements)


def test_two_clusters_nearest_to_one_name_are_no_permutation():
    # Half of the draws cut the first group in two, the others the second: always three clusters, never the same ones.
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1], [60, 60])
    first = np.where((groups == 0) & (rng.random((30, 120)) < 0.5), 2, groups)
    second = np.where((groups == 1) & (rng.random((30, 120)) < 0.5), 2, groups)
    quality = relabel_allocations(np.concatenate([first, second])).quality
    assert quality.non_permutation_share > 0.4
    assert quality.labels_are_doubtful


def test_many_rows_are_thinned_for_the_names_and_kept_in_the_labels(monkeypatch):
    # The function has the name of its module.
    monkeypatch.setattr(import_module("bayesgmm.posterior.relabel"), "MAX_ROWS", 40)
    draws = noisy(TRUTH)
    found = relabel_allocations(renamed(draws))
    np.testing.assert_array_equal(found.labels, draws)


def test_a_single_cluster_has_one_name():
    found = relabel_allocations(np.zeros((5, 8), dtype=int))
    assert found.n_clusters == 1
    assert np.all(np.isposinf(found.quality.margins))


def test_repr_says_how_sure_it_is():
    shown = repr(relabel_allocations(renamed(noisy(TRUTH))))
    assert shown.startswith("RelabelledAllocations(3 clusters in 100.0% of the draws; labels are clear: 0.0% of draws")
