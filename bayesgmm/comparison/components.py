"""Components matched: which component of the posterior is which of the estimate, and how far apart they are.

The posterior is represented by the mixture at its mean parameters, and every component of the estimate by its Gaussian.
Two distances are told: Hellinger's, which says how well the densities overlap and stops at one, and that of Bures and
Wasserstein, which goes on growing with the distance of the means. Either can decide the match.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.matching import assign, hellinger_cost

__all__ = ["DISTANCES", "bures_wasserstein_cost", "component_table", "posterior_mean"]

Floats = NDArray[np.float64]

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
        "wasserstein": np.sqrt(bures_wasserstein_cost(*standard)),
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


def bures_wasserstein_cost(first: Mixture, second: Mixture) -> Floats:
    """Compute squared Bures-Wasserstein distances between the components of two mixtures (math.md, 8.6).

    Parameters
    ----------
    first, second : Mixture
        Single mixtures of the same columns.

    Returns
    -------
    ndarray, shape (K, K)
        ``[j, k]`` between component j of the first and component k of the second, in squared units of the mixtures.
    """
    offsets = first.means[:, None] - second.means[None]
    roots = _square_roots(first.covariances)[:, None]
    cross = _square_roots(roots @ second.covariances[None] @ roots)
    traces = np.trace(first.covariances, axis1=-2, axis2=-1)[:, None] + np.trace(second.covariances, axis1=-2, axis2=-1)
    squares = (offsets**2).sum(axis=-1) + traces - 2.0 * np.trace(cross, axis1=-2, axis2=-1)
    return np.maximum(squares, 0.0)


def _square_roots(matrices: Floats) -> Floats:
    """Return the symmetric square roots of positive definite matrices."""
    values, axes = np.linalg.eigh(0.5 * (matrices + np.swapaxes(matrices, -1, -2)))
    scaled = axes * np.sqrt(np.maximum(values, 0.0))[..., None, :]
    return np.asarray(scaled @ np.swapaxes(axes, -1, -2))
