"""A selection: one criterion against the number of components, a line for each covariance structure.

Fourteen lines cannot have fourteen colours that everybody tells apart. So the three letters of a structure are drawn
one by one: the colour and the marker say shape and orientation together (spheres, axes along the columns, common axes,
axes of their own), a full line is a variable volume and a dashed one an equal volume, and each line ends in its code.
The axis is cut where nothing is chosen any more, so that the differences that matter can be seen.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.optimize import isotonic_regression

from bayesgmm.errors import ArgumentError
from bayesgmm.plots.style import GUIDE_COLOR, component_color, ink, new_axes, paper, tidy
from bayesgmm.selection import Selection
from bayesgmm.selection.grid import CRITERIA
from bayesgmm.structure import CovarianceStructure, as_structure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["plot_selection"]

#: The part of the axis above the best value: so many times the distance from it to the median of all sound cells, but
#: at least so much (a difference of 30 in a criterion is decisive).
_SHOWN_SPAN, _LEAST_SPAN = 1.3, 30.0
#: Least distances of two labels, one above the other and side by side, as shares of the axes.
_LABEL_HEIGHT, _LABEL_WIDTH = 0.044, 0.062
_KINDS = ("spheres", "axes along the columns", "common axes", "own axes")
_MARKERS = {"I": "o", "E": "s", "V": "^"}


def plot_selection(selection: Selection, ax: "Axes | None" = None, *, criterion: str | None = None) -> "Axes":
    """Draw a criterion against the number of components, by covariance structure.

    Parameters
    ----------
    selection : Selection
        What to draw, from `select`.
    ax : matplotlib Axes, optional
        Where to draw. Default a new figure.
    criterion : {"bic", "icl", "aic"}, optional
        What to draw; smaller is better. Default the criterion that ranks the selection.

    Returns
    -------
    matplotlib Axes
        The axes. A ring marks the best cell; crosses are cells that are not ranked.

    Raises
    ------
    ArgumentError
        When it is no selection, or there is no such criterion.
    """
    if not isinstance(selection, Selection):
        raise ArgumentError(f"expected a Selection, from select, found {type(selection).__name__}")
    name = selection.criterion if criterion is None else criterion
    if name not in CRITERIA:
        raise ArgumentError(f"criterion={name!r} is not known; use one of {', '.join(map(repr, CRITERIA))}")
    ax = new_axes(ax, (7.2, 4.6))
    table = selection.table[["structure", "n_components", "is_sound", name]].rename(columns={name: "value"})
    table = table[table["value"].notna()].sort_values("n_components")
    sound = table[table["is_sound"]]
    lower, upper = _limits(sound["value"].to_numpy())
    structures = [as_structure(code) for code in dict.fromkeys(code for code, _ in selection.cells)]
    for structure in structures:
        _draw_line(ax, table[table["structure"] == structure.code], structure)
    best = sound.iloc[int(np.argmin(sound["value"]))]
    ax.plot(best["n_components"], best["value"], "o", ms=15, mfc="none", mec=ink(ax), mew=1.4, zorder=6)
    ax.set(xlabel="number of components", ylabel=f"{name.upper()} (smaller is better)", ylim=(lower, upper))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    unseen = _label_lines(ax, sound, structures)
    _add_legend(ax, structures, best, unseen)
    return tidy(ax)


def _limits(values: Any) -> tuple[float, float]:
    """Return the part of the axis where cells are chosen from."""
    best, middle, worst = np.min(values), np.median(values), np.max(values)
    span = min(worst - best, max(_SHOWN_SPAN * (middle - best), _LEAST_SPAN)) or max(1.0, 0.01 * abs(best))
    return float(best - 0.1 * span), float(best + 1.08 * span)


def _kind(structure: CovarianceStructure) -> int:
    """Return 0 for spheres, 1 for axes along the columns, 2 for common axes, 3 for axes of their own."""
    return 0 if structure.is_spherical else 1 + "IEV".index(structure.orientation)


def _draw_line(ax: "Axes", own: "pd.DataFrame", structure: CovarianceStructure) -> None:
    sound, others = own[own["is_sound"]], own[~own["is_sound"]]
    color = component_color(_kind(structure))
    line, face = ("-", color) if structure.volume == "V" else ((0, (4, 2)), paper(ax))
    ax.plot(
        sound["n_components"], sound["value"], color=color, lw=1.4, ls=line,
        marker=_MARKERS[structure.shape], ms=4.5, mfc=face, label=structure.code,
    )  # fmt: skip
    ax.plot(others["n_components"], others["value"], ls="", marker="x", ms=5, color=color, alpha=0.6)


def _label_lines(ax: "Axes", sound: "pd.DataFrame", structures: list[CovarianceStructure]) -> list[str]:
    """Write the code of each line where it ends or leaves the picture; return those that are not in it."""
    (left, right), (lower, upper) = ax.get_xlim(), ax.get_ylim()
    at_top: list[tuple[float, float, CovarianceStructure]] = []
    at_right: list[tuple[float, float, CovarianceStructure]] = []
    unseen = []
    for structure in structures:
        own = sound[sound["structure"] == structure.code]
        x, y = own["n_components"].to_numpy(float), own["value"].to_numpy(float)
        seen = np.flatnonzero(y <= upper)
        if not seen.size:
            unseen.append(structure.code)
        elif seen[-1] == len(x) - 1:
            at_right.append((x[-1], y[-1], structure))
        else:
            last = seen[-1]
            leaves = np.interp(upper, y[last : last + 2], x[last : last + 2])
            at_top.append((float(leaves), upper, structure))
    at_right.sort(key=lambda end: end[1])
    heights = _spread([(y - lower) / (upper - lower) for _, y, _ in at_right], _LABEL_HEIGHT)
    for (x_end, y_end, structure), height in zip(at_right, heights, strict=True):
        _write(ax, structure, (x_end, y_end), (1.03, height), "left")
    at_top.sort(key=lambda end: end[0])
    places = _spread([(x - left) / (right - left) for x, _, _ in at_top], _LABEL_WIDTH)
    for (x_end, y_end, structure), place in zip(at_top, places, strict=True):
        _write(ax, structure, (x_end, y_end), (place, 1.06), "center")
    ax.set(xlim=(left, right), ylim=(lower, upper))
    return unseen


def _write(
    ax: "Axes", structure: CovarianceStructure, end: tuple[float, float], place: tuple[float, float], align: str
) -> None:
    color = component_color(_kind(structure))
    ax.annotate(
        structure.code, end, place, textcoords="axes fraction", color=color, fontsize="small", ha=align, va="center",
        annotation_clip=False, zorder=1,
        arrowprops={"arrowstyle": "-", "color": color, "alpha": 0.4, "lw": 0.7, "shrinkA": 0, "shrinkB": 2},
    )  # fmt: skip


def _spread(places: list[float], least: float) -> list[float]:
    """Move increasing places apart to a least distance, as little as that takes, and keep them on the axes."""
    if len(places) < 2:
        return places
    steps = min(least, 1.0 / (len(places) - 1)) * np.arange(len(places))
    moved = isotonic_regression(np.asarray(places) - steps).x
    return (np.clip(moved, 0.0, 1.0 - steps[-1]) + steps).tolist()


def _add_legend(ax: "Axes", structures: list[CovarianceStructure], best: "pd.Series", unseen: list[str]) -> None:
    kinds = sorted({_kind(structure) for structure in structures})
    handles = [
        Line2D([], [], color=component_color(kind), lw=2, label=_KINDS[kind]) for kind in kinds if len(kinds) > 1
    ]
    if len({structure.volume for structure in structures}) > 1:
        handles += [
            Line2D([], [], color=GUIDE_COLOR, lw=1.4, label="variable volume"),
            Line2D([], [], color=GUIDE_COLOR, lw=1.4, ls=(0, (4, 2)), label="equal volume"),
        ]
    named = f"best: {best['structure']}, {best['n_components']}"
    handles.append(Line2D([], [], ls="", marker="o", ms=10, mfc="none", mec=ink(ax), mew=1.4, label=named))
    if unseen:
        handles.append(Line2D([], [], ls="", label=f"off the scale: {', '.join(unseen)}"))
    ax.legend(
        handles=handles, frameon=False, fontsize="small", ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.14)
    )
