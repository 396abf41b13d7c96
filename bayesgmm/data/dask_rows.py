"""Rows in a Dask array or dataframe: they stay where Dask has them, and only results come here.

Every partition is a task, on whatever scheduler Dask uses: threads of this process, or the workers of a cluster.
Within a task a partition is cut into chunks like any other stream, and results are combined in groups, on the workers
as well, always in the same order.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesgmm.data.chunks import About, Chunk, Kept, Stream, Workers, chunk_rows
from bayesgmm.data.columns import column_positions
from bayesgmm.data.tables import as_floats, read_table
from bayesgmm.errors import ArgumentError, DataError
from bayesgmm.mixture import default_features

__all__ = ["DaskRows", "open_dask"]

# Results that are combined in one task.
_GROUP = 8
# Of the memory that the workers of a cluster have together; Dask starts to spill at 60 %.
_SHARE_OF_WORKERS = 0.3


@dataclass(frozen=True, repr=False)
class DaskRows(Stream):
    """A Dask array or dataframe, partition by partition.

    Parameters
    ----------
    about : About
        What is known without reading.
    partitions : tuple of dask.delayed.Delayed
        The rows of each partition: an array (m, D), or a dataframe with the columns in `names`.
    weights : tuple of Delayed or of ndarray, or None
        Weights of each partition's rows, for arrays.
    names : tuple of str, or None
        For dataframes: the columns, that of the weights last where there is one.
    positions : list of int, or None
        For arrays: which columns; None stands for all.
    """

    partitions: tuple[Any, ...]
    weights: tuple[Any, ...] | None
    names: tuple[str, ...] | None
    positions: list[int] | None

    def fold[Result](
        self, function: Callable[[Chunk], Result], combine: Callable[[Result, Result], Result], workers: Workers
    ) -> Result:
        """Apply a function to every chunk and combine the results in order; see `Stream.fold`."""
        over_partition = _dask().delayed(_fold_partition, pure=False)
        reader = self._reader()
        results = [
            over_partition(function, combine, reader, number, part, weight)
            for number, (part, weight) in enumerate(self._pairs())
        ]
        found = _compute(results, combine)
        if found is None:
            raise DataError("the table has no rows")
        return found

    def kept[Item](self, function: Callable[[Chunk], Item], workers: Workers) -> Kept[Item]:
        """Apply a function to every partition as a whole, and keep the results where they were made."""
        reader, over_partition = self._reader(), _dask().delayed(_whole_partition, pure=False)
        tasks = [
            over_partition(function, reader, number, part, weight)
            for number, (part, weight) in enumerate(self._pairs())
        ]
        return _KeptThere(_dask().persist(*tasks))

    @property
    def n_here(self) -> float:
        """Infinite: the rows stay where Dask has them."""
        return np.inf

    def memory(self, here: int) -> int:
        """Return the bytes that may be kept: a share of the memory of a cluster's workers, or what is here."""
        limits = _worker_limits()
        return here if limits is None else int(_SHARE_OF_WORKERS * sum(limits))

    def _pairs(self) -> Iterator[tuple[Any, Any]]:
        return zip(self.partitions, self.weights or [None] * len(self.partitions), strict=True)

    def _reader(self) -> "_Reader":
        return _Reader(self.names, self.positions, len(self.features))


@dataclass(frozen=True)
class _KeptThere[Item](Kept[Item]):
    """Results in the memory of the workers."""

    items: tuple[Any, ...]

    def fold[Result](
        self, function: Callable[[Item], Result], combine: Callable[[Result, Result], Result], workers: Workers
    ) -> Result:
        """Apply a function to everything that was kept, and combine the results in order."""
        apply = _dask().delayed(_apply, pure=False)
        return _compute([apply(function, item) for item in self.items], combine)


def _dask() -> Any:
    """Return Dask, which is loaded when it is used, and has too few types to be called with any."""
    import dask

    return dask


# -------------------------------------------------------------------- what runs in a task


