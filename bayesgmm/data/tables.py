"""Tables of every make in, one float64 array with names out.

Owned here: reading NumPy arrays, pandas, polars, pyarrow, xarray and plain lists, and refusing what is not a table of
numbers, with the name of the offending column. Dataframes go through narwhals, so that no dataframe library is imported
that the user has not imported already. Not owned: missing values, infinities, constant columns (prepare.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesgmm.errors import ArgumentError, DataError
from bayesgmm.mixture import default_features

__all__ = ["Table", "read_table"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Table:
    """A table of numbers as it came.

    Parameters
    ----------
    values : ndarray, shape (n, D)
        The numbers, float64, user's units; missing values are NaN.
    features : tuple of str
        Column names.
    rows : ndarray, shape (n,)
        Row labels: integers or strings.
    has_names : bool
        Whether the columns came with names, so that they can be looked up by name later.
    """

    values: Floats
    features: tuple[str, ...]
    rows: NDArray[Any]
    has_names: bool


def read_table(table: Any, columns: Sequence[str] | str | None = None) -> Table:
    """Read a table of numbers.

    Parameters
    ----------
    table : array_like, DataFrame, Series, pyarrow.Table or xarray object
        NumPy arrays may have one dimension (one column) or two. Xarray: a DataArray (rows, columns), or a Dataset of
        one-dimensional variables.
    columns : sequence of str, optional
        Which columns to use, in this order. Default all of them.

    Returns
    -------
    Table
        The values with their names.

    Raises
    ------
    DataError
        When it is not a table, or a column is not numeric, missing or named twice.
    """
    if _is_xarray(table):
        found = _read_xarray(table, columns)
    elif _is_dataframe(table):
        found = _read_dataframe(table, columns)
    else:
        found = _select(_read_array(table), columns)
    if found.values.shape[1] == 0:
        raise DataError("the table has no columns; it needs at least one numeric column")
    return found


# -------------------------------------------------------------------- arrays


def _read_array(table: Any) -> Table:
    _refuse_other_things(table)
    masked = isinstance(table, np.ma.MaskedArray)
    try:
        array = np.ma.getdata(table) if masked else np.asarray(table)
    except ValueError as error:
        raise DataError(f"the table is not rectangular: {error}") from None
    if array.ndim not in (1, 2):
        raise DataError(f"a table has rows and columns; this array has {array.ndim} dimensions, shape {array.shape}")
    if array.ndim == 1:
        array = array[:, None]
    values = _as_floats(array)
    if masked:
        values = np.where(np.ma.getmaskarray(table).reshape(values.shape), np.nan, values)
    return Table(values, default_features(values.shape[1]), np.arange(values.shape[0]), has_names=False)


def _refuse_other_things(table: Any) -> None:
    if table is None or isinstance(table, str | bytes | dict | set) or np.isscalar(table):
        raise DataError(f"expected a table of numbers, found {type(table).__name__}; read files into a table first")
    if hasattr(table, "toarray") and hasattr(table, "nnz"):
        raise DataError("sparse matrices are not supported: a Gaussian mixture needs dense rows; pass table.toarray()")


def _as_floats(array: NDArray[Any]) -> Floats:
    """Convert to a fresh float64 array; anything that is not an integer, a float or an object of numbers is refused."""
    kind = array.dtype.kind
    if kind not in "iufO":
        raise DataError(f"the table holds {_KINDS.get(kind, array.dtype)} values; a Gaussian mixture needs real numbers")
    try:
        return np.array(array, dtype=np.float64, order="C")
    except (TypeError, ValueError) as error:
        raise DataError(f"the table holds values that are not numbers: {error}") from None


_KINDS = {"b": "boolean", "c": "complex", "U": "text", "S": "bytes", "M": "date", "m": "time difference"}


def _select(table: Table, columns: Sequence[str] | str | None) -> Table:
    if columns is None:
        return table
    positions = [_position(name, table.features) for name in _as_names(columns)]
    names = tuple(table.features[j] for j in positions)
    return Table(np.ascontiguousarray(table.values[:, positions]), names, table.rows, table.has_names)


def _as_names(columns: Sequence[str] | str) -> list[Any]:
    names = [columns] if isinstance(columns, str) else list(columns)
    if not names:
        raise ArgumentError("columns is empty; name at least one column or leave it out")
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise ArgumentError(f"columns names {repeated[0]!r} more than once")
    return names


def _position(name: Any, features: tuple[str, ...]) -> int:
    """Find a column by name; columns that came without names also by number."""
    if name in features:
        return features.index(name)
    if isinstance(name, int | np.integer) and 0 <= int(name) < len(features):
        return int(name)
    raise DataError(f"no column named {name!r}; the table has {', '.join(map(str, features))}")


# -------------------------------------------------------------------- dataframes


def _is_dataframe(table: Any) -> bool:
    return any(hasattr(table, name) for name in ("__dataframe__", "__arrow_c_stream__", "__narwhals_dataframe__")) or (
        hasattr(table, "to_frame") and hasattr(table, "dtype")
    )


def _read_dataframe(table: Any, columns: Sequence[str] | str | None) -> Table:
    import narwhals as nw

    rows = _row_labels(table)
    native = _string_columns(table)
    try:
        frame = nw.from_native(native, eager_only=True, allow_series=True)
    except (TypeError, ValueError) as error:
        raise DataError(f"cannot read a table from {type(table).__name__}: {error}") from None
    if isinstance(frame, nw.Series):
        frame = frame.alias(frame.name or "x0").to_frame()
    names = frame.columns
    wanted = list(names) if columns is None else [names[_position(name, tuple(names))] for name in _as_names(columns)]
    values = np.empty((len(frame), len(wanted)))
    for j, name in enumerate(wanted):
        values[:, j] = _column_values(frame[name], name, explicit=columns is not None)
    labels = np.arange(len(frame)) if rows is None else rows
    return Table(values, tuple(wanted), labels, has_names=True)


def _string_columns(table: Any) -> Any:
    """Give pandas frames plain, distinct string names; other libraries have them already."""
    columns = getattr(table, "columns", None)
    if columns is None or not hasattr(table, "set_axis"):
        return table
    names = [" ".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in columns]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"two columns are named {repeated[0]!r}; rename one of them")
    return table.set_axis(names, axis=1)


def _row_labels(table: Any) -> NDArray[Any] | None:
    """Return pandas' index as labels, integers where they are integers, text otherwise."""
    index = getattr(table, "index", None)
    if index is None or not hasattr(index, "to_numpy"):
        return None
    labels = index.to_numpy()
    return labels if labels.dtype.kind in "iu" else np.array([str(label) for label in labels])


