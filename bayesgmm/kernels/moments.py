"""Sums over a block of rows, weighted by responsibilities: counts, first and second moments of every component.

They are taken around the current mean of the component, so that an offset of the data costs no digits. Loops are tiled
as those of distances.py.
"""

import numba
import numpy as np

from bayesgmm.kernels.distances import FULL, TIED, four

__all__ = ["add_moments"]

# Infinities and NaN keep their meaning; only the order of sums is left to the compiler.
_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})


@_jit
def _add_side_tile(x, r, mean, j, i, s2):
    """Add the second moments of features j to j + 3 with features i to i + 3, which come before them."""
    u0, u1, u2, u3 = four(x, j)
    n0, n1, n2, n3 = four(mean, j)
    x0, x1, x2, x3 = four(x, i)
    m0, m1, m2, m3 = four(mean, i)
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = 0.0
    s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = 0.0
    for b in range(r.shape[0]):
        r0, r1, r2, r3 = r[b] * (u0[b] - n0), r[b] * (u1[b] - n1), r[b] * (u2[b] - n2), r[b] * (u3[b] - n3)
        c0, c1, c2, c3 = x0[b] - m0, x1[b] - m1, x2[b] - m2, x3[b] - m3
        s00 += r0 * c0
        s01 += r0 * c1
        s02 += r0 * c2
        s03 += r0 * c3
        s10 += r1 * c0
        s11 += r1 * c1
        s12 += r1 * c2
        s13 += r1 * c3
        s20 += r2 * c0
        s21 += r2 * c1
        s22 += r2 * c2
        s23 += r2 * c3
        s30 += r3 * c0
        s31 += r3 * c1
        s32 += r3 * c2
        s33 += r3 * c3
    sums = ((s00, s01, s02, s03), (s10, s11, s12, s13), (s20, s21, s22, s23), (s30, s31, s32, s33))
    for a in range(min(4, x.shape[0] - j)):
        for e in range(4):
            s2[j + a, i + e] += sums[a][e]


@_jit
def _add_diagonal_tile(x, r, mean, i, s1, s2):
    """Add the first moments of features i to i + 3, and the second moments among them."""
    x0, x1, x2, x3 = four(x, i)
    m0, m1, m2, m3 = four(mean, i)
    a0 = a1 = a2 = a3 = a00 = a10 = a11 = a20 = a21 = a22 = a30 = a31 = a32 = a33 = 0.0
    for b in range(r.shape[0]):
        c0, c1, c2, c3 = x0[b] - m0, x1[b] - m1, x2[b] - m2, x3[b] - m3
        r0, r1, r2, r3 = r[b] * c0, r[b] * c1, r[b] * c2, r[b] * c3
        a0 += r0
        a1 += r1
        a2 += r2
        a3 += r3
        a00 += r0 * c0
        a10 += r1 * c0
        a11 += r1 * c1
        a20 += r2 * c0
        a21 += r2 * c1
        a22 += r2 * c2
        a30 += r3 * c0
        a31 += r3 * c1
        a32 += r3 * c2
        a33 += r3 * c3
    first = (a0, a1, a2, a3)
    second = ((a00, 0.0, 0.0, 0.0), (a10, a11, 0.0, 0.0), (a20, a21, a22, 0.0), (a30, a31, a32, a33))
    for a in range(min(4, x.shape[0] - i)):
        s1[i + a] += first[a]
        for e in range(a + 1):
            s2[i + a, i + e] += second[a][e]


@_jit
def _add_planar_moments(x, r, mean, s1, s2):
    """Add the first and second moments of a component in two dimensions: one sweep, nothing kept between."""
    x0, x1, m0, m1 = x[0], x[1], mean[0], mean[1]
    a0 = a1 = a00 = a10 = a11 = 0.0
    for b in range(r.shape[0]):
        c0, c1 = x0[b] - m0, x1[b] - m1
        r0, r1 = r[b] * c0, r[b] * c1
        a0 += r0
        a1 += r1
        a00 += r0 * c0
        a10 += r1 * c0
        a11 += r1 * c1
    s1[0] += a0
    s1[1] += a1
    s2[0, 0] += a00
    s2[1, 0] += a10
    s2[1, 1] += a11


