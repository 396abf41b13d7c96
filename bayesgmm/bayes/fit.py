"""`fit_bayes`: the posterior of a Gaussian mixture, from a user's table to a MixtureFit.

Prepares the data, fits by EM first (the chains start there, and it gives the components their names), draws with one of
the engines (samplers.py), makes a fit of the draws (result.py), and warns where it cannot be trusted (diagnostics.py,
modes.py). Rows that are read chunk by chunk go another way (stream_fit.py).
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import ArrayLike

from bayesgmm.bayes.checkpoint import Checkpoint, Left, read_left, run_identity
from bayesgmm.bayes.density import log_prior
from bayesgmm.bayes.diagnostics import warn
from bayesgmm.bayes.model import build_model, check_model
from bayesgmm.bayes.modes import chain_starts
from bayesgmm.bayes.priors import Priors, as_priors
from bayesgmm.bayes.result import OWN_VARIABLES, posterior_fit
from bayesgmm.bayes.samplers import RESUMABLE, STARTS_BY_CHAIN, check_plan, check_sampler, draw, steps_before
from bayesgmm.data import PreparedData, Stream, prepare_or_open
from bayesgmm.em.fit import fit_em
from bayesgmm.errors import ArgumentError
from bayesgmm.fit import MixtureFit, check_estimate
from bayesgmm.posterior.checks import check_prob
from bayesgmm.seeding import as_generator, recorded_seed
from bayesgmm.structure import CovarianceStructure, as_structure

__all__ = ["chain_seed", "describe_priors", "fit_bayes", "reference_fit"]

_STARTS = ("optima", "em")


def fit_bayes(
    data: Any,
    n_components: int,
    *,
    structure: str | CovarianceStructure = "full",
    priors: Priors | None = None,
    seed: Any = None,
    draws: int = 1000,
    tune: int | None = None,
    chains: int = 4,
    em: MixtureFit | None = None,
    model: pm.Model | None = None,
    sampler: str | Callable[..., Any] = "nuts",
    starts: str = "optima",
    sample_weight: ArrayLike | None = None,
    missing: str = "error",
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = 60.0,
    progress: bool = False,
    max_memory: float | None = None,
    **options: Any,
) -> MixtureFit:
    """Sample the posterior of a Gaussian mixture.

    Parameters
    ----------
    data : table, PreparedData, or anything that `open_stream` opens
        Rows and columns; see `prepare`. Rows of a memory map or of Parquet files that do not fit into memory, and those
        of a Dask array or dataframe, are read chunk by chunk: with "gibbs" and "laplace".
    n_components : int
        Number of components, K.
    structure : str or CovarianceStructure, default "full"
        Covariance structure: "full", "tied", "diag", "spherical", or one of mclust's codes ("VVV", ...).
    priors : Priors, optional
        Default `Priors()`, scaled to the data.
    seed : int, Generator or RandomState, optional
        Without one a seed is drawn, and recorded in ``fit.info.seed``.
    draws : int, default 1000
        Draws kept in each chain.
    tune : int, optional
        Steps before them, in which a chain adapts. Default 500; 150 where "nuts" moves in coordinates that are whitened
        by the normal approximation at the mode. ``fit.info.settings["tune"]`` says how many there were.
    chains : int, default 4
        Number of chains.
    em : MixtureFit, optional
        An EM fit of the same rows: where chains start, and what components are called. Default: `fit_em` is called.
    model : pymc.Model, optional
        Made by `build_model` from the same data and changed as you like; it must keep variables named ``weights``,
        ``means`` and ``covariances``. Not together with `priors`.
    sampler : {"nuts", "gibbs", "laplace", "smc", "advi", "pathfinder"} or callable, default "nuts"
        "nuts": nutpie where every variable is continuous, PyMC's own NUTS otherwise. "gibbs": blocked conjugate Gibbs
        sampling; fast where components are well apart. "laplace": normal approximation at the mode, corrected by
        importance sampling; no chains; refuses where it is wrong. "smc": sequential Monte Carlo, for several modes.
        "advi": variational; "pathfinder": normal distributions on the way of several searches for the mode, corrected
        by importance sampling; both are approximations and marked as such. A callable is called as
        ``sampler(model, draws=, tune=, chains=, random_seed=, **options)``, or with ``model=`` where its first argument
        is another, as that of `pymc.sample`, and returns a DataTree with a posterior.
    starts : {"optima", "em"}, default "optima"
        Where the chains of "nuts" start: at every distinct optimum of EM that carries at least 1 % of the posterior by
        Laplace's approximation, or all at the best one.
    sample_weight : array_like, shape (n,), optional
        Non-negative weights of the rows: a power likelihood.
    missing : {"error", "drop", "marginalize"}, default "error"
        See `prepare`.
    checkpoint : str or Path, optional
        For "nuts" and "gibbs": a Zarr store (``.zarr``) in which the run leaves what it has drawn. A call that finds
        what an earlier one has left goes on; it must be the same call, but for `draws`, which may grow. "gibbs" then
        gives bit for bit the draws of a run that was not interrupted; chains of "nuts" adapt anew, for a shorter time,
        and ``fit.info.settings["resumed_after"]`` says where they were joined. `load` reads the draws so far.
    checkpoint_seconds : float, default 60
        Least time between two checkpoints, in seconds.
    progress : bool, default False
        Whether to show progress.
    max_memory : float, optional
        Bytes that rows may take in memory; what needs more is read chunk by chunk. Default half of what is available.
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
    FileFormatError
        When `checkpoint` is there and is none, or is damaged.
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
    check_plan(draws, tune, chains)
    _check_options(options)
    method = check_sampler(sampler)
    if starts not in _STARTS:
        raise ArgumentError(f"starts={starts!r} is not known; use one of {', '.join(map(repr, _STARTS))}")
    prepared = prepare_or_open(data, sample_weight=sample_weight, missing=missing, max_memory=max_memory)
    if isinstance(prepared, Stream):
        # It builds on this module.
        from bayesgmm.bayes.stream_fit import fit_bayes_stream

        return fit_bayes_stream(
            prepared, n_components, structure=structure, priors=priors, seed=seed, draws=draws, tune=tune,
            chains=chains, em=em, model=model, sampler=method, checkpoint=checkpoint, progress=progress,
            max_memory=max_memory, **options,
        )  # fmt: skip
    prepared.check_components(n_components)
    chosen = as_structure(structure, prepared.n_features)
    left = None if checkpoint is None else _left_by(method, checkpoint)
    number = recorded_seed(seed if seed is not None or left is None else left.identity["seed"])
    scaling = prepared.scaling(chosen)
    reference = reference_fit(em, prepared, n_components, chosen, number)
    prior_words = describe_priors(priors, model, prepared, chosen, n_components)
    given = model
    if model is None:
        model = build_model(prepared, n_components, chosen, priors)
    _check_model(model)
    begun = time.perf_counter()
    plan: dict[str, Any] = {
        "draws": int(draws), "tune": steps_before(method, tune), "chains": int(chains), "seed": chain_seed(number),
    }  # fmt: skip
    start, modes = scaling.mixture_to_standard(reference.mixture), None
    if method in STARTS_BY_CHAIN and starts == "optima":
        start, modes = chain_starts(reference, model, chosen, scaling, plan["chains"])
    settings = {
        **plan, **prior_words, "sampler": method, "starts": starts, "scale": prepared.scale,
        "n_dropped": prepared.n_dropped,
    }  # fmt: skip

    def fit_of(groups: Mapping[str, xr.Dataset], seconds: float) -> MixtureFit:
        """Make the fit that draws stand for, all of them or those so far."""
        return posterior_fit(
            groups, prepared=prepared, reference=reference, scaling=scaling, structure=chosen, method=method,
            seed=number, settings=settings | _said(groups), seconds=seconds, modes=modes, model=model,
        )  # fmt: skip

    place = None
    if checkpoint is not None:
        asked = {"n_components": int(n_components), "structure": chosen.code, **settings, "seed": number}
        identity = run_identity(prepared, given, reference.mixture, asked, options)
        place = Checkpoint(
            checkpoint, seconds=checkpoint_seconds, identity=identity, left=left, draws=plan["draws"], describe=fit_of
        )
    groups = draw(
        sampler, model, structure=chosen, start=start, plan=plan, progress=progress, options=options, checkpoint=place
    )
    seconds = time.perf_counter() - begun if place is None else place.seconds
    of_prior = log_prior(model, groups["posterior"])
    if of_prior is not None:
        groups["log_prior"] = of_prior
    fit = fit_of(groups, seconds)
    warn(fit.info.diagnostics)
    return fit


