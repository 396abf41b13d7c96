"""The moves of a search for a partition: a row is taken out of its cluster and put where the expected loss is smallest.

One function for each kind of evidence. `place_by_similarity` needs the n x n matrix of probabilities that two rows
belong together, and serves losses that are functions of it (Binder, the lower bound of the variation of information).
`place_by_counts` needs draws of labels and keeps, for every draw, the table of its clusters against those of the
partition, so that the exact expectation of a loss over the draws changes by one number a draw when a row moves. Rows
that are in no cluster have the label -1: the same function allocates rows one after another, sweeps over rows that are
placed already, and places the rows of a cluster that was broken up.

Costs are those of a partition of the rows placed so far. For a row: O(n) with a similarity matrix; with draws O(S K)
and one stretch of memory a draw, because counts of one cluster of a draw against all clusters lie side by side.

References: Dahl, Johnson & Mueller (2022); Wade & Ghahramani (2018).
"""

import math

import numba
import numpy as np

__all__ = [
    "ARI",
    "BINDER",
    "VI",
    "distances",
    "number_from_zero",
    "place_by_counts",
    "place_by_similarity",
    "remove_by_counts",
    "remove_by_similarity",
    "tabulate",
    "within_sums",
]

#: Losses: variation of information (with similarities: its lower bound), Binder, one minus the adjusted Rand index.
VI, BINDER, ARI = 0, 1, 2

_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})

# A product of up to this size is kept as it is; its logarithm is taken before it can overflow.
_LARGE = 1e150
# A move must gain more than rounding, in units of a single row's cost, or sweeps would never end.
_GAIN = 1e-9


@_jit
def _x_log2_x(x):
    return x * math.log2(x) if x > 0 else 0.0


@_jit
def _empty_cluster(sizes):
    """Return the first cluster without rows, or -1 where all are in use."""
    for k in range(sizes.shape[0]):
        if sizes[k] == 0:
            return k
    return -1


@_jit
def _width(sizes, empty):
    """Return how many of the first clusters must be looked at: those in use lie among them, and the empty one."""
    width = sizes.shape[0]
    while width > 1 and sizes[width - 1] == 0 and width - 1 != empty:
        width -= 1
    return width


@_jit
def _cheapest(costs, sizes, before, empty, width):
    """Return the cluster in use, or the first that is not, with the lowest cost; the one before where none gains."""
    best, lowest = -1, math.inf
    for k in range(width):
        if (sizes[k] > 0 or k == empty) and costs[k] < lowest:
            best, lowest = k, costs[k]
    if before >= 0 and best != before:
        # What it leaves may have been emptied, and then stands for any new cluster.
        home = before if sizes[before] > 0 else empty
        if costs[home] <= lowest + _GAIN:
            best = before
    return best


# ---------------------------------------------------------------- similarities


@_jit
def within_sums(labels, similarity, out):
    """Write for each row the sum of its similarities to the rows of its cluster, itself included; 0 without cluster.

    Parameters
    ----------
    labels : ndarray of int64, shape (n,)
        Cluster of each row, -1 for none.
    similarity : ndarray of float, shape (n, n)
        Probabilities that two rows belong together.
    out : ndarray of float64, shape (n,)
        The sums.
    """
    n = labels.shape[0]
    for i in range(n):
        total = 0.0
        for j in range(n):
            if labels[j] == labels[i]:
                total += similarity[i, j]
        out[i] = total if labels[i] >= 0 else 0.0


@_jit
def remove_by_similarity(rows, similarity, labels, sizes, mass):
    """Take rows out of their clusters.

    Parameters
    ----------
    rows : ndarray of int64, shape (m,)
        Rows to take out; those that are in no cluster are passed over.
    similarity : ndarray of float, shape (n, n)
        Probabilities that two rows belong together; ones on the diagonal.
    labels : ndarray of int64, shape (n,)
        Cluster of each row, -1 for none; changed in place.
    sizes : ndarray of int64, shape (capacity,)
        Rows in each cluster; changed in place.
    mass : ndarray of float64, shape (n,)
        Sum of the similarities of a row to the rows of its cluster, itself included; changed in place.
    """
    for i in rows:
        k = labels[i]
        if k < 0:
            continue
        labels[i] = -1
        sizes[k] -= 1
        for j in range(labels.shape[0]):
            if labels[j] == k:
                mass[j] -= similarity[i, j]


