"""What a bag of mixtures means, whoever drew them: matching, relabelling, memberships, partitions, diagnostics."""

from bayesgmm.posterior.allocations import RelabelledAllocations, relabel_allocations
from bayesgmm.posterior.credible_ball import CredibleBall
from bayesgmm.posterior.diagnostics import label_free_diagnostics
from bayesgmm.posterior.matching import Assignment, assign
from bayesgmm.posterior.memberships import memberships
from bayesgmm.posterior.partitions import Partition, partition, partition_mixture
from bayesgmm.posterior.relabel import Relabelling, RelabellingQuality, relabel

__all__ = [
    "Assignment",
    "CredibleBall",
    "Partition",
    "RelabelledAllocations",
    "Relabelling",
    "RelabellingQuality",
    "assign",
    "label_free_diagnostics",
    "memberships",
    "partition",
    "partition_mixture",
    "relabel",
    "relabel_allocations",
]
