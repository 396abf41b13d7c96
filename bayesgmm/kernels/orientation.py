"""The common axes of several scatter matrices, by plane rotations.

What is minimised over orthogonal Q, with delta_kj the diagonal of Q' W_k Q, is sum_k c_k sum_j log delta_kj (variable
volumes: Flury's common principal components) or sum_k (prod_j delta_kj)^(1/D) (equal volume). Both are concave in the
square of t_k = (difference of the two diagonal elements of a plane) / 2, so that a plane has a tangent majoriser whose
minimum is an eigenvector of a 2 x 2 matrix: every rotation decreases the criterion, without a step length to choose.
Near the minimum the majoriser has the criterion's curvature up to the square of the off-diagonal elements.

References: Flury & Gautschi (1986); Browne & McNicholas (2014), who majorise over all planes at once and are slower.
"""

import math

import numba
import numpy as np

__all__ = ["rotate_to_common_axes"]

_jit = numba.njit(cache=True, nogil=True, error_model="numpy")


@_jit
def _criterion(scatters, counts, has_equal_volume):
    k, d = scatters.shape[:2]
    total = 0.0
    for g in range(k):
        log_product = 0.0
        for j in range(d):
            log_product += math.log(scatters[g, j, j])
        total += math.exp(log_product / d) if has_equal_volume else counts[g] * log_product
    return total


@_jit
def _slopes(scatters, counts, has_equal_volume, out):
    """Write the weight that the majoriser gives to t_k^2 / (delta_kj delta_kl), up to a common factor."""
    for g in range(scatters.shape[0]):
        out[g] = counts[g]
        if has_equal_volume:
            log_product = 0.0
            for j in range(scatters.shape[1]):
                log_product += math.log(scatters[g, j, j])
            out[g] = math.exp(log_product / scatters.shape[1])


@_jit
def _plane_angle(scatters, slopes, j, i):
    """Return the rotation in the plane of axes j and i that minimises the majoriser."""
    aa = ab = bb = 0.0
    for g in range(scatters.shape[0]):
        first, second, off = scatters[g, j, j], scatters[g, i, i], scatters[g, j, i]
        half = 0.5 * (first - second)
        slope = slopes[g] / (first * second)
        aa += slope * half * half
        ab += slope * half * off
        bb += slope * off * off
    return 0.25 * math.atan2(2.0 * ab, aa - bb)


@_jit
def _rotate(scatters, axes, j, i, angle):
    c, s = math.cos(angle), math.sin(angle)
    d = axes.shape[0]
    for g in range(scatters.shape[0]):
        w = scatters[g]
        for a in range(d):
            first, second = w[a, j], w[a, i]
            w[a, j], w[a, i] = c * first + s * second, c * second - s * first
        for a in range(d):
            first, second = w[j, a], w[i, a]
            w[j, a], w[i, a] = c * first + s * second, c * second - s * first
    for a in range(d):
        first, second = axes[a, j], axes[a, i]
        axes[a, j], axes[a, i] = c * first + s * second, c * second - s * first


@_jit
def rotate_to_common_axes(scatters, counts, axes, has_equal_volume, max_sweeps, tol):
    """Turn `axes` in place until the scatter matrices are as diagonal as they get together.

    Parameters
    ----------
    scatters : ndarray of float64, shape (K, D, D)
        Scatter matrices in the coordinates of `axes` (axes' W_k axes); rotated in place.
    counts : ndarray of float64, shape (K,)
        Effective numbers of rows.
    axes : ndarray of float64, shape (D, D)
        Orthogonal matrix, a column per axis; rotated in place.
    has_equal_volume : bool
        Which of the two criteria.
    max_sweeps : int
        Upper bound of the number of sweeps over all planes.
    tol : float
        Stop when no rotation of a sweep exceeds this angle, in radians.

    Returns
    -------
    float
        The criterion at the end. NaN where a scatter matrix is singular along an axis.
    """
    d = axes.shape[0]
    slopes = np.empty(scatters.shape[0])
    for _ in range(max_sweeps):
        largest = 0.0
        for j in range(d - 1):
            for i in range(j + 1, d):
                _slopes(scatters, counts, has_equal_volume, slopes)
                angle = _plane_angle(scatters, slopes, j, i)
                _rotate(scatters, axes, j, i, angle)
                largest = max(largest, abs(angle))
        if not largest > tol:
            break
    return _criterion(scatters, counts, has_equal_volume)
