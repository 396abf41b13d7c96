"""What is compiled of a model: log density and gradient, the way back to named variables, the way from them to vectors.

PyMC compiles log density and gradient into one numba function, which PyTensor keeps on disk: a second process has it in
well under a second, where compiling a model anew for each process takes 5 to 40 s. That function is given the face of
a C function (kernels/native.py), kept on disk in the same way, so that a sampler calls it without the interpreter.

Data and the numbers of a prior are `pm.Data`, and are handed to the machine code at every call. So models that differ
in nothing else share what is compiled: `mark_form` says that they do, of a model as it was built, and whoever compiles
checks that it has not been changed since. A second fit of the same form compiles nothing.
"""

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray
from pymc.initial_point import make_initial_point_fn
from pymc.pytensorf import compile as compile_function
from pymc.pytensorf import join_nonshared_inputs
from pytensor.configdefaults import config
from pytensor.graph.replace import clone_replace
from pytensor.link.numba.cache import CACHED_SRC_FUNCTIONS
from pytensor.link.numba.dispatch.basic import numba_njit

from bayesgmm.kernels.caching import VERSION
from bayesgmm.kernels.native import CFunction, c_density, c_expansion, table_of

__all__ = ["Bound", "CompiledModel", "compiled_model", "data_of", "kept", "mark_form", "parametrised", "vector_of"]

Floats = NDArray[np.float64]

# Forms of models: what was said of them, and what they looked like then.
_FORMS: WeakKeyDictionary[pm.Model, tuple[Hashable, tuple[int, ...]]] = WeakKeyDictionary()
# What belongs to a form, by what it is and the form.
_KEPT: dict[Hashable, Any] = {}
_KEEPING = RLock()


# -------------------------------------------------------------------- forms


def mark_form(model: pm.Model, form: Hashable) -> None:
    """Say that a model, as it is now, differs only in its data from any other that is marked so.

    Parameters
    ----------
    model : pymc.Model
        A model whose numbers are all `pm.Data`.
    form : hashable
        What it was built from, but for numbers.
    """
    _FORMS[model] = form, _looks(model)


def _looks(model: pm.Model) -> tuple[int, ...]:
    """Return what changes when anybody adds to a model, takes from it or puts something else in a place of it."""
    variables = [*model.basic_RVs, *model.potentials, *model.deterministics, *model.data_vars, *model.value_vars]
    return tuple(map(id, [*variables, *model.rvs_to_values.values(), *model.rvs_to_transforms.values()]))


def _form_of(model: pm.Model) -> Hashable | None:
    form, looked = _FORMS.get(model, (None, ()))
    if form is None or looked != _looks(model):
        return None
    return form, tuple((variable.name, variable.type) for variable in model.data_vars)


def kept[T](what: str, model: pm.Model, make: Callable[[], T]) -> T:
    """Return something that depends on nothing but a model's form; made once for each form.

    Parameters
    ----------
    what : str
        What it is.
    model : pymc.Model
        The model.
    make : callable
        Makes it; it must not hold on to the model's data.

    Returns
    -------
    object
        What was made, for this model or for one of the same form.
    """
    form = _form_of(model)
    if form is None:
        return make()
    key = what, form, config.mode
    with _KEEPING:
        found: T = _KEPT[key] if key in _KEPT else make()
        if found is not None:
            _KEPT[key] = found
        return found


def data_of(model: pm.Model) -> list[NDArray[Any]]:
    """Return the current values of a model's data, for a function that `parametrised` made."""
    return [variable.get_value(borrow=True) for variable in _by_name(model)]


def _by_name(model: pm.Model) -> list[Any]:
    """Return a model's data in an order that copies of the model share."""
    return sorted(model.data_vars, key=lambda variable: str(variable.name))


def parametrised(model: pm.Model, inputs: Sequence[Any], outputs: Sequence[Any]) -> Callable[..., list[Any]]:
    """Make a function of some inputs and of the model's data, without compiling: for few calls of simple graphs.

    Parameters
    ----------
    model : pymc.Model
        The model.
    inputs : sequence of variables
        First arguments.
    outputs : sequence of variables
        What is wanted.

    Returns
    -------
    callable
        Of the inputs and the values of `data_of`.
    """
    shared = _by_name(model)
    places = [variable.type() for variable in shared]
    free = clone_replace(list(outputs), dict(zip(shared, places, strict=True)))
    found: Callable[..., list[Any]] = compile_function(
        [*inputs, *places], free, mode="FAST_COMPILE", on_unused_input="ignore"
    )
    return found


