"""Draws by iteration, through ArviZ: one row of panels for each column of the data, one colour for each component."""

from typing import Any

import numpy as np
import xarray as xr

from bayesgmm.errors import ArgumentError
from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import Mixture
from bayesgmm.plots.style import component_color, literal

__all__ = ["plot_trace"]


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
    return collection


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
