"""Tables of every make in, one array of floats with names out.

Owned here: reading NumPy arrays, pandas, polars, pyarrow, xarray and plain lists, and refusing what is not a table of
numbers, with the name of the offending column. Dataframes go through narwhals, so that no dataframe library is imported
that the user has not imported already. Not owned: missing values, infinities, constant columns (prepare.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesgmm.errors import ArgumentError, DataError
from bayesgmm.mixture import default_features

__all__ = ["Table", "as_floats", "column_names", "column_positions", "is_single", "read_table", "select_columns"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Table:
    """A table of numbers as it came.

    Parameters
    ----------
    values : ndarray, shape (n, D)
        The numbers, float64 (or float32, where that was asked for), user's units; missing values are NaN.
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


def read_table(table: Any, columns: Sequence[str] | str | None = None, *, keep_single: bool = False) -> Table:
    """Read a table of numbers.

    Parameters
    ----------
    table : array_like, DataFrame, Series, pyarrow.Table or xarray object
        NumPy arrays may have one dimension (one column) or two. Xarray: a DataArray (rows, columns), or a Dataset of
        one-dimensional variables.
    columns : sequence of str, optional
        Which columns to use, in this order. Columns that came without names can be called ``x0``, ``x1``, ... or by
        number. Default all of them.
    keep_single : bool, default False
        Whether arrays and dataframes of single precision stay so, which takes half the memory for the same numbers.

    Returns
    -------
    Table
        The values with their names.

    Raises
    ------
    DataError
        When it is not a table, or a column is not numeric, missing or named twice.
    ArgumentError
        When `columns` is empty or names a column twice.
    """
    if _is_xarray(table):
        found = _read_xarray(table, columns)
    elif _is_dataframe(table):
        found = _read_dataframe(table, columns, keep_single=keep_single)
    else:
        found = select_columns(_read_array(table, keep_single=keep_single), columns)
    if found.values.shape[1] == 0:
        raise DataError("the table has no columns; it needs at least one numeric column")
    return found


# -------------------------------------------------------------------- columns and their names


def column_names(table: Any) -> tuple[str, ...]:
    """Return the names that a table's columns came with, without reading the columns; none where there are none.

    Parameters
    ----------
    table : array_like, DataFrame, Series, pyarrow.Table or xarray object
        The table.

    Returns
    -------
    tuple of str
        The names; empty for arrays.
    """
    if _is_xarray(table):
        return _xarray_names(table)
    return _frame_names(_as_narwhals(table)) if _is_dataframe(table) else ()


def is_single(dtype: np.dtype[Any]) -> bool:
    """Return whether numbers of a type are floats that single precision holds exactly.

    Parameters
    ----------
    dtype : dtype
        The type.

    Returns
    -------
    bool
        True for float32 and float16, in the byte order of this machine.
    """
    return dtype in (np.dtype(np.float32), np.dtype(np.float16))


def _as_text(name: Any) -> str:
    """Return a column's name as plain text; the levels of pandas' MultiIndex are joined by blanks."""
    return " ".join(map(str, name)) if isinstance(name, tuple) else str(name)


def _refuse_repeated(names: Sequence[str]) -> None:
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise DataError(f"two columns are named {repeated[0]!r}; rename one of them")


def column_positions(columns: Sequence[str] | str | None, names: Sequence[str], *, has_names: bool) -> list[int]:
    """Find columns by name, and those that came without names also by number.

    Parameters
    ----------
    columns : sequence of str, or None
        What to find; None stands for all.
    names : sequence of str
        Names of the columns that there are.
    has_names : bool
        Whether these names came with the table.

    Returns
    -------
    list of int
        Positions, in the order of `columns`.

    Raises
    ------
    DataError
        When a column is not there.
    ArgumentError
        When `columns` is empty or names a column twice.
    """
    if columns is None:
        return list(range(len(names)))
    wanted = [columns] if isinstance(columns, str | int | np.integer) else list(columns)
    if not wanted:
        raise ArgumentError("columns is empty; name at least one column or leave it out")
    found = [_position(name, names, has_names=has_names) for name in wanted]
    repeated = [name for name, position in zip(wanted, found, strict=True) if found.count(position) > 1]
    if repeated:
        raise ArgumentError(f"columns names {repeated[0]!r} more than once")
    return found


