"""The symmetries of a posterior, and one of its copies.

A posterior of K exchangeable components is K! copies of itself, one for every numbering; where covariances are made of
axes and variances, each of these is many copies again (axis_copies.py). An approximation around one mode, or chains
that stay in one, see one copy; what they say of the total mass must be multiplied by the number of copies. Where copies
touch, "one copy" needs a border: here the parameters whose components and axes are matched to those of a reference by
the identity and not by another permutation. Every point has such a copy (ties have no volume), so these regions fill
the space and carry the same mass, whatever the reference.

Whether a model has the symmetry is not taken on trust, since a user may have changed it: its log density is compared at
renumbered points.
"""

import math
from collections.abc import Mapping

import numpy as np
import pymc as pm
from numpy.typing import NDArray

from bayesgmm.bayes.axis_copies import axis_changes, axis_copies, in_axis_region
from bayesgmm.bayes.compiled import vector_of
from bayesgmm.bayes.density import UnconstrainedDensity
from bayesgmm.bayes.model import start_values
from bayesgmm.bayes.vectors import mixtures_of
from bayesgmm.errors import ArgumentError
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.matching import assign, hellinger_cost
from bayesgmm.structure import CovarianceStructure

__all__ = ["in_region", "n_axis_copies", "n_copies", "n_label_copies"]

Floats = NDArray[np.float64]

_JITTER = 0.1
_SAME = 1e-7

# What covariances are made of where they have axes (factorised.py).
_AXES = {"axes", "shape_scores"}


def in_region(density: UnconstrainedDensity, reference: Floats, vectors: Floats) -> NDArray[np.bool_]:
    """Say which vectors have components and axes that are numbered like a reference's.

    Parameters
    ----------
    density : UnconstrainedDensity
        The model's density; its variables include weights, means and covariances.
    reference : ndarray, shape (size,)
        Unconstrained vector that gives components and axes their numbers.
    vectors : ndarray, shape (S, size)
        Unconstrained vectors.

    Returns
    -------
    ndarray of bool, shape (S,)
        Whether the identity is the best match of components by Hellinger distance (math.md, 6.2 and 6.3), and of axes,
        where the model has any (11.2).
    """
    named, found = density.expand(reference[None]), density.expand(vectors)
    k, is_inside = named["weights"].shape[-1], np.ones(len(vectors), dtype=bool)
    if k > 1:
        costs = hellinger_cost(mixtures_of(named)[0], mixtures_of(found))
        is_inside = np.all(assign(costs).permutations == np.arange(k), axis=1)
    if named.keys() >= _AXES:
        is_inside &= in_axis_region(named, found)
    return is_inside


def n_copies(model: pm.Model, density: UnconstrainedDensity, structure: CovarianceStructure | None = None) -> int:
    """Count the copies of itself that a posterior consists of.

    Parameters
    ----------
    model : pymc.Model
        The model.
    density : UnconstrainedDensity
        Its density.
    structure : CovarianceStructure, optional
        The structure that `build_model` made it for, where it did.

    Returns
    -------
    int
        Numberings of the components times descriptions of the covariances by axes.

    Raises
    ------
    ArgumentError
        When other copies are possible but not equally probable: then one mode does not stand for the others.
    """
    return n_label_copies(model, density, structure) * n_axis_copies(model, density)


def n_label_copies(model: pm.Model, density: UnconstrainedDensity, structure: CovarianceStructure | None = None) -> int:
    """Count the numberings of the components that are equally probable.

    Parameters
    ----------
    model : pymc.Model
        The model.
    density : UnconstrainedDensity
        Its density.
    structure : CovarianceStructure, optional
        The structure that `build_model` made it for, where it did.

    Returns
    -------
    int
        K! where renumbering the components changes nothing, 1 where the model excludes other numberings.

    Raises
    ------
    ArgumentError
        When other numberings are possible but not equally probable.
    """
    values = _typical_values(model, density)
    k = values["weights"].shape[-1]
    base = _height(model, density, values)
    heights = [_height(model, density, _exchanged(model, structure, values, j)) for j in range(k - 1)]
    changes = np.array(heights) - base
    if k == 1 or not np.isfinite(changes).any():
        return 1
    if np.all(np.abs(changes) <= _SAME * (1.0 + abs(base))):
        return math.factorial(k)
    raise ArgumentError(
        "the model's components are not exchangeable (renumbering them changes the log posterior by "
        f"{np.nanmax(np.abs(changes)):.3g}), so that one mode does not stand for the others; use method='smc'"
    )


