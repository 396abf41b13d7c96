"""The components over the data: ellipses of the draws, ellipses of EM, and which rows belong where.

Two columns: an ellipse that holds a given share of a component, one thin line for each of a sample of draws, so that
their spread shows how uncertain centre, size and tilt are; EM's ellipse on top in ink. Rows are coloured by their
membership, mixed where it is undecided. One column: the weighted density of each component with its credible band.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray
from scipy import stats

from bayesgmm.errors import ArgumentError
from bayesgmm.mixture import Mixture
from bayesgmm.plots.style import (
    GUIDE_COLOR,
    N_COLORS,
    add_legend,
    blend,
    component_color,
    component_handle,
    component_line,
    component_marker,
    ink,
    literal,
    new_axes,
    paper,
    tidy,
    with_note,
)
from bayesgmm.plots.subject import Subject, read_subject

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "DRAWS",
    "draw_component_curves",
    "draw_ellipses",
    "draw_outlines",
    "draw_points",
    "draw_rows",
    "ellipses",
    "legend_handles",
    "plot_components",
]

Floats = NDArray[np.float64]

#: Draws whose ellipses are drawn; more only fill the picture.
DRAWS = 60
#: Share of a component that its ellipse holds.
SHARE = 0.9

_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 101)), np.sin(np.linspace(0, 2 * np.pi, 101))])


def plot_components(
    fit: Any, ax: "Axes | None" = None, *, features: Sequence[str] | str | None = None, prob: float | None = None
) -> "Axes":
    """Draw the data with the components over them.

    Parameters
    ----------
    fit : MixtureFit or Comparison
        What to draw. Of a comparison both fits are drawn.
    ax : matplotlib Axes, optional
        Where to draw. Default a new figure.
    features : str or sequence of str, optional
        One or two columns. Default the one or two that there are, or the two in which the components are furthest
        apart.
    prob : float, optional
        For one column, probability of the credible bands. Default the comparison's, or ArviZ's ``stats.ci_prob``.

    Returns
    -------
    matplotlib Axes
        The axes.

    Raises
    ------
    ArgumentError
        When more than two columns are named.
    """
    subject = read_subject(fit)
    names = subject.choose(features, 2)
    if len(names) > 2:
        raise ArgumentError(f"components are drawn in one or two columns, not {len(names)}; use plot_pairs for more")
    ax = new_axes(ax)
    if len(names) == 1:
        draw_component_curves(ax, subject, names[0], subject.interval_prob(prob))
        ax.set(xlabel=with_note(literal(names[0]), subject.label_note), ylabel="weight x density")
    else:
        draw_rows(ax, subject, names)
        draw_ellipses(ax, subject, names)
        ax.set(xlabel=with_note(literal(names[0]), subject.label_note), ylabel=literal(names[1]))
    add_legend(ax, legend_handles(subject, len(names), ink(ax)))
    return tidy(ax)


def ellipses(means: Floats, covariances: Floats, share: float = SHARE) -> Floats:
    """Return the outlines of the ellipses that hold a share of two-dimensional Gaussians.

    Parameters
    ----------
    means : ndarray, shape (..., 2)
        Centres.
    covariances : ndarray, shape (..., 2, 2)
        Covariances.
    share : float
        Share of the probability inside.

    Returns
    -------
    ndarray, shape (..., 101, 2)
        Closed outlines, in the units of the means.
    """
    radius = np.sqrt(stats.chi2.ppf(share, 2))
    outlines = np.linalg.cholesky(covariances) @ (radius * _CIRCLE)
    return means[..., None, :] + np.swapaxes(outlines, -1, -2)


def draw_rows(ax: "Axes", subject: Subject, names: Sequence[str], size: float = 16.0) -> None:
    """Draw the rows in two columns, coloured by membership, the marker by the most probable component."""
    draw_points(ax, subject.columns(names)[subject.shown_rows], subject.shown_shares, size)


def draw_points(ax: "Axes", points: Floats, shares: Floats, size: float = 16.0) -> None:
    """Draw points of shape (n, 2), coloured by memberships of shape (n, K)."""
    colors, labels = blend(shares), shares.argmax(axis=1)
    for k in range(shares.shape[1]):
        own = labels == k
        x, y = points[own].T
        ax.scatter(x, y, c=colors[own], marker=component_marker(k), s=size, alpha=0.65, linewidths=0, zorder=1)


def draw_ellipses(ax: "Axes", subject: Subject, names: Sequence[str]) -> None:
    """Draw the ellipses of a sample of draws, thin, and EM's on top."""
    draw_outlines(ax, subject.draws(names, DRAWS), subject.point(names))


