"""Tables of every make in, one array of floats with names out.

Owned here: reading NumPy arrays, pandas, polars, pyarrow, xarray and plain lists, and refusing what is not a table of
numbers, with the name of the offending column. Dataframes go through narwhals, so that no dataframe library is imported
that the user has not imported already. Not owned: missing values, infinities, constant columns (prepare.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesgmm.data.columns import as_text, column_positions, refuse_repeated
from bayesgmm.errors import DataError
from bayesgmm.mixture import default_features

__all__ = [
    "Table",
    "as_floats",
    "column_names",
    "is_single",
    "read_table",
    "select_columns",
]

Floats = NDArray[np.float64]

# What narwhals calls a type that it does not know: the library's own name says more.
_VAGUE = ("Unknown", "Object")


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
    except ValueError:
        raise DataError("the table is not rectangular; every row needs one number for each column") from None
    if array.ndim == 0:
        raise _no_table(table)
    if array.ndim > 2:
        raise DataError(f"a table has rows and columns; this array has {array.ndim} dimensions, shape {array.shape}")
    if array.ndim == 1:
        array = array[:, None]
    values = as_floats(array, "the table", keep_single=keep_single)
    if masked:
        values = np.where(np.ma.getmaskarray(table).reshape(values.shape), np.nan, values)
    return Table(values, default_features(values.shape[1]), np.arange(values.shape[0]), has_names=False)


def _no_table(found: Any) -> DataError:
    """Return the error for what is no table."""
    how = ", for instance with pandas.read_csv" if isinstance(found, str | PathLike) else ""
    return DataError(f"expected a table of numbers, found {type(found).__name__}; read it into a table first{how}")


def _refuse_other_things(table: Any) -> None:
    if table is None or isinstance(table, str | bytes | dict | set) or np.isscalar(table):
        raise _no_table(table)
    if hasattr(table, "toarray") and hasattr(table, "nnz"):
        raise DataError("sparse matrices are not supported: a Gaussian mixture needs dense rows; pass table.toarray()")
    if hasattr(table, "collect"):
        raise DataError(f"{type(table).__name__} is not computed yet; pass table.collect()")


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
        raise DataError(f"{what} holds {_KINDS.get(kind, array.dtype)} values; it needs real numbers, so convert them")
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
        raise DataError(f"{what} holds {value!r} ({type(value).__name__}); it needs real numbers, so convert them")
    try:
        return float(value)
    except (OverflowError, ValueError):
        # Whole numbers and fractions of any size, and Decimal's signalling NaN.
        raise DataError(f"{what} holds a number that double precision has no room for; rescale it") from None


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
        names = [as_text(name) for name in table.columns]
        refuse_repeated(names)
        return table.set_axis(names, axis=1)
    refuse_repeated(getattr(table, "column_names", ()))
    return table


def _frame_names(frame: Any) -> tuple[str, ...]:
    if hasattr(frame, "columns"):
        return tuple(frame.columns)
    return () if frame.name in {None, ""} else (as_text(frame.name),)


def _read_dataframe(table: Any, columns: Sequence[str] | str | None, *, keep_single: bool) -> Table:
    import narwhals as nw

    frame = _as_narwhals(table)
    names, is_series = _frame_names(frame), not hasattr(frame, "columns")
    shown = names or default_features(1) if is_series else names
    keep = column_positions(columns, shown, has_names=bool(names))
    picked = [frame if is_series else frame[shown[position]] for position in keep]
    all_single = keep_single and bool(picked) and all(column.dtype == nw.Float32 for column in picked)
    values = np.empty((len(frame), len(keep)), dtype=np.float32 if all_single else np.float64)
    rows = _row_labels(table)
    labels = np.arange(len(frame)) if rows is None else rows
    for j, (column, position) in enumerate(zip(picked, keep, strict=True)):
        _refuse_words(column, shown[position], labels, explicit=columns is not None)
        values[:, j] = _column_values(column)
    return Table(values, tuple(shown[position] for position in keep), labels, has_names=bool(names))


def _row_labels(table: Any) -> NDArray[Any] | None:
    """Return pandas' index as labels, integers where they are integers, text otherwise."""
    index = getattr(table, "index", None)
    if index is None or not hasattr(index, "to_numpy"):
        return None
    return _as_labels(index.to_numpy())


def _as_labels(labels: NDArray[Any]) -> NDArray[Any]:
    return labels if labels.dtype.kind in "iu" else np.array([str(label) for label in labels], dtype=np.str_)


def _column_values(column: Any) -> Floats:
    import narwhals as nw

    floats = column.cast(nw.Float64)
    filled = floats.fill_null(float("nan")) if floats.null_count() else floats
    return np.asarray(filled.to_numpy(), dtype=np.float64)


def _refuse_words(column: Any, name: str, labels: NDArray[Any], *, explicit: bool) -> None:
    """Refuse a column that is not numeric."""
    if not column.dtype.is_numeric():
        remedy = "" if explicit else ", or name the numeric columns in prepare(..., columns=[...])"
        raise DataError(f"column {name!r} is not numeric ({_what_it_holds(column, labels)}); convert it{remedy}")


def _what_it_holds(column: Any, labels: NDArray[Any]) -> str:
    """Say what a column holds that is not numeric; of text among numbers, the first piece and where it is."""
    native = getattr(column.to_native(), "dtype", None)
    kind = str(column.dtype).partition("(")[0]
    kind = str(native) if kind in _VAGUE and native is not None else kind
    texts = [(i, value) for i, value in enumerate(column.to_list()) if isinstance(value, str)]
    strange = [(i, value) for i, value in texts if not _is_number(value)]
    if not texts or 2 * len(strange) > len(texts):
        return f"it holds {kind}"
    if not strange:
        return f"it holds numbers as text, such as {texts[0][1]!r}"
    i, value = strange[0]
    return f"it holds text among numbers: {value!r} in row {labels[i]}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# -------------------------------------------------------------------- xarray


def _is_xarray(table: Any) -> bool:
    return type(table).__module__.partition(".")[0] == "xarray" and hasattr(table, "dims")


def _xarray_names(table: Any) -> tuple[str, ...]:
    if hasattr(table, "data_vars"):
        return tuple(as_text(name) for name in table.data_vars)
    if table.ndim == 1:
        return () if table.name is None else (as_text(table.name),)
    if table.ndim == 2 and table.dims[1] in table.coords:
        return tuple(as_text(name) for name in table.coords[table.dims[1]].values)
    return ()


def _read_xarray(table: Any, columns: Sequence[str] | str | None) -> Table:
    if hasattr(table, "data_vars"):
        return _read_variables(table, columns)
    if table.ndim not in (1, 2):
        raise DataError(f"an xarray table has dimensions (rows, columns); this one has {tuple(table.dims)}")
    values = as_floats(table.values.reshape(len(table), -1), "the table")
    names = _xarray_names(table)
    refuse_repeated(names)
    features = names or default_features(values.shape[1])
    return select_columns(Table(values, features, _xarray_rows(table), bool(names)), columns)


def _read_variables(dataset: Any, columns: Sequence[str] | str | None) -> Table:
    names, variables = _xarray_names(dataset), list(dataset.data_vars.values())
    refuse_repeated(names)
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
