"""The fractional parts of row weights: labels drawn from tempered responsibilities, and what that is off by.

The density of a row to a fractional power f has no latent labels. A lower bound of it has, which touches it where the
parameters are those of an anchor (math.md, 10.9): the sum over components of r^(1 - f) (w N)^f, with r the
responsibilities there. So a sweep leaves the posterior with the bound unchanged, and its result is taken with the
probability that mends the difference. Here are the labels under the bound, counted with weight f, and that difference.
"""

import math
from typing import NamedTuple

import numba
import numpy as np

from bayesgmm.kernels.labels import ROWS, accumulate, labels_at, log_constants, log_joint
from bayesgmm.kernels.random_numbers import GOLDEN, mix, unit
from bayesgmm.kernels.scratch import scratch

__all__ = ["Fractions", "allocate_fractions", "log_excess"]

_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})


class Fractions(NamedTuple):
    """The rows whose weights are not whole numbers."""

    rows: np.ndarray  # (m, D), standardised units
    shares: np.ndarray  # (m,), the fractional parts f of their weights
    copies: np.ndarray  # (m,) of int64, the whole parts
    positions: np.ndarray  # (m,) of int64, among all rows
    log_anchors: np.ndarray  # (K, m), (1 - f) log r


@_jit
def _weigh(fractions, start, size, is_diagonal, parameters, constants, x, c, y, running, tempered, sums):
    """Fill the running sums of the bound for a block; return log-likelihood, and by how much the bound is below it."""
    top, total, bound_top, bound_total = sums[0], sums[1], sums[2], sums[3]
    k, d = running.shape[0], x.shape[0]
    shares = fractions.shares[start : start + size]
    for j in range(d):
        for b in range(size):
            x[j, b] = fractions.rows[start + b, j]
    for component in range(k):
        out, anchors, power = running[component], fractions.log_anchors[component, start:], tempered[component]
        log_joint(
            x, size, parameters.means[component], parameters.factors[component], is_diagonal, constants[component],
            c, y, out,
        )  # fmt: skip
        for b in range(size):
            power[b] = anchors[b] + shares[b] * out[b]
    accumulate(running, size, top, total)
    accumulate(tempered, size, bound_top, bound_total)
    log_likelihood, bound = 0.0, 0.0
    for b in range(size):
        log_likelihood += shares[b] * (top[b] + math.log(total[b]))
        bound += bound_top[b] + math.log(bound_total[b])
    return log_likelihood, log_likelihood - bound


@_jit
def _count(x, shares, size, drawn, means, is_diagonal, s0, s1, s2):
    """Add the rows of a block, with their fractional weights, to the sums of their labels."""
    d = x.shape[0]
    offset = np.empty(d)
    for b in range(size):
        label, share = drawn[b], shares[b]
        s0[label] += share
        for i in range(d):
            offset[i] = x[i, b] - means[label, i]
            s1[label, i] += share * offset[i]
            for j in range(i if is_diagonal else 0, i + 1):
                s2[label, i, j] += share * offset[i] * offset[j]


@_jit
def allocate_fractions(fractions, k, is_diagonal, parameters, key, s0, s1, s2):
    """Draw the labels of fractional copies, and add what they count (math.md, 10.9).

    Parameters
    ----------
    fractions : Fractions
        The rows.
    k : int
        Number of components.
    is_diagonal : bool
        Whether the factors are diagonal.
    parameters : Parameters
        Current parameters.
    key : uint64
        From `label_key`.
    s0, s1, s2 : ndarray of float64, shapes (K,), (K, D), (K, D, D)
        Counts, sums and squares around the current means, added to in place; s2 is a lower triangle.

    Returns
    -------
    log_likelihood, log_excess : float
        Of the fractional copies, and by how much their bound is below it.
    """
    return _pass(fractions, k, is_diagonal, parameters, key, s0, s1, s2, is_counted=True)


@_jit
def log_excess(fractions, k, is_diagonal, parameters, s0, s1, s2):
    """Return by how much the log-likelihood of the fractional copies is above its bound; the sums stay as they are."""
    return _pass(fractions, k, is_diagonal, parameters, np.uint64(0), s0, s1, s2, is_counted=False)[1]


@_jit
def _pass(fractions, k, is_diagonal, parameters, key, s0, s1, s2, is_counted):
    m, d = fractions.rows.shape
    x, c, y = scratch(d * ROWS).reshape(d, ROWS), scratch(d * ROWS).reshape(d, ROWS), scratch(ROWS)
    running, tempered = scratch(k * ROWS).reshape(k, ROWS), scratch(k * ROWS).reshape(k, ROWS)
    sums, threshold = scratch(4 * ROWS).reshape(4, ROWS), scratch(ROWS)
    drawn, constants = np.empty(ROWS, dtype=np.int64), np.empty(k)
    log_constants(parameters.log_weights, parameters.factors, k, constants)
    log_likelihood, excess = 0.0, 0.0
    for start in range(0, m, ROWS):
        size = min(ROWS, m - start)
        found = _weigh(fractions, start, size, is_diagonal, parameters, constants, x, c, y, running, tempered, sums)
        log_likelihood += found[0]
        excess += found[1]
        if is_counted:
            for b in range(size):
                # The fractional copy is the one after the whole ones.
                copy_key = mix(key + GOLDEN * np.uint64(fractions.copies[start + b]))
                bits = mix(copy_key + GOLDEN * np.uint64(fractions.positions[start + b]))
                threshold[b] = unit(bits) * sums[3, b]
            labels_at(threshold, tempered, size, drawn)
            _count(x, fractions.shares[start : start + size], size, drawn, parameters.means, is_diagonal, s0, s1, s2)
    return log_likelihood, excess
