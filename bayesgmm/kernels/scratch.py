"""Scratch arrays that begin where a cache line does.

A vector register holds a whole cache line. Where an array begins elsewhere, every load of it touches two lines, which
costs the passes over the data up to a third (docs/benchmarks.md has what they take).
"""

import numba
import numpy as np

__all__ = ["scratch", "scratch_rows"]

_CACHE_LINE = 64


_jit = numba.njit(cache=True, nogil=True, error_model="numpy")


@_jit
def scratch(n):
    """Make a vector of n numbers, not filled."""
    buffer = np.empty(n + _CACHE_LINE // 8)
    skip = -buffer.ctypes.data % _CACHE_LINE // 8
    return buffer[skip : skip + n]


@_jit
def scratch_rows(rows, size):
    """Make an array of shape (rows, size), not filled; all rows are aligned where the size is a multiple of eight."""
    return scratch(rows * size).reshape((rows, size))
