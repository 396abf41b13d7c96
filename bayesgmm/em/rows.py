"""The rows of the data, packed once for the kernels.

A block holds one feature after the other, contiguous in memory and aligned to a cache line. The last block is padded
with rows of weight zero. Rows that the user weighted with zero are not packed at all: so they have no effect, to the
last bit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rows", "pack"]

Floats = NDArray[np.float64]

_CACHE_LINE = 64


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


def pack(Z: Floats, sample_weight: Floats | None = None) -> Rows:
    """Pack rows into blocks.

    Parameters
    ----------
    Z : ndarray, shape (n, D)
        Rows; converted to float64 block by block, so that float32 input is never copied as a whole.
    sample_weight : ndarray, shape (n,), optional
        Non-negative weights; rows of weight zero are left out.

    Returns
    -------
    Rows
        The packed rows; memory is that of `Z` in float64.
    """
    if sample_weight is not None and not np.all(sample_weight > 0.0):
        keep = sample_weight > 0.0
        Z, sample_weight = Z[keep], sample_weight[keep]
    n, d = Z.shape
    size = _block_size(n, d)
    n_blocks = max(1, -(-n // size))
    blocks = _aligned_empty((n_blocks, d, size))
    for block in range(n_blocks):
        part = Z[block * size : (block + 1) * size]
        blocks[block, :, : len(part)] = part.T
    blocks[-1, :, n - (n_blocks - 1) * size :] = 0.0
    weights = _padded_weights(sample_weight, n, n_blocks, size)
    total = float(n) if sample_weight is None else float(np.sum(sample_weight))
    return Rows(blocks, weights, n, total)


def _block_size(n: int, d: int) -> int:
    """Rows per block: the scratch of a block stays in the second-level cache; few rows are not padded beyond need."""
    largest = 1024 if d <= 4 else 256 if d <= 32 else 128
    return min(largest, 8 * -(-max(n, 1) // 8))


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
