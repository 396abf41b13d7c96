"""The pass over the data: log-likelihood and sufficient statistics at one go, for EM and for the gradient.

Rows come packed in blocks of shape (features, rows of the block), so that every inner loop runs over contiguous rows of
one feature and is vectorised; a block and its scratch stay in the core's cache. Distances and statistics are taken
around the current mean of the component, so that an offset of the data costs no digits. The loops over features are
tiled four by four, which is what keeps the arithmetic units busy instead of the load units; up to three features, one
sweep over the rows does a whole component.

Responsibilities below exp(-650) are set to zero: their products would be denormal numbers, which cost a factor of ten
(measured at 64 features). The exponential and the logarithm are written out as polynomials, because a call into the
mathematical library is what stops a compiler from vectorising a loop; both are exact to 2 units in the last place.

Layout of the parameters and of the statistics, by kind of covariance:

========== ================ =========================== ================================
kind       factors          distance                    second moments
========== ================ =========================== ================================
FULL       (K, D, D)        whitened by a triangle      (K, D, D), the lower triangle
DIAGONAL   (K, 1, D)        scaled feature by feature   (K, 1, D)
SPHERICAL  (K, 1, 1)        scaled as a whole           (K, 1, 1), the sum over features
TIED       (1, D, D)        block whitened once         none; statistics are whitened
========== ================ =========================== ================================
"""

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

__all__ = [
    "DIAGONAL",
    "FULL",
    "SPHERICAL",
    "TIED",
    "VERSION",
    "density_pass",
    "em_pass",
    "log_likelihood_and_gradient",
    "log_likelihood_by_precisions",
]

FULL, DIAGONAL, SPHERICAL, TIED = 0, 1, 2, 3

#: To be increased with every change of a function that a compiled PyTensor graph may have inlined.
VERSION = 3

# Infinities and NaN keep their meaning; only the order of sums is left to the compiler.
_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})
# The halving of the range below loses digits when its sums are put in another order.
_jit_in_order = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})

_LOWEST = -650.0
_LOWEST_LOG = -5e299
_LOG2_E = 1.4426950408889634
_LN2_HIGH = 6.93147180369123816490e-01  # Cody & Waite: the product with a small integer is exact
_LN2_LOW = 1.90821492927058770002e-10
_SQRT2 = 1.4142135623730951


@intrinsic
def _float_of_bits(_, bits):
    """Read 64 bits as a double."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(signature.return_type))

    return types.float64(types.int64), codegen


@intrinsic
def _bits_of_float(_, number):
    """Read a double as 64 bits."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(signature.return_type))

    return types.int64(types.float64), codegen


@_jit_in_order
def _exp(x):
    """Return exp(x) for -650 <= x <= 0, by halving the range to |r| <= log(2)/2 and the Taylor series of degree 12."""
    n = np.floor(x * _LOG2_E + 0.5)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    return p * _float_of_bits((np.int64(np.int32(n)) + 1023) << 52)


