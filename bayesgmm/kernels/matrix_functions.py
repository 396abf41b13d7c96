"""Inverses, polar factors and exponentials of stacks of small matrices, with their derivatives.

Newton's iterations and Jacobi's rotations: a dozen lines each, exact to rounding after a few rounds for matrices of a
few columns, and compiled once for all models (as in matrices.py). What has no result is NaN, never an exception.
"""

import numba
import numpy as np

__all__ = [
    "exponentials",
    "exponentials_pullback",
    "general_inverses",
    "general_inverses_pullback",
    "polar_factors",
    "polar_pullback",
]

_jit = numba.njit(cache=True, nogil=True, error_model="numpy")

# Newton's iterations square their errors: after a step as short as this one there is nothing left to do. Before that,
# each halves what is too long.
_LAST_STEP = 1e-8
_MOST_STEPS = 60
# What is left beside the diagonal, as a share of its squares; rotations square it too.
_NOTHING = 1e-30


@_jit
def _eliminate(matrix, left, inverse):
    """Fill `inverse`, by elimination with pivots; return the log of the absolute determinant, and its sign."""
    p = matrix.shape[0]
    log, sign = 0.0, 1.0
    for i in range(p):
        for j in range(p):
            left[i, j] = matrix[i, j]
            inverse[i, j] = 1.0 if i == j else 0.0
    for step in range(p):
        best = step
        for i in range(step + 1, p):
            if abs(left[i, step]) > abs(left[best, step]):
                best = i
        if best != step:
            sign = -sign
            for j in range(p):
                left[step, j], left[best, j] = left[best, j], left[step, j]
                inverse[step, j], inverse[best, j] = inverse[best, j], inverse[step, j]
        pivot = left[step, step]
        log += np.log(abs(pivot))
        sign = -sign if pivot < 0.0 else sign
        for j in range(p):
            left[step, j] /= pivot
            inverse[step, j] /= pivot
        for i in range(p):
            share = left[i, step]
            if i != step:
                for j in range(p):
                    left[i, j] -= share * left[step, j]
                    inverse[i, j] -= share * inverse[step, j]
    return log, sign


@_jit
def general_inverses(matrices):
    """Compute logarithms of absolute determinants, and inverses, by elimination with pivots.

    Parameters
    ----------
    matrices : ndarray of float64, shape (n, p, p)
        Matrices of any kind.

    Returns
    -------
    logs : ndarray, shape (n,)
        Logarithms of absolute determinants; -inf or NaN for singular matrices.
    inverses : ndarray, shape (n, p, p)
        The inverses.
    """
    n, p = matrices.shape[:2]
    logs, inverses, left = np.zeros(n), np.empty((n, p, p)), np.empty((p, p))
    for a in range(n):
        logs[a] = _eliminate(matrices[a], left, inverses[a])[0]
    return logs, inverses


@_jit
def general_inverses_pullback(inverses, cotangents):
    """Turn derivatives by inverses of matrices into derivatives by the matrices.

    Parameters
    ----------
    inverses : ndarray of float64, shape (n, p, p)
        The inverses B.
    cotangents : ndarray of float64, shape (n, p, p)
        Derivatives G by their elements.

    Returns
    -------
    ndarray, shape (n, p, p)
        -B' G B'.
    """
    n, p = inverses.shape[:2]
    found, part = np.empty((n, p, p)), np.empty((p, p))
    for a in range(n):
        for i in range(p):
            for j in range(p):
                part[i, j] = 0.0
                for m in range(p):
                    part[i, j] += cotangents[a, i, m] * inverses[a, j, m]
        for i in range(p):
            for j in range(p):
                total = 0.0
                for m in range(p):
                    total -= inverses[a, m, i] * part[m, j]
                found[a, i, j] = total
    return found


