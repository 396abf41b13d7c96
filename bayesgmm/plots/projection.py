"""Many columns seen from where the components are furthest apart.

With more than a few columns no pair of them need show the groups. The directions of Scrucca (2010) do: they follow the
differences between the components' means and between their covariances, relative to the spread of all the data. A
mixture seen along directions is a mixture again, so ellipses of draws and of EM are exact.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from bayesgmm.comparison.components import posterior_mean
from bayesgmm.errors import ArgumentError
from bayesgmm.mixture import Mixture
from bayesgmm.plots.components import DRAWS, draw_outlines, draw_points, legend_handles
from bayesgmm.plots.style import add_legend, ink, literal, new_axes, tidy, with_note
from bayesgmm.plots.subject import read_subject

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_projection", "separating_directions"]

Floats = NDArray[np.float64]

_NAMES = ("direction 1", "direction 2")
#: Columns that are named on an axis, the heaviest first.
_NAMED = 3
_LINE = 48


def plot_projection(fit: Any, ax: "Axes | None" = None) -> "Axes":
    """Draw all columns projected onto the two directions that separate the components best (math.md, 8.12).

    Parameters
    ----------
    fit : MixtureFit or Comparison
        What to draw, of at least two columns. Of a comparison both fits are drawn.
    ax : matplotlib Axes, optional
        Where to draw. Default a new figure.

    Returns
    -------
    matplotlib Axes
        The axes; their labels name the columns that weigh most, with loadings for columns in units of their standard
        deviation.

    Raises
    ------
    ArgumentError
        When there is only one column.
    """
    subject = read_subject(fit)
    if len(subject.features) < 2:
        raise ArgumentError("one column is its own projection; use plot_components")
    reference = posterior_mean(subject.main.mixture) if subject.has_draws else subject.main.mixture
    basis = separating_directions(reference)
    draws = subject.draws(subject.features, DRAWS)
    ax = new_axes(ax, (6.4, 4.8))
    draw_points(ax, subject.main.prepared.values[subject.shown_rows] @ basis, subject.shown_shares)
    draw_outlines(ax, *(None if one is None else _project(one, basis) for one in (draws, subject.estimate)))
    loadings = basis * np.sqrt(np.diagonal(reference.covariance))[:, None]
    labels = [_describe(loadings[:, j], subject.features) for j in range(2)]
    ax.set(xlabel=with_note(labels[0], subject.label_note), ylabel=labels[1])
    add_legend(ax, legend_handles(subject, 2, ink(ax)))
    return tidy(ax)


def separating_directions(mixture: Mixture) -> Floats:
    """Find the two directions in which the components of a mixture differ most (math.md, 8.12).

    Parameters
    ----------
    mixture : Mixture
        A single mixture of at least two columns.

    Returns
    -------
    ndarray, shape (D, 2)
        Directions, user's units to dimensionless: the whole mixture has variance one along each and no covariance
        between them. The largest loading is positive.

    References
    ----------
    Scrucca (2010), Stat. Comput. 20, 471-484.
    """
    total = mixture.covariance
    offsets = mixture.means - mixture.mean
    between = np.einsum("k,kd,ke->de", mixture.weights, offsets, offsets)
    within = np.einsum("k,kde->de", mixture.weights, mixture.covariances)
    inverse = np.linalg.inv(total)
    unlike = mixture.covariances - within
    kernel = between @ inverse @ between + np.einsum("k,kde,ef,kfg->dg", mixture.weights, unlike, inverse, unlike)
    _, axes = linalg.eigh(0.5 * (kernel + kernel.T), total)
    basis = axes[:, ::-1][:, :2]
    loadings = basis * np.sqrt(np.diagonal(total))[:, None]
    signs = np.sign(loadings[np.abs(loadings).argmax(axis=0), [0, 1]])
    return np.asarray(basis * signs)


def _project(mixture: Mixture, basis: Floats) -> Mixture:
    covariances = np.einsum("dp,...de,eq->...pq", basis, mixture.covariances, basis)
    covariances = 0.5 * (covariances + np.swapaxes(covariances, -1, -2))
    return Mixture(mixture.weights, mixture.means @ basis, covariances, _NAMES)


def _describe(loadings: Floats, features: tuple[str, ...]) -> str:
    """Write a direction as a sum of its heaviest columns."""
    heaviest = np.argsort(-np.abs(loadings), kind="stable")[:_NAMED]
    signs = ["\N{MINUS SIGN}" if loadings[j] < 0 else "+" for j in heaviest]
    parts = [
        f"{sign} {abs(loadings[j]):.2f} {literal(features[j], 24)}" for j, sign in zip(heaviest, signs, strict=True)
    ]
    more = [] if len(features) <= _NAMED else ["..."]
    # A line for each column where one line would be longer than the axis.
    between = " " if sum(map(len, parts)) <= _LINE else "\n"
    return between.join([parts[0].removeprefix("+ "), *parts[1:]]) + "".join(f" {text}" for text in more)
