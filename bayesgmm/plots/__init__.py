"""Pictures of a fit or of a comparison. Matplotlib is imported in this room and nowhere before it."""

from bayesgmm.plots.comparison import plot_comparison
from bayesgmm.plots.components import plot_components
from bayesgmm.plots.density import plot_density
from bayesgmm.plots.memberships import plot_memberships
from bayesgmm.plots.pairs import plot_pairs
from bayesgmm.plots.parameters import plot_parameters
from bayesgmm.plots.trace import plot_trace

__all__ = [
    "plot_comparison",
    "plot_components",
    "plot_density",
    "plot_memberships",
    "plot_pairs",
    "plot_parameters",
    "plot_trace",
]
