"""The parameters as a forest: where each posterior lies, and where EM's estimate lies in it.

Weights, means and covariances have units of their own; what is compared is each parameter's distance from its posterior
mean in posterior standard deviations, so that one axis serves all. The values themselves stand beside the marks, in the
user's units.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from bayesgmm.em.arguments import whole
from bayesgmm.errors import ArgumentError
from bayesgmm.plots.style import GUIDE_COLOR, component_color, ink, literal, new_grid, paper, tidy, with_note
from bayesgmm.plots.subject import Subject, read_subject
from bayesgmm.posterior.parameters import Parameter, list_parameters, parameter_draws

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_parameters"]

Floats = NDArray[np.float64]

#: An EM estimate further out than this is drawn at the edge, as an arrow.
FURTHEST = 4.0
#: Parameters that are drawn unless more are asked for: a page of them.
MAX_PARAMETERS = 60
_ROW_HEIGHT = 0.25
# Distances from the right edge of the axes, in points.
_TEXT_COLUMNS = (12.0, 62.0, 112.0)


def plot_parameters(
    fit: Any, *, figure: Figure | None = None, n_parameters: int = MAX_PARAMETERS, prob: float | None = None
) -> Figure:
    """Draw the posterior interval of every parameter, and EM's estimate in it.

    Parameters
    ----------
    fit : MixtureFit or Comparison
        A posterior, or a comparison of EM with one.
    figure : matplotlib Figure, optional
        Where to draw, an empty figure or subfigure. Default a new figure.
    n_parameters : int, default 60
        At most how many parameters: of a comparison those whose estimate is furthest from the posterior mean, in
        posterior standard deviations; of a posterior the first, weights before means before covariances.
    prob : float, optional
        Probability of the intervals; the thick part holds half. Default the comparison's, or ArviZ's ``stats.ci_prob``.

    Returns
    -------
    matplotlib Figure
        One panel each for weights, means and covariances; the horizontal axis is in posterior standard deviations.

    Raises
    ------
    ArgumentError
        When there are no draws, or `n_parameters` is not positive.
    """
    subject = read_subject(fit)
    if not subject.has_draws:
        raise ArgumentError("a forest shows posterior intervals; this fit is a single estimate: fit_bayes gives draws")
    n_parameters = whole("n_parameters", n_parameters)
    held, structure = subject.interval_prob(prob), subject.main.structure
    every = list_parameters(structure, subject.n_components, subject.features)
    values = parameter_draws(subject.main.mixture, structure)[1]
    point = None if subject.estimate is None else parameter_draws(subject.estimate, structure)[1]
    shown = _furthest(values, point, n_parameters)
    parameters, values = [every[i] for i in shown], values[..., shown]
    point = None if point is None else point[shown]
    groups = [g for g in ("weights", "means", "covariances") if any(p.group == g for p in parameters)]
    kind = _interval_kind(subject)
    figure, axes = _panels(figure, [sum(p.group == g for p in parameters) for g in groups])
    for ax, group in zip(axes, groups, strict=True):
        own = [i for i, parameter in enumerate(parameters) if parameter.group == group]
        bounds = _intervals(values[..., own], held, kind)
        _draw_panel(ax, [parameters[i] for i in own], values[..., own].reshape(-1, len(own)), bounds,
                    None if point is None else point[own])  # fmt: skip
        ax.set_title(group, loc="left", fontsize="medium", fontweight="bold")
    header = ("" if point is None else "EM", "posterior", f"{held:.0%} {kind.upper()}")
    _write_columns(axes[0], -0.95, header, fontweight="bold")
    notes = [_what_is_shown(len(shown), len(every), has_estimate=point is not None), subject.label_note]
    label = "posterior standard deviations from the posterior mean"
    axes[-1].set_xlabel(with_note(label, "\n".join(note for note in notes if note)))
    figure.legend(
        handles=_legend(subject, axes[0], f"{held:.0%} {kind.upper()}"),
        frameon=False,
        fontsize="small",
        ncols=3,
        loc="outside upper center",
    )
    return figure


def _furthest(values: Floats, point: Floats | None, limit: int) -> NDArray[np.intp]:
    """Return the positions of the parameters that are drawn, in their order."""
    if values.shape[-1] <= limit or point is None:
        return np.arange(min(values.shape[-1], limit))
    draws = values.reshape(-1, values.shape[-1])
    distances = np.abs(point - draws.mean(axis=0)) / draws.std(axis=0, ddof=1)
    return np.sort(np.argsort(-distances, kind="stable")[:limit])


def _what_is_shown(shown: int, count: int, *, has_estimate: bool) -> str:
    if shown == count:
        return ""
    return f"{shown} of {count:,} parameters" + (": those that differ most from EM's estimate" if has_estimate else "")


def _panels(figure: Figure | None, sizes: list[int]) -> tuple[Figure, NDArray[Any]]:
    height = _ROW_HEIGHT * sum(sizes) + 0.45 * len(sizes) + 0.9
    ratios = [size + 0.6 for size in sizes]
    drawn, axes = new_grid(figure, (len(sizes), 1), (9.6, height), sharex=True, height_ratios=ratios)
    return drawn, axes[:, 0]


def _interval_kind(subject: Subject) -> str:
    """Return the kind of interval that a comparison was made with, or ArviZ's ``stats.ci_kind``."""
    import arviz as az

    return str(az.rcParams["stats.ci_kind"]) if subject.comparison is None else subject.comparison.interval_kind


