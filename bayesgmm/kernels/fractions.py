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
from bayesgmm.kernels.scratch import scratch, scratch_rows

__all__ = ["Fractions", "allocate_fractions", "log_excess"]

_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})


class Fractions(NamedTuple):
    """The rows whose weights are not whole numbers."""

    rows: np.ndarray  # (m, D), standardised units
    shares: np.ndarray  # (m,), the fractional parts f of their weights
    copies: np.ndarray  # (m,) of int64, the whole parts
    positions: np.ndarray  # (m,) of int64, among all rows
    log_anchors: np.ndarray  # (K, m), (1 - f) log r


class _Room(NamedTuple):
    """Where a block of rows is weighed."""

    constants: np.ndarray  # (K,), what the log joint densities have in front of the distance
    x: np.ndarray  # (D, ROWS), the block, features apart
    c: np.ndarray  # (D, ROWS), scratch
    y: np.ndarray  # (ROWS,), scratch
    running: np.ndarray  # (K, ROWS), running sums of the joint densities, relative to exp(top)
    top: np.ndarray  # (ROWS,)
    total: np.ndarray  # (ROWS,), the last of the running sums
    tempered: np.ndarray  # (K, ROWS), those of the bound
    bound_top: np.ndarray  # (ROWS,)
    bound_total: np.ndarray  # (ROWS,)


@_jit
def _make_room(k, d, parameters):
    """Make room for the blocks of a pass at these parameters."""
    constants = np.empty(k)
    log_constants(parameters.log_weights, parameters.factors, k, constants)
    return _Room(
        constants, scratch_rows(d, ROWS), scratch_rows(d, ROWS), scratch(ROWS), scratch_rows(k, ROWS), scratch(ROWS),
        scratch(ROWS), scratch_rows(k, ROWS), scratch(ROWS), scratch(ROWS),
    )  # fmt: skip


@_jit
def _weigh(fractions, start, size, is_diagonal, parameters, room):
    """Fill the running sums of the bound for a block; return log-likelihood, and by how much the bound is below it."""
    (k, _), d = room.running.shape, room.x.shape[0]
    shares = fractions.shares[start : start + size]
    for j in range(d):
        for b in range(size):
            room.x[j, b] = fractions.rows[start + b, j]
    for component in range(k):
        out, power = room.running[component], room.tempered[component]
        anchors = fractions.log_anchors[component, start:]
        log_joint(
            room.x, size, parameters.means[component], parameters.factors[component], is_diagonal,
            room.constants[component], room.c, room.y, out,
        )  # fmt: skip
        for b in range(size):
            power[b] = anchors[b] + shares[b] * out[b]
    accumulate(room.running, size, room.top, room.total)
    accumulate(room.tempered, size, room.bound_top, room.bound_total)
    log_likelihood, bound = 0.0, 0.0
    for b in range(size):
        log_likelihood += shares[b] * (room.top[b] + math.log(room.total[b]))
        bound += room.bound_top[b] + math.log(room.bound_total[b])
    return log_likelihood, log_likelihood - bound


@_jit
def _draw_labels(fractions, start, size, key, room, threshold, drawn):
    """Draw one label for the fractional copy of each row of a block that was weighed."""
    for b in range(size):
        # The fractional copy is the one after the whole ones.
        copy_key = mix(key + GOLDEN * np.uint64(fractions.copies[start + b]))
        bits = mix(copy_key + GOLDEN * np.uint64(fractions.positions[start + b]))
        threshold[b] = unit(bits) * room.bound_total[b]
    labels_at(threshold, room.tempered, size, drawn)


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
    m, d = fractions.rows.shape
    room = _make_room(k, d, parameters)
    threshold, drawn = scratch(ROWS), np.empty(ROWS, dtype=np.int64)
    log_likelihood, excess = 0.0, 0.0
    for start in range(0, m, ROWS):
        size = min(ROWS, m - start)
        value, below = _weigh(fractions, start, size, is_diagonal, parameters, room)
        log_likelihood += value
        excess += below
        _draw_labels(fractions, start, size, key, room, threshold, drawn)
        shares = fractions.shares[start : start + size]
        _count(room.x, shares, size, drawn, parameters.means, is_diagonal, s0, s1, s2)
    return log_likelihood, excess


@_jit
def log_excess(fractions, k, is_diagonal, parameters):
    """Return by how much the log-likelihood of the fractional copies is above its bound."""
    m, d = fractions.rows.shape
    room, excess = _make_room(k, d, parameters), 0.0
    for start in range(0, m, ROWS):
        excess += _weigh(fractions, start, min(ROWS, m - start), is_diagonal, parameters, room)[1]
    return excess
