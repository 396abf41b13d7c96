"""Uniform rotations, as random variables of a PyMC model, and the coordinates that chains move in.

The axes of a covariance are a rotation, and axes that are turned by half a turn, or put in another order together with
their variances, give the same covariance. Coordinates of a rotation around a centre have these copies in places that do
not look alike, some at infinity, and chains that reach them find nothing there that they have learned. So a rotation is
the polar factor of a free square matrix (Jauch, Hoff & Dunson 2021): turning the rotation turns the matrix, which
changes no density, and all copies look alike. The price is D (D + 1) / 2 coordinates more, those of the other factor,
which the data do not see and whose distribution is known.
"""

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray
from pymc.logprob.transforms import Transform
from scipy.special import multigammaln
from scipy.stats import special_ortho_group

from bayesgmm.bayes.matrices import polar_factor

__all__ = ["PolarRotations", "rotations"]

# Degrees of freedom of the other factor, for each column. The more there are, the narrower is the shell that chains
# move in; with few, columns of a matrix may nearly coincide, and a small step there is a large turn.
_DOF_PER_COLUMN = 10


class PolarRotations(Transform):
    """Coordinates of rotations: square matrices G = Q S, of which Q is the polar factor; (..., d, d) to (..., d, d).

    S^2 is Wishart with mean I, independent of Q. The log Jacobian is the density of G where Q is uniform over the
    rotations, so that a density by that distribution is what a model has to state. Many G have one Q: `forward` gives
    the most probable one.
    """

    name = "polar"

    def __init__(self, d: int) -> None:
        self.d, self.dof = d, _DOF_PER_COLUMN * d

    def backward(self, value: Any, *inputs: Any) -> Any:
        """Map matrices to rotations."""
        return polar_factor(value)[0]

    def forward(self, value: Any, *inputs: Any) -> Any:
        """Map rotations to matrices."""
        return np.sqrt(1.0 - 1.0 / _DOF_PER_COLUMN) * pt.as_tensor_variable(value)

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Return the log density of the matrices, a scalar for all of them; NaN where one is no turned stretch."""
        d, dof, value = self.d, self.dof, pt.as_tensor_variable(value)
        log_determinants = polar_factor(value)[1]
        # Half of all matrices have a positive determinant.
        constant = np.log(2.0) + multigammaln(0.5 * d, d) - multigammaln(0.5 * dof, d)
        constant += 0.5 * dof * d * np.log(0.5 * dof) - 0.5 * d * d * np.log(np.pi)
        return (constant + (dof - d) * log_determinants).sum() - 0.5 * dof * (value**2).sum()


def rotations(name: str, copies: int, d: int, **kwargs: Any) -> Any:
    """Make uniform rotation matrices of shape (copies, d, d), inside a PyMC model.

    Parameters
    ----------
    name : str
        Name of the variable.
    copies : int
        Number of rotations.
    d : int
        Order of the matrices, above one.
    **kwargs
        For `pymc.CustomDist`, such as ``dims``.

    Returns
    -------
    TensorVariable
        The random variable; its density is by the uniform distribution, that is, one.

    Notes
    -----
    math.md, 4.9.
    """
    identities = np.tile(np.eye(d), (copies, 1, 1))
    return pm.CustomDist(
        name, identities,
        logp=_uniform_logp, random=_uniform_random, support_point=_identities,
        signature="(c,d,d)->(c,d,d)", default_transform=PolarRotations(d), **kwargs,
    )  # fmt: skip


def _uniform_logp(value: Any, identities: Any) -> Any:
    return pt.zeros(())


def _uniform_random(identities: Any, rng: Any = None, size: Any = None) -> NDArray[np.float64]:
    copies, d, _ = identities.shape
    return np.reshape(special_ortho_group.rvs(d, size=copies, random_state=rng), identities.shape)


def _identities(rv: Any, size: Any, identities: Any) -> Any:
    return identities
