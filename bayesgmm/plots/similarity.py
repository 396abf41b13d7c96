"""Which rows belong together, without asking which component: the similarity matrix, and how far partitions reach.

The matrix is drawn in the order of the estimated partition, so that clusters are dark squares along the diagonal and
doubt is whatever is neither white nor dark. The credible ball is drawn as the partitions on its rim beside the
estimate: what the posterior still holds possible with the fewest clusters, with the most, and at the greatest distance.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bayesgmm.data import PreparedData, prepare
from bayesgmm.errors import ArgumentError
from bayesgmm.fit import MixtureFit
from bayesgmm.plots.style import (
    EM_COLOR,
    GUIDE_COLOR,
    POSTERIOR_COLOR,
    component_color,
    component_marker,
    ink,
    literal,
    new_axes,
    new_grid,
    tidy,
)
from bayesgmm.plots.subject import read_subject
from bayesgmm.posterior.credible_ball import CredibleBall
from bayesgmm.posterior.matching import assign
from bayesgmm.posterior.partitions import Partition, partition_mixture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_credible_ball", "plot_similarity"]

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

#: Rows of the matrix that are drawn; more than there are dots in a figure would be averaged by chance.
MAX_SHOWN = 1500
#: Clusters whose share of the axis is smaller get no label: they would overlap.
LEAST_LABELLED = 0.03
#: Rows that are drawn as points in each panel of a ball.
MAX_POINTS = 3000


def plot_similarity(subject: Any, ax: "Axes | None" = None) -> "Axes":
    """Draw how probable it is that two rows belong together, rows in the order of the estimated partition.

    Parameters
    ----------
    subject : Partition, MixtureFit or Comparison
        What to draw: from `partition` or ``fit.partition()``; of a fit the partition is estimated first.
    ax : matplotlib Axes, optional
        Where to draw. Default a new figure.

    Returns
    -------
    matplotlib Axes
        The axes. Lines divide the clusters, the largest first; within a cluster the rows that are surest of it come
        first. Of more than 1500 rows some are drawn, evenly spaced.

    Raises
    ------
    ArgumentError
        When it is neither of these, or the partition has no similarity matrix.
    """
    found = _read_partition(subject)
    if found.similarity is None:
        raise ArgumentError(f"there is no similarity matrix to draw: {'; '.join(found.notes)}")
    order = _order(found)
    shown = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), MAX_SHOWN)).astype(int))]
    ax = new_axes(ax, (5.4, 4.6))
    image = ax.imshow(
        found.similarity[np.ix_(shown, shown)], cmap="Blues", vmin=0, vmax=1, interpolation="none", aspect="equal"
    )
    edges = np.r_[0, np.cumsum(np.bincount(found.labels[shown], minlength=found.n_clusters))]
    for edge in edges[1:-1]:
        ax.axhline(edge - 0.5, color=EM_COLOR, lw=0.6)
        ax.axvline(edge - 0.5, color=EM_COLOR, lw=0.6)
    _label_clusters(ax, edges, found.sizes)
    ax.figure.colorbar(image, ax=ax, shrink=0.8, label="probability of belonging together")
    ax.set_xlabel(f"row ({len(found.labels)} in {found.n_clusters} clusters)" + _what_is_shown(found, shown))
    return ax


def plot_credible_ball(
    partition: Partition, data: Any, *, figure: Figure | None = None, features: Any = None
) -> Figure:
    """Draw an estimated partition beside the partitions that bound its credible ball.

    Parameters
    ----------
    partition : Partition
        From `partition` or ``fit.partition()``.
    data : table, PreparedData or MixtureFit
        The rows that were partitioned.
    figure : matplotlib Figure, optional
        Where to draw, an empty figure or subfigure. Default a new figure.
    features : sequence of str, optional
        One or two columns to draw. Default the two whose cluster means differ most.

    Returns
    -------
    matplotlib Figure
        Above: the estimate; how far the draws are from it, with the radius; how many clusters they have. Below: the
        farthest draws in the ball with the fewest clusters, of all, and with the most clusters. Where a bound has
        several partitions the first is drawn. Clusters have the colours of those of the estimate that they share most
        rows with.

    Raises
    ------
    ArgumentError
        When it is no partition, or rows and partition do not fit together.
    """
    if not isinstance(partition, Partition):
        raise ArgumentError(f"expected a Partition, found {type(partition).__name__}; use what partition() returned")
    values, names = _read_columns(partition, data, features)
    ball = partition.credible_ball
    figure, axes = new_grid(figure, (2, 3), (10.5, 6.4))
    _draw_rows(axes[0, 0], values, names, partition.labels, "estimate")
    _draw_distances(axes[0, 1], ball)
    _draw_counts(axes[0, 2], ball)
    bounds = (("fewest clusters", ball.upper), ("farthest", ball.horizontal), ("most clusters", ball.lower))
    for ax, (title, bound) in zip(axes[1], bounds, strict=True):
        labels = _match_colours(partition.labels, bound.labels[0])
        _draw_rows(ax, values, names, labels, f"{title}, at distance {bound.distance:.3g}")
    return figure


# -------------------------------------------------------------------- the matrix


def _read_partition(subject: Any) -> Partition:
    if isinstance(subject, Partition):
        return subject
    main = read_subject(subject).main
    return partition_mixture(main.mixture, main.prepared.values)


def _order(found: Partition) -> NDArray[np.intp]:
    """Return the rows by cluster, and within a cluster by their mean similarity to it."""
    similarity, own = found.similarity, np.empty(len(found.labels))
    if similarity is None:
        return np.argsort(found.labels, kind="stable")
    for k in range(found.n_clusters):
        members = np.flatnonzero(found.labels == k)
        own[members] = similarity[:, members][members].mean(axis=1)
    return np.lexsort((-own, found.labels))


def _label_clusters(ax: "Axes", edges: NDArray[np.intp], sizes: NDArray[np.int64]) -> None:
    heights = np.diff(edges)
    wide = np.flatnonzero(heights >= LEAST_LABELLED * edges[-1])
    middles = (edges[:-1] + edges[1:] - 1) / 2
    ax.set_yticks(middles[wide], [f"{k}  (n = {sizes[k]})" for k in wide], fontsize="small")
    ax.set_xticks([])
    ax.set_ylabel("cluster")
    ax.tick_params(length=0)


def _what_is_shown(found: Partition, shown: NDArray[np.intp]) -> str:
    return "" if len(shown) == len(found.labels) else f"; {len(shown)} of the rows are drawn"


# -------------------------------------------------------------------- the ball


def _read_columns(partition: Partition, data: Any, features: Any) -> tuple[Floats, list[str]]:
    """Return the one or two columns that are drawn, and their names."""
    if isinstance(data, MixtureFit | PreparedData):
        prepared = data.prepared if isinstance(data, MixtureFit) else data
    else:
        prepared = prepare(data, missing="marginalize")
    n_rows = len(prepared.values)
    if partition.rows.max() >= n_rows or (len(partition.rows) < n_rows and not partition.notes):
        raise ArgumentError(f"the partition is of {len(partition.labels)} rows, data has {n_rows}: pass the same rows")
    values = prepared.values[partition.rows]
    names = list(prepared.features)
    if features is None:
        chosen = _separating(values, partition.labels)
    else:
        wanted = [features] if isinstance(features, str) else list(features) if isinstance(features, Iterable) else []
        unknown = [name for name in wanted if name not in names]
        if unknown or len(wanted) not in {1, 2}:
            raise ArgumentError(f"features={features!r}: name one or two of the columns {', '.join(names)}")
        chosen = [names.index(name) for name in wanted]
    return values[:, chosen], [names[j] for j in chosen]


def _separating(values: Floats, labels: Labels) -> list[int]:
    """Return the two columns in which cluster means differ most, relative to the spread of the column."""
    means = np.array([np.nanmean(values[labels == k], axis=0) for k in range(labels.max() + 1)])
    sizes = np.bincount(labels)
    spread = np.nanvar(values, axis=0)
    share = (sizes @ (means - np.nanmean(values, axis=0)) ** 2) / np.where(spread > 0, spread, 1.0)
    return sorted(np.argsort(-share, kind="stable")[:2].tolist())


def _match_colours(estimate: Labels, labels: Labels) -> Labels:
    """Return the labels with clusters numbered like those of the estimate that they share most rows with."""
    width = int(max(estimate.max(), labels.max())) + 1
    shared = np.zeros((width, width))
    np.add.at(shared, (estimate, labels), 1.0)
    return np.argsort(assign(-shared[None]).permutations[0])[labels]


def _draw_rows(ax: "Axes", values: Floats, names: list[str], labels: Labels, title: str) -> None:
    shown = np.unique(np.linspace(0, len(values) - 1, min(len(values), MAX_POINTS)).astype(int))
    for k in np.unique(labels):
        rows = shown[labels[shown] == k]
        heights = values[rows, 1] if values.shape[1] > 1 else np.full(len(rows), float(k))
        ax.scatter(
            values[rows, 0], heights, s=14, color=component_color(int(k)), marker=component_marker(int(k)),
            alpha=0.75, lw=0,
        )  # fmt: skip
    sizes = np.sort(np.bincount(labels))[::-1]
    sizes = sizes[sizes > 0]
    listed = ", ".join(map(str, sizes[:6])) + (", ..." if len(sizes) > 6 else "")
    ax.set_title(f"{title}\n{len(sizes)} clusters: {listed}", fontsize="medium", loc="left")
    ax.set_xlabel(literal(names[0], 28))
    ax.set_ylabel(literal(names[1], 28) if values.shape[1] > 1 else "cluster")
    if values.shape[1] == 1:
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        ax.invert_yaxis()
    tidy(ax)


def _draw_distances(ax: "Axes", ball: CredibleBall) -> None:
    ax.hist(ball.distances, bins=30, color=POSTERIOR_COLOR, alpha=0.45)
    ax.axvline(ball.radius, color=ink(ax), lw=1.3)
    ax.set_title(f"{ball.prob:.0%} of the draws\nwithin {ball.radius:.3g}", fontsize="medium", loc="left")
    ax.set_xlabel("distance from the estimate (bits)" if ball.distance == "vi" else "distance from the estimate")
    ax.set_ylabel("draws")
    tidy(ax)


def _draw_counts(ax: "Axes", ball: CredibleBall) -> None:
    inside = ball.distances <= ball.radius * (1 + 1e-9)
    counts, every = np.unique(ball.n_clusters, return_counts=True)
    within = np.array([np.sum(inside & (ball.n_clusters == count)) for count in counts])
    ax.bar(counts, within, width=0.8, color=POSTERIOR_COLOR, alpha=0.45, label="in the ball")
    ax.bar(counts, every - within, bottom=within, width=0.8, color=GUIDE_COLOR, alpha=0.45, label="outside")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlim(counts[0] - 1.5, counts[-1] + 1.5)
    ax.set_ylim(0, 1.2 * every.max())
    ax.set_title("clusters of the draws", fontsize="medium", loc="left")
    ax.set_xlabel("number of clusters")
    ax.set_ylabel("draws")
    ax.legend(frameon=False, fontsize="small", ncols=2, loc="upper right")
    tidy(ax)