@_jit
def place_by_similarity(rows, similarity, labels, sizes, mass, loss):
    """Put rows, one after another, into the cluster where the loss is smallest.

    Parameters
    ----------
    rows : ndarray of int64, shape (m,)
        Rows in the order in which they are placed; a row that is in a cluster is taken out first.
    similarity, labels, sizes, mass : ndarray
        As in `remove_by_similarity`; labels, sizes and mass are changed in place.
    loss : int
        VI or BINDER.

    Returns
    -------
    int
        Rows that are in another cluster than before.
    """
    n, capacity = labels.shape[0], sizes.shape[0]
    products, costs, own = np.empty(capacity), np.empty(capacity), np.empty(capacity)
    one = np.empty(1, np.int64)
    moved = 0
    for i in rows:
        before = labels[i]
        one[0] = i
        remove_by_similarity(one, similarity, labels, sizes, mass)
        empty = _empty_cluster(sizes)
        width = _width(sizes, empty)
        for k in range(width):
            products[k], costs[k], own[k] = 1.0, 0.0, 0.0
        for j in range(n):
            k = labels[j]
            if k < 0:
                continue
            s = similarity[i, j]
            own[k] += s
            if loss == VI:
                products[k] *= 1.0 + s / mass[j]
                if products[k] > _LARGE:
                    costs[k] -= 2.0 * math.log2(products[k])
                    products[k] = 1.0
        for k in range(width):
            if sizes[k] == 0 and k != empty:
                continue
            if loss == VI:
                # f(m + 1) - f(m) - 2 log2(own mass) - 2 sum of log2(mass after / mass before)
                costs[k] += _x_log2_x(sizes[k] + 1.0) - _x_log2_x(float(sizes[k]))
                costs[k] -= 2.0 * math.log2(products[k] * (own[k] + similarity[i, i]))
            else:
                costs[k] = sizes[k] - 2.0 * own[k]
        best = _cheapest(costs, sizes, before, empty, width)
        moved += best != before
        labels[i] = best
        sizes[best] += 1
        mass[i] = own[best] + similarity[i, i]
        for j in range(n):
            if labels[j] == best and j != i:
                mass[j] += similarity[i, j]
    return moved


# ---------------------------------------------------------------- draws


@_jit
def remove_by_counts(rows, draws, labels, sizes, counts, totals, loss):
    """Take rows out of their clusters and out of the tables.

    Parameters
    ----------
    rows : ndarray of int64, shape (m,)
        Rows to take out; those that are in no cluster are passed over.
    draws : ndarray of int, shape (n, S)
        Labels of the rows in each draw, from 0.
    labels, sizes : ndarray of int64, shapes (n,), (capacity,)
        Cluster of each row, -1 for none, and rows in each cluster; changed in place.
    counts : ndarray of int32, shape (S, clusters of a draw, capacity)
        Rows that are in cluster z of draw s and in cluster k of the partition; changed in place.
    totals : ndarray of float64, shape (2, S)
        Pairs of rows that are together in a draw; pairs that are together in both. Changed in place; only for ARI.
    loss : int
        VI or ARI.
    """
    for i in rows:
        k = labels[i]
        if k < 0:
            continue
        labels[i] = -1
        sizes[k] -= 1
        for s in range(draws.shape[1]):
            z = draws[i, s]
            counts[s, z, k] -= 1
            if loss != ARI:
                continue
            for other in range(sizes.shape[0]):
                totals[0, s] -= counts[s, z, other]
            totals[1, s] -= counts[s, z, k]


@_jit
def _costs_by_counts(i, draws, sizes, counts, totals, loss, steps, width, costs):
    """Write what the partition costs with row i in each of the first `width` clusters, up to a constant."""
    n_draws = draws.shape[1]
    costs[:] = 0.0
    if loss == VI:
        for s in range(n_draws):
            row = counts[s, draws[i, s]]
            for k in range(width):
                costs[k] -= steps[row[k]]
        for k in range(width):
            costs[k] = 2.0 * costs[k] / n_draws + steps[sizes[k]]
    else:
        n_placed, pairs = 1.0, 0.0
        for k in range(sizes.shape[0]):
            n_placed += sizes[k]
            pairs += 0.5 * sizes[k] * (sizes[k] - 1.0)
        every = max(0.5 * n_placed * (n_placed - 1.0), 1.0)
        for s in range(n_draws):
            row = counts[s, draws[i, s]]
            together = totals[0, s]
            for k in range(sizes.shape[0]):
                together += row[k]
            for k in range(width):
                mine = pairs + sizes[k]
                by_chance = mine * together / every
                room = 0.5 * (mine + together) - by_chance
                # Two trivial partitions (all rows together, or none) are equal: the index is one.
                costs[k] -= (totals[1, s] + row[k] - by_chance) / room if room > 1e-12 * every else 1.0
        for k in range(width):
            # In units of a single row, like the others.
            costs[k] *= n_placed / n_draws


