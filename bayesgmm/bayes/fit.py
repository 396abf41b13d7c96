"""`fit_bayes`: the posterior of a Gaussian mixture, from a user's table to a MixtureFit.

Prepares the data, fits by EM first (the chains start there, and it gives the components their names), draws with one of
the engines (samplers.py), converts the draws to the user's units, relabels them, and warns where the result cannot be
trusted (diagnostics.py, modes.py).
"""

import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import ArrayLike

from bayesgmm.bayes.density import log_prior
from bayesgmm.bayes.diagnostics import diagnose, warn
from bayesgmm.bayes.gibbs import describe_mixing
from bayesgmm.bayes.model import COORDINATES, build_model
from bayesgmm.bayes.modes import chain_starts, describe_chains
from bayesgmm.bayes.priors import Priors
from bayesgmm.bayes.samplers import STARTS_BY_CHAIN, check_sampler, draw
from bayesgmm.data import PreparedData, Scaling, prepare
from bayesgmm.em.fit import fit_em
from bayesgmm.errors import ArgumentError
from bayesgmm.fit import FitInfo, MixtureFit, assemble
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.relabel import Relabelling, relabel
from bayesgmm.seeding import as_generator, recorded_seed
from bayesgmm.structure import CovarianceStructure, as_structure

__all__ = ["fit_bayes"]

_OWN_VARIABLES = ("weights", "means", "covariances")
_STARTS = ("optima", "em")
# Above it a library below would end the process, not raise an error.
_MOST_DRAWS = 10**8


def fit_bayes(
    data: Any,
    n_components: int,
    *,
    structure: str | CovarianceStructure = "full",
    priors: Priors | None = None,
    seed: Any = None,
    draws: int = 1000,
    tune: int = 500,
    chains: int = 4,
    em: MixtureFit | None = None,
    model: pm.Model | None = None,
    sampler: str | Callable[..., Any] = "nuts",
    starts: str = "optima",
    sample_weight: ArrayLike | None = None,
    missing: str = "error",
    progress: bool = False,
    **options: Any,
) -> MixtureFit:
    """Sample the posterior of a Gaussian mixture.

    Parameters
    ----------
    data : table or PreparedData
        Rows and columns; see `prepare`.
    n_components : int
        Number of components, K.
    structure : str or CovarianceStructure, default "full"
        Covariance structure: "full", "tied", "diag", "spherical", or one of mclust's codes ("VVV", ...).
    priors : Priors, optional
        Default `Priors()`, scaled to the data.
    seed : int, Generator or RandomState, optional
        Without one a seed is drawn, and recorded in ``fit.info.seed``.
    draws, tune, chains : int
        Draws kept in each chain (default 1000), adaptation steps before them (500), number of chains (4).
    em : MixtureFit, optional
        An EM fit of the same rows: where chains start, and what components are called. Default: `fit_em` is called.
    model : pymc.Model, optional
        Made by `build_model` from the same data and changed as you like; it must keep variables named ``weights``,
        ``means`` and ``covariances``. Not together with `priors`.
    sampler : {"nuts", "gibbs", "laplace", "smc", "advi"} or callable, default "nuts"
        "nuts": nutpie where every variable is continuous, PyMC's own NUTS otherwise. "gibbs": blocked conjugate Gibbs
        sampling; fast where components are well apart. "laplace": normal approximation at the mode, corrected by
        importance sampling; no chains; refuses where it is wrong. "smc": sequential Monte Carlo, for several modes.
        "advi": variational, an approximation and marked as one. A callable is called as
        ``sampler(model, draws=, tune=, chains=, random_seed=, **options)`` and returns a DataTree with a posterior.
    starts : {"optima", "em"}, default "optima"
        Where the chains of "nuts" start: at every distinct optimum of EM that carries at least 1 % of the posterior by
        Laplace's approximation, or all at the best one.
    sample_weight : array_like, shape (n,), optional
        Non-negative weights of the rows: a power likelihood.
    missing : {"error", "drop", "marginalize"}, default "error"
        See `prepare`.
    progress : bool, default False
        Whether to show progress.
    **options
        For the sampler, such as ``target_accept`` or ``cores``.

    Returns
    -------
    MixtureFit
        The draws, relabelled, user's units; ``fit.tree`` is for ArviZ.

    Raises
    ------
    DataError
        When the table cannot be used.
    ArgumentError
        When an argument is illegal.
    FitError
        When the log posterior is not finite where the chains start, or "laplace" cannot be trusted.
    KeyboardInterrupt
        When sampling is interrupted before there is a draw; later, the draws made so far are returned.

    Warns
    -----
    SamplingWarning
        First, chains that keep to different modes. An interruption, R-hat above 1.01, divergences, or fewer than 400
        effective draws.
    LabelWarning
        When components cannot be told apart in too many draws.

    Notes
    -----
    The model is math.md, 4. Labels are summed out of the likelihood; draws are relabelled afterwards (math.md, 6).
    """
    _check_settings(draws, tune, chains, options)
    method = check_sampler(sampler)
    if starts not in _STARTS:
        raise ArgumentError(f"starts={starts!r} is not known; use one of {', '.join(map(repr, _STARTS))}")
    prepared = prepare(data, sample_weight=sample_weight, missing=missing)
    prepared.check_components(n_components)
    chosen = as_structure(structure, prepared.n_features)
    number = recorded_seed(seed)
    scaling = prepared.scaling(chosen)
    reference = _reference(em, prepared, n_components, chosen, number)
    prior_words = _describe_priors(priors, model, prepared, chosen, n_components)
    if model is None:
        model = build_model(prepared, n_components, chosen, priors)
    _check_model(model)
    begun = time.perf_counter()
    plan = {"draws": int(draws), "tune": int(tune), "chains": int(chains), "seed": _chain_seed(number)}
    start, modes = scaling.mixture_to_standard(reference.mixture), None
    if method in STARTS_BY_CHAIN and starts == "optima":
        start, modes = chain_starts(reference, model, chosen, scaling, plan["chains"])
    groups = draw(sampler, model, structure=chosen, start=start, plan=plan, progress=progress, options=options)
    seconds = time.perf_counter() - begun
    of_prior = log_prior(model, groups["posterior"])
    if of_prior is not None:
        groups["log_prior"] = of_prior
    draws_user = _to_user(groups["posterior"], scaling, prepared)
    matched = relabel(draws_user, prepared.values, reference=reference.mixture, sample_weight=prepared.sample_weight)
    groups["posterior"] = _relabelled_extras(groups["posterior"], matched)
    diagnostics = {"seconds": seconds, **diagnose(matched, groups, chosen)}
    if method == "gibbs":
        diagnostics["mixing_in_words"] = describe_mixing(
            max_r_hat=diagnostics["max_r_hat"], min_ess=diagnostics["min_ess"],
            n_draws=diagnostics["chains"] * diagnostics["draws"],
        )  # fmt: skip
    if modes is not None:
        groups["modes"], diagnostics["modes_in_words"] = describe_chains(reference, matched.mixture, modes)
    warn(diagnostics)
    settings = {
        **plan, **prior_words, "sampler": method, "starts": starts, "scale": prepared.scale,
        "n_dropped": prepared.n_dropped,
    }  # fmt: skip
    info = FitInfo(
        method, chosen.code, int(n_components), number, settings, diagnostics,
        {name: version(name) for name in ("bayesgmm", "pymc", "arviz", "nutpie", "numpy")},
    )  # fmt: skip
    return assemble(matched.mixture, prepared, info, scaling, groups=groups, model=model)


