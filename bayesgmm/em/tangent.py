"""The directions in which a mixture of a given structure can move, as free coordinates around an estimate.

Standard errors need derivatives, derivatives need coordinates without constraints, and fourteen structures have
fourteen sets of constraints. One choice of coordinates makes them alike. With a root of every covariance,
Sigma_k = R_k R_k', the neighbours of the estimate are

    Sigma_k = R_k exp(M_k) R_k' ,    mu_k + R_k m_k ,    weights in proportion to pi_k exp(alpha_k),

with symmetric M_k, and in suitable roots a structure says which M_k there are. A volume is a multiple of the identity,
a shape a diagonal of trace zero, shape and orientation together any symmetric matrix of trace zero: linear, and the
same matrix for all components where the letter is E. Only where axes turn without their shape (EEV, VEV) or shapes
change while axes are shared (EVE, VVE) is M_k not linear in the coordinates, but its second order is known (math.md,
9.3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import helmert

from bayesgmm.mixture import Mixture
from bayesgmm.posterior.parameters import Parameter
from bayesgmm.structure import CovarianceStructure

__all__ = ["Directions", "TangentSpace", "jacobian", "tangent_space"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Directions:
    """How the covariance of one component can move.

    Parameters
    ----------
    columns : ndarray of int, shape (Q,)
        Which of the free covariance coordinates move this component.
    changes : ndarray, shape (Q, D, D)
        Derivative of M_k with respect to each of them, symmetric.
    turns : ndarray, shape (Q, D, D)
        Where it is a rotation, the W of its change W + W'; zero elsewhere.
    """

    columns: NDArray[np.intp]
    changes: Floats
    turns: Floats


@dataclass(frozen=True, eq=False)
class TangentSpace:
    """Free coordinates around a mixture: contrasts of log weights, then whitened means, then covariances.

    Parameters
    ----------
    mixture : Mixture
        The single mixture at the origin.
    roots : ndarray, shape (K, D, D)
        Roots of the covariances, Sigma_k = R_k R_k'.
    contrasts : ndarray, shape (K, K - 1)
        Orthonormal columns that sum to zero: changes of the log weights.
    directions : tuple of Directions
        One for each component.
    n_covariance : int
        Number of free covariance coordinates.
    """

    mixture: Mixture
    roots: Floats
    contrasts: Floats
    directions: tuple[Directions, ...]
    n_covariance: int


class _Group(NamedTuple):
    """Coordinates that belong to one letter: the letter, their matrices (Q, D, D), and whether these are rotations."""

    letter: str
    basis: Floats
    is_rotation: bool = False


def tangent_space(mixture: Mixture, structure: CovarianceStructure) -> TangentSpace:
    """Build the free coordinates around a mixture (math.md, 9.1 and 9.3).

    Parameters
    ----------
    mixture : Mixture
        A single mixture whose covariances have the structure.
    structure : CovarianceStructure
        The structure, reduced to the dimension of the mixture.

    Returns
    -------
    TangentSpace
        As many coordinates as the structure has free parameters.
    """
    k, d = mixture.means.shape
    groups = _groups(structure, d)
    has_rotations = any(group.is_rotation for group in groups)
    roots = _roots_along_axes(mixture.covariances, structure) if has_rotations else mixture.cholesky
    starts = np.cumsum([0, *[len(group.basis) * (k if group.letter == "V" else 1) for group in groups]])
    directions = tuple(_directions(groups, starts, component, roots[component]) for component in range(k))
    contrasts = helmert(k).T if k > 1 else np.zeros((1, 0))
    return TangentSpace(mixture, roots, contrasts, directions, int(starts[-1]))


def jacobian(space: TangentSpace, parameters: Sequence[Parameter]) -> Floats:
    """Compute the derivatives of named parameters with respect to the free coordinates (math.md, 9.6).

    Parameters
    ----------
    space : TangentSpace
        The coordinates.
    parameters : sequence of Parameter
        The P named parameters.

    Returns
    -------
    ndarray, shape (P, p)
        In the units of the mixture.
    """
    k, d = space.mixture.means.shape
    n_means_from = k - 1
    n_covariances_from = n_means_from + k * d
    by_log_weight = np.diag(space.mixture.weights) - np.outer(space.mixture.weights, space.mixture.weights)
    by_contrast = by_log_weight @ space.contrasts
    moved = [root @ directions.changes @ root.T for root, directions in zip(space.roots, space.directions, strict=True)]
    out = np.zeros((len(parameters), n_covariances_from + space.n_covariance))
    for row, parameter in enumerate(parameters):
        component, *entry = parameter.position
        if parameter.group == "weights":
            out[row, :n_means_from] = by_contrast[component]
        elif parameter.group == "means":
            start = n_means_from + component * d
            out[row, start : start + d] = space.roots[component][entry[0]]
        else:
            columns = n_covariances_from + space.directions[component].columns
            out[row, columns] = moved[component][:, entry[0], entry[1]]
    return out


# ---------------------------------------------------------------- what the letters mean


def _groups(structure: CovarianceStructure, d: int) -> list[_Group]:
    """Return the coordinates of each letter; shape and orientation are one where they go together."""
    volume = _Group(structure.volume, np.eye(d)[None])
    if structure.is_spherical:
        return [volume]
    shapes = _Group(structure.shape, helmert(d)[:, :, None] * np.eye(d))
    if structure.is_diagonal:
        return [volume, shapes]
    rows, columns = np.triu_indices(d, 1)
    pairs = np.zeros((len(rows), d, d))
    pairs[np.arange(len(rows)), rows, columns] = 1.0
    if structure.shape == structure.orientation:
        symmetric = pairs + pairs.transpose(0, 2, 1)
        return [volume, _Group(structure.shape, np.concatenate([shapes.basis, symmetric]))]
    return [volume, shapes, _Group(structure.orientation, pairs - pairs.transpose(0, 2, 1), is_rotation=True)]


def _directions(groups: list[_Group], starts: NDArray[np.intp], component: int, root: Floats) -> Directions:
    """Return how one component moves; a letter V gives it coordinates of its own."""
    scales = np.linalg.norm(root, axis=0)
    columns, changes, turns = [], [], []
    for group, start in zip(groups, starts[:-1], strict=True):
        size = len(group.basis)
        columns.append(start + (component * size if group.letter == "V" else 0) + np.arange(size))
        turns.append(group.basis * scales / scales[:, None] if group.is_rotation else np.zeros_like(group.basis))
        changes.append(turns[-1] + turns[-1].transpose(0, 2, 1) if group.is_rotation else group.basis)
    return Directions(np.concatenate(columns), np.concatenate(changes), np.concatenate(turns))


def _roots_along_axes(covariances: Floats, structure: CovarianceStructure) -> Floats:
    """Return roots Q_k D_k whose columns are principal axes, scaled by the standard deviations along them."""
    if structure.orientation == "V":
        axes = np.linalg.eigh(covariances)[1]
    else:
        # Matrices that share their axes: in a combination with irregular coefficients no two of them tie.
        coefficients = (1.0 + np.arange(len(covariances)) / np.pi) / np.trace(covariances, axis1=1, axis2=2)
        common = np.linalg.eigh(np.tensordot(coefficients, covariances, axes=1))[1]
        axes = np.broadcast_to(common, covariances.shape)
    variances = np.einsum("kij,kil,klj->kj", axes, covariances, axes)
    return np.asarray(axes * np.sqrt(variances)[:, None, :])
