"""From a user's table to prepared data, which both fits share.

Owned here: every check that a table must pass before a mixture is fitted (missing values, infinities, constant columns,
weights), and `PreparedData`, the frozen value that carries numbers, names, weights and the choice of scale. It is
accepted wherever a table is. Fits take their standardised rows from it, and `PreparedData.read` reads new rows with the
same columns. Refused input is named in the user's words: the column, the count, the rows, the remedy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesgmm.data.scaling import Scaling
from bayesgmm.data.tables import Table, as_floats, column_names, read_table, select_columns
from bayesgmm.errors import ArgumentError, DataError
from bayesgmm.mixture import default_features
from bayesgmm.structure import CovarianceStructure

__all__ = ["PreparedData", "prepare", "read_rows"]

Floats = NDArray[np.float64]

_SCALES = ("auto", "feature", "common", "none")
_MISSING = ("error", "drop", "marginalize")


@dataclass(frozen=True, eq=False)
class PreparedData:
    """A table that is ready to be fitted.

    Parameters
    ----------
    values : ndarray, shape (n, D)
        The rows, user's units, float64, read-only; NaN stands for a value that is missing and marginalised.
    features : tuple of str
        Column names.
    rows : ndarray, shape (n,)
        Labels of the rows that are used.
    sample_weight : ndarray, shape (n,), or None
        Weights of the rows, dimensionless; None stands for ones.
    scale : {"auto", "feature", "common", "none"}
        How the fits scale the columns; see `prepare`.
    n_dropped : int
        Rows left out because of missing values.
    """

    values: Floats
    features: tuple[str, ...]
    rows: NDArray[Any]
    sample_weight: Floats | None = None
    scale: str = "auto"
    n_dropped: int = 0

    @property
    def n_rows(self) -> int:
        """Number of rows, n."""
        return int(self.values.shape[0])

    @property
    def n_features(self) -> int:
        """Number of columns, D."""
        return int(self.values.shape[1])

    @property
    def has_missing(self) -> bool:
        """Whether values are missing, to be marginalised."""
        return bool(np.isnan(self.values).any())

    @property
    def effective_rows(self) -> float:
        """Sum of the sample weights; n where there are none."""
        return float(self.n_rows if self.sample_weight is None else self.sample_weight.sum())

    def scaling(self, structure: CovarianceStructure) -> Scaling:
        """Return the change of units under which a fit runs (math.md, 5.1).

        Parameters
        ----------
        structure : CovarianceStructure
            The structure that is fitted; it decides what ``scale="auto"`` means.

        Returns
        -------
        Scaling
            Shift and scale, user's units.
        """
        shift, variances = _weighted_moments(self.values, self.sample_weight)
        kind = self.scale
        if kind == "auto":
            kind = "feature" if structure.is_scale_equivariant else "common"
        if kind == "none":
            return Scaling(shift, np.ones(self.n_features))
        scale = np.sqrt(variances) if kind == "feature" else np.full(self.n_features, np.sqrt(variances.mean()))
        return Scaling(shift, scale)

    def check_components(self, n_components: int) -> None:
        """Refuse a number of components that these rows cannot support.

        Parameters
        ----------
        n_components : int
            Number of components, K.

        Raises
        ------
        ArgumentError
            When `n_components` is not a positive whole number.
        DataError
            When there are not more rows, or not enough distinct rows, than components.
        """
        if isinstance(n_components, bool) or not isinstance(n_components, int | np.integer) or n_components < 1:
            raise ArgumentError(f"n_components={n_components!r} must be a positive whole number")
        used = self.values if self.sample_weight is None else self.values[self.sample_weight > 0]
        if len(used) <= n_components:
            raise DataError(
                f"{len(used)} rows cannot support n_components={n_components}; "
                "use more rows or fewer components (at least one more row than components)"
            )
        if n_components > 1 and _has_few_distinct_rows(used, n_components):
            n_distinct = len(np.unique(used, axis=0))
            raise DataError(
                f"the table has {n_distinct} distinct rows, too few for n_components={n_components}; "
                "use fewer components"
            )

    def check_complete(self, purpose: str) -> None:
        """Refuse missing values where they cannot be marginalised.

        Parameters
        ----------
        purpose : str
            What the rows are wanted for, in the user's words.

        Raises
        ------
        DataError
            When a value is missing.
        """
        if self.has_missing:
            n = int(np.isnan(self.values).any(axis=1).sum())
            raise DataError(
                f"{purpose} needs complete rows, and {n} have missing values; use missing='drop' or fill them"
            )

    def __repr__(self) -> str:
        notes = f", {self.n_dropped} rows with missing values dropped" if self.n_dropped else ""
        notes += f", {int(np.isnan(self.values).sum())} missing values" if self.has_missing else ""
        notes += ", weighted" if self.sample_weight is not None else ""
        return f"PreparedData({self.n_rows} rows x {self.n_features} columns: {', '.join(self.features)}{notes})"


def prepare(
    table: Any,
    columns: Sequence[str] | str | None = None,
    *,
    scale: str = "auto",
    missing: str = "error",
    sample_weight: ArrayLike | None = None,
) -> PreparedData:
    """Check a table and prepare it for both fits.

    Parameters
    ----------
    table : array_like, DataFrame, pyarrow.Table, xarray object or PreparedData
        Rows and columns of real numbers. NumPy arrays of any order and dtype, pandas, polars and pyarrow tables, xarray
        arrays and datasets. PreparedData is returned as it is when no other argument is given.
    columns : sequence of str, optional
        Which columns to use. Default all.
    scale : {"auto", "feature", "common", "none"}, default "auto"
        What the fits divide the centred columns by: each column's standard deviation ("feature"), one common number
        ("common"), or nothing ("none"). "auto" takes "feature" where the covariance structure is unchanged by it and
        "common" elsewhere, so that the fitted model does not depend on this choice.
    missing : {"error", "drop", "marginalize"}, default "error"
        What to do with rows that have missing values: refuse them, leave them out, or let them count with the density
        of what was observed, which is right where values are missing at random (`fit_em`; rows without any value are
        left out).
    sample_weight : array_like, shape (n,), optional
        Non-negative weights of the rows; a weight of 2 stands for a row that occurs twice.

    Returns
    -------
    PreparedData
        What `fit_em`, `fit_bayes`, `build_model` and `compare` work on.

    Raises
    ------
    DataError
        When the table cannot be used; the message names the column, the count and the remedy.
    ArgumentError
        When an argument is not one of its legal values.

    Examples
    --------
    >>> prepare([[1.0, 2.0], [3.0, 5.0], [2.0, 2.0]])
    PreparedData(3 rows x 2 columns: x0, x1)
    """
    _check_choice("scale", scale, _SCALES)
    _check_choice("missing", missing, _MISSING)
    if isinstance(table, PreparedData):
        if columns is None and sample_weight is None and scale == "auto" and missing == "error":
            return table
        raise ArgumentError(
            "the data are prepared already; pass columns, scale, missing and weights to the first prepare()"
        )
    found = read_table(table, columns)
    if found.values.shape[0] == 0:
        raise DataError("the table has no rows")
    weights = None if sample_weight is None else _check_weights(sample_weight, found.values.shape[0])
    _refuse_infinite(found)
    absent = np.isnan(found.values)
    keep = ~(absent.all(axis=1) if missing == "marginalize" else absent.any(axis=1))
    if missing == "error" and not keep.all():
        raise DataError(
            f"{_describe_missing(found)}; pass missing='marginalize' to use what was observed, missing='drop' to leave "
            "these rows out, or fill them"
        )
    if not keep.any():
        raise DataError(f"every row has a missing value; nothing is left with missing={missing!r}")
    values = np.ascontiguousarray(found.values if keep.all() else found.values[keep])
    weights = None if weights is None else _check_total(weights[keep])
    _refuse_constant(values if weights is None else values[weights > 0], found.features)
    values.setflags(write=False)
    return PreparedData(values, found.features, found.rows[keep], weights, scale, int(np.sum(~keep)))


def read_rows(table: Any, features: tuple[str, ...], *, allow_missing: bool = False) -> Table:
    """Read new rows for a fit: by column name where the table has names, by position otherwise.

    Parameters
    ----------
    table : array_like, DataFrame, pyarrow.Table or xarray object
        New rows, user's units.
    features : tuple of str
        The fit's columns.
    allow_missing : bool, default False
        Whether rows may have missing values.

    Returns
    -------
    Table
        Values of shape (n, D) in the order of `features`.

    Raises
    ------
    DataError
        When a column is missing, the number of columns is wrong, or a value is missing or infinite.
    """
    found = _pick_columns(table, features)
    if found.values.shape[1] != len(features):
        raise DataError(
            f"the table has {found.values.shape[1]} columns; the fit has {len(features)}: {', '.join(features)}"
        )
    _refuse_infinite(found)
    if not allow_missing and np.isnan(found.values).any():
        raise DataError(f"{_describe_missing(found)}; fill them or leave these rows out")
    return Table(found.values, features, found.rows, found.has_names)


def _pick_columns(table: Any, features: tuple[str, ...]) -> Table:
    """Read the columns of a fit by name; all columns where the table, or the data of the fit, came without names."""
    if isinstance(table, PreparedData):
        table = Table(table.values, table.features, table.rows, table.features != default_features(table.n_features))
        names = table.features if table.has_names else ()
    else:
        names = column_names(table)
    absent = [name for name in features if name not in names]
    if absent and names and features != default_features(len(features)):
        raise DataError(f"the fit needs a column named {absent[0]!r}; the table has {', '.join(names)}")
    wanted = None if absent else features
    return select_columns(table, wanted) if isinstance(table, Table) else read_table(table, wanted)


# -------------------------------------------------------------------- checks


def _check_choice(name: str, value: str, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise ArgumentError(f"{name}={value!r} is not known; use one of {', '.join(map(repr, legal))}")


def _has_few_distinct_rows(rows: Floats, n_components: int) -> bool:
    """Whether there are no more distinct rows than components; mostly a few rows tell, without sorting a long table."""
    head = rows[: 100 * (n_components + 1)]
    return all(len(np.unique(part, axis=0)) <= n_components for part in (head, rows))


def _check_weights(sample_weight: ArrayLike, n_rows: int) -> Floats:
    try:
        given = np.asarray(sample_weight)
    except ValueError:
        raise DataError("sample_weight must be numbers, one for each row") from None
    weights = given.astype(np.float64) if given.dtype == bool else as_floats(given, "sample_weight")
    if weights.shape != (n_rows,):
        raise DataError(f"sample_weight has shape {weights.shape}; it needs one weight for each of the {n_rows} rows")
    if not np.all(np.isfinite(weights)):
        raise DataError(f"sample_weight has {int(np.sum(~np.isfinite(weights)))} values that are NaN or infinite")
    if np.any(weights < 0):
        raise DataError(f"sample_weight must not be negative; the smallest is {weights.min():g}")
    return _check_total(weights)


def _check_total(weights: Floats) -> Floats:
    if not np.any(weights > 0):
        raise DataError("every sample_weight is zero; at least one row must count")
    with np.errstate(over="ignore"):
        if not np.isfinite(weights.sum()):
            raise DataError(
                f"the sum of sample_weight overflows (the largest is {weights.max():g}); divide by a constant"
            )
    weights.setflags(write=False)
    return weights


def _refuse_infinite(table: Table) -> None:
    infinite = np.isinf(table.values)
    if infinite.any():
        j = int(np.argmax(infinite.any(axis=0)))
        raise DataError(
            f"column {table.features[j]!r} has {_count(infinite[:, j], 'infinite value')} "
            f"({_name_rows(table.rows[infinite[:, j]])}); replace or remove them"
        )


def _describe_missing(table: Table) -> str:
    missing = np.isnan(table.values)
    affected = np.flatnonzero(missing.any(axis=0))
    columns = [
        f"column {table.features[j]!r} has {_count(missing[:, j], 'missing value')} "
        f"({_name_rows(table.rows[missing[:, j]])})"
        for j in affected[:5]
    ]
    if len(affected) > 5:
        columns.append(f"and so have {len(affected) - 5} other columns")
    return "; ".join(columns)


def _refuse_constant(values: Floats, features: tuple[str, ...]) -> None:
    empty = np.flatnonzero(np.isnan(values).all(axis=0))
    if empty.size:
        raise DataError(f"column {features[int(empty[0])]!r} has no values at all: leave it out")
    spread = np.nanmax(values, axis=0) - np.nanmin(values, axis=0)
    # Below a few units in the last place of the values, what varies is rounding, not data.
    floor = 8.0 * np.finfo(float).eps * np.nanmax(np.abs(values), axis=0)
    constant = np.flatnonzero(spread <= floor)
    if values.shape[0] > 1 and constant.size:
        j = int(constant[0])
        raise DataError(
            f"column {features[j]!r} is constant (every value is {np.nanmin(values[:, j]):g}); a density along it is "
            "not defined: leave it out"
        )
    if values.shape[0] == 1:
        raise DataError("a single row is left to be fitted; a mixture needs at least two")


def _count(flags: NDArray[np.bool_], what: str) -> str:
    n = int(flags.sum())
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _name_rows(labels: NDArray[Any]) -> str:
    shown = ", ".join(str(label) for label in labels[:5])
    return f"row{'s' if len(labels) > 1 else ''} {shown}" + (", ..." if len(labels) > 5 else "")


def _weighted_moments(values: Floats, weights: Floats | None) -> tuple[Floats, Floats]:
    """Return means and variances of the columns, in two passes so that a large offset costs no digits."""
    if weights is not None:
        # A row of weight zero must not even be the origin of the offsets: 1e20 there would cost the others all digits.
        values, weights = values[weights > 0], weights[weights > 0]
    start = values[np.argmax(~np.isnan(values), axis=0), np.arange(values.shape[1])]
    offsets = np.ma.masked_invalid(values - start)
    mean = np.ma.average(offsets, axis=0, weights=weights)
    variances = np.ma.average((offsets - mean) ** 2, axis=0, weights=weights)
    return start + np.asarray(mean), np.asarray(variances)
