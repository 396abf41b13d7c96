"""EM against the posterior: where a point estimate can be trusted."""

from bayesgmm.comparison.comparison import Comparison, compare
from bayesgmm.comparison.verdict import Finding

__all__ = ["Comparison", "Finding", "compare"]