# -------------------------------------------------------------------- vectors


def vector_of(model: pm.Model, values: Mapping[str, Any]) -> Floats:
    """Return the unconstrained vector at given values of free variables; the others are where PyMC starts them.

    Parameters
    ----------
    model : pymc.Model
        The model.
    values : mapping of str to array
        Values by name, constrained.

    Returns
    -------
    ndarray, shape (size,)
        In the order of the model's value variables.
    """
    free = {variable.name: variable for variable in model.free_RVs}
    if values.keys() == free.keys():
        forward = kept("forward", model, lambda: _forward(model))
        given = [np.asarray(values[name], dtype=variable.dtype) for name, variable in free.items()]
        return np.concatenate([np.ravel(part) for part in forward(*given, *data_of(model))]).astype(float)
    overrides = {free[name]: value for name, value in values.items()}
    point = make_initial_point_fn(model=model, overrides=overrides, return_transformed=True)(0)
    return np.concatenate([np.ravel(point[variable.name]) for variable in model.value_vars]).astype(float)


def _forward(model: pm.Model) -> Callable[..., list[Any]]:
    """Return a function from values of all free variables, and the data, to their unconstrained values."""
    places = {variable: variable.type() for variable in model.free_RVs}
    transformed = {
        variable: place if transform is None else transform.forward(place, *variable.owner.inputs)
        for variable, place in places.items()
        for transform in [model.rvs_to_transforms[variable]]
    }
    # A transform may depend on another free variable.
    outputs = clone_replace([transformed[model.values_to_rvs[value]] for value in model.value_vars], places)
    return parametrised(model, list(places.values()), outputs)


# -------------------------------------------------------------------- machine code


@dataclass(frozen=True, eq=False)
class CompiledModel:
    """What is compiled of a model, without its data.

    Parameters
    ----------
    density, expansion : CFunction
        Of unconstrained vectors: log density and gradient; all variables in one vector.
    inputs : tuple of two tuples
        The data that each of them wants: names, or shared variables that are not the model's data.
    variables : tuple of (str, shape, dtype)
        What the expansion consists of, in order.
    size : int
        Number of coordinates.
    """

    density: CFunction
    expansion: CFunction
    inputs: tuple[tuple[Any, ...], tuple[Any, ...]]
    variables: tuple[tuple[str, tuple[int, ...], Any], ...]
    size: int

    def bind(self, model: pm.Model) -> "Bound":
        """Return the functions with a model's current data."""
        named = model.named_vars
        density, expansion = (
            [np.asarray((named[at] if isinstance(at, str) else at).get_value(borrow=True), order="C") for at in some]
            for some in self.inputs
        )
        return Bound(self, density, expansion, np.empty(0), np.empty((0, 0)))


@dataclass(frozen=True, eq=False)
class Bound:
    """Compiled functions with data, safe in threads.

    Parameters
    ----------
    compiled : CompiledModel
        The functions.
    density_data, expansion_data : list of ndarray
        Their data.
    centre, root : ndarray
        Where whitened coordinates begin, and a matrix (size, size) whose transpose leads from them to the plain
        ones; empty for plain coordinates.
    """

    compiled: CompiledModel
    density_data: list[NDArray[Any]]
    expansion_data: list[NDArray[Any]]
    centre: Floats
    root: Floats

    def table(self, n_points: int) -> NDArray[np.int64]:
        """Return the table with which the density's C function works through so many points."""
        return table_of([self.centre, self.root, *self.density_data], n_points, self.compiled.size)

    def evaluate(self, vectors: Floats) -> tuple[Floats, Floats]:
        """Return log densities (S,) and gradients (S, size) at vectors (S, size); NaN where there is none."""
        points = self._points(vectors)
        values, gradients = np.empty(len(points)), np.empty(points.shape)
        has_raised = self.compiled.density(points, gradients, values, self.table(len(points))) == 1
        if has_raised and len(points) > 1:
            for s in range(len(points)):
                values[s : s + 1], gradients[s : s + 1] = self.evaluate(points[s : s + 1])
        return values, gradients

    def _points(self, vectors: Floats) -> Floats:
        points = np.ascontiguousarray(vectors, dtype=float)
        if points.shape[1] != self.compiled.size:
            raise ValueError(f"points have {points.shape[1]} coordinates; this density has {self.compiled.size}")
        return points

    def expand(self, vectors: Floats) -> dict[str, NDArray[Any]]:
        """Return the model's variables, each (S, ...), at vectors (S, size)."""
        points = self._points(vectors)
        sizes = [int(np.prod(shape)) for _, shape, _ in self.compiled.variables]
        out = np.empty((len(points), sum(sizes)))
        if self.compiled.expansion(points, out, out, table_of(self.expansion_data, len(points), sum(sizes))):
            for point, row in zip(points, out, strict=True):
                self.compiled.expansion(point[None], row, row, table_of(self.expansion_data, 1, sum(sizes)))
        parts = np.split(out, np.cumsum(sizes)[:-1], axis=1)
        return {
            name: part.reshape(-1, *shape).astype(dtype)
            for (name, shape, dtype), part in zip(self.compiled.variables, parts, strict=True)
        }