def _position(name: Any, names: Sequence[str], *, has_names: bool) -> int:
    if _as_text(name) in names:
        return names.index(_as_text(name))
    if not has_names and isinstance(name, int | np.integer) and 0 <= name < len(names):
        return int(name)
    raise DataError(f"no column named {name!r}; the table has {', '.join(names)}")


def select_columns(table: Table, columns: Sequence[str] | str | None) -> Table:
    """Return a table of some of the columns, or the table itself where none are named; see `read_table`."""
    if columns is None:
        return table
    keep = column_positions(columns, table.features, has_names=table.has_names)
    names = tuple(table.features[j] for j in keep)
    return Table(np.ascontiguousarray(table.values[:, keep]), names, table.rows, table.has_names)


# -------------------------------------------------------------------- arrays


def _read_array(table: Any, *, keep_single: bool) -> Table:
    _refuse_other_things(table)
    masked = isinstance(table, np.ma.MaskedArray)
    try:
        array = np.ma.getdata(table) if masked else np.asarray(table)
    except ValueError as error:
        raise DataError(f"the table is not rectangular: {error}") from None
    if array.ndim == 0:
        raise DataError(f"expected a table of numbers, found {type(table).__name__}; read it into a table first")
    if array.ndim > 2:
        raise DataError(f"a table has rows and columns; this array has {array.ndim} dimensions, shape {array.shape}")
    if array.ndim == 1:
        array = array[:, None]
    values = as_floats(array, "the table", keep_single=keep_single)
    if masked:
        values = np.where(np.ma.getmaskarray(table).reshape(values.shape), np.nan, values)
    return Table(values, default_features(values.shape[1]), np.arange(values.shape[0]), has_names=False)


def _refuse_other_things(table: Any) -> None:
    if table is None or isinstance(table, str | bytes | dict | set) or np.isscalar(table):
        raise DataError(f"expected a table of numbers, found {type(table).__name__}; read it into a table first")
    if hasattr(table, "toarray") and hasattr(table, "nnz"):
        raise DataError("sparse matrices are not supported: a Gaussian mixture needs dense rows; pass table.toarray()")


def as_floats(array: NDArray[Any], what: str, *, keep_single: bool = False) -> Floats:
    """Convert to a fresh float64 array; anything that is not an integer, a float or an object of numbers is refused.

    Parameters
    ----------
    array : ndarray
        The numbers.
    what : str
        What they are, for the message.
    keep_single : bool, default False
        Whether float16 and float32 become float32.

    Returns
    -------
    ndarray
        The same numbers; None and pandas' NA, among objects, are NaN.

    Raises
    ------
    DataError
        When they are not real numbers.
    """
    kind = array.dtype.kind
    if kind not in "iufO":
        raise DataError(f"{what} holds {_KINDS.get(kind, array.dtype)} values; a Gaussian mixture needs real numbers")
    if kind == "O":
        numbers = [_as_number(value, what) for value in array.ravel()]
        return np.array(numbers, dtype=np.float64).reshape(array.shape)
    return np.array(array, dtype=np.float32 if keep_single and is_single(array.dtype) else np.float64, order="C")


_KINDS = {
    "b": "boolean", "c": "complex", "U": "text", "S": "bytes", "T": "text", "M": "date", "m": "time difference",
    "V": "record",
}  # fmt: skip


def _as_number(value: Any, what: str) -> float:
    # pandas' NA is told by its name: it refuses to be compared, and pandas may not be loaded.
    if value is None or type(value).__name__ == "NAType":
        return np.nan
    if isinstance(value, bool) or not isinstance(value, Real | Decimal):
        raise DataError(f"{what} holds {value!r} ({type(value).__name__}); a Gaussian mixture needs real numbers")
    return float(value)


# -------------------------------------------------------------------- dataframes


def _is_dataframe(table: Any) -> bool:
    return any(hasattr(table, name) for name in ("__dataframe__", "__arrow_c_stream__", "__narwhals_dataframe__")) or (
        hasattr(table, "to_frame") and hasattr(table, "dtype")
    )


def _as_narwhals(table: Any) -> Any:
    import narwhals as nw

    native = _with_plain_names(table)
    try:
        return nw.from_native(native, eager_only=True, allow_series=True)
    except (TypeError, ValueError) as error:
        raise DataError(f"cannot read a table from {type(table).__name__}: {error}") from None


