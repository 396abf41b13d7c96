"""What conjugate draws are made of: copies and sums of small matrices, triangles, and Wishart matrices.

A precision is held as its lower Cholesky factor, Lambda = L L'. A Wishart draw has that form at once if its rate is
factored from the lower right corner, R = V V' with an upper triangle V: then L = V^-T A with Bartlett's triangle A.
Copies and sums are loops: numba spends seconds on compiling each `a[:] = b`, for the sake of its error messages.
"""

import math

import numba
import numpy as np

from bayesgmm.kernels.random_numbers import log_gamma, normal

__all__ = ["add_matrix", "add_square", "copy", "copy_matrix", "log_determinant", "sum_of", "upper_cholesky", "wishart"]

_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})


@_jit
def copy(source, target):
    """Copy a vector."""
    for i in range(source.shape[0]):
        target[i] = source[i]


@_jit
def copy_matrix(source, target):
    """Copy a matrix."""
    for i in range(source.shape[0]):
        for j in range(source.shape[1]):
            target[i, j] = source[i, j]


@_jit
def add_matrix(source, target):
    """Add a matrix to another one, in place."""
    for i in range(source.shape[0]):
        for j in range(source.shape[1]):
            target[i, j] += source[i, j]


@_jit
def sum_of(values, count):
    """Return the sum of the leading numbers."""
    total = 0.0
    for i in range(count):
        total += values[i]
    return total


@_jit
def upper_cholesky(a, v):
    """Write the upper triangle v with v v' = a."""
    p = a.shape[0]
    for j in range(p - 1, -1, -1):
        total = a[j, j]
        for m in range(j + 1, p):
            total -= v[j, m] * v[j, m]
        v[j, j] = math.sqrt(total)
        for i in range(j):
            total = a[i, j]
            for m in range(j + 1, p):
                total -= v[i, m] * v[j, m]
            v[i, j] = total / v[j, j]


@_jit
def add_square(factor, out):
    """Add L L' to out."""
    p = factor.shape[0]
    for i in range(p):
        for j in range(i + 1):
            total = 0.0
            for m in range(j + 1):
                total += factor[i, m] * factor[j, m]
            out[i, j] += total
            if i != j:
                out[j, i] += total


@_jit
def log_determinant(a):
    """Return the log determinant of a positive definite matrix."""
    v = np.empty_like(a)
    upper_cholesky(a, v)
    total = 0.0
    for j in range(a.shape[0]):
        total += 2.0 * math.log(v[j, j])
    return total


@_jit
def wishart(dof, rate, state, factor):
    """Write L with L L' ~ Wishart(dof, rate^-1)."""
    p = rate.shape[0]
    v = np.empty((p, p))
    upper_cholesky(rate, v)
    for j in range(p):
        for i in range(j, p):
            total = normal(state) if i > j else math.exp(0.5 * log_gamma(0.5 * (dof - i), state)) * math.sqrt(2.0)
            for m in range(j, i):
                total -= v[m, i] * factor[m, j]
            factor[i, j] = total / v[i, i]
