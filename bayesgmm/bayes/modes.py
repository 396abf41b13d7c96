"""Several modes: where chains should start, where they ended, and how much of the posterior each EM optimum carries.

If all chains start at one optimum of EM, R-hat cannot know of the others. So chains start at every distinct optimum
that may carry mass, judged by Laplace's approximation at the posterior mode uphill from it, and afterwards each draw is
given to the optimum whose components are nearest. When chains keep to different optima, that is said before anything
else.

An optimum of the likelihood need not be one of the posterior: where the climb from it ends at the mode of a better
optimum, it has no mass of its own.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray
from scipy.special import logsumexp

from bayesgmm.bayes.compiled import vector_of
from bayesgmm.bayes.density import UnconstrainedDensity, unconstrained_density
from bayesgmm.bayes.evidence import evidence_offset
from bayesgmm.bayes.laplace import Laplace, importance_sample, laplace_at, largest_khat
from bayesgmm.bayes.model import build_model, start_values
from bayesgmm.bayes.priors import Priors
from bayesgmm.data import Scaling
from bayesgmm.errors import FitError
from bayesgmm.fit import MixtureFit, check_estimate, check_fit
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.matching import assign, hellinger_cost
from bayesgmm.progress import follow, track, working
from bayesgmm.seeding import as_generator, recorded_seed
from bayesgmm.structure import CovarianceStructure

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["chain_starts", "describe_chains", "optimum_masses", "sound_optima"]

Floats = NDArray[np.float64]

#: An optimum whose log-likelihood is so far below the best is not looked at, nor more than so many.
REACH = 15.0
MAX_OPTIMA = 8
#: Chains start at optima with at least this share of the mass, by Laplace's approximation.
LEAST_MASS = 0.01

_PROPOSALS = 4000
_DRAWS_PER_CHAIN = 100
# Chains keep to different optima when the shares of two differ by more than this, in total variation.
_APART = 0.5
# Two climbs end at one mode when their log densities and log evidences agree to this.
_SAME_MODE = 1e-3


def sound_optima(em: MixtureFit, reach: float = REACH) -> tuple[Mixture, "pd.DataFrame"]:
    """Return the optima that EM found and that are not spikes, best first.

    Parameters
    ----------
    em : MixtureFit
        A point estimate.
    reach : float, default 15
        How far below the best log-likelihood they may be.

    Returns
    -------
    optima : Mixture
        One leading dimension, user's units.
    table : DataFrame
        ``log_likelihood`` and ``times_reached`` of each, indexed by its number in ``em.optima``.
    """
    import pandas as pd

    if "optima" not in em.tree.children:
        table = pd.DataFrame({"log_likelihood": [em.log_likelihood], "times_reached": [1]}).rename_axis("optimum")
        one = em.mixture
        return Mixture(one.weights[None], one.means[None], one.covariances[None], one.features), table
    found = em.tree["optima"].to_dataset()
    table = em.optima
    sound = table[~table["is_degenerate"]]
    table = (sound if len(sound) else table)[["log_likelihood", "times_reached"]]
    table = table[table["log_likelihood"] >= table["log_likelihood"].max() - reach].head(MAX_OPTIMA)
    kept = found.isel(optimum=table.index.to_numpy())
    optima = Mixture(kept["weights"].values, kept["means"].values, kept["covariances"].values, em.features)
    return optima, table


def optimum_masses(
    em: MixtureFit, priors: Priors | None = None, *, seed: Any = 0, progress: bool = False
) -> "pd.DataFrame":
    """Estimate how much of the posterior lies around each optimum that EM found.

    Parameters
    ----------
    em : MixtureFit
        From `fit_em`.
    priors : Priors, optional
        Default `Priors()`.
    seed : int, Generator or RandomState, default 0
        Of the importance sampling.
    progress : bool, default False
        Whether to show on the error stream what is done and the time left; only in a terminal or a notebook.

    Returns
    -------
    DataFrame
        Indexed by the number of the optimum in ``em.optima``: ``log_likelihood``, ``times_reached``, ``log_evidence``
        (of the posterior mode uphill, all its copies, user's units), ``khat``, ``mass`` (share of the modes found) and
        ``mode`` (the first optimum that leads to the same mode; -1 where there is none). An optimum that shares its
        mode with a better one has mass 0. Evidence and mass are NaN where k-hat is above 0.7 (0.5 for structures whose
        axes are sampled: EVE, VVE, EEV, VEV), and all masses are where a mode without a number could matter.

    Raises
    ------
    ArgumentError
        When `em` is no point estimate.

    Notes
    -----
    math.md, 11.4. Spikes are left out, as are optima 15 below the best log-likelihood.
    """
    check_fit(em, "em")
    check_estimate(em, em.n_components, em.features)
    rng = as_generator(recorded_seed(seed), purpose=3)
    optima, table = sound_optima(em)
    with working("compiling the model", progress=progress):
        model = build_model(em.prepared, em.n_components, em.structure, priors)
        density, vectors = _vectors(model, em.structure, em.scaling.mixture_to_standard(optima))
    climbs = follow((_climb(density, vector) for vector in vectors), "modes", total=len(vectors), progress=progress)
    table["log_evidence"], table["khat"], table["mass"] = np.nan, np.nan, np.nan
    table["mode"] = table.index.to_numpy()[_leaders(climbs)] if climbs else 0
    offset, limit = evidence_offset(model, density, em.prepared, em.structure), largest_khat(model)
    for position, climb in enumerate(track(climbs, "masses", total=len(climbs), progress=progress)):
        if climb is None:
            table.iloc[position, table.columns.get_loc("mode")] = -1
        elif table["mode"].iloc[position] == table.index[position]:
            found = importance_sample(density, climb, _PROPOSALS, rng)
            trusted = found.log_evidence + offset if found.khat <= limit else np.nan
            table.iloc[position, [table.columns.get_loc(name) for name in ("log_evidence", "khat")]] = (
                trusted, found.khat,
            )  # fmt: skip
    table["mass"] = _masses(table, climbs, offset)
    return table[["log_likelihood", "times_reached", "log_evidence", "khat", "mass", "mode"]]


def _vectors(
    model: pm.Model, structure: CovarianceStructure, optima: Mixture
) -> tuple[UnconstrainedDensity, list[Floats]]:
    """Return the density and the unconstrained vectors of several mixtures, standardised units."""
    values = [start_values(model, structure, optima[j]) for j in range(optima.n_mixtures)]
    density = unconstrained_density(model, values[0])
    return density, [density.start, *(vector_of(model, one) for one in values[1:])]


def _climb(density: UnconstrainedDensity, vector: Floats) -> Laplace | None:
    try:
        return laplace_at(density, vector)
    except FitError:
        return None


def _leaders(climbs: list[Laplace | None]) -> NDArray[np.intp]:
    """Return for each climb the first that ended at the same mode."""
    leaders = np.arange(len(climbs))
    for j, climb in enumerate(climbs):
        for i in range(j):
            first = climbs[i]
            if climb is not None and first is not None and _is_same(first, climb):
                leaders[j] = i
                break
    return leaders


def _is_same(first: Laplace, second: Laplace) -> bool:
    # Numberings of components and axes differ, heights and volumes do not.
    heights = abs(first.log_density - second.log_density)
    return bool(heights < _SAME_MODE and abs(first.log_evidence - second.log_evidence) < _SAME_MODE)


def _masses(table: "pd.DataFrame", climbs: list[Laplace | None], offset: float) -> Floats:
    """Normalise the evidences; NaN where a mode without a number could matter."""
    rough = np.array([np.nan if climb is None else climb.log_evidence + offset for climb in climbs])
    evidence = table["log_evidence"].to_numpy().copy()
    own = table["mode"].to_numpy() == table.index.to_numpy()
    unknown = own & np.isnan(evidence)
    masses = np.where(own | np.isnan(rough), np.nan, 0.0)
    if np.all(np.isnan(evidence)) or np.any(rough[unknown] > np.nanmax(evidence) + np.log(LEAST_MASS)):
        return masses
    known = own & ~unknown
    masses[known] = np.exp(evidence[known] - logsumexp(evidence[known]))
    return masses


# -------------------------------------------------------------------- chains


def chain_starts(
    em: MixtureFit, model: pm.Model, structure: CovarianceStructure, scaling: Scaling, chains: int
) -> tuple[Mixture, xr.Dataset | None]:
    """Decide at which optimum each chain starts.

    Parameters
    ----------
    em : MixtureFit
        The EM fit.
    model : pymc.Model
        The model that is sampled.
    structure : CovarianceStructure
        The structure it was built for.
    scaling : Scaling
        The change of units.
    chains : int
        Number of chains.

    Returns
    -------
    starts : Mixture
        Standardised units: one mixture for all chains, or one for each.
    modes : Dataset or None
        Over (optimum): ``log_likelihood``, ``mass`` by Laplace's approximation; over (chain): ``started``. None where
        there is a single sound optimum within reach.
    """
    optima, table = sound_optima(em)
    if len(table) == 1 or chains == 1:
        return scaling.mixture_to_standard(em.mixture), None
    standard = scaling.mixture_to_standard(optima)
    density, vectors = _vectors(model, structure, standard)
    climbs = [_climb(density, vector) for vector in vectors]
    rough = np.array([-np.inf if climb is None else climb.log_evidence for climb in climbs])
    rough[_leaders(climbs) != np.arange(len(climbs))] = -np.inf
    mass = np.exp(rough - logsumexp(rough)) if np.any(np.isfinite(rough)) else np.eye(1, len(rough))[0]
    worth = np.flatnonzero(mass >= LEAST_MASS)[:chains]
    started = np.sort(np.resize(worth, chains))
    modes = xr.Dataset(
        {
            "log_likelihood": ("optimum", table["log_likelihood"].to_numpy()),
            "mass": ("optimum", mass),
            "started": ("chain", table.index.to_numpy()[started]),
        },
        coords={"optimum": table.index.to_numpy()},
    )
    return (standard[started] if len(worth) > 1 else standard[int(worth[0])]), modes


def describe_chains(em: MixtureFit, draws: Mixture, modes: xr.Dataset) -> tuple[xr.Dataset, str]:
    """Say which optimum each chain kept to.

    Parameters
    ----------
    em : MixtureFit
        The EM fit whose optima chains started from.
    draws : Mixture
        Draws (chain, draw), user's units.
    modes : Dataset
        From `chain_starts`.

    Returns
    -------
    modes : Dataset
        With ``share`` (chain, optimum), the share of a chain's draws whose components are nearest to the optimum's, and
        ``ended`` (chain), the optimum with the largest.
    words : str
        What must be read before anything else when chains keep to different optima; otherwise empty.
    """
    optima, _ = sound_optima(em)
    thin = np.unique(np.linspace(0, draws.batch_shape[1] - 1, _DRAWS_PER_CHAIN).astype(int))
    share = np.stack([_shares(optima, draws[c][thin]) for c in range(draws.batch_shape[0])])
    numbers = modes["optimum"].values
    ended = numbers[share.argmax(axis=1)]
    found = modes.isel(chain=slice(len(share))).assign(share=(("chain", "optimum"), share), ended=("chain", ended))
    apart = 0.5 * np.abs(share[:, None] - share[None]).sum(axis=-1)
    return found, _words(ended, modes) if apart.max() > _APART else ""


def _shares(optima: Mixture, draws: Mixture) -> Floats:
    """Return the share of draws that are nearest to each optimum by the Hellinger distance of matched components."""
    distances = [assign(hellinger_cost(optima[j], draws)).costs for j in range(optima.n_mixtures)]
    return np.bincount(np.argmin(distances, axis=0), minlength=optima.n_mixtures) / draws.n_mixtures


def _words(ended: NDArray[np.intp], modes: xr.Dataset) -> str:
    parts = []
    for number in np.unique(ended):
        here = modes.sel(optimum=number)
        chains = np.flatnonzero(ended == number)
        parts.append(
            f"chain{'s' * (len(chains) > 1)} {', '.join(map(str, chains))} near EM optimum {number} (log-likelihood "
            f"{float(here['log_likelihood']):.1f}, about {float(here['mass']):.0%} of the posterior)"
        )
    return (
        f"chains keep to different modes: {'; '.join(parts)}. Draws of all chains together are in no right proportion: "
        "weigh the modes with optimum_masses(em), or sample one with starts='em'"
    )
