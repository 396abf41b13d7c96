"""Which components have collapsed.

The likelihood of a mixture is unbounded (math.md, 3.6): a component that sits on a few rows, or on rows that lie in a
plane, gains without end as its covariance becomes singular. What "singular" means is measured against the data:
against the total covariance, whose own near-collinearities are no fault of a component, feature by feature given the
features before it (the squares of the Cholesky diagonal), so that no unit matters.
"""

import numpy as np
from numpy.typing import NDArray

from bayesgmm.em.statistics import Moments, Parameters
from bayesgmm.structure import CovarianceStructure

__all__ = ["collinear_columns", "conditions", "degenerate_components"]

Floats = NDArray[np.float64]

# A variance given the other features this small against the component's own variance is rounding error.
_SINGULAR_CORRELATION = 1e-14
# A variance this small against the total is what the rounding of the data alone produces.
_SINGULAR_VARIANCE = 1e-22
# One or two rows make a spike when their variance is this small against the total.
_SPIKE_VARIANCE = 1e-4
_SPIKE_COUNT = 2.5
_EMPTY_COUNT = 1e-6
# Columns whose variance given the others is below this fraction of their own are linear combinations of others.
_COLLINEAR = 1e-13
# The share that a column has in a combination, below which it is not in it.
_IN_COMBINATION = 1e-6


def degenerate_components(
    parameters: Parameters, counts: Floats, total: Moments, structure: CovarianceStructure
) -> tuple[int, ...]:
    """Return the components that have collapsed.

    Parameters
    ----------
    parameters : Parameters
        The mixture, standardised units.
    counts : ndarray, shape (K,)
        Effective numbers of rows per component.
    total : Moments
        Moments of all rows together, as one component.
    structure : CovarianceStructure
        The structure; a covariance that is shared collapses only with all components.

    Returns
    -------
    tuple of int
        Components that are empty, have a numerically singular covariance, or sit on one or two rows (on no more rows
        than features, where the covariance is their own) with a small variance.
    """
    covariances, d = parameters.covariances, parameters.means.shape[1]
    given = _conditional_variances(np.concatenate([covariances, total.scatters / total.counts[0]]))
    with np.errstate(divide="ignore", invalid="ignore"):
        own_ratio = (given[:-1] / np.diagonal(covariances, axis1=1, axis2=2)).min(axis=1)
        total_ratio = (given[:-1] / given[-1]).min(axis=1)
    is_singular = ~(own_ratio > _SINGULAR_CORRELATION) | ~(total_ratio > _SINGULAR_VARIANCE)
    few = max(_SPIKE_COUNT, d + 0.5) if structure.code == "VVV" else _SPIKE_COUNT
    is_spike = (counts < few) & (total_ratio < _SPIKE_VARIANCE) & (not structure.is_shared)
    is_empty = counts < _EMPTY_COUNT * counts.sum() / len(counts)
    return tuple(int(k) for k in np.flatnonzero(is_singular | is_spike | is_empty))


def collinear_columns(total: Moments) -> tuple[int, ...]:
    """Return the columns that are constant or, to rounding, linear combinations of each other.

    Parameters
    ----------
    total : Moments
        Moments of all rows together, as one component with a full scatter.

    Returns
    -------
    tuple of int
        Those in some combination that does not vary; empty where there is none.
    """
    covariance = total.scatters[0] / total.counts[0]
    variances = np.diagonal(covariance)
    if not np.all(variances > 0.0):
        return tuple(int(j) for j in np.flatnonzero(~(variances > 0.0)))
    sds = np.sqrt(variances)
    values, combinations = np.linalg.eigh(covariance / np.outer(sds, sds))
    constant = combinations[:, values < _COLLINEAR]
    return tuple(int(j) for j in np.flatnonzero((np.abs(constant) > _IN_COMBINATION).any(axis=1)))


def conditions(parameters: Parameters) -> Floats:
    """Compute the smallest eigenvalue of every correlation matrix (K,): 1 for uncorrelated features, 0 for singular."""
    sds = np.sqrt(np.diagonal(parameters.covariances, axis1=1, axis2=2))
    return np.asarray(np.linalg.eigvalsh(parameters.covariances / (sds[:, :, None] * sds[:, None, :]))[:, 0])


def _conditional_variances(covariances: Floats) -> Floats:
    """Return the variance of each feature given those before it; zeros where a matrix is singular."""
    try:
        return np.asarray(np.diagonal(np.linalg.cholesky(covariances), axis1=1, axis2=2) ** 2)
    except np.linalg.LinAlgError:
        if len(covariances) == 1:
            return np.zeros(covariances.shape[:2])
        return np.concatenate([_conditional_variances(one[None]) for one in covariances])
