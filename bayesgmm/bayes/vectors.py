"""From unconstrained vectors to what they stand for: mixtures, datasets.

Samplers move in unconstrained vectors (density.py); a result leaves as a Dataset with the model's dimensions and
coordinates. The way from named values to a vector is `compiled.vector_of`.
"""

from collections.abc import Mapping

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.bayes.density import UnconstrainedDensity
from bayesgmm.mixture import Mixture

__all__ = ["as_dataset", "mixtures_at", "mixtures_of"]

Floats = NDArray[np.float64]


def mixtures_at(density: UnconstrainedDensity, vectors: Floats) -> Mixture:
    """Return the mixtures at unconstrained vectors, shape (S, size), in the model's units."""
    return mixtures_of(density.expand(vectors))


def mixtures_of(values: Mapping[str, Floats]) -> Mixture:
    """Return the mixtures of expanded vectors: weights (S, K), means (S, K, D), covariances (S, K, D, D)."""
    covariances = 0.5 * (values["covariances"] + np.swapaxes(values["covariances"], -1, -2))
    return Mixture(values["weights"], values["means"], covariances)


def as_dataset(model: pm.Model, density: UnconstrainedDensity, vectors: Floats) -> xr.Dataset:
    """Return the model's variables at unconstrained vectors, with the model's dimensions and coordinates.

    Parameters
    ----------
    model : pymc.Model
        The model.
    density : UnconstrainedDensity
        Its density.
    vectors : ndarray, shape (chains, draws, size)
        Unconstrained draws.

    Returns
    -------
    Dataset
        Variables (chain, draw, ...).
    """
    sizes = vectors.shape[:2]
    expanded = density.expand(vectors.reshape(-1, density.size))
    arrays = {name: values.reshape(*sizes, *values.shape[1:]) for name, values in expanded.items()}
    dims = {
        name: ("chain", "draw", *(model.named_vars_to_dims.get(name) or _anonymous(name, values.ndim - 2)))
        for name, values in arrays.items()
    }
    wanted = {dim for names in dims.values() for dim in names}
    coords = {name: list(values) for name, values in model.coords.items() if values is not None and name in wanted}
    return xr.Dataset({name: (dims[name], values) for name, values in arrays.items()}, coords=coords)


def _anonymous(name: str, ndim: int) -> tuple[str, ...]:
    return tuple(f"{name}_dim_{j}" for j in range(ndim))
