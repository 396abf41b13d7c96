"""The shapes that scikit-learn gives covariances and precisions, and the checks of what a user gives in them.

Inside the package a covariance is always a dense (K, D, D) array. scikit-learn stores what a covariance type leaves
free: (K, D, D) for ``"full"``, (D, D) for ``"tied"``, (K, D) for ``"diag"``, (K,) for ``"spherical"``. For mclust's
codes, which it does not know, the shape is (K, D, D) throughout. The same shapes hold precisions and their Cholesky
factors.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesgmm.errors import ArgumentError

__all__ = [
    "check_means",
    "check_precisions",
    "check_weights",
    "dense",
    "dense_covariances_of",
    "laid_out",
    "precision_cholesky",
    "precisions_of",
]

Floats = NDArray[np.float64]


# ---------------------------------------------------------------- from (K, D, D) and back


def laid_out(matrices: Floats, covariance_type: str) -> Floats:
    """Return dense matrices (K, D, D) in scikit-learn's shape for a covariance type."""
    if covariance_type == "tied":
        return matrices[0].copy()
    if covariance_type == "diag":
        return np.diagonal(matrices, axis1=1, axis2=2).copy()
    if covariance_type == "spherical":
        return matrices[:, 0, 0].copy()
    return matrices.copy()


def dense(values: Floats, covariance_type: str, n_components: int, n_features: int) -> Floats:
    """Return matrices (K, D, D) from scikit-learn's shape for a covariance type."""
    eye = np.eye(n_features)
    if covariance_type == "tied":
        return np.repeat(values[None], n_components, axis=0)
    if covariance_type == "diag":
        return values[:, :, None] * eye
    if covariance_type == "spherical":
        return values[:, None, None] * eye
    return values


# ---------------------------------------------------------------- precisions


def precision_cholesky(covariances: Floats, covariance_type: str) -> Floats:
    """Return the factors U of the precisions, U U' = Sigma^-1 with U an upper triangle, in scikit-learn's shape."""
    if covariance_type in ("diag", "spherical"):
        return np.asarray(1.0 / np.sqrt(covariances))
    lower = np.tril(np.linalg.inv(np.linalg.cholesky(covariances)))
    return np.swapaxes(lower, -1, -2)


def precisions_of(factors: Floats, covariance_type: str) -> Floats:
    """Return the precisions that factors U belong to, in scikit-learn's shape."""
    if covariance_type in ("diag", "spherical"):
        return np.asarray(factors**2)
    return np.asarray(factors @ np.swapaxes(factors, -1, -2))


def dense_covariances_of(factors: Floats, covariance_type: str, n_components: int, n_features: int) -> Floats:
    """Return the covariances (K, D, D) that factors U of the precisions belong to."""
    inverse = np.linalg.inv(dense(factors, covariance_type, n_components, n_features))
    return np.swapaxes(inverse, -1, -2) @ inverse


# ---------------------------------------------------------------- what users give


def check_weights(weights: ArrayLike, n_components: int) -> Floats:
    """Check ``weights_init`` (K,): numbers from 0 to 1 that sum to one."""
    found = _floats("weights", weights, (n_components,))
    if np.any(found < 0.0) or np.any(found > 1.0):
        raise _unusable(
            "weights",
            f"should be in the range [0, 1], but got min value {found.min():.5f}, max value {found.max():.5f}",
        )
    if abs(found.sum() - 1.0) > 1e-6:
        raise _unusable("weights", f"should be normalized, but got sum(weights) = {found.sum():.5f}")
    return np.asarray(found / found.sum())


def check_means(means: ArrayLike, n_components: int, n_features: int) -> Floats:
    """Check ``means_init`` (K, D), user's units."""
    return _floats("means", means, (n_components, n_features))


def check_precisions(precisions: ArrayLike, covariance_type: str, n_components: int, n_features: int) -> Floats:
    """Check ``precisions_init`` in scikit-learn's shape; return it in that shape, user's units."""
    k, d = n_components, n_features
    shape = {"tied": (d, d), "diag": (k, d), "spherical": (k,)}.get(covariance_type, (k, d, d))
    name = f"{covariance_type} precision"
    found = _floats(name, precisions, shape)
    if covariance_type in ("diag", "spherical"):
        if np.any(found <= 0.0):
            raise ArgumentError(f"precisions_init cannot be used: '{name}' should be positive")
    elif not np.allclose(found, np.swapaxes(found, -1, -2)) or np.any(np.linalg.eigvalsh(found) <= 0.0):
        raise ArgumentError(f"precisions_init cannot be used: '{name}' should be symmetric, positive-definite")
    return found


def _floats(name: str, values: ArrayLike, shape: tuple[int, ...]) -> Floats:
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise _unusable(name, "should be an array of numbers") from None
    if found.shape != shape:
        raise _unusable(name, f"should have the shape of {shape}, but got {found.shape}")
    if not np.all(np.isfinite(found)):
        raise _unusable(name, "should be finite numbers")
    return found


def _unusable(name: str, what: str) -> ArgumentError:
    # The second sentence is scikit-learn's, which callers and their tests may look for.
    argument = f"{name.rsplit(maxsplit=1)[-1].removesuffix('s')}s_init"
    return ArgumentError(f"{argument} cannot be used. The parameter '{name}' {what}")
