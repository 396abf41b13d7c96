"""The marginal likelihood of a Gaussian mixture and its gradient, in one pass over the rows.

log p(X | theta) = sum_i w_i log sum_k pi_k N(x_i; mu_k, Lambda_k^-1) with Lambda_k = L_k L_k'. For a block of rows the
whitened offsets y = L_k' (x - mu_k) give the log joint densities; the responsibilities that follow weight y and y y',
and these sums are the gradient (math.md, 4.6): with s0 = sum r, s1 = sum r y, s2 = sum r y y',

    d/d log pi_k = s0,    d/d mu_k = L_k s1,    d/d L_k = tril(L_k^-T (s0 I - s2)).

Accumulating y instead of x means that nothing is subtracted from large numbers at the end. A row of weight zero is
skipped. NaN parameters give NaN, not an exception.

Everything here is on plain arrays, serial, and compiled once for all sizes; the functions call each other, so they stay
in one file (numba's cache does not notice changes in another).
"""

import math

import numba
import numpy as np

__all__ = ["log_likelihood_and_gradient", "pointwise_log_likelihood"]

#: Rows in a block: the work arrays (K + 2 D) x ROWS fit into the first-level cache for usual sizes.
ROWS = 128

#: Exponents below this are flushed to zero; denormal numbers cost a factor of ten.
TINY_EXPONENT = -650.0

#: To be increased with every change of a kernel that a compiled PyTensor graph may have inlined.
VERSION = 1

_options = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz", "arcp"}}


@numba.njit(**_options)
def _whiten(block, mean, chol, white):
    """Fill white (D, rows) with L' (x - mu) and return nothing; block is (D, rows)."""
    d, rows = block.shape
    for j in range(d):
        for b in range(rows):
            white[j, b] = 0.0
    for i in range(d):
        shift = mean[i]
        for j in range(i + 1):
            factor = chol[i, j]
            for b in range(rows):
                white[j, b] += factor * (block[i, b] - shift)


@numba.njit(**_options)
def _log_joint(block, log_weights, means, chols, white, out):
    """Fill out (K, rows) with log pi_k + log N(x; mu_k), and white (K, D, rows) with whitened offsets."""
    d, rows = block.shape
    for k in range(out.shape[0]):
        _whiten(block, means[k], chols[k], white[k])
        constant = log_weights[k] - 0.5 * d * math.log(2.0 * math.pi)
        for j in range(d):
            constant += math.log(chols[k, j, j])
        for b in range(rows):
            out[k, b] = 0.0
        for j in range(d):
            for b in range(rows):
                out[k, b] += white[k, j, b] * white[k, j, b]
        for b in range(rows):
            out[k, b] = constant - 0.5 * out[k, b]


@numba.njit(**_options)
def _normalize(log_joint, peak, total, log_density):
    """Turn log joint densities (K, rows) into responsibilities in place; fill log_density (rows)."""
    k, rows = log_joint.shape
    for b in range(rows):
        peak[b] = log_joint[0, b]
        total[b] = 0.0
    for j in range(1, k):
        for b in range(rows):
            peak[b] = max(peak[b], log_joint[j, b])
    for j in range(k):
        for b in range(rows):
            exponent = log_joint[j, b] - peak[b]
            share = math.exp(exponent) if not exponent < TINY_EXPONENT else 0.0
            log_joint[j, b] = share
            total[b] += share
    for b in range(rows):
        log_density[b] = peak[b] + math.log(total[b])
    for j in range(k):
        for b in range(rows):
            log_joint[j, b] /= total[b]


@numba.njit(**_options)
def _load_block(Z, start, rows, block):
    for j in range(Z.shape[1]):
        for b in range(rows):
            block[j, b] = Z[start + b, j]


