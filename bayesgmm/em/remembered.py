"""What a fit was told besides the rows, read back from it, for its replicates and its information."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesgmm.em.conjugate import ConjugatePrior, PriorTerms
from bayesgmm.em.fixed import Fixed
from bayesgmm.fit import MixtureFit

__all__ = ["bound_of", "fixed_of", "labels_of", "prior_of", "prior_terms_of", "told"]


def labels_of(fit: MixtureFit) -> NDArray[np.intp] | None:
    """Return the known component of each fitted row, -1 where it is not known; None where no row has a label."""
    constants = fit.tree["constant_data"].to_dataset()
    return constants["known_component"].values.astype(np.intp) if "known_component" in constants else None


def fixed_of(fit: MixtureFit) -> Fixed:
    """Return the parameters that were held, user's units."""
    return Fixed(**{name: getattr(fit.mixture, name) for name in fit.info.settings.get("fixed", ())})


def prior_of(fit: MixtureFit) -> ConjugatePrior | None:
    """Return the conjugate prior with what was left to the data, user's units."""
    prior = fit.info.settings.get("prior")
    return None if prior is None else ConjugatePrior(**prior)


def prior_terms_of(fit: MixtureFit) -> PriorTerms | None:
    """Return what the prior added to the moments of every component, standardised units."""
    prior = prior_of(fit)
    return None if prior is None else prior.to_standard(fit.scaling).terms(fit.structure, fit.n_components)


def bound_of(fit: MixtureFit) -> float | None:
    """Return the largest ratio of two eigenvalues that was allowed, in standardised units."""
    return fit.info.settings.get("max_eigenvalue_ratio")


def told(fit: MixtureFit) -> dict[str, Any]:
    """Return what `maximise` is told to fit other rows in the same way; labels belong to the rows and are not in it."""
    prior = prior_of(fit)
    return {
        "fixed": fixed_of(fit).to_standard(fit.scaling),
        "prior": None if prior is None else prior.to_standard(fit.scaling),
        "max_eigenvalue_ratio": bound_of(fit),
    }
