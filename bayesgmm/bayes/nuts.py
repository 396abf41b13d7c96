"""NUTS on a PyMC model: by nutpie where every variable is continuous, by PyMC otherwise.

A sampler here takes a model and where its chains start, and returns the draws of the model's own variables with the
statistics of sampling, as xarray Datasets. Chains start at the given mixtures, each with a jitter of its own.

An interruption (Ctrl-C) ends sampling, not the fit: the draws made so far are kept, as many chains as were running and
as many draws as the shortest of them has, and the result says how many.
"""

import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.bayes.density import UnconstrainedDensity, unconstrained_density
from bayesgmm.bayes.laplace import Laplace, importance_sample, laplace_at
from bayesgmm.bayes.model import start_values
from bayesgmm.bayes.vectors import as_dataset, vector_of
from bayesgmm.errors import ArgumentError, FitError
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

# Chains in threads wait for the interpreter between two evaluations. Below so many seconds for one of them that costs
# more than the threads gain: 4 chains on 272 rows (20 microseconds) took 1.1 s on one core and 1.65 s on two.
_TOO_SHORT_TO_SHARE = 40e-6

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
        return _by_pymc(model, starts, draws, tune, chains, seed, progress, options)
    density = unconstrained_density(model, starts[0])
    points = np.stack([density.start, *(vector_of(model, values) for values in starts[1:])])
    points = np.broadcast_to(points, (chains, density.size))
    around = _whitening(density, points, geometry)
    if around is None:
        vectors, stats = sample_vectors(density, points, draws, tune, seed, progress, options)
    else:
        vectors, stats = _sample_whitened(density, around, points, draws, tune, seed, progress, options)
    return {"posterior": as_dataset(model, density, vectors), "sample_stats": stats}


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


def _sample_whitened(
    density: UnconstrainedDensity, around: Laplace, starts: Floats, draws: int, tune: int, seed: int, progress: bool,
    options: Mapping[str, Any],
) -> tuple[Floats, xr.Dataset]:  # fmt: skip
    """Sample in the coordinates u of theta = mode + C u, in which a normal posterior is standard normal."""

    def evaluate(whitened: Floats) -> tuple[float, Floats]:
        """Return log density and gradient in the whitened coordinates."""
        value, gradient = density.evaluate(around.mode + around.chol @ whitened)
        return value, gradient @ around.chol

    begins = np.linalg.solve(around.chol, (starts - around.mode).T).T
    standard = replace(density, evaluate=evaluate, start=begins[0])
    vectors, stats = sample_vectors(standard, begins, draws, tune, seed, progress, options)
    return around.mode + vectors @ around.chol.T, stats


def sample_vectors(
    density: UnconstrainedDensity, starts: Floats, draws: int, tune: int, seed: int, progress: bool,
    options: Mapping[str, Any],
) -> tuple[Floats, xr.Dataset]:  # fmt: skip
    """Sample a density with nutpie.

    Parameters
    ----------
    density : UnconstrainedDensity
        Log density and gradient.
    starts : ndarray, shape (chains, size)
        Where each chain starts, before jitter.
    draws, tune : int
        Draws kept and adaptation steps in each chain.
    seed : int
        Seed.
    progress : bool
        Whether to show progress.
    options : mapping
        For `nutpie.sample`.

    Returns
    -------
    vectors : ndarray, shape (chains, draws, size)
        Unconstrained draws; fewer where sampling was interrupted.
    stats : Dataset
        Statistics of sampling; after an interruption with the attribute ``interrupted_after``, the draws in a chain.
    """
    if options.get("cores") is None and _seconds_of(density) < _TOO_SHORT_TO_SHARE:
        options = {**options, "cores": 1}
    # A run of nutpie does not know which chain it asks a start for, so chains with different starts run separately.
    points, counts = _runs(starts)
    seeds = np.random.default_rng(seed).integers(2**31, size=len(points)) if len(points) > 1 else [seed]
    samplers = [
        _begin(replace(density, start=point), draws, tune, int(count), int(one), progress, options)
        for point, count, one in zip(points, counts, seeds, strict=True)
    ]
    try:
        trees, is_interrupted = [sampler.wait() for sampler in samplers], False
    except KeyboardInterrupt:
        trees, is_interrupted = _abort(samplers), True
    vectors = _stack([tree["posterior"]["vector"].transpose("chain", "draw", ...).values for tree in trees])
    stats = {
        new: _stack([tree["sample_stats"][old].transpose("chain", "draw").values for tree in trees])
        for old, new in _STATISTICS.items()
        if old in trees[0]["sample_stats"]
    }
    kept_chains, kept_draws = _complete(vectors) if is_interrupted else (np.arange(len(vectors)), draws)
    found = xr.Dataset({name: (("chain", "draw"), values[kept_chains, :kept_draws]) for name, values in stats.items()})
    if is_interrupted:
        found.attrs["interrupted_after"] = kept_draws
    return vectors[kept_chains, :kept_draws], found


