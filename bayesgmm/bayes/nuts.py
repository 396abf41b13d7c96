"""NUTS on a PyMC model: by nutpie where every variable is continuous, by PyMC otherwise.

A sampler here takes a model and where its chains start, and returns the draws of the model's own variables with the
statistics of sampling, as xarray Datasets. Chains start at the given mixtures, each with a jitter of its own.

An interruption (Ctrl-C) ends sampling, not the fit: the draws made so far are kept, as many chains as were running and
as many draws as the shortest of them has, and the result says how many. With a checkpoint, chains are looked at now and
then while they run, and those that an earlier call has left go on (kept.py).
"""

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.bayes.checkpoint import Checkpoint, longest_block
from bayesgmm.bayes.compiled import Bound, vector_of
from bayesgmm.bayes.density import UnconstrainedDensity, unconstrained_density
from bayesgmm.bayes.kept import Keeper, Look, Stats
from bayesgmm.bayes.laplace import Laplace, importance_sample, laplace_at
from bayesgmm.bayes.model import start_values
from bayesgmm.bayes.vectors import as_dataset
from bayesgmm.errors import ArgumentError, FitError
from bayesgmm.kernels.native import copy_point
from bayesgmm.mixture import Mixture
from bayesgmm.structure import CovarianceStructure

__all__ = ["sample_nuts", "sample_vectors"]

Floats = NDArray[np.float64]

#: Standard deviation of the jitter of the starts, in unconstrained, standardised coordinates (logs and log-ratios).
JITTER = 0.1

_GEOMETRIES = ("auto", "laplace", "plain")
# "auto" whitens when importance sampling from the approximation has at least this efficiency, on so many draws.
_GOOD_EFFICIENCY = 0.15
_TRIAL_DRAWS = 1000

# Without machine code, chains in threads wait for the interpreter between evaluations. Below so many seconds for one of
# them that costs more than the threads gain: at 20 microseconds 4 chains took 1.1 s on one core and 1.65 s on two.
_TOO_SHORT_TO_SHARE = 40e-6

# Adaptation of chains that are gone on with in coordinates that their own draws have taught.
_TUNE_AGAIN = 150
# Seconds between two looks at whether a checkpoint is due.
_NAP = 0.05

# nutpie's statistics that a reader of the result may want, under ArviZ's names.
_STATISTICS = {
    "logp": "lp",
    "diverging": "diverging",
    "n_steps": "n_steps",
    "depth": "tree_depth",
    "energy": "energy",
    "energy_error": "energy_error",
    "step_size": "step_size",
    "mean_tree_accept": "acceptance_rate",
}


