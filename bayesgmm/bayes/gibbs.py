"""Blocked Gibbs sampling of the same posterior that NUTS samples, for structures whose conditionals are conjugate.

Labels, weights, means, precisions and the scale matrix that the precisions share are drawn in turn, each from its exact
conditional (math.md, 10.1 to 10.3). There is nothing to tune and no gradient; a sweep costs about as much as one
evaluation of the likelihood. Where components are well apart that is hard to beat. Where they overlap, labels and
parameters hold each other in place, and NUTS, which sums the labels out, is far ahead: `describe_mixing` says which of
the two it was.

Rows, weights and the numbers of the prior are read from the PyMC model, so that there is one prior and one place where
it is set. Chains run side by side in threads, in compiled code.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from threading import Event, Lock
from typing import Any, NamedTuple

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.bayes.checkpoint import Checkpoint, longest_block
from bayesgmm.bayes.conjugate_model import read_prior, rows_and_copies
from bayesgmm.bayes.gibbs_chains import Chain, Draws, Standing, chains_of, room_for, state_of
from bayesgmm.cores import available_cores
from bayesgmm.errors import ArgumentError
from bayesgmm.kernels.gibbs import Parameters, Prior, run_chain
from bayesgmm.mixture import Mixture
from bayesgmm.progress import progress_bar
from bayesgmm.structure import CovarianceStructure

__all__ = ["BATCH", "batches", "check_count", "chunk_bounds", "describe_mixing", "groups_of",
           "random_streams", "run_in_threads", "sample_gibbs", "start_parameters"]  # fmt: skip

Floats = NDArray[np.float64]

#: Rows of a chunk: what they count is added up before it is added to the rest.
CHUNK = 2**14

#: Rows times components of a batch of sweeps: some tenths of a second, after which Ctrl-C is noticed.
BATCH = 5 * 10**6
_LEAST_WEIGHT = 1e-3
_BAD_R_HAT = 1.01
_FEW_DRAWS = 400
# Seconds between two looks at whether a checkpoint is due.
_NAP = 0.1


def sample_gibbs(
    model: pm.Model,
    *,
    structure: CovarianceStructure,
    start: Mixture,
    draws: int,
    tune: int,
    chains: int,
    seed: int,
    progress: bool = False,
    thin: int = 1,
    cores: int | None = None,
    checkpoint: Checkpoint | None = None,
) -> dict[str, xr.Dataset]:
    """Sample the posterior of a Gaussian mixture by blocked Gibbs.

    Parameters
    ----------
    model : pymc.Model
        Made by `build_model` and not changed.
    structure : CovarianceStructure
        The structure that it was made for.
    start : Mixture
        A single mixture, standardised units. Each chain draws its first labels from it.
    draws, tune, chains : int
        Draws kept and draws thrown away before them in each chain; number of chains.
    seed : int
        Seed. The draws do not depend on `cores`.
    progress : bool, default False
        Whether to show progress.
    thin : int, default 1
        Sweeps for each draw.
    cores : int, optional
        Chains that run at the same time. Default: as many as there are cores.
    checkpoint : Checkpoint, optional
        Where the run leaves what it has drawn, and finds what an earlier call has left. The draws do not depend on it.

    Returns
    -------
    dict of str to Dataset
        Groups ``posterior`` (weights, means, covariances; standardised units) and ``sample_stats``: ``lp``, the log
        posterior density of weights, means and precisions up to a constant, and ``n_filled``, the number of components
        with rows.

    Raises
    ------
    ArgumentError
        When the model is not conjugate or was changed, values are missing, rows have fractional weights, or `thin` or
        `cores` is not a positive number.
    KeyboardInterrupt
        When sampling is interrupted before the first draw; later, the draws made so far are returned, and
        ``interrupted_after`` among the attributes of ``sample_stats`` says how many.

    Notes
    -----
    The conditionals are math.md, 10.1 to 10.3. A sweep costs O(W K D^2), with W the sum of the row weights.
    """
    prior = read_prior(model, structure)
    plan = _Plan(
        prior, model["concentration"].get_value(), *rows_and_copies(model), draws, tune, check_count("thin", thin)
    )
    left = None if checkpoint is None else checkpoint.state
    every = _new_chains(plan, start, seed, chains) if left is None else chains_of(left, draws)
    features = tuple(map(str, model.coords["feature"]))

    def run(chain: int, advance: Callable[[int], bool]) -> None:
        """Run one chain."""
        _run_chain(plan, every[chain], advance)

    def save_when_due() -> None:
        """Write a checkpoint, if it is time."""
        if checkpoint is not None and checkpoint.is_due():
            checkpoint.write(state_of(every), _groups(plan, every, features))

    ahead = sum(tune + draws - chain.standing.tuned - chain.standing.made for chain in every)
    try:
        run_in_threads(
            run, chains, cores=cores, total=ahead, progress=progress,
            meanwhile=None if checkpoint is None else save_when_due,
        )  # fmt: skip
    finally:
        # Whatever ended the run, an interruption of another kind included.
        groups = _groups(plan, every, features)
        if checkpoint is not None and ahead:
            checkpoint.write(state_of(every), groups)
    if not groups:
        raise KeyboardInterrupt("sampling was interrupted before the first draw")
    return groups


def describe_mixing(*, max_r_hat: float, min_ess: float, n_draws: int) -> str:
    """Say in words that Gibbs has not mixed, with the numbers and the engine that would.

    Parameters
    ----------
    max_r_hat : float
        Largest R-hat of the parameters; NaN where it is not defined.
    min_ess : float
        Smallest number of effective draws of the parameters.
    n_draws : int
        Number of draws of all chains together.

    Returns
    -------
    str
        A sentence for a warning, or nothing where R-hat is at most 1.01 and there are 400 effective draws.
    """
    disagree = not (np.isnan(max_r_hat) or max_r_hat <= _BAD_R_HAT)
    if not disagree and min_ess >= _FEW_DRAWS:
        return ""
    chains = f"the largest R-hat is {max_r_hat:.3f} and " if disagree else ""
    return (
        f"Gibbs has not mixed: {chains}{n_draws} draws are worth {min_ess:.0f} independent ones "
        f"({min_ess / n_draws:.1%}), as happens where components overlap; use sampler='nuts', which sums the labels "
        "out, or more sweeps for each draw (thin)"
    )


# -------------------------------------------------------------------- running


def random_streams(seed: int, chain: int) -> NDArray[np.uint64]:
    """Return the random numbers of a chain, shape (2, 4): key and sweep of its labels, state of its parameters."""
    sequence = np.random.SeedSequence(seed, spawn_key=(chain,))
    streams = np.array([child.generate_state(4, np.uint64) for child in sequence.spawn(2)], dtype=np.uint64)
    streams[0, 1:] = 0
    return streams


def chunk_bounds(n: int) -> NDArray[np.int64]:
    """Return where chunks of rows, which are added up one after the other, begin and end."""
    count = max(1, -(-n // CHUNK))
    return np.arange(count + 1, dtype=np.int64) * n // count


class _Plan(NamedTuple):
    """What every chain is asked for."""

    prior: Prior
    concentration: Floats
    rows: Floats
    copies: NDArray[np.int64]
    draws: int
    tune: int
    thin: int


def run_in_threads[T](
    run: Callable[[int, Callable[[int], bool]], T],
    chains: int,
    *,
    cores: int | None,
    total: int,
    progress: bool,
    meanwhile: Callable[[], None] | None = None,
) -> tuple[list[T], bool]:
    """Run chains in threads; an interruption, or an error in one of them, ends all at their next batch.

    Parameters
    ----------
    run : callable
        Called with the number of a chain and with a function that takes the number of steps made and says whether to
        go on.
    chains : int
        Number of chains.
    cores : int or None
        Chains that run at the same time. None: as many as there are cores.
    total : int
        Steps of all chains together, for the progress bar.
    progress : bool
        Whether to show it.
    meanwhile : callable, optional
        Called some times a second in the calling thread.

    Returns
    -------
    results : list
        What the calls returned, in order.
    is_interrupted : bool
        Whether they were told to stop.
    """
    is_stopped, lock = Event(), Lock()
    n_workers = min(chains, available_cores() if cores is None else check_count("cores", cores))
    with progress_bar(progress=progress) as bar, ThreadPoolExecutor(n_workers) as pool:
        task = bar.add_task("sampling", total=total)

        def advance(steps: int) -> bool:
            """Report steps; say whether the chain should go on."""
            with lock:
                bar.update(task, advance=steps)
            return not is_stopped.is_set()

        futures = [pool.submit(run, chain, advance) for chain in range(chains)]
        try:
            while _wait_for_some(futures, None if meanwhile is None else _NAP):
                if meanwhile is not None:
                    meanwhile()
        except KeyboardInterrupt:
            is_stopped.set()
        except BaseException:
            is_stopped.set()  # else leaving the pool would wait for every chain to end
            raise
        return [future.result() for future in futures], is_stopped.is_set()


def _wait_for_some(futures: Sequence[Future[Any]], seconds: float | None) -> bool:
    """Wait for the end of all chains, or so long; say whether any goes on. Raise what a chain has raised."""
    done, going_on = wait(futures, timeout=seconds, return_when=FIRST_EXCEPTION)
    for future in done:
        future.result()
    return bool(going_on)


def _new_chains(plan: _Plan, start: Mixture, seed: int, count: int) -> list[Chain]:
    parameters = start_parameters(start, plan.prior)
    return [
        Chain(room_for(plan.draws, parameters), Standing(0, 0, parameters, random_streams(seed, chain)))
        for chain in range(count)
    ]


def _run_chain(plan: _Plan, chain: Chain, advance: Callable[[int], bool]) -> None:
    """Run a chain from where it stands to its last draw, or until it is told to stop."""
    tuned, made, parameters, streams = chain.standing.copy()
    batch = max(1, BATCH // (plan.thin * int(plan.copies.sum()) * len(plan.concentration)))
    bounds = chunk_bounds(len(plan.rows))
    given = plan.prior, plan.concentration, plan.rows, plan.copies, bounds, parameters, streams, plan.thin
    for size in batches(plan.tune - tuned, batch):
        run_chain(*given, *room_for(size, parameters))
        tuned += size
        chain.standing = Standing(tuned, made, parameters, streams).copy()
        if not advance(size):
            return
    for size in batches(plan.draws - made, batch):
        run_chain(*given, *chain.draws.part(made, size))
        made += size
        chain.standing = Standing(tuned, made, parameters, streams).copy()
        if not advance(size):
            return


def batches(total: int, size: int) -> list[int]:
    """Return the sizes of the parts into which a number of draws is cut."""
    return [min(size, total - first) for first in range(0, total, size)]


def start_parameters(start: Mixture, prior: Prior) -> Parameters:
    """Return where a chain starts, for the kernels."""
    weights = np.maximum(start.weights, _LEAST_WEIGHT)
    factors = np.linalg.cholesky(np.linalg.inv(start.covariances))
    return Parameters(
        np.log(weights / weights.sum()), start.means.copy(), np.ascontiguousarray(factors), _expected_scale(prior)
    )


def _expected_scale(prior: Prior) -> Floats:
    return np.ascontiguousarray(prior.scale_dof * np.linalg.inv(prior.scale_rate))


def check_count(name: str, value: Any) -> int:
    """Return a whole number that is at least one, or say that it is not."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ArgumentError(f"{name}={value!r} must be a whole number, at least 1")
    return int(value)


