"""EM against the posterior: where a point estimate can be trusted."""

from bayesgmm.comparison.comparison import Comparison
from bayesgmm.comparison.pair import compare
from bayesgmm.comparison.several import FitTable
from bayesgmm.comparison.verdict import Finding

__all__ = ["Comparison", "Finding", "FitTable", "compare"]
