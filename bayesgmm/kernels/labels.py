"""Labels drawn and counted in one pass over the rows.

Rows go by blocks, features apart, so that distances are computed for a whole block at once. A row leaves behind its
label and its share of counts, sums and squares, taken around the current mean of the component that it was given to:
nothing of the size rows x components is kept, and an offset of the data costs no digits.

The random number that decides on a label is a function of seed, chain, sweep, row and copy, and of nothing else
(SplitMix64: Steele, Lea & Flood 2014). So labels do not depend on how rows are cut into chunks, nor on who runs a
chunk, where, when, or how often.
"""

import math

import numba
import numpy as np

from bayesgmm.kernels.random_numbers import GOLDEN, mix, unit
from bayesgmm.kernels.scratch import scratch, scratch_rows

__all__ = ["ROWS", "accumulate", "add_sums", "allocate", "clear", "label_key", "labels_at", "log_constants",
           "log_joint", "log_likelihoods", "sort_by_label", "sum_of_logs"]  # fmt: skip

_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})
_jit_in_order = numba.njit(cache=True, nogil=True, error_model="numpy")

#: Rows of a block.
ROWS = 512
_HALF_LOG_2PI = 0.9189385332046727
_LOWEST = -45.0  # a share of exp(-45) is below the resolution of the uniform numbers


@_jit_in_order
def label_key(stream):
    """Return the key of a sweep's labels, and move on to the next sweep.

    Parameters
    ----------
    stream : ndarray of uint64, shape (4,)
        The key of a chain and the number of its sweep; the latter is advanced.

    Returns
    -------
    uint64
        For `allocate`.
    """
    key = mix(stream[0] + GOLDEN * stream[1])
    stream[1] += np.uint64(1)
    return key


@_jit
def _load(rows, start, size, x):
    for b in range(size):
        for j in range(rows.shape[1]):
            x[j, b] = rows[start + b, j]


@_jit
def log_joint(x, size, mean, factor, is_diagonal, constant, c, y, out):
    """Write log w_k + log N(x; k) of a block to out."""
    d = x.shape[0]
    for j in range(d):
        x_j, c_j, mean_j = x[j], c[j], mean[j]
        for b in range(size):
            c_j[b] = x_j[b] - mean_j
    for b in range(size):
        out[b] = constant
    for i in range(d):
        for b in range(size):
            y[b] = 0.0
        for j in range(i, i + 1 if is_diagonal else d):
            f, c_j = factor[j, i], c[j]
            for b in range(size):
                y[b] += f * c_j[b]
        for b in range(size):
            out[b] -= 0.5 * y[b] * y[b]


@_jit_in_order
def _exp(x):
    """Return exp(x) for -45 <= x <= 0 to 1e-13, in a form that vectorises: exp(x / 256), squared eight times."""
    r = x * 0.00390625
    p = 1.0 / 3628800.0
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
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    return p * p


@_jit
def accumulate(joint, size, top, total):
    """Turn log joint densities into running sums over the components, relative to exp(top), in place."""
    first = joint[0]
    for b in range(size):
        top[b] = first[b]
        total[b] = 0.0
    for component in range(1, joint.shape[0]):
        row = joint[component]
        for b in range(size):
            top[b] = row[b] if row[b] > top[b] else top[b]
    for component in range(joint.shape[0]):
        row = joint[component]
        for b in range(size):
            gap = row[b] - top[b]
            share = _exp(gap if gap > _LOWEST else _LOWEST)
            total[b] += share if gap > _LOWEST else 0.0
            row[b] = total[b]


@_jit
def sum_of_logs(top, total, copies, start, size):
    """Return the sum of copies (top + log total), with one logarithm for sixteen rows that occur once."""
    value, product, waiting = 0.0, 1.0, 0
    for b in range(size):
        count = copies[start + b]
        if count == 0:
            continue
        value += count * top[b]
        if count == 1:
            product *= total[b]
            waiting += 1
        else:
            value += count * math.log(total[b])
        if waiting == 16:
            value += math.log(product)
            product, waiting = 1.0, 0
    return value + math.log(product)


@_jit
def _thresholds(key, number, total, size, threshold):
    """Write where the random numbers of a block, which begins with the row of that number, lie in its running sums."""
    for b in range(size):
        threshold[b] = unit(mix(key + GOLDEN * np.uint64(number + b))) * total[b]


@_jit
def labels_at(threshold, running, size, drawn):
    """Draw one label for each row of a block, from its running sums and a random place in them."""
    for b in range(size):
        drawn[b] = 0
    for component in range(running.shape[0] - 1):
        row = running[component]
        for b in range(size):
            drawn[b] += row[b] <= threshold[b]


@_jit
def sort_by_label(x, size, wanted, drawn, means, first, ends, sorted_x, keys=None, sorted_keys=None):
    """Copy the wanted rows of a block, label by label, as offsets from the means; `ends` says where labels end.

    Features before the `first` are left out. Where rows have keys, these go with them.
    """
    for component in range(ends.shape[0]):
        ends[component] = 0
    for b in range(size):
        ends[drawn[b]] += wanted[b]
    total = 0
    for component in range(ends.shape[0]):
        total += ends[component]
        ends[component] = total - ends[component]
    for b in range(size):
        if wanted[b]:
            label = drawn[b]
            position = ends[label]
            ends[label] = position + 1
            if keys is not None:
                sorted_keys[position] = keys[b]
            for j in range(first, x.shape[0]):
                sorted_x[j, position] = x[j, b] - means[label, j]


