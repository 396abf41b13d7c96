"""What a PyMC model says to a sampler with conjugate conditionals: the numbers of its prior.

Conditionals are derived for the model of `build_model` alone. So what is read here is checked first: that the structure
has them, that the covariances are inverse Wishart, and that no variable was added, changed or taken away.
"""

import numpy as np
import pymc as pm
from numpy.typing import NDArray

from bayesgmm.errors import ArgumentError
from bayesgmm.kernels.conditionals import Prior
from bayesgmm.structure import CovarianceStructure

__all__ = ["CONJUGATE", "read_prior"]

Floats = NDArray[np.float64]

#: Codes of the structures whose conditionals are conjugate.
CONJUGATE = ("EII", "VII", "EEI", "VVI", "EEE", "VVV")

# What `build_model` makes the variables of: the kind of distribution and the data it is given.
_DISTRIBUTIONS = {
    "weights": ("Dirichlet", {"concentration"}),
    "means": ("Normal", {"mean_location", "mean_sd"}),
    "correlated means": ("MvNormal", {"mean_location", "mean_chol"}),
    "precisions": ("CustomDist", {"precision_dof", "scale_dof", "scale_rate", "scale_guard"}),
}


def read_prior(model: pm.Model, structure: CovarianceStructure, *, guard_is_normalised: bool = False) -> Prior:
    """Read the prior from a model.

    Parameters
    ----------
    model : pymc.Model
        Made by `build_model` and not changed.
    structure : CovarianceStructure
        The structure that it was made for.
    guard_is_normalised : bool, default False
        Whether the factor that rules out spikes is part of the Wishart distribution given C, normalised, as a random
        number of components needs it, or multiplies the joint density, as in the model (math.md, 4.4 and 10.4).

    Returns
    -------
    Prior
        For the kernels, standardised units.

    Raises
    ------
    ArgumentError
        When the structure is not conjugate, or the model was changed.
    """
    if structure.code not in CONJUGATE:
        raise ArgumentError(
            f"sampler='gibbs' has no exact conditionals for structure {structure}; use sampler='nuts', or one of "
            f"{', '.join(CONJUGATE)}"
        )
    _refuse_changes(model)
    rate = np.asarray(model["scale_rate"].get_value(), dtype=float)
    return Prior(
        location=np.ascontiguousarray(model["mean_location"].get_value(), dtype=float),
        mean_precision=_mean_precision(model),
        dof=float(model["precision_dof"].get_value()[0]),
        scale_dof=float(model["scale_dof"].get_value()),
        scale_rate=np.ascontiguousarray(np.diag(rate) if rate.ndim == 1 else rate),
        guard=np.ascontiguousarray(model["scale_guard"].get_value(), dtype=float),
        guard_is_normalised=guard_is_normalised,
        is_diagonal=structure.is_diagonal,
        is_spherical=structure.is_spherical,
        is_shared=structure.is_shared,
    )


def _mean_precision(model: pm.Model) -> Floats:
    if "mean_sd" in model.named_vars:
        return np.diag(1.0 / np.asarray(model["mean_sd"].get_value(), dtype=float) ** 2)
    root = np.linalg.inv(model["mean_chol"].get_value())
    return np.ascontiguousarray(root.T @ root)


def _refuse_changes(model: pm.Model) -> None:
    """Refuse a model whose posterior is not the one that the conditionals are derived from."""
    free, observed, derived = (
        {variable.name for variable in group} for group in (model.free_RVs, model.observed_RVs, model.deterministics)
    )
    if "precisions" not in free:
        raise ArgumentError(
            "sampler='gibbs' has exact conditionals for inverse Wishart covariances only; use "
            "Priors(covariance='wishart') or sampler='nuts'"
        )
    strange = (free - set(_DISTRIBUTIONS)) | (observed ^ {"x"}) | (derived - {"covariances", "weights"})
    strange |= {potential.name for potential in model.potentials} | ({"means"} - free)
    strange |= {name for name in free & set(_DISTRIBUTIONS) if not _is_as_built(model, name)}
    if strange:
        raise ArgumentError(
            f"sampler='gibbs' knows the model of build_model only, and this one was changed "
            f"({', '.join(sorted(strange))}); use sampler='nuts'"
        )


def _is_as_built(model: pm.Model, name: str) -> bool:
    """Whether a variable has the distribution and the data that `build_model` gives it."""
    from pytensor.graph.traversal import ancestors

    node = model[name].owner
    data = {variable.name for variable in model.data_vars}
    given = {ancestor.name for ancestor in ancestors(node.inputs) if ancestor.name in data}
    expected = _DISTRIBUTIONS["correlated means" if name == "means" and "mean_chol" in data else name]
    return type(node.op).__name__.startswith(expected[0]) and given == expected[1]
