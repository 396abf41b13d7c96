"""The posterior: priors, the PyMC model, the fused likelihood, the samplers."""

from bayesgmm.bayes.fit import fit_bayes
from bayesgmm.bayes.model import build_model
from bayesgmm.bayes.priors import Priors, ResolvedPriors

__all__ = ["Priors", "ResolvedPriors", "build_model", "fit_bayes"]
