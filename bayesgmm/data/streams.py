"""Streams of the user's own things: memory maps, Parquet files, Arrow datasets, Dask collections.

What is opened here is only looked at from outside: columns, types, number of rows. A memory map is read through its
pages, which are given back behind the reader, so that a large file does not fill the process; Parquet is read by
buffered row groups, since Arrow's datasets read far ahead.
"""

import mmap
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesgmm.data.checks import SCALES, check_choice
from bayesgmm.data.chunks import About, Chunk, LocalStream, Stream, chunk_rows
from bayesgmm.data.columns import column_positions, refuse_repeated
from bayesgmm.data.tables import as_floats, is_single
from bayesgmm.errors import ArgumentError, DataError
from bayesgmm.mixture import default_features

__all__ = ["ArrowRows", "MappedRows", "is_stream", "open_stream"]

_PARQUET = (".parquet", ".pq")
_PARQUET_BUFFER = 2**20
# Bytes of a map after which its pages are given back; the system's cache still has them.
_RELEASE_EVERY = 2**25


def is_stream(data: Any) -> bool:
    """Return whether something is read chunk by chunk where it is large.

    Parameters
    ----------
    data : object
        What the user gave.

    Returns
    -------
    bool
        True for a `Stream`, a memory map, the path of a Parquet file or of a folder of them, a pyarrow Dataset, and a
        Dask array or dataframe.
    """
    is_path = isinstance(data, str | Path) and (Path(data).suffix.lower() in _PARQUET or Path(data).is_dir())
    return is_path or isinstance(data, Stream | np.memmap) or _is_dataset(data) or _is_dask(data)


def open_stream(
    data: Any,
    columns: Sequence[str] | str | None = None,
    *,
    sample_weight: Any = None,
    scale: str = "auto",
    missing: str = "error",
) -> Stream:
    """Open rows that are read chunk by chunk; what `prepare` is for a table in memory.

    Parameters
    ----------
    data : numpy.memmap, str, Path, pyarrow.dataset.Dataset, dask.array.Array, dask.dataframe.DataFrame or Stream
        The rows. A path is that of a Parquet file, or of a folder of Parquet files, taken in the order of their names.
        A Stream is returned as it is when no other argument is given.
    columns : sequence of str, optional
        Which columns to use. Default all, except that of the weights.
    sample_weight : array_like, dask.array.Array or str, optional
        Non-negative weights of the rows: an array with one for each row, or the name of a column of `data`.
    scale : {"auto", "feature", "common", "none"}, default "auto"
        How the columns are scaled; see `prepare`.
    missing : {"error", "drop"}, default "error"
        What to do with rows that have missing values: refuse them or leave them out.

    Returns
    -------
    Stream
        Accepted by `fit_em`. The numbers are read and checked when a fit needs them.

    Raises
    ------
    DataError
        When it cannot be opened, is not a table, or a column is not numeric.
    ArgumentError
        When an argument is not one of its legal values.
    """
    if isinstance(data, Stream):
        if columns is None and sample_weight is None and scale == "auto" and missing == "error":
            return data
        raise ArgumentError(
            "the stream is open already; pass columns, scale, missing and weights to the first open_stream()"
        )
    check_choice("scale", scale, SCALES)
    _check_missing(missing)
    settings = {"missing": missing, "scale": scale}
    if isinstance(data, np.memmap):
        return _open_map(data, columns, sample_weight, settings)
    if isinstance(data, str | Path) and is_stream(data):
        return _open_parquet(Path(data), columns, sample_weight, settings)
    if _is_dataset(data):
        return _open_dataset(data, columns, sample_weight, settings)
    if _is_dask(data):
        from bayesgmm.data.dask_rows import open_dask

        return open_dask(data, columns, sample_weight, settings)
    raise DataError(
        f"cannot read {type(data).__name__} chunk by chunk; pass a numpy.memmap, the path of a Parquet file, a pyarrow "
        "Dataset, or a Dask array or dataframe"
    )


def _check_missing(missing: str) -> None:
    if missing == "marginalize":
        raise ArgumentError(
            "missing='marginalize' needs all rows in memory, and these are read chunk by chunk; pass missing='drop', "
            "or a table that fits into memory"
        )
    check_choice("missing", missing, ("error", "drop"))


