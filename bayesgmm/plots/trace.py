"""How fits came about: draws by iteration, through ArviZ, and EM's climb with every optimum that it found."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesgmm.comparison import Comparison
from bayesgmm.errors import ArgumentError
from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import Mixture
from bayesgmm.plots.style import GUIDE_COLOR, POSTERIOR_COLOR, component_color, ink, literal, new_axes, tidy
from bayesgmm.plots.subject import read_subject

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["plot_em_trace", "plot_trace"]

#: Optima that are drawn, the best first.
MAX_OPTIMA = 12
#: Columns whose parameters are drawn unless they are named; each takes two rows of panels.
MAX_COLUMNS = 4
# Letters of a name beside a panel.
_LINE = 20


def plot_trace(
    fit: MixtureFit, *, kind: str = "trace", features: Sequence[str] | str | None = None, **options: Any
) -> Any:
    """Draw the relabelled draws of weights, means and standard deviations: their distributions, and chain by chain.

    Parameters
    ----------
    fit : MixtureFit
        A fit with draws.
    kind : {"trace", "rank"}, default "trace"
        What stands beside each distribution: the draws by iteration, or how far the distribution of each chain's ranks
        among all draws is from uniform, which is nowhere far where chains agree (Vehtari et al. 2021).
    features : str or sequence of str, optional
        The columns. Default all up to four, or the four in which the components are furthest apart.
    **options
        For ``arviz.plot_trace_dist`` or ``arviz.plot_rank_dist``.

    Returns
    -------
    arviz_plots.PlotCollection
        ArviZ's collection; ``.savefig(path)`` writes it to a file.

    Raises
    ------
    ArgumentError
        When the fit has no draws, or there is no such kind or column.
    """
    if not isinstance(fit, MixtureFit) or not fit.has_draws:
        raise ArgumentError("a trace needs draws; this is not a fit with draws: pass what fit_bayes returned")
    if kind not in ("trace", "rank"):
        raise ArgumentError(f"kind={kind!r} is not known; use 'trace' or 'rank'")
    import arviz as az

    names = read_subject(fit).choose(features, MAX_COLUMNS)
    groups = {"posterior": _by_column(fit.mixture.marginal(names))}
    if "sample_stats" in fit.tree.children:
        groups["sample_stats"] = fit.tree["sample_stats"].to_dataset()
    # ArviZ asks for at least three colours, whatever it needs.
    colors = [component_color(k) for k in range(max(fit.n_components, 3))]
    size = (9.5, 0.6 + 1.7 * len(groups["posterior"].data_vars))
    sheet = {"figsize": size, "figsize_units": "inches", "layout": "constrained"}
    settings = {"aes": {"color": ["component"], "linestyle": ["chain"]}, "color": colors, "figure_kwargs": sheet}
    draw = az.plot_trace_dist if kind == "trace" else az.plot_rank_dist
    collection = draw(xr.DataTree.from_dict(groups), backend="matplotlib", **settings | options)
    if "component" in groups["posterior"].dims:
        collection.add_legend("component", loc="outside upper center", ncols=fit.n_components, frameon=False)
    figure, note = collection.viz["figure"].item(), read_subject(fit).label_note
    for ax in figure.axes:
        # A long name is longer than a panel is high.
        ax.set_ylabel(textwrap.fill(ax.get_ylabel(), _LINE), fontsize="small")
    if note:
        figure.supxlabel(note, fontsize="medium")
    return collection


def plot_em_trace(fit: Any, ax: "Axes | None" = None) -> "Axes":
    """Draw how EM climbed, and the optima at which its starts ended.

    Parameters
    ----------
    fit : MixtureFit or Comparison
        A fit by EM, or a comparison with one.
    ax : matplotlib Axes, optional
        Where to draw. Default a new figure.

    Returns
    -------
    matplotlib Axes
        The axes: the log-likelihood by iteration of the run that won and, thinner, of all others over all rows, as far
        as they went; and a line for each distinct optimum with how many starts led to it.

    Raises
    ------
    ArgumentError
        When the fit is not by EM.
    """
    em = fit.em if isinstance(fit, Comparison) else fit
    if not isinstance(em, MixtureFit) or "optimization" not in em.tree.children:
        raise ArgumentError("this is not a fit by EM, which alone has an EM trace: pass what fit_em returned")
    ax, trace = new_axes(ax, (10.0, 3.6)), em.em_trace
    optima = em.optima.head(MAX_OPTIMA)
    iterations = np.arange(1, len(trace) + 1)
    ax.plot(iterations, trace, color=ink(ax), lw=1.4, marker="o", ms=2.5, zorder=3, label="the run that won")
    if "runs" in em.tree.children:
        # One line, cut by NaN: a run may have been left behind anywhere.
        others = em.tree["runs"].to_dataset()["log_likelihood"].transpose("run", "iteration").values[1:]
        gaps = np.column_stack([others, np.full(len(others), np.nan)])
        places = np.tile(np.arange(1, gaps.shape[1] + 1), len(gaps))
        ax.plot(places, gaps.ravel(), color=GUIDE_COLOR, lw=0.6, alpha=0.7, zorder=1, label="other runs")
    _draw_optima(ax, optima)
    best = max(float(trace.max()), float(optima["log_likelihood"].max()))
    lowest = float(optima["log_likelihood"].min())
    # Less than one unit of log-likelihood is nothing to look at closely, unless there is no more.
    climb = best - float(trace.min())
    reach = max(best - lowest, best - float(np.median(trace)), min(1.0, climb)) or 1.0
    ax.set(
        xlabel="iteration", ylabel="log-likelihood", xlim=(1, 1.25 * len(trace)),
        ylim=(best - 1.35 * reach, best + 0.15 * reach),
    )  # fmt: skip
    ax.ticklabel_format(axis="y", useOffset=False)
    ax.legend(frameon=False, fontsize="small", loc="lower right")
    return tidy(ax)


def _draw_optima(ax: "Axes", optima: "pd.DataFrame") -> None:
    """Draw a line for each optimum, spikes dotted, and write beside it how often it was reached."""
    for number, row in optima.iterrows():
        is_spike = bool(row["is_degenerate"])
        color = GUIDE_COLOR if is_spike else POSTERIOR_COLOR
        label = "optima" if number == optima.index[0] and not is_spike else None
        ax.axhline(row["log_likelihood"], color=color, lw=0.9, ls=":" if is_spike else "-", alpha=0.7, label=label)
        count = int(row["times_reached"])
        words = f"{count} start{'s' * (count != 1)}{' (spike)' if is_spike else ''}"
        ax.annotate(
            words, (1.0, row["log_likelihood"]), xycoords=ax.get_yaxis_transform(), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize="x-small", color=color, annotation_clip=True,
        )  # fmt: skip


def _by_column(mixture: Mixture) -> xr.Dataset:
    """Return one variable for each panel, over (chain, draw, component): columns have units of their own."""
    dims = ("chain", "draw", "component")
    variances = np.diagonal(mixture.covariances, axis1=-2, axis2=-1)
    panels = {"weights": mixture.weights} if mixture.n_components > 1 else {}
    for j, name in enumerate(mixture.features):
        # A name in a DataTree may not have a slash, as units often do.
        shown = literal(name).replace("/", "\N{DIVISION SLASH}")
        panels[f"mean: {shown}"] = mixture.means[..., j]
        panels[f"sd: {shown}"] = np.sqrt(variances[..., j])
    return xr.Dataset({name: (dims, values) for name, values in panels.items()})
