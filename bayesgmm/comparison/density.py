"""The density that EM plugs its estimate into, against the posterior predictive one.

Labels play no part here, so what this says holds where components cannot be told apart. Distances are integrals: along
one column over a grid, in more columns over points drawn from both densities in equal parts, which bounds the weights
(no point counts more than twice). The same distances are computed for every draw, so that the estimate's can be judged:
an estimate closer to the predictive density than most draws is a good summary of it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import Mixture
from bayesgmm.showing import Shown

__all__ = ["DensityComparison", "compare_densities"]

Floats = NDArray[np.float64]

#: Points of the grid along one column, and points drawn in more columns.
GRID, POINTS = 1001, 4000
#: Draws whose distances are computed, evenly spaced through the chains.
DRAWS = 500
#: Standard deviations of the predictive density, beyond the outermost component means, that the grid covers.
_REACH = 8.0
_TINY = np.finfo(float).tiny


@dataclass(frozen=True, eq=False)
class DensityComparison(Shown):
    """How far the plug-in density is from the posterior predictive.

    Parameters
    ----------
    table : DataFrame
        Indexed by distance: ``l1``, ``hellinger``, ``kl`` (predictive to plug-in, nats), ``sup`` (largest difference,
        as a share of the predictive density's peak), ``outside`` (probability, under the predictive density, of where
        the density is outside the pointwise band). Columns: ``em``, its Monte Carlo standard error ``mc_se`` (zero on
        a grid), the same for single draws (``draws_lower``, ``draws_median``, ``draws_upper``), and ``quantile``, the
        share of draws that are closer to the predictive density than the estimate is.
    prob : float
        Probability of the pointwise band, and of the intervals over draws.
    n_points, n_draws : int
        How many points and draws it was computed from.
    """

    table: pd.DataFrame
    prob: float
    n_points: int
    n_draws: int

    def __repr__(self) -> str:
        header = f"DensityComparison({self.prob:.0%} bands, {self.n_points} points, {self.n_draws} draws)"
        return f"{header}\n{self.table.round(3).to_string()}"


def compare_densities(em: Mixture, bayes: MixtureFit, prob: float, seed: int = 0) -> DensityComparison:
    """Measure the distances between densities (math.md, 8.7).

    Parameters
    ----------
    em : Mixture
        The estimate; the order of its components does not matter.
    bayes : MixtureFit
        The draws.
    prob : float
        Probability of the pointwise band.
    seed : int, default 0
        Of the points that are drawn where there is more than one column.

    Returns
    -------
    DensityComparison
        The distances.
    """
    every = bayes.mixture.flatten()
    draws = every[np.unique(np.linspace(0, every.n_mixtures - 1, min(DRAWS, every.n_mixtures)).astype(int))]
    points, cells = _grid(em, draws) if em.n_features == 1 else _drawn_points(em, draws, seed)
    plug_in = np.exp(em.log_density(points))
    densities = np.exp(draws.log_density(points))
    predictive = densities.mean(axis=0)
    # Where points were drawn, each stands for the volume that its probability under both densities leaves it.
    volumes = cells if em.n_features == 1 else 1.0 / (len(points) * 0.5 * (plug_in + predictive))
    lower, upper = np.quantile(densities, [(1 - prob) / 2, (1 + prob) / 2], axis=0)
    own = _integrands(plug_in[None], predictive, lower, upper)
    estimate = {name: float(_total(name, values, volumes)[0]) for name, values in own.items()}
    others = {
        name: _total(name, values, volumes) for name, values in _integrands(densities, predictive, lower, upper).items()
    }
    rows = {}
    for name, value in estimate.items():
        low, middle, high = np.quantile(others[name], [(1 - prob) / 2, 0.5, (1 + prob) / 2])
        rows[name] = {
            "em": value,
            "mc_se": _monte_carlo_error(name, own[name][0], volumes) if em.n_features > 1 else 0.0,
            "draws_lower": low, "draws_median": middle, "draws_upper": high,
            "quantile": float((others[name] < value).mean()),
        }  # fmt: skip
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("distance")
    return DensityComparison(table, prob, len(points), draws.n_mixtures)


def _grid(em: Mixture, draws: Mixture) -> tuple[Floats, Floats]:
    """Return a grid over all components of the estimate and the draws, and the widths of its cells."""
    means = np.concatenate([em.means.ravel(), draws.means.ravel()])
    reach = _REACH * np.sqrt(draws.covariances[..., 0, 0].mean(axis=0).max())
    low, high = np.quantile(means, [0.001, 0.999])
    grid = np.linspace(min(low, em.means.min()) - reach, max(high, em.means.max()) + reach, GRID)
    widths = np.full(GRID, grid[1] - grid[0])
    widths[[0, -1]] *= 0.5
    return grid[:, None], widths


def _drawn_points(em: Mixture, draws: Mixture, seed: int) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    points = np.concatenate([mixture.sample(POINTS // 2, rng)[0] for mixture in (em, draws)])
    return points, np.ones(len(points))


def _integrands(densities: Floats, predictive: Floats, lower: Floats, upper: Floats) -> dict[str, Floats]:
    """Return what is integrated for each distance, one row for each density, shape (S, number of points)."""
    ratio = np.log(np.maximum(predictive, _TINY)) - np.log(np.maximum(densities, _TINY))
    difference = densities - predictive
    return {
        "l1": np.abs(difference),
        "hellinger": 0.5 * (np.sqrt(densities) - np.sqrt(predictive)) ** 2,
        # Since both integrate to one this has the same integral as p log(p / q), is never negative, and varies less.
        "kl": predictive * ratio + difference,
        "sup": np.abs(difference) / predictive.max(),
        "outside": np.where((densities < lower) | (densities > upper), predictive, 0.0),
    }


def _total(name: str, values: Floats, volumes: Floats) -> Floats:
    if name == "sup":
        return values.max(axis=1)
    sums = values @ volumes
    return np.sqrt(np.maximum(sums, 0.0)) if name == "hellinger" else sums


def _monte_carlo_error(name: str, values: Floats, volumes: Floats) -> float:
    """Return the standard error of an integral over drawn points; of a maximum there is none."""
    if name == "sup":
        return float("nan")
    terms = values * volumes * len(values)
    error = float(terms.std(ddof=1) / np.sqrt(len(values)))
    if name != "hellinger":
        return error
    return error / (2.0 * np.sqrt(max(terms.mean(), _TINY)))
