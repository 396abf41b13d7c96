"""Labels and missing values drawn together, and counted, for rows that lack values.

A label is drawn from the responsibilities of what was observed, and then the missing values from their normal
distribution given the label and the observed ones: so the row enters the sums like a complete one, and every
conditional of the parameters stays as it is (math.md, 10.8). Nothing of it is kept from one sweep to the next.

Rows go pattern by pattern, a pattern being the columns that are missing. With these put first, the trailing block of
the Cholesky factor of a precision is that of the observed columns, and the missing values come from solving with its
leading rows. A value's random number is a function of the row's, of the copy and of the column, like that of a label.
"""

from typing import NamedTuple

import numba
import numpy as np

from bayesgmm.kernels.labels import (
    ROWS,
    accumulate,
    add_sums,
    labels_at,
    log_constants,
    log_joint,
    sort_by_label,
    sum_of_logs,
)
from bayesgmm.kernels.matrices import fill_factor
from bayesgmm.kernels.random_numbers import GOLDEN, mix, normal_of, unit
from bayesgmm.kernels.scratch import scratch, scratch_rows

__all__ = ["Gaps", "allocate_incomplete"]

_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})


class Gaps(NamedTuple):
    """The rows that lack values, pattern by pattern."""

    rows: np.ndarray  # (m, D), standardised units; what stands in the place of a missing value has no effect
    copies: np.ndarray  # (m,) of int64, how often each occurs
    positions: np.ndarray  # (m,) of int64, among all rows that are at hand
    bounds: np.ndarray  # (patterns + 1,) of int64, where each pattern begins
    orders: np.ndarray  # (patterns, D) of int64, the columns, missing ones first
    n_missing: np.ndarray  # (patterns,) of int64


@_jit
def _turn(parameters, order, k, means, factors):
    """Write means and factors of precisions whose columns are in another order."""
    d = order.shape[0]
    precision = np.empty((d, d))
    for component in range(k):
        factor = parameters.factors[component]
        for i in range(d):
            means[component, i] = parameters.means[component, order[i]]
            for j in range(i + 1):
                precision[i, j] = 0.0
                for m in range(min(order[i], order[j]) + 1):
                    precision[i, j] += factor[order[i], m] * factor[order[j], m]
        fill_factor(precision, factors[component])


@_jit
def _load_observed(rows, start, size, order, first, x):
    for i in range(first, order.shape[0]):
        x_i, column = x[i], order[i]
        for b in range(size):
            x_i[b] = rows[start + b, column]


@_jit
def _draw_labels(gaps, start, size, number, key, running, total, threshold, keys, drawn):
    """Draw one label for each row of a block; leave the keys of the rows."""
    for b in range(size):
        keys[b] = mix(key + GOLDEN * np.uint64(number + gaps.positions[start + b]))
        threshold[b] = unit(keys[b]) * total[b]
    labels_at(threshold, running, size, drawn)


@_jit
def _impute(sorted_x, keys, ends, order, n_missing, factors, is_diagonal):
    """Draw the missing values of rows that are sorted by label, as offsets from the means."""
    first = 0
    for component in range(ends.shape[0]):
        last, factor = ends[component], factors[component]
        for i in range(n_missing - 1, -1, -1):
            x_i = sorted_x[i]
            for b in range(first, last):
                x_i[b] = normal_of(keys[b], order[i])
            for j in range(i + 1, i + 1 if is_diagonal else order.shape[0]):
                f, x_j = factor[j, i], sorted_x[j]
                for b in range(first, last):
                    x_i[b] -= f * x_j[b]
            for b in range(first, last):
                x_i[b] /= factor[i, i]
        first = last


@_jit
def _add_turned(part1, part2, order, is_diagonal, s1, s2):
    """Add sums and squares whose columns are in another order."""
    for component in range(part1.shape[0]):
        for i in range(order.shape[0]):
            s1[component, order[i]] += part1[component, i]
            for j in range(i if is_diagonal else 0, i + 1):
                row, column = max(order[i], order[j]), min(order[i], order[j])
                s2[component, row, column] += part2[component, i, j]


