"""The rows of a PyMC model as the Gibbs kernels want them: complete, with gaps, and with fractional weights.

A row of weight w is floor(w) copies, each with a label and with missing values of its own, and a fractional copy, which
needs an anchor: a mixture near the mode (math.md, 10.9).
"""

import numpy as np
import pymc as pm
from numpy.typing import NDArray

from bayesgmm.bayes.likelihood import Patterns
from bayesgmm.errors import ArgumentError
from bayesgmm.kernels.fractions import Fractions
from bayesgmm.kernels.gaps import Gaps
from bayesgmm.kernels.table import Table
from bayesgmm.mixture import Mixture

__all__ = ["make_table", "table_of"]

Floats = NDArray[np.float64]

#: Rows of a chunk: what they count is added up before it is added to the rest.
CHUNK = 2**14

# An anchor's responsibilities are mixed with equal ones, so that no label is out of reach of a fractional copy: by this
# share, or by this number of rows where that is less. Measured; the posterior does not depend on it.
_SHARE_OF_EQUAL, _ROWS_OF_EQUAL = 0.1, 10
_PATTERNS = ("pattern_members", "pattern_bounds", "pattern_orders", "pattern_n_missing")


def table_of(model: pm.Model, anchor: Mixture | None = None) -> Table:
    """Return the rows of a model for the kernels.

    Parameters
    ----------
    model : pymc.Model
        Made by `build_model`.
    anchor : Mixture, optional
        A single mixture near the mode, standardised units; must be given where weights have fractional parts.

    Returns
    -------
    Table
        Standardised units.

    Raises
    ------
    ArgumentError
        When rows that lack some of their values have fractional weights, or complete ones have and there is no anchor.
    """
    rows, weights = (np.asarray(model[name].get_value(), dtype=float) for name in ("rows", "row_weights"))
    patterns = None
    if _PATTERNS[0] in model.named_vars:
        patterns = Patterns(*(np.asarray(model[name].get_value(), dtype=np.int64) for name in _PATTERNS))
    return make_table(rows, weights, patterns, anchor)


def make_table(
    rows: Floats, weights: Floats | None = None, patterns: Patterns | None = None, anchor: Mixture | None = None
) -> Table:
    """Return rows for the kernels.

    Parameters
    ----------
    rows : ndarray, shape (n, D)
        Rows, standardised units.
    weights : ndarray, shape (n,), optional
        Their weights; by default each counts once.
    patterns : Patterns, optional
        Which columns the rows lack.
    anchor : Mixture, optional
        Must be given where weights have fractional parts.

    Returns
    -------
    Table
        Rows of weight zero, and those that lack everything, have no effect.

    Raises
    ------
    ArgumentError
        When rows that lack some of their values have fractional weights, or complete ones have and there is no anchor.
    """
    weights = np.ones(len(rows)) if weights is None else weights
    whole = np.floor(weights)
    shares = weights - whole
    found = Patterns.of(np.zeros((1, rows.shape[1]))) if patterns is None else patterns
    gaps, n_missing = _gaps_of(rows, whole.astype(np.int64), found)
    is_partial = (n_missing > 0) & (n_missing < rows.shape[1])
    _refuse_fractions_with_gaps(weights[is_partial], shares[is_partial])
    is_complete = n_missing == 0
    copies = np.where(is_complete, whole, 0).astype(np.int64)
    at = np.flatnonzero(is_complete & (shares > 0))
    fractions = Fractions(
        rows[at], shares[at], copies[at], at.astype(np.int64), _log_anchors(rows[at], shares[at], anchor)
    )
    return Table(np.ascontiguousarray(rows, dtype=float), copies, _chunk_bounds(len(rows)), gaps, fractions)


def _chunk_bounds(n: int) -> NDArray[np.int64]:
    """Return where chunks of rows, which are added up one after the other, begin and end."""
    count = max(1, -(-n // CHUNK))
    return np.arange(count + 1, dtype=np.int64) * n // count


def _gaps_of(rows: Floats, copies: NDArray[np.int64], patterns: Patterns) -> tuple[Gaps, NDArray[np.int64]]:
    """Return the rows that lack some of their values, and how many each row lacks."""
    n_missing_of_row, chosen, parts = np.zeros(len(rows), dtype=np.int64), [], [np.empty(0, dtype=np.int64)]
    for pattern in np.flatnonzero(patterns.n_missing):
        positions = patterns.members[patterns.bounds[pattern] : patterns.bounds[pattern + 1]]
        n_missing_of_row[positions] = patterns.n_missing[pattern]
        counting = positions[copies[positions] > 0]
        if patterns.n_missing[pattern] < rows.shape[1] and len(counting):
            chosen.append(pattern)
            parts.append(counting)
    every = np.concatenate(parts)
    ends = np.cumsum([len(part) for part in parts]).astype(np.int64)
    kept = np.array(chosen, dtype=np.int64)
    orders, n_missing = patterns.orders[kept], patterns.n_missing[kept]
    return Gaps(rows[every], copies[every], every, ends, orders, n_missing), n_missing_of_row


def _refuse_fractions_with_gaps(weights: Floats, shares: Floats) -> None:
    """Refuse fractional weights of rows with gaps: a part of a missing value cannot be drawn."""
    found = weights[shares > 0]
    if len(found):
        raise ArgumentError(
            f"sampler='gibbs' fills in missing values of whole copies of rows, and {len(found)} rows that lack values "
            f"have weights that are not whole numbers (the first is {found[0]:g}); use sampler='nuts'"
        )


def _log_anchors(rows: Floats, shares: Floats, anchor: Mixture | None) -> Floats:
    """Return (1 - f) log r, shape (K, m), with r the responsibilities at the anchor, kept away from zero."""
    if len(rows) == 0:
        return np.empty((0, 0))
    if anchor is None:
        raise ArgumentError(
            f"sampler='gibbs' draws labels of {len(rows)} rows whose weights are not whole numbers from a bound that "
            f"touches at a mixture, and there is none; give anchor, a mixture near the mode"
        )
    k = anchor.n_components
    equal = min(_SHARE_OF_EQUAL, _ROWS_OF_EQUAL / len(rows))
    kept = (1.0 - equal) * anchor.responsibilities(rows) + equal / k
    return np.ascontiguousarray(((1.0 - shares[:, None]) * np.log(kept)).T)
