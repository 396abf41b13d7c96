"""The rows of the data, packed once for the kernels.

A block holds one feature after the other, contiguous in memory and aligned to a cache line. The last block is padded
with rows of weight zero. Rows that the user weighted with zero are not packed at all: so they have no effect, to the
last bit.

Beside what the user gave there is one float64 copy, the packed one: rows in the user's units are standardised block by
block on the way (`StandardRows`), never as a whole.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesgmm.data import Scaling
from bayesgmm.kernels.em import rows_of_block

__all__ = ["Rows", "StandardRows", "has_missing", "merge_repeated", "pack"]

Floats = NDArray[np.float64]

_CACHE_LINE = 64
#: Rows that are looked at together where a whole table would cost a temporary copy.
_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class Rows:
    """Packed rows with their weights.

    Parameters
    ----------
    blocks : ndarray, shape (blocks, D, B)
        The rows, standardised units.
    weights : ndarray, shape (blocks, B) or (2, B)
        Weights of the rows; two rows stand for "every block but the last" and "the last block".
    n : int
        Number of rows that are packed.
    total_weight : float
        Sum of the weights; `n` where there are none.
    """

    blocks: Floats
    weights: Floats
    n: int
    total_weight: float

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return int(self.blocks.shape[1])

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return int(self.blocks.shape[0])

    @property
    def nbytes(self) -> int:
        """Memory that they take, in bytes."""
        return int(self.blocks.nbytes + self.weights.nbytes)


@dataclass(frozen=True, eq=False)
class StandardRows:
    """Rows in the user's units that are standardised where they are looked at, as ``Z[i:j]``.

    It takes the place of an array Z where only parts of Z are needed at a time; `numpy.asarray` gives the whole.

    Parameters
    ----------
    values : ndarray, shape (n, D)
        The rows, user's units, of any real type.
    scaling : Scaling
        The change of units.
    """

    values: NDArray[Any]
    scaling: Scaling

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return self.values.shape[0], self.values.shape[1]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> Floats:
        return self.scaling.standardize(self.values[rows])

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("standardised rows are computed, so they are always a copy")
        return self[:].astype(dtype or np.float64, copy=False)


def has_missing(Z: Floats | StandardRows) -> bool:
    """Return whether a value is NaN, looking at some rows at a time.

    Parameters
    ----------
    Z : ndarray or StandardRows, shape (n, D)
        Rows.

    Returns
    -------
    bool
        True where at least one value is missing.
    """
    values = Z.values if isinstance(Z, StandardRows) else Z
    return any(np.isnan(values[i : i + _ROWS_AT_ONCE]).any() for i in range(0, len(values), _ROWS_AT_ONCE))


def merge_repeated(rows: Floats, weights: Floats | None) -> tuple[Floats, Floats | None]:
    """Merge rows that are equal, and sort them, so that a weight of two is a row that occurs twice, wherever it stands.

    Parameters
    ----------
    rows : ndarray, shape (n, D)
        Rows.
    weights : ndarray, shape (n,), or None
        Row weights, positive.

    Returns
    -------
    rows : ndarray, shape (m, D)
        The different rows, in lexical order.
    weights : ndarray, shape (m,), or None
        The sums of their weights; None where all of them are one.
    """
    different, place = np.unique(rows, axis=0, return_inverse=True)
    sums = np.bincount(place.ravel(), weights, minlength=len(different)).astype(np.float64)
    return different, None if np.all(sums == 1.0) else sums


def pack(Z: Floats | StandardRows, sample_weight: Floats | None = None) -> Rows:
    """Pack rows into blocks.

    Parameters
    ----------
    Z : ndarray or StandardRows, shape (n, D)
        Rows; converted to float64, and standardised, block by block, so that they are never copied as a whole.
    sample_weight : ndarray, shape (n,), optional
        Non-negative weights; rows of weight zero are left out.

    Returns
    -------
    Rows
        The packed rows; memory is that of `Z` in float64.
    """
    values, scaling = (Z.values, Z.scaling) if isinstance(Z, StandardRows) else (Z, None)
    n, d = Z.shape
    chosen = None
    if sample_weight is not None and not np.all(sample_weight > 0.0):
        chosen = np.flatnonzero(sample_weight > 0.0)
        n, sample_weight = len(chosen), sample_weight[chosen]
    size = rows_of_block(n, d)
    n_blocks = max(1, -(-n // size))
    blocks = _aligned_empty((n_blocks, d, size))
    at_once = max(1, _ROWS_AT_ONCE // size)
    for first in range(0, n_blocks, at_once):
        rows = slice(first * size, min((first + at_once) * size, n))
        part = values[rows] if chosen is None else values[chosen[rows]]
        _fill(blocks[first : first + at_once], part, scaling)
    blocks[-1, :, n - (n_blocks - 1) * size :] = 0.0
    weights = _padded_weights(sample_weight, n, n_blocks, size)
    total = float(n) if sample_weight is None else float(np.sum(sample_weight))
    return Rows(blocks, weights, n, total)


def _fill(blocks: Floats, part: NDArray[Any], scaling: Scaling | None) -> None:
    """Write rows to blocks, all whole blocks by one call: a call for each costs as much as the kernel."""
    _, d, size = blocks.shape
    whole = len(part) // size
    rest = part[whole * size :]
    _write(blocks[:whole], part[: whole * size].reshape(whole, size, d).transpose(0, 2, 1), scaling)
    if len(rest):
        _write(blocks[whole, :, : len(rest)], rest.T, scaling)


def _write(out: Floats, columns: NDArray[Any], scaling: Scaling | None) -> None:
    """Write columns (..., D, rows), standardised by the very operations of `Scaling.standardize`."""
    if scaling is None:
        out[...] = columns
    else:
        np.subtract(columns, scaling.shift[:, None], out=out)
        np.divide(out, scaling.scale[:, None], out=out)


def _padded_weights(sample_weight: Floats | None, n: int, n_blocks: int, size: int) -> Floats:
    if sample_weight is None:
        weights = np.ones((min(2, n_blocks), size))
        weights[-1, n - (n_blocks - 1) * size :] = 0.0
        return weights
    weights = np.zeros((n_blocks, size))
    weights.flat[:n] = sample_weight
    return weights


def _aligned_empty(shape: tuple[int, ...]) -> Floats:
    n_bytes = 8 * int(np.prod(shape))
    raw = np.empty(n_bytes + _CACHE_LINE, dtype=np.uint8)
    offset = -raw.ctypes.data % _CACHE_LINE
    return raw[offset : offset + n_bytes].view(np.float64).reshape(shape)
