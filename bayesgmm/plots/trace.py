"""How fits came about: draws by iteration, through ArviZ, and EM's climb with every optimum that it found."""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesgmm.comparison import Comparison
from bayesgmm.errors import ArgumentError
from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import Mixture
from bayesgmm.plots.style import EM_COLOR, GUIDE_COLOR, POSTERIOR_COLOR, component_color, literal, new_axes, tidy
from bayesgmm.plots.subject import read_subject

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["plot_em_trace", "plot_trace"]

#: Optima that are drawn, the best first.
MAX_OPTIMA = 12


def plot_trace(fit: MixtureFit, **options: Any) -> Any:
    """Draw the distribution and the trace of weights, means and standard deviations, chain by chain.

    Parameters
    ----------
    fit : MixtureFit
        A fit with draws.
    **options
        For ``arviz.plot_trace_dist``.

    Returns
    -------
    arviz_plots.PlotCollection
        ArviZ's collection; ``.savefig(path)`` writes it to a file.

    Raises
    ------
    ArgumentError
        When the fit has no draws.
    """
    if not isinstance(fit, MixtureFit) or not fit.has_draws:
        raise ArgumentError("a trace needs draws; this is not a fit with draws: pass what fit_bayes returned")
    import arviz as az

    groups = {"posterior": _by_column(fit.mixture)}
    if "sample_stats" in fit.tree.children:
        groups["sample_stats"] = fit.tree["sample_stats"].to_dataset()
    # ArviZ asks for at least three colours, whatever it needs.
    colors = [component_color(k) for k in range(max(fit.n_components, 3))]
    size = (9.5, 0.6 + 1.7 * len(groups["posterior"].data_vars))
    figure = {"figsize": size, "figsize_units": "inches", "layout": "constrained"}
    settings = {"aes": {"color": ["component"], "linestyle": ["chain"]}, "color": colors, "figure_kwargs": figure}
    collection = az.plot_trace_dist(xr.DataTree.from_dict(groups), backend="matplotlib", **settings | options)
    if "component" in groups["posterior"].dims:
        collection.add_legend("component", loc="outside upper center", ncols=fit.n_components, frameon=False)
    note = read_subject(fit).label_note
    if note:
        collection.viz["figure"].item().supxlabel(note, fontsize="medium")
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
        The axes: the log-likelihood by iteration of the run that won, and a line for each distinct optimum with how
        many of the starts that were run to their end reached it.

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
    ax.plot(iterations, trace, color=EM_COLOR, lw=1.4, marker="o", ms=2.5, zorder=3, label="the run that won")
    _draw_optima(ax, optima)
    best = max(float(trace.max()), float(optima["log_likelihood"].max()))
    lowest = float(optima["log_likelihood"].min())
    reach = max(best - lowest, best - float(np.median(trace)), 1e-6 * abs(best))
    ax.set(
        xlabel="iteration", ylabel="log-likelihood", xlim=(1, 1.25 * len(trace)),
        ylim=(best - 1.35 * reach, best + 0.15 * reach),
    )  # fmt: skip
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
        shown = literal(name, len(name))
        panels[f"mean: {shown}"] = mixture.means[..., j]
        panels[f"sd: {shown}"] = np.sqrt(variances[..., j])
    return xr.Dataset({name: (dims, values) for name, values in panels.items()})
