"""The parameters of a mixture as a list of named numbers.

Tables, comparisons and forests want scalars with names; a `Mixture` has arrays. The arrays become a list here and
nowhere else, so that ``means[0, waiting]`` is the same number in every table. A name is an index as well: it reads like
the rows of ``az.summary``, and its component and columns select the value from ``fit.tree["posterior"]``.

Only entries that can vary are listed, each once: the weight of a single component, the zeros beside a diagonal and the
mirror image of a covariance are left out; where components share a covariance, the first stands for all; where a
covariance is a multiple of the identity, its first variance stands for all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bayesgmm.mixture import Mixture
from bayesgmm.structure import CovarianceStructure, as_structure

__all__ = ["Parameter", "list_parameters", "parameter_draws", "parameter_names"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Parameter:
    """One scalar parameter of a mixture.

    Parameters
    ----------
    group : {"weights", "means", "covariances"}
        The array that it is an entry of.
    component : int
        The component that it belongs to; the first where all share it.
    features : tuple of str
        The columns that it belongs to: none for a weight, one for a mean, two for a covariance.
    position : tuple of int
        Its position in the array of a single mixture.
    """

    group: str
    component: int
    features: tuple[str, ...]
    position: tuple[int, ...]

    @property
    def name(self) -> str:
        """The name in tables, for instance ``"covariances[0, eruptions, waiting]"``."""
        return f"{self.group}[{', '.join([str(self.component), *self.features])}]"


def list_parameters(
    structure: str | CovarianceStructure, n_components: int, features: Sequence[str]
) -> tuple[Parameter, ...]:
    """List the scalar parameters that can vary: weights, then means, then covariances.

    Parameters
    ----------
    structure : str or CovarianceStructure
        The covariance structure.
    n_components : int
        Number of components, K.
    features : sequence of str
        Names of the D columns.

    Returns
    -------
    tuple of Parameter
        Component by component within each group. Not all of them are free of each other: weights sum to one.
    """
    names = tuple(features)
    weights = [Parameter("weights", k, (), (k,)) for k in range(n_components)] if n_components > 1 else []
    means = [Parameter("means", k, (name,), (k, j)) for k in range(n_components) for j, name in enumerate(names)]
    here = as_structure(structure, len(names))
    covariances = [
        Parameter("covariances", k, (names[i], names[j]), (k, i, j))
        for k in range(1 if here.is_shared else n_components)
        for i, j in _covariance_entries(here, len(names))
    ]
    return (*weights, *means, *covariances)


def parameter_names(structure: str | CovarianceStructure, n_components: int, features: Sequence[str]) -> list[str]:
    """Name the scalar parameters that can vary.

    Parameters
    ----------
    structure : str or CovarianceStructure
        The covariance structure.
    n_components : int
        Number of components, K.
    features : sequence of str
        Names of the D columns.

    Returns
    -------
    list of str
        Names in the order of `list_parameters`.

    Examples
    --------
    >>> parameter_names("full", 1, ["eruptions", "waiting"])  # doctest: +NORMALIZE_WHITESPACE
    ['means[0, eruptions]', 'means[0, waiting]', 'covariances[0, eruptions, eruptions]',
     'covariances[0, eruptions, waiting]', 'covariances[0, waiting, waiting]']
    """
    return [parameter.name for parameter in list_parameters(structure, n_components, features)]


def parameter_draws(mixture: Mixture, structure: str | CovarianceStructure) -> tuple[list[str], Floats]:
    """Return the scalar parameters of every mixture of a batch.

    Parameters
    ----------
    mixture : Mixture
        One mixture or a batch; values come in its units.
    structure : str or CovarianceStructure
        The covariance structure; it says which entries can vary.

    Returns
    -------
    names : list of str
        The P names, in the order of `list_parameters`.
    values : ndarray, shape (..., P)
        The values; the leading dimensions are the mixture's.

    Examples
    --------
    >>> mixture = Mixture([0.25, 0.75], [[0.0], [4.0]], [[[1.0]], [[2.0]]], ["x"])
    >>> names, values = parameter_draws(mixture, "full")
    >>> dict(zip(names, values.tolist()))["covariances[1, x, x]"]
    2.0
    """
    parameters = list_parameters(structure, mixture.n_components, mixture.features)
    values = [getattr(mixture, parameter.group)[(..., *parameter.position)] for parameter in parameters]
    return [parameter.name for parameter in parameters], np.stack(values, axis=-1)


def _covariance_entries(structure: CovarianceStructure, d: int) -> list[tuple[int, int]]:
    if structure.is_spherical:
        return [(0, 0)]
    if structure.is_diagonal:
        return [(j, j) for j in range(d)]
    return [(i, j) for i in range(d) for j in range(i, d)]
