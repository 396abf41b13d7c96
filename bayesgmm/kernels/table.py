"""The rows as the chains in memory see them, and their labels drawn in one pass: complete, incomplete, fractional."""

from typing import NamedTuple

import numba
import numpy as np

from bayesgmm.kernels.conjugate import add_matrix
from bayesgmm.kernels.fractions import Fractions, allocate_fractions
from bayesgmm.kernels.gaps import Gaps, allocate_incomplete
from bayesgmm.kernels.labels import allocate, clear, label_key

__all__ = ["Table", "allocate_all"]

_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})


class Table(NamedTuple):
    """Rows, standardised units."""

    rows: np.ndarray  # (n, D)
    copies: np.ndarray  # (n,) of int64, how often each occurs; 0 for rows that lack values
    bounds: np.ndarray  # (chunks + 1,) of int64, where the chunks of rows begin and end
    gaps: Gaps
    fractions: Fractions


@_jit
def allocate_all(table, k, is_diagonal, parameters, stream, labels, s0, s1, s2):
    """Draw all labels, chunk by chunk, and reduce the sums in order; return log-likelihood and `log_excess`."""
    key = label_key(stream)
    clear(s0, s1, s2, 0)
    part0, part1, part2 = np.empty_like(s0), np.empty_like(s1), np.empty_like(s2)
    log_likelihood, excess = 0.0, 0.0
    for chunk in range(table.bounds.shape[0] - 1):
        clear(part0, part1, part2, 0)
        log_likelihood += allocate(
            table.rows, table.copies, table.bounds[chunk], table.bounds[chunk + 1], 0, k, is_diagonal, parameters, key,
            labels, part0, part1, part2,
        )  # fmt: skip
        for component in range(k):
            s0[component] += part0[component]
            for i in range(s1.shape[1]):
                s1[component, i] += part1[component, i]
            add_matrix(part2[component], s2[component])
    if table.gaps.n_missing.shape[0] > 0:
        log_likelihood += allocate_incomplete(table.gaps, 0, k, is_diagonal, parameters, key, labels, s0, s1, s2)
    if table.fractions.shares.shape[0] > 0:
        further, excess = allocate_fractions(table.fractions, k, is_diagonal, parameters, key, s0, s1, s2)
        log_likelihood += further
    return log_likelihood, excess
