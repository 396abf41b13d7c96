"""The chains of the telescoping sampler: where each starts, how it runs, and all of it as a dataset to go on from.

Like the chains of Gibbs they run in threads, in batches, and replace their standing as a whole after each; besides
parameters and random streams it has the number of components and the concentration of the weights. What they leave is
label-free: numbers, log-likelihoods, and the labels of the rows, of every draw or of every second, fourth, ... where
all would be too many. A run that goes on with more draws leaves out some of the labels that it has: so it is the run
that it would have been.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.bayes.checkpoint import longest_block
from bayesgmm.bayes.gibbs import BATCH, batches, random_streams
from bayesgmm.bayes.gibbs_chains import Standing, padded, read_standing, write_standings
from bayesgmm.bayes.number_priors import NumberBelief
from bayesgmm.kernels.conditionals import Parameters, Prior
from bayesgmm.kernels.table import Table
from bayesgmm.kernels.telescope import Number, run_telescope

__all__ = ["Plan", "TelescopeChain", "advance_chain", "chains_from", "groups_of_chains", "keep_every", "new_chains",
           "read_labels", "write_chains"]  # fmt: skip

Floats = NDArray[np.float64]

# Labels that are kept, at two bytes each; beyond it the allocations are thinned.
_MAX_LABELS = 10**8
# Chains start from different numbers of components, up to this one.
_LARGEST_START = 10
#: What the kernel notes of a draw.
QUANTITIES = ("n_components", "n_filled", "log_likelihood", "alpha", "log_left_out")


class Plan(NamedTuple):
    """What every chain is asked for.

    Parameters
    ----------
    prior : Prior
        On means and precisions.
    belief : NumberBelief
        On the number of components and the weights.
    table : Table
        The rows, standardised units.
    names : ndarray, shape (n,)
        Labels of the rows.
    draws, tune, thin : int
        Draws kept, draws before them, sweeps for each.
    keep : int
        Every so many draws the labels are kept.
    """

    prior: Prior
    belief: NumberBelief
    table: Table
    names: NDArray[Any]
    draws: int
    tune: int
    thin: int
    keep: int


class _Place(NamedTuple):
    """Where a chain stands between two batches."""

    standing: Standing
    number: Number


@dataclass
class TelescopeChain:
    """A chain.

    Parameters
    ----------
    drawn : ndarray, shape (draws, 5)
        Room for the numbers of all draws that it shall make.
    labels : ndarray of int16, shape (draws / keep rounded up, n)
        Room for the labels.
    place : tuple
        Where it stands; replaced, never changed.
    """

    drawn: Floats
    labels: NDArray[np.int16]
    place: _Place


def keep_every(chains: int, draws: int, n: int) -> int:
    """Return how often labels are kept: a power of two, so that of a longer run they are some of a shorter one's.

    Parameters
    ----------
    chains, draws, n : int
        Numbers of chains, of draws of each, and of rows.

    Returns
    -------
    int
        Every so many draws.
    """
    return 1 << (-(-chains * draws * n // _MAX_LABELS) - 1).bit_length()


# -------------------------------------------------------------------- starts


def new_chains(plan: Plan, chains: int, seed: int) -> list[TelescopeChain]:
    """Return chains at their starts, which have different numbers of components.

    Parameters
    ----------
    plan : Plan
        What they are asked for.
    chains : int
        How many.
    seed : int
        Seed.

    Returns
    -------
    list of TelescopeChain
        The chains.
    """
    return [_new_chain(plan, _start_number(chain, chains, plan.belief), chain, seed) for chain in range(chains)]


def _new_chain(plan: Plan, k: int, chain: int, seed: int) -> TelescopeChain:
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(chain, len(plan.table.bounds))))
    parameters = _start_parameters(plan.prior, plan.table.rows, k, plan.belief.k_max, rng)
    standing = Standing(0, 0, parameters, random_streams(seed, chain))
    return TelescopeChain(*_room(plan), _Place(standing, Number(k, float(plan.belief.alpha), -np.inf)))


def _room(plan: Plan) -> tuple[Floats, NDArray[np.int16]]:
    """Make room for draws and labels."""
    labels = np.empty((-(-plan.draws // plan.keep), len(plan.names)), dtype=np.int16)
    return np.empty((plan.draws, len(QUANTITIES))), labels


def _start_number(chain: int, chains: int, belief: NumberBelief) -> int:
    """Return the number of components that a chain starts from: one that the prior allows, spread over the chains."""
    allowed = np.flatnonzero(belief.probabilities)
    wanted = 1 + round((min(_LARGEST_START, belief.k_max) - 1) * chain / max(1, chains - 1))
    return int(allowed[min(int(np.searchsorted(allowed, wanted)), len(allowed) - 1)])


def _start_parameters(prior: Prior, rows: Floats, k: int, k_max: int, rng: np.random.Generator) -> Parameters:
    """Put equal components on rows that are chosen at random."""
    d = rows.shape[1]
    typical = (prior.dof / prior.scale_dof) * prior.scale_rate
    factor = np.linalg.cholesky(typical * np.eye(d) if prior.is_spherical else typical)
    means = np.zeros((k_max, d))
    means[:k] = rows[rng.integers(len(rows), size=k)]
    scale = prior.scale_dof * np.linalg.inv(prior.scale_rate)
    return Parameters(np.full(k_max, -np.log(k)), means, np.stack([factor] * k_max), np.ascontiguousarray(scale))


# -------------------------------------------------------------------- running


def advance_chain(plan: Plan, chain: TelescopeChain, advance: Callable[[int], bool]) -> None:
    """Run a chain from where it stands to its last draw, or until it is told to stop.

    Parameters
    ----------
    plan : Plan
        What it is asked for.
    chain : TelescopeChain
        The chain; moved.
    advance : callable
        Takes the number of draws made and says whether to go on.
    """
    (tuned, made, parameters, streams), number = chain.place.standing.copy(), chain.place.number
    given = plan.prior, plan.belief.for_kernel(), plan.table
    unused = np.empty((1, len(plan.names)), dtype=np.int16)
    cost = plan.thin * len(plan.names) * min(plan.belief.k_max, 10)
    size = plan.keep * max(1, BATCH // (cost * plan.keep))
    for part in batches(plan.tune - tuned, size):
        thrown_away = np.empty((part, len(QUANTITIES)))
        number = run_telescope(*given, number, parameters, streams, plan.thin, part, unused, thrown_away)
        tuned += part
        chain.place = _Place(Standing(tuned, made, parameters, streams).copy(), number)
        if not advance(part):
            return
    for part in _parts(made, plan, size):
        # A batch begins with a draw that leaves its labels, but where a shorter run has ended.
        is_labelled = made % plan.keep == 0
        labels, keep = (chain.labels[made // plan.keep :], plan.keep) if is_labelled else (unused, part)
        drawn = chain.drawn[made : made + part]
        number = run_telescope(*given, number, parameters, streams, plan.thin, keep, labels, drawn)
        made += part
        chain.place = _Place(Standing(tuned, made, parameters, streams).copy(), number)
        if not advance(part):
            return


def _parts(made: int, plan: Plan, size: int) -> list[int]:
    """Return the sizes of the batches to come; all but the first begin with a draw that leaves its labels."""
    first = min(-made % plan.keep, plan.draws - made)
    return ([first] if first else []) + batches(plan.draws - made - first, size)


# -------------------------------------------------------------------- what they have drawn


def groups_of_chains(plan: Plan, chains: Sequence[TelescopeChain], log_jacobian: float) -> dict[str, xr.Dataset]:
    """Return as many draws of as many chains as there are; nothing where there are none.

    Parameters
    ----------
    plan : Plan
        What they were asked for.
    chains : sequence of TelescopeChain
        The chains, which may be running.
    log_jacobian : float
        What takes log-likelihoods to the user's units.

    Returns
    -------
    dict of str to Dataset
        ``posterior``: n_components (where it is random), n_filled, log_likelihood (user's units), alpha; attribute
        ``largest_weight_left_out``, and ``interrupted_after`` where there are fewer draws, or chains, than asked for.
        ``allocations``: the labels.
    """
    chosen, made = longest_block(np.array([chain.place.standing.made for chain in chains]))
    if made == 0:
        return {}
    drawn = np.stack([chains[chain].drawn[:made] for chain in chosen])
    found = {name: (("chain", "draw"), drawn[..., j]) for j, name in enumerate(QUANTITIES)}
    posterior = xr.Dataset(found, coords={"chain": chosen, "draw": np.arange(made)})
    posterior = posterior.assign(
        n_components=posterior["n_components"].astype(np.int64), n_filled=posterior["n_filled"].astype(np.int64),
        log_likelihood=posterior["log_likelihood"] + log_jacobian,
    )  # fmt: skip
    # Before there is a sweep there is none, and minus infinity stands for it.
    posterior.attrs["largest_weight_left_out"] = float(np.exp(drawn[..., -1].max()))
    if made < plan.draws or len(chosen) < len(chains):
        posterior.attrs["interrupted_after"] = made
    hidden = ["log_left_out"] if plan.belief.has_random_number else ["log_left_out", "n_components"]
    labels = np.stack([chains[chain].labels[: -(-made // plan.keep)] for chain in chosen])
    return {
        "posterior": posterior.drop_vars(hidden),
        "allocations": _allocations(labels, plan.keep, made, plan.names).to_dataset(name="allocations"),
    }


def _allocations(labels: NDArray[np.int16], keep: int, draws: int, names: NDArray[Any]) -> xr.DataArray:
    coords = {"draw": np.arange(0, draws, keep), "row": names}
    return xr.DataArray(labels, dims=("chain", "draw", "row"), coords=coords, name="allocations")


# -------------------------------------------------------------------- written down


def write_chains(plan: Plan, chains: Sequence[TelescopeChain]) -> xr.Dataset:
    """Write down chains as they stand, while they may be running.

    Parameters
    ----------
    plan : Plan
        What they are asked for.
    chains : sequence of TelescopeChain
        The chains.

    Returns
    -------
    Dataset
        ``made`` and ``tuned`` (chain,), what they have drawn, and under ``at_...`` where each stands.
    """
    places = [chain.place for chain in chains]
    made = [place.standing.made for place in places]
    contents = write_standings([place.standing for place in places])
    for j, name in enumerate(Number._fields):
        contents[f"at_{name}"] = ("chain", np.array([place.number[j] for place in places]))
    longest = max(made)
    if longest:  # Zarr has no arrays without elements
        drawn = [chain.drawn[:count] for chain, count in zip(chains, made, strict=True)]
        contents["drawn"] = (("chain", "kept", "quantity"), padded(drawn, longest))
        labels = [chain.labels[: -(-count // plan.keep)] for chain, count in zip(chains, made, strict=True)]
        contents["labels"] = (("chain", "labelled", "row"), padded(labels, -(-longest // plan.keep)))
    return xr.Dataset(contents, coords={"row": plan.names}, attrs={"keep": plan.keep})


def chains_from(state: xr.Dataset, plan: Plan) -> list[TelescopeChain]:
    """Return the chains that `write_chains` wrote down.

    Parameters
    ----------
    state : Dataset
        What it returned.
    plan : Plan
        What they are asked for now; more draws, if anything has changed.

    Returns
    -------
    list of TelescopeChain
        The chains, where they stood.
    """
    return [_chain_from(state.isel(chain=chain), plan) for chain in range(state.sizes["chain"])]


def _chain_from(state: xr.Dataset, plan: Plan) -> TelescopeChain:
    standing = read_standing(state)
    number = Number(int(state["at_k"]), float(state["at_alpha"]), float(state["at_log_left_out"]))
    drawn, labels = _room(plan)
    if standing.made:
        drawn[: standing.made] = state["drawn"].values[: standing.made]
        further = plan.keep // int(state.attrs["keep"])
        count = -(-standing.made // plan.keep)
        labels[:count] = state["labels"].values[: further * count : further]
    return TelescopeChain(drawn, labels, _Place(standing, number))


def read_labels(state: xr.Dataset, posterior: xr.Dataset) -> xr.DataArray:
    """Return the labels that go with draws, from what `write_chains` returned after them.

    Parameters
    ----------
    state : Dataset
        What it returned.
    posterior : Dataset
        The draws, from `groups_of_chains`.

    Returns
    -------
    DataArray
        As among `groups_of_chains`.
    """
    keep, draws = int(state.attrs["keep"]), posterior.sizes["draw"]
    labels = state["labels"].values[posterior["chain"].values, : -(-draws // keep)]
    return _allocations(labels, keep, draws, state["row"].values)