def _is_dataset(data: Any) -> bool:
    """Whether it is an Arrow dataset; asked without importing Arrow, since whoever has one has imported it."""
    arrow = sys.modules.get("pyarrow.dataset")
    return arrow is not None and isinstance(data, arrow.Dataset)


def _is_dask(data: Any) -> bool:
    return type(data).__module__.partition(".")[0] in ("dask", "dask_expr") and hasattr(data, "__dask_graph__")


def _weights_for(sample_weight: ArrayLike, n_rows: int) -> NDArray[Any]:
    """Return weights that are one for each row; what they are is checked with the rows."""
    weights = sample_weight if isinstance(sample_weight, np.ndarray) else np.asarray(sample_weight)
    as_floats(weights[:1] if weights.ndim else weights, "sample_weight")
    if weights.shape != (n_rows,):
        raise DataError(f"sample_weight has shape {weights.shape}; it needs one weight for each of the {n_rows} rows")
    return weights


# -------------------------------------------------------------------- memory maps


@dataclass(frozen=True, repr=False)
class MappedRows(LocalStream):
    """A memory map, cut by the number of rows.

    Parameters
    ----------
    about : About
        What is known without reading.
    array : ndarray, shape (n, columns)
        The map.
    positions : list of int, or None
        Which columns; None stands for all.
    weights : ndarray, shape (n,), or None
        Weights of the rows.
    """

    array: NDArray[Any]
    positions: list[int] | None
    weights: NDArray[Any] | None

    def chunks(self) -> Iterator[Chunk]:
        """Cut the map into views; pages that were read are given back."""
        size, array = chunk_rows(len(self.features)), np.asarray(self.array)
        mapping = _pages_to_release(self.array)
        n_until_release = max(1, _RELEASE_EVERY // (size * array.itemsize * array.shape[1]))
        for number, start in enumerate(range(0, len(array), size)):
            rows = slice(start, start + size)
            values = array[rows] if self.positions is None else array[rows][:, self.positions]
            yield Chunk((number,), values, None if self.weights is None else self.weights[rows])
            if mapping is not None and (number + 1) % n_until_release == 0:
                mapping.madvise(mmap.MADV_DONTNEED)


def _open_map(array: NDArray[Any], columns: Any, sample_weight: Any, settings: dict[str, Any]) -> Stream:
    if array.ndim not in (1, 2):
        raise DataError(f"a table has rows and columns; this map has {array.ndim} dimensions, shape {array.shape}")
    table = array.reshape(len(array), -1)
    if table.shape[1] == 0:
        raise DataError("the table has no columns; it needs at least one numeric column")
    as_floats(np.empty(0, table.dtype), "the memory map")
    if isinstance(sample_weight, str):
        raise ArgumentError(f"sample_weight={sample_weight!r}: a memory map has no named columns; pass an array")
    weights = None if sample_weight is None else _weights_for(sample_weight, len(table))
    names = default_features(table.shape[1])
    positions = None if columns is None else column_positions(columns, names, has_names=False)
    features = names if positions is None else tuple(names[position] for position in positions)
    about = About(features, has_names=False, n_rows=len(table), **settings, what="a memory map")
    return MappedRows(about, table, positions, weights)


def _pages_to_release(array: NDArray[Any]) -> mmap.mmap | None:
    """Return the map behind an array where its pages can be given back; those of a private copy hold its changes."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    is_private = getattr(array, "mode", "c") == "c"
    return base if isinstance(base, mmap.mmap) and not is_private and hasattr(mmap, "MADV_DONTNEED") else None


# -------------------------------------------------------------------- Parquet and Arrow


@dataclass(frozen=True, repr=False)
class ArrowRows(LocalStream):
    """Record batches: of Parquet files, or of an Arrow dataset.

    Parameters
    ----------
    about : About
        What is known without reading.
    source : list of Path, or pyarrow.dataset.Dataset
        What is read.
    weights : ndarray, shape (n,), str or None
        Weights of the rows, or the column that holds them.
    """

    source: Any
    weights: NDArray[Any] | str | None

    def chunks(self) -> Iterator[Chunk]:
        """Read batch after batch; where row groups end, a batch is short."""
        wanted = [*self.features, *([self.weights] if isinstance(self.weights, str) else [])]
        n_read = 0
        for number, batch in enumerate(self._batches(wanted)):
            if not batch.num_rows:
                continue
            columns = [_arrow_column(batch.column(name)) for name in wanted]
            weights = columns.pop() if isinstance(self.weights, str) else None
            if isinstance(self.weights, np.ndarray):
                weights = self.weights[n_read : n_read + batch.num_rows]
            n_read += batch.num_rows
            single = all(is_single(column.dtype) for column in columns)
            yield Chunk(
                (number,), np.stack(columns).astype(np.float32 if single else np.float64, copy=False).T, weights
            )

    def _batches(self, columns: list[str]) -> Iterator[Any]:
        size = chunk_rows(len(columns))
        if not isinstance(self.source, list):
            # Arrow reads ahead by default: sixteen batches of four files.
            yield from self.source.to_batches(columns=columns, batch_size=size, batch_readahead=1, fragment_readahead=1)
            return
        import pyarrow.parquet as pq

        for path in self.source:
            with pq.ParquetFile(path, pre_buffer=False, buffer_size=_PARQUET_BUFFER) as file:
                yield from file.iter_batches(batch_size=size, columns=columns, use_threads=False)


def _open_parquet(path: Path, columns: Any, sample_weight: Any, settings: dict[str, Any]) -> Stream:
    if not path.exists():
        raise DataError(f"there is no file {str(path)!r}")
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in _PARQUET) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{str(path)!r} is a folder without Parquet files")
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise DataError("Parquet needs the package pyarrow: pip install pyarrow, or save the table as CSV") from None
    n_rows, schema = 0, None
    for file in files:
        try:
            with pq.ParquetFile(file) as opened:
                n_rows, found = n_rows + opened.metadata.num_rows, opened.schema_arrow
        except (OSError, ValueError) as error:
            reason = (str(error).splitlines() or [""])[0].rstrip(". ")
            raise DataError(f"{file.name!r} is not a Parquet file, or is damaged ({reason})") from None
        if schema is not None and found.remove_metadata() != schema.remove_metadata():
            raise DataError(f"{file.name!r} has other columns than {files[0].name!r}; they must agree")
        schema = schema or found
    return _open_arrow(files, schema, n_rows, columns, sample_weight, settings, f"Parquet, {path.name}")


def _open_dataset(dataset: Any, columns: Any, sample_weight: Any, settings: dict[str, Any]) -> Stream:
    return _open_arrow(
        dataset, dataset.schema, dataset.count_rows(), columns, sample_weight, settings, "an Arrow dataset"
    )


def _open_arrow(
    source: Any, schema: Any, n_rows: int, columns: Any, sample_weight: Any, settings: dict[str, Any], what: str
) -> Stream:
    names = [name for name in schema.names if name not in _index_columns(schema)]
    refuse_repeated(names)
    if isinstance(sample_weight, str):
        _check_numeric(schema, column_positions(sample_weight, names, has_names=True), names)
        names = [name for name in names if name != sample_weight]
    elif sample_weight is not None:
        sample_weight = _weights_for(sample_weight, n_rows)
    features = tuple(names[position] for position in column_positions(columns, names, has_names=True))
    if not features:
        raise DataError("the table has no columns; it needs at least one numeric column")
    _check_numeric(schema, range(len(features)), features)
    about = About(features, has_names=True, n_rows=n_rows, **settings, what=what)
    return ArrowRows(about, source, sample_weight)


def _index_columns(schema: Any) -> list[Any]:
    """Return the columns in which pandas stored row labels; they are no data."""
    return list((schema.pandas_metadata or {}).get("index_columns", []))


def _check_numeric(schema: Any, positions: Sequence[int], names: Sequence[str]) -> None:
    import pyarrow as pa

    kinds = pa.types
    for position in positions:
        kind = schema.field(names[position]).type
        if not (kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_decimal(kind)):
            raise DataError(
                f"column {names[position]!r} is not numeric (it holds {kind}); name the numeric columns with "
                "open_stream(..., columns=[...]), or convert it"
            )


def _arrow_column(column: Any) -> NDArray[Any]:
    import pyarrow as pa

    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64(), safe=False)
    return column.to_numpy(zero_copy_only=False)
