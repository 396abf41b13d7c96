"""The prior on the component precisions, and their unconstrained coordinates.

Given a shared scale matrix C the precisions are independent, Lambda_k ~ Wishart(nu, C^-1); C ~ Wishart(nu0, S). C is
conjugate and is integrated out (math.md, 4.3):

    p(Lambda_1..K) = const * prod_k |Lambda_k|^((nu - p - 1) / 2) * |S^-1 + sum_k Lambda_k|^(-(nu0 + K nu) / 2),

which spares the sampler p (p + 1) / 2 coordinates that are strongly tied to the precisions. Diagonal structures are the
same density with p = 1 for every column; so one formula serves all structures, over "blocks" (columns, or the one
matrix).

This falls only like a power when one precision grows while C shrinks with it. Rows that tie in a column (rounded data)
raise the likelihood of such a spike by a power too, and with enough of them the posterior would be improper (math.md,
4.4). So the density is multiplied by prod_k exp(-tr(G Lambda_k) / 2), with G the squares of the smallest standard
deviations that are believed: it is 1 for all practical purposes above them, and forbids spikes for any number of ties.
"""

from functools import partial
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray
from pymc.distributions.dist_math import multigammaln
from pymc.logprob.transforms import Transform
from scipy.stats import wishart

from bayesgmm.bayes.likelihood import Components
from bayesgmm.bayes.matrices import (
    cholesky_factor,
    log_determinant,
    positive_inverse,
    precisions_of_coordinates,
    total,
)
from bayesgmm.bayes.priors import ResolvedPriors
from bayesgmm.data import Scaling
from bayesgmm.structure import CovarianceStructure

__all__ = [
    "JointLog",
    "JointLogCholesky",
    "matrix_precisions",
    "scalar_precisions",
    "wishart_components",
    "wishart_hyperparameters",
    "wishart_start",
]


class JointLogCholesky(Transform):
    """Log-Cholesky coordinates of all precision matrices at once: (..., p, p) to (..., p (p + 1) / 2).

    The Jacobian is summed over the components, because their prior is joint.
    """

    name = "logchol"

    def __init__(self, p: int) -> None:
        self.p = p
        self.rows, self.columns = np.tril_indices(p)
        self.diagonal = np.cumsum(np.arange(1, p + 1)) - 1

    def backward(self, value: Any, *inputs: Any) -> Any:
        """Map coordinates to precision matrices."""
        return precisions_of_coordinates(value)

    def forward(self, value: Any, *inputs: Any) -> Any:
        """Map precision matrices to coordinates."""
        entries = pt.linalg.cholesky(pt.as_tensor_variable(value))[..., self.rows, self.columns]
        return entries[..., self.diagonal].set(pt.log(entries[..., self.diagonal]))

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Return the log Jacobian of `backward`, a scalar: sum over j of (p - j + 2) log L_jj, plus p log 2."""
        value = pt.as_tensor_variable(value)
        powers = np.zeros(len(self.rows))
        powers[self.diagonal] = np.arange(self.p + 1, 1, -1)
        return (value * powers).sum() + value[..., 0].size * self.p * np.log(2.0)


class JointLog(Transform):
    """Logarithms of all scalar precisions at once; the Jacobian is a scalar, because the prior is joint."""

    name = "log"

    def backward(self, value: Any, *inputs: Any) -> Any:
        """Map logarithms to precisions."""
        return pt.exp(value)

    def forward(self, value: Any, *inputs: Any) -> Any:
        """Map precisions to logarithms."""
        return pt.log(value)

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Return the log Jacobian of `backward`, a scalar."""
        return pt.as_tensor_variable(value).sum()


