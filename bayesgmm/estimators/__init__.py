"""Shells with scikit-learn's interface: constructor, attributes and methods of its mixtures over the fits of bayesgmm.

No numerics live here. A shell validates its input as scikit-learn does, translates settings and units, calls the
engine, and lays the result out in the shapes that scikit-learn's users know.
"""

from bayesgmm.estimators.bayesian import BayesianGaussianMixture
from bayesgmm.estimators.gaussian import GaussianMixture

__all__ = ["BayesianGaussianMixture", "GaussianMixture"]
