"""Assignments between the components of two mixtures, and how sure they are.

One matcher serves posterior draws, EM restarts, bootstrap replicates and comparisons. A cost matrix says what it costs
to call component k of a mixture component j of the reference; the best permutation is found by shortest augmenting
paths (kernels/assignment.py) and graded by its margin: how much more the second-best permutation would cost. A margin
near zero means that the data do not say which name a component should have.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bayesgmm.errors import ArgumentError
from bayesgmm.kernels.assignment import assign_all
from bayesgmm.mixture import Mixture

__all__ = ["Assignment", "assign", "bhattacharyya_coefficients", "hellinger_cost", "overlap_cost", "wasserstein_cost"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Assignment:
    """Best permutations and how far ahead of the second-best they are.

    Parameters
    ----------
    permutations : ndarray of int, shape (S, K)
        Component j of the reference is component ``permutations[s, j]`` of mixture s.
    costs : ndarray, shape (S,)
        Total cost of the best permutation.
    margins : ndarray, shape (S,)
        Cost of the second-best permutation minus that of the best; infinite for a single component.
    """

    permutations: NDArray[np.intp]
    costs: Floats
    margins: Floats


def assign(costs: Floats) -> Assignment:
    """Find the best permutation for each cost matrix, and its margin (math.md, 6.2).

    Parameters
    ----------
    costs : ndarray, shape (S, K, K)
        ``costs[s, j, k]`` is the cost of matching reference component j with component k of mixture s.

    Returns
    -------
    Assignment
        Permutations, their costs and margins.

    Raises
    ------
    ArgumentError
        When a cost is not a finite number.

    Notes
    -----
    The second-best permutation is the best with the names along one cycle exchanged: O(K^3) for each mixture, like the
    best one itself.
    """
    costs = np.ascontiguousarray(costs, dtype=np.float64)
    if not np.all(np.isfinite(costs)):
        raise ArgumentError(
            "the cost of an assignment must be a finite number; are the parameters of every draw finite?"
        )
    n, k = costs.shape[:2]
    permutations, best, margins = np.empty((n, k), dtype=np.int64), np.empty(n), np.empty(n)
    assign_all(costs, permutations, best, margins)
    return Assignment(permutations.astype(np.intp, copy=False), best, margins)


def overlap_cost(reference: Floats, responsibilities: Floats, weights: Floats | None = None) -> Floats:
    """Compute one minus the overlap of responsibilities, component by component (math.md, 6.1).

    Parameters
    ----------
    reference : ndarray, shape (n, K)
        Responsibilities under the reference mixture.
    responsibilities : ndarray, shape (S, n, K)
        Responsibilities under each mixture of a batch.
    weights : ndarray, shape (n,), optional
        Weights of the rows.

    Returns
    -------
    ndarray, shape (S, K, K)
        Costs between 0 (all the rows of j belong to k) and 1 (none does).
    """
    weighted = reference if weights is None else reference * weights[:, None]
    totals = np.maximum(weighted.sum(axis=0), np.finfo(float).tiny)
    return np.asarray(1.0 - (weighted / totals).T @ responsibilities)


def hellinger_cost(reference: Mixture, mixture: Mixture) -> Floats:
    """Compute squared Hellinger distances between components (math.md, 6.3).

    Parameters
    ----------
    reference : Mixture
        A single mixture.
    mixture : Mixture
        A batch with one leading dimension S, or a single mixture.

    Returns
    -------
    ndarray, shape (S, K, K)
        ``1 - BC``, between 0 (equal) and 1 (apart).
    """
    batch = mixture.flatten()
    return 1.0 - bhattacharyya_coefficients(
        reference.means[None, :, None], reference.covariances[None, :, None],
        batch.means[:, None, :], batch.covariances[:, None, :],
    )  # fmt: skip


def wasserstein_cost(reference: Mixture, mixture: Mixture) -> Floats:
    """Compute squared Bures-Wasserstein distances between components (math.md, 8.6).

    Parameters
    ----------
    reference : Mixture
        A single mixture.
    mixture : Mixture
        A batch with one leading dimension S, or a single mixture, in the units of the reference.

    Returns
    -------
    ndarray, shape (S, K, K)
        Squared distances, in squared units of the mixtures: columns must be in units that can be added.

    Notes
    -----
    The trace of the root in (8.6) is the sum of the singular values of the product of any two square roots of the
    covariances, and Cholesky factors are at hand.
    """
    batch = mixture.flatten()
    offsets = reference.means[None, :, None] - batch.means[:, None, :]
    traces = np.trace(reference.covariances, axis1=-2, axis2=-1)[None, :, None]
    traces = traces + np.trace(batch.covariances, axis1=-2, axis2=-1)[:, None, :]
    crosses = np.swapaxes(reference.cholesky, -1, -2)[None, :, None] @ batch.cholesky[:, None, :]
    squares = (offsets**2).sum(axis=-1) + traces - 2.0 * np.linalg.svd(crosses, compute_uv=False).sum(axis=-1)
    return np.asarray(np.maximum(squares, 0.0))


def bhattacharyya_coefficients(mean_a: Floats, cov_a: Floats, mean_b: Floats, cov_b: Floats) -> Floats:
    """Compute the overlap integral of sqrt(p q) of Gaussians (Bhattacharyya 1943; math.md, 6.3).

    Parameters
    ----------
    mean_a : ndarray, shape (..., D)
        Means of the first.
    cov_a : ndarray, shape (..., D, D)
        Covariances of the first.
    mean_b, cov_b : ndarray
        Means and covariances of the second, of the same form.

    Returns
    -------
    ndarray, shape (...)
        Between 0 and 1; the leading dimensions are broadcast.
    """
    middle, offsets = 0.5 * (cov_a + cov_b), mean_a - mean_b
    squares = np.einsum("...d,...d->...", offsets, np.linalg.solve(middle, offsets[..., None])[..., 0])
    log_determinants = [np.linalg.slogdet(cov)[1] for cov in (middle, cov_a, cov_b)]
    log_ratio = log_determinants[0] - 0.5 * (log_determinants[1] + log_determinants[2])
    # Rounding must not take it above 1: its complement would have no square root.
    return np.asarray(np.minimum(np.exp(-0.125 * squares - 0.5 * log_ratio), 1.0))