@_jit_in_order
def _log(x):
    """Return log(x) for a normal x >= 1, as 2 atanh((m - 1) / (m + 1)) of the mantissa m."""
    bits = _bits_of_float(x)
    exponent = np.float64(np.int32((bits >> 52) - 1023))
    m = _float_of_bits((bits & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000)
    is_large = m > _SQRT2
    m = 0.5 * m if is_large else m
    exponent = exponent + 1.0 if is_large else exponent
    s = (m - 1.0) / (m + 1.0)
    t = s * s
    p = 1.0 / 21.0
    p = p * t + 1.0 / 19.0
    p = p * t + 1.0 / 17.0
    p = p * t + 1.0 / 15.0
    p = p * t + 1.0 / 13.0
    p = p * t + 1.0 / 11.0
    p = p * t + 1.0 / 9.0
    p = p * t + 1.0 / 7.0
    p = p * t + 1.0 / 5.0
    p = p * t + 1.0 / 3.0
    p = p * t + 1.0
    return exponent * _LN2_HIGH + (2.0 * s * p + exponent * _LN2_LOW)


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
def _whiten(f, x, y, out):
    """Write f x to out, f a lower triangle."""
    d = x.shape[0]
    tiled = d - d % 4
    for j in range(0, tiled, 4):
        _multiply_rows(f, j, x, out[j : j + 4])
    for j in range(tiled, d):
        _multiply_row(f, j, x, out[j])


@_jit
def _log_joint(kind, x, means, factors, log_constants, c, y, q, out):
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


@_jit
def _begin(row, top, total):
    # A slice that is assigned to is not vectorised.
    for b in range(top.shape[0]):
        top[b] = row[b]
        total[b] = 0.0


@_jit
def _raise_to(row, top):
    for b in range(top.shape[0]):
        top[b] = row[b] if row[b] > top[b] else top[b]


@_jit
def _exponentiate(row, top, total):
    """Turn log joint densities into shares of the largest one, and add them to the total."""
    for b in range(top.shape[0]):
        gap = row[b] - top[b]
        value = _exp(gap if gap > _LOWEST else _LOWEST)
        value = value if gap > _LOWEST else 0.0
        row[b] = value
        total[b] += value


@_jit
def _conclude(weights, top, total):
    """Turn top into log densities and total into what shares are multiplied by; return the log-likelihood."""
    log_likelihood = 0.0
    for b in range(top.shape[0]):
        log_density = top[b] + _log(total[b])
        top[b] = log_density
        log_likelihood += weights[b] * log_density
        total[b] = weights[b] / total[b]
    return log_likelihood


@_jit
def _multiply(row, factors):
    for b in range(factors.shape[0]):
        row[b] *= factors[b]


@_jit
def _normalise(log_joint, weights, top, total):
    """Turn log joint densities into weighted responsibilities in place; return the weighted log-likelihood.

    `top` is left with the log densities of the rows.
    """
    _begin(log_joint[0], top, total)
    for k in range(1, log_joint.shape[0]):
        _raise_to(log_joint[k], top)
    for k in range(log_joint.shape[0]):
        _exponentiate(log_joint[k], top, total)
    log_likelihood = _conclude(weights, top, total)
    for k in range(log_joint.shape[0]):
        _multiply(log_joint[k], total)
    return log_likelihood


@_jit
def _second_moment_tile(rc, c, j, i, out):
    """Add the sums over rows of rc[j:j+4] c[i:i+4]' to out."""
    c0, c1, c2, c3 = c[i], c[i + 1], c[i + 2], c[i + 3]
    r0, r1, r2, r3 = rc[j], rc[j + 1], rc[j + 2], rc[j + 3]
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = 0.0
    s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = 0.0
    for b in range(c.shape[1]):
        s00 += r0[b] * c0[b]
        s01 += r0[b] * c1[b]
        s02 += r0[b] * c2[b]
        s03 += r0[b] * c3[b]
        s10 += r1[b] * c0[b]
        s11 += r1[b] * c1[b]
        s12 += r1[b] * c2[b]
        s13 += r1[b] * c3[b]
        s20 += r2[b] * c0[b]
        s21 += r2[b] * c1[b]
        s22 += r2[b] * c2[b]
        s23 += r2[b] * c3[b]
        s30 += r3[b] * c0[b]
        s31 += r3[b] * c1[b]
        s32 += r3[b] * c2[b]
        s33 += r3[b] * c3[b]
    sums = ((s00, s01, s02, s03), (s10, s11, s12, s13), (s20, s21, s22, s23), (s30, s31, s32, s33))
    for a in range(4):
        for e in range(4):
            out[j + a, i + e] += sums[a][e]


@_jit
def _second_moment_row(rc_j, c, j, out):
    """Add the sums over rows of rc_j c[:j+1]' to row j of out."""
    i = 0
    while i + 4 <= j + 1:
        c0, c1, c2, c3 = c[i], c[i + 1], c[i + 2], c[i + 3]
        s0 = s1 = s2 = s3 = 0.0
        for b in range(c.shape[1]):
            s0 += rc_j[b] * c0[b]
            s1 += rc_j[b] * c1[b]
            s2 += rc_j[b] * c2[b]
            s3 += rc_j[b] * c3[b]
        out[j, i] += s0
        out[j, i + 1] += s1
        out[j, i + 2] += s2
        out[j, i + 3] += s3
        i += 4
    while i <= j:
        c0, s0 = c[i], 0.0
        for b in range(c.shape[1]):
            s0 += rc_j[b] * c0[b]
        out[j, i] += s0
        i += 1


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
def _add_small_moments(x, r, mean, s1, s2):
    """Do what `_add_full_moments` does in three dimensions at most."""
    if x.shape[0] == 1:
        _add_diagonal_moments(x, r, mean, s1, s2[0])
    elif x.shape[0] == 2:
        _add_planar_moments(x, r, mean, s1, s2)
    else:
        _add_spatial_moments(x, r, mean, s1, s2)


@_jit
def _add_full_moments(x, r, mean, c, rc, s1, s2):
    """Add the first moments and the lower triangle of the second moments of a component."""
    d = x.shape[0]
    for i in range(d):
        x_i, c_i, rc_i, mean_i, s = x[i], c[i], rc[i], mean[i], 0.0
        for b in range(x.shape[1]):
            centred = x_i[b] - mean_i
            c_i[b] = centred
            rc_i[b] = r[b] * centred
            s += r[b] * centred
        s1[i] += s
    tiled = d - d % 4
    for j in range(0, tiled, 4):
        for i in range(0, j + 4, 4):
            _second_moment_tile(rc, c, j, i, s2)
    for j in range(tiled, d):
        _second_moment_row(rc[j], c, j, s2)


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
def _add_moments(kind, x, r, means, c, rc, s0, s1, s2):
    """Add the statistics of a block to the running sums, component by component."""
    unused = np.zeros(1)
    for k in range(means.shape[0]):
        r_k, count = r[k], 0.0
        for b in range(r_k.shape[0]):
            count += r_k[b]
        if count == 0.0:
            continue
        s0[k] += count
        if kind == FULL and x.shape[0] < 4:
            _add_small_moments(x, r_k, means[k], s1[k], s2[k])
        elif kind == FULL:
            _add_full_moments(x, r_k, means[k], c, rc, s1[k], s2[k])
        else:
            _add_diagonal_moments(x, r_k, means[k], s1[k], unused if kind == TIED else s2[k, 0])


@_jit
def em_pass(kind, blocks, weights, first, last, means, factors, log_constants, log_likelihoods, s0, s1, s2):
    """Add the log-likelihood and the statistics of blocks `first` to `last` - 1 to row 0 of the outputs.

    Parameters
    ----------
    kind : int
        FULL, DIAGONAL, SPHERICAL or TIED.
    blocks : ndarray of float64, shape (blocks, D, B)
        The rows, packed.
    weights : ndarray of float64, shape (blocks, B) or (2, B)
        Weights of the rows, zero for padding. Two rows stand for "every block but the last" and "the last block".
    first, last : int
        The blocks of this call.
    means : ndarray of float64, shape (K, D)
        Current means; for TIED in whitened coordinates.
    factors : ndarray of float64
        Inverses of the Cholesky factors of the covariances, in the layout of the kind.
    log_constants : ndarray of float64, shape (K,)
        What is added to half the squared distance: log weight plus the log of the normalising constant.
    log_likelihoods, s0, s1, s2 : ndarray of float64, shapes (1,), (K,), (K, D) and the layout of the kind
        The sums, added to in place. s1 and s2 are around `means`; for TIED s1 is in whitened coordinates.
    """
    d, size = blocks.shape[1:]
    k = means.shape[0]
    c, rc, white = np.empty((d, size)), np.empty((d, size)), np.empty((d, size))
    y, q, top, total = np.empty((4, size)), np.empty(size), np.empty(size), np.empty(size)
    r = np.empty((k, size))
    for block in range(first, last):
        x = blocks[block]
        if kind == TIED:
            _whiten(factors[0], x, y, white)
            x = white
        w = weights[max(0, block - blocks.shape[0] + weights.shape[0])]
        _log_joint(kind, x, means, factors, log_constants, c, y, q, r)
        log_likelihoods[0] += _normalise(r, w, top, total)
        _add_moments(kind, x, r, means, c, rc, s0, s1, s2)


# ---------------------------------------------------------------- the marginal likelihood and its gradient

_ROWS = 256
_BLOCKS = 16
_HALF_LOG_2PI = 0.9189385332046727


@_jit
def _load(rows, row_weights, start, blocks, weights):
    """Fill blocks with rows, features in reverse order; rows of weight zero, and padding, become zeros."""
    n, d = rows.shape
    size = blocks.shape[2]
    for block in range(blocks.shape[0]):
        first = start + block * size
        count = max(0, min(size, n - first))
        has_zeros = count < size
        w = weights[block]
        for b in range(count):
            w[b] = row_weights[first + b]
            has_zeros |= w[b] == 0.0
        for b in range(count, size):
            w[b] = 0.0
        if d == 2:
            _unzip(rows[first : first + count], blocks[block])
        else:
            for i in range(d):
                x = blocks[block, i]
                for b in range(count):
                    x[b] = rows[first + b, d - 1 - i]
        if has_zeros:
            for b in range(size):
                if w[b] == 0.0:
                    for i in range(d):
                        blocks[block, i, b] = 0.0


@_jit
def _unzip(rows, x):
    """Fill a block with rows of two features in reverse order; a stride that the compiler knows is twice as fast."""
    flat, x0, x1 = rows.ravel(), x[0], x[1]
    for b in range(rows.shape[0]):
        x0[b] = flat[2 * b + 1]
        x1[b] = flat[2 * b]


@_jit
def _reverse(log_weights, means, chols, reversed_means, factors, constants):
    """Fill the kernel's inputs: L' with rows and columns reversed is the lower triangle that it wants."""
    k, d = means.shape
    for c in range(k):
        constants[c] = log_weights[c] - d * _HALF_LOG_2PI
        for i in range(d):
            constants[c] += np.log(chols[c, i, i])
            reversed_means[c, i] = means[c, d - 1 - i]
            for j in range(i + 1):
                factors[c, i, j] = chols[c, d - 1 - j, d - 1 - i]


@_jit
def _chain_rule(chol, s0, s1, s2, grad_mean, grad_chol):
    """Turn the sums around a mean, in reverse order, into derivatives: L L' S1, and tril(s0 / diag(L) - S2 L)."""
    d = chol.shape[0]
    white = np.zeros(d)
    for i in range(d):
        for j in range(i + 1):
            white[j] += chol[i, j] * s1[d - 1 - i]
    for i in range(d):
        for j in range(i + 1):
            grad_mean[i] += chol[i, j] * white[j]
            moment = 0.0
            for m in range(j, d):
                a, b = d - 1 - i, d - 1 - m
                moment += (s2[a, b] if a >= b else s2[b, a]) * chol[m, j]
            grad_chol[i, j] = -moment
        grad_chol[i, i] += s0 / chol[i, i]


@_jit
def log_likelihood_and_gradient(rows, row_weights, log_weights, means, chols):
    """Compute the weighted marginal log-likelihood and its gradient (math.md, 4.5 and 4.6).

    Parameters
    ----------
    rows : ndarray of float64, shape (n, D)
        Rows.
    row_weights : ndarray of float64, shape (n,)
        Weights of the rows; a row of weight zero has no effect, whatever it holds.
    log_weights : ndarray of float64, shape (K,)
        Log component weights; they need not be normalised.
    means : ndarray of float64, shape (K, D)
        Means.
    chols : ndarray of float64, shape (K, D, D)
        Lower Cholesky factors of the precisions.

    Returns
    -------
    log_likelihood : float
        Sum over the rows of weight times log density; NaN where a parameter is.
    grad_log_weights, grad_means, grad_chols : ndarray
        Its partial derivatives, in the shapes of the parameters; the upper triangles of the last are zero.
    """
    n, d = rows.shape
    k = means.shape[0]
    value = np.zeros(1)
    s0, s1, s2 = np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))
    grad_means, grad_chols = np.zeros((k, d)), np.zeros((k, d, d))
    factors, reversed_means, constants = np.zeros((k, d, d)), np.empty((k, d)), np.empty(k)
    _reverse(log_weights, means, chols, reversed_means, factors, constants)
    if not np.isfinite(constants.sum() + reversed_means.sum() + factors.sum()):
        return np.nan, s0 * np.nan, grad_means * np.nan, grad_chols * np.nan
    size = min(_ROWS, 8 * (-(-n // 8)))
    n_blocks = min(_BLOCKS, -(-n // size))
    blocks, weights = np.empty((n_blocks, d, size)), np.empty((n_blocks, size))
    for start in range(0, n, n_blocks * size):
        _load(rows, row_weights, start, blocks, weights)
        em_pass(FULL, blocks, weights, 0, n_blocks, reversed_means, factors, constants, value, s0, s1, s2)
    for c in range(k):
        _chain_rule(chols[c], s0[c], s1[c], s2[c], grad_means[c], grad_chols[c])
    return value[0], s0, grad_means, grad_chols


@_jit
def _cholesky(matrix, order, chol):
    """Fill `chol` with the lower Cholesky factor of a matrix whose rows and columns are put in `order`; NaN if none."""
    for i in range(matrix.shape[0]):
        for j in range(i + 1):
            rest = matrix[order[i], order[j]]
            for m in range(j):
                rest -= chol[i, m] * chol[j, m]
            chol[i, j] = np.sqrt(rest) if i == j else rest / chol[j, j]


@_jit
def _add_derivative_by_matrix(chol, grad_chol, order, total):
    """Add sym(L^-T phi(L' G) L^-1), which is the derivative by the matrix L L' whose derivative by L is G."""
    d = chol.shape[0]
    part = np.zeros((d, d))
    for i in range(d):
        for j in range(i + 1):
            for m in range(i, d):
                part[i, j] += chol[m, i] * grad_chol[m, j]
        part[i, i] *= 0.5
    for j in range(d):
        for i in range(d - 1, -1, -1):
            for m in range(i + 1, d):
                part[i, j] -= chol[m, i] * part[m, j]
            part[i, j] /= chol[i, i]
    for i in range(d):
        for j in range(d - 1, -1, -1):
            for m in range(j + 1, d):
                part[i, j] -= part[i, m] * chol[m, j]
            part[i, j] /= chol[j, j]
            total[order[i], order[j]] += 0.5 * part[i, j]
            total[order[j], order[i]] += 0.5 * part[i, j]


@_jit
def log_likelihood_by_precisions(rows, row_weights, members, bounds, orders, n_missing, log_weights, means, precisions):
    """Compute what `log_likelihood_and_gradient` does, by the precisions themselves, and of what was observed.

    Rows that lack the same columns form a pattern. With the missing columns put first, the trailing block of the
    Cholesky factor of a precision is the factor of the precision of the observed columns (math.md, 4.8).

    Parameters
    ----------
    rows : ndarray of float64, shape (n, D)
        Rows; what stands in the place of a missing value has no effect.
    row_weights : ndarray of float64, shape (n,)
        Weights of the rows.
    members : ndarray of int64, shape (n,)
        Positions of the rows, pattern by pattern.
    bounds : ndarray of int64, shape (P + 1,)
        Where each pattern begins in `members`, and the end.
    orders : ndarray of int64, shape (P, D)
        Columns of each pattern, the missing ones first.
    n_missing : ndarray of int64, shape (P,)
        How many columns each pattern lacks.
    log_weights : ndarray of float64, shape (K,)
        Log component weights; they need not be normalised.
    means : ndarray of float64, shape (K, D)
        Means.
    precisions : ndarray of float64, shape (K, D, D)
        Precision matrices, symmetric.

    Returns
    -------
    log_likelihood : float
        Sum over the rows of weight times log density; NaN where a parameter is, or where a precision is not positive
        definite.
    grad_log_weights, grad_means, grad_precisions : ndarray
        Its partial derivatives, in the shapes of the parameters; those of the precisions are symmetric.
    """
    k, d = means.shape
    value, by_weights, by_means, by_precisions = 0.0, np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))
    chols, by_chol = np.zeros((k, d, d)), np.zeros((d, d))
    for pattern in range(len(n_missing)):
        order, first = orders[pattern], n_missing[pattern]
        part, part_weights, part_means = rows, row_weights, np.empty((k, d - first))
        if first > 0 or len(n_missing) > 1:
            part, part_weights = _gather(
                rows, row_weights, members[bounds[pattern] : bounds[pattern + 1]], order[first:]
            )
        for c in range(k):
            _cholesky(precisions[c], order, chols[c])
            for i in range(first, d):
                part_means[c, i - first] = means[c, order[i]]
        seen = np.ascontiguousarray(chols[:, first:, first:])
        gain, weight_part, mean_part, chol_part = log_likelihood_and_gradient(
            part, part_weights, log_weights, part_means, seen
        )
        value += gain
        by_weights += weight_part
        for c in range(k):
            by_chol[:] = 0.0
            by_chol[first:, first:] = chol_part[c]
            _add_derivative_by_matrix(chols[c], by_chol, order, by_precisions[c])
            for i in range(first, d):
                by_means[c, order[i]] += mean_part[c, i - first]
    return value, by_weights, by_means, by_precisions


@_jit
def _gather(rows, row_weights, members, columns):
    """Copy some rows and columns, and the weights of the rows."""
    part, weights = np.empty((len(members), len(columns))), np.empty(len(members))
    for a in range(len(members)):
        weights[a] = row_weights[members[a]]
        for b in range(len(columns)):
            part[a, b] = rows[members[a], columns[b]]
    return part, weights


@_jit
def density_pass(blocks, first, last, means, factors, log_constants, log_densities, responsibilities):
    """Write the log densities and responsibilities of blocks `first` to `last` - 1 under every mixture of a batch.

    Parameters
    ----------
    blocks : ndarray of float64, shape (blocks, D, B)
        The rows, packed.
    first, last : int
        The blocks of this call.
    means, factors, log_constants : ndarray of float64, shapes (S, K, D), (S, K, D, D), (S, K)
        As in `em_pass`, of kind FULL, for each mixture.
    log_densities : ndarray of float64, shape (S, n)
        Written in place.
    responsibilities : ndarray of float64, shape (S, n, K) or (0, n, K)
        Written in place, unless its length is zero.
    """
    d, size = blocks.shape[1:]
    k = means.shape[1]
    c, y, q = np.empty((d, size)), np.empty((4, size)), np.empty(size)
    r, top, total, ones = np.empty((k, size)), np.empty(size), np.empty(size), np.ones(size)
    is_wanted = responsibilities.shape[0] > 0
    for s in range(means.shape[0]):
        for block in range(first, last):
            _log_joint(FULL, blocks[block], means[s], factors[s], log_constants[s], c, y, q, r)
            for j in range(k):
                row = r[j]
                for b in range(size):
                    # Distances overflow at 1e154 standard deviations; differences of infinities would be NaN.
                    row[b] = _LOWEST_LOG if row[b] < _LOWEST_LOG and log_constants[s, j] > -np.inf else row[b]
            _normalise(r, ones, top, total)
            start = block * size
            for b in range(min(size, log_densities.shape[1] - start)):
                log_densities[s, start + b] = top[b]
                if is_wanted:
                    for j in range(k):
                        responsibilities[s, start + b, j] = r[j, b]
