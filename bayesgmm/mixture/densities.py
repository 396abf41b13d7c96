"""Densities and responsibilities of many rows under many mixtures, by the compiled pass that EM uses.

Posterior draws times rows are many: 2000 draws of three components at 20,000 rows are 120 million Gaussian densities.
NumPy writes every step of them to memory; the pass keeps a block of rows in the core's cache and runs several draws at
a time, which was measured to take a tenth of the processor time. Small problems stay with NumPy, so that showing a fit
does not wait for the compiler.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
from numpy.typing import NDArray

from bayesgmm.cores import available_cores

__all__ = ["is_large", "log_densities", "responsibilities"]

Floats = NDArray[np.float64]

# Multiplications from which the pass is used: about 20 ms of NumPy.
_LARGE = 2**20
# Rows and mixtures of one task: enough not to notice the change of task.
_ROWS_OF_TASK, _MIXTURES_OF_TASK = 65_536, 16


def is_large(means: Floats, n: int) -> bool:
    """Whether so many densities are worth the compiled pass; `means` is (S, K, D)."""
    return n * means.size >= _LARGE


def log_densities(rows: Floats, means: Floats, whitening: Floats, log_normalizers: Floats) -> Floats:
    """Compute log densities of complete rows.

    Parameters
    ----------
    rows : ndarray, shape (n, D)
        Rows without missing values.
    means, whitening, log_normalizers : ndarray, shapes (S, K, D), (S, K, D, D), (S, K)
        Means, inverse Cholesky factors, and log weights plus logs of the normalising constants.

    Returns
    -------
    ndarray, shape (S, n)
        Log densities.
    """
    n, s, k = len(rows), len(means), means.shape[1]
    out = np.empty((s, n))
    _run(rows, means, whitening, log_normalizers, out, np.empty((0, n, k)))
    return out


def responsibilities(rows: Floats, means: Floats, whitening: Floats, log_normalizers: Floats) -> Floats:
    """Compute responsibilities of complete rows.

    Parameters
    ----------
    rows : ndarray, shape (n, D)
        Rows without missing values.
    means, whitening, log_normalizers : ndarray, shapes (S, K, D), (S, K, D, D), (S, K)
        As for `log_densities`.

    Returns
    -------
    ndarray, shape (S, n, K)
        Responsibilities; those below exp(-650) are zero.
    """
    n, s, k = len(rows), len(means), means.shape[1]
    shares = np.empty((s, n, k))
    _run(rows, means, whitening, log_normalizers, np.empty((s, n)), shares)
    return shares


def _run(
    rows: Floats, means: Floats, whitening: Floats, log_normalizers: Floats, densities: Floats, shares: Floats
) -> None:
    """Fill the outputs, task by task in threads; a task owns some mixtures and some blocks of rows."""
    from bayesgmm.kernels.em import density_pass

    blocks = _packed(rows)
    blocks_of_task = max(1, _ROWS_OF_TASK // blocks.shape[2])
    means, whitening, log_normalizers = map(np.ascontiguousarray, (means, whitening, log_normalizers))

    def run(task: tuple[int, int]) -> None:
        """Fill the densities of some mixtures at some rows."""
        first, s = task
        batch = slice(s, s + _MIXTURES_OF_TASK)
        last = min(first + blocks_of_task, len(blocks))
        density_pass(
            blocks, first, last, means[batch], whitening[batch], log_normalizers[batch], densities[batch], shares[batch]
        )

    tasks = list(product(range(0, len(blocks), blocks_of_task), range(0, len(means), _MIXTURES_OF_TASK)))
    with ThreadPoolExecutor(min(len(tasks), available_cores())) as pool:
        for _ in pool.map(run, tasks):
            pass


def _packed(rows: Floats) -> Floats:
    """Return the rows in blocks (blocks, D, B), one feature after the other; padding is zeros."""
    from bayesgmm.kernels.em import rows_of_block
    from bayesgmm.kernels.scratch import scratch

    n, d = rows.shape
    size = rows_of_block(n, d)
    n_blocks = -(-n // size)
    blocks: Floats = scratch(n_blocks * d * size).reshape(n_blocks, d, size)
    blocks[-1] = 0.0
    for block in range(n_blocks):
        part = rows[block * size : (block + 1) * size]
        blocks[block, :, : len(part)] = part.T
    return blocks
