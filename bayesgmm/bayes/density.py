"""The log posterior of a PyMC model as a plain function of one vector, and the way back to named variables.

PyMC compiles log density and gradient into one numba function, which PyTensor keeps on disk: a second process has it in
well under a second, where compiling a model anew for each process takes 5 to 40 s. That function is used directly here,
with the interpreter lock released, so that chains in threads run side by side. It has no state of its own: what it
needs is passed in, so any number of threads may call it at once.
"""

import types
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray
from pymc.initial_point import make_initial_point_fn
from pymc.model.transform.conditioning import remove_value_transforms
from pymc.pytensorf import compile as compile_function
from pymc.pytensorf import join_nonshared_inputs
from pytensor.graph.replace import vectorize_graph
from pytensor.link.numba.cache import CACHED_SRC_FUNCTIONS
from pytensor.link.numba.dispatch.basic import numba_njit

from bayesgmm.errors import FitError

__all__ = ["UnconstrainedDensity", "log_prior", "unconstrained_density"]

Floats = NDArray[np.float64]

# The factor of the prior that forbids spikes, where it is a term of its own (`bayesgmm.bayes.factorised.add_guard`).
_GUARD = "guard"

# What a log prior makes of draws in passing is some times as large as they are.
_DRAWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class UnconstrainedDensity:
    """A model's log posterior in unconstrained coordinates.

    Parameters
    ----------
    size : int
        Number of coordinates.
    evaluate : callable
        Vector (size,) to log density and gradient (size,); safe in threads.
    expand : callable
        Vectors (S, size) to a dict of the model's variables, each (S, ...).
    start : ndarray, shape (size,)
        The vector at the values that were given to `unconstrained_density`.
    """

    size: int
    evaluate: Callable[[Floats], tuple[float, Floats]]
    expand: Callable[[Floats], dict[str, Floats]]
    start: Floats


def unconstrained_density(model: pm.Model, values: Mapping[str, Any]) -> UnconstrainedDensity:
    """Compile a model's log density, gradient and back-transformation.

    Parameters
    ----------
    model : pymc.Model
        A model whose free variables are all continuous.
    values : mapping of str to array
        Values of free variables to start from, by name; the others start where PyMC puts them.

    Returns
    -------
    UnconstrainedDensity
        The functions.

    Raises
    ------
    FitError
        When the log density is not finite at the start.
    """
    by_name = {variable.name: variable for variable in model.free_RVs}
    overrides = {by_name[name]: value for name, value in values.items()}
    point = make_initial_point_fn(model=model, overrides=overrides, return_transformed=True)(0)
    order = [variable.name for variable in model.value_vars]
    start = np.concatenate([np.ravel(point[name]) for name in order]).astype(float)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function = model.logp_dlogp_function(ravel_inputs=True, initial_point=point)
    function.set_extra_values({})
    density = _stateless(function._pytensor_function)  # noqa: SLF001 (ValueGradFunction has no public way to it)
    # An operation that numba cannot compile runs in Python and keeps state: then one chain at a time.
    calls_python = any("object mode" in str(warning.message) for warning in caught)
    turn: AbstractContextManager[Any] = Lock() if calls_python else nullcontext()

    def evaluate(vector: Floats) -> tuple[float, Floats]:
        """Return log density and gradient."""
        with turn:
            value, gradient = density(vector)
        return float(value), gradient

    if not np.isfinite(evaluate(start)[0]):
        raise FitError(f"the log posterior is {evaluate(start)[0]} at the start values; check the data and the priors")
    return UnconstrainedDensity(len(start), evaluate, _expander(model, point), start)


def _expander(model: pm.Model, point: Mapping[str, Any]) -> Callable[[Floats], dict[str, Floats]]:
    variables = model.free_RVs + model.deterministics
    outputs = model.replace_rvs_by_values(variables)
    joined, vector = join_nonshared_inputs(
        point=dict(point), inputs=model.value_vars, outputs=outputs, make_inputs_shared=False
    )
    constrain = _stateless(compile_function([vector], joined))

    def expand(vectors: Floats) -> dict[str, Floats]:
        rows = [constrain(np.ascontiguousarray(vector)) for vector in vectors]
        return {variable.name: np.stack([np.asarray(row[j]) for row in rows]) for j, variable in enumerate(variables)}

    return expand


