"""NUTS on a PyMC model: by nutpie where every variable is continuous, by PyMC otherwise.

A sampler here takes a model and where its chains start, and returns the draws of the model's own variables with the
statistics of sampling, as xarray Datasets. Chains start at the given values, each with a jitter of its own.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.bayes.density import UnconstrainedDensity, unconstrained_density

__all__ = ["sample_nuts"]

Floats = NDArray[np.float64]

#: Standard deviation of the jitter of the starts, in unconstrained, standardised coordinates (logs and log-ratios).
JITTER = 0.1

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
    start: Mapping[str, Any],
    draws: int,
    tune: int,
    chains: int,
    seed: int,
    progress: bool,
    **options: Any,
) -> dict[str, xr.Dataset]:
    """Sample a model with the No-U-Turn sampler.

    Parameters
    ----------
    model : pymc.Model
        The model.
    start : mapping of str to array
        Values of free variables from which every chain starts, with jitter.
    draws, tune, chains : int
        Draws kept and adaptation steps in each chain; number of chains.
    seed : int
        Seed.
    progress : bool
        Whether to show progress.
    **options
        For `nutpie.sample` (or `pymc.sample`): ``cores``, ``target_accept``, ...

    Returns
    -------
    dict of str to Dataset
        Groups ``posterior`` (the model's variables, standardised units) and ``sample_stats``.
    """
    if any(variable.dtype.startswith(("int", "bool", "uint")) for variable in model.free_RVs):
        return _by_pymc(model, start, draws, tune, chains, seed, progress, options)
    density = unconstrained_density(model, start)
    tree = _by_nutpie(density, draws, tune, chains, seed, progress, options)
    vectors = tree["posterior"]["vector"].transpose("chain", "draw", ...).values
    sizes = vectors.shape[:2]
    expanded = density.expand(vectors.reshape(-1, density.size))
    arrays = {name: values.reshape(*sizes, *values.shape[1:]) for name, values in expanded.items()}
    return {"posterior": _dataset(model, arrays), "sample_stats": _statistics(tree["sample_stats"])}


def _by_nutpie(
    density: UnconstrainedDensity,
    draws: int,
    tune: int,
    chains: int,
    seed: int,
    progress: bool,
    options: dict[str, Any],
) -> Any:
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
    return nutpie.sample(
        compiled, draws=draws, tune=tune, chains=chains, seed=seed, progress_bar=progress, save_warmup=False, **options
    )


def _jittered(density: UnconstrainedDensity, rng: np.random.Generator) -> Floats:
    """Return the start with jitter, less of it where the log density is not finite."""
    noise = JITTER * rng.standard_normal(density.size)
    for _ in range(20):
        point = density.start + noise
        if np.isfinite(density.evaluate(point)[0]):
            return point
        noise = noise / 2
    return density.start


def _dataset(model: pm.Model, arrays: Mapping[str, Floats]) -> xr.Dataset:
    dims = {
        name: ("chain", "draw", *(model.named_vars_to_dims.get(name) or _anonymous(name, values.ndim - 2)))
        for name, values in arrays.items()
    }
    wanted = {dim for names in dims.values() for dim in names}
    coords = {name: list(values) for name, values in model.coords.items() if values is not None and name in wanted}
    return xr.Dataset({name: (dims[name], values) for name, values in arrays.items()}, coords=coords)


def _anonymous(name: str, ndim: int) -> tuple[str, ...]:
    return tuple(f"{name}_dim_{j}" for j in range(ndim))


def _statistics(stats: Any) -> xr.Dataset:
    return xr.Dataset({new: stats[old] for old, new in _STATISTICS.items() if old in stats}).reset_coords(drop=True)


def _by_pymc(
    model: pm.Model, start: Mapping[str, Any], draws: int, tune: int, chains: int, seed: int, progress: bool,
    options: dict[str, Any],
) -> dict[str, xr.Dataset]:  # fmt: skip
    tree = pm.sample(
        draws=draws, tune=tune, chains=chains, random_seed=seed, initvals=dict(start), model=model,
        progressbar=progress, nuts_sampler="pymc", discard_tuned_samples=True, **options,
    )  # fmt: skip
    return {name: tree[name].to_dataset() for name in ("posterior", "sample_stats")}