@_jit
def add_sums(sorted_x, ends, is_diagonal, s0, s1, s2):
    """Add counts, sums and squares of rows that are sorted by label."""
    first = 0
    for component in range(ends.shape[0]):
        last = ends[component]
        if last == first:
            continue
        s0[component] += last - first
        for i in range(sorted_x.shape[0]):
            x_i, total = sorted_x[i, first:last], 0.0
            for b in range(last - first):
                total += x_i[b]
            s1[component, i] += total
            for j in range(i if is_diagonal else 0, i + 1):
                x_j, total = sorted_x[j, first:last], 0.0
                for b in range(last - first):
                    total += x_i[b] * x_j[b]
                s2[component, i, j] += total
        first = last


@_jit
def log_constants(log_weights, factors, k, constants):
    """Write what the log joint densities of the leading `k` components have in front of the distance."""
    d = factors.shape[1]
    for component in range(k):
        constants[component] = log_weights[component] - d * _HALF_LOG_2PI
        for j in range(d):
            constants[component] += math.log(factors[component, j, j])


@_jit
def allocate(rows, copies, first, last, number, k, is_diagonal, parameters, key, labels, s0, s1, s2):
    """Draw the labels of rows `first` to `last` - 1 and add what they count to the sums (math.md, 10.1 and 10.2).

    Parameters
    ----------
    rows : ndarray of float64, shape (n, D)
        Rows, standardised units.
    copies : ndarray of int64, shape (n,)
        How often each row occurs; each copy gets a label of its own. A row that does not is left as it is.
    first, last : int
        The rows of this call.
    number : int
        The number of the first row of `rows` among all rows, wherever they are.
    k : int
        Number of components in use, the leading ones of the parameters.
    is_diagonal : bool
        Whether the factors are diagonal.
    parameters : Parameters
        Current parameters.
    key : uint64
        From `label_key`.
    labels : ndarray of int16, shape (n,)
        Written in place: the label of the last copy.
    s0, s1, s2 : ndarray of float64, shapes (K,), (K, D), (K, D, D)
        Counts, sums and squares around the current means, added to in place; s2 is a lower triangle.

    Returns
    -------
    float
        The log-likelihood of these rows at the current parameters, labels summed out.
    """
    d = rows.shape[1]
    x, c, y = scratch_rows(d, ROWS), scratch_rows(d, ROWS), scratch(ROWS)
    running, top, total, threshold = scratch_rows(k, ROWS), scratch(ROWS), scratch(ROWS), scratch(ROWS)
    constants, ends = np.empty(k), np.empty(k, dtype=np.int64)
    drawn, wanted = np.empty(ROWS, dtype=np.int64), np.empty(ROWS, dtype=np.int64)
    log_constants(parameters.log_weights, parameters.factors, k, constants)
    log_likelihood = 0.0
    for start in range(first, last, ROWS):
        size = min(ROWS, last - start)
        _load(rows, start, size, x)
        for component in range(k):
            mean, factor = parameters.means[component], parameters.factors[component]
            log_joint(x, size, mean, factor, is_diagonal, constants[component], c, y, running[component])
        accumulate(running, size, top, total)
        log_likelihood += sum_of_logs(top, total, copies, start, size)
        copy, waiting = 0, 1
        while waiting > 0:
            copy_key = mix(key + GOLDEN * np.uint64(copy))
            _thresholds(copy_key, number + start, total, size, threshold)
            labels_at(threshold, running, size, drawn)
            waiting = 0
            for b in range(size):
                count = copies[start + b]
                wanted[b] = count > copy
                waiting += count > copy + 1
                labels[start + b] = drawn[b] if count > copy else labels[start + b]
            sort_by_label(x, size, wanted, drawn, parameters.means, 0, ends, c)
            add_sums(c, ends, is_diagonal, s0, s1, s2)
            copy += 1
    return log_likelihood


@_jit
def clear(s0, s1, s2, first):
    """Set the sums of components `first` and later to zero."""
    for component in range(first, s0.shape[0]):
        s0[component] = 0.0
        for i in range(s1.shape[1]):
            s1[component, i] = 0.0
            for j in range(s2.shape[2]):
                s2[component, i, j] = 0.0


@_jit
def log_likelihoods(rows, row_weights, log_weights, means, factors, is_diagonal, out):
    """Add the log-likelihoods of rows under many mixtures (math.md, 4.5).

    Parameters
    ----------
    rows : ndarray of float64, shape (n, D)
        Rows, standardised units.
    row_weights : ndarray of float64, shape (n,)
        Their weights; a row of weight zero has no effect, whatever it holds.
    log_weights : ndarray of float64, shape (S, K)
        Log component weights of each mixture.
    means : ndarray of float64, shape (S, K, D)
        Their means.
    factors : ndarray of float64, shape (S, K, D, D)
        Lower Cholesky factors of their precisions.
    is_diagonal : bool
        Whether the factors are diagonal.
    out : ndarray of float64, shape (S,)
        Added to in place.
    """
    (n, d), k = rows.shape, log_weights.shape[1]
    x, c, y = scratch_rows(d, ROWS), scratch_rows(d, ROWS), scratch(ROWS)
    running, top, total = scratch_rows(k, ROWS), scratch(ROWS), scratch(ROWS)
    constants = np.empty((len(out), k))
    for mixture in range(len(out)):
        log_constants(log_weights[mixture], factors[mixture], k, constants[mixture])
    for start in range(0, n, ROWS):
        size = min(ROWS, n - start)
        _load(rows, start, size, x)
        for mixture in range(len(out)):
            for component in range(k):
                mean, factor = means[mixture, component], factors[mixture, component]
                log_joint(x, size, mean, factor, is_diagonal, constants[mixture, component], c, y, running[component])
            accumulate(running, size, top, total)
            out[mixture] += sum_of_logs(top, total, row_weights, start, size)
