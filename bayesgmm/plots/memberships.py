"""Which component each row belongs to, row by row, how sure that is, and why it is not surer.

A bar for each row, one colour for each component, the row's own component at the foot; above it, in grey, how undecided
the row is as a whole. In most data most rows are certain and say nothing, so the picture shows the rows that are not,
and says in words what the others are like. The
second picture splits the uncertainty of these rows in what remains if the parameters were known, and what does not.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from bayesgmm.em.arguments import whole
from bayesgmm.plots.style import (
    GUIDE_COLOR,
    POSTERIOR_COLOR,
    component_color,
    component_hatch,
    ink,
    literal,
    new_axes,
    paper,
    tidy,
    with_note,
)
from bayesgmm.plots.subject import read_subject
from bayesgmm.posterior.memberships import entropy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_entropy", "plot_memberships"]

Floats = NDArray[np.float64]

#: A row is certain when its membership, or the lower end of its interval, is at least this.
CERTAIN = 0.99
#: A smaller entropy, in nats, cannot be seen as a bar.
LEAST_ENTROPY = 0.005
#: Rows that are drawn even if they are certain, so that there is something to see.
MIN_ROWS = 12
#: Above this many rows their labels would overlap and are left out.
MAX_LABELS = 60
#: Entries of a legend that stand side by side.
MAX_LEGEND_COLUMNS = 5
# Where the cells above the bars begin and end, memberships ending at one.
_CELLS = (1.025, 1.075)
_HATCH_COLOR = "#ffffff"


def plot_memberships(fit: Any, ax: "Axes | None" = None, *, n_rows: int = 40, prob: float | None = None) -> "Axes":
    """Draw the memberships of the rows that are not certain.

    Parameters
    ----------
    fit : MixtureFit or Comparison
        What to draw. Of a comparison, bars and intervals are the posterior's and EM's responsibilities are marked.
    ax : matplotlib Axes, optional
        Where to draw. Default a new figure.
    n_rows : int, default 40
        At most how many rows; those whose largest membership is smallest are taken.
    prob : float, optional
        Probability that the intervals hold. Default the comparison's, or ArviZ's ``stats.ci_prob``.

    Returns
    -------
    matplotlib Axes
        The axes: rows grouped by their most probable component, the least certain at the right of each group.

    Raises
    ------
    ArgumentError
        When `n_rows` is not positive.
    """
    n_rows = whole("n_rows", n_rows)
    subject = read_subject(fit)
    held = subject.interval_prob(prob)
    every = subject.memberships(held)
    order = _least_certain(every, n_rows)
    shown = every.isel(row=order)
    ax = new_axes(ax, (10.0, 3.6))
    _draw_bars(ax, shown)
    handles: list[Any] = [_bar_handle(k) for k in range(subject.n_components)]
    if subject.has_draws:
        handles.append(_draw_intervals(ax, shown, held))
    if subject.has_draws and subject.estimate is not None:
        responsibilities = subject.estimate.responsibilities(subject.main.prepared.values[order])
        handles.append(_draw_em(ax, shown, responsibilities))
    _label_rows(ax, shown)
    ax.set(ylim=(0, 1), xlim=(-0.6, len(order) - 0.4), ylabel="membership")
    ax.set_xlabel(with_note(_describe_rest(every, order), subject.label_note))
    if subject.n_components > 1:
        _draw_uncertainty(ax, shown)
    ax.legend(
        handles=handles,
        frameon=False,
        fontsize="small",
        ncols=min(len(handles), MAX_LEGEND_COLUMNS),
        loc="lower center",
        bbox_to_anchor=(0.5, 1.08),
    )
    return tidy(ax)


def plot_entropy(fit: Any, ax: "Axes | None" = None, *, n_rows: int = 60) -> "Axes":
    """Draw the entropy of the least certain memberships, split by where it comes from (math.md, 7.3).

    Parameters
    ----------
    fit : MixtureFit or Comparison
        What to draw. Of a comparison, EM's own entropies are marked.
    ax : matplotlib Axes, optional
        Where to draw. Default a new figure.
    n_rows : int, default 60
        At most how many rows; those of the largest entropy are taken, as far as it can be seen.

    Returns
    -------
    matplotlib Axes
        The axes: a bar for each row, the least certain at the left.

    Raises
    ------
    ArgumentError
        When `n_rows` is not positive.
    """
    n_rows = whole("n_rows", n_rows)
    subject = read_subject(fit)
    every = subject.memberships(0.5)
    entropies = every["entropy"].values
    uncertain = int(np.sum(entropies > LEAST_ENTROPY))
    order = np.argsort(-entropies, kind="stable")[: min(n_rows, max(uncertain, MIN_ROWS))]
    shown, positions = every.isel(row=order), np.arange(len(order))
    ax = new_axes(ax, (10.0, 3.6))
    aleatoric, epistemic = shown["entropy_aleatoric"].values, shown["entropy_epistemic"].values
    ax.bar(positions, aleatoric, width=0.86, color=GUIDE_COLOR, alpha=0.6, label="components overlap (aleatoric)")
    if subject.has_draws:
        ax.bar(
            positions, epistemic, bottom=aleatoric, width=0.86, color=POSTERIOR_COLOR, alpha=0.8,
            label="parameters are not known (epistemic)",
        )  # fmt: skip
    if subject.has_draws and subject.estimate is not None:
        own = entropy(subject.estimate.responsibilities(subject.main.prepared.values[order]))
        ax.plot(positions, own, ls="", marker="D", ms=4.5, color=paper(ax), mec=ink(ax), mew=1.1, zorder=3, label="EM")
    _label_rows(ax, shown)
    ax.set(ylim=(0, None), xlim=(-0.6, len(order) - 0.4), ylabel="entropy (nats)")
    ax.set_xlabel(with_note(_describe_sums(every, order), subject.label_note))
    ax.legend(frameon=False, fontsize="small", ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return tidy(ax)


def _describe_sums(memberships: xr.Dataset, order: NDArray[np.intp]) -> str:
    total, own = float(memberships["entropy"].sum()), float(memberships["entropy_epistemic"].sum())
    share = f"; {own / total:.0%} of it for not knowing the parameters" if total > 0 else ""
    rest = float(memberships["entropy"].sum() - memberships["entropy"].values[order].sum())
    others = f" (all other rows together {rest:.2g})" if len(order) < memberships.sizes["row"] else ""
    return f"row: entropies add up to {total:.3g} nats{share}{others}"


def _least_certain(memberships: xr.Dataset, n_rows: int) -> NDArray[np.intp]:
    """Return the positions of the least certain rows, by component, the most certain first."""
    largest = memberships["mean"].max("component").values
    uncertain = int(np.sum(_own(memberships, memberships["lower"].values) < CERTAIN))
    chosen = np.argsort(largest, kind="stable")[: min(n_rows, max(uncertain, MIN_ROWS))]
    best = memberships["map_component"].values
    return chosen[np.lexsort((-largest[chosen], best[chosen]))]


def _draw_bars(ax: "Axes", shown: xr.Dataset) -> None:
    positions = np.arange(shown.sizes["row"])
    best, mean = shown["map_component"].values.astype(int), shown["mean"].values
    foot = mean[positions, best]
    style: dict[str, Any] = {"width": 0.86, "alpha": 0.8, "edgecolor": _HATCH_COLOR, "linewidth": 0}
    colors, hatches = ([part(k) for k in best] for part in (component_color, component_hatch))
    ax.bar(positions, foot, color=colors, hatch=hatches, **style)
    for k in range(mean.shape[1]):
        height = np.where(best == k, 0.0, mean[:, k])
        ax.bar(positions, height, bottom=foot, color=component_color(k), hatch=component_hatch(k), **style)
        foot = foot + height


def _bar_handle(component: int) -> Patch:
    return Patch(
        facecolor=component_color(component), hatch=component_hatch(component), edgecolor=_HATCH_COLOR, alpha=0.8,
        linewidth=0, label=f"component {component}",
    )  # fmt: skip


def _draw_uncertainty(ax: "Axes", shown: xr.Dataset) -> None:
    """Draw a cell above each bar, the darker the larger the entropy of the row's memberships."""
    edges, entropies = np.arange(shown.sizes["row"] + 1) - 0.5, shown["entropy"].values
    # Undecided between two is dark; only where some are undecided between more is the scale longer.
    cells = ax.pcolormesh(
        edges, _CELLS, entropies[None, :], cmap="Greys", vmin=0.0, vmax=max(float(np.log(2.0)), entropies.max()),
        edgecolors=GUIDE_COLOR, linewidth=0.25, clip_on=False,
    )  # fmt: skip
    ax.figure.colorbar(cells, ax=ax, pad=0.01, aspect=25, label="entropy (nats)")


