"""Squared distances of a block of rows from a component, and their log joint densities.

Blocks have the shape (features, rows of the block), so that every inner loop runs over contiguous rows of one feature.
The loops over features are tiled four by four, which is what keeps the arithmetic units busy instead of the load units;
up to three features, one sweep over the rows does a whole component. The kinds of covariance, and the layout of their
factors, are those of the pass (em.py).
"""

import numba
import numpy as np

__all__ = ["DIAGONAL", "FULL", "SPHERICAL", "TIED", "log_joint", "whiten"]

FULL, DIAGONAL, SPHERICAL, TIED = 0, 1, 2, 3

# Infinities and NaN keep their meaning; only the order of sums is left to the compiler.
_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})


@_jit
def _centre(x, mean, out):
    for i in range(x.shape[0]):
        x_i, out_i, mean_i = x[i], out[i], mean[i]
        for b in range(x_i.shape[0]):
            out_i[b] = x_i[b] - mean_i


@_jit
def _multiply_tile(f, j, i, c, y):
    """Add four rows of f times four rows of c to y."""
    c0, c1, c2, c3 = c[i], c[i + 1], c[i + 2], c[i + 3]
    y0, y1, y2, y3 = y[0], y[1], y[2], y[3]
    f00, f01, f02, f03 = f[j, i], f[j, i + 1], f[j, i + 2], f[j, i + 3]
    f10, f11, f12, f13 = f[j + 1, i], f[j + 1, i + 1], f[j + 1, i + 2], f[j + 1, i + 3]
    f20, f21, f22, f23 = f[j + 2, i], f[j + 2, i + 1], f[j + 2, i + 2], f[j + 2, i + 3]
    f30, f31, f32, f33 = f[j + 3, i], f[j + 3, i + 1], f[j + 3, i + 2], f[j + 3, i + 3]
    for b in range(c.shape[1]):
        y0[b] += f00 * c0[b] + f01 * c1[b] + f02 * c2[b] + f03 * c3[b]
        y1[b] += f10 * c0[b] + f11 * c1[b] + f12 * c2[b] + f13 * c3[b]
        y2[b] += f20 * c0[b] + f21 * c1[b] + f22 * c2[b] + f23 * c3[b]
        y3[b] += f30 * c0[b] + f31 * c1[b] + f32 * c2[b] + f33 * c3[b]


@_jit
def _multiply_rows(f, j, c, y):
    """Write rows j to j + 3 of the lower triangle f times c to y."""
    c0, c1, c2, c3 = c[j], c[j + 1], c[j + 2], c[j + 3]
    y0, y1, y2, y3 = y[0], y[1], y[2], y[3]
    f00, f10, f11 = f[j, j], f[j + 1, j], f[j + 1, j + 1]
    f20, f21, f22 = f[j + 2, j], f[j + 2, j + 1], f[j + 2, j + 2]
    f30, f31, f32, f33 = f[j + 3, j], f[j + 3, j + 1], f[j + 3, j + 2], f[j + 3, j + 3]
    for b in range(c.shape[1]):
        y0[b] = f00 * c0[b]
        y1[b] = f10 * c0[b] + f11 * c1[b]
        y2[b] = f20 * c0[b] + f21 * c1[b] + f22 * c2[b]
        y3[b] = f30 * c0[b] + f31 * c1[b] + f32 * c2[b] + f33 * c3[b]
    for i in range(0, j, 4):
        _multiply_tile(f, j, i, c, y)


@_jit
def _multiply_row(f, j, c, y0):
    """Write row j of the lower triangle f times c to y0."""
    c_j, f_jj = c[j], f[j, j]
    for b in range(c.shape[1]):
        y0[b] = f_jj * c_j[b]
    i = 0
    while i + 4 <= j:
        c0, c1, c2, c3 = c[i], c[i + 1], c[i + 2], c[i + 3]
        f0, f1, f2, f3 = f[j, i], f[j, i + 1], f[j, i + 2], f[j, i + 3]
        for b in range(c.shape[1]):
            y0[b] += f0 * c0[b] + f1 * c1[b] + f2 * c2[b] + f3 * c3[b]
        i += 4
    while i < j:
        c0, f0 = c[i], f[j, i]
        for b in range(c.shape[1]):
            y0[b] += f0 * c0[b]
        i += 1


