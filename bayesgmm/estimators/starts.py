"""Where a `GaussianMixture` starts: scikit-learn's four recipes, drawn as scikit-learn draws them.

The same data, ``random_state`` and ``init_params`` give the labels, responsibilities or rows that scikit-learn's class
starts from, so that both run into the same optimum. Its recipes that pick rows ("k-means++" and "random_from_data")
put spikes of variance `reg_covar` on them, which the first iteration turns into the partition by the nearest row; here
these are equal spheres, narrow against the data and not zero when `reg_covar` is.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, kmeans_plusplus

from bayesgmm.mixture import Mixture

__all__ = ["RECIPES", "draw_start"]

Floats = NDArray[np.float64]

RECIPES = ("kmeans", "k-means++", "random", "random_from_data")

# Variance of the narrow spheres, in units of the mean variance of the columns.
_NARROW = 1e-6


def draw_start(
    recipe: str, X: Floats, n_components: int, weights: Floats | None, rng: np.random.RandomState
) -> Mixture | NDArray[Any]:
    """Draw a start of EM.

    Parameters
    ----------
    recipe : {"kmeans", "k-means++", "random", "random_from_data"}
        How; scikit-learn's ``init_params``.
    X : ndarray, shape (n, D)
        Rows, user's units.
    n_components : int
        Number of components, K.
    weights : ndarray, shape (n,), or None
        Row weights, positive; rows are picked in proportion.
    rng : numpy.random.RandomState
        Source of the draws.

    Returns
    -------
    Mixture or ndarray
        Labels (n,), responsibilities (n, K), or a mixture in the user's units.
    """
    if recipe == "kmeans":
        kmeans = KMeans(n_components, n_init=1, random_state=rng)
        return np.asarray(kmeans.fit(X, sample_weight=weights).labels_)
    if recipe == "random":
        uniform = rng.uniform(size=(len(X), n_components))
        return np.asarray(uniform / uniform.sum(axis=1, keepdims=True))
    if recipe == "k-means++":
        seeds = kmeans_plusplus(X, n_components, sample_weight=weights, random_state=rng)[0]
    else:
        shares = None if weights is None else weights / weights.sum()
        seeds = X[rng.choice(len(X), size=n_components, replace=False, p=shares)]
    return _narrow_spheres(seeds, X, weights)


def _narrow_spheres(seeds: Floats, X: Floats, weights: Floats | None) -> Mixture:
    k, d = seeds.shape
    centred = X - np.average(X, axis=0, weights=weights)
    variance = float(np.average(centred**2, axis=0, weights=weights).mean()) or 1.0
    return Mixture(np.full(k, 1.0 / k), seeds, np.broadcast_to(_NARROW * variance * np.eye(d), (k, d, d)))
