"""How many components, and which covariance structure: a grid of EM fits, its criteria, the posteriors of its best."""

from bayesgmm.selection.choice import select
from bayesgmm.selection.selection import Selection

__all__ = ["Selection", "select"]
