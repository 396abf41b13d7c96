"""Rows with missing values: the E step over what was observed, exactly.

Rows that lack the same columns form a pattern. Within a pattern the observed columns are a complete table, so the
kernel gives their moments as usual; the missing columns enter through the components' regressions on the observed ones
(math.md, 3.9): expected values are linear in the observed ones, and each row adds the component's residual covariance.
So the moments are those of a complete table in expectation, and every M step works on them unchanged. This is maximum
likelihood where values are missing at random (Ghahramani & Jordan 1994; Little & Rubin 2019).

A row without any value says nothing and is left out.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bayesgmm.em.rows import Rows, pack
from bayesgmm.em.statistics import Moments, Parameters, Pass, reduced_scatters
from bayesgmm.kernels import em as kernels

__all__ = ["IncompletePass", "completed"]

Floats = NDArray[np.float64]

# EM steps for one Gaussian, whose moments stand for those of the whole table.
_TOTAL_STEPS = 100
_TOTAL_TOLERANCE = 1e-8


@dataclass(frozen=True)
class _Pattern:
    """Rows that have the same columns: which, and the pass over them."""

    observed: NDArray[np.intp]
    missing: NDArray[np.intp]
    data: Pass


class IncompletePass:
    """A pass over rows with missing values: parameters in, expected moments out.

    Parameters
    ----------
    patterns : tuple
        The rows, pattern by pattern.
    n_features : int
        Number of columns, D.
    """

    def __init__(self, patterns: tuple[_Pattern, ...], n_features: int) -> None:
        self._patterns = patterns
        self.n_features = n_features
        self.total_weight = sum(pattern.data.total_weight for pattern in patterns)
        self.total = self._total_moments()

    @classmethod
    @contextmanager
    def over(cls, Z: Floats, weights: Floats | None, n_threads: int | None = None) -> Iterator["IncompletePass"]:
        """Open a pass over rows (n, D) in which NaN stands for a missing value."""
        present = ~np.isnan(Z)
        kinds, which = np.unique(present, axis=0, return_inverse=True)
        first, *others = [kind for kind in range(len(kinds)) if kinds[kind].any()]

        def rows_of(kind: int) -> tuple[Floats, Floats | None]:
            """Return the rows of a pattern, observed columns only, and their weights."""
            members = which.ravel() == kind
            return Z[members][:, kinds[kind]], None if weights is None else weights[members]

        with Pass.over(pack(*rows_of(first)), n_threads) as opened:
            passes = {first: opened} | {kind: opened.on(pack(*rows_of(kind))) for kind in others}
            patterns = tuple(
                _Pattern(np.flatnonzero(kinds[kind]), np.flatnonzero(~kinds[kind]), data)
                for kind, data in passes.items()
            )
            yield cls(patterns, Z.shape[1])

    def on(self, rows: Rows) -> Pass:
        """Return a pass over other, complete rows that shares the threads."""
        return self._patterns[0].data.on(rows)

    def moments(self, parameters: Parameters, kind: int) -> Moments:
        """Compute log-likelihood of what was observed, and expected moments, at `parameters`.

        Parameters
        ----------
        parameters : Parameters
            Weights, means and covariances.
        kind : int
            Kind of covariance, which decides what scatters are returned.

        Returns
        -------
        Moments
            As those of a complete table.

        Raises
        ------
        numpy.linalg.LinAlgError
            When a covariance is not positive definite.
        """
        parts = [_completed_moments(pattern, parameters) for pattern in self._patterns]
        counts = np.sum([part.counts for part in parts], axis=0)
        means = np.sum([part.counts[:, None] * part.means for part in parts], axis=0) / counts[:, None]
        scatters = np.zeros((len(counts), self.n_features, self.n_features))
        for part in parts:
            offsets = part.means - means
            scatters += part.scatters + part.counts[:, None, None] * offsets[:, :, None] * offsets[:, None, :]
        log_likelihood = sum(part.log_likelihood for part in parts)
        return Moments(float(log_likelihood), counts, means, reduced_scatters(scatters, kind))

    def _total_moments(self) -> Moments:
        """Return the moments of one Gaussian fitted to all rows."""
        d = self.n_features
        point = Parameters(np.ones(1), np.zeros((1, d)), np.eye(d)[None])
        last = -np.inf
        for _ in range(_TOTAL_STEPS):
            moments = self.moments(point, kernels.FULL)
            point = Parameters(np.ones(1), moments.means, moments.scatters / moments.counts[:, None, None])
            if moments.log_likelihood - last <= _TOTAL_TOLERANCE * self.total_weight:
                break
            last = moments.log_likelihood
        return moments


def _completed_moments(pattern: _Pattern, parameters: Parameters) -> Moments:
    """Return the expected moments of the complete rows of a pattern, from those of the observed columns."""
    seen, absent = pattern.observed, pattern.missing
    weights, means, covariances = parameters
    among_seen = covariances[:, seen[:, None], seen]
    found = pattern.data.moments(Parameters(weights, means[:, seen], among_seen), kernels.FULL)
    k, d = means.shape
    cross = covariances[:, absent[:, None], seen]
    slopes = np.linalg.solve(among_seen, cross.transpose(0, 2, 1)).transpose(0, 2, 1)
    completion = np.zeros((k, d, len(seen)))
    completion[:, seen, np.arange(len(seen))] = 1.0
    completion[:, absent] = slopes
    full_means = means + np.einsum("kdo,ko->kd", completion, found.means - means[:, seen])
    scatters = completion @ found.scatters @ completion.transpose(0, 2, 1)
    residual = covariances[:, absent[:, None], absent] - slopes @ cross.transpose(0, 2, 1)
    scatters[:, absent[:, None], absent] += found.counts[:, None, None] * residual
    return Moments(found.log_likelihood, found.counts, full_means, scatters)


def completed(Z: Floats, total: Moments, rng: np.random.Generator) -> Floats:
    """Fill missing values by draws from one Gaussian given what was observed; good enough to start from.

    Parameters
    ----------
    Z : ndarray, shape (n, D)
        Rows; NaN stands for a missing value.
    total : Moments
        Of one Gaussian, from `IncompletePass.total`.
    rng : numpy.random.Generator
        Source of the draws.

    Returns
    -------
    ndarray, shape (n, D)
        Complete rows.
    """
    if not np.isnan(Z).any():
        return Z
    covariance = total.scatters[0] / total.counts[0]
    filled = Z.copy()
    kinds, which = np.unique(np.isnan(Z), axis=0, return_inverse=True)
    for number, is_missing in enumerate(kinds):
        if not is_missing.any():
            continue
        members = np.flatnonzero(which.ravel() == number)
        seen, absent = np.flatnonzero(~is_missing), np.flatnonzero(is_missing)
        slopes = np.linalg.solve(covariance[seen[:, None], seen], covariance[seen[:, None], absent]).T
        residual = covariance[absent[:, None], absent] - slopes @ covariance[seen[:, None], absent]
        noise = rng.standard_normal((len(members), len(absent))) @ np.linalg.cholesky(residual).T
        offsets = Z[np.ix_(members, seen)] - total.means[0, seen]
        filled[np.ix_(members, absent)] = total.means[0, absent] + offsets @ slopes.T + noise
    return filled