def _seconds_of(density: UnconstrainedDensity) -> float:
    """Return how long an evaluation takes; the draws do not depend on it."""
    taken = []
    for _ in range(10):
        begun = time.perf_counter()
        density.evaluate(density.start)
        taken.append(time.perf_counter() - begun)
    return min(taken)


def _runs(starts: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Return the different starts in order, and how many chains in a row begin at each."""
    begins = np.r_[True, np.any(starts[1:] != starts[:-1], axis=1)]
    return starts[begins], np.diff(np.r_[np.flatnonzero(begins), len(starts)])


def _begin(
    density: UnconstrainedDensity, draws: int, tune: int, chains: int, seed: int, progress: bool,
    options: Mapping[str, Any],
) -> Any:  # fmt: skip
    """Start chains in the background."""
    import nutpie
    from nutpie.compiled_pyfunc import from_pyfunc

    def start(chain_seed: int) -> Floats:
        return _jittered(density, np.random.default_rng(chain_seed))

    compiled = from_pyfunc(
        density.size,
        make_logp_fn=lambda: density.evaluate,
        make_expand_fn=lambda *_seeds: lambda vector: {"vector": vector},
        expanded_dtypes=[np.dtype("float64")],
        expanded_shapes=[(density.size,)],
        expanded_names=["vector"],
        make_initial_point_fn=start,
    )
    try:
        return nutpie.sample(
            compiled, draws=draws, tune=tune, chains=chains, seed=seed, progress_bar=progress, save_warmup=False,
            blocking=False, **options,
        )  # fmt: skip
    except AttributeError as error:
        raise ArgumentError(f"nutpie refuses an option: {error}") from None


def _jittered(density: UnconstrainedDensity, rng: np.random.Generator) -> Floats:
    """Return the start with jitter, less of it where the log density is not finite."""
    noise = JITTER * rng.standard_normal(density.size)
    for _ in range(20):
        point = density.start + noise
        if np.isfinite(density.evaluate(point)[0]):
            return point
        noise = noise / 2
    return density.start


def _abort(samplers: list[Any]) -> list[Any]:
    with warnings.catch_warnings():
        # ArviZ wonders about chains that have no draws.
        warnings.simplefilter("ignore", UserWarning)
        return [sampler.abort() for sampler in samplers]


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
    lengths = np.sum(~np.isnan(vectors).any(axis=2), axis=1)
    kept = [int(length) * int(np.sum(lengths >= length)) for length in lengths]
    best = int(lengths[np.argmax(kept)])
    if best == 0:
        raise KeyboardInterrupt("sampling was interrupted before the first draw")
    return np.flatnonzero(lengths >= best), best


def _by_pymc(
    model: pm.Model, starts: list[Any], draws: int, tune: int, chains: int, seed: int, progress: bool,
    options: Mapping[str, Any],
) -> dict[str, xr.Dataset]:  # fmt: skip
    tree = pm.sample(
        draws=draws, tune=tune, chains=chains, random_seed=seed, initvals=starts if len(starts) > 1 else starts[0],
        model=model, progressbar=progress, nuts_sampler="pymc", discard_tuned_samples=True, **options,
    )  # fmt: skip
    return {name: tree[name].to_dataset() for name in ("posterior", "sample_stats")}
