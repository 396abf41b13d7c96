"""What is drawn: an estimate, draws, or a comparison of both, read in one place.

Every picture takes a `MixtureFit` or a `Comparison` and asks a `Subject` for the parts that it shows: the point
estimate where there is one, the draws where there are some. A comparison's estimate has its components in the
posterior's order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.comparison import Comparison
from bayesgmm.errors import ArgumentError
from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.checks import check_prob
from bayesgmm.posterior.memberships import memberships

__all__ = ["Subject", "read_subject", "thin"]

Floats = NDArray[np.float64]

#: Rows that are drawn one by one; a larger table is thinned evenly.
MAX_POINTS = 5000
#: Rows times draws that memberships are computed from, and the draws that are always used: seconds, not minutes.
WORK = 2 * 10**7
MIN_DRAWS = 200


@dataclass(frozen=True, eq=False)
class Subject:
    """The fits that a picture shows.

    Parameters
    ----------
    main : MixtureFit
        The draws where there are some, the estimate otherwise; it decides on memberships and labels.
    estimate : Mixture or None
        A point estimate, its components in the order of `main`.
    comparison : Comparison or None
        The comparison, where one is drawn.
    """

    main: MixtureFit
    estimate: Mixture | None
    comparison: Comparison | None = None

    @property
    def has_draws(self) -> bool:
        """Whether there are posterior draws."""
        return self.main.has_draws

    @property
    def label_note(self) -> str:
        """What a picture of single components must say where labels are doubtful; otherwise empty."""
        diagnostics = self.main.info.diagnostics
        if not (self.has_draws and diagnostics.get("labels_are_doubtful")):
            return ""
        share = diagnostics.get("ambiguous_share", np.nan)
        return f"components cannot be told apart in {share:.0%} of the draws"

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns."""
        return self.main.features

    @property
    def n_components(self) -> int:
        """Number of components of the main fit."""
        return self.main.n_components

    def columns(self, features: Sequence[str]) -> Floats:
        """Return the fitted rows of some columns, user's units, shape (n, number of columns)."""
        prepared = self.main.prepared
        return prepared.values[:, [prepared.features.index(name) for name in features]]

    @cached_property
    def shown_rows(self) -> NDArray[np.intp]:
        """Positions of the rows that are drawn one by one: all, or `MAX_POINTS` of them, evenly spaced."""
        n = self.main.prepared.n_rows
        return np.unique(np.linspace(0, n - 1, min(n, MAX_POINTS)).astype(np.intp))

    @cached_property
    def shown_shares(self) -> Floats:
        """Responsibilities of the rows that are drawn, for draws their averages, shape (rows shown, K)."""
        return self.main.responsibilities(self.main.prepared.values[self.shown_rows])

    def memberships(self, prob: float) -> xr.Dataset:
        """Compute the memberships of all rows; of a large table from fewer draws, evenly spaced."""
        prepared, mixture = self.main.prepared, self.main.mixture
        if self.has_draws:
            mixture = thin(mixture, max(MIN_DRAWS, WORK // prepared.n_rows))
        return memberships(mixture, prepared.values, prepared.rows, prob=prob)

    def point(self, features: Sequence[str]) -> Mixture | None:
        """Return the point estimate of some columns, or None."""
        return None if self.estimate is None else self.estimate.marginal(features)

    def draws(self, features: Sequence[str], limit: int) -> Mixture | None:
        """Return at most `limit` draws of some columns, evenly spaced, one leading dimension; or None."""
        return thin(self.main.mixture, limit).marginal(features) if self.has_draws else None

    def interval_prob(self, prob: float | None) -> float:
        """Return the probability that intervals hold: `prob`, the comparison's, or ArviZ's ``stats.ci_prob``."""
        if prob is None and self.comparison is not None:
            return self.comparison.interval_prob
        if prob is None:
            import arviz as az

            prob = float(az.rcParams["stats.ci_prob"])
        return check_prob(prob)

    def choose(self, features: Sequence[str] | str | None, count: int) -> tuple[str, ...]:
        """Return the columns that the user named, or the `count` columns that separate the components best."""
        if features is not None:
            return tuple(self.main.mixture.marginal(features).features)
        return self.features if len(self.features) <= count else _most_separating(self.main.mixture, count)


def read_subject(fit: Any) -> Subject:
    """Return what is in a fit or in a comparison; anything else is an ArgumentError."""
    if isinstance(fit, MixtureFit):
        return Subject(fit, None if fit.has_draws else fit.mixture)
    if isinstance(fit, Comparison):
        return Subject(fit.bayes, fit.matched_em, fit)
    raise ArgumentError(f"expected a fit or a comparison, found {type(fit).__name__}")


def thin(mixture: Mixture, limit: int) -> Mixture:
    """Return at most `limit` draws, evenly spaced over all chains, with one leading dimension."""
    draws = mixture.flatten()
    return draws[np.unique(np.linspace(0, draws.n_mixtures - 1, min(limit, draws.n_mixtures)).astype(int))]


def _most_separating(mixture: Mixture, count: int) -> tuple[str, ...]:
    """Rank columns by the variance between components over that within, both averaged over draws."""
    within = np.einsum("...k,...kdd->...d", mixture.weights, mixture.covariances)
    total = np.diagonal(mixture.covariance, axis1=-2, axis2=-1)
    ratio = (total / within).reshape(-1, mixture.n_features).mean(axis=0)
    chosen = np.sort(np.argsort(-ratio, kind="stable")[:count])
    return tuple(mixture.features[j] for j in chosen)
