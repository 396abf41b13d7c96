"""The fitted density, with how uncertain it is.

One column: the average density of the draws with a pointwise credible band, over a histogram of the data. Two columns:
the smallest regions that hold a given share of the probability (highest-density regions, Hyndman 1996). Each draw has
regions of its own; the band that is drawn is where draws disagree on whether a point is inside, so that its width shows
how well the data fix the contour. EM's curves and contours are lines in ink.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colors as mcolors
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from bayesgmm.errors import ArgumentError
from bayesgmm.mixture import Mixture
from bayesgmm.plots.style import GUIDE_COLOR, POSTERIOR_COLOR, add_legend, ink, literal, new_axes, tidy
from bayesgmm.plots.subject import Subject, read_subject

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["highest_density_thresholds", "plot_density"]

Floats = NDArray[np.float64]

#: Points of the grids in one dimension, and along each axis in two.
GRID_1D = 400
GRID_2D = 120
#: Draws that bands are computed from, in one dimension and in two.
DRAWS_1D = 1000
DRAWS_2D = 300
#: Shares of the probability that the regions in two dimensions hold.
REGIONS = (0.5, 0.9)


def plot_density(
    fit: Any, ax: "Axes | None" = None, *, features: Sequence[str] | str | None = None, prob: float | None = None
) -> "Axes":
    """Draw the fitted density with its credible band.

    Parameters
    ----------
    fit : MixtureFit or Comparison
        What to draw. Of a comparison both fits are drawn.
    ax : matplotlib Axes, optional
        Where to draw. Default a new figure.
    features : str or sequence of str, optional
        One or two columns, for the density of these alone. Default all columns of the fit.
    prob : float, optional
        Probability of the credible bands, pointwise. Default the comparison's, or ArviZ's ``stats.ci_prob``.

    Returns
    -------
    matplotlib Axes
        The axes.

    Raises
    ------
    ArgumentError
        When there are more than two columns.
    """
    subject = read_subject(fit)
    names = subject.features if features is None else subject.choose(features, 2)
    if len(names) > 2:
        raise ArgumentError(
            f"a density of {len(names)} columns cannot be drawn; name one or two with features=, or use plot_pairs"
        )
    draw = _draw_curve if len(names) == 1 else _draw_regions
    return draw(new_axes(ax), subject, names, subject.interval_prob(prob))


# -------------------------------------------------------------------- one column


def _draw_curve(ax: "Axes", subject: Subject, names: Sequence[str], prob: float) -> "Axes":
    data = subject.columns(names)[:, 0]
    ax.hist(
        data, bins=_bins(data), density=True, weights=subject.main.prepared.sample_weight,
        color=GUIDE_COLOR, alpha=0.22, label="data",
    )  # fmt: skip
    grid = _axis(data, GRID_1D)
    draws, point = subject.draws(names, DRAWS_1D), subject.point(names)
    if draws is not None:
        densities = np.exp(draws.log_density(grid[:, None]))
        lower, upper = np.quantile(densities, [(1 - prob) / 2, (1 + prob) / 2], axis=0)
        ax.fill_between(grid, lower, upper, color=POSTERIOR_COLOR, alpha=0.3, lw=0, label=f"{prob:.0%} band")
        ax.plot(grid, densities.mean(axis=0), color=POSTERIOR_COLOR, lw=1.8, label="posterior mean")
    if point is not None:
        ax.plot(grid, np.exp(point.log_density(grid[:, None])), color=ink(ax), lw=1.3, label="EM")
    ticks = data[subject.shown_rows]
    ax.plot(ticks, np.zeros_like(ticks), "|", color=ink(ax), alpha=0.35, ms=9, clip_on=False, zorder=1)
    ax.set(xlabel=literal(names[0]), ylabel="density", ylim=(0, None), xlim=(grid[0], grid[-1]))
    add_legend(ax)
    return tidy(ax)


def _bins(data: Floats) -> list[float]:
    """Return the edges of Freedman and Diaconis's bins, between 20 and 60 of them."""
    n_bins = len(np.histogram_bin_edges(data, "fd")) - 1
    return np.linspace(data.min(), data.max(), int(np.clip(n_bins, 20, 60)) + 1).tolist()