# -------------------------------------------------------------------- before


def _check_settings(draws: int, tune: int, chains: int, options: Mapping[str, Any]) -> None:
    for name, value, least in (("draws", draws, 1), ("chains", chains, 1), ("tune", tune, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ArgumentError(f"{name}={value!r} must be a whole number, at least {least}")
    if draws * chains > _MOST_DRAWS:
        raise ArgumentError(f"draws={draws} in {chains} chains do not fit into memory; at most {_MOST_DRAWS} in all")
    cores = options.get("cores", 1)
    if cores is not None and (isinstance(cores, bool) or not isinstance(cores, int | np.integer) or cores < 1):
        raise ArgumentError(f"cores={cores!r} must be a whole number, at least 1")
    accept = options.get("target_accept", 0.8)
    if not 0 < accept < 1:
        raise ArgumentError(f"target_accept={accept!r} must lie between 0 and 1")


def _describe_priors(
    priors: Priors | None, model: pm.Model | None, prepared: PreparedData, structure: CovarianceStructure, k: int
) -> dict[str, Any]:
    """Return the priors for the record: as data, and in words."""
    if model is not None:
        if priors is not None:
            raise ArgumentError("pass priors or model, not both: a model has its priors already")
        return {"priors": None, "priors_in_words": "those of the model that was given"}
    given = priors or Priors()
    return {"priors": given.to_dict(), "priors_in_words": given.resolve(prepared, structure, k).describe()}


def _check_model(model: pm.Model) -> None:
    absent = [name for name in _OWN_VARIABLES if name not in model.named_vars]
    if absent:
        raise ArgumentError(f"the model has no variable named {absent[0]!r}; keep weights, means and covariances")


def _reference(
    em: MixtureFit | None, prepared: PreparedData, n_components: int, structure: CovarianceStructure, seed: int
) -> MixtureFit:
    """Return the EM fit that gives starts and names."""
    if em is None:
        return fit_em(prepared, n_components, structure=structure, seed=seed)
    if em.has_draws or em.n_components != n_components or em.features != prepared.features:
        raise ArgumentError(
            f"em={em!r} must be a point estimate with {n_components} components and the columns "
            f"{', '.join(prepared.features)}"
        )
    return em


def _chain_seed(number: int) -> int:
    return int(as_generator(number, purpose=1).integers(2**31))


# -------------------------------------------------------------------- after


def _to_user(posterior: xr.Dataset, scaling: Scaling, prepared: PreparedData) -> Mixture:
    weights, means, covariances = (posterior[name].transpose("chain", "draw", ...).values for name in _OWN_VARIABLES)
    return scaling.mixture_to_user(Mixture(weights, means, covariances, prepared.features))


def _relabelled_extras(posterior: xr.Dataset, matched: Relabelling) -> xr.Dataset:
    """Keep the variables that a user has added, their components permuted like the rest."""
    extras = posterior.drop_vars([*_OWN_VARIABLES, *COORDINATES], errors="ignore")
    order = xr.DataArray(matched.permutations, dims=("chain", "draw", "component"))
    permuted = extras.map(lambda values: values.isel(component=order) if "component" in values.dims else values)
    used = {dim for values in permuted.data_vars.values() for dim in values.dims} | {"chain", "draw"}
    return permuted.drop_vars([name for name in permuted.coords if name not in used])