def compiled_model(model: pm.Model, start: Floats) -> CompiledModel | None:
    """Compile a model, or find what was compiled of another of the same form.

    Parameters
    ----------
    model : pymc.Model
        A model whose free variables are all continuous.
    start : ndarray, shape (size,)
        An unconstrained vector.

    Returns
    -------
    CompiledModel or None
        None where numba cannot compile an operation of the model.
    """
    return kept("compiled", model, lambda: _compile(model, start))


def _compile(model: pm.Model, start: Floats) -> CompiledModel | None:
    point = model.initial_point(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        density = model.logp_dlogp_function(ravel_inputs=True, initial_point=point)._pytensor_function  # noqa: SLF001
        expansion, shapes = _expansion(model, point)
    # An operation that numba cannot compile runs in Python and keeps state.
    if any("object mode" in str(warning.message) for warning in caught):
        return None
    native, spread = _as_c_function(c_density, density), _as_c_function(c_expansion, expansion)
    if native is None or spread is None:
        return None
    variables = model.free_RVs + model.deterministics
    described = tuple(
        (variable.name, tuple(int(length) for length in shape), variable.dtype)
        for variable, shape in zip(variables, shapes(start), strict=True)
    )
    return CompiledModel(native, spread, (_inputs(model, density), _inputs(model, expansion)), described, len(start))


def _inputs(model: pm.Model, function: Any) -> tuple[Any, ...]:
    """Return the data that a function wants: names, or shared variables that are not the model's data."""
    return tuple(at.name if at in model.data_vars else at for at in function.get_shared())


def _expansion(model: pm.Model, point: Mapping[str, Any]) -> tuple[Any, Callable[[Floats], list[Any]]]:
    """Return PyTensor functions of an unconstrained vector: all variables in one vector, and their shapes."""
    variables = model.replace_rvs_by_values(model.free_RVs + model.deterministics)
    joined, vector = join_nonshared_inputs(
        point=dict(point), inputs=model.value_vars, outputs=variables, make_inputs_shared=False
    )
    flat = pt.concatenate([variable.ravel().astype("float64") for variable in joined])
    shapes = compile_function([vector], [variable.shape for variable in joined], mode="FAST_COMPILE")
    return compile_function([vector], [flat]), shapes


def _as_c_function(make: Callable[..., CFunction], function: Any) -> CFunction | None:
    """Return a PyTensor function as a C function, kept on disk where PyTensor keeps its own."""
    compiled = getattr(function.vm, "jit_fn", None)
    values = [variable.get_value(borrow=True) for variable in function.get_shared()]
    if compiled is None or not all(isinstance(value, np.ndarray) and value.dtype.kind in "fiu" for value in values):
        return None
    source = compiled.py_func
    key = CACHED_SRC_FUNCTIONS.get(source)
    # What PyTensor keeps on disk is a function that only calls the one that was generated; without it there is a layer
    # less of machine code to optimise.
    generated = source.__globals__.get("jitable_func", compiled).py_func

    layout = [(value.dtype, value.ndim) for value in values]
    # PyTensor's key does not know them: numba tells its functions apart by the kinds of arguments, ours has always the
    # same.
    kinds = "".join(f"{dtype.kind}{dtype.itemsize}x{ndim}" for dtype, ndim in layout)

    def remember(own: Any) -> bool:
        if key is not None:
            CACHED_SRC_FUNCTIONS[own] = f"{key}-{make.__name__}-{kinds}-{VERSION}"
        return key is not None

    return make(numba_njit(generated, inline="always"), layout, remember)