def _axis(data: Floats, n: int) -> Floats:
    margin = 0.08 * np.ptp(data)
    return np.linspace(data.min() - margin, data.max() + margin, n)


# -------------------------------------------------------------------- two columns


def _draw_regions(ax: "Axes", subject: Subject, names: Sequence[str], prob: float) -> "Axes":
    data = subject.columns(names)
    x, y = _axis(data[:, 0], GRID_2D), _axis(data[:, 1], GRID_2D)
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    ax.plot(*data[subject.shown_rows].T, ".", color=ink(ax), ms=4, alpha=0.45, mew=0, zorder=5)
    draws, point = subject.draws(names, DRAWS_2D), subject.point(names)
    handles: list[Any] = [Line2D([], [], ls="", marker=".", color=ink(ax), alpha=0.45, label="data")]
    if draws is not None:
        _draw_bands(ax, x, y, _densities(draws, points), prob)
        handles += [
            Patch(color=POSTERIOR_COLOR, alpha=0.15, label=f"posterior mean: {_say(REGIONS)} regions"),
            Patch(color=POSTERIOR_COLOR, alpha=0.55, label=f"{prob:.0%} bands of their edges"),
        ]
    if point is not None:
        densities = _densities(point, points)
        levels = highest_density_thresholds(densities, REGIONS)[0]
        ax.contour(x, y, densities.reshape(len(y), len(x)), np.sort(levels), colors=ink(ax), linewidths=1.1, zorder=4)
        handles.append(Line2D([], [], color=ink(ax), lw=1.1, label=f"EM: {_say(REGIONS)} regions"))
    ax.set(xlabel=literal(names[0]), ylabel=literal(names[1]))
    add_legend(ax, handles)
    return tidy(ax)


def _densities(mixture: Mixture, points: Floats) -> Floats:
    return np.exp(mixture.log_density(points)).reshape(-1, len(points))


def _draw_bands(ax: "Axes", x: Floats, y: Floats, densities: Floats, prob: float) -> None:
    shape = (len(y), len(x))
    average = densities.mean(axis=0, keepdims=True)
    levels = np.sort(highest_density_thresholds(average, REGIONS)[0])
    pale = mcolors.to_rgba(POSTERIOR_COLOR, 0.12)
    for level in levels:
        ax.contourf(x, y, average.reshape(shape), [level, np.inf], colors=[pale], zorder=1)
    thresholds = highest_density_thresholds(densities, REGIONS)
    for region in thresholds.T:
        inside = (densities >= region[:, None]).mean(axis=0).reshape(shape)
        edges = [(1 - prob) / 2, (1 + prob) / 2]
        ax.contourf(x, y, inside, edges, colors=[POSTERIOR_COLOR], alpha=0.45, zorder=3)


def highest_density_thresholds(densities: Floats, shares: Sequence[float]) -> Floats:
    """Find the density above which a share of the probability lies, on a grid of equal cells.

    Parameters
    ----------
    densities : ndarray, shape (S, number of cells)
        Densities, one row for each mixture.
    shares : sequence of float
        Shares of the probability, between 0 and 1.

    Returns
    -------
    ndarray, shape (S, number of shares)
        Thresholds: cells at least this dense hold the share.
    """
    ordered = -np.sort(-densities, axis=1)
    held = np.cumsum(ordered, axis=1)
    held /= held[:, -1:]
    positions = [(held < share).sum(axis=1) for share in shares]
    return np.stack([ordered[np.arange(len(ordered)), position] for position in positions], axis=1)


def _say(shares: Sequence[float]) -> str:
    return " and ".join(f"{share:.0%}" for share in shares)