def n_axis_copies(model: pm.Model, density: UnconstrainedDensity) -> int:
    """Count the descriptions of the same covariances by axes and variances, where the model has axes.

    Parameters
    ----------
    model : pymc.Model
        The model.
    density : UnconstrainedDensity
        Its density.

    Returns
    -------
    int
        See `axis_copies`; 1 where the model has no variables ``axes`` and ``shape_scores``.

    Raises
    ------
    ArgumentError
        When other descriptions are not equally probable.
    """
    if not model.named_vars.keys() >= _AXES:
        return 1
    values = _typical_values(model, density)
    n_rotations, d, _ = values["axes"].shape
    base = _height(model, density, values)
    heights = [_height(model, density, {**values, **change}) for change in axis_changes(values)]
    largest = np.max(np.abs(np.array(heights) - base))
    # Written so that NaN is a failure.
    if not largest <= _SAME * (1.0 + abs(base)):
        raise ArgumentError(
            "the axes of the model's covariances are not exchangeable (turned by half a turn or put in another order, "
            f"they change the log posterior by {largest:.3g}), so that one mode does not stand for the others; "
            "use method='smc'"
        )
    return axis_copies(n_rotations, d)


def _typical_values(model: pm.Model, density: UnconstrainedDensity) -> dict[str, Floats]:
    """Return values of all variables at a point where nothing is zero or equal that need not be."""
    noise = _JITTER * np.random.default_rng(0).standard_normal(density.size)
    near = density.start + noise
    point = near if np.isfinite(density.evaluate(near)[0]) else density.start
    return {name: value[0] for name, value in density.expand(point[None]).items()}


def _height(model: pm.Model, density: UnconstrainedDensity, values: Mapping[str, Floats]) -> float:
    """Return the log density at values of the free variables; NaN where the model excludes them."""
    with np.errstate(all="ignore"):
        # The coordinates that rotations have besides those that turn them are the same for all of them here.
        vector = vector_of(model, {variable.name: values[variable.name] for variable in model.free_RVs})
        return density.evaluate(vector)[0] if np.all(np.isfinite(vector)) else np.nan


def _exchanged(
    model: pm.Model, structure: CovarianceStructure | None, values: Mapping[str, Floats], j: int
) -> dict[str, Floats]:
    """Return the values with the components j and j + 1 exchanged."""
    k = len(values["weights"])
    order = np.arange(k)
    order[[j, j + 1]] = j + 1, j
    swapped = {}
    for variable in model.free_RVs:
        value = values[variable.name]
        axis = _component_axis(model, variable.name, value, k)
        swapped[variable.name] = value if axis is None else np.take(value, order, axis=axis)
    # A new start would describe covariances by other axes; what goes with axes has components first, or none.
    if structure is not None and not values.keys() >= _AXES:
        swapped |= start_values(model, structure, _mixture_of(values).permute(order))
    return swapped


def _mixture_of(values: Mapping[str, Floats]) -> Mixture:
    covariances = values["covariances"]
    return Mixture(values["weights"], values["means"], 0.5 * (covariances + np.swapaxes(covariances, -1, -2)))


def _component_axis(model: pm.Model, name: str, value: Floats, k: int) -> int | None:
    """Return the axis of a variable that counts components: the named one, or the first where none is named."""
    dims = model.named_vars_to_dims.get(name)
    if dims and any(dims):
        return list(dims).index("component") if "component" in dims else None
    return 0 if value.ndim and value.shape[0] == k else None
