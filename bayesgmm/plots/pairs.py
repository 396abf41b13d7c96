"""Every pair of columns: components below the diagonal, densities on it."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bayesgmm.errors import ArgumentError
from bayesgmm.plots.components import draw_component_curves, draw_ellipses, draw_rows
from bayesgmm.plots.style import component_handle, ink, literal, new_grid, tidy
from bayesgmm.plots.subject import Subject, read_subject

__all__ = ["plot_pairs"]

#: More columns than this make panels too small to read.
MAX_COLUMNS = 8


def plot_pairs(
    fit: Any,
    *,
    figure: Figure | None = None,
    features: Sequence[str] | None = None,
    prob: float | None = None,
) -> Figure:
    """Draw every pair of columns with the components over the data; see `plot_projection` for many columns.

    Parameters
    ----------
    fit : MixtureFit or Comparison
        What to draw. Of a comparison both fits are drawn.
    figure : matplotlib Figure, optional
        Where to draw, an empty figure or subfigure. Default a new figure.
    features : sequence of str, optional
        Two to eight columns. Default all of them.
    prob : float, optional
        Probability of the bands on the diagonal. Default the comparison's, or ArviZ's ``stats.ci_prob``.

    Returns
    -------
    matplotlib Figure
        The figure; its axes fill the lower triangle.

    Raises
    ------
    ArgumentError
        When there is one column, or more than eight.
    """
    subject = read_subject(fit)
    names = subject.features if features is None else subject.choose(features, MAX_COLUMNS)
    d = len(names)
    if not 2 <= d <= MAX_COLUMNS:
        raise ArgumentError(f"pairs are drawn of 2 to {MAX_COLUMNS} columns, not {d}; name them with features=")
    held = subject.interval_prob(prob)
    side = 2.2 if d > 3 else 2.8
    figure, axes = new_grid(figure, (d, d), (side * d, side * d), sharex="col")
    for i, j in ((i, j) for i in range(d) for j in range(d)):
        ax = axes[i, j]
        if j > i:
            ax.set_visible(False)
        elif i == j:
            draw_component_curves(ax, subject, names[i], held)
            ax.set_yticks([])
        else:
            draw_rows(ax, subject, (names[j], names[i]), size=9.0)
            draw_ellipses(ax, subject, (names[j], names[i]))
            if j == 0:
                ax.set_ylabel(literal(names[i], 24))
            else:
                ax.tick_params(labelleft=False)
        if i == d - 1:
            ax.set_xlabel(literal(names[j], 24))
        tidy(ax)
    if subject.label_note:
        figure.supxlabel(subject.label_note, fontsize="medium")
    figure.legend(
        handles=_legend(subject, ink(axes[0, 0])), frameon=False, loc="upper right", bbox_to_anchor=(0.98, 0.96)
    )
    return figure


def _legend(subject: Subject, em_color: str) -> list[Any]:
    handles = [component_handle(k, f"component {k}") for k in range(subject.n_components)]
    if subject.has_draws:
        handles.append(Line2D([], [], color=em_color, lw=0.5, alpha=0.5, label="posterior draws"))
    if subject.estimate is not None:
        handles.append(Line2D([], [], color=em_color, lw=1.5, label="EM"))
    return handles
