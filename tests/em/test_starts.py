"""Partitions to start from, the parameters they make, and moves between optima."""

import numpy as np
import pytest

from bayesgmm.em.moves import split_and_merge
from bayesgmm.em.starts import (
    fixed_labels,
    moments_of_labels,
    moments_of_responsibilities,
    pure_or_shrunk,
    random_labels,
    start_from,
)
from bayesgmm.errors import FitError
from bayesgmm.structure import STRUCTURES
from tests.examples import random_mixture, random_rows
from tests.tolerances import EXACT, assert_close


def groups(k=3, n=60, *, distance=30.0):
    """Return rows in groups that no recipe can miss, and their labels."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(k), n)
    return rng.normal(size=(k * n, 2)) + distance * np.c_[labels, labels % 2], labels


def agree(first, second):
    return len(set(zip(first.tolist(), second.tolist(), strict=True))) == len(set(second.tolist()))


@pytest.mark.parametrize("number", range(8))
def test_a_partition_has_a_group_for_every_row(number):
    rows, weights = random_rows(100, 3), np.random.default_rng(1).gamma(1.0, size=100)
    labels = random_labels(rows, 4, weights, number, np.random.default_rng(number))
    assert labels.shape == (100,)
    assert set(labels) <= set(range(4))
    again = random_labels(rows, 4, weights, number, np.random.default_rng(number))
    np.testing.assert_array_equal(labels, again)


@pytest.mark.parametrize("number", [0, 1, 4, 5])
def test_spread_seeds_find_groups_far_apart(number):
    rows, labels = groups()
    assert agree(random_labels(rows, 3, None, number, np.random.default_rng(0)), labels)


def test_hierarchies_find_groups_far_apart():
    rows, labels = groups()
    slices, *hierarchies = fixed_labels(rows, 3, None, np.random.default_rng(0))
    assert np.bincount(slices).tolist() == [60, 60, 60]
    for found in hierarchies:
        assert agree(found, labels)


def test_hierarchies_of_a_sample_place_every_row():
    rows, labels = groups(3, 800)
    for found in fixed_labels(rows, 3, None, np.random.default_rng(0))[1:]:
        assert agree(found, labels)


def test_slices_of_one_column_are_its_quantiles():
    rows = np.random.default_rng(0).exponential(size=(99, 1))
    (slices,) = fixed_labels(rows, 3, None, np.random.default_rng(0))
    order = np.argsort(rows[:, 0])
    sliced = slices[order]
    assert agree(sliced, np.repeat([0, 1, 2], 33))


@pytest.mark.parametrize("number", range(8))
def test_identical_rows_are_no_obstacle(number):
    rows = np.ones((20, 2))
    labels = random_labels(rows, 3, None, number, np.random.default_rng(0))
    assert labels.shape == (20,)
    assert fixed_labels(np.repeat(rows, 2, axis=0), 3, None, np.random.default_rng(0))[1].max() <= 2


def test_moments_of_labels_are_those_of_zeros_and_ones():
    rows, labels = groups()
    weights = np.random.default_rng(1).gamma(1.0, size=len(rows))
    by_label = moments_of_labels(rows, labels, 3, weights)
    by_responsibility = moments_of_responsibilities(rows, np.eye(3)[labels], weights)
    for name in ("counts", "means", "scatters"):
        assert_close(getattr(by_label, name), getattr(by_responsibility, name), EXACT)


@pytest.mark.parametrize("code", STRUCTURES)
def test_a_shrunk_start_is_regular_with_single_rows_and_empty_groups(code):
    rows = random_rows(30, 3)
    labels = np.r_[0, np.ones(29, int)]  # and no row in the third group
    parameters = start_from(moments_of_labels(rows, labels, 3, None), STRUCTURES[code], prior=None, shrunk=True)
    np.linalg.cholesky(parameters.covariances)
    assert np.all(parameters.weights > 0.0)


def test_a_partition_is_taken_as_it_is_where_that_works():
    rows, labels = groups()
    moments, structure = moments_of_labels(rows, labels, 3, None), STRUCTURES["VVV"]
    found = pure_or_shrunk(moments, structure, None)
    assert_close(found.covariances, moments.scatters / moments.counts[:, None, None], EXACT)
    with pytest.raises(FitError, match="linear combinations"):
        pure_or_shrunk(moments_of_labels(np.c_[rows, np.zeros(180)], labels, 3, None), structure, None)


def test_a_move_merges_two_components_and_splits_a_third():
    mixture, rows = random_mixture(4, 2), random_rows(300, 2)
    weights = np.random.default_rng(1).gamma(1.0, size=300)
    before = moments_of_responsibilities(rows, mixture.responsibilities(rows), weights)
    for moved in split_and_merge(rows, weights, mixture, 10, np.random.default_rng(0)):
        assert_close(moved.counts.sum(), before.counts.sum(), EXACT)
        assert_close(moved.counts @ moved.means, before.counts @ before.means, EXACT)
        kept = np.isclose(moved.counts[:, None], before.counts).any(axis=1)
        assert kept.sum() == 1  # of four: one is untouched, one absorbed another, two are halves