# -------------------------------------------------------------------- what the draws say


def _groups(plan: _Plan, chains: list[Chain], features: tuple[str, ...]) -> dict[str, xr.Dataset]:
    """Return the draws made so far, as many of as many chains as there are; nothing where there are none."""
    chosen, made = longest_block(np.array([chain.standing.made for chain in chains]))
    if made == 0:
        return {}
    parts = [chains[chain].draws.part(0, made) for chain in chosen]
    return groups_of(parts, plan.prior, plan.concentration, features, plan.draws)


def groups_of(
    parts: Sequence[Draws], prior: Prior, concentration: Floats, features: tuple[str, ...], draws: int
) -> dict[str, xr.Dataset]:
    """Return draws as the groups that `sample_gibbs` returns.

    Parameters
    ----------
    parts : sequence of Draws
        Those of each chain, equally many.
    prior : Prior
        The prior.
    concentration : ndarray, shape (K,)
        Of the Dirichlet prior on the weights.
    features : tuple of str
        Names of the columns.
    draws : int
        How many each chain was to make.

    Returns
    -------
    dict of str to Dataset
        ``posterior`` and ``sample_stats``.
    """
    found = Parameters(*(np.stack(values) for values in zip(*(part.parameters for part in parts), strict=True)))
    log_likelihood = np.stack([part.log_likelihood for part in parts])
    stats = xr.Dataset(
        {
            "lp": (("chain", "draw"), log_likelihood + _log_prior(prior, concentration, found)),
            "n_filled": (("chain", "draw"), np.stack([part.n_filled for part in parts])),
        }
    )
    made = log_likelihood.shape[1]
    if made < draws:
        stats.attrs["interrupted_after"] = made
    return {"posterior": _mixture(found, features).to_dataset(), "sample_stats": stats}