def _own(shown: xr.Dataset, values: Floats) -> Floats:
    return values[np.arange(len(values)), shown["map_component"].values.astype(int)]


def _draw_intervals(ax: "Axes", shown: xr.Dataset, prob: float) -> Line2D:
    lower, upper = _own(shown, shown["lower"].values), _own(shown, shown["upper"].values)
    ax.vlines(np.arange(len(lower)), lower, upper, color=ink(ax), lw=1.3)
    return Line2D([], [], color=ink(ax), lw=1.3, label=f"{prob:.0%} interval")


def _draw_em(ax: "Axes", shown: xr.Dataset, responsibilities: Floats) -> Line2D:
    style: dict[str, Any] = {"ls": "", "marker": "D", "ms": 4.5, "color": paper(ax), "mec": ink(ax), "mew": 1.1}
    ax.plot(np.arange(len(responsibilities)), _own(shown, responsibilities), **style, clip_on=False, zorder=3)
    return Line2D([], [], **style, label="EM")


def _label_rows(ax: "Axes", shown: xr.Dataset) -> None:
    if shown.sizes["row"] > MAX_LABELS:
        ax.set_xticks([])
        return
    labels = [literal(str(label), 20, keep_end=False) for label in shown["row"].values]
    ax.set_xticks(np.arange(len(labels)), labels, rotation=90, fontsize="x-small")
    ax.tick_params(axis="x", length=0)


def _describe_rest(memberships: xr.Dataset, order: NDArray[np.intp]) -> str:
    rest = np.delete(memberships["mean"].max("component").values, order)
    if rest.size == 0:
        return "row"
    # Rounded down: what is said of the others must be true of each of them.
    least = np.floor(1000 * rest.min()) / 1000
    return (
        f"row: the {len(order)} least certain; each of the other {rest.size} "
        f"belongs to one component with at least {least:.1%}"
    )
