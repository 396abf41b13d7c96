"""Covariances by volume, shape and orientation, with priors on these parts: a posterior for all fourteen structures.

A covariance is exp(M_k), with log volume and what is left of M_k without it. Both are normal around a location that the
components share and that is itself unknown, so the prior is the lognormal twin of the default one (math.md, 4.9). All
of this is linear, so what is sampled are standard normal scores, which constant matrices turn into log volumes and log
shapes. What a shape is depends on whether the orientation goes with it, that is, has the same letter:

- Axes along the columns: a vector of log variances; M_k is diagonal.
- Shape and orientation equal, or both variable (EEE, VEE, EVV, VVV): one symmetric matrix, of which neither eigenvalues
  nor axes are needed. There are as many coordinates as parameters, and no two of them give the same covariance.
- One equal and the other variable (EEV, VEV, EVE, VVE): log variances along axes, which are uniform over the rotations
  (rotations.py). Axes are not ordered: turned by half a turn, or permuted with their variances, they give the same
  covariance, and all these copies have the same prior and posterior. A chain that stays in one copy, or one that
  wanders, gives the same covariances; an order would put walls where variances cross.
"""

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray
from scipy.linalg import helmert
from scipy.special import polygamma

from bayesgmm.bayes.likelihood import Components
from bayesgmm.bayes.matrices import cholesky_factor, exponential, gram, placed, product
from bayesgmm.bayes.priors import ResolvedPriors
from bayesgmm.bayes.rotations import rotations
from bayesgmm.data import Scaling
from bayesgmm.structure import CovarianceStructure

__all__ = ["add_guard", "factorised_components", "factorised_hyperparameters", "factorised_start"]

Floats = NDArray[np.float64]


def _has_axes(structure: CovarianceStructure) -> bool:
    return not structure.is_diagonal and not structure.has_matrix_shape


def factorised_hyperparameters(
    priors: ResolvedPriors, scaling: Scaling, structure: CovarianceStructure, n_components: int
) -> dict[str, Floats]:
    """Return the numbers of the prior, standardised units (math.md, 4.9).

    Parameters
    ----------
    priors : ResolvedPriors
        The priors.
    scaling : Scaling
        The change of units.
    structure : CovarianceStructure
        The structure.
    n_components : int
        Number of components, K.

    Returns
    -------
    dict of str to ndarray
        ``log_variance_location`` (D,), ``volume_root`` and ``shape_root`` (K, copies), ``smallest_variance`` (D,).
    """
    k, d = n_components, len(priors.within_sd)
    log_within = 2.0 * np.log(priors.within_sd / scaling.scale)
    has_mean_only = structure.is_spherical or _has_axes(structure)
    values = {
        "log_variance_location": np.full(d, log_within.mean()) if has_mean_only else log_within,
        "volume_root": _exchangeable_root(structure.volume, k, *_spreads(priors, 1)),
        "smallest_variance": (priors.smallest_sd * priors.within_sd / scaling.scale) ** 2,
    }
    if not structure.is_spherical:
        between, within = _spreads(priors, d if structure.has_matrix_shape else 1)
        # Axes that turn cannot have a variance each to expect; then the shape may be as uneven as those of the columns.
        between += float(log_within.var()) if _has_axes(structure) else 0.0
        values["shape_root"] = _exchangeable_root(structure.shape, k, between, within)
    return values


def _spreads(priors: ResolvedPriors, order: int) -> tuple[float, float]:
    """Return the variances of the shared location and around it; a matrix needs a degree of freedom for each column."""
    between, within = (float(polygamma(1, 0.5 * (dof + order - 1))) for dof in (priors.scale_dof, priors.dof))
    return between, within


def _exchangeable_root(letter: str, k: int, between: float, within: float) -> Floats:
    """Return a root of the covariance of K numbers: equal, (K, 1), or scattered around a shared location, (K, K).

    The root is symmetric, so that renumbering the scores renumbers the components.
    """
    if letter == "E":
        return np.full((k, 1), np.sqrt(between + within))
    return np.sqrt(within) * np.eye(k) + (np.sqrt(within + k * between) - np.sqrt(within)) / k


# -------------------------------------------------------------------- the variables


def factorised_components(structure: CovarianceStructure, hyper: dict[str, Any], k: int, d: int) -> Components:
    """Make the variables of the covariances, inside a PyMC model.

    Parameters
    ----------
    structure : CovarianceStructure
        The structure.
    hyper : dict of str to tensor
        The numbers of `factorised_hyperparameters`.
    k, d : int
        Numbers of components and of columns.

    Returns
    -------
    Components
        Covariances and precisions.
    """
    copies = {"E": 1, "V": k}
    volumes = pm.Normal("volume_scores", 0.0, 1.0, shape=(copies[structure.volume], 1))
    logs = hyper["log_variance_location"] + product(hyper["volume_root"], volumes)
    if structure.is_spherical:
        found = _along_columns(logs, d)
    else:
        basis = _basis(structure, d)
        scores = pm.Normal("shape_scores", 0.0, 1.0, shape=(copies[structure.shape], len(basis)))
        shapes = product(hyper["shape_root"], scores)
        if structure.has_matrix_shape:
            found = _by_logarithms(np.eye(d) * logs[..., None] + placed(shapes, basis))
        elif structure.is_diagonal:
            found = _along_columns(logs + product(shapes, basis), d)
        else:
            axes = rotations("axes", copies[structure.orientation], d)
            found = _along_axes(axes if structure.orientation == "V" else axes[0], logs + product(shapes, basis))
    add_guard(hyper["smallest_variance"], found.precisions, d)
    return found