@dataclass(frozen=True)
class _Reader:
    """How a partition becomes an array and weights."""

    names: tuple[str, ...] | None
    positions: list[int] | None
    n_features: int

    def read(self, part: Any, weights: Any) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Return the rows and the weights of a partition."""
        if self.names is None:
            array = np.asarray(part).reshape(len(part), -1)
            chosen = array if self.positions is None else array[:, self.positions]
            return chosen, None if weights is None else np.asarray(weights)
        values = read_table(part, self.names).values
        has_weights = len(self.names) > self.n_features
        return values[:, : self.n_features], values[:, -1] if has_weights else None


def _fold_partition(
    function: Callable[[Chunk], Any],
    combine: Callable[[Any, Any], Any],
    reader: _Reader,
    number: int,
    part: Any,
    w: Any,
) -> Any:
    """Cut a partition into chunks and combine their results; None where it has no rows."""
    values, weights = reader.read(part, w)
    size = chunk_rows(reader.n_features)
    results = (
        function(Chunk((number, start), values[start : start + size],
                       None if weights is None else weights[start : start + size]))
        for start in range(0, len(values), size)
    )  # fmt: skip
    return _combined(combine, results)


def _whole_partition(function: Callable[[Chunk], Any], reader: _Reader, number: int, part: Any, w: Any) -> Any:
    values, weights = reader.read(part, w)
    return function(Chunk((number,), values, weights)) if len(values) else None


def _apply(function: Callable[[Any], Any], item: Any) -> Any:
    return None if item is None else function(item)


def _combined(combine: Callable[[Any, Any], Any], results: Any) -> Any:
    """Combine results in order; None stands for no rows."""
    found = [result for result in results if result is not None]
    return reduce(combine, found) if found else None


def _compute(results: list[Any], combine: Callable[[Any, Any], Any]) -> Any:
    """Combine results in groups on the workers, until one is left; bring that one here."""
    combined = _dask().delayed(_combined, pure=False)
    while len(results) > 1:
        results = [combined(combine, results[i : i + _GROUP]) for i in range(0, len(results), _GROUP)]
    return _dask().compute(results[0])[0]


# -------------------------------------------------------------------- opening


def open_dask(data: Any, columns: Any, sample_weight: Any, settings: dict[str, Any]) -> Stream:
    """Open a Dask collection; see `open_stream`.

    Parameters
    ----------
    data : dask.array.Array, dask.dataframe.DataFrame or Series
        The rows.
    columns : sequence of str, or None
        Which columns.
    sample_weight : dask.array.Array, array_like, str or None
        The weights.
    settings : dict
        ``missing`` and ``scale``.

    Returns
    -------
    Stream
        The rows.

    Raises
    ------
    DataError
        When it is not a table of numbers.
    ArgumentError
        When the weights do not go with it.
    """
    if hasattr(data, "to_frame") and data.ndim == 1:
        data = data.to_frame()
    if hasattr(data, "columns"):
        return _open_frame(data, columns, sample_weight, settings)
    if hasattr(data, "chunks"):
        return _open_array(data, columns, sample_weight, settings)
    raise DataError(f"cannot read a table from Dask's {type(data).__name__}; pass an array or a dataframe")


def _open_array(data: Any, columns: Any, sample_weight: Any, settings: dict[str, Any]) -> Stream:
    if data.ndim not in (1, 2):
        raise DataError(f"a table has rows and columns; this array has {data.ndim} dimensions, shape {data.shape}")
    table = data[:, None] if data.ndim == 1 else data
    if np.isnan(table.shape[1]) or table.shape[1] == 0:
        raise DataError(f"the Dask array has {table.shape[1]} columns; their number must be known and positive")
    as_floats(np.empty(0, table.dtype), "the Dask array")
    table = table.rechunk({1: -1})
    names = default_features(table.shape[1])
    positions = None if columns is None else column_positions(columns, names, has_names=False)
    features = names if positions is None else tuple(names[position] for position in positions)
    n_rows = None if np.isnan(table.shape[0]) else int(table.shape[0])
    about = About(features, has_names=False, n_rows=n_rows, **settings, what="a Dask array")
    weights = _weights_of_partitions(sample_weight, table.chunks[0], n_rows)
    return DaskRows(about, tuple(table.to_delayed().ravel()), weights, None, positions)


def _weights_of_partitions(sample_weight: Any, sizes: tuple[float, ...], n_rows: int | None) -> tuple[Any, ...] | None:
    """Cut weights like the rows."""
    if sample_weight is None:
        return None
    if isinstance(sample_weight, str):
        raise ArgumentError(f"sample_weight={sample_weight!r}: a Dask array has no named columns; pass an array")
    if hasattr(sample_weight, "to_delayed") and (n_rows is None or sample_weight.chunks[0] == sizes):
        parts = tuple(sample_weight.to_delayed().ravel())
        if len(parts) != len(sizes):
            raise DataError(f"sample_weight has {len(parts)} chunks; the rows have {len(sizes)}")
        return parts
    if n_rows is None:
        raise ArgumentError(
            "the chunks of the Dask array have unknown sizes; pass sample_weight as a Dask array with the same chunks, "
            "or call compute_chunk_sizes() first"
        )
    if sample_weight.shape != (n_rows,) if hasattr(sample_weight, "shape") else len(sample_weight) != n_rows:
        raise DataError(f"sample_weight needs one weight for each of the {n_rows} rows")
    if hasattr(sample_weight, "to_delayed"):
        return tuple(sample_weight.rechunk((sizes,)).to_delayed().ravel())
    as_array = np.asarray(sample_weight)
    as_floats(as_array[:1], "sample_weight")
    return tuple(np.split(as_array, np.cumsum(sizes)[:-1].astype(np.intp)))


def _open_frame(data: Any, columns: Any, sample_weight: Any, settings: dict[str, Any]) -> Stream:
    if sample_weight is not None and not isinstance(sample_weight, str):
        raise ArgumentError(
            "for a Dask dataframe sample_weight is the name of a column; add the weights with data.assign(w=...)"
        )
    # Dask knows the columns and their types from an empty frame, which is read like any other.
    empty = data._meta  # noqa: SLF001
    names = [str(name) for name in empty.columns]
    wanted = columns
    if columns is None and sample_weight is not None:
        wanted = [name for name in names if name != sample_weight]
    features = read_table(empty, wanted).features
    if sample_weight is not None:
        read_table(empty, sample_weight)
    extra = () if sample_weight is None else (sample_weight,)
    about = About(features, has_names=True, n_rows=None, **settings, what="a Dask dataframe")
    return DaskRows(about, tuple(data.to_delayed()), None, (*features, *extra), None)


def _worker_limits() -> list[int] | None:
    """Return the memory of the workers of the cluster that Dask uses; None where it uses this process."""
    try:
        from distributed import get_client
    except ImportError:
        return None
    try:
        client = get_client()
    except ValueError:
        return None
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return [int(worker["memory_limit"]) for worker in workers]
