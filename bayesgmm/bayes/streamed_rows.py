"""Rows that are read chunk by chunk, as the samplers want them: standardised, numbered, kept where they fit.

What is needed of all rows in advance, their ranges and moments, comes from a survey. The model is built of two rows in
their place, the lowest and the highest values, which have no weight: so it is the prior, with the numbers that it would
have if all rows were there, and a PyMC model like any other. The likelihood is added up over the chunks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayesgmm.data import PreparedData, Scaling
from bayesgmm.data.chunks import Chunk, Stream, Workers
from bayesgmm.data.survey import Survey
from bayesgmm.errors import ArgumentError
from bayesgmm.structure import CovarianceStructure

__all__ = ["StandardChunk", "StreamedRows", "prior_rows", "row_numbers"]

Floats = NDArray[np.float64]


class StandardChunk(NamedTuple):
    """Rows in a row, standardised units.

    Parameters
    ----------
    number : int
        The number of the first of them among all rows.
    values : ndarray, shape (m, D)
        The rows; zeros where a row is left out.
    weights : ndarray, shape (m,), or None
        Their weights, zero for rows that are left out; None stands for ones.
    """

    number: int
    values: Floats
    weights: Floats | None


class StreamedRows:
    """Standardised rows of a stream, read again for every pass or kept where they were read.

    Parameters
    ----------
    stream : Stream
        The rows, user's units.
    found : Survey
        What is known of them.
    scaling : Scaling
        The change of units.
    workers : Workers
        Threads.
    room : int
        Bytes that standardised rows may take; where they need more, every pass reads the stream again.
    numbers : ndarray of int, optional
        From `row_numbers`, where rows are to be numbered.
    """

    def __init__(
        self,
        stream: Stream,
        found: Survey,
        scaling: Scaling,
        workers: Workers,
        room: int,
        numbers: NDArray[np.int64] | None = None,
    ) -> None:
        self._workers = workers
        self._make = partial(_standard, scaling=scaling, is_clean=found.is_clean, numbers=numbers)
        #: Whether the rows are kept in memory.
        self.is_kept = 8 * found.n_read * (len(stream.features) + 1) <= room
        self._rows: Any = stream.kept(self._make, workers) if self.is_kept else stream

    def fold[Result](
        self, function: Callable[[StandardChunk], Result], combine: Callable[[Result, Result], Result]
    ) -> Result:
        """Apply a function to all rows, some at a time, where they are; combine the results in order.

        Parameters
        ----------
        function : callable
            Of a `StandardChunk`; pure, since it may run in another process, and again where that is lost.
        combine : callable
            Of two results; associative.

        Returns
        -------
        object
            The combination of all results.
        """
        of_items = function if self.is_kept else partial(_of_standard, make=self._make, function=function)
        found: Result = self._rows.fold(of_items, combine, self._workers)
        return found


def _standard(chunk: Chunk, scaling: Scaling, *, is_clean: bool, numbers: NDArray[np.int64] | None) -> StandardChunk:
    values = np.ascontiguousarray(scaling.standardize(chunk.values))
    weights = None if chunk.weights is None else np.array(chunk.weights, dtype=np.float64)
    if not is_clean:
        is_incomplete = np.isnan(values).any(axis=1)
        values[is_incomplete] = 0.0
        weights = np.ones(len(values)) if weights is None else weights
        weights[is_incomplete] = 0.0
    part, *within = chunk.number
    return StandardChunk(sum(within) + (0 if numbers is None else int(numbers[part])), values, weights)


def _of_standard(chunk: Chunk, make: Callable[[Chunk], StandardChunk], function: Callable[[StandardChunk], Any]) -> Any:
    return function(make(chunk))


# -------------------------------------------------------------------- numbers of rows


class _Counted(NamedTuple):
    """Rows by part of the stream, and weights that are not whole numbers."""

    sizes: dict[int, int]
    n_fractional: int
    first_fractional: float

    def plus(self, other: "_Counted") -> "_Counted":
        """Add the rows that follow."""
        sizes = self.sizes | {part: self.sizes.get(part, 0) + size for part, size in other.sizes.items()}
        first = self.first_fractional if self.n_fractional else other.first_fractional
        return _Counted(sizes, self.n_fractional + other.n_fractional, first)


def row_numbers(stream: Stream, workers: Workers) -> NDArray[np.int64]:
    """Count the rows of each part of a stream, and refuse weights that are not whole numbers.

    Parameters
    ----------
    stream : Stream
        The rows.
    workers : Workers
        Threads.

    Returns
    -------
    ndarray of int64, shape (parts,)
        The number of the first row of each chunk, or partition, among all rows; rows that are left out count.

    Raises
    ------
    ArgumentError
        When a weight is not a whole number.
    """
    found = stream.fold(_count, _Counted.plus, workers)
    if found.n_fractional:
        raise ArgumentError(
            f"sampler='gibbs' gives each copy of a row a label, and {found.n_fractional} rows have weights that are "
            f"not whole numbers (the first is {found.first_fractional:g}); use sampler='laplace'"
        )
    sizes = np.zeros(max(found.sizes) + 1, dtype=np.int64)
    sizes[list(found.sizes)] = list(found.sizes.values())
    return np.asarray(np.cumsum(sizes) - sizes)


def _count(chunk: Chunk) -> _Counted:
    sizes = {chunk.number[0]: len(chunk.values)}
    if chunk.weights is None:
        return _Counted(sizes, 0, 0.0)
    weights = np.asarray(chunk.weights, dtype=np.float64)
    fractional = weights[weights != np.rint(weights)]
    return _Counted(sizes, len(fractional), float(fractional[0]) if len(fractional) else 0.0)


# -------------------------------------------------------------------- rows for the model


@dataclass(frozen=True, eq=False)
class _PriorRows(PreparedData):
    """The lowest and the highest values of each column, of weight zero."""

    found: Survey | None = None

    def scaling(self, structure: CovarianceStructure) -> Scaling:
        """Return the change of units that goes with all rows."""
        return super().scaling(structure) if self.found is None else self.found.scaling(self.scale, structure)

    def check_components(self, n_components: int) -> None:
        """Refuse nothing: whether there are enough rows is seen from a sample of all."""


def prior_rows(found: Survey, stream: Stream) -> PreparedData:
    """Return rows of which `build_model` makes the prior that goes with all rows of a stream.

    Parameters
    ----------
    found : Survey
        What is known of the rows.
    stream : Stream
        What was surveyed.

    Returns
    -------
    PreparedData
        Two rows without weight, whose ranges and change of units are those of all rows.
    """
    values = np.stack([found.moments.lowest, found.moments.highest]).astype(np.float64)
    return _PriorRows(values, stream.features, np.arange(2), np.zeros(2), stream.about.scale, found=found)
