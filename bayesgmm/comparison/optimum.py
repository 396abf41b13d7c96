"""The optima that EM found, and how much of the posterior is near each.

EM's answer is one maximum of many. The log-likelihoods say how much better it is, not how much posterior lies around
it: a sharp peak may be high and carry little. Two numbers say more. Each draw is given to the optimum whose components
are nearest to its own, a count that is as good as the chains' mixing; and from the priors every optimum's mass can be
estimated, by the evidence of the mode above it.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesgmm.errors import ArgumentError, FitError
from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.matching import assign, hellinger_cost

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["mode_masses", "optimum_table"]

Floats = NDArray[np.float64]

#: Optima that draws are given to, the best first, and the draws that are.
MAX_OPTIMA, DRAWS = 10, 400


def optimum_table(em: MixtureFit, bayes: MixtureFit) -> pd.DataFrame:
    """List the optima with what the draws say about each (math.md, 8.10).

    Parameters
    ----------
    em, bayes : MixtureFit
        The estimate and the draws.

    Returns
    -------
    DataFrame
        Indexed by optimum, the best first: ``log_likelihood``, ``gap`` (to the best that is sound), ``times_reached``,
        ``is_degenerate``, ``share`` (of the draws for which this optimum is the nearest; NaN for spikes and beyond the
        tenth). Empty where the fit does not remember its optima.
    """
    columns = ["log_likelihood", "gap", "times_reached", "is_degenerate", "share"]
    if "optima" not in em.tree.children:
        return pd.DataFrame(columns=columns, index=pd.RangeIndex(0, name="optimum"))
    table = em.optima.rename_axis("optimum")
    sound = np.flatnonzero(~table["is_degenerate"].to_numpy())[:MAX_OPTIMA]
    best = table["log_likelihood"].iloc[sound].max() if len(sound) else table["log_likelihood"].max()
    table["gap"] = best - table["log_likelihood"]
    table["share"] = np.nan
    if len(sound):
        shares = np.full(len(table), np.nan)
        shares[sound] = _shares(em, bayes, sound)
        table["share"] = shares
    return table[columns]


def _shares(em: MixtureFit, bayes: MixtureFit, chosen: NDArray[np.intp]) -> Floats:
    """Return the share of the draws that are nearest to each optimum."""
    kept = em.tree["optima"].to_dataset().isel(optimum=chosen)
    every = bayes.mixture.flatten()
    draws = every[np.unique(np.linspace(0, every.n_mixtures - 1, min(DRAWS, every.n_mixtures)).astype(int))]
    distances = [assign(hellinger_cost(_optimum(kept, j, em.features), draws)).costs for j in range(len(chosen))]
    nearest = np.argmin(distances, axis=0)
    return np.bincount(nearest, minlength=len(chosen)) / draws.n_mixtures


def _optimum(kept: "xr.Dataset", number: int, features: tuple[str, ...]) -> Mixture:
    here = kept.isel(optimum=number)
    return Mixture(here["weights"].values, here["means"].values, here["covariances"].values, features)


def mode_masses(em: MixtureFit, bayes: MixtureFit, seed: int, *, progress: bool = False) -> "pd.DataFrame | str":
    """Estimate the posterior mass around each optimum, or say why that is withheld (math.md, 11.4).

    Parameters
    ----------
    em, bayes : MixtureFit
        The estimate, and the draws whose priors are taken.
    seed : int
        Of the importance sampling.
    progress : bool, default False
        Whether to show progress.

    Returns
    -------
    DataFrame or str
        See `bayesgmm.bayes.modes.optimum_masses`; or a sentence.
    """
    priors = bayes.info.settings.get("priors")
    if priors is None:
        return "the posterior does not remember its priors: it was sampled from a model of your own"
    from bayesgmm.bayes import Priors
    from bayesgmm.bayes.modes import optimum_masses

    try:
        return optimum_masses(em, Priors(**priors), seed=seed, progress=progress)
    except (ArgumentError, FitError) as error:
        return str(error)
