"""The symmetry of a posterior under renumbering of its components, and one of its copies.

A posterior of K exchangeable components is K! copies of itself, one for every numbering. An approximation around one
mode, or chains that stay in one, see one copy; what they say of the total mass must be multiplied by K!. Where copies
touch, "one copy" needs a border: here the parameters whose components are matched to those of a reference by the
identity and not by another permutation. Every point has such a numbering (ties have no volume), so the K! regions fill
the space and carry the same mass, whatever the reference.

Whether a model is exchangeable is not taken on trust, since a user may have changed it: its log density is compared at
renumbered points.
"""

import math

import numpy as np
import pymc as pm
from numpy.typing import NDArray

from bayesgmm.bayes.compiled import vector_of
from bayesgmm.bayes.density import UnconstrainedDensity
from bayesgmm.bayes.model import start_values
from bayesgmm.bayes.vectors import mixtures_at
from bayesgmm.errors import ArgumentError
from bayesgmm.posterior.matching import assign, hellinger_cost
from bayesgmm.structure import CovarianceStructure

__all__ = ["in_region", "n_label_copies"]

Floats = NDArray[np.float64]

_JITTER = 0.1
_SAME = 1e-7


def in_region(density: UnconstrainedDensity, reference: Floats, vectors: Floats) -> NDArray[np.bool_]:
    """Say which vectors are numbered like a reference.

    Parameters
    ----------
    density : UnconstrainedDensity
        The model's density; its variables include weights, means and covariances.
    reference : ndarray, shape (size,)
        Unconstrained vector that gives components their numbers.
    vectors : ndarray, shape (S, size)
        Unconstrained vectors.

    Returns
    -------
    ndarray of bool, shape (S,)
        Whether the identity is the best match of components by Hellinger distance (math.md, 6.2 and 6.3).
    """
    named = mixtures_at(density, reference[None])[0]
    if named.n_components == 1:
        return np.ones(len(vectors), dtype=bool)
    costs = hellinger_cost(named, mixtures_at(density, vectors))
    return np.all(assign(costs).permutations == np.arange(named.n_components), axis=1)


def n_label_copies(model: pm.Model, density: UnconstrainedDensity, structure: CovarianceStructure | None = None) -> int:
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
        K! where renumbering the components changes nothing, 1 where the model excludes other numberings.

    Raises
    ------
    ArgumentError
        When other numberings are possible but not equally probable: then one mode does not stand for the others. When
        the model has axes: one covariance is there several times, with axes turned or in another order.
    """
    if "axes" in model.named_vars:
        raise ArgumentError(
            "this structure's axes may be turned by half a turn or put in another order without changing a covariance, "
            "so that one mode does not stand for the others; use method='smc'"
        )
    point = _typical_point(density)
    k = density.expand(point[None])["weights"].shape[-1]
    base = density.evaluate(point)[0]
    changes = np.array([_change(model, density, structure, point, (j, j + 1)) - base for j in range(k - 1)])
    if k == 1 or not np.isfinite(changes).any():
        return 1
    if np.all(np.abs(changes) <= _SAME * (1.0 + abs(base))):
        return math.factorial(k)
    raise ArgumentError(
        "the model's components are not exchangeable (renumbering them changes the log posterior by "
        f"{np.nanmax(np.abs(changes)):.3g}), so that one mode does not stand for the others; use method='smc'"
    )


def _typical_point(density: UnconstrainedDensity) -> Floats:
    noise = _JITTER * np.random.default_rng(0).standard_normal(density.size)
    near = density.start + noise
    return near if np.isfinite(density.evaluate(near)[0]) else density.start


def _change(
    model: pm.Model, density: UnconstrainedDensity, structure: CovarianceStructure | None, point: Floats,
    pair: tuple[int, int],
) -> float:  # fmt: skip
    """Return the log density with two components exchanged; NaN where the model excludes that."""
    expanded = density.expand(point[None])
    mixture = mixtures_at(density, point[None])[0]
    order = np.arange(mixture.n_components)
    order[list(pair)] = pair[::-1]
    swapped = {}
    for variable in model.free_RVs:
        value = expanded[variable.name][0]
        axis = _component_axis(model, variable.name, value, mixture.n_components)
        swapped[variable.name] = value if axis is None else np.take(value, order, axis=axis)
    if structure is not None:
        swapped |= start_values(model, structure, mixture.permute(order))
    with np.errstate(all="ignore"):
        vector = vector_of(model, swapped)
        return density.evaluate(vector)[0] if np.all(np.isfinite(vector)) else np.nan


def _component_axis(model: pm.Model, name: str, value: Floats, k: int) -> int | None:
    """Return the axis of a variable that counts components: the named one, or the first where none is named."""
    dims = model.named_vars_to_dims.get(name)
    if dims and any(dims):
        return list(dims).index("component") if "component" in dims else None
    return 0 if value.ndim and value.shape[0] == k else None
