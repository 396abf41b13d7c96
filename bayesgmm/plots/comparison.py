"""EM against the posterior in one figure: components, density, and the rows that are not certain."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from bayesgmm.plots.components import plot_components
from bayesgmm.plots.density import plot_density
from bayesgmm.plots.memberships import plot_memberships
from bayesgmm.plots.style import new_figure
from bayesgmm.plots.subject import read_subject

__all__ = ["plot_comparison"]


def plot_comparison(
    comparison: Any,
    *,
    figure: Figure | None = None,
    features: Sequence[str] | str | None = None,
    prob: float | None = None,
) -> Figure:
    """Draw components, density and uncertain memberships of both fits in one figure.

    Parameters
    ----------
    comparison : Comparison or MixtureFit
        What to draw.
    figure : matplotlib Figure, optional
        Where to draw, an empty figure or subfigure. Default a new figure.
    features : str or sequence of str, optional
        One or two columns for the upper panels. Default the one or two that there are, or the two in which the
        components are furthest apart.
    prob : float, optional
        Probability of bands and intervals. Default the comparison's, or ArviZ's ``stats.ci_prob``.

    Returns
    -------
    matplotlib Figure
        The figure, with three axes.
    """
    names = read_subject(comparison).choose(features, 2)
    figure = new_figure(figure, (11.0, 8.2))
    axes = figure.subplot_mosaic([["components", "density"], ["memberships", "memberships"]], height_ratios=[1.5, 1.0])
    plot_components(comparison, axes["components"], features=names, prob=prob)
    plot_density(comparison, axes["density"], features=names, prob=prob)
    plot_memberships(comparison, axes["memberships"], prob=prob)
    return figure
