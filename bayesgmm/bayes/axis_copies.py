"""The copies of a posterior that come from the axes of its covariances, and one of them.

A covariance Q diag(v) Q' is the same when axes point the other way or are put in another order with their variances:
Q is multiplied from the right by a signed permutation matrix of determinant one, and v is permuted. Signs are free for
every rotation; the order is one for all components, since the prior ties their shapes, axis by axis. Whether prior and
likelihood do not see these changes is not taken on trust (symmetry.py compares log densities).

One copy is a region again: the order of the axes that is nearest to a reference's is the identity, by a cost that does
not see signs, and so is, given the order, the nearest choice of signs with determinant one. Every description of a
covariance has exactly one copy in it (but for ties, which have no volume). The order is an assignment problem, whatever
the number of columns; to compare all elements of the group would not go beyond five or six of them.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import helmert

from bayesgmm.posterior.matching import assign

__all__ = ["axis_changes", "axis_copies", "in_axis_region"]

Floats = NDArray[np.float64]


def in_axis_region(reference: Mapping[str, Floats], values: Mapping[str, Floats]) -> NDArray[np.bool_]:
    """Say which axes point and are ordered like a reference's.

    Parameters
    ----------
    reference : mapping of str to ndarray
        ``axes`` (1, copies, D, D), where copies is one or K, and ``covariances`` (1, K, D, D).
    values : mapping of str to ndarray
        ``axes`` (S, copies, D, D) and ``covariances`` (S, K, D, D).

    Returns
    -------
    ndarray of bool, shape (S,)
        Whether order and signs are those of the reference (math.md, 11.2).
    """
    cosines = np.swapaxes(reference["axes"], -1, -2) @ values["axes"]
    gaps = _log_variances(reference)[..., :, None] - _log_variances(values)[..., None, :]
    costs = np.mean(gaps**2, axis=1) - np.mean(cosines**2, axis=1)
    is_ordered = np.all(assign(costs).permutations == np.arange(cosines.shape[-1]), axis=1)
    along = np.sort(np.diagonal(cosines, axis1=-2, axis2=-1), axis=-1)
    # Axes are turned in pairs, which keeps the determinant; the two that fit worst would gain most by it.
    return np.asarray(is_ordered & np.all(along[..., 0] + along[..., 1] > 0.0, axis=-1))


def _log_variances(values: Mapping[str, Floats]) -> Floats:
    """Return the log variances along the axes, (S, K, D)."""
    axes = values["axes"]
    return np.asarray(np.log(np.sum(axes * (values["covariances"] @ axes), axis=-2)))


def axis_copies(n_rotations: int, d: int) -> int:
    """Count the descriptions of the same covariances.

    Parameters
    ----------
    n_rotations : int
        Number of rotations that the covariances have: one, or one for each component.
    d : int
        Number of columns, D.

    Returns
    -------
    int
        D! orders of the axes, and 2^(D - 1) choices of signs for each rotation (math.md, 11.2).
    """
    return math.factorial(d) * 2 ** ((d - 1) * n_rotations)


def axis_changes(values: Mapping[str, Floats]) -> Iterator[dict[str, Floats]]:
    """Generate changes of axes that leave the covariances as they are, and of which all such changes are made.

    Parameters
    ----------
    values : mapping of str to ndarray
        ``axes`` (copies, D, D) and ``shape_scores`` (copies, D - 1), at one point.

    Yields
    ------
    dict of str to ndarray
        What ``axes`` and ``shape_scores`` become: two axes of one rotation are turned by half a turn, or two
        neighbours change places in all rotations.
    """
    axes, rows = values["axes"], helmert(values["axes"].shape[-1])
    n_rotations, d, _ = axes.shape
    for c in range(n_rotations):
        for j in range(1, d):
            turned = axes.copy()
            turned[c, :, [0, j]] *= -1.0
            yield {"axes": turned}
    for j in range(d - 1):
        order = np.arange(d)
        order[[j, j + 1]] = j + 1, j
        signs = np.where(np.arange(d) == j, -1.0, 1.0)
        yield {"axes": axes[..., order] * signs, "shape_scores": (values["shape_scores"] @ rows)[:, order] @ rows.T}