@_jit
def place_by_counts(rows, draws, labels, sizes, counts, totals, loss):
    """Put rows, one after another, into the cluster where the expected loss over the draws is smallest.

    Parameters
    ----------
    rows : ndarray of int64, shape (m,)
        Rows in the order in which they are placed; a row that is in a cluster is taken out first.
    draws, labels, sizes, counts, totals : ndarray
        As in `remove_by_counts`; all but the draws are changed in place.
    loss : int
        VI or ARI.

    Returns
    -------
    int
        Rows that are in another cluster than before.
    """
    n, capacity = labels.shape[0], sizes.shape[0]
    steps = np.empty(n + 1)
    for m in range(n + 1):
        steps[m] = _x_log2_x(m + 1.0) - _x_log2_x(float(m))
    costs = np.empty(capacity)
    one = np.empty(1, np.int64)
    moved = 0
    for i in rows:
        before = labels[i]
        one[0] = i
        remove_by_counts(one, draws, labels, sizes, counts, totals, loss)
        empty = _empty_cluster(sizes)
        width = _width(sizes, empty)
        _costs_by_counts(i, draws, sizes, counts, totals, loss, steps, width, costs)
        best = _cheapest(costs, sizes, before, empty, width)
        moved += best != before
        labels[i] = best
        sizes[best] += 1
        for s in range(draws.shape[1]):
            z = draws[i, s]
            if loss == ARI:
                for k in range(capacity):
                    totals[0, s] += counts[s, z, k]
                totals[1, s] += counts[s, z, best]
            counts[s, z, best] += 1
    return moved


@_jit
def tabulate(draws, labels, sizes, counts, totals):
    """Fill the tables from labels.

    Parameters
    ----------
    draws, labels, sizes, counts, totals : ndarray
        As in `remove_by_counts`; sizes, counts and totals are overwritten.
    """
    sizes[:], counts[:], totals[:] = 0, 0, 0.0
    for i in range(labels.shape[0]):
        k = labels[i]
        if k < 0:
            continue
        sizes[k] += 1
        for s in range(draws.shape[1]):
            counts[s, draws[i, s], k] += 1
    for s in range(draws.shape[1]):
        for z in range(counts.shape[1]):
            together = 0.0
            for k in range(sizes.shape[0]):
                together += counts[s, z, k]
                totals[1, s] += 0.5 * counts[s, z, k] * (counts[s, z, k] - 1.0)
            totals[0, s] += 0.5 * together * (together - 1.0)


@_jit
def number_from_zero(codes, out):
    """Write the labels of each draw as numbers from 0 in the order in which they appear.

    Parameters
    ----------
    codes : ndarray of int, shape (n, S)
        Labels, none of them negative.
    out : ndarray of int, shape (n, S)
        The new labels.

    Returns
    -------
    int
        The most labels in any draw.
    """
    names = np.empty(codes.max() + 1, np.int64)
    width = 0
    for s in range(codes.shape[1]):
        names[:] = -1
        used = 0
        for i in range(codes.shape[0]):
            code = codes[i, s]
            if names[code] < 0:
                names[code] = used
                used += 1
            out[i, s] = names[code]
        width = max(width, used)
    return width


@_jit
def distances(labels, draws, loss, out):
    """Write the loss of a partition against every draw.

    Parameters
    ----------
    labels : ndarray of int64, shape (n,)
        Cluster of each row, from 0.
    draws : ndarray of int, shape (n, S)
        Labels of the rows in each draw, from 0.
    loss : int
        VI (in bits), BINDER (share of the n^2 ordered pairs) or ARI (one minus the index).
    out : ndarray of float64, shape (S,)
        The losses.
    """
    n, n_draws = draws.shape
    width, capacity = draws.max() + 1, labels.max() + 1
    table = np.empty((width, capacity))
    for s in range(n_draws):
        table[:] = 0.0
        for i in range(n):
            table[draws[i, s], labels[i]] += 1.0
        mine = theirs = both = 0.0
        for k in range(capacity):
            total = 0.0
            for z in range(width):
                total += table[z, k]
            mine += _x_log2_x(total) if loss == VI else total * total
        for z in range(width):
            total = 0.0
            for k in range(capacity):
                total += table[z, k]
                both += _x_log2_x(table[z, k]) if loss == VI else table[z, k] * table[z, k]
            theirs += _x_log2_x(total) if loss == VI else total * total
        if loss == VI:
            out[s] = max(mine + theirs - 2.0 * both, 0.0) / n
        elif loss == BINDER:
            out[s] = (mine + theirs - 2.0 * both) / (float(n) * n)
        else:
            every = 0.5 * n * (n - 1.0)
            a, b, c = 0.5 * (mine - n), 0.5 * (theirs - n), 0.5 * (both - n)
            by_chance = a * b / every if every > 0 else 0.0
            room = 0.5 * (a + b) - by_chance
            out[s] = 1.0 - ((c - by_chance) / room if room > 1e-12 * every else 1.0)
