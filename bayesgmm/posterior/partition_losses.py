"""How far two partitions are apart, and how far a partition is from the posterior on average.

Four losses, none of which depends on how clusters are numbered. The variation of information and one minus the adjusted
Rand index are averaged over draws of labels; Binder's loss is linear in the similarity matrix, so that its average is a
function of it; the lower bound of the variation of information, by Jensen's inequality, is another. Logarithms have
base 2: distances are in bits.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesgmm.errors import ArgumentError
from bayesgmm.kernels.partitions import ARI, BINDER, VI, distances, number_from_zero, within_sums

__all__ = [
    "LOSSES",
    "check_loss",
    "compact_draws",
    "compact_labels",
    "partition_distances",
    "read_label_draws",
    "read_labels",
    "row_sums",
    "similarity_loss",
    "sort_by_size",
]

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Draws = NDArray[np.unsignedinteger]

#: The losses, and what they are called in words.
LOSSES = {
    "vi": "variation of information",
    "vi_lb": "lower bound of the variation of information",
    "binder": "Binder's loss",
    "ari": "one minus the adjusted Rand index",
}
_CLOSE = 2**16
_KERNEL_LOSSES = {"vi": VI, "binder": BINDER, "ari": ARI}


def check_loss(loss: str) -> str:
    """Return the name of a loss, or raise an ArgumentError that lists those there are."""
    if not isinstance(loss, str) or loss not in LOSSES:
        raise ArgumentError(f"loss={loss!r} is not known; use {', '.join(map(repr, LOSSES))}")
    return loss


def partition_distances(labels: Labels, draws: Draws, distance: str) -> Floats:
    """Compute how far a partition is from every draw (math.md, 7.5).

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
        Cluster of each row, from 0.
    draws : ndarray of unsigned int, shape (n, S)
        Labels of the rows in each draw, from 0.
    distance : {"vi", "binder", "ari"}
        Variation of information in bits; share of the n^2 ordered pairs on which the two disagree; one minus the
        adjusted Rand index.

    Returns
    -------
    ndarray, shape (S,)
        Distances; zero where the two are the same partition.
    """
    out = np.empty(draws.shape[1])
    distances(np.asarray(labels, dtype=np.int64), draws, _KERNEL_LOSSES[distance], out)
    return out


def similarity_loss(labels: Labels, similarity: NDArray[np.floating], loss: str, row_sums: Floats) -> float:
    """Compute an expected loss that is a function of the similarity matrix (math.md, 7.5).

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
        Cluster of each row, from 0.
    similarity : ndarray, shape (n, n)
        Probabilities that two rows belong together, ones on the diagonal.
    loss : {"binder", "vi_lb"}
        Expected share of the ordered pairs that are together in one partition and apart in the other; or the lower
        bound of the expected variation of information, in bits (Wade & Ghahramani 2018).
    row_sums : ndarray, shape (n,)
        Sums of the rows of the matrix, which are the same for every partition.

    Returns
    -------
    float
        The loss.
    """
    within = np.empty(len(labels))
    within_sums(labels, similarity, within)
    own = np.bincount(labels)[labels]
    if loss == "binder":
        return float(np.sum(own + row_sums - 2.0 * within)) / len(labels) ** 2
    return float(np.mean(np.log2(own) + np.log2(row_sums) - 2.0 * np.log2(within)))


def row_sums(similarity: NDArray[np.floating]) -> Floats:
    """Return the sums of the rows of a similarity matrix."""
    return similarity.sum(axis=1, dtype=np.float64)


# -------------------------------------------------------------------- labels


def compact_labels(labels: ArrayLike) -> Labels:
    """Return the labels of a partition as numbers from 0 without gaps."""
    return np.unique(np.asarray(labels), return_inverse=True)[1].astype(np.int64).reshape(-1)


def sort_by_size(labels: Labels) -> Labels:
    """Return labels by decreasing size of their clusters; of two equally large ones the first to appear comes first."""
    _, first, compact, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    rank = np.empty(len(sizes), dtype=np.int64)
    rank[np.lexsort((first, -sizes))] = np.arange(len(sizes))
    return rank[compact.reshape(-1)]


def read_labels(labels: ArrayLike, n: int) -> Labels:
    """Return a user's partition of `n` rows as numbers from 0, or raise an ArgumentError.

    Parameters
    ----------
    labels : array_like, shape (n,)
        Cluster of each row: numbers or names.
    n : int
        Number of rows.

    Returns
    -------
    ndarray of int, shape (n,)
        Labels from 0 without gaps.
    """
    array = np.asarray(labels)
    if array.shape != (n,):
        raise ArgumentError(f"labels has shape {array.shape}; this partition has {n} rows: pass one label for each")
    _refuse_missing(array, "labels")
    return compact_labels(array)


def read_label_draws(label_draws: ArrayLike) -> Draws:
    """Return a user's draws of labels with rows first, numbered from 0 within each draw, or raise an ArgumentError.

    Parameters
    ----------
    label_draws : array_like, shape (draws, n) or (chain, draw, n)
        Labels: numbers or names.

    Returns
    -------
    ndarray of unsigned int, shape (n, S)
        Labels from 0 without gaps; one byte each where that is enough.
    """
    array = np.asarray(label_draws)
    if array.ndim not in {2, 3} or 0 in array.shape:
        raise ArgumentError(
            f"label_draws has shape {array.shape}; it needs one row of labels for each draw: (draws, n), or "
            "(chain, draw, n)"
        )
    _refuse_missing(array, "label_draws")
    return compact_draws(np.ascontiguousarray(_codes(array).reshape(-1, array.shape[-1]).T))


def _codes(array: NDArray[Any]) -> NDArray[np.integer]:
    """Return labels as numbers that are not negative; whole numbers close to each other need no sorting."""
    if array.dtype.kind in "iu" and int(array.max()) - int(array.min()) < _CLOSE:
        return (array - array.min()).astype(np.uint16)
    return np.unique(array, return_inverse=True)[1]


def compact_draws(codes: NDArray[np.integer]) -> Draws:
    """Return the labels of each draw as numbers from 0 without gaps.

    Parameters
    ----------
    codes : ndarray of int, shape (n, S)
        Labels, none of them negative.

    Returns
    -------
    ndarray of unsigned int, shape (n, S)
        Labels; one byte each where that is enough.
    """
    out = np.empty(codes.shape, dtype=np.uint8)
    if number_from_zero(codes, out) > 256:
        out = np.empty(codes.shape, dtype=np.uint32)
        number_from_zero(codes, out)
    return out


def _refuse_missing(array: NDArray[np.generic], name: str) -> None:
    if array.dtype.kind not in "biufUSO":
        raise ArgumentError(f"{name} is an array of {array.dtype}; labels are whole numbers or names")
    if array.dtype.kind == "f" and not (np.all(np.isfinite(array)) and np.all(array == np.floor(array))):
        raise ArgumentError(f"{name} holds numbers that are not whole; labels are whole numbers or names")
    if array.dtype.kind == "O" and not all(isinstance(label, str | int | np.integer) for label in array.flat):
        raise ArgumentError(f"{name} holds something that is neither a whole number nor a name")
