"""EM against the posterior: where a point estimate can be trusted."""

from bayesgmm.compare.comparison import Comparison, compare
from bayesgmm.compare.verdict import Finding

__all__ = ["Comparison", "Finding", "compare"]