def _intervals(values: Floats, prob: float, kind: str) -> Floats:
    """Return the intervals of draws of shape (chain, draw, P) as an array of shape (2, P)."""
    import arviz as az

    draws = xr.Dataset({"value": (("chain", "draw", "parameter"), values)})
    interval = az.hdi if kind == "hdi" else az.eti
    return np.asarray(interval(draws, prob=prob)["value"].transpose(..., "parameter").values)


def _draw_panel(ax: "Axes", parameters: list[Parameter], values: Floats, bounds: Floats, point: Floats | None) -> None:
    centre, spread = values.mean(axis=0), values.std(axis=0, ddof=1)
    standardized = (values - centre) / spread
    rows = np.arange(len(parameters))
    colors = [component_color(parameter.component) for parameter in parameters]
    lower, upper = (bounds - centre) / spread
    ax.hlines(rows, lower, upper, colors=colors, lw=1.6)
    first, third = np.quantile(standardized, [0.25, 0.75], axis=0)
    ax.hlines(rows, first, third, colors=colors, lw=4.5, alpha=0.55)
    ax.axvline(0.0, color=GUIDE_COLOR, lw=0.7, zorder=0)
    if point is not None:
        _draw_marks(ax, (point - centre) / spread)
    ax.set(ylim=(len(parameters) - 0.4, -0.6), xlim=(-FURTHEST - 0.2, FURTHEST + 0.2))
    ax.set_yticks(rows, [_short_name(parameter) for parameter in parameters], fontsize="small")
    ax.tick_params(axis="y", length=0)
    _write_values(ax, rows, point, centre, bounds)
    tidy(ax).spines["left"].set_visible(False)


def _draw_marks(ax: "Axes", distances: Floats) -> None:
    for row, distance in enumerate(distances):
        marker = "D" if abs(distance) <= FURTHEST else "<" if distance < 0 else ">"
        place = float(np.clip(distance, -FURTHEST, FURTHEST))
        ax.plot(place, row, marker, color=paper(ax), mec=ink(ax), mew=1.3, ms=5.5, zorder=3)


def _write_values(ax: "Axes", rows: NDArray[np.intp], point: Floats | None, centre: Floats, bounds: Floats) -> None:
    for row in rows:
        estimate = "" if point is None else _number(point[row])
        interval = f"[{_number(bounds[0, row])}, {_number(bounds[1, row])}]"
        _write_columns(ax, row, (estimate, _number(centre[row]), interval))


def _write_columns(ax: "Axes", row: float, texts: tuple[str, str, str], **style: Any) -> None:
    """Write EM's estimate, the posterior mean and the interval to the right of the axes, in three columns."""
    for text, points in zip(texts, _TEXT_COLUMNS, strict=True):
        ax.annotate(
            text, (1.0, row), xycoords=ax.get_yaxis_transform(), xytext=(points, 0), textcoords="offset points",
            va="center", ha="left", fontsize="x-small", annotation_clip=False, **style,
        )  # fmt: skip


def _number(value: float) -> str:
    """Write three significant digits, trailing zeros included."""
    return f"{value:#.3g}".rstrip(".") if abs(value) < 1000 else f"{value:,.0f}"


def _short_name(parameter: Parameter) -> str:
    """Name a parameter without its group, which the panel's title says."""
    match tuple(literal(name, 24) for name in parameter.features):
        case ():
            return f"component {parameter.component}"
        case (name,):
            return f"{parameter.component}: {name}"
        case (first, second) if first == second:
            return f"{parameter.component}: {first}, variance"
        case names:
            return f"{parameter.component}: {' x '.join(names)}"


def _legend(subject: Subject, ax: "Axes", interval: str) -> list[Line2D]:
    handles = [
        Line2D([], [], color=GUIDE_COLOR, lw=1.6, label=f"posterior, {interval}"),
        Line2D([], [], color=GUIDE_COLOR, lw=4.5, alpha=0.55, label="middle half"),
    ]
    if subject.estimate is not None:
        handles.append(Line2D([], [], ls="", marker="D", color=paper(ax), mec=ink(ax), mew=1.3, label="EM estimate"))
    return handles
