"""One partition for a posterior: the estimate that loses least on average, and how much it leaves uncertain.

A posterior of clusterings is a bag of partitions. What is reported is the partition with the smallest expected loss
(`partition_losses`, `partition_search`), the similarity matrix behind it (`similarity`), and a credible ball around it
(`credible_ball`). None of this depends on how components are numbered, so it stands where labels mean nothing.

Draws of labels may come from anywhere. From draws of mixtures the similarity matrix is computed without drawing labels;
for the losses and for the ball, which are functions of whole partitions, labels are drawn, one set for each draw. Rows
count once, whatever weight they had in a fit: what is partitioned are the rows that are listed (math.md, 7.5).
Whatever is done with less than all rows or draws is said in `Partition.notes`.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesgmm.errors import ArgumentError
from bayesgmm.mixture import BLOCK, Mixture
from bayesgmm.posterior.checks import check_prob
from bayesgmm.posterior.credible_ball import CredibleBall, credible_ball
from bayesgmm.posterior.partition_losses import (
    LOSSES,
    Draws,
    Labels,
    check_loss,
    compact_draws,
    partition_distances,
    read_label_draws,
    read_labels,
    row_sums,
    similarity_loss,
    sort_by_size,
)
from bayesgmm.posterior.partition_search import (
    Board,
    DrawsBoard,
    SimilarityBoard,
    descend,
    hierarchical_cuts,
    search,
    spread_draws,
)
from bayesgmm.posterior.similarity import label_similarity, mixture_similarity
from bayesgmm.progress import track
from bayesgmm.seeding import as_generator, recorded_seed
from bayesgmm.showing import Shown

__all__ = ["Partition", "partition", "partition_mixture"]

#: Rows from which the n x n similarity matrix (400 MB in single precision) is too much unless it is asked for.
MAX_ROWS = 10_000
#: Rows x draws x clusters of one sweep of the search, a few hundredths of a second; and draws that are always used.
SWEEP_WORK, MIN_SEARCH_DRAWS = 10**7, 200
#: Labels that are drawn from mixtures, one byte each.
MAX_LABELS = 2 * 10**8
#: Multiplications and additions that go into a similarity matrix: tens of seconds.
SIMILARITY_WORK = 2 * 10**12
#: Sets of labels drawn from a single estimate, which knows no other uncertainty than that of the allocations.
LABELS_OF_ONE = 1000


@dataclass(frozen=True, eq=False)
class Partition(Shown):
    """The partition with the smallest expected loss, and what surrounds it.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
        Cluster of each row, from 0 by decreasing size.
    loss : {"vi", "vi_lb", "binder", "ari"}
        What was minimised.
    expected_loss : float
        The smallest expected loss that was found; in bits for "vi" and "vi_lb".
    similarity : ndarray, shape (n, n), or None
        Probabilities that two rows belong together; None where n is too large (see `notes`).
    credible_ball : CredibleBall
        How far around the estimate the posterior reaches.
    draws : ndarray of unsigned int, shape (n, S)
        The draws of labels that it was computed from.
    rows : ndarray of int, shape (n,)
        Positions of the rows in the table; not all where the table was too large (see `notes`).
    notes : tuple of str
        What was done with less than all rows or draws.
    """

    labels: Labels
    loss: str
    expected_loss: float
    similarity: NDArray[np.floating] | None = field(repr=False)
    credible_ball: CredibleBall
    draws: Draws = field(repr=False)
    rows: NDArray[np.intp] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return int(self.labels.max()) + 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Rows in each cluster, shape (n_clusters,)."""
        return np.bincount(self.labels)

    def expected_loss_of(self, labels: ArrayLike) -> float:
        """Compute the expected loss of any partition of the same rows (math.md, 7.5).

        Parameters
        ----------
        labels : array_like, shape (n,)
            Cluster of each row: numbers or names.

        Returns
        -------
        float
            The expectation of the loss that was minimised.
        """
        return _expected_loss(read_labels(labels, len(self.labels)), self.loss, self.draws, self.similarity)

    def distances_to(self, labels: ArrayLike, distance: str = "vi") -> NDArray[np.float64]:
        """Compute how far a partition of the same rows is from every draw (math.md, 7.5).

        Parameters
        ----------
        labels : array_like, shape (n,)
            Cluster of each row: numbers or names.
        distance : {"vi", "binder", "ari"}, default "vi"
            Variation of information in bits, Binder's loss, or one minus the adjusted Rand index.

        Returns
        -------
        ndarray, shape (S,)
            Distances.
        """
        if distance not in ("vi", "binder", "ari"):
            raise ArgumentError(f"distance={distance!r} is not known; use 'vi', 'binder' or 'ari'")
        return partition_distances(read_labels(labels, len(self.labels)), self.draws, distance)

    def is_inside_ball(self, labels: ArrayLike) -> bool:
        """Say whether a partition of the same rows lies inside the credible ball.

        Parameters
        ----------
        labels : array_like, shape (n,)
            Cluster of each row: numbers or names.

        Returns
        -------
        bool
            Whether it is no farther from the estimate than the radius.
        """
        theirs = read_labels(labels, len(self.labels)).astype(np.uint32)[:, None]
        distance = partition_distances(self.labels, theirs, self.credible_ball.distance)[0]
        return self.credible_ball.holds(float(distance))

    def __repr__(self) -> str:
        shown = "/".join(map(str, self.sizes[:10])) + ("/..." if self.n_clusters > 10 else "")
        ball, noun = self.credible_ball, "cluster" if self.n_clusters == 1 else "clusters"
        return (
            f"Partition({len(self.labels)} rows in {self.n_clusters} {noun} of sizes {shown}; expected "
            f"{LOSSES[self.loss]} {self.expected_loss:.4g}; {ball.prob:.0%} of the draws lie within {ball.radius:.4g} "
            f"and have {ball.upper.n_clusters} to {ball.lower.n_clusters} clusters"
            + "".join(f"; {note}" for note in self.notes)
            + ")"
        )


