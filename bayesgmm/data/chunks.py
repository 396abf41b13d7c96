"""Rows that are read chunk by chunk: what a stream is, whatever it reads.

A stream knows its columns and gives its rows in chunks, again and again, always in the same order and cut in the same
places, so that a sum over the chunks does not depend on threads. Whatever is wanted of the rows is a function of a
chunk and a rule that combines two results (`Stream.fold`): so the same code runs here and on the workers of a Dask
cluster, where the rows stay. Nothing is decided here about what the numbers mean: `Survey` checks them, in one first
pass.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayesgmm.data.tables import Table, as_floats, is_single
from bayesgmm.errors import DataError
from bayesgmm.showing import Shown, name_some

__all__ = ["About", "Chunk", "Kept", "LocalStream", "Stream", "Workers", "chunk_rows"]

Floats = NDArray[np.float64]

# A chunk is about this large: small enough for the caches, large enough for what a chunk costs besides its rows.
_CHUNK_BYTES = 2**21
_ROWS_PER_STEP = 1024
# Chunks that are under way beyond those that are being worked on.
_AHEAD = 2


class Chunk(NamedTuple):
    """Some rows in a row.

    Parameters
    ----------
    number : tuple of int
        Which chunk it is, whoever reads it.
    values : ndarray, shape (m, D)
        The rows, user's units, of any real type; missing values are NaN.
    weights : ndarray, shape (m,), or None
        Their weights.
    """

    number: tuple[int, ...]
    values: NDArray[Any]
    weights: NDArray[Any] | None


@dataclass(frozen=True)
class Workers:
    """Threads to work on chunks; without a pool there is only this one.

    Parameters
    ----------
    pool : ThreadPoolExecutor or None
        The threads.
    count : int
        How many there are.
    """

    pool: ThreadPoolExecutor | None = None
    count: int = 1

    def results[Item, Result](self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Apply a function to items and give the results in their order, with few items in memory at a time."""
        if self.pool is None:
            yield from map(function, items)
            return
        waiting: deque[Any] = deque()
        try:
            for item in items:
                waiting.append(self.pool.submit(function, item))
                if len(waiting) >= self.count + _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class Kept[Item](ABC):
    """What was made of every chunk, kept in memory where it was made."""

    @abstractmethod
    def fold[Result](
        self, function: Callable[[Item], Result], combine: Callable[[Result, Result], Result], workers: Workers
    ) -> Result:
        """Apply a function to everything that was kept, and combine the results in order."""


@dataclass(frozen=True)
class About:
    """What a stream is, as far as it is known without reading it.

    Parameters
    ----------
    features : tuple of str
        Column names.
    has_names : bool
        Whether the columns came with names.
    n_rows : int or None
        Number of rows before any are left out; None where only reading tells.
    missing : {"error", "drop"}
        What becomes of rows with missing values.
    scale : str
        How the fits scale the columns; see `prepare`.
    what : str
        What is read, in words.
    """

    features: tuple[str, ...]
    has_names: bool
    n_rows: int | None
    missing: str
    scale: str
    what: str


