"""Squared distances of a block of rows from a component, and their log joint densities.

Blocks have the shape (features, rows of the block), so that every inner loop runs over contiguous rows of one feature.
The loops over features are tiled four by four, which is what keeps the arithmetic units busy instead of the load units.
Differences from the mean are taken again in every tile: that costs less than to write them down and to read them. Up to
four features, one sweep over the rows does a whole component. The kinds of covariance, and the layout of their
factors, are those of the pass (em.py).
"""

import numba
import numpy as np

__all__ = ["DIAGONAL", "FULL", "SPHERICAL", "TIED", "four", "log_joint", "whiten"]

FULL, DIAGONAL, SPHERICAL, TIED = 0, 1, 2, 3

# Infinities and NaN keep their meaning; only the order of sums is left to the compiler.
_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})


@_jit
def four(x, i):
    """Return features i to i + 3; beyond the last feature, the last one again, which meets zeros of the factor."""
    last = x.shape[0] - 1
    return x[min(i, last)], x[min(i + 1, last)], x[min(i + 2, last)], x[min(i + 3, last)]


@_jit
def _entry(f, j, i):
    """Return f[j, i], and zero beyond the last row or column: so the last tile may reach out of the matrix."""
    return f[j, i] if j < f.shape[0] and i < f.shape[0] else 0.0


@_jit
def _side_product(f, j, i, x, mean, y):
    """Multiply a tile of f left of the diagonal with four features of x - mean; add it to y, or write it if i is 0."""
    x0, x1, x2, x3 = four(x, i)
    m0, m1, m2, m3 = four(mean, i)
    y0, y1, y2, y3 = y[0], y[1], y[2], y[3]
    f00, f01, f02, f03 = f[j, i], f[j, i + 1], f[j, i + 2], f[j, i + 3]
    f10, f11, f12, f13 = _entry(f, j + 1, i), _entry(f, j + 1, i + 1), _entry(f, j + 1, i + 2), _entry(f, j + 1, i + 3)
    f20, f21, f22, f23 = _entry(f, j + 2, i), _entry(f, j + 2, i + 1), _entry(f, j + 2, i + 2), _entry(f, j + 2, i + 3)
    f30, f31, f32, f33 = _entry(f, j + 3, i), _entry(f, j + 3, i + 1), _entry(f, j + 3, i + 2), _entry(f, j + 3, i + 3)
    if i == 0:
        for b in range(x.shape[1]):
            c0, c1, c2, c3 = x0[b] - m0, x1[b] - m1, x2[b] - m2, x3[b] - m3
            y0[b] = f00 * c0 + f01 * c1 + f02 * c2 + f03 * c3
            y1[b] = f10 * c0 + f11 * c1 + f12 * c2 + f13 * c3
            y2[b] = f20 * c0 + f21 * c1 + f22 * c2 + f23 * c3
            y3[b] = f30 * c0 + f31 * c1 + f32 * c2 + f33 * c3
    else:
        for b in range(x.shape[1]):
            c0, c1, c2, c3 = x0[b] - m0, x1[b] - m1, x2[b] - m2, x3[b] - m3
            y0[b] += f00 * c0 + f01 * c1 + f02 * c2 + f03 * c3
            y1[b] += f10 * c0 + f11 * c1 + f12 * c2 + f13 * c3
            y2[b] += f20 * c0 + f21 * c1 + f22 * c2 + f23 * c3
            y3[b] += f30 * c0 + f31 * c1 + f32 * c2 + f33 * c3


@_jit
def _diagonal_product(f, j, x, mean, y):
    """Add the product of the tile of f on its diagonal to y."""
    x0, x1, x2, x3 = four(x, j)
    m0, m1, m2, m3 = four(mean, j)
    y0, y1, y2, y3 = y[0], y[1], y[2], y[3]
    f00, f10, f11 = f[j, j], _entry(f, j + 1, j), _entry(f, j + 1, j + 1)
    f20, f21, f22 = _entry(f, j + 2, j), _entry(f, j + 2, j + 1), _entry(f, j + 2, j + 2)
    f30, f31, f32 = _entry(f, j + 3, j), _entry(f, j + 3, j + 1), _entry(f, j + 3, j + 2)
    f33 = _entry(f, j + 3, j + 3)
    for b in range(x.shape[1]):
        c0, c1, c2, c3 = x0[b] - m0, x1[b] - m1, x2[b] - m2, x3[b] - m3
        y0[b] += f00 * c0
        y1[b] += f10 * c0 + f11 * c1
        y2[b] += f20 * c0 + f21 * c1 + f22 * c2
        y3[b] += f30 * c0 + f31 * c1 + f32 * c2 + f33 * c3


