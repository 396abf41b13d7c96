"""The marginal log-likelihood and its gradient, from the same pass over the data as EM's statistics.

The chain rule leads from the sums around the means to derivatives by log weights, means and Cholesky factors of the
precisions (math.md, 4.6), or by the precisions themselves, where rows lack values (math.md, 4.8).
"""

import numba
import numpy as np

from bayesgmm.kernels.em import FULL, em_pass, rows_of_block
from bayesgmm.kernels.matrices import fill_factor, pull_back_factor
from bayesgmm.kernels.scratch import scratch_rows

__all__ = ["log_likelihood_and_gradient", "log_likelihood_by_precisions"]

# Infinities and NaN keep their meaning; only the order of sums is left to the compiler.
_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})

_HALF_LOG_2PI = 0.9189385332046727


@_jit
def _load(rows, row_weights, start, block, weights):
    """Fill a block with rows, features in reverse order; rows of weight zero, and padding, become zeros."""
    n, d = rows.shape
    size = len(weights)
    count = min(size, n - start)
    has_zeros = count < size
    for b in range(count):
        weights[b] = row_weights[start + b]
        has_zeros |= weights[b] == 0.0
    for b in range(count, size):
        weights[b] = 0.0
    if d == 2:
        _unzip(rows[start : start + count], block)
    else:
        for i in range(d):
            x = block[i]
            for b in range(count):
                x[b] = rows[start + b, d - 1 - i]
    if has_zeros:
        for b in range(size):
            if weights[b] == 0.0:
                for i in range(d):
                    block[i, b] = 0.0


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
    size = rows_of_block(n, d)
    block, weights = scratch_rows(d, size).reshape((1, d, size)), scratch_rows(1, size)
    for start in range(0, n, size):
        _load(rows, row_weights, start, block[0], weights[0])
        em_pass(FULL, block, weights, 0, 1, reversed_means, factors, constants, value, s0, s1, s2)
    for c in range(k):
        _chain_rule(chols[c], s0[c], s1[c], s2[c], grad_means[c], grad_chols[c])
    return value[0], s0, grad_means, grad_chols


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
    chols, by_chol, turned, part_of_matrix = np.zeros((k, d, d)), np.zeros((d, d)), np.empty((d, d)), np.empty((d, d))
    for pattern in range(len(n_missing)):
        order, first = orders[pattern], n_missing[pattern]
        part, part_weights, part_means = rows, row_weights, np.empty((k, d - first))
        if first > 0 or len(n_missing) > 1:
            part, part_weights = _gather(
                rows, row_weights, members[bounds[pattern] : bounds[pattern + 1]], order[first:]
            )
        for c in range(k):
            for i in range(d):
                for j in range(i + 1):
                    turned[i, j] = precisions[c, order[i], order[j]]
            fill_factor(turned, chols[c])
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
            pull_back_factor(chols[c], by_chol, part_of_matrix)
            for i in range(d):
                for j in range(d):
                    by_precisions[c, order[i], order[j]] += 0.5 * (part_of_matrix[i, j] + part_of_matrix[j, i])
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
