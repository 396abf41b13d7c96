"""Pictures of a fit or of a comparison. Matplotlib is imported in this room and nowhere before it."""

from bayesgmm.plots.comparison import plot_comparison
from bayesgmm.plots.components import plot_components
from bayesgmm.plots.density import plot_density
from bayesgmm.plots.memberships import plot_entropy, plot_memberships
from bayesgmm.plots.pairs import plot_pairs
from bayesgmm.plots.parameters import plot_parameters
from bayesgmm.plots.projection import plot_projection
from bayesgmm.plots.selection import plot_selection
from bayesgmm.plots.similarity import plot_credible_ball, plot_similarity
from bayesgmm.plots.trace import plot_em_trace, plot_trace

__all__ = [
    "plot_comparison",
    "plot_components",
    "plot_credible_ball",
    "plot_density",
    "plot_em_trace",
    "plot_entropy",
    "plot_memberships",
    "plot_pairs",
    "plot_parameters",
    "plot_projection",
    "plot_selection",
    "plot_similarity",
    "plot_trace",
]
