"""How the pictures look: the colours, the marks of the two fits, and axes to draw on.

One convention holds in every picture. Colour says which component; where there is no component, the posterior is blue.
What EM says is drawn in ink (near-black) and solid; what the posterior says is translucent, as a band or as many thin
lines. So the two are told apart in print and by readers who do not see colours, and each component has a marker besides
its colour. Nothing here touches matplotlib's global settings: a user's own style stays as it is.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colors as mcolors
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "EM_COLOR",
    "GUIDE_COLOR",
    "POSTERIOR_COLOR",
    "blend",
    "component_color",
    "component_handle",
    "component_marker",
    "literal",
    "new_axes",
    "new_grid",
    "tidy",
    "with_note",
]

Floats = NDArray[np.float64]

# Okabe & Ito (2008), without black, which is EM's, and with yellow last, which is faint on white.
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B", "#F0E442")
_MARKERS = "osD^vP*X"

#: What EM says.
EM_COLOR = "#222222"
#: What the posterior says where there is no component to name.
POSTERIOR_COLOR = "#0072B2"
#: Reference lines, rugs, data without a component.
GUIDE_COLOR = "#8a8a8a"


def component_color(component: int) -> str:
    """Return the colour of a component; it repeats after eight."""
    return _PALETTE[component % len(_PALETTE)]


def component_marker(component: int) -> str:
    """Return the marker of a component; it repeats after eight."""
    return _MARKERS[component % len(_MARKERS)]


def component_handle(component: int, label: str) -> Line2D:
    """Return what stands for a component in a legend."""
    return Line2D([], [], ls="", marker=component_marker(component), color=component_color(component), label=label)


def blend(shares: Floats) -> Floats:
    """Mix the colours of the components in proportion to memberships of shape (n, K); returns RGB, shape (n, 3)."""
    palette = np.array([mcolors.to_rgb(component_color(k)) for k in range(shares.shape[1])])
    return np.clip(shares @ palette, 0.0, 1.0)


def literal(text: str, limit: int = 40) -> str:
    """Return a user's text as matplotlib should write it: dollars are no mathematics, and `limit` signs are enough."""
    shown = text if len(text) <= limit else f"{text[: limit - 1]}\N{HORIZONTAL ELLIPSIS}"
    return shown.replace("$", r"\$")


def with_note(label: str, note: str) -> str:
    """Return the label of an axis with a note below it, where there is one."""
    return f"{label}\n{note}" if note else label


def new_axes(ax: "Axes | None", size: tuple[float, float] = (5.8, 4.2)) -> "Axes":
    """Return `ax`, or the axes of a new figure of `size` inches."""
    return plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def new_grid(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Figure, NDArray[Any]]:
    """Return a new figure of `size` inches with a grid of axes, always a two-dimensional array."""
    return plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False, **options)


def tidy(ax: "Axes") -> "Axes":
    """Take away the frame's upper and right sides, and return the axes."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax
