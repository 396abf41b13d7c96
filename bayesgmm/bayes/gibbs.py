"""Blocked Gibbs sampling of the same posterior that NUTS samples, for structures whose conditionals are conjugate.

Labels, weights, means, precisions and the scale matrix that the precisions share are drawn in turn, each from its exact
conditional (math.md, 10.1 to 10.3). There is nothing to tune and no gradient; a sweep costs about as much as one
evaluation of the likelihood. Where components are well apart that is hard to beat. Where they overlap, labels and
parameters hold each other in place, and NUTS, which sums the labels out, is far ahead: `describe_mixing` says which of
the two it was. Missing values are drawn with the labels (math.md, 10.8). A density to a power that is not a whole
number has no labels; there a sweep is a proposal, taken or left so that the posterior is exact (math.md, 10.9).

Rows, weights and the numbers of the prior are read from the PyMC model, so that there is one prior and one place where
it is set. Chains run side by side in threads, in compiled code.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.bayes.chain_threads import check_count, run_and_keep
from bayesgmm.bayes.checkpoint import Checkpoint, longest_block
from bayesgmm.bayes.conjugate_model import read_prior
from bayesgmm.bayes.conjugate_rows import table_of
from bayesgmm.bayes.gibbs_chains import Chain, Draws, Standing, chains_of, room_for, state_of
from bayesgmm.kernels.conditionals import Parameters, Prior
from bayesgmm.kernels.gibbs import run_chain
from bayesgmm.kernels.table import Table
from bayesgmm.mixture import Mixture
from bayesgmm.structure import CovarianceStructure

__all__ = [
    "BATCH",
    "batches",
    "describe_mixing",
    "groups_of",
    "random_streams",
    "sample_gibbs",
    "start_parameters",
]

Floats = NDArray[np.float64]

#: Rows times components of a batch of sweeps: some tenths of a second, after which Ctrl-C is noticed.
BATCH = 5 * 10**6
_LEAST_WEIGHT = 1e-3
_BAD_R_HAT = 1.01
_FEW_DRAWS = 400
_LEAST_ACCEPTANCE = 0.05
_REMEDY = "use sampler='nuts', which sums the labels out, or more sweeps for each draw (thin)"
# NUTS needs all rows in memory.
_STREAMED_REMEDY = (
    "make more draws, or more sweeps for each (thin); sampler='laplace' needs no chains, and sampler='nuts' can be run "
    "on the sample of the rows that the fit carries (fit.prepared)"
)


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
        A single mixture, standardised units. Each chain draws its first labels from it. Where weights have fractional
        parts it should be near the mode, such as an EM fit with these weights: it decides how often a sweep is taken.
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
        posterior density of weights, means and precisions up to a constant, ``n_filled``, the number of components with
        rows, and where row weights have fractional parts ``acceptance_rate``, the share of sweeps that were taken;
        there ``n_filled`` counts components by labels under the bound of math.md, 10.9.

    Raises
    ------
    ArgumentError
        When the model is not conjugate or was changed, rows that lack some of their values have fractional weights, or
        `thin` or `cores` is not a positive number.
    KeyboardInterrupt
        When sampling is interrupted before the first draw; later, the draws made so far are returned, and
        ``interrupted_after`` among the attributes of ``sample_stats`` says how many.

    Notes
    -----
    The conditionals are math.md, 10.1 to 10.3, 10.8 and 10.9. A sweep costs O(W K D^2), with W the sum of the row
    weights, and O(K D^3) for each set of columns that rows lack.
    """
    prior = read_prior(model, structure)
    plan = _Plan(
        prior, model["concentration"].get_value(), table_of(model, start), draws, tune, check_count("thin", thin)
    )
    left = None if checkpoint is None else checkpoint.state
    every = _new_chains(plan, start, seed, chains) if left is None else chains_of(left, draws)
    features = tuple(map(str, model.coords["feature"]))

    def run(chain: int, advance: Callable[[int], bool]) -> None:
        """Run one chain."""
        _run_chain(plan, every[chain], advance)

    def groups() -> dict[str, xr.Dataset]:
        """Return the draws made so far."""
        return _groups(plan, every, features)

    ahead = sum(tune + draws - chain.standing.tuned - chain.standing.made for chain in every)
    return run_and_keep(
        run, chains, cores=cores, total=ahead, progress=progress, checkpoint=checkpoint,
        state=lambda: state_of(every), groups=groups,
    )  # fmt: skip


