"""Assignment problems by the thousand: the best permutation of each cost matrix, and how far ahead it is.

The best permutation comes from shortest augmenting paths (Jonker & Volgenant 1987), which leave prices behind: reduced
costs c_jk - u_j - v_k that are zero on the pairs of the best permutation and nowhere negative. Any other permutation
differs from the best by cycles of exchanged names, and costs as much more as the reduced costs along these cycles. So
the second-best is one shortest cycle away, which Floyd & Warshall's shortest paths find in O(K^3), as cheap as the best
one itself; forbidding the pairs of the best one by one would take O(K^4).
"""

import math

import numba
import numpy as np

__all__ = ["assign_all"]

# Infinities must keep their meaning, and ties the order in which they are met: no fast mathematics here.
_jit = numba.njit(cache=True, nogil=True, error_model="numpy")


@_jit
def _best(cost, row_prices, column_prices, row_of, column_of):
    """Write the best assignment and its prices, row after row by a shortest augmenting path."""
    k = cost.shape[0]
    row_prices[:], column_prices[:], row_of[:], column_of[:] = 0.0, 0.0, -1, -1
    distances, previous = np.empty(k), np.empty(k, np.int64)
    is_done, is_seen = np.empty(k, np.bool_), np.empty(k, np.bool_)
    for start in range(k):
        distances[:], previous[:] = math.inf, -1
        is_done[:], is_seen[:] = False, False
        row, reached, end = start, 0.0, -1
        while end < 0:
            is_seen[row] = True
            nearest, column = math.inf, -1
            for j in range(k):
                if is_done[j]:
                    continue
                through = reached + cost[row, j] - row_prices[row] - column_prices[j]
                if through < distances[j]:
                    distances[j], previous[j] = through, row
                # Of equally near columns the first that is free ends the search.
                is_tied = column >= 0 and distances[j] == nearest
                if distances[j] < nearest or (is_tied and row_of[j] < 0 <= row_of[column]):
                    nearest, column = distances[j], j
            reached = nearest
            is_done[column] = True
            if row_of[column] < 0:
                end = column
            else:
                row = row_of[column]
        row_prices[start] += reached
        for i in range(k):
            if is_seen[i] and i != start:
                row_prices[i] += reached - distances[column_of[i]]
        for j in range(k):
            if is_done[j]:
                column_prices[j] -= reached - distances[j]
        column = end
        while True:
            row = previous[column]
            row_of[column] = row
            column, column_of[row] = column_of[row], column
            if row == start:
                break


@_jit
def _shortest_cycle(cost, row_prices, column_prices, column_of, paths):
    """Return how much the cheapest exchange of names costs; infinite for a single row."""
    k = cost.shape[0]
    for i in range(k):
        for j in range(k):
            reduced = cost[i, column_of[j]] - row_prices[i] - column_prices[column_of[j]]
            paths[i, j] = max(reduced, 0.0) if i != j else math.inf
    for middle in range(k):
        for i in range(k):
            for j in range(k):
                through = paths[i, middle] + paths[middle, j]
                if through < paths[i, j]:
                    paths[i, j] = through
    shortest = math.inf
    for i in range(k):
        shortest = min(shortest, paths[i, i])
    return shortest


@_jit
def assign_all(costs, permutations, best, margins):
    """Write the best permutation of every cost matrix, what it costs, and how much more the second-best costs.

    Parameters
    ----------
    costs : ndarray of float64, shape (S, K, K)
        Costs, all of them finite.
    permutations : ndarray of int64, shape (S, K)
        The column of each row.
    best, margins : ndarray of float64, shape (S,)
        Cost of the best permutation; cost of the second-best minus that. Infinite for K = 1.
    """
    n, k = costs.shape[0], costs.shape[1]
    row_prices, column_prices = np.empty(k), np.empty(k)
    row_of, paths = np.empty(k, np.int64), np.empty((k, k))
    for s in range(n):
        _best(costs[s], row_prices, column_prices, row_of, permutations[s])
        best[s] = 0.0
        for j in range(k):
            best[s] += costs[s, j, permutations[s, j]]
        margins[s] = _shortest_cycle(costs[s], row_prices, column_prices, permutations[s], paths)