def partition(
    label_draws: ArrayLike,
    loss: str = "vi",
    *,
    n_runs: int = 16,
    prob: float = 0.95,
    seed: Any = 0,
    max_clusters: int | None = None,
    max_rows: int = MAX_ROWS,
    progress: bool = False,
) -> Partition:
    """Find the partition that loses least on average over draws of labels, and its credible ball.

    Parameters
    ----------
    label_draws : array_like, shape (draws, n) or (chain, draw, n)
        Labels of the rows in each draw, numbers or names, from any sampler; they mean nothing across draws.
    loss : {"vi", "vi_lb", "binder", "ari"}, default "vi"
        "vi": variation of information, exact over the draws. "vi_lb": its lower bound, a function of the similarity
        matrix. "binder": share of pairs wrongly together or apart; likes small clusters. "ari": one minus the adjusted
        Rand index, exact over the draws.
    n_runs : int, default 16
        Descents from random starts, besides those from hierarchical clusterings and from draws.
    prob : float, default 0.95
        Share of the draws that the credible ball holds.
    seed : int, Generator or None, default 0
        For the orders in which rows are visited.
    max_clusters : int, optional
        Clusters at most. Default n for losses of the similarity matrix, otherwise twice the most in any draw.
    max_rows : int, default 10,000
        From more rows on no n x n matrix is held: "vi" and "ari" do without it, "vi_lb" and "binder" work on that many
        rows chosen at random.
    progress : bool, default False
        Whether to show on the error stream what is done and the time left; only in a terminal or a notebook.

    Returns
    -------
    Partition
        Labels, expected loss, similarity matrix, credible ball.

    Raises
    ------
    ArgumentError
        When an argument is illegal, or the draws are no labels.

    Notes
    -----
    The losses are math.md, 7.5; the search 7.6, O(n S K) a sweep with draws and O(n^2) with the similarity matrix.

    References
    ----------
    Wade & Ghahramani (2018); Dahl, Johnson & Mueller (2022).

    Examples
    --------
    >>> found = partition([[0, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 1]])
    >>> found.labels
    array([0, 0, 1, 1])
    >>> round(found.expected_loss, 3)
    0.396
    """
    _check_settings(loss, n_runs, prob, max_clusters, max_rows)
    rng = as_generator(recorded_seed(seed))
    draws = read_label_draws(label_draws)
    rows, notes = _choose_rows(len(draws), loss, max_rows, rng)
    draws = draws if len(rows) == len(draws) else compact_draws(draws[rows])
    similarity = None
    if len(rows) <= max_rows:
        enough = _thin(draws, SIMILARITY_WORK // len(rows) ** 2 // (int(draws.max()) + 1))
        similarity = label_similarity(enough, progress=progress)
    return _estimate(
        draws, similarity, loss, rng, rows, notes, n_runs=n_runs, prob=prob, max_clusters=max_clusters,
        progress=progress,
    )  # fmt: skip


def partition_mixture(
    mixture: Mixture,
    X: NDArray[np.float64],
    loss: str = "vi",
    *,
    n_runs: int = 16,
    prob: float = 0.95,
    seed: Any = 0,
    max_clusters: int | None = None,
    max_rows: int = MAX_ROWS,
    progress: bool = False,
) -> Partition:
    """Find the partition of rows that loses least on average over a posterior of mixtures, and its credible ball.

    Parameters
    ----------
    mixture : Mixture
        Draws with any leading dimensions, in any numbering of the components; or one estimate, of which only the
        uncertainty of the allocations is known.
    X : ndarray, shape (n, D)
        Rows, in the units of the mixture.
    loss : {"vi", "vi_lb", "binder", "ari"}, default "vi"
        What is minimised; see `partition`.
    n_runs : int, default 16
        Descents from random starts.
    prob : float, default 0.95
        Share of the draws that the credible ball holds.
    seed : int, Generator or None, default 0
        For the labels that are drawn and the orders in which rows are visited.
    max_clusters : int, optional
        Clusters at most; see `partition`.
    max_rows : int, default 10,000
        From more rows on no n x n matrix is held; see `partition`.
    progress : bool, default False
        Whether to show on the error stream what is done and the time left; only in a terminal or a notebook.

    Returns
    -------
    Partition
        Labels, expected loss, similarity matrix (averaged over draws, without drawing labels), credible ball.
    """
    _check_settings(loss, n_runs, prob, max_clusters, max_rows)
    rng = as_generator(recorded_seed(seed))
    rows, notes = _choose_rows(len(X), loss, max_rows, rng)
    X = X[rows]
    used = _thin_mixture(mixture.flatten(), MAX_LABELS // len(rows))
    if used.n_mixtures < mixture.n_mixtures:
        notes += (f"labels were drawn from {used.n_mixtures} of the {mixture.n_mixtures} draws",)
    draws = _draw_labels(used, X, rng, progress=progress)
    similarity = None
    if len(rows) <= max_rows:
        enough = _thin_mixture(mixture.flatten(), SIMILARITY_WORK // len(rows) ** 2 // mixture.n_components)
        if enough.n_mixtures < mixture.n_mixtures:
            notes += (f"the similarity matrix is of {enough.n_mixtures} of the {mixture.n_mixtures} draws",)
        similarity = mixture_similarity(enough, X, progress=progress)
    return _estimate(
        draws, similarity, loss, rng, rows, notes, n_runs=n_runs, prob=prob, max_clusters=max_clusters,
        progress=progress,
    )  # fmt: skip


def _estimate(
    draws: Draws, similarity: NDArray[np.floating] | None, loss: str, rng: np.random.Generator,
    rows: NDArray[np.intp], notes: tuple[str, ...], *, n_runs: int, prob: float, max_clusters: int | None,
    progress: bool,
) -> Partition:  # fmt: skip
    width = int(draws.max()) + 1
    few = _thin(draws, max(MIN_SEARCH_DRAWS, SWEEP_WORK // (len(draws) * width)))
    board = _board(few, similarity, loss, max_clusters)
    labels = search(board, _starts(board, draws, similarity), rng, n_runs=n_runs, progress=progress)
    if isinstance(board, DrawsBoard) and few.shape[1] < draws.shape[1]:
        notes += (f"the search used {few.shape[1]} of the {draws.shape[1]} draws of labels, its last descent all",)
        labels = descend(_board(draws, similarity, loss, max_clusters), labels, rng)
    labels = sort_by_size(labels)
    if max_clusters is None and labels.max() + 1 == len(board.sizes) < len(draws):
        notes += (f"the search allowed no more than {len(board.sizes)} clusters (max_clusters=)",)
    if similarity is None:
        notes += (f"no similarity matrix: {len(rows)} rows are too many (max_rows=)",)
    return Partition(
        labels=labels,
        loss=loss,
        expected_loss=_expected_loss(labels, loss, draws, similarity),
        similarity=similarity,
        credible_ball=credible_ball(labels, draws, distance="binder" if loss == "binder" else "vi", prob=prob),
        draws=draws,
        rows=rows,
        notes=notes,
    )


def _board(draws: Draws, similarity: NDArray[np.floating] | None, loss: str, max_clusters: int | None) -> Board:
    """Return the state that the search moves."""
    n = len(draws)
    if similarity is not None and loss in {"vi_lb", "binder"}:
        return SimilarityBoard(similarity, loss, min(n, max_clusters or n))
    return DrawsBoard(draws, loss, min(n, max_clusters or max(2 * (int(draws.max()) + 1), 10)))


def _starts(board: Board, draws: Draws, similarity: NDArray[np.floating] | None) -> list[Labels]:
    """Return the best cut and the best draw among those that fit the board."""
    capacity = len(board.sizes)
    cuts = [] if similarity is None else list(hierarchical_cuts(similarity, capacity))
    tried = [cuts, [labels for labels in spread_draws(draws) if labels.max() < capacity]]
    return [min(group, key=board.loss_of) for group in tried if group]


def _expected_loss(labels: Labels, loss: str, draws: Draws, similarity: NDArray[np.floating] | None) -> float:
    if similarity is not None and loss in {"binder", "vi_lb"}:
        return similarity_loss(labels, similarity, loss, row_sums(similarity))
    return float(partition_distances(labels, draws, loss).mean())


# -------------------------------------------------------------------- rows and draws


def _check_settings(loss: str, n_runs: int, prob: float, max_clusters: int | None, max_rows: int) -> None:
    check_loss(loss)
    for name, value in (("n_runs", n_runs), ("max_clusters", max_clusters), ("max_rows", max_rows)):
        if name == "max_clusters" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ArgumentError(f"{name}={value!r} must be a whole number, at least 1")
    check_prob(prob)


def _choose_rows(
    n: int, loss: str, max_rows: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Return the rows that are worked on, and what is to be said about them."""
    if n <= max_rows or loss in {"vi", "ari"}:
        return np.arange(n), ()
    note = f"of {n} rows, {max_rows} chosen at random: loss {loss!r} needs an n x n matrix (max_rows=; 'vi' does not)"
    return np.sort(rng.choice(n, size=max_rows, replace=False)), (note,)


def _thin(draws: Draws, limit: int) -> Draws:
    """Return at most `limit` draws, evenly spaced."""
    n_draws = draws.shape[1]
    if n_draws <= limit:
        return draws
    return np.ascontiguousarray(draws[:, np.linspace(0, n_draws - 1, max(limit, 1)).astype(int)])


def _thin_mixture(mixture: Mixture, limit: int) -> Mixture:
    if mixture.n_mixtures <= limit:
        return mixture
    return mixture[np.linspace(0, mixture.n_mixtures - 1, max(limit, 1)).astype(int)]


def _draw_labels(mixture: Mixture, X: NDArray[np.float64], rng: np.random.Generator, *, progress: bool) -> Draws:
    """Draw labels, one set for each draw, from a single estimate `LABELS_OF_ONE`; numbered without gaps."""
    n, repeats = len(X), LABELS_OF_ONE if mixture.n_mixtures == 1 else 1
    out = np.empty((n, mixture.n_mixtures * repeats), dtype=np.uint8 if mixture.n_components <= 256 else np.uint32)
    step = max(1, BLOCK // (n * mixture.n_components))
    starts = range(0, mixture.n_mixtures, step)
    for start in track(starts, "draws of labels", total=len(starts), progress=progress):
        below = mixture[start : start + step].responsibilities(X).cumsum(axis=-1)[..., :-1]
        for repeat in range(repeats):
            labels = (rng.random((*below.shape[:2], 1)) >= below).sum(axis=-1)
            out[:, start + repeat : start + repeat + len(labels)] = labels.T
    return compact_draws(out)