@dataclass(frozen=True)
class Stream(Shown, ABC):
    """Rows that are read chunk by chunk.

    Parameters
    ----------
    about : About
        What is known without reading.
    """

    about: About

    @property
    def features(self) -> tuple[str, ...]:
        """Column names."""
        return self.about.features

    @abstractmethod
    def fold[Result](
        self, function: Callable[[Chunk], Result], combine: Callable[[Result, Result], Result], workers: Workers
    ) -> Result:
        """Apply a function to every chunk that has rows, and combine the results in order.

        Parameters
        ----------
        function : callable
            Of a `Chunk`; pure, since it may run in another thread or process.
        combine : callable
            Of two results of neighbouring chunks; associative.
        workers : Workers
            Where it runs, unless the stream has workers of its own.

        Returns
        -------
        object
            The combination of all results.

        Raises
        ------
        DataError
            When there are no rows.
        """

    @abstractmethod
    def kept[Item](self, function: Callable[[Chunk], Item], workers: Workers) -> Kept[Item]:
        """Apply a function to every chunk that has rows, and keep the results in memory.

        Parameters
        ----------
        function : callable
            Of a `Chunk`; pure.
        workers : Workers
            Where it runs, unless the stream has workers of its own.

        Returns
        -------
        Kept
            The results, to be folded as often as wanted.
        """

    @property
    @abstractmethod
    def n_here(self) -> float:
        """Number of rows that would be read into this process; infinite where they are to stay elsewhere."""

    @abstractmethod
    def memory(self, here: int) -> int:
        """Return the bytes that may be kept of this stream.

        Parameters
        ----------
        here : int
            Bytes that may be taken by this process.

        Returns
        -------
        int
            Bytes, wherever they are kept.
        """

    def read(self) -> Table:
        """Read all rows into memory; those of single precision stay so.

        Returns
        -------
        Table
            Values (n, D), user's units.
        """
        parts = self.fold(_as_parts, lambda first, second: first + second, Workers())
        values = np.concatenate([chunk.values for chunk in parts])
        values = np.ascontiguousarray(values, dtype=np.float32 if is_single(values.dtype) else np.float64)
        return Table(values, self.features, np.arange(len(values)), self.about.has_names)

    def read_weights(self) -> Floats | None:
        """Read the weights of all rows into memory.

        Returns
        -------
        ndarray, shape (n,), or None
            The weights; None where there are none.
        """
        parts = self.fold(_weights_of, lambda first, second: first + second, Workers())
        return None if parts[0] is None else as_floats(np.concatenate(parts), "sample_weight")

    def __repr__(self) -> str:
        rows = "an unknown number of rows" if self.about.n_rows is None else f"{self.about.n_rows} rows"
        return f"{self.about.what}: {rows} x {len(self.features)} columns: {name_some(self.features)}"


def _as_parts(chunk: Chunk) -> list[Chunk]:
    # A view of a map must not outlive the pass: the pages behind it are given back.
    return [chunk._replace(values=np.array(chunk.values))]


def _weights_of(chunk: Chunk) -> list[Any]:
    return [None if chunk.weights is None else np.array(chunk.weights)]


def chunk_rows(n_features: int) -> int:
    """Return the number of rows of a chunk.

    Parameters
    ----------
    n_features : int
        Number of columns, D.

    Returns
    -------
    int
        So many that they take about two megabytes.
    """
    return _ROWS_PER_STEP * max(1, _CHUNK_BYTES // (8 * n_features * _ROWS_PER_STEP))


# -------------------------------------------------------------------- streams that this process reads


@dataclass(frozen=True)
class _KeptHere[Item](Kept[Item]):
    """Results in a list."""

    items: list[Item]

    def fold[Result](
        self, function: Callable[[Item], Result], combine: Callable[[Result, Result], Result], workers: Workers
    ) -> Result:
        """Apply a function to everything that was kept, and combine the results in order."""
        return reduce(combine, workers.results(function, self.items))


class LocalStream(Stream):
    """A stream that this process reads."""

    @abstractmethod
    def chunks(self) -> Iterator[Chunk]:
        """Read the chunks, one after the other."""

    def fold[Result](
        self, function: Callable[[Chunk], Result], combine: Callable[[Result, Result], Result], workers: Workers
    ) -> Result:
        """Apply a function to every chunk and combine the results in order; see `Stream.fold`."""
        results = workers.results(function, self.chunks())
        for first in results:
            return reduce(combine, results, first)
        raise DataError("the table has no rows")

    def kept[Item](self, function: Callable[[Chunk], Item], workers: Workers) -> Kept[Item]:
        """Apply a function to every chunk, and keep the results in a list."""
        return _KeptHere(list(workers.results(function, self.chunks())))

    @property
    def n_here(self) -> float:
        """Number of rows."""
        return float(self.about.n_rows or 0)

    def memory(self, here: int) -> int:
        """Return the bytes that may be kept: those that this process may take."""
        return here
