"""The search for the partition with the smallest expected loss.

There are more partitions of 30 rows than can be counted, so the search is one of local improvement from many starts
(Dahl, Johnson & Mueller 2022): rows are allocated one after another in random order, each to the cluster where the loss
is smallest; then sweeps move single rows until none moves; then whole clusters of the best partitions are broken up and
their rows allocated anew ("zealous updates"), which is kept where it gains. Cuts of hierarchical clusterings of the
similarity matrix and the best of the draws are starts as well, so that the result is never worse than theirs.

A board holds the state of a partition during the search: what the kernels need, kept up to date as rows move.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import squareform

from bayesgmm.kernels.partitions import (
    ARI,
    BINDER,
    VI,
    place_by_counts,
    place_by_similarity,
    remove_by_counts,
    remove_by_similarity,
    tabulate,
    within_sums,
)
from bayesgmm.posterior.partition_losses import (
    Draws,
    Labels,
    compact_labels,
    partition_distances,
    row_sums,
    similarity_loss,
)
from bayesgmm.progress import follow, track

__all__ = ["Board", "DrawsBoard", "SimilarityBoard", "descend", "hierarchical_cuts", "search", "spread_draws"]

#: Sweeps of one descent; four or five are usual.
MAX_SWEEPS = 100
#: Local optima whose clusters are broken up, and clusters broken up in each.
ZEALOUS_STARTS, ZEALOUS_ATTEMPTS = 3, 10
#: Rows that are clustered hierarchically at most: the time grows with their square, and so does the memory.
MAX_HIERARCHICAL_ROWS = 3000
#: Clusters up to which hierarchical clusterings are cut.
MAX_CUTS = 30
#: Draws that are tried as starts.
MAX_STARTING_DRAWS = 100
# An improvement smaller than this is rounding.
_GAIN = 1e-10


class Board(Protocol):
    """The state of a partition during the search."""

    labels: Labels
    sizes: Labels

    def place(self, rows: Labels) -> int:
        """Put rows where the loss is smallest; returns how many moved."""

    def remove(self, rows: Labels) -> None:
        """Take rows out of their clusters."""

    def reset(self, labels: Labels) -> None:
        """Start from a partition; -1 stands for rows in no cluster."""

    def loss_of(self, labels: Labels) -> float:
        """Return the expected loss of a partition of all rows."""


class SimilarityBoard:
    """A partition and what is needed to move its rows by a similarity matrix.

    Parameters
    ----------
    similarity : ndarray, shape (n, n)
        Probabilities that two rows belong together, ones on the diagonal.
    loss : {"vi_lb", "binder"}
        The loss.
    max_clusters : int
        Clusters at most.
    """

    def __init__(self, similarity: NDArray[np.floating], loss: str, max_clusters: int) -> None:
        self._similarity = similarity
        self._loss = loss
        self._kernel_loss = BINDER if loss == "binder" else VI
        self._row_sums = row_sums(similarity)
        self.sizes = np.zeros(max_clusters, dtype=np.int64)
        self.reset(np.full(len(similarity), -1))

    def place(self, rows: Labels) -> int:
        """Put rows where the loss is smallest; returns how many moved."""
        return int(place_by_similarity(rows, self._similarity, self.labels, self.sizes, self._mass, self._kernel_loss))

    def remove(self, rows: Labels) -> None:
        """Take rows out of their clusters."""
        remove_by_similarity(rows, self._similarity, self.labels, self.sizes, self._mass)

    def reset(self, labels: Labels) -> None:
        """Start from a partition; -1 stands for rows in no cluster."""
        self.labels = np.array(labels, dtype=np.int64)
        self.sizes[:] = np.bincount(self.labels[self.labels >= 0], minlength=len(self.sizes))
        self._mass = np.empty(len(self.labels))
        within_sums(self.labels, self._similarity, self._mass)

    def loss_of(self, labels: Labels) -> float:
        """Return the expected loss of a partition of all rows."""
        return similarity_loss(labels, self._similarity, self._loss, self._row_sums)


class DrawsBoard:
    """A partition and its tables against draws of labels.

    Parameters
    ----------
    draws : ndarray of unsigned int, shape (n, S)
        Labels of the rows in each draw, from 0.
    loss : {"vi", "ari"}
        The loss.
    max_clusters : int
        Clusters at most.
    """

    def __init__(self, draws: Draws, loss: str, max_clusters: int) -> None:
        self._draws = draws
        self._loss = loss
        self._kernel_loss = ARI if loss == "ari" else VI
        n, n_draws = draws.shape
        self.sizes = np.zeros(max_clusters, dtype=np.int64)
        self._counts = np.zeros((n_draws, int(draws.max()) + 1, max_clusters), dtype=np.int32)
        self._totals = np.zeros((2, n_draws))
        self.labels = np.full(n, -1, dtype=np.int64)

    def place(self, rows: Labels) -> int:
        """Put rows where the loss is smallest; returns how many moved."""
        state = (self.labels, self.sizes, self._counts, self._totals)
        return int(place_by_counts(rows, self._draws, *state, self._kernel_loss))

    def remove(self, rows: Labels) -> None:
        """Take rows out of their clusters."""
        remove_by_counts(rows, self._draws, self.labels, self.sizes, self._counts, self._totals, self._kernel_loss)

    def reset(self, labels: Labels) -> None:
        """Start from a partition; -1 stands for rows in no cluster."""
        self.labels = np.array(labels, dtype=np.int64)
        tabulate(self._draws, self.labels, self.sizes, self._counts, self._totals)

    def loss_of(self, labels: Labels) -> float:
        """Return the expected loss of a partition of all rows."""
        return float(partition_distances(labels, self._draws, self._loss).mean())


def search(
    board: Board, starts: Iterable[Labels], rng: np.random.Generator, *, n_runs: int, progress: bool = False
) -> Labels:
    """Find the partition with the smallest expected loss that many descents reach (math.md, 7.6).

    Parameters
    ----------
    board : Board
        The loss, and the state that is moved.
    starts : iterable of ndarray of int, shape (n,)
        Partitions that descents start from, besides random allocations.
    rng : Generator
        Orders in which rows are visited.
    n_runs : int
        Descents from random sequential allocations.
    progress : bool, default False
        Whether to show progress.

    Returns
    -------
    ndarray of int, shape (n,)
        Labels from 0 without gaps.
    """
    n = len(board.labels)
    nowhere = np.full(n, -1, dtype=np.int64)
    optima: dict[bytes, tuple[float, Labels]] = {}
    begun = [*starts, *[nowhere] * n_runs]
    for start in track(begun, "descents", total=len(begun), progress=progress):
        labels = descend(board, start, rng)
        optima[_first_appearance(labels).tobytes()] = board.loss_of(labels), labels
    best = sorted(optima.values(), key=lambda found: found[0])[:ZEALOUS_STARTS]
    broken_up = (_zealous(board, *found, rng) for found in best)
    improved = follow(broken_up, "partitions broken up", total=len(best), progress=progress)
    return min(improved, key=lambda found: found[0])[1]


def descend(board: Board, start: Labels, rng: np.random.Generator) -> Labels:
    """Move single rows of a partition until none moves.

    Parameters
    ----------
    board : Board
        The loss, and the state that is moved.
    start : ndarray of int, shape (n,)
        Where to start; rows with -1 are allocated first.
    rng : Generator
        Orders in which rows are visited.

    Returns
    -------
    ndarray of int, shape (n,)
        Labels from 0 without gaps.
    """
    board.reset(start)
    return _sweep(board, rng)


def _sweep(board: Board, rng: np.random.Generator) -> Labels:
    for _ in range(MAX_SWEEPS):
        if board.place(rng.permutation(len(board.labels))) == 0:
            break
    return compact_labels(board.labels)


def _zealous(board: Board, loss: float, labels: Labels, rng: np.random.Generator) -> tuple[float, Labels]:
    """Break up clusters, one after another, and keep what that gains."""
    for _ in range(ZEALOUS_ATTEMPTS):
        cluster = rng.integers(labels.max() + 1)
        rows = rng.permutation(np.flatnonzero(labels == cluster))
        board.reset(labels)
        board.remove(rows)
        board.place(rows)
        changed = _sweep(board, rng)
        again = board.loss_of(changed)
        if again < loss - _GAIN:
            loss, labels = again, changed
    return loss, labels


def _first_appearance(labels: Labels) -> Labels:
    """Return labels that are equal for equal partitions: clusters numbered in the order in which they appear."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse.reshape(-1)]


