"""What the functions of mixtures are given: mixtures, probabilities, points, rows; and the words for what is none."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesgmm.data.checks import check_weights
from bayesgmm.data.tables import as_floats
from bayesgmm.errors import ArgumentError, DataError
from bayesgmm.mixture import Mixture
from bayesgmm.mixture.checks import real_rows

__all__ = ["check_mixture", "check_prob", "read_points", "read_weighted_rows"]

Floats = NDArray[np.float64]


def check_mixture(mixture: Any, name: str = "mixture") -> None:
    """Refuse what is no mixture.

    Parameters
    ----------
    mixture : object
        What was given.
    name : str, default "mixture"
        The argument.

    Raises
    ------
    ArgumentError
        When it is anything but a Mixture.
    """
    if not isinstance(mixture, Mixture):
        hint = "; of a fit, pass its .mixture" if isinstance(getattr(mixture, "mixture", None), Mixture) else ""
        raise ArgumentError(f"{name} must be a Mixture, not {type(mixture).__name__}{hint}")


def check_prob(prob: Any, name: str = "prob") -> float:
    """Return a probability; refuse what is none, and the two that make no interval.

    Parameters
    ----------
    prob : object
        What was given.
    name : str, default "prob"
        The argument.

    Returns
    -------
    float
        The probability.

    Raises
    ------
    ArgumentError
        When it does not lie between 0 and 1.
    """
    if not isinstance(prob, float | np.floating) or not 0 < prob < 1:
        raise ArgumentError(f"{name}={prob!r} must lie between 0 and 1")
    return float(prob)


def read_points(name: str, points: Any) -> Floats:
    """Read numbers of any shape, of which none is missing.

    Parameters
    ----------
    name : str
        The argument.
    points : array_like
        What was given.

    Returns
    -------
    ndarray
        The numbers.

    Raises
    ------
    ArgumentError
        When they are no numbers, or one is NaN.
    """
    try:
        found = as_floats(np.asarray(points), name)
    except ValueError as error:
        reason = str(error) if isinstance(error, DataError) else f"{name} must be an array of numbers: {error}"
        raise ArgumentError(reason) from None
    n_missing = int(np.isnan(found).sum())
    if n_missing:
        are, them = ("value that is", "it") if n_missing == 1 else ("values that are", "them")
        raise ArgumentError(f"{name} has {n_missing} {are} NaN; leave {them} out")
    return found


def read_weighted_rows(mixture: Mixture, X: Any, sample_weight: Any) -> tuple[Floats, Floats | None]:
    """Read rows in the units of a mixture, and their weights.

    Parameters
    ----------
    mixture : Mixture
        Whose columns they have.
    X : array_like or DataFrame, shape (n, D)
        What was given; NaN stands for a missing value.
    sample_weight : array_like, shape (n,), or None
        The weights that were given.

    Returns
    -------
    rows : ndarray, shape (n, D)
        The rows.
    weights : ndarray, shape (n,), or None
        The weights.

    Raises
    ------
    ArgumentError
        When they are no rows of the mixture's columns, or no weights of these rows.
    """
    rows = real_rows(X, mixture.features)
    if rows.ndim != 2 or rows.shape[1] != mixture.n_features or not len(rows):
        raise ArgumentError(
            f"X has shape {rows.shape}; this mixture needs (n, {mixture.n_features}): {mixture.features}, "
            "with at least one row"
        )
    try:
        return rows, None if sample_weight is None else check_weights(sample_weight, len(rows))
    except DataError as error:
        raise ArgumentError(str(error)) from None
