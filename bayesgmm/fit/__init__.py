"""MixtureFit: the one result type, of maximum likelihood and of a posterior alike.

A point estimate is a posterior with one chain and one draw. Whoever made a fit, its parameters live in an ArviZ
DataTree (`fit.tree`) in the user's units, relabelled, with the pointwise log-likelihood, the data and how it was made
beside them; everything that a MixtureFit offers is derived from that tree. So a saved fit is its tree, and a loaded one
can do all that a fresh one can, except hand out the PyMC model.

Groups of the tree: ``posterior`` (weights, means, covariances), ``log_likelihood`` (the marginal one, row by row),
``observed_data``, ``constant_data`` (row weights, centring and scaling), ``sample_stats``; for EM also ``optimization``
(log-likelihood by iteration), ``runs`` (the same of every run, as far as it went) and ``optima`` (the distinct optima
found). `FitInfo` is kept as an attribute, in JSON.

A fit to more rows than memory holds carries a random sample of them as ``observed_data``, and no ``log_likelihood``
row by row; what is known of all rows (number, weight, log-likelihood, certainty) is then in the group ``all_rows``.
Whatever would need every row is refused for such a fit.
"""

from bayesgmm.fit.checks import check_estimate, check_fit, mixture_of
from bayesgmm.fit.info import FitInfo, versions_of
from bayesgmm.fit.mixture_fit import MixtureFit
from bayesgmm.fit.tree import assemble

__all__ = ["FitInfo", "MixtureFit", "assemble", "check_estimate", "check_fit", "mixture_of", "versions_of"]
