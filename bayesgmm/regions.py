"""Regions and tails of a mixture: distribution function and quantiles on one axis, highest-density regions, anomalies.

Along one column the distribution function is exact and its inverse is found by bisection. In several dimensions the
level of a highest-density region, and the probability that a new row is less likely than a given one, are found by
simulation with a declared number of draws; so is the anomaly score of a row.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from bayesgmm.data.prepare import read_rows
from bayesgmm.errors import ArgumentError
from bayesgmm.fit import MixtureFit, mixture_of
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.checks import check_mixture, check_prob, read_points

__all__ = ["anomaly_scores", "cdf", "highest_density_level", "quantile"]

Floats = NDArray[np.float64]

_BISECTIONS = 100


def cdf(mixture: Mixture, x: ArrayLike) -> Floats:
    """Compute P(X <= x) of a mixture of one column.

    Parameters
    ----------
    mixture : Mixture
        One column (see `Mixture.marginal`); leading dimensions are averaged over.
    x : array_like, any shape
        Points, in the units of the mixture.

    Returns
    -------
    ndarray, the shape of `x`
        Probabilities.

    Raises
    ------
    ArgumentError
        When the mixture has more than one column, or a point is no number.

    Examples
    --------
    >>> cdf(Mixture([1.0], [[0.0]], [[[1.0]]]), 0.0)
    array(0.5)
    """
    pooled = _one_column(mixture)
    points = read_points("x", x)[..., None]
    sds = np.sqrt(pooled.covariances[:, 0, 0])
    return np.asarray(ndtr((points - pooled.means[:, 0]) / sds) @ pooled.weights)


def quantile(mixture: Mixture, q: ArrayLike) -> Floats:
    """Compute the quantiles of a mixture of one column, by bisection.

    Parameters
    ----------
    mixture : Mixture
        One column; leading dimensions are averaged over.
    q : array_like, any shape
        Probabilities, strictly between 0 and 1.

    Returns
    -------
    ndarray, the shape of `q`
        Points, in the units of the mixture.

    Raises
    ------
    ArgumentError
        When a probability is not between 0 and 1, or the mixture has more than one column.
    """
    pooled = _one_column(mixture)
    wanted = read_points("q", q)
    if not np.all((wanted > 0) & (wanted < 1)):
        raise ArgumentError(f"q={q!r} must lie strictly between 0 and 1")
    sds = np.sqrt(pooled.covariances[:, 0, 0])
    low = np.full(wanted.shape, np.min(pooled.means[:, 0] - 40 * sds))
    high = np.full(wanted.shape, np.max(pooled.means[:, 0] + 40 * sds))
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        below = cdf(pooled, middle) < wanted
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return 0.5 * (low + high)


def highest_density_level(
    model: Mixture | MixtureFit, prob: float = 0.95, *, n_draws: int = 20_000, seed: Any = 0
) -> float:
    """Return the log density above which a fraction `prob` of new rows lies (Hyndman 1996).

    Parameters
    ----------
    model : Mixture or MixtureFit
        What new rows come from; draws are averaged over.
    prob : float, default 0.95
        Probability of the region.
    n_draws : int, default 20000
        Simulated rows; the standard error of the region's probability is sqrt(prob (1 - prob) / n_draws).
    seed : int or Generator, default 0
        Of the simulation.

    Returns
    -------
    float
        The region is where ``log_density`` is at least this.

    Raises
    ------
    ArgumentError
        When `prob` is not between 0 and 1, or `model` is neither a mixture nor a fit.
    """
    level = 1 - check_prob(prob)
    return float(np.quantile(_simulated_log_densities(mixture_of(model), n_draws, seed), level))


def anomaly_scores(model: Mixture | MixtureFit, X: Any, *, n_draws: int = 20_000, seed: Any = 0) -> Floats:
    """Return how unusual rows are: the probability that a new row is less likely than they are.

    Parameters
    ----------
    model : Mixture or MixtureFit
        What is usual; draws are averaged over.
    X : table, shape (n, D)
        Rows, user's units.
    n_draws : int, default 20000
        Simulated rows. No score is below 1 / (n_draws + 1), which is what a finite simulation can say.
    seed : int or Generator, default 0
        Of the simulation.

    Returns
    -------
    ndarray, shape (n,)
        Tail probabilities between 0 and 1: small means unusual, and a fraction `p` of ordinary rows is below `p`.

    Raises
    ------
    ArgumentError
        When `model` is neither a mixture nor a fit.
    DataError
        When a value is missing or infinite, or the table does not have the columns of the mixture.
    """
    mixture = mixture_of(model)
    rows = read_rows(X, mixture.features).values
    simulated = np.sort(_simulated_log_densities(mixture, n_draws, seed))
    below = np.searchsorted(simulated, mixture.pooled().log_density(rows), side="right")
    return np.asarray((below + 1) / (n_draws + 1))


def _one_column(mixture: Mixture) -> Mixture:
    check_mixture(mixture)
    if mixture.n_features != 1:
        raise ArgumentError(
            f"this mixture has {mixture.n_features} columns; take one with marginal(), such as "
            f"mixture.marginal([{mixture.features[0]!r}])"
        )
    return mixture.pooled()


def _simulated_log_densities(mixture: Mixture, n_draws: int, seed: Any) -> Floats:
    rows, _ = mixture.sample(n_draws, seed)
    return mixture.pooled().log_density(rows)
