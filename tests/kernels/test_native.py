"""C functions around compiled ones: the same numbers, whatever the data, and what raises is said."""

import numba
import numpy as np
import pytest

from bayesgmm.kernels.native import CFunction, c_density, c_expansion, copy_point, table_of

FLOAT = np.dtype(float)


@numba.njit
def bowl(point, centre, scale):
    """Return a log density with a scalar and a vector as data; it raises where a coordinate is above ten."""
    if point.max() > 10.0:
        raise ValueError("too far")
    offset = point - centre
    return np.asarray(-0.5 * scale[()] * (offset**2).sum()), -scale[()] * offset


@numba.njit
def doubled(point, matrix):
    return (np.concatenate((2.0 * point, matrix.ravel())),)


@pytest.fixture(scope="module")
def density():
    return c_density(bowl, [(FLOAT, 1), (FLOAT, 0)], lambda _: False)


def evaluate(density, points, data, centre=None, root=None):
    size = points.shape[1]
    centre = np.empty(0) if centre is None else centre
    root = np.empty((0, 0)) if root is None else root
    gradients, values = np.empty(points.shape), np.empty(len(points))
    status = density(points, gradients, values, table_of([centre, root, *data], len(points), size))
    return status, values, gradients


def test_it_computes_what_the_inner_function_does_whatever_the_data(density):
    rng = np.random.default_rng(0)
    for size in (1, 3):
        points, centre, scale = rng.normal(size=(4, size)), rng.normal(size=size), np.asarray(rng.gamma(2.0))
        status, values, gradients = evaluate(density, points, [centre, scale])
        assert status == 0
        np.testing.assert_allclose(values, -0.5 * scale * ((points - centre) ** 2).sum(axis=1), rtol=1e-13)
        np.testing.assert_allclose(gradients, -scale * (points - centre), rtol=1e-13)


def test_whitened_points_follow_the_chain_rule(density):
    rng = np.random.default_rng(1)
    points, data = rng.normal(size=(2, 3)), [rng.normal(size=3), np.asarray(0.7)]
    centre, matrix = rng.normal(size=3), rng.normal(size=(3, 3))
    _, values, gradients = evaluate(density, points, data, centre, np.ascontiguousarray(matrix.T))
    _, expected, slopes = evaluate(density, centre + points @ matrix.T, data)
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    np.testing.assert_allclose(gradients, slopes @ matrix, rtol=1e-12)


def test_what_raises_or_is_not_finite_is_said_in_nutpies_numbers(density):
    data = [np.zeros(2), np.asarray(1.0)]
    status, values, _ = evaluate(density, np.array([[0.0, 1.0], [11.0, 0.0]]), data)
    assert status == 1
    assert np.isfinite(values[0])
    assert np.isnan(values[1])
    assert evaluate(density, np.array([[0.0, -np.inf]]), data)[0] == 3
    gradients = np.empty((1, 2))
    wrong = table_of([np.empty(0), np.empty((0, 0)), *data], 1, 5)
    assert density(np.zeros((1, 2)), gradients, np.empty(1), wrong) == -1


def test_a_point_is_expanded_by_further_arrays():
    expansion = c_expansion(doubled, [(FLOAT, 2)], lambda _: False)
    points, matrix = np.array([[1.0], [3.0]]), np.arange(4.0).reshape(2, 2)
    out = np.empty((2, 5))
    assert expansion(points, out, out, table_of([matrix], 2, 5)) == 0
    np.testing.assert_array_equal(out, [[2.0, 0.0, 1.0, 2.0, 3.0], [6.0, 0.0, 1.0, 2.0, 3.0]])


def test_a_copy_is_one():
    point, out = np.arange(3.0), np.empty(3)
    copy_point.ctypes(3, 3, *(array.ctypes.data_as(copy_point.ctypes.argtypes[2]) for array in (point, out)), None)
    np.testing.assert_array_equal(out, point)
    assert CFunction(copy_point).address == copy_point.address