@_jit
def polar_factors(matrices):
    """Compute the rotations nearest to matrices, and logarithms of their determinants.

    Parameters
    ----------
    matrices : ndarray of float64, shape (n, p, p)
        Matrices G with positive determinants.

    Returns
    -------
    rotations : ndarray, shape (n, p, p)
        Q of G = Q S with S symmetric and positive definite, by Newton's iteration (Higham 1986); NaN where the
        determinant is not positive.
    logs : ndarray, shape (n,)
        Logarithms of the determinants of G; NaN likewise.
    inverses : ndarray, shape (n, p, p)
        The inverses of G.
    """
    n, p = matrices.shape[:2]
    found, logs, inverses = matrices.copy(), np.empty(n), np.empty((n, p, p))
    left, inverse = np.empty((p, p)), np.empty((p, p))
    for a in range(n):
        rotation = found[a]
        logs[a], sign = _eliminate(rotation, left, inverse)
        inverses[a] = inverse
        if not (sign > 0.0 and np.isfinite(logs[a])):
            logs[a] = np.nan
            rotation[:] = np.nan
            continue
        for _ in range(_MOST_STEPS):
            largest = 0.0
            for i in range(p):
                for j in range(p):
                    change = 0.5 * (inverse[j, i] - rotation[i, j])
                    rotation[i, j] += change
                    largest = max(largest, abs(change))
            if not largest > _LAST_STEP:
                break
            _eliminate(rotation, left, inverse)
    return found, logs, inverses


@_jit
def polar_pullback(matrices, rotations, cotangents):
    """Turn derivatives by the rotations of `polar_factors` into derivatives by the matrices.

    Parameters
    ----------
    matrices, rotations : ndarray of float64, shape (n, p, p)
        Matrices G = Q S and rotations Q.
    cotangents : ndarray of float64, shape (n, p, p)
        Derivatives by the elements of Q.

    Returns
    -------
    ndarray, shape (n, p, p)
        2 Q X with S X + X S the skew part of Q' times the cotangent. S and the right side are led together to I and
        2 X by Newton's iteration for the sign of a matrix (Roberts 1980).
    """
    n, p = matrices.shape[:2]
    found = np.empty(matrices.shape)
    stretch, skew, part, left, inverse = (
        np.empty((p, p)),
        np.empty((p, p)),
        np.empty((p, p)),
        np.empty((p, p)),
        np.empty((p, p)),
    )
    for a in range(n):
        for i in range(p):
            for j in range(p):
                total = other = 0.0
                for m in range(p):
                    total += rotations[a, m, i] * matrices[a, m, j]
                    other += rotations[a, m, i] * cotangents[a, m, j] - rotations[a, m, j] * cotangents[a, m, i]
                stretch[i, j], skew[i, j] = total, 0.5 * other
        for _ in range(_MOST_STEPS):
            _eliminate(stretch, left, inverse)
            for i in range(p):
                for j in range(p):
                    part[i, j] = 0.0
                    for m in range(p):
                        part[i, j] += inverse[i, m] * skew[m, j]
            largest = 0.0
            for i in range(p):
                for j in range(p):
                    total = 0.0
                    for m in range(p):
                        total += part[i, m] * inverse[m, j]
                    left[i, j] = 0.5 * (skew[i, j] + total)
                    change = 0.5 * (inverse[i, j] - stretch[i, j])
                    stretch[i, j] += change
                    largest = max(largest, abs(change))
            skew[:] = left
            if not largest > _LAST_STEP:
                break
        for i in range(p):
            for j in range(p):
                total = 0.0
                for m in range(p):
                    total += rotations[a, i, m] * skew[m, j]
                found[a, i, j] = total
    return found


@_jit
def _diagonalise(matrix, vectors):
    """Turn a symmetric matrix into the diagonal one of its eigenvalues, by Jacobi's rotations; fill `vectors`."""
    p = matrix.shape[0]
    for i in range(p):
        for j in range(p):
            vectors[i, j] = 1.0 if i == j else 0.0
    for _ in range(_MOST_STEPS):
        off = size = 0.0
        for i in range(p):
            size += matrix[i, i] * matrix[i, i]
            for j in range(i):
                off += matrix[i, j] * matrix[i, j]
        if not off > _NOTHING * size:
            return
        for i in range(1, p):
            for j in range(i):
                if matrix[i, j] == 0.0:
                    continue
                ratio = 0.5 * (matrix[i, i] - matrix[j, j]) / matrix[i, j]
                tangent = 1.0 / (abs(ratio) + np.sqrt(1.0 + ratio * ratio))
                tangent = -tangent if ratio < 0.0 else tangent
                cosine = 1.0 / np.sqrt(1.0 + tangent * tangent)
                sine = cosine * tangent
                for m in range(p):
                    one, other = matrix[m, j], matrix[m, i]
                    matrix[m, j], matrix[m, i] = cosine * one - sine * other, sine * one + cosine * other
                    one, other = vectors[m, j], vectors[m, i]
                    vectors[m, j], vectors[m, i] = cosine * one - sine * other, sine * one + cosine * other
                for m in range(p):
                    one, other = matrix[j, m], matrix[i, m]
                    matrix[j, m], matrix[i, m] = cosine * one - sine * other, sine * one + cosine * other


@_jit
def exponentials(matrices):
    """Compute exponentials of symmetric matrices.

    Parameters
    ----------
    matrices : ndarray of float64, shape (n, p, p)
        Symmetric matrices.

    Returns
    -------
    found : ndarray, shape (n, p, p)
        Their exponentials.
    vectors : ndarray, shape (n, p, p)
        Eigenvectors of both, in columns.
    values : ndarray, shape (n, p)
        Eigenvalues of the matrices.
    """
    n, p = matrices.shape[:2]
    found, vectors, values = matrices.copy(), np.empty((n, p, p)), np.empty((n, p))
    for a in range(n):
        _diagonalise(found[a], vectors[a])
        for i in range(p):
            values[a, i] = found[a, i, i]
        for i in range(p):
            for j in range(i + 1):
                total = 0.0
                for m in range(p):
                    total += vectors[a, i, m] * np.exp(values[a, m]) * vectors[a, j, m]
                found[a, i, j] = found[a, j, i] = total
    return found, vectors, values


@_jit
def exponentials_pullback(vectors, values, cotangents):
    """Turn derivatives by exponentials of symmetric matrices into derivatives by the matrices.

    Parameters
    ----------
    vectors : ndarray of float64, shape (n, p, p)
        Eigenvectors V.
    values : ndarray of float64, shape (n, p)
        Eigenvalues.
    cotangents : ndarray of float64, shape (n, p, p)
        Derivatives G by the elements of the exponentials, not necessarily symmetric.

    Returns
    -------
    ndarray, shape (n, p, p)
        V {F o (V' sym(G) V)} V', F the divided differences of exp() at the eigenvalues (Daleckii & Krein 1965).
    """
    n, p = values.shape
    found, part, turned = np.empty((n, p, p)), np.empty((p, p)), np.empty((p, p))
    for a in range(n):
        for i in range(p):
            for j in range(p):
                part[i, j] = 0.0
                for m in range(p):
                    part[i, j] += 0.5 * (cotangents[a, i, m] + cotangents[a, m, i]) * vectors[a, m, j]
        for i in range(p):
            for j in range(p):
                total = 0.0
                for m in range(p):
                    total += vectors[a, m, i] * part[m, j]
                half = 0.5 * (values[a, i] - values[a, j])
                # sinh(h) / h is 1 + h^2 / 6 to rounding for small h.
                stretch = np.sinh(half) / half if abs(half) > 1e-4 else 1.0 + half * half / 6.0
                turned[i, j] = total * stretch * np.exp(0.5 * (values[a, i] + values[a, j]))
        for i in range(p):
            for j in range(p):
                part[i, j] = 0.0
                for m in range(p):
                    part[i, j] += vectors[a, i, m] * turned[m, j]
        for i in range(p):
            for j in range(p):
                total = 0.0
                for m in range(p):
                    total += part[i, m] * vectors[a, j, m]
                found[a, i, j] = total
    return found