def draw_outlines(ax: "Axes", draws: Mixture | None, point: Mixture | None) -> None:
    """Draw the ellipses of two-dimensional mixtures: of draws with one leading dimension, and of an estimate."""
    if draws is not None:
        for k in range(draws.n_components):
            outlines = list(ellipses(draws.means[:, k], draws.covariances[:, k]))
            style = {"colors": component_color(k), "linestyles": [component_line(k)]}
            ax.add_collection(LineCollection(outlines, linewidths=0.7, alpha=0.25, zorder=2, **style))
    if point is not None:
        _draw_estimate(ax, point)
    shown = draws if point is None else point
    if shown is not None and shown.n_components > N_COLORS:
        _number_components(ax, shown)
    ax.autoscale_view()


def _draw_estimate(ax: "Axes", point: Mixture) -> None:
    for k, outline in enumerate(ellipses(point.means, point.covariances)):
        ax.plot(*outline.T, color=ink(ax), lw=1.5, zorder=3)
        ax.plot(*point.means[k], marker="+", color=ink(ax), ms=9, mew=1.8, zorder=4)


def _number_components(ax: "Axes", mixture: Mixture) -> None:
    """Write the number of each component beside its centre: of so many, colours alone do not tell which is which."""
    for k, centre in enumerate(mixture.means.reshape(-1, mixture.n_components, 2).mean(axis=0)):
        ax.annotate(
            str(k), centre, xytext=(4, 4), textcoords="offset points", fontsize="small", fontweight="bold",
            color=ink(ax), zorder=5, bbox={"boxstyle": "round,pad=0.1", "fc": paper(ax), "ec": "none", "alpha": 0.6},
        )  # fmt: skip


def draw_component_curves(ax: "Axes", subject: Subject, name: str, prob: float) -> None:
    """Draw the weighted density of each component along one column: bands of the draws, lines of EM."""
    data = subject.columns([name])[:, 0]
    margin = 0.08 * np.ptp(data)
    grid = np.linspace(data.min() - margin, data.max() + margin, 400)
    draws, point = subject.draws([name], 1000), subject.point([name])
    for k in range(subject.n_components):
        if draws is not None:
            curves = np.exp(draws.log_joint(grid[:, None])[..., k])
            lower, upper = np.quantile(curves, [(1 - prob) / 2, (1 + prob) / 2], axis=0)
            ax.fill_between(grid, lower, upper, color=component_color(k), alpha=0.35, lw=0)
            ax.plot(grid, curves.mean(axis=0), color=component_color(k), ls=component_line(k), lw=1.4)
        if point is not None:
            ax.plot(grid, np.exp(point.log_joint(grid[:, None])[..., k]), color=ink(ax), ls=component_line(k), lw=1.1)
    _draw_rug(ax, data[subject.shown_rows], blend(subject.shown_shares))
    ax.set(xlim=(grid[0], grid[-1]), ylim=(0, None))


def _draw_rug(ax: "Axes", data: Floats, colors: Floats) -> None:
    """Draw a tick for each row at the foot of the axes."""
    feet = np.stack([np.stack([data, np.zeros_like(data)], 1), np.stack([data, np.full_like(data, 0.035)], 1)], 1)
    ax.add_collection(
        LineCollection(list(feet), colors=colors, linewidths=0.8, alpha=0.7, transform=ax.get_xaxis_transform())
    )


def legend_handles(subject: Subject, n_columns: int, em_color: str) -> list[Any]:
    """Return what stands in a legend of components in one or two dimensions."""
    weights = subject.main.mixture.weights.reshape(-1, subject.n_components).mean(axis=0)
    handles: list[Any] = [
        component_handle(k, f"component {k} ({weight:.0%})", as_line=n_columns == 1) for k, weight in enumerate(weights)
    ]
    what = f"{SHARE:.0%} ellipses" if n_columns == 2 else "densities"
    if subject.has_draws:
        band = Line2D([], [], color=GUIDE_COLOR, lw=0.7) if n_columns == 2 else Patch(color=GUIDE_COLOR, alpha=0.35)
        band.set_label(f"posterior draws: {what}" if n_columns == 2 else "posterior: bands")
        handles.append(band)
    if subject.estimate is not None:
        handles.append(Line2D([], [], color=em_color, lw=1.5, label=f"EM: {what}"))
    return handles
