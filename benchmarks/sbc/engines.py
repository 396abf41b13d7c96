"""The engines of the package, called many times on one model with other rows, at the price of one compilation.

An engine compiles the log density of the model that it is given. Here that function is kept, and the rows are written
into the arrays that it reads; everything else is the engine as users call it. PyMC's sequential Monte Carlo compiles
inside its kernel: it is given one that has been compiled before, and reads the rows of the model by itself.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pymc as pm
from numpy.typing import NDArray
from pymc.pytensorf import compile as compile_graph
from pymc.pytensorf import find_rng_nodes, reseed_rngs

from bayesgmm.bayes import laplace, nuts, pathfinder, variational
from bayesgmm.bayes.compiled import vector_of
from bayesgmm.bayes.density import UnconstrainedDensity, unconstrained_density
from bayesgmm.bayes.samplers import SAMPLERS
from bayesgmm.errors import FitError
from bayesgmm.mixture import Mixture
from benchmarks.sbc.problems import Problem

__all__ = ["PLANS", "Plan", "compiled_once", "posterior_draws"]

Floats = NDArray[np.float64]


class Plan(NamedTuple):
    """How an engine is run: settings, its own options, and every which draw is kept.

    Where draws are `by_worth` no fixed share of them is nearly independent: ranks are to be among as many as they are
    worth. A slow engine sees a `share` of the replications.
    """

    draws: int
    tune: int
    chains: int
    keep: int = 1
    by_worth: bool = False
    share: float = 1.0
    options: Mapping[str, Any] = {}


class _Walk(pm.smc.MH):
    """PyMC's random walk, which also keeps the function that draws from the prior."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._draw_prior = compile_graph([], self._prior_expression)
        self._streams = find_rng_nodes(self._prior_expression)

    def set_rng(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def initialize_population(self) -> dict[str, Floats]:
        reseed_rngs(self._streams, int(self.rng.integers(2**31)))
        drawn = zip(*(self._draw_prior() for _ in range(self.draws)), strict=True)
        return dict(zip(self._prior_var_names, map(np.stack, drawn), strict=True))


# By the identity of the model, which is kept too; a kernel begins anew with every population.
_WALKS: dict[int, tuple[pm.Model, _Walk]] = {}


def _walk(*, model: pm.Model, **settings: Any) -> _Walk:
    if id(model) not in _WALKS:
        _WALKS[id(model)] = (model, _Walk(model=model, **settings))
    return _WALKS[id(model)][1]


#: Draws that are nearly independent, from each engine.
PLANS = {
    "gibbs": Plan(draws=100, tune=50, chains=2, options={"thin": 40, "cores": 1}),
    "nuts": Plan(draws=800, tune=300, chains=1, keep=8, options={"cores": 1}),
    # Neighbours in a population are copies of one draw that have walked apart, more or less.
    "smc": Plan(draws=400, tune=0, chains=1, by_worth=True, share=0.5, options={"kernel": _walk}),
    "laplace": Plan(draws=200, tune=0, chains=1),
    "pathfinder": Plan(draws=200, tune=0, chains=1),
    "advi": Plan(draws=200, tune=0, chains=1),
}


class _Kept(NamedTuple):
    model: pm.Model
    density: UnconstrainedDensity
    arrays: dict[str, NDArray[Any]]
    start_values: dict[str, Floats]


# By the identity of the model, which is kept too and so stays unique.
_COMPILED: dict[int, _Kept] = {}


@contextmanager
def compiled_once() -> Iterator[None]:
    """Let the engines compile each model once; afterwards its current data are copied to where the function reads."""

    def density_of(model: pm.Model, values: Mapping[str, Any]) -> UnconstrainedDensity:
        if id(model) not in _COMPILED:
            arrays = {variable.name: variable.get_value(borrow=True) for variable in model.data_vars}
            _COMPILED[id(model)] = _Kept(model, unconstrained_density(model, values), arrays, dict(values))
        _, density, arrays, start_values = _COMPILED[id(model)]
        for variable in model.data_vars:
            np.copyto(arrays[variable.name], variable.get_value(borrow=True))
        if all(np.array_equal(values[name], start_values[name]) for name in start_values):
            return density
        return replace(density, start=vector_of(model, values))

    with ExitStack() as stack:
        for module in (nuts, laplace, pathfinder, variational):
            stack.enter_context(mock.patch.object(module, "unconstrained_density", density_of))
        yield


def posterior_draws(problem: Problem, rows: Floats, engine: str, seed: int) -> Mixture | None:
    """Draw from the posterior of the rows, (chain, draw); None where the engine says that it cannot be trusted."""
    plan = PLANS[engine]
    pm.set_data({"rows": rows}, model=problem.model)
    try:
        groups = SAMPLERS[engine](
            problem.model, structure=problem.structure, start=problem.start, draws=plan.draws, tune=plan.tune,
            chains=plan.chains, seed=seed, progress=False, **plan.options,
        )  # fmt: skip
    except FitError:
        return None
    names = ["weights", "means", "covariances"]
    draws = groups["posterior"][names].isel(draw=slice(plan.keep - 1, None, plan.keep))
    weights, means, covariances = (draws[name].transpose("chain", "draw", ...).values for name in names)
    return Mixture(weights, means, 0.5 * (covariances + np.swapaxes(covariances, -1, -2)))
