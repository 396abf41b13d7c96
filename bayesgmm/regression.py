"""Gaussian mixture regression: some columns predicted from the others, with variance.

Under a mixture the columns y given x are again a mixture, with weights p(z = k | x) and the components' conditional
normals (math.md, 2.5); its mean is a smooth piecewise linear function of x and its variance changes with x. Posterior
draws are pooled: given x the draws count in proportion to the density that they give to x, which is what conditioning
means, so the prediction carries the uncertainty of the parameters.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesgmm.data.prepare import read_rows
from bayesgmm.errors import ArgumentError
from bayesgmm.fit import MixtureFit, mixture_of
from bayesgmm.mixture import BLOCK, Mixture
from bayesgmm.showing import Shown, name_some

__all__ = ["Regression", "regress"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Regression(Shown):
    """Predicted columns, row by row.

    Parameters
    ----------
    mean : ndarray, shape (n, T)
        Conditional means, user's units.
    covariance : ndarray, shape (n, T, T)
        Conditional covariances, user's units squared.
    targets : tuple of str
        Names of the T predicted columns.
    """

    mean: Floats
    covariance: Floats
    targets: tuple[str, ...]

    @property
    def sd(self) -> Floats:
        """Conditional standard deviations, shape (n, T), user's units."""
        return np.asarray(np.sqrt(np.diagonal(self.covariance, axis1=-2, axis2=-1)))

    def __repr__(self) -> str:
        return f"Regression({len(self.mean)} rows; predicted: {name_some(self.targets)})"


def regress(model: Mixture | MixtureFit, given: Any) -> Regression:
    """Predict the columns of a mixture that a table lacks from those that it has.

    Parameters
    ----------
    model : Mixture or MixtureFit
        A mixture, or a fit; draws are averaged over.
    given : DataFrame or table with column names, shape (n, G)
        Values of some of the mixture's columns, user's units.

    Returns
    -------
    Regression
        Mean and covariance of the other columns, for each row.

    Raises
    ------
    ArgumentError
        When the table has none of the mixture's columns, or all of them; or `model` is neither a mixture nor a fit.
    DataError
        When a value is missing or infinite.

    Notes
    -----
    Cost O(n S K D^2) for S draws. The covariance is E Var + Var E over components and draws.

    Examples
    --------
    >>> import pandas as pd
    >>> mixture = Mixture([1.0], [[0.0, 1.0]], [[[1.0, 0.5], [0.5, 1.0]]], ["x", "y"])
    >>> regress(mixture, pd.DataFrame({"x": [2.0]})).mean
    array([[2.]])
    """
    mixture = mixture_of(model)
    known = _known_columns(given, mixture)
    rows = read_rows(given, known).values
    targets = tuple(name for name in mixture.features if name not in known)
    pooled = mixture.pooled()
    means, slopes, within = _components(pooled, known, targets)
    step = max(1, BLOCK // (pooled.n_components * len(targets) * (len(targets) + len(known))))
    parts = [
        _block(rows[i : i + step], pooled.marginal(known), means, slopes, within) for i in range(0, len(rows), step)
    ]
    mean, covariance = (np.concatenate(values) for values in zip(*parts, strict=True))
    return Regression(mean, covariance, targets)


def _known_columns(given: Any, mixture: Mixture) -> tuple[str, ...]:
    names = [str(name) for name in getattr(given, "columns", ())]
    known = tuple(name for name in mixture.features if name in names)
    if not known or len(known) == mixture.n_features:
        raise ArgumentError(
            f"the table must have some, and not all, of the columns {', '.join(mixture.features)}; "
            f"found {', '.join(names) or 'no column names'}"
        )
    return known


def _components(mixture: Mixture, known: tuple[str, ...], targets: tuple[str, ...]) -> tuple[Floats, Floats, Floats]:
    """Return target means (K, T), slopes (K, T, G) and residual covariances (K, T, T)."""
    g = [mixture.features.index(name) for name in known]
    t = [mixture.features.index(name) for name in targets]
    covariances = mixture.covariances
    cross = covariances[:, t][:, :, g]
    slopes = np.swapaxes(np.linalg.solve(covariances[:, g][:, :, g], np.swapaxes(cross, 1, 2)), 1, 2)
    within = covariances[:, t][:, :, t] - slopes @ np.swapaxes(cross, 1, 2)
    return mixture.means[:, t], slopes, within


def _block(rows: Floats, marginal: Mixture, means: Floats, slopes: Floats, within: Floats) -> tuple[Floats, Floats]:
    shares = marginal.responsibilities(rows)
    offsets = rows[:, None, :] - marginal.means
    each = means + np.einsum("ktg,nkg->nkt", slopes, offsets)
    mean = np.einsum("nk,nkt->nt", shares, each)
    spread = each - mean[:, None, :]
    between = np.einsum("nk,nkt,nku->ntu", shares, spread, spread)
    return mean, between + np.einsum("nk,ktu->ntu", shares, within)