# -------------------------------------------------------------------- before


def _left_by(method: str, checkpoint: str | Path) -> Left | None:
    """Read what an earlier call has left, or say that this sampler leaves nothing."""
    if method not in RESUMABLE:
        raise ArgumentError(
            f"checkpoint={str(checkpoint)!r} goes with sampler='nuts' or 'gibbs'; {method!r} has nothing to go on from"
        )
    return read_left(checkpoint)


def _said(groups: Mapping[str, xr.Dataset]) -> dict[str, Any]:
    """Return what a sampler says of the run: how long it adapted, and after how many draws it was taken up again."""
    attributes = groups["sample_stats"].attrs if "sample_stats" in groups else {}
    joins = attributes.get("resumed_after", "").split()
    found: dict[str, Any] = {"tune": int(attributes["tune"])} if "tune" in attributes else {}
    return found | ({"resumed_after": [int(part) for part in joins]} if joins else {})


def _check_options(options: Mapping[str, Any]) -> None:
    cores = options.get("cores", 1)
    if cores is not None and (isinstance(cores, bool) or not isinstance(cores, int | np.integer) or cores < 1):
        raise ArgumentError(f"cores={cores!r} must be a whole number, at least 1")
    check_prob(options.get("target_accept", 0.8), "target_accept")


def describe_priors(
    priors: Priors | None, model: pm.Model | None, prepared: PreparedData, structure: CovarianceStructure, k: int
) -> dict[str, Any]:
    """Return the priors for the record: as data, and in words."""
    if model is not None:
        if priors is not None:
            raise ArgumentError("pass priors or model, not both: a model has its priors already")
        return {"priors": None, "priors_in_words": "those of the model that was given"}
    given = as_priors(priors)
    return {"priors": given.to_dict(), "priors_in_words": given.resolve(prepared, structure, k).describe()}


def _check_model(model: pm.Model) -> None:
    check_model(model)
    absent = [name for name in OWN_VARIABLES if name not in model.named_vars]
    if absent:
        raise ArgumentError(f"the model has no variable named {absent[0]!r}; keep weights, means and covariances")


def reference_fit(
    em: MixtureFit | None,
    rows: PreparedData | Stream,
    n_components: int,
    structure: CovarianceStructure,
    seed: int,
    max_memory: float | None = None,
) -> MixtureFit:
    """Return the EM fit that gives starts and names: the one that was given, or a new one."""
    if em is None:
        return fit_em(rows, n_components, structure=structure, seed=seed, max_memory=max_memory)
    check_estimate(em, n_components, rows.features)
    return em


def chain_seed(number: int) -> int:
    """Return the seed of the sampler, which has another purpose than that of EM."""
    return int(as_generator(number, purpose=1).integers(2**31))
