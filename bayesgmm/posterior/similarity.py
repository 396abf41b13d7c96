"""How probable it is that two rows belong together: the similarity matrix, from draws of labels or of mixtures.

It does not depend on how components are numbered, so it stands where labels mean nothing. Draws of labels count how
often two rows share one; draws of mixtures give the probability for each draw, without the noise of drawn labels
(Rao-Blackwell). Both are sums of products of blocks of rows x (draws x components), which BLAS adds up: nothing of the
size draws x n x n is ever held. The matrix itself has n^2 numbers; how many rows are too many is for the caller to say.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from bayesgmm.mixture import BLOCK, Mixture
from bayesgmm.progress import track

__all__ = ["label_similarity", "mixture_similarity"]

#: From this many rows on the matrix is held in single precision: half the memory and the time, six digits.
SINGLE_PRECISION_ROWS = 2000

_WHAT = "blocks of the similarity matrix"


def label_similarity(draws: NDArray[np.unsignedinteger], *, progress: bool = False) -> NDArray[np.floating]:
    """Count how often two rows share a label (math.md, 7.4).

    Parameters
    ----------
    draws : ndarray of int, shape (n, S)
        Labels of the rows in each draw, from 0.
    progress : bool, default False
        Whether to show progress.

    Returns
    -------
    ndarray, shape (n, n)
        Shares of the draws; ones on the diagonal.
    """
    n, n_draws = draws.shape
    width = int(draws.max()) + 1
    step = max(1, BLOCK // (n * width))
    clusters = np.arange(width, dtype=draws.dtype)
    starts = range(0, n_draws, step)
    blocks = ((draws[:, s : s + step, None] == clusters).reshape(n, -1) for s in starts)
    return _mean_product(track(blocks, _WHAT, total=len(starts), progress=progress), n, n_draws)


def mixture_similarity(mixture: Mixture, X: NDArray[np.float64], *, progress: bool = False) -> NDArray[np.floating]:
    """Average the probability that two rows come from the same component (math.md, 7.4).

    Parameters
    ----------
    mixture : Mixture
        One mixture, or a batch of draws, in any numbering of the components.
    X : ndarray, shape (n, D)
        Rows, in the units of the mixture.
    progress : bool, default False
        Whether to show progress.

    Returns
    -------
    ndarray, shape (n, n)
        Probabilities; ones on the diagonal.
    """
    draws = mixture.flatten()
    step = max(1, BLOCK // (len(X) * draws.n_components))
    starts = range(0, draws.n_mixtures, step)
    blocks = (np.swapaxes(draws[s : s + step].responsibilities(X), 0, 1).reshape(len(X), -1) for s in starts)
    return _mean_product(track(blocks, _WHAT, total=len(starts), progress=progress), len(X), draws.n_mixtures)


def _mean_product(blocks: Iterable[NDArray[Any]], n: int, count: int) -> NDArray[np.floating]:
    """Return the sum of block @ block.T over `count`, with ones on the diagonal."""
    is_single = n >= SINGLE_PRECISION_ROWS
    precision, add = (np.float32, blas.ssyrk) if is_single else (np.float64, blas.dsyrk)
    total: NDArray[Any] = np.zeros((n, n), dtype=precision, order="F")
    for block in blocks:
        # BLAS reads columns: a block of rows goes in transposed, without a copy.
        rows: Any = np.ascontiguousarray(block, dtype=precision)
        total = add(1.0 / count, rows.T, beta=1.0, c=total, trans=1, overwrite_c=1)
    for i in range(n):
        total[i, i] = 1.0
        total[i + 1 :, i] = total[i, i + 1 :]
    return np.minimum(total, 1.0, out=total).T
