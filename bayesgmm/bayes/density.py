"""The log posterior of a PyMC model as a plain function of one vector, and the way back to named variables.

What samplers, the search for a mode and importance sampling call. Behind it is machine code that knows no data
(compiled.py), so that it is compiled once for all models of a form; a sampler that is not written in Python calls it
without the interpreter. It has no state of its own: any number of threads may call it at once. A model with operations
that numba cannot compile is called through PyTensor, one thread at a time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray
from pymc.model.transform.conditioning import remove_value_transforms
from pymc.pytensorf import compile as compile_function
from pymc.pytensorf import join_nonshared_inputs
from pytensor.graph.replace import vectorize_graph

from bayesgmm.bayes.compiled import Bound, compiled_model, data_of, kept, parametrised, vector_of
from bayesgmm.errors import FitError

__all__ = ["FORBIDDEN", "UnconstrainedDensity", "log_prior", "unconstrained_density"]

Floats = NDArray[np.float64]

#: Stands for an infinite objective, which line searches do not understand.
FORBIDDEN = 1e300

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
    native : Bound, optional
        The same as machine code, where there is any.
    """

    size: int
    evaluate: Callable[[Floats], tuple[float, Floats]]
    expand: Callable[[Floats], dict[str, Floats]]
    start: Floats
    native: Bound | None = field(default=None, kw_only=True)

    def evaluate_all(self, vectors: Floats) -> tuple[Floats, Floats]:
        """Return log densities (S,) and gradients (S, size) at vectors (S, size)."""
        if self.native is not None:
            return self.native.evaluate(vectors)
        found = [self.evaluate(vector) for vector in vectors]
        return np.array([value for value, _ in found]), np.reshape([slope for _, slope in found], np.shape(vectors))

    def values(self, vectors: Floats) -> Floats:
        """Return log densities (S,) at vectors (S, size)."""
        return self.evaluate_all(vectors)[0]

    def whitened(self, centre: Floats, root: Floats) -> "UnconstrainedDensity":
        """Return the density in coordinates u of centre + root u; the Jacobian, a constant, is left out.

        Parameters
        ----------
        centre : ndarray, shape (size,)
            Where u is zero.
        root : ndarray, shape (size, size)
            Invertible.

        Returns
        -------
        UnconstrainedDensity
            The density of u; its start is that of this one.
        """

        def evaluate(whitened: Floats) -> tuple[float, Floats]:
            """Return log density and gradient in the whitened coordinates."""
            value, gradient = self.evaluate(centre + root @ whitened)
            return value, gradient @ root

        start = np.linalg.solve(root, self.start - centre)
        if self.native is None:
            return replace(self, evaluate=evaluate, expand=lambda u: self.expand(centre + u @ root.T), start=start)
        native = replace(self.native, centre=np.ascontiguousarray(centre), root=np.ascontiguousarray(root.T))
        return UnconstrainedDensity(
            self.size, _one_by_one(native), lambda u: self.expand(centre + u @ root.T), start, native=native
        )


def unconstrained_density(model: pm.Model, values: Mapping[str, Any]) -> UnconstrainedDensity:
    """Compile a model's log density, gradient and back-transformation, or take what another of its form has.

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
    start = vector_of(model, values)
    compiled = compiled_model(model, start)
    if compiled is None:
        found = _interpreted(model, start)
    else:
        native = compiled.bind(model)
        found = UnconstrainedDensity(len(start), _one_by_one(native), native.expand, start, native=native)
    height = found.evaluate(start)[0]
    if not np.isfinite(height):
        raise FitError(f"the log posterior is {height} at the start values; check the data and the priors")
    return found


def _one_by_one(native: Bound) -> Callable[[Floats], tuple[float, Floats]]:
    table, size = native.table(1), native.compiled.size

    def evaluate(vector: Floats) -> tuple[float, Floats]:
        """Return log density and gradient."""
        point = np.ascontiguousarray(vector, dtype=float).reshape(1, size)
        value, gradient = np.empty(1), np.empty((1, size))
        native.compiled.density(point, gradient, value, table)
        return float(value[0]), gradient[0]

    return evaluate


def _interpreted(model: pm.Model, start: Floats) -> UnconstrainedDensity:
    """Return the density through PyTensor's own functions, which keep state: one thread at a time."""
    point = model.initial_point(0)
    density = model.logp_dlogp_function(ravel_inputs=True, initial_point=point)
    density.set_extra_values({})
    variables = model.free_RVs + model.deterministics
    joined, vector = join_nonshared_inputs(
        point=dict(point), inputs=model.value_vars, outputs=model.replace_rvs_by_values(variables),
        make_inputs_shared=False,
    )  # fmt: skip
    constrain, turn = compile_function([vector], joined), Lock()

    def evaluate(at: Floats) -> tuple[float, Floats]:
        """Return log density and gradient."""
        with turn:
            try:
                value, gradient = density(np.ascontiguousarray(at))
            except np.linalg.LinAlgError:
                return np.nan, np.full(len(start), np.nan)
        return float(value), np.array(gradient)

    def expand(vectors: Floats) -> dict[str, Floats]:
        """Return the model's variables."""
        with turn:
            rows = [[np.array(part) for part in constrain(np.ascontiguousarray(one))] for one in vectors]
        return {variable.name: np.stack([row[j] for row in rows]) for j, variable in enumerate(variables)}

    return UnconstrainedDensity(len(start), evaluate, expand, start)


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
    function, names, labels = kept("prior", model, lambda: _batched_prior(model))
    flat = [np.reshape(draws[name], (shape[0] * shape[1], *draws[name].shape[2:])) for name in names]
    chunks = [slice(i, i + _DRAWS_AT_ONCE) for i in range(0, len(flat[0]), _DRAWS_AT_ONCE)]
    parts = [function(*(values[chunk] for values in flat), *data_of(model)) for chunk in chunks]
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
    """Return a function of draws (S, ...), and data, to log prior terms (S,); names of its draws and of its terms."""
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
    function = parametrised(plain, batched, full)
    return function, names, names + [potential.name for potential in guards]
