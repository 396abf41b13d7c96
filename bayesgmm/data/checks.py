"""What rows and weights must be before a mixture is fitted, and the words for what they are not."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesgmm.data.memory import available_memory
from bayesgmm.data.tables import Table, as_floats
from bayesgmm.errors import ArgumentError, DataError

__all__ = [
    "SCALES",
    "check_choice",
    "check_room_for_covariances",
    "check_total",
    "check_weights",
    "describe_missing",
    "describe_values",
    "refuse_bad_weights",
    "refuse_constant",
    "refuse_constant_columns",
    "refuse_empty_columns",
    "refuse_infinite",
]

Floats = NDArray[np.float64]

# Variances are squares: beyond it they overflow, and below one over it they vanish.
_LARGEST_SPREAD = 1e150

# So many bytes are not worth asking the machine for.
_SURELY_THERE = 2**26

#: What the fits may divide the centred columns by.
SCALES = ("auto", "feature", "common", "none")


def check_choice(name: str, value: str, legal: tuple[str, ...]) -> None:
    """Refuse an argument that is none of its legal values.

    Parameters
    ----------
    name : str
        The argument.
    value : str
        What was given.
    legal : tuple of str
        What may be given.

    Raises
    ------
    ArgumentError
        When it is none of these.
    """
    if not isinstance(value, str) or value not in legal:
        raise ArgumentError(f"{name}={value!r} is not known; use one of {', '.join(map(repr, legal))}")


def check_room_for_covariances(n_components: int, n_features: int) -> None:
    """Refuse more columns than covariances have room for in memory.

    Parameters
    ----------
    n_components : int
        Number of components, K.
    n_features : int
        Number of columns, D.

    Raises
    ------
    DataError
        When K covariances of D x D numbers do not fit.
    """
    size = 8 * n_components * n_features**2
    if size > _SURELY_THERE and size > available_memory():
        raise DataError(
            f"the covariances of {n_components} component{'s' * (n_components > 1)} in {n_features:,} columns take "
            f"{size / 1e9:,.0f} GB, more than there is; use fewer columns, such as principal components"
        )


def check_weights(sample_weight: ArrayLike, n_rows: int) -> Floats:
    """Return weights as numbers, one for each row; refuse what are no weights.

    Parameters
    ----------
    sample_weight : array_like
        What was given.
    n_rows : int
        Number of rows.

    Returns
    -------
    ndarray, shape (n,)
        The weights.

    Raises
    ------
    DataError
        When they are not non-negative numbers, one for each row, some of them positive.
    """
    try:
        given = np.asarray(sample_weight)
    except ValueError:
        raise DataError("sample_weight must be numbers, one for each row") from None
    weights = given.astype(np.float64) if given.dtype == bool else as_floats(given, "sample_weight")
    if weights.shape != (n_rows,):
        raise DataError(f"sample_weight has shape {weights.shape}; it needs one weight for each of the {n_rows} rows")
    refuse_bad_weights(int(np.sum(~np.isfinite(weights))))
    if np.any(weights < 0):
        raise DataError(f"sample_weight must not be negative; the smallest is {weights.min():g}")
    return check_total(weights)


def refuse_bad_weights(n_bad: int) -> None:
    """Refuse weights of which some are no numbers.

    Parameters
    ----------
    n_bad : int
        How many are NaN or infinite.

    Raises
    ------
    DataError
        When there are any.
    """
    if n_bad:
        are = "value that is" if n_bad == 1 else "values that are"
        raise DataError(f"sample_weight has {n_bad} {are} NaN or infinite; 0 leaves a row out")


def check_total(weights: Floats) -> Floats:
    """Return weights, read-only; refuse them where their sum is zero or not finite.

    Parameters
    ----------
    weights : ndarray, shape (n,)
        Non-negative numbers.

    Returns
    -------
    ndarray, shape (n,)
        The same.

    Raises
    ------
    DataError
        When no row counts, or their sum overflows.
    """
    if not np.any(weights > 0):
        raise DataError("every sample_weight is zero; at least one row must count")
    with np.errstate(over="ignore"):
        if not np.isfinite(weights.sum()):
            raise DataError(
                f"the sum of sample_weight overflows (the largest is {weights.max():g}); divide by a constant"
            )
    weights.setflags(write=False)
    return weights


def refuse_infinite(table: Table) -> None:
    """Refuse a table with infinite values.

    Parameters
    ----------
    table : Table
        The table.

    Raises
    ------
    DataError
        When there are any; it names the first column that has.
    """
    infinite = np.isinf(table.values)
    if infinite.any():
        j = int(np.argmax(infinite.any(axis=0)))
        raise DataError(f"{_describe(table, j, infinite[:, j], 'infinite value')}; replace or remove them")


def describe_missing(table: Table) -> str:
    """Say which columns have missing values, how many and where.

    Parameters
    ----------
    table : Table
        The table.

    Returns
    -------
    str
        A sentence for each of the first five columns.
    """
    missing = np.isnan(table.values)
    affected = np.flatnonzero(missing.any(axis=0))
    columns = [_describe(table, j, missing[:, j], "missing value") for j in affected[:5]]
    if len(affected) > 5:
        columns.append(f"and so have {len(affected) - 5} other columns")
    return "; ".join(columns)


def refuse_empty_columns(absent: NDArray[np.bool_], features: tuple[str, ...]) -> None:
    """Refuse a table with a column that has no value in any row.

    Parameters
    ----------
    absent : ndarray of bool, shape (n, D)
        Where values are missing.
    features : tuple of str
        Column names.

    Raises
    ------
    DataError
        When there is such a column.
    """
    empty = np.flatnonzero(absent.all(axis=0))
    if empty.size:
        raise DataError(f"column {features[int(empty[0])]!r} has no values at all; leave it out")


def refuse_constant_columns(values: Floats, features: tuple[str, ...]) -> None:
    """Refuse a table along some column of which there is no density; see `refuse_constant`.

    Parameters
    ----------
    values : ndarray, shape (n, D)
        The rows; NaN where a value is missing.
    features : tuple of str
        Column names.

    Raises
    ------
    DataError
        When a column is empty, constant or of a size whose squares over- or underflow, or there is one row only.
    """
    with warnings.catch_warnings():
        # A column without any value has no extremes: they are NaN, and NumPy says so.
        warnings.simplefilter("ignore", RuntimeWarning)
        lowest, highest = (np.asarray(extreme(values, axis=0), dtype=np.float64) for extreme in (np.nanmin, np.nanmax))
    refuse_constant(lowest, highest, len(values), features)


def refuse_constant(lowest: Floats, highest: Floats, n_rows: int, features: tuple[str, ...]) -> None:
    """Refuse columns along which there is no density.

    Parameters
    ----------
    lowest, highest : ndarray, shape (D,)
        Extremes of the columns, user's units; NaN where a column has no values.
    n_rows : int
        Number of rows.
    features : tuple of str
        Column names.

    Raises
    ------
    DataError
        When a column is empty, constant or of a size whose squares over- or underflow, or there is one row only.
    """
    refuse_empty_columns(np.isnan(lowest)[None, :], features)
    # Below a few units in the last place of the values, what varies is rounding, not data.
    floor = 8.0 * np.finfo(float).eps * np.maximum(np.abs(lowest), np.abs(highest))
    with np.errstate(over="ignore"):
        spread = highest - lowest
    constant = np.flatnonzero(spread <= floor)
    if n_rows > 1 and constant.size:
        j = int(constant[0])
        raise DataError(
            f"column {features[j]!r} is constant (every value is {lowest[j]:g}), and a density along it is not "
            "defined; leave it out"
        )
    extreme = np.flatnonzero((spread < 1.0 / _LARGEST_SPREAD) | (spread > _LARGEST_SPREAD))
    if n_rows > 1 and extreme.size:
        j = int(extreme[0])
        raise DataError(
            f"column {features[j]!r} goes from {lowest[j]:g} to {highest[j]:g}, and squares of that have no room in "
            "double precision; rescale it"
        )
    if n_rows == 1:
        raise DataError("a single row is left to be fitted; a mixture needs at least two")


def _describe(table: Table, j: int, flags: NDArray[np.bool_], what: str) -> str:
    return describe_values(table.features[j], int(flags.sum()), what, table.rows[flags])


def describe_values(name: str, n: int, what: str, rows: NDArray[Any]) -> str:
    """Say how many values of a kind a column has, and where.

    Parameters
    ----------
    name : str
        The column.
    n : int
        How many values.
    what : str
        What they are, in the singular.
    rows : ndarray
        Labels of the first rows where they are, six or all.

    Returns
    -------
    str
        "column 'a' has 2 missing values (rows 4, 17)".
    """
    shown = ", ".join(str(label) for label in rows[:5]) + (", ..." if n > 5 else "")
    return f"column {name!r} has {n} {what}{'s' * (n != 1)} (row{'s' * (n > 1)} {shown})"