def matrix_precisions(name: str, p: int, dof: Any, scale_dof: Any, rate: Any, guard: Any, **kwargs: Any) -> Any:
    """Make precision matrices of shape (copies, p, p), inside a PyMC model.

    Parameters
    ----------
    name : str
        Name of the variable.
    p : int
        Order of the matrices.
    dof : tensor_like, shape (copies,)
        nu, the same for every copy.
    scale_dof : tensor_like, scalar
        nu0.
    rate : tensor_like, shape (p, p)
        S^-1, standardised units.
    guard : tensor_like, shape (p,)
        Diagonal of G, standardised units.
    **kwargs
        For `pymc.CustomDist`, such as ``dims``.

    Returns
    -------
    TensorVariable
        The random variable.
    """
    return pm.CustomDist(
        name, dof, scale_dof, rate, guard,
        logp=partial(_matrix_logp, p=p), random=_matrix_random, support_point=_matrix_support_point,
        signature="(k),(),(p,p),(p)->(k,p,p)", default_transform=JointLogCholesky(p), **kwargs,
    )  # fmt: skip


def scalar_precisions(name: str, dof: Any, scale_dof: Any, rate: Any, guard: Any, **kwargs: Any) -> Any:
    """Make scalar precisions of shape (copies, blocks), inside a PyMC model; see `matrix_precisions`.

    Parameters
    ----------
    name : str
        Name of the variable.
    dof : tensor_like, shape (copies,)
        nu, the same for every copy.
    scale_dof : tensor_like, scalar
        nu0.
    rate : tensor_like, shape (blocks,)
        1 / S, block by block, standardised units.
    guard : tensor_like, shape (blocks,)
        G, block by block, standardised units.
    **kwargs
        For `pymc.CustomDist`, such as ``dims``.

    Returns
    -------
    TensorVariable
        The random variable.
    """
    return pm.CustomDist(
        name, dof, scale_dof, rate, guard,
        logp=_scalar_logp, random=_scalar_random, support_point=_scalar_support_point,
        signature="(k),(),(b),(b)->(k,b)", default_transform=JointLog(), **kwargs,
    )  # fmt: skip


# -------------------------------------------------------------------- densities


def _log_constant(dof: Any, scale_dof: Any, p: Any) -> Any:
    """Return the constant of the density without the guard, but for the determinant of S; the powers of two cancel."""
    total = scale_dof + dof.sum()
    separate = dof.shape[0] * multigammaln(dof[0] / 2, p) + multigammaln(scale_dof / 2, p)
    return multigammaln(total / 2, p) - separate


def _matrix_logp(value: Any, dof: Any, scale_dof: Any, rate: Any, guard: Any, *, p: int) -> Any:
    density = (0.5 * (dof - p - 1) * log_determinant(value)).sum()
    shared = 0.5 * (scale_dof + dof.sum()) * log_determinant(rate + total(value))[0]
    constants = 0.5 * scale_dof * log_determinant(rate) + _log_constant(dof, scale_dof, p)
    return density - shared + constants - 0.5 * (np.eye(p) * guard * value).sum()


def _scalar_logp(value: Any, dof: Any, scale_dof: Any, rate: Any, guard: Any) -> Any:
    density = (0.5 * (dof[:, None] - 2) * pt.log(value)).sum()
    shared = 0.5 * (scale_dof + dof.sum()) * pt.log(rate + value.sum(axis=0)).sum()
    constants = 0.5 * scale_dof * pt.log(rate).sum() + rate.shape[0] * _log_constant(dof, scale_dof, 1)
    return density - shared + constants - 0.5 * (guard * value).sum()


# -------------------------------------------------------------------- draws from the prior


def _matrix_random(
    dof: Any, scale_dof: Any, rate: Any, guard: Any, rng: Any = None, size: Any = None
) -> NDArray[np.float64]:
    while True:
        scale = np.atleast_2d(wishart.rvs(float(scale_dof), np.linalg.inv(rate), random_state=rng))
        inverse = np.linalg.inv(scale)
        found = np.stack([np.atleast_2d(wishart.rvs(nu, inverse, random_state=rng)) for nu in dof])
        if _is_kept(np.sum(guard * np.diagonal(found, axis1=-2, axis2=-1)), rng):
            return found


def _scalar_random(
    dof: Any, scale_dof: Any, rate: Any, guard: Any, rng: Any = None, size: Any = None
) -> NDArray[np.float64]:
    while True:
        scale = rng.chisquare(scale_dof, size=rate.shape) / rate
        found = np.asarray(rng.chisquare(dof[:, None], size=(len(dof), len(rate))) / scale)
        if _is_kept(np.sum(guard * found), rng):
            return found


