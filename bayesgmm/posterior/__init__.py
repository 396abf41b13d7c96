"""What a bag of mixtures means, whoever drew them: matching, relabelling, memberships."""

from bayesgmm.posterior.matching import Assignment, assign
from bayesgmm.posterior.memberships import memberships
from bayesgmm.posterior.relabel import Relabelling, RelabellingQuality, relabel

__all__ = ["Assignment", "Relabelling", "RelabellingQuality", "assign", "memberships", "relabel"]