@_jit
def _triangular_distance(f, c, y, q):
    """Write the squared length of f c to q, f a lower triangle."""
    d, size = c.shape
    q[:] = 0.0
    y0, y1, y2, y3 = y[0], y[1], y[2], y[3]
    tiled = d - d % 4
    for j in range(0, tiled, 4):
        _multiply_rows(f, j, c, y)
        for b in range(size):
            q[b] += y0[b] * y0[b] + y1[b] * y1[b] + y2[b] * y2[b] + y3[b] * y3[b]
    for j in range(tiled, d):
        _multiply_row(f, j, c, y0)
        for b in range(size):
            q[b] += y0[b] * y0[b]


@_jit
def _planar_distance(f, x, mean, q):
    """Write the squared length of f (x - mean) to q, f a triangle of order two: one sweep, nothing kept between."""
    x0, x1, m0, m1 = x[0], x[1], mean[0], mean[1]
    f00, f10, f11 = f[0, 0], f[1, 0], f[1, 1]
    for b in range(q.shape[0]):
        c0, c1 = x0[b] - m0, x1[b] - m1
        y0, y1 = f00 * c0, f10 * c0 + f11 * c1
        q[b] = y0 * y0 + y1 * y1


@_jit
def _spatial_distance(f, x, mean, q):
    """Do what `_planar_distance` does for a triangle of order three."""
    x0, x1, x2, m0, m1, m2 = x[0], x[1], x[2], mean[0], mean[1], mean[2]
    f00, f10, f11, f20, f21, f22 = f[0, 0], f[1, 0], f[1, 1], f[2, 0], f[2, 1], f[2, 2]
    for b in range(q.shape[0]):
        c0, c1, c2 = x0[b] - m0, x1[b] - m1, x2[b] - m2
        y0, y1, y2 = f00 * c0, f10 * c0 + f11 * c1, f20 * c0 + f21 * c1 + f22 * c2
        q[b] = y0 * y0 + y1 * y1 + y2 * y2


@_jit
def _small_distance(f, x, mean, q):
    """Write the squared length of f (x - mean) to q, f a triangle of order three at most."""
    if x.shape[0] == 1:
        _scaled_distance(f[0], x, mean, q)
    elif x.shape[0] == 2:
        _planar_distance(f, x, mean, q)
    else:
        _spatial_distance(f, x, mean, q)


@_jit
def _scaled_distance(f, x, mean, q):
    """Write the squared length of f (x - mean) to q, f diagonal, or a scalar where it has length one."""
    d, last = x.shape[0], f.shape[0] - 1
    tiled = d - d % 4
    for b in range(q.shape[0]):
        q[b] = 0.0
    for i in range(0, tiled, 4):
        x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
        m0, m1, m2, m3 = mean[i], mean[i + 1], mean[i + 2], mean[i + 3]
        f0, f1, f2, f3 = f[min(i, last)], f[min(i + 1, last)], f[min(i + 2, last)], f[min(i + 3, last)]
        for b in range(x.shape[1]):
            y0, y1, y2, y3 = f0 * (x0[b] - m0), f1 * (x1[b] - m1), f2 * (x2[b] - m2), f3 * (x3[b] - m3)
            q[b] += y0 * y0 + y1 * y1 + y2 * y2 + y3 * y3
    for i in range(tiled, d):
        x0, m0, f0 = x[i], mean[i], f[min(i, last)]
        for b in range(x.shape[1]):
            y0 = f0 * (x0[b] - m0)
            q[b] += y0 * y0


@_jit
def whiten(f, x, y, out):
    """Write f x to out, f a lower triangle."""
    d = x.shape[0]
    tiled = d - d % 4
    for j in range(0, tiled, 4):
        _multiply_rows(f, j, x, out[j : j + 4])
    for j in range(tiled, d):
        _multiply_row(f, j, x, out[j])


@_jit
def log_joint(kind, x, means, factors, log_constants, c, y, q, out):
    """Write log w_k + log N(x; k) to out (components, rows)."""
    unit = np.ones(1)
    for k in range(means.shape[0]):
        if kind == FULL and x.shape[0] < 4:
            _small_distance(factors[k], x, means[k], q)
        elif kind == FULL:
            _centre(x, means[k], c)
            _triangular_distance(factors[k], c, y, q)
        elif kind == TIED:
            _scaled_distance(unit, x, means[k], q)
        else:
            _scaled_distance(factors[k, 0], x, means[k], q)
        constant, out_k = log_constants[k], out[k]
        for b in range(q.shape[0]):
            out_k[b] = constant - 0.5 * q[b]