@_jit
def _diagonal_distance(f, j, x, mean, y, q):
    """Add to q the squared length of four features of f (x - mean), y being what is left of the diagonal tile."""
    x0, x1, x2, x3 = four(x, j)
    m0, m1, m2, m3 = four(mean, j)
    p0, p1, p2, p3 = y[0], y[1], y[2], y[3]
    f00, f10, f11 = f[j, j], _entry(f, j + 1, j), _entry(f, j + 1, j + 1)
    f20, f21, f22 = _entry(f, j + 2, j), _entry(f, j + 2, j + 1), _entry(f, j + 2, j + 2)
    f30, f31, f32 = _entry(f, j + 3, j), _entry(f, j + 3, j + 1), _entry(f, j + 3, j + 2)
    f33 = _entry(f, j + 3, j + 3)
    for b in range(q.shape[0]):
        c0, c1, c2, c3 = x0[b] - m0, x1[b] - m1, x2[b] - m2, x3[b] - m3
        y0, y1, y2 = p0[b] + f00 * c0, p1[b] + f10 * c0 + f11 * c1, p2[b] + f20 * c0 + f21 * c1 + f22 * c2
        y3 = p3[b] + f30 * c0 + f31 * c1 + f32 * c2 + f33 * c3
        q[b] += y0 * y0 + y1 * y1 + y2 * y2 + y3 * y3


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
def _fourfold_distance(f, x, mean, q):
    """Do what `_planar_distance` does for the first four rows of a triangle."""
    x0, x1, x2, x3, m0, m1, m2, m3 = x[0], x[1], x[2], x[3], mean[0], mean[1], mean[2], mean[3]
    f00, f10, f11, f20, f21, f22 = f[0, 0], f[1, 0], f[1, 1], f[2, 0], f[2, 1], f[2, 2]
    f30, f31, f32, f33 = f[3, 0], f[3, 1], f[3, 2], f[3, 3]
    for b in range(q.shape[0]):
        c0, c1, c2, c3 = x0[b] - m0, x1[b] - m1, x2[b] - m2, x3[b] - m3
        y0, y1, y2 = f00 * c0, f10 * c0 + f11 * c1, f20 * c0 + f21 * c1 + f22 * c2
        y3 = f30 * c0 + f31 * c1 + f32 * c2 + f33 * c3
        q[b] = y0 * y0 + y1 * y1 + y2 * y2 + y3 * y3


@_jit
def _triangular_distance(f, x, mean, y, q):
    """Write the squared length of f (x - mean) to q, f a lower triangle."""
    d = x.shape[0]
    if d == 1:
        _scaled_distance(f[0], x, mean, q)
    elif d == 2:
        _planar_distance(f, x, mean, q)
    elif d == 3:
        _spatial_distance(f, x, mean, q)
    else:
        _fourfold_distance(f, x, mean, q)
        for j in range(4, d, 4):
            for i in range(0, j, 4):
                _side_product(f, j, i, x, mean, y)
            _diagonal_distance(f, j, x, mean, y, q)


@_jit
def whiten(f, x, y, out):
    """Write f x to out, f a lower triangle."""
    d, origin = x.shape[0], np.zeros(x.shape[0])
    for j in range(0, d, 4):
        if j == 0:
            y[:] = 0.0
        for i in range(0, j, 4):
            _side_product(f, j, i, x, origin, y)
        _diagonal_product(f, j, x, origin, y)
        for i in range(j, min(j + 4, d)):
            out_i, y_i = out[i], y[i - j]
            for b in range(out_i.shape[0]):
                out_i[b] = y_i[b]


@_jit
def log_joint(kind, x, means, factors, log_constants, y, q, out):
    """Write log w_k + log N(x; k) to out (components, rows)."""
    unit = np.ones(1)
    for k in range(means.shape[0]):
        if kind == FULL:
            _triangular_distance(factors[k], x, means[k], y, q)
        elif kind == TIED:
            _scaled_distance(unit, x, means[k], q)
        else:
            _scaled_distance(factors[k, 0], x, means[k], q)
        constant, out_k = log_constants[k], out[k]
        for b in range(q.shape[0]):
            out_k[b] = constant - 0.5 * q[b]