def sample_nuts(
    model: pm.Model,
    *,
    structure: CovarianceStructure,
    start: Mixture,
    draws: int,
    tune: int,
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
    draws, tune, chains : int
        Draws kept and adaptation steps in each chain; number of chains.
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
        Groups ``posterior`` (the model's variables, standardised units) and ``sample_stats``.

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
    # The last call decides where the model centres its coordinates; that is where the first chain starts.
    starts = [start_values(model, structure, place) for place in reversed(places)][::-1]
    if any(variable.dtype.startswith(("int", "bool", "uint")) for variable in model.free_RVs):
        if checkpoint is not None:
            raise ArgumentError("a model with variables that are not continuous has no checkpoint; leave it out")
        return _by_pymc(model, starts, draws, tune, chains, seed, progress, options)
    density = unconstrained_density(model, starts[0])
    points = np.stack([density.start, *(vector_of(model, values) for values in starts[1:])])
    points = np.broadcast_to(points, (chains, density.size))
    around = _whitening(density, points, geometry)
    if checkpoint is not None:
        keeper = Keeper(checkpoint, model, density, chains=chains, draws=draws)
        _sample_and_keep(keeper, density, around, points, tune, seed, progress, options)
        return keeper.groups()
    vectors, stats = _sample_around(density, around, points, draws, tune, seed, progress, options)
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


def _whitening(density: UnconstrainedDensity, starts: Floats, geometry: str) -> Laplace | None:
    """Return the normal approximation to whiten by, or None for the plain coordinates."""
    if geometry == "plain" or (geometry == "auto" and np.ptp(starts, axis=0).any()):
        return None
    if geometry == "laplace":
        return laplace_at(density, starts[0])
    try:
        around = laplace_at(density, starts[0])
        trial = importance_sample(density, around, _TRIAL_DRAWS, np.random.default_rng(0), tails=False)
    except FitError:
        return None
    return around if trial.efficiency >= _GOOD_EFFICIENCY else None


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


def sample_vectors(
    density: UnconstrainedDensity, starts: Floats, draws: Any, tune: int, seed: int, progress: bool,
    options: Mapping[str, Any], *, look: Look | None = None, jitter: float = JITTER,
) -> tuple[Floats, xr.Dataset]:  # fmt: skip
    """Sample a density with nutpie.

    Parameters
    ----------
    density : UnconstrainedDensity
        Log density and gradient.
    starts : ndarray, shape (chains, size)
        Where each chain starts, before jitter.
    draws : int or ndarray of int, shape (chains,)
        Draws kept in each chain.
    tune : int
        Adaptation steps in each chain.
    seed : int
        Seed.
    progress : bool
        Whether to show progress.
    options : mapping
        For `nutpie.sample`.
    look : callable, optional
        Called some times a second, and with the last draws: with a function that returns vectors and statistics of the
        draws so far (NaN where there are none yet), and whether they are the last.
    jitter : float, default 0.1
        Standard deviation of the jitter of the starts.

    Returns
    -------
    vectors : ndarray, shape (chains, draws, size)
        Unconstrained draws; fewer where sampling was interrupted, NaN where a chain was asked for fewer.
    stats : Dataset
        Statistics of sampling; after an interruption with the attribute ``interrupted_after``, the draws in a chain.
    """
    if options.get("cores") is None and density.native is None and _seconds_of(density) < _TOO_SHORT_TO_SHARE:
        options = {**options, "cores": 1}
    # A run of nutpie does not know which chain it asks a start for, so chains with different starts run separately.
    asked = np.broadcast_to(draws, len(starts))
    firsts, counts = _runs(np.column_stack([starts, asked]))
    seeds = np.random.default_rng(seed).integers(2**31, size=len(firsts)) if len(firsts) > 1 else [seed]
    samplers = [
        _begin(replace(density, start=starts[first]), int(asked[first]), tune, int(count), int(one), progress, options,
               jitter)
        for first, count, one in zip(firsts, counts, seeds, strict=True)
    ]  # fmt: skip
    try:
        trees, is_interrupted = _wait(samplers, look), False
    except KeyboardInterrupt:
        trees, is_interrupted = _abort(samplers), True
    except BaseException:
        if look is not None:
            look(lambda: _gather(_abort(samplers)), is_last=True)
        raise
    vectors, stats = _gather(trees)
    if look is not None:
        look(lambda: (vectors, stats), is_last=True)
    kept_chains, kept_draws = _complete(vectors) if is_interrupted else (np.arange(len(vectors)), int(asked.max()))
    found = xr.Dataset({name: (("chain", "draw"), values[kept_chains, :kept_draws]) for name, values in stats.items()})
    if is_interrupted:
        found.attrs["interrupted_after"] = kept_draws
    return vectors[kept_chains, :kept_draws], found


def _wait(samplers: list[Any], look: Look | None) -> list[Any]:
    """Wait for runs of nutpie to end, with a look at them now and then."""
    while look is not None and not all(map(_is_finished, samplers)):
        time.sleep(_NAP)
        look(lambda: _gather(_quietly(samplers, "inspect")), is_last=False)
    return [sampler.wait() for sampler in samplers]


def _is_finished(sampler: Any) -> bool:
    try:
        return bool(sampler.is_finished)
    except TimeoutError:  # what nutpie says for no
        return False


def _gather(trees: list[Any]) -> tuple[Floats, Stats]:
    """Return vectors and statistics of all runs, chain by chain."""
    vectors = _stack([tree["posterior"]["vector"].transpose("chain", "draw", ...).values for tree in trees])
    stats = {
        new: _stack([tree["sample_stats"][old].transpose("chain", "draw").values for tree in trees])
        for old, new in _STATISTICS.items()
        if old in trees[0]["sample_stats"]
    }
    return vectors, stats


def _seconds_of(density: UnconstrainedDensity) -> float:
    """Return how long an evaluation takes; the draws do not depend on it."""
    taken = []
    for _ in range(10):
        begun = time.perf_counter()
        density.evaluate(density.start)
        taken.append(time.perf_counter() - begun)
    return min(taken)


def _runs(starts: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the first of all chains in a row that begin alike, and how many they are."""
    firsts = np.flatnonzero(np.r_[True, np.any(starts[1:] != starts[:-1], axis=1)])
    return firsts, np.diff(np.r_[firsts, len(starts)])


def _begin(
    density: UnconstrainedDensity, draws: int, tune: int, chains: int, seed: int, progress: bool,
    options: Mapping[str, Any], jitter: float,
) -> Any:  # fmt: skip
    """Start chains in the background."""
    import nutpie

    def start(chain_seed: int) -> Floats:
        return _jittered(density, jitter, np.random.default_rng(chain_seed))

    compiled = _through_python(density, start) if density.native is None else _native(density.native, start)
    try:
        return nutpie.sample(
            compiled, draws=draws, tune=tune, chains=chains, seed=seed, progress_bar=progress, save_warmup=False,
            blocking=False, **options,
        )  # fmt: skip
    except AttributeError as error:
        raise ArgumentError(f"nutpie refuses an option: {error}") from None


def _through_python(density: UnconstrainedDensity, start: Callable[[int], Floats]) -> Any:
    """Return a density as nutpie wants it, called through the interpreter."""
    from nutpie.compiled_pyfunc import from_pyfunc

    return from_pyfunc(
        density.size,
        make_logp_fn=lambda: density.evaluate,
        make_expand_fn=lambda *_seeds: lambda vector: {"vector": vector},
        expanded_dtypes=[np.dtype("float64")],
        expanded_shapes=[(density.size,)],
        expanded_names=["vector"],
        make_initial_point_fn=start,
    )


def _native(native: Bound, start: Callable[[int], Floats]) -> Any:
    """Return a density as nutpie wants it, called as machine code."""
    from nutpie.compile_pymc import CompiledPyMCModel

    size, table = native.compiled.size, native.table(1)
    return CompiledPyMCModel(
        compiled_logp_func=native.compiled.density, compiled_expand_func=copy_point, initial_point_func=start,
        # What the table points to must live as long as the sampler does.
        user_data=table, shared_data={"native": native}, shared_var_keys={},
        n_expanded=size, _n_dim=size, shape_info=(["vector"], [slice(0, size)], [(size,)]),
        _shapes={"vector": (size,)}, _coords={}, dims={}, logp_func=None, expand_func=None,
    )  # fmt: skip


def _jittered(density: UnconstrainedDensity, jitter: float, rng: np.random.Generator) -> Floats:
    """Return the start with jitter, less of it where the log density is not finite."""
    noise = jitter * rng.standard_normal(density.size)
    for _ in range(20):
        point = density.start + noise
        if np.isfinite(density.evaluate(point)[0]):
            return point
        noise = noise / 2
    return density.start


def _abort(samplers: list[Any]) -> list[Any]:
    return _quietly(samplers, "abort")


def _quietly(samplers: list[Any], method: str) -> list[Any]:
    """Return the draws of chains that may have none, at which ArviZ would wonder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return [getattr(sampler, method)() for sampler in samplers]


def _stack(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Join chains of several runs; what a shorter run lacks is NaN or zero."""
    longest = max(part.shape[1] for part in parts)
    filled = [
        np.pad(part, [(0, 0), (0, longest - part.shape[1]), *[(0, 0)] * (part.ndim - 2)],
               constant_values=np.nan if part.dtype.kind == "f" else 0)
        for part in parts
    ]  # fmt: skip
    return np.concatenate(filled)


def _complete(vectors: Floats) -> tuple[NDArray[np.intp], int]:
    """Return the chains and the number of draws that make the most of chains that stopped at different lengths."""
    chains, best = longest_block(np.sum(~np.isnan(vectors).any(axis=2), axis=1))
    if best == 0:
        raise KeyboardInterrupt("sampling was interrupted before the first draw")
    return chains, best


def _by_pymc(
    model: pm.Model, starts: list[Any], draws: int, tune: int, chains: int, seed: int, progress: bool,
    options: Mapping[str, Any],
) -> dict[str, xr.Dataset]:  # fmt: skip
    tree = pm.sample(
        draws=draws, tune=tune, chains=chains, random_seed=seed, initvals=starts if len(starts) > 1 else starts[0],
        model=model, progressbar=progress, nuts_sampler="pymc", discard_tuned_samples=True, **options,
    )  # fmt: skip
    return {name: tree[name].to_dataset() for name in ("posterior", "sample_stats")}
