"""What runs where the rows are: labels drawn and counted, log-likelihoods, their derivatives; for some rows at a time.

Each is a pure function of a chunk and of what was sent to it, so that it may run anywhere, and again; it returns sums,
which `plus` adds up. Nothing here needs PyMC, which stays with the process that asked.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayesgmm.bayes.streamed_rows import StandardChunk
from bayesgmm.kernels.conditionals import Parameters
from bayesgmm.kernels.gradient import log_likelihood_and_gradient
from bayesgmm.kernels.labels import allocate, log_likelihoods

__all__ = ["LabelSums", "Points", "Slopes", "count_labels", "slopes_at", "values_at"]

Floats = NDArray[np.float64]

# Rows whose labels are drawn together, and forgotten before the next.
_ROWS_AT_ONCE = 2**18


# -------------------------------------------------------------------- labels


class LabelSums(NamedTuple):
    """What labels count, chain by chain: log-likelihoods (C,), counts (C, K), sums (C, K, D), squares (C, K, D, D)."""

    log_likelihood: Floats
    s0: Floats
    s1: Floats
    s2: Floats

    def plus(self, other: "LabelSums") -> "LabelSums":
        """Add what other rows count."""
        return LabelSums(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


def count_labels(
    rows: StandardChunk, parameters: Parameters, keys: NDArray[np.uint64], *, is_diagonal: bool
) -> LabelSums:
    """Draw the labels of some rows in every chain, and return what they count."""
    chains, k, d = parameters.means.shape
    sums = LabelSums(np.zeros(chains), np.zeros((chains, k)), np.zeros((chains, k, d)), np.zeros((chains, k, d, d)))
    labels = np.empty(min(len(rows.values), _ROWS_AT_ONCE), dtype=np.int16)
    ones = np.ones(len(labels), dtype=np.int64)
    for first in range(0, len(rows.values), _ROWS_AT_ONCE):
        part = slice(first, first + _ROWS_AT_ONCE)
        values = rows.values[part]
        copies = ones if rows.weights is None else rows.weights[part].astype(np.int64)
        for chain in range(chains):
            at = Parameters(*(found[chain] for found in parameters))
            sums.log_likelihood[chain] += allocate(
                values, copies, 0, len(values), rows.number + first, k, is_diagonal, at, keys[chain], labels,
                sums.s0[chain], sums.s1[chain], sums.s2[chain],
            )  # fmt: skip
    return sums


# -------------------------------------------------------------------- log-likelihoods


class Points(NamedTuple):
    """Mixtures for the kernels; which of them are legal."""

    log_weights: Floats
    means: Floats
    factors: Floats
    is_legal: NDArray[np.bool_]

    def part(self, first: int, size: int) -> "Points":
        """Return some of them."""
        chosen = slice(first, first + size)
        return Points(self.log_weights[chosen], self.means[chosen], self.factors[chosen], self.is_legal[chosen])


class Slopes(NamedTuple):
    """Log-likelihoods (S,), and derivatives by log weights, means and factors of precisions."""

    values: Floats
    log_weights: Floats
    means: Floats
    factors: Floats

    def plus(self, other: "Slopes") -> "Slopes":
        """Add those of other rows."""
        return Slopes(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


def slopes_at(rows: StandardChunk, points: Points) -> Slopes:
    """Return log-likelihoods of some rows with their derivatives."""
    weights = _weights(rows)
    found = [
        log_likelihood_and_gradient(rows.values, weights, *point)
        for point in zip(points.log_weights, points.means, points.factors, strict=True)
    ]
    return Slopes(*(np.stack([np.asarray(point[j]) for point in found]) for j in range(4)))


def values_at(rows: StandardChunk, points: Points) -> Floats:
    """Return log-likelihoods (S,) of some rows."""
    found, is_diagonal = np.zeros(len(points.means)), False
    log_likelihoods(rows.values, _weights(rows), *points[:3], is_diagonal, found)
    return found


def _weights(rows: StandardChunk) -> Floats:
    return np.ones(len(rows.values)) if rows.weights is None else rows.weights
