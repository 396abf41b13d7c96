"""NUTS on a PyMC model: by nutpie where every variable is continuous, by PyMC otherwise.

A sampler here takes a model and where its chains start, and returns the draws of the model's own variables with the
statistics of sampling, as xarray Datasets. Chains start at the given mixtures, each with a jitter of its own.

After an interruption (Ctrl-C) the draws made so far are the result. With a checkpoint, chains are looked at now and
then while they run, and those that an earlier call has left go on (kept.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.bayes.checkpoint import Checkpoint
from bayesgmm.bayes.compiled import vector_of
from bayesgmm.bayes.density import UnconstrainedDensity, unconstrained_density
from bayesgmm.bayes.kept import Keeper, Look, Stats
from bayesgmm.bayes.laplace import Laplace, importance_sample, laplace_at
from bayesgmm.bayes.model import start_values
from bayesgmm.bayes.nutpie_chains import JITTER, TUNE, sample_vectors
from bayesgmm.bayes.vectors import as_dataset
from bayesgmm.errors import ArgumentError, FitError
from bayesgmm.mixture import Mixture
from bayesgmm.structure import CovarianceStructure

__all__ = ["sample_nuts"]

Floats = NDArray[np.float64]

_GEOMETRIES = ("auto", "laplace", "plain")
# "auto" whitens when importance sampling from the approximation has at least this efficiency, on so many draws. An
# angle that is not well known runs around a sphere, which no linear map straightens: axes of its own ask for more.
_GOOD_EFFICIENCY, _GOOD_EFFICIENCY_OF_AXES = 0.15, 0.5
_TRIAL_DRAWS = 1000

# Steps of adaptation in whitened coordinates, where only the step size is to be learned.
_TUNE_WHITENED = 150
# Adaptation of chains that are gone on with in coordinates that their own draws have taught.
_TUNE_AGAIN = 150


def sample_nuts(
    model: pm.Model,
    *,
    structure: CovarianceStructure,
    start: Mixture,
    draws: int,
    tune: int | None,
    chains: int,
    seed: int,
    progress: bool,
    geometry: str = "auto",
    checkpoint: Checkpoint | None = None,
    **options: Any,
) -> dict[str, xr.Dataset]:
    """Sample a model with the No-U-Turn sampler.

    Parameters
    ----------
    model : pymc.Model
        The model.
    structure : CovarianceStructure
        The structure it was built for.
    start : Mixture
        Where chains start, standardised units: one mixture for all, or one for each chain; each with jitter.
    draws : int
        Draws kept in each chain.
    tune : int or None
        Adaptation steps before them; None for 500, or 150 in whitened coordinates.
    chains : int
        Number of chains.
    seed : int
        Seed.
    progress : bool
        Whether to show progress.
    geometry : {"auto", "laplace", "plain"}, default "auto"
        Coordinates in which the chains move. "laplace" whitens them by the normal approximation at the mode, so that
        correlations known from the Hessian need not be learned. "auto" does so where that approximation is good and
        all chains start at one optimum.
    checkpoint : Checkpoint, optional
        Where the run leaves what it has drawn, and finds what an earlier call has left.
    **options
        For `nutpie.sample` (or `pymc.sample`): ``cores``, ``target_accept``, ...

    Returns
    -------
    dict of str to Dataset
        Groups ``posterior`` (the model's variables, standardised units) and ``sample_stats``, whose attribute ``tune``
        is the number of adaptation steps.

    Raises
    ------
    ArgumentError
        When `geometry` or an option is not known.
    FitError
        When there is no mode to whiten by.
    KeyboardInterrupt
        When sampling is interrupted before the first draw that counts.
    """
    if geometry not in _GEOMETRIES:
        raise ArgumentError(f"geometry={geometry!r} is not known; use 'auto', 'laplace' or 'plain'")
    places = [start[c] for c in range(chains)] if start.batch_shape else [start]
    starts = [start_values(model, structure, place) for place in places]
    if any(variable.dtype.startswith(("int", "bool", "uint")) for variable in model.free_RVs):
        if checkpoint is not None:
            raise ArgumentError("a model with variables that are not continuous has no checkpoint; leave it out")
        return _by_pymc(model, starts, draws, TUNE if tune is None else tune, chains, seed, progress, options)
    density = unconstrained_density(model, starts[0])
    points = np.stack([density.start, *(vector_of(model, values) for values in starts[1:])])
    points = np.broadcast_to(points, (chains, density.size))
    turns = structure.orientation == "V" and "axes" in model.named_vars
    around = _whitening(density, points, geometry, _GOOD_EFFICIENCY_OF_AXES if turns else _GOOD_EFFICIENCY)
    if tune is None:
        tune = TUNE if around is None else _TUNE_WHITENED
    if checkpoint is not None:
        keeper = Keeper(checkpoint, model, density, chains=chains, draws=draws, tune=tune)
        _sample_and_keep(keeper, density, around, points, tune, seed, progress, options)
        return keeper.groups()
    vectors, stats = _sample_around(density, around, points, draws, tune, seed, progress, options)
    stats.attrs["tune"] = tune
    return {"posterior": as_dataset(model, density, vectors), "sample_stats": stats}


def _sample_and_keep(
    keeper: Keeper, density: UnconstrainedDensity, around: Laplace | None, starts: Floats, tune: int, seed: int,
    progress: bool, options: Mapping[str, Any],
) -> None:  # fmt: skip
    """Sample what is still to be drawn: first chains that were begun, from their last draws, then the others."""
    made = keeper.kept.lengths
    begun = [chain for chain, length in enumerate(made) if 0 < length < keeper.draws]
    ahead = [chain for chain, length in enumerate(made) if length == 0]
    total = int(made.sum())
    seeds = [int(part) for part in np.random.SeedSequence(seed, spawn_key=(total,)).generate_state(2, np.uint32) // 2]
    learned = keeper.kept.geometry()
    try:
        if begun:
            keeper.kept = keeper.kept.joined()
            last = np.stack([keeper.kept.vectors[chain][-1] for chain in begun])
            again = min(tune, _TUNE_AGAIN) if learned else tune
            _sample_around(
                density, learned or around, last, keeper.draws - made[begun], again, seeds[0], progress, options,
                look=keeper.look_at(begun), jitter=0.0,
            )  # fmt: skip
        if ahead:
            _sample_around(
                density, around, starts[ahead], keeper.draws, tune, seeds[1] if total else seed, progress, options,
                look=keeper.look_at(ahead),
            )  # fmt: skip
    except KeyboardInterrupt:
        if not keeper.kept.lengths.any():
            raise


def _whitening(density: UnconstrainedDensity, starts: Floats, geometry: str, least: float) -> Laplace | None:
    """Return the normal approximation to whiten by, or None for the plain coordinates; `least` is for "auto"."""
    if geometry == "plain" or (geometry == "auto" and np.ptp(starts, axis=0).any()):
        return None
    if geometry == "laplace":
        return laplace_at(density, starts[0])
    try:
        around = laplace_at(density, starts[0])
        trial = importance_sample(density, around, _TRIAL_DRAWS, np.random.default_rng(0), tails=False)
    except FitError:
        return None
    return around if trial.efficiency >= least else None


def _sample_around(
    density: UnconstrainedDensity, around: Laplace | None, starts: Floats, draws: Any, tune: int, seed: int,
    progress: bool, options: Mapping[str, Any], *, look: Look | None = None, jitter: float = JITTER,
) -> tuple[Floats, xr.Dataset]:  # fmt: skip
    """Sample in the coordinates that whiten an approximation, or in the plain ones where there is none."""
    sample = sample_vectors if around is None else partial(_sample_whitened, around=around)
    return sample(density, starts=starts, draws=draws, tune=tune, seed=seed, progress=progress, options=options,
                  look=look, jitter=jitter)  # fmt: skip


def _sample_whitened(
    density: UnconstrainedDensity, around: Laplace, starts: Floats, draws: Any, tune: int, seed: int, progress: bool,
    options: Mapping[str, Any], *, look: Look | None = None, jitter: float = JITTER,
) -> tuple[Floats, xr.Dataset]:  # fmt: skip
    """Sample in the coordinates u of theta = mode + C u, in which a normal posterior is standard normal."""

    def look_back(so_far: Callable[[], tuple[Floats, Stats]], *, is_last: bool) -> None:
        """Show the draws in the plain coordinates."""
        if look is not None:
            look(lambda: _plain(around, *so_far()), is_last=is_last)

    begins = np.linalg.solve(around.chol, (starts - around.mode).T).T
    standard = replace(density.whitened(around.mode, around.chol), start=begins[0])
    shown = None if look is None else look_back
    return _plain(
        around, *sample_vectors(standard, begins, draws, tune, seed, progress, options, look=shown, jitter=jitter)
    )


def _plain[T](around: Laplace, vectors: Floats, stats: T) -> tuple[Floats, T]:
    """Return draws in the plain coordinates."""
    return around.mode + vectors @ around.chol.T, stats


def _by_pymc(
    model: pm.Model, starts: list[Any], draws: int, tune: int, chains: int, seed: int, progress: bool,
    options: Mapping[str, Any],
) -> dict[str, xr.Dataset]:  # fmt: skip
    tree = pm.sample(
        draws=draws, tune=tune, chains=chains, random_seed=seed, initvals=starts if len(starts) > 1 else starts[0],
        model=model, progressbar=progress, nuts_sampler="pymc", discard_tuned_samples=True, **options,
    )  # fmt: skip
    found = {name: tree[name].to_dataset() for name in ("posterior", "sample_stats")}
    found["sample_stats"].attrs["tune"] = tune
    return found
