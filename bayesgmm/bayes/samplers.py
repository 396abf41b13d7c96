"""The engines: every way to draw from the posterior of a model, under one signature.

``sampler(model, *, structure, start, draws, tune, chains, seed, progress, **options)`` takes a PyMC model in
standardised units and returns its draws and the statistics of sampling as xarray Datasets, ``posterior`` and
``sample_stats``. What a sampler knows about the whole of its draws (k-hat, log evidence, that it is an approximation)
stands in the attributes of ``sample_stats``. Adding an engine is one entry here.

A callable of the user's is called like PyMC's own, which is one: inside the model's context, with ``random_seed``,
for a DataTree.
"""

from collections.abc import Callable, Mapping
from functools import partial
from inspect import Parameter, signature
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr

from bayesgmm.bayes.checkpoint import Checkpoint
from bayesgmm.bayes.gibbs import sample_gibbs
from bayesgmm.bayes.laplace import sample_laplace
from bayesgmm.bayes.nutpie_chains import TUNE
from bayesgmm.bayes.nuts import sample_nuts
from bayesgmm.bayes.pathfinder import sample_pathfinder
from bayesgmm.bayes.smc import sample_smc
from bayesgmm.bayes.variational import sample_advi
from bayesgmm.errors import ArgumentError
from bayesgmm.mixture import Mixture
from bayesgmm.structure import CovarianceStructure

__all__ = [
    "RESUMABLE",
    "SAMPLERS",
    "STARTS_BY_CHAIN",
    "check_options",
    "check_plan",
    "check_sampler",
    "draw",
    "steps_before",
]

# Above it a library below would end the process, not raise an error.
_MOST_DRAWS = 10**8
_MOST_CHAINS = 1000

#: The engines by name.
SAMPLERS: dict[str, Callable[..., dict[str, xr.Dataset]]] = {
    "nuts": sample_nuts,
    "gibbs": sample_gibbs,
    "laplace": sample_laplace,
    "smc": sample_smc,
    "advi": sample_advi,
    "pathfinder": sample_pathfinder,
}

#: Those whose chains may start in different places.
STARTS_BY_CHAIN = ("nuts",)

# Those that choose how many steps they adapt for, where nobody says.
_ADAPTS_BY_ITSELF = ("nuts",)

#: Those that leave checkpoints and go on from them.
RESUMABLE = ("nuts", "gibbs")

_OWN_VARIABLES = ("weights", "means", "covariances")


def check_plan(draws: int, tune: int | None, chains: int) -> None:
    """Refuse numbers of draws, steps and chains that are none, or that nobody can mean.

    Parameters
    ----------
    draws, tune, chains : int
        As they came; None for `tune` leaves it to the sampler.

    Raises
    ------
    ArgumentError
        Naming the number, its value and what is legal.
    """
    for name, value, least in (("draws", draws, 1), ("chains", chains, 1), ("tune", 0 if tune is None else tune, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ArgumentError(f"{name}={value!r} must be a whole number, at least {least}")
    if chains > _MOST_CHAINS:
        raise ArgumentError(f"chains={chains} are too many: at most {_MOST_CHAINS:,}, and four are usual")
    if draws * chains > _MOST_DRAWS:
        raise ArgumentError(f"draws={draws} in {chains} chains do not fit into memory; at most {_MOST_DRAWS} in all")


def steps_before(sampler: str, tune: int | None) -> int | None:
    """Return the steps before the draws: those asked for, else the usual number, or None where the sampler chooses.

    Parameters
    ----------
    sampler : str
        From `check_sampler`.
    tune : int or None
        What the user asked for.

    Returns
    -------
    int or None
        For the plan of `draw`.
    """
    if tune is None:
        return None if sampler in _ADAPTS_BY_ITSELF else TUNE
    return int(tune)


def check_sampler(sampler: str | Callable[..., Any]) -> str:
    """Return the name of a sampler for the record, or say what there is.

    Parameters
    ----------
    sampler : str or callable
        What the user asked for.

    Returns
    -------
    str
        The name; "callable" for a function.

    Raises
    ------
    ArgumentError
        When it is neither known nor callable.
    """
    if isinstance(sampler, str) and sampler in SAMPLERS:
        return sampler
    if callable(sampler):
        return "callable"
    names = ", ".join(map(repr, SAMPLERS))
    raise ArgumentError(f"sampler={sampler!r} is not known; use one of {names}, or a callable")


def draw(
    sampler: str | Callable[..., Any],
    model: pm.Model,
    *,
    structure: CovarianceStructure,
    start: Mixture,
    plan: Mapping[str, Any],
    progress: bool,
    options: Mapping[str, Any],
    checkpoint: Checkpoint | None = None,
) -> dict[str, xr.Dataset]:
    """Draw from the posterior of a model.

    Parameters
    ----------
    sampler : str or callable
        An engine's name, or a function that returns a DataTree.
    model : pymc.Model
        The model.
    structure : CovarianceStructure
        The structure it was built for.
    start : Mixture
        Where chains start, standardised units: one mixture, or one for each chain.
    plan : mapping of str to int
        ``draws``, ``tune`` (from `steps_before`), ``chains``, ``seed``.
    progress : bool
        Whether to show progress.
    options : mapping
        For the engine.
    checkpoint : Checkpoint, optional
        For an engine of `RESUMABLE`.

    Returns
    -------
    dict of str to Dataset
        ``posterior``, and ``sample_stats`` where there are any; standardised units.

    Raises
    ------
    ArgumentError
        When the engine does not know an option, or a callable does not return weights, means and covariances.
    """
    if isinstance(sampler, str):
        check_options(sampler, options)
        options = options if checkpoint is None else {**options, "checkpoint": checkpoint}
        return SAMPLERS[sampler](model, structure=structure, start=start, progress=progress, **plan, **options)
    counts = {name: plan[name] for name in ("draws", "tune", "chains")}
    call = partial(sampler, model=model) if _takes_model_by_name(sampler) else partial(sampler, model)
    with model:
        tree = call(random_seed=plan["seed"], **counts, **options)
    found = {name: tree[name].to_dataset() for name in ("posterior", "sample_stats") if name in tree.children}
    absent = [name for name in _OWN_VARIABLES if name not in found.get("posterior", ())]
    if absent:
        raise ArgumentError(f"the sampler's tree has no {absent[0]!r} in its posterior; it needs all variables")
    values = found["posterior"][list(_OWN_VARIABLES)]
    if not all(np.all(np.isfinite(values[name].values)) for name in _OWN_VARIABLES):
        raise ArgumentError("the sampler returned draws that are not finite")
    return found


def _takes_model_by_name(sampler: Callable[..., Any]) -> bool:
    """Whether a function has something else for its first argument, as `pymc.sample` has."""
    try:
        names = list(signature(sampler).parameters)
    except (TypeError, ValueError):
        return False
    return "model" in names[1:]


def check_options(sampler: str, options: Mapping[str, Any]) -> None:
    """Refuse an option that an engine does not know.

    Parameters
    ----------
    sampler : str
        An engine's name.
    options : mapping
        For the engine.

    Raises
    ------
    ArgumentError
        Naming the first one that it does not know.
    """
    parameters = signature(SAMPLERS[sampler]).parameters
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    unknown = [name for name in options if name not in parameters]
    if unknown:
        raise ArgumentError(f"sampler={sampler!r} has no option {unknown[0]!r}")