@numba.njit(**_options)
def log_likelihood_and_gradient(Z, row_weights, log_weights, means, chols):
    """Compute the weighted log-likelihood and its gradient.

    Parameters
    ----------
    Z : ndarray, shape (n, D)
        Rows.
    row_weights : ndarray, shape (n,)
        Weights of the rows.
    log_weights : ndarray, shape (K,)
        Log component weights; they need not be normalised.
    means : ndarray, shape (K, D)
        Means.
    chols : ndarray, shape (K, D, D)
        Lower Cholesky factors of the precisions.

    Returns
    -------
    log_likelihood : float
        Sum over the rows of weight times log density.
    grad_log_weights, grad_means, grad_chols : ndarray
        Its partial derivatives, in the shapes of the parameters; the upper triangles of the last are zero.
    """
    n, d = Z.shape
    k = log_weights.shape[0]
    size = min(ROWS, n)
    block, white = np.empty((d, size)), np.empty((k, d, size))
    shares = np.empty((k, size))
    peak, total, log_density = np.empty(size), np.empty(size), np.empty(size)
    s0, s1, s2 = np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))
    value = 0.0
    for start in range(0, n, size):
        rows = min(size, n - start)
        _load_block(Z, start, rows, block)
        _log_joint(block[:, :rows], log_weights, means, chols, white[:, :, :rows], shares[:, :rows])
        _normalize(shares[:, :rows], peak, total, log_density)
        for b in range(rows):
            if row_weights[start + b] != 0.0:
                value += row_weights[start + b] * log_density[b]
        for c in range(k):
            mass = 0.0
            for b in range(rows):
                weight = row_weights[start + b]
                shares[c, b] = weight * shares[c, b] if weight != 0.0 else 0.0
                mass += shares[c, b]
            s0[c] += mass
            for i in range(d):
                first = 0.0
                for b in range(rows):
                    total[b] = shares[c, b] * white[c, i, b]
                    first += total[b]
                s1[c, i] += first
                for j in range(i + 1):
                    second = 0.0
                    for b in range(rows):
                        second += total[b] * white[c, j, b]
                    s2[c, i, j] += second
    grad_means, grad_chols = np.zeros((k, d)), np.zeros((k, d, d))
    for c in range(k):
        _chain_rule(chols[c], s0[c], s1[c], s2[c], grad_means[c], grad_chols[c])
    return value, s0, grad_means, grad_chols


@numba.njit(**_options)
def _chain_rule(chol, s0, s1, s2, grad_mean, grad_chol):
    """Turn sums of whitened offsets into derivatives; s2 holds the lower triangle, L' L^-T = I is used for s0."""
    d = chol.shape[0]
    for i in range(d):
        for j in range(i + 1):
            grad_mean[i] += chol[i, j] * s1[j]
    # Column j of L^-T s2 by back substitution with L'.
    for j in range(d):
        for i in range(d - 1, -1, -1):
            rest = s2[i, j] if i >= j else s2[j, i]
            for m in range(i + 1, d):
                rest -= chol[m, i] * grad_chol[m, j]
            grad_chol[i, j] = rest / chol[i, i]
    for i in range(d):
        for j in range(d):
            grad_chol[i, j] = 0.0 if j > i else -grad_chol[i, j]
        grad_chol[i, i] += s0 / chol[i, i]


@numba.njit(**_options)
def pointwise_log_likelihood(Z, log_weights, means, chols):
    """Compute the log density of every row under every draw.

    Parameters
    ----------
    Z : ndarray, shape (n, D)
        Rows.
    log_weights : ndarray, shape (S, K)
        Log component weights, draw by draw.
    means : ndarray, shape (S, K, D)
        Means.
    chols : ndarray, shape (S, K, D, D)
        Lower Cholesky factors of the precisions.

    Returns
    -------
    ndarray, shape (S, n)
        Log densities.
    """
    n, d = Z.shape
    draws, k = log_weights.shape
    size = min(ROWS, n)
    block, white, joint = np.empty((d, size)), np.empty((k, d, size)), np.empty((k, size))
    peak, total = np.empty(size), np.empty(size)
    out = np.empty((draws, n))
    for start in range(0, n, size):
        rows = min(size, n - start)
        _load_block(Z, start, rows, block)
        for s in range(draws):
            _log_joint(block[:, :rows], log_weights[s], means[s], chols[s], white[:, :, :rows], joint[:, :rows])
            _normalize(joint[:, :rows], peak, total, out[s, start : start + rows])
    return out