def _stateless(function: Any) -> Callable[..., Any]:
    """Return the compiled code of a PyTensor function as a plain function of its first argument.

    The code object is compiled once more under a cache key of its own, with the interpreter lock released while it
    runs.
    """
    jitted = function.vm.jit_fn
    source = jitted.py_func
    twin = types.FunctionType(
        source.__code__, source.__globals__, source.__name__, source.__defaults__, source.__closure__
    )
    key = CACHED_SRC_FUNCTIONS.get(source)
    if key is not None:
        CACHED_SRC_FUNCTIONS[twin] = f"{key}-nogil"
    compiled = numba_njit(twin, final_function=True, cache=key is not None, nogil=True)
    shared = [container.storage[0] for container in function.input_storage[1:]]

    def call(vector: Floats) -> Any:
        return compiled(vector, *shared)

    return call


def log_prior(model: pm.Model, posterior: Any) -> Any:
    """Compute the log prior density of draws, variable by variable.

    Parameters
    ----------
    model : pymc.Model
        The model.
    posterior : xarray.Dataset
        Draws of the model's free variables, in the model's own units and numbering; dimensions chain, draw, ...
        Covariances stand for precisions that a sampler did not keep.

    Returns
    -------
    xarray.Dataset or None
        One entry (chain, draw) for each free variable, summed over its elements; and ``guard``, where the model has
        that factor. It is the ``log_prior`` group that `arviz.psense` wants. None where draws of a variable are absent.

    Notes
    -----
    math.md, 4.1 to 4.4 and 4.9, 4.10, without Jacobians: densities of the variables themselves.
    """
    import xarray as xr

    draws = {variable.name: _draws_of(model, variable.name, posterior) for variable in model.free_RVs}
    if any(values is None for values in draws.values()):
        return None
    shape = posterior.sizes["chain"], posterior.sizes["draw"]
    function, names, labels = _batched_prior(model)
    flat = [np.reshape(draws[name], (shape[0] * shape[1], *draws[name].shape[2:])) for name in names]
    chunks = [slice(i, i + _DRAWS_AT_ONCE) for i in range(0, len(flat[0]), _DRAWS_AT_ONCE)]
    parts = [function(*(values[chunk] for values in flat)) for chunk in chunks]
    values = [np.concatenate(term).reshape(shape) for term in zip(*parts, strict=True)]
    coords = {name: posterior[name] for name in ("chain", "draw") if name in posterior.coords}
    return xr.Dataset(
        {name: (("chain", "draw"), value) for name, value in zip(labels, values, strict=True)}, coords=coords
    )


def _draws_of(model: pm.Model, name: str, posterior: Any) -> Any:
    """Return draws of a free variable, (chain, draw, ...); precisions from covariances where only those were kept."""
    if name in posterior:
        return posterior[name].transpose("chain", "draw", ...).values
    is_derived = name == "precisions" and "covariances" in posterior
    if not is_derived or not {"precision_dof", "scale_rate"} <= model.named_vars.keys():
        return None
    covariances = posterior["covariances"].transpose("chain", "draw", ...).values
    copies, blocks = (model[number].get_value().shape[0] for number in ("precision_dof", "scale_rate"))
    precisions = np.linalg.inv(covariances)[:, :, :copies]
    is_matrix = model["scale_rate"].ndim == 2
    return precisions if is_matrix else np.diagonal(precisions, axis1=-2, axis2=-1)[..., :blocks]


def _batched_prior(model: pm.Model) -> tuple[Callable[..., list[Floats]], list[str], list[str]]:
    """Return a function of draws (S, ...) to log prior terms (S,), the names of its arguments and of its terms."""
    plain = remove_value_transforms(model)  # which has the variables in an order of its own
    names = [variable.name for variable in plain.free_RVs]
    guards = [potential for potential in plain.potentials if potential.name == _GUARD]
    terms = plain.logp(vars=plain.free_RVs, jacobian=False, sum=False)
    terms = [term.sum() for term in terms + plain.replace_rvs_by_values(guards)]
    inputs = [plain.rvs_to_values[plain[name]] for name in names]
    batched = [value.type.clone(shape=(None, *value.type.shape))(value.name) for value in inputs]
    together: Any = vectorize_graph(terms, dict(zip(inputs, batched, strict=True)))
    # A term that is the same for every draw, as that of the axes, has not got the draws' dimension.
    n = batched[0].shape[0]
    full = [term if term.ndim else pt.full((n,), term) for term in together]
    # One call of a simple graph: to compile it would take longer than to run it.
    function = compile_function(batched, full, mode="FAST_COMPILE", on_unused_input="ignore")
    return function, names, names + [potential.name for potential in guards]
