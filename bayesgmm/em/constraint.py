"""A bound on how different the variances of a mixture may be, in any direction and between any components.

With the largest eigenvalue of all covariances at most c times the smallest, the likelihood is bounded, and a spike is
no maximum any more (Hathaway 1985; Garcia-Escudero, Gordaliza, Matran & Mayo-Iscar 2008). The M step under the bound
is the free one with its eigenvalues cut off below at m and above at c m; the best m is the root of a piecewise linear,
increasing function, so that it is found exactly (Fritz, Garcia-Escudero & Mayo-Iscar 2013; math.md, 3.12).
"""

import numpy as np
from numpy.typing import NDArray

from bayesgmm.mixture import Mixture
from bayesgmm.structure import CovarianceStructure

__all__ = ["BOUNDED", "is_at_the_bound", "spikes_at_the_bound", "truncated"]

Floats = NDArray[np.float64]

#: The structures of which a cut of the eigenvalues is a member again, and the best one under the bound.
BOUNDED = ("EII", "VII", "EEI", "VVI", "EEE", "VVV")
# Variances equal to this fraction are at the bound.
_AT_BOUND = 1e-8
# A component whose variance is this much smaller than another's, only because it may not be smaller still, is a spike.
_WIDE = 1e4


def truncated(variances: Floats, counts: Floats, ratio: float) -> Floats:
    """Cut variances off so that the largest is at most `ratio` times the smallest, at the least loss of likelihood.

    Parameters
    ----------
    variances : ndarray, shape (K, D)
        Eigenvalues of the covariances that the free M step gives; zeros are allowed.
    counts : ndarray, shape (K,)
        Numbers of rows behind each component.
    ratio : float
        Largest ratio, at least one.

    Returns
    -------
    ndarray, shape (K, D)
        The variances that minimise sum_k n_k sum_l (log s_kl + v_kl / s_kl) under the bound.

    Raises
    ------
    numpy.linalg.LinAlgError
        When every variance is zero.
    """
    if not variances.max() > 0.0:
        raise np.linalg.LinAlgError("every variance is zero")
    if variances.max() <= ratio * variances.min():
        return variances
    floor = _best_floor(variances.ravel(), np.repeat(counts, variances.shape[1]), ratio)
    return np.clip(variances, floor, ratio * floor)


def _best_floor(variances: Floats, counts: Floats, ratio: float) -> float:
    """Return m, the root of sum n (m - v)_+ - sum n (v / c - m)_+, which is linear between v and v / c."""
    order = np.argsort(variances)
    v, n = variances[order], counts[order]
    corners = np.unique(np.concatenate([v, v / ratio]))
    n_below, nv_below = (np.concatenate([[0.0], np.cumsum(values)]) for values in (n, n * v))
    below, above = np.searchsorted(v, corners), np.searchsorted(v / ratio, corners, side="right")
    lifted = corners * n_below[below] - nv_below[below]
    lowered = (nv_below[-1] - nv_below[above]) / ratio - corners * (n_below[-1] - n_below[above])
    slopes = lifted - lowered
    # Where all variances are equal but for rounding, so are the slopes: then any corner will do.
    last = min(max(int(np.count_nonzero(slopes <= 0.0)) - 1, 0), len(corners) - 2)
    rise = slopes[last + 1] - slopes[last]
    share = min(max(-slopes[last] / rise, 0.0), 1.0) if rise > 0.0 else 0.0
    return float(corners[last] + share * (corners[last + 1] - corners[last]))


def is_at_the_bound(covariances: Floats, structure: CovarianceStructure, ratio: float) -> bool:
    """Whether covariances, in the units of the fit, are as different as they may be, so that the bound holds them."""
    if structure.is_spherical and structure.is_shared:
        return False
    variances = np.linalg.eigvalsh(covariances)
    return bool(variances.max() >= ratio * (1.0 - _AT_BOUND) * variances.min())


def spikes_at_the_bound(mixture: Mixture, structure: CovarianceStructure, ratio: float) -> tuple[int, ...]:
    """Return the components that only a wide bound keeps from collapsing.

    Parameters
    ----------
    mixture : Mixture
        The estimate, in the units of the fit.
    structure : CovarianceStructure
        The structure; where it shares its covariance there are none.
    ratio : float
        The bound.

    Returns
    -------
    tuple of int
        Components at the lower end of a bound above 10,000.
    """
    if structure.is_shared or ratio <= _WIDE or not is_at_the_bound(mixture.covariances, structure, ratio):
        return ()
    smallest = np.linalg.eigvalsh(mixture.covariances)[:, 0]
    return tuple(int(k) for k in np.flatnonzero(smallest <= smallest.min() * (1.0 + _AT_BOUND)))