# -------------------------------------------------------------------- starts


def hierarchical_cuts(similarity: NDArray[np.floating], max_clusters: int) -> Iterator[Labels]:
    """Cut hierarchical clusterings of one minus the similarity, by average and by complete linkage, at every number.

    Parameters
    ----------
    similarity : ndarray, shape (n, n)
        Probabilities that two rows belong together.
    max_clusters : int
        Clusters at most.

    Yields
    ------
    ndarray of int, shape (n,)
        Labels from 0.
    """
    n = len(similarity)
    if not 2 <= n <= MAX_HIERARCHICAL_ROWS:
        return
    apart = squareform(1.0 - np.asarray(similarity, dtype=float), checks=False)
    for method in ("average", "complete"):
        cuts = cut_tree(linkage(apart, method), range(1, min(n, max_clusters, MAX_CUTS) + 1))
        yield from np.ascontiguousarray(cuts.T, dtype=np.int64)


def spread_draws(draws: Draws) -> Iterator[Labels]:
    """Yield at most `MAX_STARTING_DRAWS` of the draws, evenly spaced."""
    n_draws = draws.shape[1]
    for s in np.unique(np.linspace(0, n_draws - 1, min(n_draws, MAX_STARTING_DRAWS)).astype(int)):
        yield compact_labels(draws[:, s])
