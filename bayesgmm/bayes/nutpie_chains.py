"""Chains of NUTS on a density, by nutpie: draws of one vector, whatever it stands for.

nutpie calls the density as machine code, without the interpreter, or through Python where there is none. Chains that
start at the same place are one run of nutpie; others run separately, at the same time.

An interruption (Ctrl-C) ends sampling, not the fit: the draws made so far are kept, as many chains as were running and
as many draws as the shortest of them has, and the result says how many.
"""

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.bayes.checkpoint import longest_block
from bayesgmm.bayes.compiled import Bound
from bayesgmm.bayes.density import UnconstrainedDensity
from bayesgmm.bayes.kept import Look, Stats
from bayesgmm.errors import ArgumentError
from bayesgmm.kernels.native import copy_point

__all__ = ["JITTER", "TUNE", "sample_vectors"]

Floats = NDArray[np.float64]

#: Standard deviation of the jitter of the starts, in unconstrained, standardised coordinates (logs and log-ratios).
JITTER = 0.1
#: Steps before the draws where nobody says otherwise.
TUNE = 500

# Without machine code, chains in threads wait for the interpreter between evaluations. Below so many seconds for one of
# them that costs more than the threads gain: at 20 microseconds 4 chains took 1.1 s on one core and 1.65 s on two.
_TOO_SHORT_TO_SHARE = 40e-6

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
