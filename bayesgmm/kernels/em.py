"""The pass over the data: log-likelihood and sufficient statistics at one go, for EM and for the gradient.

Rows come packed in blocks of shape (features, rows of the block), so that every inner loop runs over contiguous rows of
one feature and is vectorised; a block and its scratch stay in the core's cache. Distances and statistics are taken
around the current mean of the component, so that an offset of the data costs no digits.

Responsibilities below exp(-650) are set to zero: their products would be denormal numbers, which cost a factor of ten
(measured at 64 features). Distances, moments, and the exponential have a file each.

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

from bayesgmm.kernels.distances import DIAGONAL, FULL, SPHERICAL, TIED, log_joint, whiten
from bayesgmm.kernels.elementary import exponential, logarithm
from bayesgmm.kernels.moments import add_moments
from bayesgmm.kernels.scratch import scratch, scratch_rows

__all__ = ["DIAGONAL", "FULL", "SPHERICAL", "TIED", "density_pass", "em_pass", "rows_of_block"]

# Infinities and NaN keep their meaning; only the order of sums is left to the compiler.
_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})

_LOWEST = -650.0
_LOWEST_LOG = -5e299


@_jit
def rows_of_block(n, d):
    """Return how many rows of n a block should have, a multiple of 8; all blocks have the same, but for padding.

    A sum over a block costs something to begin with, which many rows share; the scratch of a block should stay in the
    second-level cache. Measured for the kinds FULL and DIAGONAL from 1 to 128 features.
    """
    most = 2048 if d <= 8 else 1024 if d <= 16 else 512 if d <= 128 else 128
    n_blocks = max(1, -(-n // most))
    return max(8, 8 * (-(-n // (8 * n_blocks))))


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
        value = exponential(gap if gap > _LOWEST else _LOWEST)
        value = value if gap > _LOWEST else 0.0
        row[b] = value
        total[b] += value


@_jit
def _conclude(weights, top, total):
    """Turn top into log densities and total into what shares are multiplied by; return the log-likelihood."""
    log_likelihood = 0.0
    for b in range(top.shape[0]):
        log_density = top[b] + logarithm(total[b])
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
    white, y, r = scratch_rows(d, size), scratch_rows(4, size), scratch_rows(k, size)
    q, top, total = scratch(size), scratch(size), scratch(size)
    for block in range(first, last):
        x = blocks[block]
        if kind == TIED:
            whiten(factors[0], x, y, white)
            x = white
        w = weights[max(0, block - blocks.shape[0] + weights.shape[0])]
        log_joint(kind, x, means, factors, log_constants, y, q, r)
        log_likelihoods[0] += _normalise(r, w, top, total)
        add_moments(kind, x, r, means, s0, s1, s2)


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
    k, size = means.shape[1], blocks.shape[2]
    y, r = scratch_rows(4, size), scratch_rows(k, size)
    q, top, total, ones = scratch(size), scratch(size), scratch(size), np.ones(size)
    is_wanted = responsibilities.shape[0] > 0
    for s in range(means.shape[0]):
        for block in range(first, last):
            log_joint(FULL, blocks[block], means[s], factors[s], log_constants[s], y, q, r)
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
