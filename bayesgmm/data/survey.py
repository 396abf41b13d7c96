"""The first pass over a stream: everything that must be known of the rows before a fit.

Counts of what is missing, infinite or wrongly weighted, with the first rows where it is so; extremes, moments; and a
random sample. Each is a sum over chunks, so a survey of a chunk and a survey of a cluster are the same thing. The
sample needs no number of rows in advance: every row draws a number, and the rows with the smallest numbers are it.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesgmm.data.checks import describe_values, refuse_bad_weights, refuse_constant
from bayesgmm.data.chunks import Chunk, Stream, Workers
from bayesgmm.data.moments import scaling_from_moments
from bayesgmm.data.prepare import PreparedData
from bayesgmm.data.scaling import Scaling
from bayesgmm.data.tables import as_floats
from bayesgmm.errors import DataError
from bayesgmm.structure import CovarianceStructure

__all__ = ["Survey", "clean", "survey"]

Floats = NDArray[np.float64]

# Rows that are named in a message.
_NAMED = 6


@dataclass(frozen=True)
class _Finding:
    """How often something is so in each column, and the first rows where it is."""

    counts: NDArray[np.int64]
    rows: tuple[NDArray[np.int64], ...]

    @classmethod
    def of(cls, flags: NDArray[np.bool_]) -> "_Finding":
        """Look for it in a chunk; flags (m, D)."""
        counts = flags.sum(axis=0)
        none = np.empty(0, dtype=np.int64)
        return cls(
            counts, tuple(np.flatnonzero(flags[:, j])[:_NAMED] if counts[j] else none for j in range(len(counts)))
        )

    def plus(self, other: "_Finding", offset: int) -> "_Finding":
        """Add what was found in rows that begin `offset` rows later."""
        rows = tuple(
            np.concatenate([mine, offset + theirs])[:_NAMED] for mine, theirs in zip(self.rows, other.rows, strict=True)
        )
        return _Finding(self.counts + other.counts, rows)

    def describe(self, j: int, name: str, what: str) -> str:
        """Return it for a column in words."""
        return describe_values(name, int(self.counts[j]), what, self.rows[j])


@dataclass(frozen=True)
class _Drawn:
    """Rows with the numbers that they drew."""

    keys: Floats
    positions: NDArray[np.int64]
    values: NDArray[Any]
    weights: Floats | None

    def __getitem__(self, chosen: NDArray[np.intp] | NDArray[np.bool_] | slice) -> "_Drawn":
        weights = None if self.weights is None else self.weights[chosen]
        return _Drawn(self.keys[chosen], self.positions[chosen], self.values[chosen], weights)

    @classmethod
    def join(cls, parts: tuple["_Drawn", ...]) -> "_Drawn":
        """Join rows."""
        weights = None if parts[0].weights is None else np.concatenate([part.weights for part in parts])
        return cls(
            np.concatenate([part.keys for part in parts]), np.concatenate([part.positions for part in parts]),
            np.concatenate([part.values for part in parts]), weights,
        )  # fmt: skip


@dataclass(frozen=True)
class _Sample:
    """The rows with the smallest numbers so far: at least `size` of them, and about twice that at most."""

    size: int
    parts: tuple[_Drawn, ...]
    count: int
    threshold: float = np.inf

    def plus(self, other: "_Sample", offset: int) -> "_Sample":
        """Add the rows of a sample that begins `offset` rows later."""
        threshold = min(self.threshold, other.threshold)
        entering = []
        for part in other.parts:
            below = part.keys < threshold
            if below.any():
                entering.append(replace(part[below], positions=offset + part.positions[below]))
        count = self.count + sum(len(part.keys) for part in entering)
        joined = _Sample(self.size, (*self.parts, *entering), count, threshold)
        return joined if count <= 2 * self.size else joined.pruned()

    def pruned(self) -> "_Sample":
        """Return the sample with no more rows than asked for."""
        drawn = _Drawn.join(self.parts)
        if len(drawn.keys) <= self.size:
            return replace(self, parts=(drawn,), count=len(drawn.keys))
        smallest = np.argpartition(drawn.keys, self.size - 1)[: self.size]
        kept = drawn[smallest]
        return _Sample(self.size, (kept,), self.size, float(kept.keys.max(initial=0.0)))


@dataclass(frozen=True)
class _Moments:
    """Weighted mean and sums of squares around it, and extremes."""

    weight: float
    mean: Floats
    scatter: Floats
    lowest: Floats
    highest: Floats

    @classmethod
    def of(cls, values: Floats, weights: Floats | None) -> "_Moments":
        """Compute them for some rows; around their own mean, so that an offset costs no digits."""
        d = values.shape[1]
        if not len(values):
            return cls(0.0, np.zeros(d), np.zeros((d, d)), np.full(d, np.inf), np.full(d, -np.inf))
        total = float(len(values) if weights is None else weights.sum())
        mean = values[0] + np.average(values - values[0], axis=0, weights=weights)
        centred = values - mean
        scatter = (centred.T if weights is None else centred.T * weights) @ centred
        return cls(total, mean, scatter, values.min(axis=0), values.max(axis=0))

    def plus(self, other: "_Moments") -> "_Moments":
        """Add other rows (Chan, Golub & LeVeque 1983)."""
        total = self.weight + other.weight
        if total == 0.0:
            return self
        gap, share = other.mean - self.mean, other.weight / total
        if self.weight == 0.0:
            gap, share = other.mean, 1.0
            scatter = other.scatter
        else:
            scatter = self.scatter + other.scatter + self.weight * share * np.outer(gap, gap)
        mean = (self.mean if self.weight else np.zeros_like(gap)) + share * gap
        return _Moments(
            total, mean, scatter, np.minimum(self.lowest, other.lowest), np.maximum(self.highest, other.highest)
        )


@dataclass(frozen=True)
class Survey:
    """What the first pass over a stream found.

    Parameters
    ----------
    n_read : int
        Rows that were read.
    n_rows : int
        Rows that can be fitted: complete, and of positive weight.
    n_incomplete : int
        Rows with missing values.
    missing, infinite : _Finding
        Where, column by column.
    moments : _Moments
        Of the rows that can be fitted, user's units.
    lowest_weight : float
        The smallest weight; 1 where there are none.
    n_bad_weights : int
        Weights that are NaN or infinite.
    sample : _Sample
        Random rows of those that can be fitted.
    """

    n_read: int
    n_rows: int
    n_incomplete: int
    missing: _Finding
    infinite: _Finding
    moments: _Moments
    lowest_weight: float
    n_bad_weights: int
    sample: _Sample

    def plus(self, other: "Survey") -> "Survey":
        """Add the survey of the rows that follow."""
        return Survey(
            self.n_read + other.n_read, self.n_rows + other.n_rows, self.n_incomplete + other.n_incomplete,
            self.missing.plus(other.missing, self.n_read), self.infinite.plus(other.infinite, self.n_read),
            self.moments.plus(other.moments), min(self.lowest_weight, other.lowest_weight),
            self.n_bad_weights + other.n_bad_weights, self.sample.plus(other.sample, self.n_read),
        )  # fmt: skip

    @property
    def total_weight(self) -> float:
        """Sum of the weights."""
        return self.moments.weight

    @property
    def is_clean(self) -> bool:
        """Whether no row that is read has to be left out; rows of weight zero have no effect anyhow."""
        return self.n_incomplete == 0

    def scaling(self, scale: str, structure: CovarianceStructure) -> Scaling:
        """Return the change of units under which a fit runs, as `PreparedData.scaling` does."""
        variances = np.diagonal(self.moments.scatter) / self.moments.weight
        return scaling_from_moments(self.moments.mean, variances, scale, structure)

    def sampled(self, stream: Stream, n: int | None = None) -> PreparedData:
        """Return a random sample of the rows, or all of them where there are no more.

        Parameters
        ----------
        stream : Stream
            What was surveyed.
        n : int, optional
            How many rows. Default all that were drawn.

        Returns
        -------
        PreparedData
            The rows in their order, with their numbers as labels.
        """
        drawn = self.sample.pruned().parts[0]
        chosen = np.argsort(drawn.keys)[:n]
        drawn = drawn[chosen[np.argsort(drawn.positions[chosen])]]
        for array in (drawn.values, drawn.weights):
            if array is not None:
                array.setflags(write=False)
        return PreparedData(
            drawn.values, stream.features, drawn.positions, drawn.weights, stream.about.scale, self.n_incomplete
        )

    def check(self, stream: Stream) -> None:
        """Refuse rows that cannot be fitted, as `prepare` does.

        Parameters
        ----------
        stream : Stream
            What was surveyed.

        Raises
        ------
        DataError
            When values are missing or infinite, a column is constant, or weights are no weights.
        """
        features = stream.features
        refuse_bad_weights(self.n_bad_weights)
        if self.lowest_weight < 0:
            raise DataError(f"sample_weight must not be negative; the smallest is {self.lowest_weight:g}")
        if self.infinite.counts.any():
            j = int(np.argmax(self.infinite.counts > 0))
            raise DataError(f"{self.infinite.describe(j, features[j], 'infinite value')}; replace or remove them")
        if self.n_incomplete and stream.about.missing == "error":
            found = [
                self.missing.describe(j, features[j], "missing value") for j in np.flatnonzero(self.missing.counts)[:5]
            ]
            raise DataError(f"{'; '.join(found)}; pass missing='drop' to leave these rows out, or fill them")
        if self.n_incomplete == self.n_read:
            raise DataError("every row has a missing value; nothing is left with missing='drop'")
        if not self.n_rows:
            raise DataError("every sample_weight is zero; at least one row must count")
        if not np.isfinite(self.total_weight):
            raise DataError("the sum of sample_weight overflows; divide by a constant")
        refuse_constant(self.moments.lowest, self.moments.highest, self.n_rows, features)


def survey(stream: Stream, n_sample: int, seed: int, workers: Workers) -> Survey:
    """Read a stream once.

    Parameters
    ----------
    stream : Stream
        The rows.
    n_sample : int
        Rows of the sample.
    seed : int
        Seed of the sample; with it, and the chunks of the stream, the sample is settled.
    workers : Workers
        Where it runs.

    Returns
    -------
    Survey
        What was found, not judged yet; see `Survey.check`.

    Raises
    ------
    DataError
        When there are no rows.
    """
    return stream.fold(partial(_survey_chunk, n_sample=n_sample, seed=seed), Survey.plus, workers)


def _survey_chunk(chunk: Chunk, n_sample: int, seed: int) -> Survey:
    values = np.asarray(chunk.values)
    is_missing, is_infinite = np.isnan(values), np.isinf(values)
    weights = None if chunk.weights is None else as_floats(np.asarray(chunk.weights), "sample_weight")
    is_usable = ~(is_missing | is_infinite).any(axis=1)
    n_bad, lowest = 0, 1.0
    if weights is not None:
        n_bad, lowest = int(np.sum(~np.isfinite(weights))), float(np.nanmin(weights, initial=np.inf))
        is_usable &= weights > 0
        weights = weights[is_usable]
    positions = np.flatnonzero(is_usable)
    rows = values if len(positions) == len(values) else values[positions]
    kept = np.array(rows, dtype=np.float32 if values.dtype == np.float32 else np.float64)
    drawn = _Drawn(np.random.default_rng([seed, *chunk.number]).random(len(positions)), positions, kept, weights)
    return Survey(
        len(values), len(positions), int(is_missing.any(axis=1).sum()), _Finding.of(is_missing),
        _Finding.of(is_infinite), _Moments.of(kept.astype(np.float64, copy=False), weights), lowest, n_bad,
        _Sample(n_sample, (drawn,), len(positions)),
    )  # fmt: skip


def clean(chunk: Chunk) -> Chunk:
    """Return the complete rows of a chunk.

    Parameters
    ----------
    chunk : Chunk
        Rows, perhaps with missing values.

    Returns
    -------
    Chunk
        Those without.
    """
    keep = ~np.isnan(chunk.values).any(axis=1)
    return chunk._replace(
        values=chunk.values[keep], weights=None if chunk.weights is None else np.asarray(chunk.weights)[keep]
    )
