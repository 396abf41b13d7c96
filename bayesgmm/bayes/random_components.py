"""How many components there are, as a posterior: the telescoping sampler.

`number_of_components` lets the number of components be random, in one of three ways: a mixture of finite mixtures, with
a prior on K (Fruehwirth-Schnatter, Malsiner-Walli & Gruen 2021); a sparse finite mixture, with more components than
needed and weights that let them empty themselves (Malsiner-Walli, Fruehwirth-Schnatter & Gruen 2016); a Dirichlet
process. One kernel serves the three; they differ in the step that draws K and the weights (math.md, 10.4 to 10.6).

The answer is label-free: the posterior of K and of K+, the number of components that rows came from, each beside its
prior, and the allocations, which partitions are made of. For the parameters of a given K there is `fit_bayes`.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bayesgmm.bayes.chain_threads import check_count, run_and_keep
from bayesgmm.bayes.checkpoint import Checkpoint, Left, read_left, run_identity
from bayesgmm.bayes.component_number import ComponentNumber, describe_number
from bayesgmm.bayes.conjugate_model import read_prior
from bayesgmm.bayes.conjugate_rows import table_of
from bayesgmm.bayes.model import build_model
from bayesgmm.bayes.number_priors import number_belief
from bayesgmm.bayes.priors import Priors, as_priors
from bayesgmm.bayes.samplers import check_plan
from bayesgmm.bayes.telescope import (
    Plan,
    advance_chain,
    chains_from,
    groups_of_chains,
    keep_every,
    new_chains,
    write_chains,
)
from bayesgmm.data import PreparedData, prepare
from bayesgmm.em.result import log_jacobian
from bayesgmm.errors import ArgumentError, DataError, SamplingWarning
from bayesgmm.seeding import recorded_seed
from bayesgmm.structure import CovarianceStructure, as_structure

__all__ = ["ComponentNumber", "number_of_components"]

# Rows that a chain visits by default, over all of its sweeps.
_ROW_VISITS = 4 * 10**7
_CALL = "number_of_components"


def number_of_components(
    data: Any,
    *,
    method: str = "mfm",
    structure: str | CovarianceStructure = "full",
    k_max: int | None = None,
    k_prior: str | Sequence[float] | None = None,
    concentration: float | None = None,
    priors: Priors | None = None,
    seed: Any = None,
    draws: int = 2000,
    tune: int = 1000,
    chains: int = 4,
    thin: int | None = None,
    cores: int | None = None,
    missing: str = "error",
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = 60.0,
    progress: bool = False,
) -> ComponentNumber:
    """Compute the posterior of the number of components.

    Parameters
    ----------
    data : table or PreparedData
        Rows and columns; see `prepare`.
    method : {"mfm", "sparse", "dp"}, default "mfm"
        "mfm": mixture of finite mixtures, a prior on K. "sparse": K = `k_max` components and a small concentration, so
        that components empty themselves. "dp": Dirichlet process, truncated at `k_max`.
    structure : str or CovarianceStructure, default "full"
        Covariance structure: "full", "tied", "diag", "spherical", "EEI" or "EII".
    k_max : int, optional
        Largest number of components. Default 50; 10 for "sparse".
    k_prior : {"bnb", "poisson", "uniform"} or sequence of k_max floats, optional
        Prior of K, cut at `k_max`, for "mfm". "bnb", the default: K - 1 is beta-negative-binomial (1, 4, 3). "poisson":
        K - 1 is Poisson(1).
    concentration : float, optional
        Of the weights. For "mfm" Dirichlet(concentration); by default Dirichlet(alpha / K) with alpha ~ F(6, 3). For
        "sparse" Dirichlet(concentration), default 0.01. For "dp" alpha; by default alpha ~ Gamma(2, rate 4).
    priors : Priors, optional
        On means and covariances, scaled to the data; its own concentration is not used and must be left at its default.
    seed : int, Generator or RandomState, optional
        Without one a seed is drawn, and recorded in ``settings``.
    draws, tune, chains : int
        Draws kept in each chain (default 2000), draws before them (1000), number of chains (4). Chains start from
        different numbers of components.
    thin : int, optional
        Sweeps for each draw: the number of components moves slowly, and sweeps are cheap. Default 50 for few rows and
        fewer for many: (draws + tune) x thin x rows is about 4e7, some seconds.
    cores : int, optional
        Chains that run at the same time; it has no influence on the draws. Default: as many as there are cores.
    missing : {"error", "drop", "marginalize"}, default "error"
        See `prepare`. A row with missing values counts with the density of what was observed.
    checkpoint : str or Path, optional
        A Zarr store (``.zarr``) in which the run leaves what it has drawn. A call that finds what an earlier one has
        left goes on, and gives bit for bit the draws of a run that was not interrupted; it must be the same call, but
        for `draws`, which may grow. Where `seed` or `thin` is not given, it is that of the earlier call.
        `ComponentNumber.load` reads the draws so far.
    checkpoint_seconds : float, default 60
        Least time between two checkpoints, in seconds.
    progress : bool, default False
        Whether to show progress.

    Returns
    -------
    ComponentNumber
        Posterior and prior of K and of K+, allocations and diagnostics; it prints itself.

    Raises
    ------
    DataError
        When the table cannot be used.
    ArgumentError
        When an argument is illegal, or rows have weights.
    FileFormatError
        When `checkpoint` is there and is none, or is damaged.
    KeyboardInterrupt
        When it is interrupted before there is a draw; later, the draws made so far are returned.

    Warns
    -----
    SamplingWarning
        An interruption, R-hat above 1.01, fewer than 400 effective draws, or an answer that `k_max` has decided.

    Notes
    -----
    The models and the sampler are math.md, 10.4 to 10.6 and 10.8. A sweep costs O(n K D^2), and O(K D^3) for each
    set of columns that rows lack.
    """
    check_plan(draws, tune, chains)
    belief = number_belief(method, k_max=k_max, k_prior=k_prior, concentration=concentration)
    prepared = prepare(data, missing=missing)
    _check_data(prepared, priors)
    chosen = as_structure(structure, prepared.n_features)
    left = None if checkpoint is None else read_left(checkpoint, call=_CALL)
    number = recorded_seed(_given(seed, left, "seed"))
    given_thin = _given(thin, left, "thin")
    sweeps = _default_thin(draws + tune, prepared.n_rows) if given_thin is None else check_count("thin", given_thin)
    model = build_model(prepared, 1, chosen, priors)
    plan = Plan(
        read_prior(model, chosen, guard_is_normalised=True), belief,
        table_of(model), prepared.rows, int(draws), int(tune), sweeps,
        max(keep_every(chains, draws, prepared.n_rows), 1 if left is None else int(left.state.attrs["keep"])),
    )  # fmt: skip
    settings = {"seed": number, "draws": plan.draws, "tune": plan.tune, "chains": int(chains), "thin": sweeps,
                "k_max": belief.k_max, "priors": as_priors(priors).to_dict()}  # fmt: skip
    prior_filled = belief.filled(prepared.n_rows)

    def describe(groups: Mapping[str, xr.Dataset], _seconds: float = 0.0) -> ComponentNumber:
        """Say what draws stand for, all of them or those so far."""
        return describe_number(
            groups, belief=belief, structure=chosen, prior_filled=prior_filled, settings=settings
        )  # fmt: skip

    place = None
    if checkpoint is not None:
        weights = None if belief.alpha_is_random else belief.alpha
        asked = {"call": _CALL, "method": method, "structure": chosen.code, "concentration": weights,
                 "k_prior": belief.probabilities.tolist(), "scale": prepared.scale, **settings}  # fmt: skip
        place = Checkpoint(
            checkpoint, seconds=checkpoint_seconds, identity=run_identity(prepared, None, None, asked, {}), left=left,
            draws=plan.draws, describe=describe,
        )  # fmt: skip
    offset = log_jacobian(prepared, prepared.scaling(chosen))
    found = describe(_sample(plan, number, chains, offset, cores=cores, progress=progress, checkpoint=place))
    for sentence in found.trouble():
        warnings.warn(sentence, SamplingWarning, stacklevel=2)
    return found


# -------------------------------------------------------------------- before


def _default_thin(draws: int, n: int) -> int:
    return int(np.clip(_ROW_VISITS // (draws * n), 1, 50))


def _check_data(prepared: PreparedData, priors: Priors | None) -> None:
    prepared.check_components(1)
    n_empty = int(np.isnan(prepared.values).all(axis=1).sum())
    if n_empty:  # `prepare` leaves them out; data made by hand may have them
        raise DataError(f"{n_empty} rows lack every value, and so belong to no component; leave them out")
    if prepared.sample_weight is not None:
        raise ArgumentError("the number of components is defined for rows that count once; leave sample_weight out")
    priors = as_priors(priors)
    if priors.concentration != Priors().concentration:
        raise ArgumentError(
            f"priors.concentration={priors.concentration!r} has no use here; pass concentration to number_of_components"
        )


def _given(value: Any, left: Left | None, name: str) -> Any:
    """Return an argument, or what an earlier call of the run had in its place."""
    return value if value is not None or left is None else left.identity[name]


# -------------------------------------------------------------------- sampling


def _sample(
    plan: Plan,
    seed: int,
    chains: int,
    offset: float,
    *,
    cores: int | None,
    progress: bool,
    checkpoint: Checkpoint | None,
) -> dict[str, xr.Dataset]:
    left = None if checkpoint is None else checkpoint.state
    every = new_chains(plan, chains, seed) if left is None else chains_from(left, plan)

    def run(chain: int, advance: Callable[[int], bool]) -> None:
        """Run one chain."""
        advance_chain(plan, every[chain], advance)

    ahead = sum(plan.tune + plan.draws - chain.place.standing.tuned - chain.place.standing.made for chain in every)
    return run_and_keep(
        run, chains, cores=cores, total=ahead, progress=progress, checkpoint=checkpoint,
        state=lambda: write_chains(plan, every), groups=lambda: groups_of_chains(plan, every, offset),
    )  # fmt: skip
