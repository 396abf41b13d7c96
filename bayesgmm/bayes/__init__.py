"""The posterior: priors, the PyMC model, the fused likelihood, the samplers, evidence.

Names are loaded when they are first used: what the workers of a cluster run is in this room too, and needs no PyMC.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayesgmm.bayes.evidence import Evidence, log_evidence
    from bayesgmm.bayes.fit import fit_bayes
    from bayesgmm.bayes.model import build_model
    from bayesgmm.bayes.modes import optimum_masses
    from bayesgmm.bayes.priors import Priors, ResolvedPriors

_HOME_OF = {
    "Evidence": "bayesgmm.bayes.evidence",
    "Priors": "bayesgmm.bayes.priors",
    "ResolvedPriors": "bayesgmm.bayes.priors",
    "build_model": "bayesgmm.bayes.model",
    "fit_bayes": "bayesgmm.bayes.fit",
    "log_evidence": "bayesgmm.bayes.evidence",
    "optimum_masses": "bayesgmm.bayes.modes",
}

__all__ = ["Evidence", "Priors", "ResolvedPriors", "build_model", "fit_bayes", "log_evidence", "optimum_masses"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'bayesgmm.bayes' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
