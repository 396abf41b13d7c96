"""The posterior: priors, the PyMC model, the fused likelihood, the samplers, evidence."""

from bayesgmm.bayes.evidence import Evidence, log_evidence
from bayesgmm.bayes.fit import fit_bayes
from bayesgmm.bayes.model import build_model
from bayesgmm.bayes.modes import optimum_masses
from bayesgmm.bayes.priors import Priors, ResolvedPriors

__all__ = ["Evidence", "Priors", "ResolvedPriors", "build_model", "fit_bayes", "log_evidence", "optimum_masses"]