def _basis(structure: CovarianceStructure, d: int) -> Floats:
    """Return orthonormal vectors (m, d) whose entries sum to zero, or symmetric matrices (m, d, d) of trace zero."""
    vectors = helmert(d)
    if not structure.has_matrix_shape:
        return vectors
    rows, columns = np.tril_indices(d, -1)
    beside = np.zeros((len(rows), d, d))
    beside[np.arange(len(rows)), rows, columns] = beside[np.arange(len(rows)), columns, rows] = np.sqrt(0.5)
    return np.concatenate([vectors[:, :, None] * np.eye(d), beside])


def _along_columns(logs: Any, d: int) -> Components:
    """Return covariances with log variances (K, D) along the columns, or (K, 1)."""
    spread, inverse = pt.exp(0.5 * logs), pt.exp(-0.5 * logs)
    return Components(*(np.eye(d) * part[..., None] for part in (inverse**2, spread**2, inverse)))


def _along_axes(axes: Any, logs: Any) -> Components:
    """Return covariances with log variances (K, D) along axes (K, D, D), or (D, D) that are common."""
    precisions = gram(axes * pt.exp(-0.5 * logs)[:, None, :])
    return Components(precisions, gram(axes * pt.exp(0.5 * logs)[:, None, :]), cholesky_factor(precisions))


def _by_logarithms(matrices: Any) -> Components:
    """Return covariances whose matrix logarithms (K, D, D) are given."""
    precisions = exponential(-matrices)
    return Components(precisions, exponential(matrices), cholesky_factor(precisions))


def add_guard(guard: Any, precisions: Any, d: int) -> None:
    """Add the factor exp(-tr(G Lambda_k) / 2) of every component to a PyMC model, which forbids spikes (math.md, 4.4).

    Parameters
    ----------
    guard : tensor_like, shape (D,)
        Diagonal of G, standardised units.
    precisions : tensor_like, shape (K, D, D)
        Precisions, standardised units.
    d : int
        Number of columns.
    """
    pm.Potential("guard", -0.5 * (np.eye(d) * guard * precisions).sum())


# -------------------------------------------------------------------- where chains start


def factorised_start(
    structure: CovarianceStructure, covariances: Floats, hyper: dict[str, Floats]
) -> dict[str, Floats]:
    """Return values of the variables of `factorised_components` at given covariances.

    Parameters
    ----------
    structure : CovarianceStructure
        The structure.
    covariances : ndarray, shape (K, D, D)
        Of a mixture of that structure, standardised units; of another one, something close to it is found.
    hyper : dict of str to ndarray
        The numbers of `factorised_hyperparameters`.

    Returns
    -------
    dict of str to ndarray
        ``volume_scores`` (copies, 1), ``shape_scores`` (copies, D - 1), or (copies, D (D + 1) / 2 - 1) where shape and
        orientation are one matrix, and ``axes`` (copies, D, D), if there are any.
    """
    k, d, _ = covariances.shape
    values = {}
    if structure.has_matrix_shape:
        offsets = _logarithms(covariances) - np.diag(hyper["log_variance_location"])
        volumes = np.trace(offsets, axis1=1, axis2=2) / d
    else:
        axes = _axes_of(structure, covariances) if _has_axes(structure) else np.tile(np.eye(d), (k, 1, 1))
        offsets = np.log(np.einsum("kdj,kde,kej->kj", axes, covariances, axes)) - hyper["log_variance_location"]
        volumes = offsets.mean(axis=1)
        if _has_axes(structure):
            values["axes"] = axes if structure.orientation == "V" else axes[:1]
    values["volume_scores"] = np.linalg.lstsq(hyper["volume_root"], volumes[:, None])[0]
    if not structure.is_spherical:
        basis = _basis(structure, d)
        shapes = offsets.reshape(k, -1) @ basis.reshape(len(basis), -1).T
        values["shape_scores"] = np.linalg.lstsq(hyper["shape_root"], shapes)[0]
    return values


def _logarithms(covariances: Floats) -> Floats:
    """Return the matrix logarithms of covariances (K, D, D)."""
    values, vectors = np.linalg.eigh(covariances)
    return np.asarray((vectors * np.log(values)[:, None, :]) @ np.swapaxes(vectors, 1, 2))


def _axes_of(structure: CovarianceStructure, covariances: Floats) -> Floats:
    """Return the axes (K, D, D) of covariances in the order of their variances, as rotations."""
    k, d, _ = covariances.shape
    if structure.orientation == "E":
        # Matrices with common axes; uneven shares, so that no variances tie in the sum that do not tie in all of them.
        volumes = np.exp(np.linalg.slogdet(covariances)[1] / d)
        shares = np.sqrt(np.arange(2.0, k + 2.0)) / volumes
        covariances = np.tile(np.einsum("k,kde->de", shares, covariances), (k, 1, 1))
    axes = np.linalg.eigh(covariances)[1][..., ::-1].copy()
    axes[np.linalg.det(axes) < 0.0, :, -1] *= -1.0
    return axes
