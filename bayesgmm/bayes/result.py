"""From draws in standardised units to a MixtureFit.

Rows in memory and rows that are read chunk by chunk end here: units, the names of the components, what the draws say
of themselves, the record of how they were made. Nothing is said aloud: `diagnostics.warn` does that.
"""

from collections.abc import Mapping
from typing import Any

import pymc as pm
import xarray as xr

from bayesgmm.bayes.diagnostics import diagnose
from bayesgmm.bayes.gibbs import describe_mixing
from bayesgmm.bayes.model import COORDINATES
from bayesgmm.bayes.modes import describe_chains
from bayesgmm.data import PreparedData, Scaling
from bayesgmm.fit import FitInfo, MixtureFit, assemble, versions_of
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.relabel import Relabelling, relabel
from bayesgmm.structure import CovarianceStructure

__all__ = ["OWN_VARIABLES", "posterior_fit"]

#: The variables that every sampler returns.
OWN_VARIABLES = ("weights", "means", "covariances")

_PACKAGES = ("bayesgmm", "pymc", "arviz", "nutpie", "numpy")


def posterior_fit(
    groups: Mapping[str, xr.Dataset],
    *,
    prepared: PreparedData,
    reference: MixtureFit,
    scaling: Scaling,
    structure: CovarianceStructure,
    method: str,
    seed: int,
    settings: Mapping[str, Any],
    seconds: float,
    modes: Any = None,
    model: pm.Model | None = None,
) -> MixtureFit:
    """Make the fit that draws stand for.

    Parameters
    ----------
    groups : mapping of str to Dataset
        What a sampler returned, standardised units, and further groups of the tree.
    prepared : PreparedData
        The rows that the fit carries, user's units.
    reference : MixtureFit
        The EM fit that gives the components their names.
    scaling : Scaling
        The change of units.
    structure : CovarianceStructure
        The covariance structure.
    method : str
        The name of the sampler.
    seed : int
        The seed as it was given.
    settings : mapping
        The arguments of the call, as plain values.
    seconds : float
        How long the sampler took.
    modes : Dataset, optional
        Where the chains started, from `chain_starts`.
    model : pymc.Model, optional
        The model, where the fit may hand it out.

    Returns
    -------
    MixtureFit
        The draws, relabelled, user's units; what is to be warned of is among ``info.diagnostics``.
    """
    found = dict(groups)
    draws = _to_user(found["posterior"], scaling, prepared.features)
    matched = relabel(draws, prepared.values, reference=reference.mixture, sample_weight=prepared.sample_weight)
    found["posterior"] = _relabelled_extras(found["posterior"], matched)
    diagnostics = {"seconds": seconds, **diagnose(matched, found, structure)}
    if method == "gibbs":
        diagnostics["mixing_in_words"] = describe_mixing(
            max_r_hat=diagnostics["max_r_hat"], min_ess=diagnostics["min_ess"],
            n_draws=diagnostics["chains"] * diagnostics["draws"], is_streamed="all_rows" in found,
            acceptance_rate=diagnostics.get("acceptance_rate", 1.0),
        )  # fmt: skip
    if modes is not None:
        found["modes"], diagnostics["modes_in_words"] = describe_chains(reference, matched.mixture, modes)
    info = FitInfo(
        method, structure.code, reference.n_components, seed, dict(settings), diagnostics,
        versions_of(*_PACKAGES),
    )  # fmt: skip
    return assemble(matched.mixture, prepared, info, scaling, groups=found, model=model)


def _to_user(posterior: xr.Dataset, scaling: Scaling, features: tuple[str, ...]) -> Mixture:
    weights, means, covariances = (posterior[name].transpose("chain", "draw", ...).values for name in OWN_VARIABLES)
    return scaling.mixture_to_user(Mixture(weights, means, covariances, features))


def _relabelled_extras(posterior: xr.Dataset, matched: Relabelling) -> xr.Dataset:
    """Keep the variables that a user has added, their components permuted like the rest."""
    extras = posterior.drop_vars([*OWN_VARIABLES, *COORDINATES], errors="ignore")
    order = xr.DataArray(matched.permutations, dims=("chain", "draw", "component"))
    permuted = extras.map(lambda values: values.isel(component=order) if "component" in values.dims else values)
    used = {dim for values in permuted.data_vars.values() for dim in values.dims} | {"chain", "draw"}
    return permuted.drop_vars([name for name in permuted.coords if name not in used])
