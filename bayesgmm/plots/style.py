"""How the pictures look: the colours, the marks of the two fits, and axes to draw on.

One convention holds in every picture. Colour says which component; where there is no component, the posterior is blue.
What EM says is drawn in ink (near-black) and solid; what the posterior says is translucent, as a band or as many thin
lines. So the two are told apart in print and by readers who do not see colours, and each component has a marker besides
its colour; beyond eight components, where colours come again, lines are dashed and bars hatched. Nothing here touches
matplotlib's global settings: a user's own style stays as it is, and on a dark one ink is light.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colors as mcolors
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from bayesgmm.errors import ArgumentError

__all__ = [
    "EM_COLOR",
    "GUIDE_COLOR",
    "N_COLORS",
    "POSTERIOR_COLOR",
    "add_legend",
    "blend",
    "component_color",
    "component_handle",
    "component_hatch",
    "component_line",
    "component_marker",
    "ink",
    "literal",
    "new_axes",
    "new_figure",
    "new_grid",
    "paper",
    "tidy",
    "with_note",
]

Floats = NDArray[np.float64]

# Okabe & Ito (2008), without black, which is EM's, and with yellow last, which is faint on white.
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B", "#F0E442")
# One more than colours, so that a colour that comes again comes with another marker.
_MARKERS = "osD^vP*X<"
_LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)))
_HATCHES = ("", "////", "....")

#: Entries of a legend that may lie over the data.
MOST_INSIDE = 6
#: Components with colours of their own; beyond, colours come again.
N_COLORS = len(_PALETTE)
#: What EM says, on a light ground; see `ink`.
EM_COLOR = "#222222"
_LIGHT_INK = "#f2f2f2"
#: What the posterior says where there is no component to name.
POSTERIOR_COLOR = "#0072B2"
#: Reference lines, rugs, data without a component.
GUIDE_COLOR = "#8a8a8a"


def component_color(component: int) -> str:
    """Return the colour of a component; it repeats after eight."""
    return _PALETTE[component % len(_PALETTE)]


def component_marker(component: int) -> str:
    """Return the marker of a component; with its colour it repeats after seventy-two."""
    return _MARKERS[component % len(_MARKERS)]


def component_line(component: int) -> Any:
    """Return the line style of a component: full, and others where colours come again."""
    return _LINES[component // N_COLORS % len(_LINES)]


def component_hatch(component: int) -> str:
    """Return the hatching of a component's bars: none, and some where colours come again."""
    return _HATCHES[component // N_COLORS % len(_HATCHES)]


def component_handle(component: int, label: str, *, as_line: bool = False) -> Line2D:
    """Return what stands for a component in a legend: its marker, or its line where nothing is marked."""
    style = {"ls": component_line(component)} if as_line else {"ls": "", "marker": component_marker(component)}
    return Line2D([], [], color=component_color(component), label=label, **style)


def paper(ax: Axes) -> tuple[float, float, float]:
    """Return the colour that axes are drawn on; where nothing covers it, what goes with the colour of the labels."""
    figure = ax.get_figure(root=True)
    for face in (ax.get_facecolor(), "none" if figure is None else figure.get_facecolor()):
        red, green, blue, alpha = mcolors.to_rgba(face)
        if alpha > 0.5:
            return red, green, blue
    return (0.0, 0.0, 0.0) if _lightness(mcolors.to_rgb(ax.xaxis.label.get_color())) > 0.5 else (1.0, 1.0, 1.0)


def ink(ax: Axes) -> str:
    """Return the colour of what EM says: near-black, and near-white on a dark ground."""
    return EM_COLOR if _lightness(paper(ax)) > 0.4 else _LIGHT_INK


def _lightness(rgb: tuple[float, float, float]) -> float:
    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]


def blend(shares: Floats) -> Floats:
    """Mix the colours of the components in proportion to memberships of shape (n, K); returns RGB, shape (n, 3)."""
    palette = np.array([mcolors.to_rgb(component_color(k)) for k in range(shares.shape[1])])
    return np.clip(shares @ palette, 0.0, 1.0)


def literal(text: str, limit: int = 40, *, keep_end: bool = True) -> str:
    """Return a user's text as matplotlib should write it: dollars are no mathematics, and `limit` signs are enough.

    What is too long loses its middle, since at the end of a column's name there is often a unit, or else its end.
    """
    end = text[-(limit // 3) :] if keep_end else ""
    shown = text if len(text) <= limit else f"{text[: limit - 1 - len(end)]}\N{HORIZONTAL ELLIPSIS}{end}"
    return " ".join(shown.split()).replace("$", r"\$")


def add_legend(ax: Axes, handles: Sequence[Any] | None = None) -> None:
    """Add a legend: where it is short over the data, on a ground that lets it be read, otherwise beside the axes."""
    found = ax.get_legend_handles_labels()[0] if handles is None else handles
    style: dict[str, Any] = {"frameon": True, "framealpha": 0.75, "edgecolor": "none", "facecolor": paper(ax)}
    if len(found) > MOST_INSIDE:
        style |= {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    ax.legend(handles=found, fontsize="small", **style)


def with_note(label: str, note: str) -> str:
    """Return the label of an axis with a note below it, where there is one."""
    return f"{label}\n{note}" if note else label


def new_axes(ax: Axes | None, size: tuple[float, float] = (5.8, 4.2)) -> Axes:
    """Return `ax`, or the axes of a new figure of `size` inches."""
    if ax is not None and not isinstance(ax, Axes):
        raise ArgumentError(f"ax={ax!r} must be matplotlib Axes, or None for a new figure")
    return plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def new_figure(figure: Figure | None, size: tuple[float, float]) -> Figure:
    """Return `figure`, or a new one of `size` inches."""
    if figure is not None and not isinstance(figure, FigureBase):
        raise ArgumentError(f"figure={figure!r} must be a matplotlib Figure, or None for a new one")
    return plt.figure(figsize=size, layout="constrained") if figure is None else figure


def new_grid(
    figure: Figure | None, shape: tuple[int, int], size: tuple[float, float], **options: Any
) -> tuple[Figure, NDArray[Any]]:
    """Return `figure`, or a new one of `size` inches, with a grid of axes, always a two-dimensional array."""
    drawn = new_figure(figure, size)
    return drawn, np.asarray(drawn.subplots(*shape, squeeze=False, **options))


def tidy(ax: Axes) -> Axes:
    """Take away the frame's upper and right sides, and return the axes."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax
