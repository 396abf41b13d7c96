"""Cholesky factors, determinants, inverses, products and coordinates of stacks of small, positive definite matrices.

Components have matrices of a few columns, and a sampler wants a few of them at a time. Loops are faster there than
calls of LAPACK, and are compiled once for all models; PyTensor's own operations are compiled again for each. What is
not positive definite gives NaN, never an exception: a sampler then takes a shorter step.
"""

import numba
import numpy as np

__all__ = [
    "cholesky_factors",
    "coordinates_pullback",
    "factors_pullback",
    "fill_factor",
    "gram_matrices",
    "gram_pullback",
    "inverse_pullback",
    "log_determinants",
    "precisions_of",
    "products",
    "pull_back_factor",
    "totals",
]

_jit = numba.njit(cache=True, nogil=True, error_model="numpy")


@_jit
def fill_factor(matrix, chol):
    """Fill `chol` with the lower Cholesky factor; NaN where a matrix is not positive definite."""
    for i in range(chol.shape[0]):
        for j in range(i + 1):
            rest = matrix[i, j]
            for m in range(j):
                rest -= chol[i, m] * chol[j, m]
            chol[i, j] = np.sqrt(rest) if i == j else rest / chol[j, j]


@_jit
def cholesky_factors(matrices):
    """Compute lower Cholesky factors.

    Parameters
    ----------
    matrices : ndarray of float64, shape (n, p, p)
        Symmetric matrices; their lower triangles are read.

    Returns
    -------
    ndarray, shape (n, p, p)
        Lower triangular matrices L, L L' = A; NaN from the column on at which A is not positive definite. A singular
        matrix has zeros there.
    """
    found = np.zeros(matrices.shape)
    for a in range(len(matrices)):
        fill_factor(matrices[a], found[a])
    return found


@_jit
def pull_back_factor(chol, cotangent, part):
    """Write L^-T phi(L' G) L^-1, of which the symmetric part is the derivative by L L' whose derivative by L is G."""
    p = chol.shape[0]
    for i in range(p):
        for j in range(p):
            part[i, j] = 0.0
            for m in range(i, p if j <= i else i):
                part[i, j] += chol[m, i] * cotangent[m, j]
        part[i, i] *= 0.5
    for j in range(p):
        for i in range(p - 1, -1, -1):
            for m in range(i + 1, p):
                part[i, j] -= chol[m, i] * part[m, j]
            part[i, j] /= chol[i, i]
    for i in range(p):
        for j in range(p - 1, -1, -1):
            for m in range(j + 1, p):
                part[i, j] -= part[i, m] * chol[m, j]
            part[i, j] /= chol[j, j]


@_jit
def factors_pullback(chols, cotangents):
    """Turn derivatives by Cholesky factors into derivatives by the matrices.

    Parameters
    ----------
    chols : ndarray of float64, shape (n, p, p)
        The factors L.
    cotangents : ndarray of float64, shape (n, p, p)
        Derivatives G by their elements; lower triangles are read.

    Returns
    -------
    ndarray, shape (n, p, p)
        The symmetric part of L^-T phi(L' G) L^-1, where phi keeps the lower triangle and halves the diagonal (Murray
        2016, "Differentiation of the Cholesky decomposition", arXiv:1602.07527).
    """
    n, p = chols.shape[:2]
    found, part = np.empty((n, p, p)), np.empty((p, p))
    for a in range(n):
        pull_back_factor(chols[a], cotangents[a], part)
        for i in range(p):
            for j in range(i + 1):
                found[a, i, j] = found[a, j, i] = 0.5 * (part[i, j] + part[j, i])
    return found


@_jit
def totals(stacks):
    """Sum matrices over the second dimension.

    Parameters
    ----------
    stacks : ndarray of float64, shape (n, k, p, q)
        Stacks of k matrices.

    Returns
    -------
    ndarray, shape (n, p, q)
        The sums.
    """
    n, k, p, q = stacks.shape
    found = np.zeros((n, p, q))
    for a in range(n):
        for c in range(k):
            for i in range(p):
                for j in range(q):
                    found[a, i, j] += stacks[a, c, i, j]
    return found


@_jit
def log_determinants(matrices):
    """Compute log determinants and inverses of symmetric matrices, which are the derivatives of the former.

    Parameters
    ----------
    matrices : ndarray of float64, shape (n, p, p)
        Symmetric matrices; their lower triangles are read.

    Returns
    -------
    logs : ndarray, shape (n,)
        Log determinants; NaN where a matrix is not positive definite.
    inverses : ndarray, shape (n, p, p)
        The inverses; NaN likewise.
    """
    n, p = matrices.shape[:2]
    logs, inverses = np.zeros(n), np.zeros((n, p, p))
    chol, root = np.zeros((p, p)), np.zeros((p, p))
    for a in range(n):
        fill_factor(matrices[a], chol)
        for i in range(p):
            logs[a] += 2.0 * np.log(chol[i, i])
            for j in range(i + 1):
                total = 1.0 if i == j else 0.0
                for m in range(j, i):
                    total -= chol[i, m] * root[m, j]
                root[i, j] = total / chol[i, i]
        for i in range(p):
            for j in range(i + 1):
                total = 0.0
                for m in range(i, p):
                    total += root[m, i] * root[m, j]
                inverses[a, i, j] = inverses[a, j, i] = total
    return logs, inverses


