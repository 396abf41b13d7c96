"""Blocked Gibbs sampling of the same posterior that NUTS samples, for structures whose conditionals are conjugate.

Labels, weights, means, precisions and the scale matrix that the precisions share are drawn in turn, each from its exact
conditional (math.md, 10.1 to 10.3). There is nothing to tune and no gradient; a sweep costs about as much as one
evaluation of the likelihood. Where components are well apart that is hard to beat. Where they overlap, labels and
parameters hold each other in place, and NUTS, which sums the labels out, is far ahead: `describe_mixing` says which of
the two it was.

Rows, weights and the numbers of the prior are read from the PyMC model, so that there is one prior and one place where
it is set. Chains run side by side in threads, in compiled code.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event, Lock
from typing import Any, NamedTuple

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.cores import available_cores
from bayesgmm.errors import ArgumentError
from bayesgmm.kernels.gibbs import Parameters, Prior, run_chain
from bayesgmm.mixture import Mixture
from bayesgmm.structure import CovarianceStructure

__all__ = ["BATCH", "CONJUGATE", "batches", "check_count", "chunk_bounds", "describe_mixing", "random_streams",
           "read_prior", "run_in_threads", "sample_gibbs"]  # fmt: skip

Floats = NDArray[np.float64]

#: Codes of the structures whose conditionals are conjugate.
CONJUGATE = ("EII", "VII", "EEI", "VVI", "EEE", "VVV")

#: Rows of a chunk, each of which has its own stream of random numbers.
CHUNK = 2**14

#: Rows times components of a batch of sweeps: some tenths of a second, after which Ctrl-C is noticed.
BATCH = 5 * 10**6
_LEAST_WEIGHT = 1e-3
_BAD_R_HAT = 1.01
_FEW_DRAWS = 400

# What `build_model` makes the variables of: the kind of distribution and the data it is given.
_DISTRIBUTIONS = {
    "weights": ("Dirichlet", {"concentration"}),
    "means": ("Normal", {"mean_location", "mean_sd"}),
    "correlated means": ("MvNormal", {"mean_location", "mean_chol"}),
    "precisions": ("CustomDist", {"precision_dof", "scale_dof", "scale_rate", "scale_guard"}),
}


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
        prior, model["concentration"].get_value(), *_rows_and_copies(model), draws, tune, check_count("thin", thin)
    )

    def run(chain: int, advance: Callable[[int], bool]) -> _Draws:
        """Run one chain."""
        return _run_chain(plan, start, chain, seed, advance)

    results, _ = run_in_threads(run, chains, cores=cores, total=chains * (tune + draws), progress=progress)
    kept = min(result.made for result in results)
    if kept == 0:
        raise KeyboardInterrupt("sampling was interrupted before the first draw")
    found = Parameters(*(np.stack(values)[:, :kept] for values in zip(*(r.parameters for r in results), strict=True)))
    log_likelihood = np.stack([result.log_likelihood[:kept] for result in results])
    stats = xr.Dataset(
        {
            "lp": (("chain", "draw"), log_likelihood + _log_prior(prior, plan.concentration, found)),
            "n_filled": (("chain", "draw"), np.stack([result.n_filled[:kept] for result in results])),
        }
    )
    if kept < draws:
        stats.attrs["interrupted_after"] = kept
    mixture = _mixture(found, tuple(map(str, model.coords["feature"])))
    return {"posterior": mixture.to_dataset(), "sample_stats": stats}


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


# -------------------------------------------------------------------- what the model says


def read_prior(model: pm.Model, structure: CovarianceStructure, *, guard_is_normalised: bool = False) -> Prior:
    """Read the prior from a model.

    Parameters
    ----------
    model : pymc.Model
        Made by `build_model` and not changed.
    structure : CovarianceStructure
        The structure that it was made for.
    guard_is_normalised : bool, default False
        Whether the factor that rules out spikes is part of the Wishart distribution given C, normalised, as a random
        number of components needs it, or multiplies the joint density, as in the model (math.md, 4.4 and 10.4).

    Returns
    -------
    Prior
        For the kernels, standardised units.

    Raises
    ------
    ArgumentError
        When the structure is not conjugate, or the model was changed.
    """
    if structure.code not in CONJUGATE:
        raise ArgumentError(
            f"sampler='gibbs' has no exact conditionals for structure {structure}; use sampler='nuts', or one of "
            f"{', '.join(CONJUGATE)}"
        )
    _refuse_changes(model)
    rate = np.asarray(model["scale_rate"].get_value(), dtype=float)
    return Prior(
        location=np.ascontiguousarray(model["mean_location"].get_value(), dtype=float),
        mean_precision=_mean_precision(model),
        dof=float(model["precision_dof"].get_value()[0]),
        scale_dof=float(model["scale_dof"].get_value()),
        scale_rate=np.ascontiguousarray(np.diag(rate) if rate.ndim == 1 else rate),
        guard=np.ascontiguousarray(model["scale_guard"].get_value(), dtype=float),
        guard_is_normalised=guard_is_normalised,
        is_diagonal=structure.is_diagonal,
        is_spherical=structure.is_spherical,
        is_shared=structure.is_shared,
    )


def _mean_precision(model: pm.Model) -> Floats:
    if "mean_sd" in model.named_vars:
        return np.diag(1.0 / np.asarray(model["mean_sd"].get_value(), dtype=float) ** 2)
    root = np.linalg.inv(model["mean_chol"].get_value())
    return np.ascontiguousarray(root.T @ root)


def _refuse_changes(model: pm.Model) -> None:
    """Refuse a model whose posterior is not the one that the conditionals are derived from."""
    free, observed, derived = (
        {variable.name for variable in group} for group in (model.free_RVs, model.observed_RVs, model.deterministics)
    )
    if "precisions" not in free:
        raise ArgumentError(
            "sampler='gibbs' has exact conditionals for inverse Wishart covariances only; use "
            "Priors(covariance='wishart') or sampler='nuts'"
        )
    strange = (free - set(_DISTRIBUTIONS)) | (observed ^ {"x"}) | (derived - {"covariances", "weights"})
    strange |= {potential.name for potential in model.potentials} | ({"means"} - free)
    strange |= {name for name in free & set(_DISTRIBUTIONS) if not _is_as_built(model, name)}
    if strange:
        raise ArgumentError(
            f"sampler='gibbs' knows the model of build_model only, and this one was changed "
            f"({', '.join(sorted(strange))}); use sampler='nuts'"
        )


def _is_as_built(model: pm.Model, name: str) -> bool:
    """Whether a variable has the distribution and the data that `build_model` gives it."""
    from pytensor.graph.traversal import ancestors

    node = model[name].owner
    data = {variable.name for variable in model.data_vars}
    given = {ancestor.name for ancestor in ancestors(node.inputs) if ancestor.name in data}
    expected = _DISTRIBUTIONS["correlated means" if name == "means" and "mean_chol" in data else name]
    return type(node.op).__name__.startswith(expected[0]) and given == expected[1]


def _rows_and_copies(model: pm.Model) -> tuple[Floats, NDArray[np.int64]]:
    """Return the rows that count, standardised units, and how often each occurs."""
    if "pattern_members" in model.named_vars:
        raise ArgumentError("sampler='gibbs' needs complete rows; use sampler='nuts', or missing='drop'")
    rows, weights = (np.asarray(model[name].get_value(), dtype=float) for name in ("rows", "row_weights"))
    copies = np.rint(weights)
    if not np.array_equal(copies, weights):
        fractional = weights[copies != weights]
        raise ArgumentError(
            f"sampler='gibbs' gives each copy of a row a label, and {len(fractional)} rows have weights that are not "
            f"whole numbers (the first is {fractional[0]:g}); use sampler='nuts'"
        )
    kept = copies > 0
    return np.ascontiguousarray(rows[kept]), copies[kept].astype(np.int64)


# -------------------------------------------------------------------- running


def random_streams(seed: int, chain: int, count: int) -> NDArray[np.uint64]:
    """Return the states of independent streams of random numbers, shape (count, 4), for a chain."""
    sequence = np.random.SeedSequence(seed, spawn_key=(chain,))
    return np.stack([child.generate_state(4, np.uint64) for child in sequence.spawn(count)])


def chunk_bounds(n: int) -> NDArray[np.int64]:
    """Return where chunks of rows begin and end; it depends on the number of rows only."""
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


class _Draws(NamedTuple):
    """The draws of a chain: how many were made, and room for all of them."""

    made: int
    parameters: Parameters
    log_likelihood: Floats
    n_filled: NDArray[np.int64]

    def part(self, first: int, size: int) -> tuple[Parameters, Floats, NDArray[np.int64]]:
        """Return the places of some draws, for the kernel to fill in."""
        chosen = slice(first, first + size)
        places = Parameters(*(values[chosen] for values in self.parameters))
        return places, self.log_likelihood[chosen], self.n_filled[chosen]


def run_in_threads[T](
    run: Callable[[int, Callable[[int], bool]], T], chains: int, *, cores: int | None, total: int, progress: bool
) -> tuple[list[T], bool]:
    """Run chains in threads; an interruption ends them at their next batch.

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

    Returns
    -------
    results : list
        What the calls returned, in order.
    is_interrupted : bool
        Whether they were told to stop.
    """
    from rich.progress import Progress

    is_stopped, lock = Event(), Lock()
    n_workers = min(chains, available_cores() if cores is None else check_count("cores", cores))
    with Progress(disable=not progress) as bar, ThreadPoolExecutor(n_workers) as pool:
        task = bar.add_task("sampling", total=total)

        def advance(steps: int) -> bool:
            """Report steps; say whether the chain should go on."""
            with lock:
                bar.update(task, advance=steps)
            return not is_stopped.is_set()

        futures = [pool.submit(run, chain, advance) for chain in range(chains)]
        try:
            wait(futures)
        except KeyboardInterrupt:
            is_stopped.set()
        except BaseException:
            is_stopped.set()  # else leaving the pool would wait for every chain to end
            raise
        return [future.result() for future in futures], is_stopped.is_set()


def _run_chain(plan: _Plan, start: Mixture, chain: int, seed: int, advance: Callable[[int], bool]) -> _Draws:
    bounds = chunk_bounds(len(plan.rows))
    streams = random_streams(seed, chain, len(bounds))
    parameters = _start_parameters(start, plan.prior)
    batch = max(1, BATCH // (plan.thin * int(plan.copies.sum()) * len(plan.concentration)))
    given = plan.prior, plan.concentration, plan.rows, plan.copies, bounds, parameters, streams, plan.thin
    for size in batches(plan.tune, batch):
        run_chain(*given, *_room(size, parameters).part(0, size))
        if not advance(size):
            return _room(plan.draws, parameters)
    draws, made = _room(plan.draws, parameters), 0
    for size in batches(plan.draws, batch):
        run_chain(*given, *draws.part(made, size))
        made += size
        if not advance(size):
            break
    return draws._replace(made=made)


def batches(total: int, size: int) -> list[int]:
    """Return the sizes of the parts into which a number of draws is cut."""
    return [min(size, total - first) for first in range(0, total, size)]


def _room(count: int, parameters: Parameters) -> _Draws:
    """Make room for draws; the scale matrix is not kept."""
    log_weights, means, factors = (np.empty((count, *values.shape)) for values in parameters[:3])
    kept = Parameters(log_weights, means, factors, np.empty((0, 0, 0)))
    return _Draws(0, kept, np.empty(count), np.empty(count, dtype=np.int64))


def _start_parameters(start: Mixture, prior: Prior) -> Parameters:
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