@_jit
def _add_spatial_moments(x, r, mean, s1, s2):
    """Do what `_add_planar_moments` does in three dimensions."""
    x0, x1, x2, m0, m1, m2 = x[0], x[1], x[2], mean[0], mean[1], mean[2]
    a0 = a1 = a2 = a00 = a10 = a11 = a20 = a21 = a22 = 0.0
    for b in range(r.shape[0]):
        c0, c1, c2 = x0[b] - m0, x1[b] - m1, x2[b] - m2
        r0, r1, r2 = r[b] * c0, r[b] * c1, r[b] * c2
        a0 += r0
        a1 += r1
        a2 += r2
        a00 += r0 * c0
        a10 += r1 * c0
        a11 += r1 * c1
        a20 += r2 * c0
        a21 += r2 * c1
        a22 += r2 * c2
    s1[0] += a0
    s1[1] += a1
    s1[2] += a2
    s2[0, 0] += a00
    s2[1, 0] += a10
    s2[1, 1] += a11
    s2[2, 0] += a20
    s2[2, 1] += a21
    s2[2, 2] += a22


@_jit
def _add_diagonal_moments(x, r, mean, s1, s2):
    """Add the first moments and the squares of a component; all squares to one number where s2 has length one."""
    d, last = x.shape[0], s2.shape[0] - 1
    tiled = d - d % 4
    for i in range(0, tiled, 4):
        x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
        m0, m1, m2, m3 = mean[i], mean[i + 1], mean[i + 2], mean[i + 3]
        a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = 0.0
        for b in range(x.shape[1]):
            c0, c1, c2, c3 = x0[b] - m0, x1[b] - m1, x2[b] - m2, x3[b] - m3
            a0 += r[b] * c0
            a1 += r[b] * c1
            a2 += r[b] * c2
            a3 += r[b] * c3
            b0 += r[b] * c0 * c0
            b1 += r[b] * c1 * c1
            b2 += r[b] * c2 * c2
            b3 += r[b] * c3 * c3
        sums, squares = (a0, a1, a2, a3), (b0, b1, b2, b3)
        for e in range(4):
            s1[i + e] += sums[e]
            s2[min(i + e, last)] += squares[e]
    for i in range(tiled, d):
        x0, m0, a0, b0 = x[i], mean[i], 0.0, 0.0
        for b in range(x.shape[1]):
            c0 = x0[b] - m0
            a0 += r[b] * c0
            b0 += r[b] * c0 * c0
        s1[i] += a0
        s2[min(i, last)] += b0


@_jit
def _add_full_moments(x, r, mean, s1, s2):
    """Add the first moments and the lower triangle of the second moments of a component."""
    d = x.shape[0]
    if d == 1:
        _add_diagonal_moments(x, r, mean, s1, s2[0])
    elif d == 2:
        _add_planar_moments(x, r, mean, s1, s2)
    elif d == 3:
        _add_spatial_moments(x, r, mean, s1, s2)
    else:
        for j in range(0, d, 4):
            _add_diagonal_tile(x, r, mean, j, s1, s2)
            for i in range(0, j, 4):
                _add_side_tile(x, r, mean, j, i, s2)


@_jit
def add_moments(kind, x, r, means, s0, s1, s2):
    """Add the statistics of a block to the running sums, component by component."""
    unused = np.zeros(1)
    for k in range(means.shape[0]):
        r_k, count = r[k], 0.0
        for b in range(r_k.shape[0]):
            count += r_k[b]
        if count == 0.0:
            continue
        s0[k] += count
        if kind == FULL:
            _add_full_moments(x, r_k, means[k], s1[k], s2[k])
        else:
            _add_diagonal_moments(x, r_k, means[k], s1[k], unused if kind == TIED else s2[k, 0])