def _mixture(draws: Parameters, features: tuple[str, ...]) -> Mixture:
    roots = np.linalg.inv(draws.factors)
    covariances = np.swapaxes(roots, -1, -2) @ roots
    weights = np.exp(draws.log_weights)
    covariances = 0.5 * (covariances + np.swapaxes(covariances, -1, -2))
    return Mixture(weights / weights.sum(axis=-1, keepdims=True), draws.means, covariances, features)


def _log_prior(prior: Prior, concentration: Floats, draws: Parameters) -> Floats:
    """Return the log prior density of weights, means and precisions up to a constant (math.md, 4.1 to 4.4)."""
    p = len(prior.guard)
    factors = draws.factors[..., :1, :, :] if prior.is_shared else draws.factors
    factors = factors[..., :p, :p]
    precisions = factors @ np.swapaxes(factors, -1, -2)
    summed = prior.scale_rate + precisions.sum(axis=-3)
    log_diagonals = np.log(np.diagonal(factors, axis1=-2, axis2=-1)).sum(axis=(-1, -2))
    order = 1 if prior.is_diagonal else p
    total_dof = prior.scale_dof + factors.shape[-3] * prior.dof
    guarded = (prior.guard * np.diagonal(precisions, axis1=-2, axis2=-1)).sum(axis=(-1, -2))
    centred = draws.means - prior.location
    offsets = np.einsum("...kd,de,...ke->...", centred, prior.mean_precision, centred)
    log_covariances = (prior.dof - order - 1) * log_diagonals - 0.5 * total_dof * np.linalg.slogdet(summed)[1]
    with np.errstate(invalid="ignore"):
        log_weights = np.where(concentration == 1.0, 0.0, (concentration - 1.0) * draws.log_weights).sum(axis=-1)
    return np.asarray(log_weights + log_covariances - 0.5 * (guarded + offsets))