@_jit
def _fill_chol(coordinates, chol):
    """Fill the lower triangle row by row; diagonal elements are given by their logarithms."""
    at = 0
    for i in range(chol.shape[0]):
        for j in range(i + 1):
            chol[i, j] = np.exp(coordinates[at]) if i == j else coordinates[at]
            at += 1


@_jit
def _order(n_coordinates):
    """Return the order of a symmetric matrix that has so many coordinates."""
    p = 0
    while p * (p + 1) // 2 < n_coordinates:
        p += 1
    return p


@_jit
def precisions_of(coordinates):
    """Compute L L' from log-Cholesky coordinates.

    Parameters
    ----------
    coordinates : ndarray of float64, shape (n, p (p + 1) / 2)
        Lower triangles of L, row by row, with the logarithms of the diagonal elements in their places.

    Returns
    -------
    ndarray, shape (n, p, p)
        The matrices L L'.
    """
    n, p = coordinates.shape[0], _order(coordinates.shape[1])
    found, chol = np.empty((n, p, p)), np.zeros((p, p))
    for a in range(n):
        _fill_chol(coordinates[a], chol)
        for i in range(p):
            for j in range(i + 1):
                total = 0.0
                for m in range(j + 1):
                    total += chol[i, m] * chol[j, m]
                found[a, i, j] = found[a, j, i] = total
    return found


@_jit
def coordinates_pullback(coordinates, cotangents):
    """Turn derivatives by the matrices of `precisions_of` into derivatives by its coordinates.

    Parameters
    ----------
    coordinates : ndarray of float64, shape (n, p (p + 1) / 2)
        Where the derivatives are taken.
    cotangents : ndarray of float64, shape (n, p, p)
        Derivatives G by the elements of the matrices, not necessarily symmetric.

    Returns
    -------
    ndarray, shape (n, p (p + 1) / 2)
        The lower triangles of (G + G') L, its diagonal times that of L.
    """
    n, p = cotangents.shape[:2]
    found, chol = np.empty(coordinates.shape), np.zeros((p, p))
    for a in range(n):
        _fill_chol(coordinates[a], chol)
        at = 0
        for i in range(p):
            for j in range(i + 1):
                total = 0.0
                for m in range(j, p):
                    total += (cotangents[a, i, m] + cotangents[a, m, i]) * chol[m, j]
                found[a, at] = total * chol[i, i] if i == j else total
                at += 1
    return found


@_jit
def gram_matrices(factors):
    """Compute A A'.

    Parameters
    ----------
    factors : ndarray of float64, shape (n, p, q)
        Matrices A.

    Returns
    -------
    ndarray, shape (n, p, p)
        The products with their own transposes.
    """
    n, p, q = factors.shape
    found = np.empty((n, p, p))
    for a in range(n):
        for i in range(p):
            for j in range(i + 1):
                total = 0.0
                for m in range(q):
                    total += factors[a, i, m] * factors[a, j, m]
                found[a, i, j] = found[a, j, i] = total
    return found


@_jit
def gram_pullback(factors, cotangents):
    """Turn derivatives by the matrices of `gram_matrices` into derivatives by their factors.

    Parameters
    ----------
    factors : ndarray of float64, shape (n, p, q)
        Matrices A.
    cotangents : ndarray of float64, shape (n, p, p)
        Derivatives G by the elements of A A', not necessarily symmetric.

    Returns
    -------
    ndarray, shape (n, p, q)
        (G + G') A.
    """
    n, p, q = factors.shape
    found = np.zeros((n, p, q))
    for a in range(n):
        for i in range(p):
            for m in range(p):
                slope = cotangents[a, i, m] + cotangents[a, m, i]
                for j in range(q):
                    found[a, i, j] += slope * factors[a, m, j]
    return found


@_jit
def inverse_pullback(inverses, cotangents):
    """Turn derivatives by inverses of symmetric matrices into derivatives by the matrices.

    Parameters
    ----------
    inverses : ndarray of float64, shape (n, p, p)
        The inverses B, symmetric.
    cotangents : ndarray of float64, shape (n, p, p)
        Derivatives G by their elements, not necessarily symmetric.

    Returns
    -------
    ndarray, shape (n, p, p)
        The symmetric part of -B G B.
    """
    n, p = inverses.shape[:2]
    found, part = np.empty((n, p, p)), np.empty((p, p))
    for a in range(n):
        for i in range(p):
            for j in range(p):
                part[i, j] = 0.0
                for m in range(p):
                    part[i, j] += 0.5 * (cotangents[a, i, m] + cotangents[a, m, i]) * inverses[a, m, j]
        for i in range(p):
            for j in range(i + 1):
                total = 0.0
                for m in range(p):
                    total -= inverses[a, i, m] * part[m, j]
                found[a, i, j] = found[a, j, i] = total
    return found


@_jit
def products(first, second):
    """Multiply matrices pair by pair.

    Parameters
    ----------
    first, second : ndarray of float64, shapes (n, p, q) and (n, q, r)
        The matrices.

    Returns
    -------
    ndarray, shape (n, p, r)
        The products.
    """
    n, p, q = first.shape
    if second.shape[1] != q:
        raise ValueError("the shapes of these matrices have no product")
    found = np.zeros((n, p, second.shape[2]))
    for a in range(n):
        for i in range(p):
            for m in range(q):
                scale = first[a, i, m]
                for j in range(second.shape[2]):
                    found[a, i, j] += scale * second[a, m, j]
    return found
