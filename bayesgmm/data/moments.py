"""Means and variances of columns, some rows at a time, and the scaling that follows from them."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bayesgmm.data.scaling import Scaling
from bayesgmm.structure import CovarianceStructure

__all__ = ["scaling_from_moments", "weighted_moments"]

Floats = NDArray[np.float64]

# Rows that are looked at together where a whole table would cost a temporary copy.
_ROWS_AT_ONCE = 65_536


def scaling_from_moments(shift: Floats, variances: Floats, scale: str, structure: CovarianceStructure) -> Scaling:
    """Return the change of units under which a fit runs (math.md, 5.1).

    Parameters
    ----------
    shift : ndarray, shape (D,)
        Means of the columns, user's units.
    variances : ndarray, shape (D,)
        Their variances.
    scale : {"auto", "feature", "common", "none"}
        What to divide by; see `prepare`.
    structure : CovarianceStructure
        The structure that is fitted; it decides what "auto" means.

    Returns
    -------
    Scaling
        Shift and scale, user's units.
    """
    if scale == "auto":
        scale = "feature" if structure.is_scale_equivariant else "common"
    if scale == "none":
        return Scaling(shift, np.ones(len(shift)))
    return Scaling(shift, np.sqrt(variances) if scale == "feature" else np.full(len(shift), np.sqrt(variances.mean())))


def weighted_moments(values: Floats, weights: Floats | None) -> tuple[Floats, Floats]:
    """Compute means and variances of the columns, in two passes so that a large offset costs no digits.

    Parameters
    ----------
    values : ndarray, shape (n, D)
        The rows, user's units; NaN where a value is missing.
    weights : ndarray, shape (n,), or None
        Weights of the rows.

    Returns
    -------
    means, variances : ndarray, shape (D,)
        Of what is not missing.
    """
    start = _first_values(values, weights)
    sums, totals = _summed(values, weights, start, 1)
    mean = sums / totals
    squares, _ = _summed(values, weights, start, 2, mean)
    return start + mean, squares / totals


def _summed(
    values: Floats, weights: Floats | None, start: Floats, power: int, mean: Floats | float = 0.0
) -> tuple[Floats, Floats]:
    """Return weighted sums of (x - start - mean) ** power over what is not missing, and of the weights, by column."""
    sums, totals = np.zeros((2, values.shape[1]))
    for rows, row_weights in _blocks(values, weights):
        offsets = rows - start - mean
        is_missing = np.isnan(offsets)
        offsets[is_missing] = 0.0
        sums += np.einsum("n,nd->d", row_weights, offsets**power)
        totals += np.einsum("n,nd->d", row_weights, ~is_missing)
    return sums, totals


def _blocks(values: Floats, weights: Floats | None) -> Iterator[tuple[Floats, Floats]]:
    """Give rows that count, with their weights, some at a time; converted to float64."""
    for i in range(0, len(values), _ROWS_AT_ONCE):
        rows = values[i : i + _ROWS_AT_ONCE]
        row_weights = np.ones(len(rows)) if weights is None else weights[i : i + _ROWS_AT_ONCE]
        # A row of weight zero must not even be the origin of the offsets: 1e20 there would cost the others all digits.
        keep = slice(None) if weights is None else row_weights > 0
        yield rows[keep].astype(np.float64, copy=False), row_weights[keep]


def _first_values(values: Floats, weights: Floats | None) -> Floats:
    """Return the first value of each column that is there."""
    first = np.full(values.shape[1], np.nan)
    for rows, _ in _blocks(values, weights):
        if len(rows):
            found = rows[np.argmax(~np.isnan(rows), axis=0), np.arange(rows.shape[1])]
            first = np.where(np.isnan(first), found, first)
        if not np.isnan(first).any():
            break
    return first
