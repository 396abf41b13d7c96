"""Moments that are put together: scatters of every layout, and the moments of two sets of rows as those of their union.

An M step sees no more of the scatters than its structure needs (`Moments.scatters`): matrices, diagonals, traces, or
their sum over the components. What is known besides the rows comes as matrices, and is added in the layout that is
there.
"""

import numpy as np
from numpy.typing import NDArray

from bayesgmm.em.statistics import Moments

__all__ = ["outer_products", "pooled_moments", "with_added"]

Floats = NDArray[np.float64]


def with_added(scatters: Floats, increments: Floats) -> Floats:
    """Add full scatters (K, D, D) to scatters of any layout; see `Moments`."""
    k, d = increments.shape[:2]
    if scatters.ndim == 3:
        return scatters + (increments if len(scatters) == k else increments.sum(axis=0))
    variances = np.diagonal(increments, axis1=1, axis2=2)
    return scatters + (variances if scatters.shape[1] == d else variances.sum(axis=1, keepdims=True))


def outer_products(amounts: Floats, offsets: Floats) -> Floats:
    """Return amounts (K,) times the outer products of offsets (K, D) with themselves, shape (K, D, D)."""
    return np.asarray(amounts[:, None, None] * offsets[:, :, None] * offsets[:, None, :])


def pooled_moments(first: Moments, second: Moments) -> Moments:
    """Compute the moments of two sets of rows together (math.md, 3.8).

    Parameters
    ----------
    first : Moments
        Of the one set, scatters of any layout.
    second : Moments
        Of the other set, full scatters (K, D, D).

    Returns
    -------
    Moments
        Scatters in the layout of the first; log-likelihoods are added.
    """
    counts = first.counts + second.counts
    offsets = second.means - first.means
    shares = second.counts / counts
    means = first.means + shares[:, None] * offsets
    scatters = with_added(first.scatters, second.scatters + outer_products(first.counts * shares, offsets))
    return Moments(first.log_likelihood + second.log_likelihood, counts, means, scatters)