def _with_plain_names(table: Any) -> Any:
    """Give pandas frames plain string names, which other libraries have; refuse a name that pandas or Arrow repeats."""
    if hasattr(table, "columns") and hasattr(table, "set_axis"):
        names = [_as_text(name) for name in table.columns]
        _refuse_repeated(names)
        return table.set_axis(names, axis=1)
    _refuse_repeated(getattr(table, "column_names", ()))
    return table


def _frame_names(frame: Any) -> tuple[str, ...]:
    if hasattr(frame, "columns"):
        return tuple(frame.columns)
    return () if frame.name in {None, ""} else (_as_text(frame.name),)


def _read_dataframe(table: Any, columns: Sequence[str] | str | None, *, keep_single: bool) -> Table:
    import narwhals as nw

    frame = _as_narwhals(table)
    names, is_series = _frame_names(frame), not hasattr(frame, "columns")
    shown = names or default_features(1) if is_series else names
    keep = column_positions(columns, shown, has_names=bool(names))
    picked = [frame if is_series else frame[shown[position]] for position in keep]
    all_single = keep_single and bool(picked) and all(column.dtype == nw.Float32 for column in picked)
    values = np.empty((len(frame), len(keep)), dtype=np.float32 if all_single else np.float64)
    for j, (column, position) in enumerate(zip(picked, keep, strict=True)):
        values[:, j] = _column_values(column, shown[position], explicit=columns is not None)
    rows = _row_labels(table)
    labels = np.arange(len(frame)) if rows is None else rows
    return Table(values, tuple(shown[position] for position in keep), labels, has_names=bool(names))


def _row_labels(table: Any) -> NDArray[Any] | None:
    """Return pandas' index as labels, integers where they are integers, text otherwise."""
    index = getattr(table, "index", None)
    if index is None or not hasattr(index, "to_numpy"):
        return None
    return _as_labels(index.to_numpy())


def _as_labels(labels: NDArray[Any]) -> NDArray[Any]:
    return labels if labels.dtype.kind in "iu" else np.array([str(label) for label in labels], dtype=np.str_)


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


def _xarray_names(table: Any) -> tuple[str, ...]:
    if hasattr(table, "data_vars"):
        return tuple(_as_text(name) for name in table.data_vars)
    if table.ndim == 1:
        return () if table.name is None else (_as_text(table.name),)
    if table.ndim == 2 and table.dims[1] in table.coords:
        return tuple(_as_text(name) for name in table.coords[table.dims[1]].values)
    return ()


def _read_xarray(table: Any, columns: Sequence[str] | str | None) -> Table:
    if hasattr(table, "data_vars"):
        return _read_variables(table, columns)
    if table.ndim not in (1, 2):
        raise DataError(f"an xarray table has dimensions (rows, columns); this one has {tuple(table.dims)}")
    values = as_floats(table.values.reshape(len(table), -1), "the table")
    names = _xarray_names(table)
    _refuse_repeated(names)
    features = names or default_features(values.shape[1])
    return select_columns(Table(values, features, _xarray_rows(table), bool(names)), columns)


def _read_variables(dataset: Any, columns: Sequence[str] | str | None) -> Table:
    names, variables = _xarray_names(dataset), list(dataset.data_vars.values())
    _refuse_repeated(names)
    keep = column_positions(columns, names, has_names=True)
    chosen = [variables[position] for position in keep]
    if not chosen or any(variable.ndim != 1 or variable.dims != chosen[0].dims for variable in chosen):
        found = sorted({str(dim) for variable in chosen for dim in variable.dims})
        raise DataError(f"the variables of the dataset must share one dimension; found {', '.join(found) or 'none'}")
    features = tuple(names[position] for position in keep)
    parts = [as_floats(variable.values, f"column {name!r}") for variable, name in zip(chosen, features, strict=True)]
    return Table(np.stack(parts, axis=1), features, _xarray_rows(chosen[0]), has_names=True)


def _xarray_rows(table: Any) -> NDArray[Any]:
    """Return the labels of the first dimension, or numbers where it has none."""
    dim = table.dims[0]
    return _as_labels(table.coords[dim].values) if dim in table.coords else np.arange(table.sizes[dim])
