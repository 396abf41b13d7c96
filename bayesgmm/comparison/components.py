"""Components matched: which component of the posterior is which of the estimate, and how far apart they are.

The posterior is represented by the mixture at its mean parameters, and every component of the estimate by its Gaussian.
Two distances are told: Hellinger's, which says how well the densities overlap and stops at one, and that of Bures and
Wasserstein, which goes on growing with the distance of the means. Either can decide the match.
"""

import numpy as np
import pandas as pd

from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.matching import assign, hellinger_cost, wasserstein_cost

__all__ = ["DISTANCES", "component_table", "posterior_mean"]

#: What may decide the match, and the column of the table that holds it.
DISTANCES = ("hellinger", "wasserstein")


def component_table(em: MixtureFit, bayes: MixtureFit, distance: str = "hellinger") -> pd.DataFrame:
    """Match the components of the estimate with those of the posterior mean (math.md, 6.3 and 8.6).

    Parameters
    ----------
    em, bayes : MixtureFit
        The estimate and the draws.
    distance : {"hellinger", "wasserstein"}
        The distance whose sum the match minimises; ``margin`` is in it.

    Returns
    -------
    DataFrame
        Indexed by the estimate's component: ``match`` (the posterior's component), ``em_weight``, ``posterior_weight``,
        ``hellinger`` (distance of the two Gaussians, 0 to 1), ``wasserstein`` (Bures-Wasserstein distance, with every
        column in the unit in which the fit ran, so dimensionless) and ``margin`` (distance to the next best component
        minus that to the match).
    """
    centre = posterior_mean(bayes.mixture)
    standard = [bayes.scaling.mixture_to_standard(mixture) for mixture in (em.mixture, centre)]
    costs = {
        "hellinger": np.sqrt(np.maximum(hellinger_cost(em.mixture, centre)[0], 0.0)),
        "wasserstein": np.sqrt(wasserstein_cost(*standard)[0]),
    }
    chosen, k = costs[distance], em.n_components
    order = assign(chosen[None]).permutations[0]
    own = np.arange(k), order
    others = np.where(np.arange(k)[None] == order[:, None], np.inf, chosen).min(axis=1)
    columns = {
        "match": order,
        "em_weight": em.mixture.weights,
        "posterior_weight": centre.weights[order],
        "hellinger": costs["hellinger"][own],
        "wasserstein": costs["wasserstein"][own],
        "margin": others - chosen[own] if k > 1 else np.full(1, np.nan),
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(k, name="component"))


def posterior_mean(mixture: Mixture) -> Mixture:
    """Return the mixture at the posterior means of weights, means and covariances."""
    axes = tuple(range(len(mixture.batch_shape)))
    return Mixture(
        mixture.weights.mean(axis=axes), mixture.means.mean(axis=axes), mixture.covariances.mean(axis=axes),
        mixture.features,
    )  # fmt: skip
