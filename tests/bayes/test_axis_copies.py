"""Copies of covariances by their axes: the group by enumeration, its regions, and the way into one of them."""

import itertools

import numpy as np
import pytest
from scipy.linalg import helmert
from scipy.stats import special_ortho_group

from bayesgmm.bayes.axis_copies import axis_changes, axis_copies, in_axis_region
from tests.tolerances import EXACT, assert_close

CASES = [(1, 2), (2, 2), (3, 2), (1, 3), (2, 3), (1, 4)]
K = 3


def elements(n_rotations, d):
    """Return every change: matrices (copies, D, D) for the axes, and the one order that they have in common."""
    found = []
    for order in itertools.permutations(range(d)):
        permutation = np.eye(d)[:, order]
        each = [
            permutation * signs
            for signs in itertools.product([-1.0, 1.0], repeat=d)
            if np.linalg.det(permutation * signs) > 0
        ]
        found += [(np.stack(chosen), list(order)) for chosen in itertools.product(each, repeat=n_rotations)]
    return found


def random_values(n, n_rotations, d, seed):
    """Return covariances with axes of their own or in common, and the scores of one shape for all of them."""
    rng = np.random.default_rng(seed)
    axes = special_ortho_group.rvs(d, size=n * n_rotations, random_state=rng).reshape(n, n_rotations, d, d)
    scores = rng.normal(size=(n, 1, d - 1))
    variances = np.exp(scores @ helmert(d) + rng.normal(size=(n, K if n_rotations == 1 else n_rotations, 1)))
    return {
        "axes": axes,
        "shape_scores": scores,
        "covariances": (axes * variances[:, :, None]) @ np.swapaxes(axes, -1, -2),
    }


def single(values, s=0):
    return {name: value[[s]] for name, value in values.items()}


@pytest.mark.parametrize(("n_rotations", "d"), CASES)
def test_every_point_has_exactly_one_copy_in_a_region(n_rotations, d):
    reference = random_values(1, n_rotations, d, seed=0)
    values = random_values(30, n_rotations, d, seed=1)
    group = elements(n_rotations, d)
    assert len(group) == axis_copies(n_rotations, d)
    times = sum(
        in_axis_region(reference, {**values, "axes": values["axes"] @ matrices}).astype(int) for matrices, _ in group
    )
    np.testing.assert_array_equal(times, 1)


@pytest.mark.parametrize(("n_rotations", "d"), CASES)
def test_shapes_of_their_own_share_the_order(n_rotations, d):
    rng = np.random.default_rng(2)
    values = random_values(20, n_rotations, d, seed=3)
    variances = np.exp(rng.normal(size=(20, K if n_rotations == 1 else n_rotations, d)))
    values["covariances"] = (values["axes"] * variances[:, :, None]) @ np.swapaxes(values["axes"], -1, -2)
    reference = single(values, 4)
    assert in_axis_region(reference, reference)
    times = sum(
        in_axis_region(reference, {**values, "axes": values["axes"] @ matrices}).astype(int)
        for matrices, _ in elements(n_rotations, d)
    )
    np.testing.assert_array_equal(times, 1)


@pytest.mark.parametrize(("n_rotations", "d"), CASES)
def test_changes_are_of_the_group_and_make_all_of_it(n_rotations, d):
    values = {name: value[0] for name, value in random_values(1, n_rotations, d, seed=6).items()}
    group = [matrices for matrices, _ in elements(n_rotations, d)]
    generators = []
    for change in axis_changes(values):
        matrices = np.swapaxes(values["axes"], -1, -2) @ change["axes"]
        assert min(np.abs(matrices - one).max() for one in group) < EXACT
        shapes = change.get("shape_scores", values["shape_scores"]) @ helmert(d)
        assert_close(shapes, (values["shape_scores"] @ helmert(d)) @ np.abs(matrices[0]), EXACT)
        generators.append(np.rint(matrices))
    reached, todo = {np.tile(np.eye(d), (n_rotations, 1, 1)).tobytes()}, [np.tile(np.eye(d), (n_rotations, 1, 1))]
    while todo:
        one = todo.pop()
        for generator in generators:
            following = one @ generator + 0.0
            if following.tobytes() not in reached:
                reached.add(following.tobytes())
                todo.append(following)
    assert len(reached) == len(group)
