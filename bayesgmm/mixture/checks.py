"""What the numbers of a mixture must be, and the words for what they are not.

A mixture is checked when it is made; what is made of a checked mixture by moving its numbers about is checked again,
because it costs next to nothing beside the first density.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesgmm.errors import ArgumentError

__all__ = [
    "check_shapes",
    "check_symmetric",
    "check_weights",
    "default_features",
    "feature_names",
    "finite_number",
    "name_singular",
    "read_only",
    "real_rows",
]

Floats = NDArray[np.float64]


def default_features(n_features: int) -> tuple[str, ...]:
    """Return the names of columns that came without: ``x0``, ``x1``, ..."""
    return tuple(f"x{j}" for j in range(n_features))


def read_only(name: str, values: ArrayLike) -> Floats:
    """Return finite numbers as an array of our own that nobody can change."""
    try:
        array = np.array(values, dtype=np.float64, order="C")
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name} of a mixture must be an array of numbers: {error}") from None
    if not np.all(np.isfinite(array)):
        raise ArgumentError(
            f"{name} of a mixture must be finite; found {int(np.sum(~np.isfinite(array)))} that are not"
        )
    array.setflags(write=False)
    return array


def real_rows(X: Any, features: Sequence[str]) -> Floats:
    """Return rows as numbers; a dataframe's columns by name, where the mixture has names."""
    names = [str(name) for name in getattr(X, "columns", ())]
    if names and tuple(features) != default_features(len(features)):
        absent = [name for name in features if name not in names]
        if absent:
            raise ArgumentError(f"the mixture needs a column named {absent[0]!r}; the table has {', '.join(names)}")
        X = X[list(features)]
    try:
        given = np.asarray(X)
        if given.dtype.kind not in "iufO":
            raise ArgumentError(f"X holds {given.dtype} values; rows are real numbers")
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(f"X must be rows of real numbers: {error}") from None


def finite_number(name: str, value: Any) -> float:
    """Return the value that a column is fixed at."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number):
        raise ArgumentError(f"column {name!r} is fixed at {value!r}; it needs a finite number")
    return number


def feature_names(features: Sequence[str], means: Floats) -> tuple[str, ...]:
    """Return the names of the columns of `means`, made up where none are given."""
    if means.ndim < 2:
        raise ArgumentError(f"means must have shape (..., K, D), not {means.shape}")
    if not isinstance(features, Iterable):
        raise ArgumentError(f"features must be {means.shape[-1]} different names, not {features!r}")
    names = tuple(str(name) for name in features) or default_features(means.shape[-1])
    if len(names) != means.shape[-1] or len(set(names)) != len(names):
        raise ArgumentError(f"features must be {means.shape[-1]} different names, not {names}")
    return names


def check_shapes(weights: Floats, means: Floats, covariances: Floats) -> None:
    """Refuse arrays that do not belong together."""
    k, d = means.shape[-2:]
    batch = means.shape[:-2]
    if k < 1 or d < 1 or weights.shape != (*batch, k) or covariances.shape != (*batch, k, d, d):
        raise ArgumentError(
            "weights, means, covariances must have shapes (..., K), (..., K, D), (..., K, D, D); "
            f"found {weights.shape}, {means.shape}, {covariances.shape}"
        )


def check_weights(weights: Floats) -> None:
    """Refuse weights that are negative or do not sum to one."""
    if np.any(weights < 0):
        raise ArgumentError(f"weights must not be negative; the smallest is {weights.min():g}")
    worst = float(np.max(np.abs(weights.sum(axis=-1) - 1.0), initial=0.0))
    if worst > 1e-6:
        raise ArgumentError(f"weights must sum to one; the sum is off by {worst:g}")


def check_symmetric(covariances: Floats) -> None:
    """Refuse covariances whose two triangles differ."""
    # A Cholesky factor reads one triangle only: two that differ would give densities and marginals that disagree.
    sds = np.sqrt(np.abs(np.diagonal(covariances, axis1=-2, axis2=-1)))
    gaps = np.abs(covariances - np.swapaxes(covariances, -1, -2))
    if np.any(gaps > 1e-6 * sds[..., :, None] * sds[..., None, :]):
        raise ArgumentError(f"covariances must be symmetric; two mirrored entries differ by {gaps.max():g}")


def name_singular(covariances: Floats) -> str:
    """Say which covariance is not positive definite."""
    smallest = np.linalg.eigvalsh(covariances)[..., 0]
    where = np.unravel_index(np.argmin(smallest), smallest.shape)
    return (
        f"the covariance of component {int(where[-1])} is not positive definite "
        f"(smallest eigenvalue {float(smallest[where]):.3g})"
    )