def describe_mixing(
    *, max_r_hat: float, min_ess: float, n_draws: int, is_streamed: bool = False, acceptance_rate: float = 1.0
) -> str:
    """Say in words that Gibbs has not mixed, with the numbers and the engine that would.

    Parameters
    ----------
    max_r_hat : float
        Largest R-hat of the parameters; NaN where it is not defined.
    min_ess : float
        Smallest number of effective draws of the parameters.
    n_draws : int
        Number of draws of all chains together.
    is_streamed : bool, default False
        Whether the rows are read chunk by chunk, so that the fit carries a sample of them only.
    acceptance_rate : float, default 1.0
        The share of sweeps that were taken; below one where row weights have fractional parts.

    Returns
    -------
    str
        A sentence for a warning, or nothing where R-hat is at most 1.01, there are 400 effective draws, and at least
        one sweep in twenty was taken.
    """
    if acceptance_rate < _LEAST_ACCEPTANCE:
        # Chains that do not move have neither R-hat nor a number of effective draws to go by.
        return (
            f"Gibbs does not move: with weights that are not whole numbers a sweep is a proposal, and "
            f"{acceptance_rate:.1%} were taken; use sampler='nuts'"
        )
    disagree = not (np.isnan(max_r_hat) or max_r_hat <= _BAD_R_HAT)
    if not disagree and min_ess >= _FEW_DRAWS:
        return ""
    chains = f"the largest R-hat is {max_r_hat:.3f} and " if disagree else ""
    remedy = _STREAMED_REMEDY if is_streamed else _REMEDY
    return (
        f"Gibbs has not mixed: {chains}{n_draws} draws are worth {min_ess:.0f} independent ones "
        f"({min_ess / n_draws:.1%}), as happens where components overlap; {remedy}"
    )


# -------------------------------------------------------------------- running


def random_streams(seed: int, chain: int) -> NDArray[np.uint64]:
    """Return the random numbers of a chain, shape (2, 4): key and sweep of its labels, state of its parameters."""
    sequence = np.random.SeedSequence(seed, spawn_key=(chain,))
    streams = np.array([child.generate_state(4, np.uint64) for child in sequence.spawn(2)], dtype=np.uint64)
    streams[0, 1:] = 0
    return streams


class _Plan(NamedTuple):
    """What every chain is asked for."""

    prior: Prior
    concentration: Floats
    table: Table
    draws: int
    tune: int
    thin: int

    @property
    def cost(self) -> int:
        """What a draw costs: rows, each as often as it counts, times components."""
        labels = self.table.copies.sum() + self.table.gaps.copies.sum() + 2 * len(self.table.fractions.shares)
        return self.thin * int(labels) * len(self.concentration)


def _new_chains(plan: _Plan, start: Mixture, seed: int, count: int) -> list[Chain]:
    parameters = start_parameters(start, plan.prior)
    return [
        Chain(room_for(plan.draws, parameters), Standing(0, 0, parameters, random_streams(seed, chain)))
        for chain in range(count)
    ]


def _run_chain(plan: _Plan, chain: Chain, advance: Callable[[int], bool]) -> None:
    """Run a chain from where it stands to its last draw, or until it is told to stop."""
    tuned, made, parameters, streams = chain.standing.copy()
    batch = max(1, BATCH // max(1, plan.cost))
    given = plan.prior, plan.concentration, plan.table, parameters, streams, plan.thin
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


# -------------------------------------------------------------------- what the draws say


def _groups(plan: _Plan, chains: list[Chain], features: tuple[str, ...]) -> dict[str, xr.Dataset]:
    """Return the draws made so far, as many of as many chains as there are; nothing where there are none."""
    chosen, made = longest_block(np.array([chain.standing.made for chain in chains]))
    if made == 0:
        return {}
    parts = [chains[chain].draws.part(0, made) for chain in chosen]
    wanted = (len(chains), plan.draws)
    groups = groups_of(parts, plan.prior, plan.concentration, features, wanted)
    if len(plan.table.fractions.shares):
        acceptance = np.stack([part.acceptance for part in parts])
        groups["sample_stats"]["acceptance_rate"] = (("chain", "draw"), acceptance)
        groups["sample_stats"].attrs["acceptance_rate"] = float(acceptance.mean())
    return groups


def groups_of(
    parts: Sequence[Draws], prior: Prior, concentration: Floats, features: tuple[str, ...], wanted: tuple[int, int]
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
    wanted : tuple of int
        How many chains there were to be, and draws of each.

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
    if log_likelihood.shape != wanted:
        stats.attrs["interrupted_after"] = log_likelihood.shape[1]
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