@_jit
def allocate_incomplete(gaps, number, k, is_diagonal, parameters, key, labels, s0, s1, s2):
    """Draw labels and missing values of all rows that lack some, and add what they count (math.md, 10.8).

    Parameters
    ----------
    gaps : Gaps
        The rows.
    number : int
        The number of the row at position 0 among all rows, wherever they are.
    k : int
        Number of components in use, the leading ones of the parameters.
    is_diagonal : bool
        Whether the factors are diagonal.
    parameters : Parameters
        Current parameters.
    key : uint64
        From `label_key`.
    labels : ndarray of int16
        Written in place at the positions of the rows: the label of the last copy.
    s0, s1, s2 : ndarray of float64, shapes (K,), (K, D), (K, D, D)
        Counts, sums and squares around the current means, added to in place; s2 is a lower triangle.

    Returns
    -------
    float
        The log-likelihood of what was observed of these rows.
    """
    d, log_likelihood = s1.shape[1], 0.0
    means, factors, constants = np.empty((k, d)), np.zeros((k, d, d)), np.empty(k)
    for pattern in range(gaps.n_missing.shape[0]):
        order, n_missing = gaps.orders[pattern], gaps.n_missing[pattern]
        _turn(parameters, order, k, means, factors)
        seen = np.ascontiguousarray(factors[:, n_missing:, n_missing:])
        log_constants(parameters.log_weights, seen, k, constants)
        part1, part2 = np.zeros((k, d)), np.zeros((k, d, d))
        log_likelihood += _allocate_pattern(
            gaps, pattern, number, is_diagonal, means, factors, seen, constants, key, labels, s0, part1, part2
        )
        _add_turned(part1, part2, order, is_diagonal, s1, s2)
    return log_likelihood


@_jit
def _allocate_pattern(
    gaps, pattern, number, is_diagonal, means, factors, seen, constants, key, labels, s0, part1, part2
):
    """Do so with the rows that lack the same columns, which are in the order of the pattern."""
    k, d = means.shape
    order, first, last = gaps.orders[pattern], gaps.bounds[pattern], gaps.bounds[pattern + 1]
    n_missing = gaps.n_missing[pattern]
    x, c, y = scratch_rows(d, ROWS), scratch_rows(d, ROWS), scratch(ROWS)
    running, top, total, threshold = scratch_rows(k, ROWS), scratch(ROWS), scratch(ROWS), scratch(ROWS)
    keys, sorted_keys = np.empty(ROWS, dtype=np.uint64), np.empty(ROWS, dtype=np.uint64)
    drawn, wanted, ends = np.empty(ROWS, dtype=np.int64), np.empty(ROWS, dtype=np.int64), np.empty(k, dtype=np.int64)
    log_likelihood = 0.0
    for start in range(first, last, ROWS):
        size = min(ROWS, last - start)
        _load_observed(gaps.rows, start, size, order, n_missing, x)
        for component in range(k):
            log_joint(
                x[n_missing:], size, means[component, n_missing:], seen[component], is_diagonal, constants[component],
                c, y, running[component],
            )  # fmt: skip
        accumulate(running, size, top, total)
        log_likelihood += sum_of_logs(top, total, gaps.copies, start, size)
        copy, waiting = 0, 1
        while waiting > 0:
            copy_key = mix(key + GOLDEN * np.uint64(copy))
            _draw_labels(gaps, start, size, number, copy_key, running, total, threshold, keys, drawn)
            waiting = 0
            for b in range(size):
                count = gaps.copies[start + b]
                wanted[b] = count > copy
                waiting += count > copy + 1
                if count > copy:
                    labels[gaps.positions[start + b]] = drawn[b]
            sort_by_label(x, size, wanted, drawn, means, n_missing, ends, c, keys, sorted_keys)
            _impute(c, sorted_keys, ends, order, n_missing, factors, is_diagonal)
            add_sums(c, ends, is_diagonal, s0, part1, part2)
            copy += 1
    return log_likelihood