def _column_values(column: Any, name: str, *, explicit: bool) -> Floats:
    import narwhals as nw

    if not column.dtype.is_numeric():
        remedy = "leave it out of columns=" if explicit else "name the numeric columns with columns="
        raise DataError(f"column {name!r} is not numeric (it holds {column.dtype}); {remedy}, or convert it")
    floats = column.cast(nw.Float64)
    filled = floats.fill_null(float("nan")) if floats.null_count() else floats
    return np.asarray(filled.to_numpy(), dtype=np.float64)


# -------------------------------------------------------------------- xarray


def _is_xarray(table: Any) -> bool:
    return type(table).__module__.partition(".")[0] == "xarray" and hasattr(table, "dims")


def _read_xarray(table: Any, columns: Sequence[str] | str | None) -> Table:
    if hasattr(table, "data_vars"):
        table = _stack_variables(table, columns)
    if table.ndim == 1:
        name = str(table.name) if table.name is not None else "x0"
        table = table.expand_dims({"feature": [name]}, axis=1)
    if table.ndim != 2:
        raise DataError(f"an xarray table has dimensions (rows, columns); this one has {tuple(table.dims)}")
    row_dim, column_dim = table.dims
    names = default_features(table.sizes[column_dim])
    if column_dim in table.coords:
        names = tuple(str(name) for name in table.coords[column_dim].values)
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise DataError(f"two columns are named {repeated[0]!r}; rename one of them")
    rows = np.arange(table.sizes[row_dim])
    if row_dim in table.coords:
        rows = table.coords[row_dim].values
        rows = rows if rows.dtype.kind in "iu" else np.array([str(label) for label in rows])
    return _select(Table(_as_floats(table.values), names, rows, column_dim in table.coords), columns)


def _stack_variables(dataset: Any, columns: Sequence[str] | str | None) -> Any:
    names = tuple(str(name) for name in dataset.data_vars)
    wanted = names if columns is None else [names[_position(name, names)] for name in _as_names(columns)]
    chosen = dataset[list(wanted)]
    if not wanted or len(chosen.dims) != 1:
        raise DataError(f"the variables of the dataset must share one dimension; found {tuple(chosen.dims)}")
    return chosen.to_dataarray("feature").transpose(..., "feature")
