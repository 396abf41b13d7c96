"""Common axes: exact where there are any, and the best in the plane by trying all angles."""

import numpy as np
import pytest
from scipy.stats import special_ortho_group

from bayesgmm.kernels.orientation import rotate_to_common_axes
from tests.tolerances import ALGEBRA, assert_close


def criterion(diagonals, counts, has_equal_volume):
    logs = np.log(diagonals).sum(axis=1)
    return np.exp(logs / diagonals.shape[1]).sum() if has_equal_volume else counts @ logs


def rotated(scatters, axes):
    return np.ascontiguousarray(axes.T @ scatters @ axes)


@pytest.mark.parametrize("has_equal_volume", [True, False])
def test_matrices_with_common_axes_become_diagonal(has_equal_volume):
    rng = np.random.default_rng(0)
    axes = special_ortho_group(6, seed=rng).rvs()
    scatters = (axes * rng.gamma(1.0, size=(4, 1, 6))) @ axes.T
    found, matrices = np.eye(6), scatters.copy()
    rotate_to_common_axes(matrices, np.arange(1.0, 5.0), found, has_equal_volume, 100, 1e-12)
    assert_close(matrices, matrices * np.eye(6), ALGEBRA)
    assert_close(rotated(scatters, found), matrices, ALGEBRA)
    assert_close(found.T @ found, np.eye(6), ALGEBRA)


@pytest.mark.parametrize("has_equal_volume", [True, False])
def test_one_rotation_finds_the_common_axes_of_a_plane(has_equal_volume):
    axes = special_ortho_group(2, seed=4).rvs()
    matrices = (axes * np.array([[[1.0, 5.0]], [[2.0, 0.3]]])) @ axes.T
    rotate_to_common_axes(matrices, np.ones(2), np.eye(2), has_equal_volume, 1, 0.0)
    assert_close(matrices, matrices * np.eye(2), ALGEBRA)


@pytest.mark.parametrize("has_equal_volume", [True, False])
def test_no_angle_is_better_in_the_plane(has_equal_volume):
    rng = np.random.default_rng(3)
    roots = rng.normal(size=(3, 2, 2))
    scatters, counts = roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(2), np.array([5.0, 20.0, 9.0])
    angles = np.linspace(0.0, np.pi / 2, 20_001)
    turns = np.stack([np.cos(angles), -np.sin(angles), np.sin(angles), np.cos(angles)], axis=-1).reshape(-1, 2, 2)
    diagonals = np.einsum("aij,kil,alj->akj", turns, scatters, turns)
    best = min(criterion(one, counts, has_equal_volume) for one in diagonals)
    found = np.eye(2)
    value = rotate_to_common_axes(rotated(scatters, found), counts, found, has_equal_volume, 500, 1e-12)
    assert value <= best + 1e-12 * abs(best)
    assert_close(value, best, 1e-6)  # the grid's width, squared


@pytest.mark.parametrize("has_equal_volume", [True, False])
def test_every_sweep_decreases_the_criterion(has_equal_volume):
    rng = np.random.default_rng(1)
    roots = rng.normal(size=(5, 7, 7))
    scatters, counts = roots @ roots.transpose(0, 2, 1), rng.gamma(2.0, size=5)
    axes, matrices = np.eye(7), scatters.copy()
    values = [criterion(np.diagonal(scatters, axis1=1, axis2=2), counts, has_equal_volume)]
    values += [rotate_to_common_axes(matrices, counts, axes, has_equal_volume, 1, 0.0) for _ in range(30)]
    assert np.all(np.diff(values) <= 1e-12 * np.abs(values[0]))
    assert_close(values[-1], criterion(np.diagonal(matrices, axis1=1, axis2=2), counts, has_equal_volume), ALGEBRA)