def _is_kept(penalty: float, rng: Any) -> bool:
    """Decide by rejection, so that draws follow the guarded density exactly; few are refused."""
    return bool(rng.random() < np.exp(-0.5 * penalty))


def _matrix_support_point(rv: Any, size: Any, dof: Any, scale_dof: Any, rate: Any, guard: Any) -> Any:
    """Return the precision at which C has its expectation and Lambda_k its expectation given C."""
    typical = (dof[0] / scale_dof) * rate
    return pt.zeros((dof.shape[0], 1, 1)) + typical


def _scalar_support_point(rv: Any, size: Any, dof: Any, scale_dof: Any, rate: Any, guard: Any) -> Any:
    return pt.zeros((dof.shape[0], 1)) + (dof[0] / scale_dof) * rate


# -------------------------------------------------------------------- the family


def wishart_hyperparameters(
    priors: ResolvedPriors, scaling: Scaling, structure: CovarianceStructure, n_components: int
) -> dict[str, NDArray[np.float64]]:
    """Return the numbers of the prior, standardised units (math.md, 4.3 and 4.4).

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
        The arguments of `matrix_precisions` or `scalar_precisions`, by the names of the model's data.
    """
    within = (priors.within_sd / scaling.scale) ** 2
    copies = 1 if structure.is_shared else n_components
    blocks = within.mean(keepdims=True) if structure.is_spherical else within
    # E[Sigma] = nu0 S / (nu - p - 1), so that S^-1 follows from the expected variances.
    p = 1 if structure.is_diagonal else len(within)
    rate = priors.scale_dof / ((priors.dof - p - 1) * blocks)
    return {
        "precision_dof": np.full(copies, priors.dof),
        "scale_dof": np.asarray(priors.scale_dof),
        "scale_rate": rate if structure.is_diagonal else np.diag(rate),
        "scale_guard": blocks * priors.smallest_sd**2,
    }


def wishart_components(structure: CovarianceStructure, hyper: dict[str, Any], k: int, d: int) -> Components:
    """Make the precisions that the structure asks for, inside a PyMC model.

    Parameters
    ----------
    structure : CovarianceStructure
        The structure.
    hyper : dict of str to tensor
        The numbers of `wishart_hyperparameters`.
    k, d : int
        Numbers of components and of columns.

    Returns
    -------
    Components
        Precisions, covariances and Cholesky factors.
    """
    arguments = (hyper["precision_dof"], hyper["scale_dof"], hyper["scale_rate"], hyper["scale_guard"])
    copy_of = np.zeros(k, dtype=int) if structure.is_shared else np.arange(k)
    if not structure.is_diagonal:
        matrices = matrix_precisions("precisions", d, *arguments)
        found = Components(matrices, positive_inverse(matrices), cholesky_factor(matrices))
        return Components(*(part[copy_of] for part in found)) if structure.is_shared else found
    block_of = np.zeros(d, dtype=int) if structure.is_spherical else np.arange(d)
    numbers = scalar_precisions("precisions", *arguments)[copy_of][:, block_of][..., None]
    return Components(numbers * np.eye(d), np.eye(d) / numbers, pt.sqrt(numbers) * np.eye(d))


def wishart_start(
    structure: CovarianceStructure, covariances: NDArray[np.float64], hyper: dict[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Return the value of ``precisions`` at given covariances.

    Parameters
    ----------
    structure : CovarianceStructure
        The structure.
    covariances : ndarray, shape (K, D, D)
        Of a mixture of that structure, standardised units.
    hyper : dict of str to ndarray
        Not needed.

    Returns
    -------
    dict of str to ndarray
        One entry.
    """
    precisions = np.linalg.inv(covariances)
    if structure.is_diagonal:
        precisions = np.diagonal(precisions, axis1=-2, axis2=-1)
        precisions = precisions[:, :1] if structure.is_spherical else precisions
    return {"precisions": precisions[:1] if structure.is_shared else precisions}
