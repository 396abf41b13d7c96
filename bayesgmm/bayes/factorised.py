"""Covariances by volume, shape and orientation, each with a prior of its own: a posterior for all fourteen structures.

A covariance is Q_k diag(v_k) Q_k', with log variances v_k along the axes Q_k. Log variances are a volume and a shape;
both are normal around a location that the components share and that is itself unknown, so the prior is the lognormal
twin of the default one (math.md, 4.9). All of this is linear, so what is sampled are standard normal scores, which
constant matrices turn into log volumes and log shapes. Orientations are uniform over the rotations.

There are as many coordinates as the structure has parameters. A rotation has D (D - 1) / 2: the skew matrix of Cayley's
transform from a centre, which is where the chains start, with sinh() on its entries, so that the uniform distribution,
Cauchy in the entries, has light tails in the coordinates. Axes are not ordered: turned by half a turn, or permuted with
their variances, they give the same covariance, and all these copies have the same prior and posterior. A chain that
stays in one copy, or one that wanders, gives the same covariances; an order would put walls where variances cross.
"""

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray
from pymc.logprob.transforms import Transform
from scipy.linalg import helmert
from scipy.special import multigammaln, polygamma
from scipy.stats import special_ortho_group

from bayesgmm.bayes.likelihood import Components
from bayesgmm.bayes.matrices import cholesky_factor, general_inverse, gram, placed, product
from bayesgmm.bayes.priors import ResolvedPriors
from bayesgmm.data import Scaling
from bayesgmm.structure import CovarianceStructure

__all__ = ["CayleyRotations", "factorised_components", "factorised_hyperparameters", "factorised_start", "rotations"]

Floats = NDArray[np.float64]


class CayleyRotations(Transform):
    """Coordinates of rotations around a centre: (..., d, d) to (..., d (d - 1) / 2).

    Q = Q0 (I - S) (I + S)^-1 with S skew and sinh(coordinates) below its diagonal. The log Jacobian is the density of
    the uniform distribution over the rotations, so that a density by that distribution is what a model has to state.
    """

    name = "cayley"

    def __init__(self, d: int) -> None:
        self.d = d
        self.rows, self.columns = np.tril_indices(d, -1)
        #: A skew matrix for each coordinate, of which the others are sums.
        self.patterns = np.zeros((len(self.rows), d, d))
        self.patterns[np.arange(len(self.rows)), self.rows, self.columns] = 1.0
        self.patterns -= np.swapaxes(self.patterns, 1, 2)

    def backward(self, value: Any, *inputs: Any) -> Any:
        """Map coordinates to rotations; the last input is the centre."""
        # The same as (I - S) times the inverse of (I + S).
        return product(inputs[-1], 2.0 * general_inverse(self._shifted_skew(value))[1] - np.eye(self.d))

    def forward(self, value: Any, *inputs: Any) -> Any:
        """Map rotations to coordinates."""
        turned = inputs[-1].mT @ pt.as_tensor_variable(value)
        skew = 2.0 * pt.linalg.inv(np.eye(self.d) + turned)
        return pt.arcsinh(skew[..., self.rows, self.columns])

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Return the log density of the coordinates of uniform rotations, a scalar for all of them."""
        d = self.d
        log_determinants = general_inverse(self._shifted_skew(value))[0]
        value = pt.as_tensor_variable(value)
        log_volume = (d - 1) * np.log(2.0) + 0.5 * d * d * np.log(np.pi) - multigammaln(0.5 * d, d)
        constant = len(self.rows) * np.log(2.0) - log_volume
        return (constant - (d - 1) * log_determinants).sum() + pt.log(pt.cosh(value)).sum()

    def _shifted_skew(self, value: Any) -> Any:
        return np.eye(self.d) + placed(pt.sinh(value), self.patterns)


def rotations(name: str, centre: Any, d: int, **kwargs: Any) -> Any:
    """Make uniform rotation matrices of shape (copies, d, d), inside a PyMC model.

    Parameters
    ----------
    name : str
        Name of the variable.
    centre : tensor_like, shape (copies, d, d)
        Rotations around which the coordinates are taken; the distribution does not depend on them.
    d : int
        Order of the matrices, above one.
    **kwargs
        For `pymc.CustomDist`, such as ``dims``.

    Returns
    -------
    TensorVariable
        The random variable; its density is by the uniform distribution, that is, one.
    """
    return pm.CustomDist(
        name, centre,
        logp=_uniform_logp, random=_uniform_random, support_point=_centre,
        signature="(c,d,d)->(c,d,d)", default_transform=CayleyRotations(d), **kwargs,
    )  # fmt: skip


def _uniform_logp(value: Any, centre: Any) -> Any:
    return pt.zeros(())


def _uniform_random(centre: Any, rng: Any = None, size: Any = None) -> Floats:
    copies, d, _ = centre.shape
    return np.reshape(special_ortho_group.rvs(d, size=copies, random_state=rng), centre.shape)


def _centre(rv: Any, size: Any, centre: Any) -> Any:
    return centre


# -------------------------------------------------------------------- the family


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
        ``log_variance_location`` (D,), ``volume_root`` and ``shape_root`` (K, copies), ``smallest_variance`` (D,),
        ``axes_centre`` (copies, D, D).
    """
    k, d = n_components, len(priors.within_sd)
    log_within = 2.0 * np.log(priors.within_sd / scaling.scale)
    is_aligned = structure.is_diagonal and not structure.is_spherical
    between, within = (float(polygamma(1, 0.5 * dof)) for dof in (priors.scale_dof, priors.dof))
    values = {
        "log_variance_location": log_within if is_aligned else np.full(d, log_within.mean()),
        "volume_root": _exchangeable_root(structure.volume, k, between, within),
        "smallest_variance": (priors.smallest_sd * priors.within_sd / scaling.scale) ** 2,
    }
    if not structure.is_spherical:
        # Axes that turn cannot have a variance each to expect; then the shape may be as uneven as those of the columns.
        unevenness = 0.0 if is_aligned else float(log_within.var())
        values["shape_root"] = _exchangeable_root(structure.shape, k, between + unevenness, within)
    if not structure.is_diagonal:
        values["axes_centre"] = np.tile(np.eye(d), (k if structure.orientation == "V" else 1, 1, 1))
    return values


def _exchangeable_root(letter: str, k: int, between: float, within: float) -> Floats:
    """Return a root of the covariance of K numbers: equal, (K, 1), or scattered around a shared location, (K, K).

    The root is symmetric, so that renumbering the scores renumbers the components.
    """
    if letter == "E":
        return np.full((k, 1), np.sqrt(between + within))
    return np.sqrt(within) * np.eye(k) + (np.sqrt(within + k * between) - np.sqrt(within)) / k


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
    log_variances = hyper["log_variance_location"] + product(hyper["volume_root"], volumes)
    if not structure.is_spherical:
        shapes = pm.Normal("shape_scores", 0.0, 1.0, shape=(copies[structure.shape], d - 1))
        log_variances += product(product(hyper["shape_root"], shapes), helmert(d))
    spread, inverse = pt.exp(0.5 * log_variances), pt.exp(-0.5 * log_variances)
    if structure.is_diagonal:
        diagonals = [np.eye(d) * part[..., None] for part in (inverse**2, spread**2, inverse)]
        found = Components(*diagonals)
    else:
        axes = rotations("axes", hyper["axes_centre"], d)
        axes = axes if structure.orientation == "V" else axes[0]
        scaled, flattened = axes * spread[:, None, :], axes * inverse[:, None, :]
        precisions = gram(flattened)
        found = Components(precisions, gram(scaled), cholesky_factor(precisions))
    add_guard(hyper["smallest_variance"], found.precisions, d)
    return found


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
        ``volume_scores`` (copies, 1), ``shape_scores`` (copies, D - 1) and ``axes`` (copies, D, D), if there are any.
    """
    axes = _axes_of(structure, covariances, hyper.get("axes_centre"))
    variances = np.einsum("kdj,kde,kej->kj", axes, covariances, axes)
    offsets = np.log(variances) - hyper["log_variance_location"]
    values = {"volume_scores": np.linalg.lstsq(hyper["volume_root"], offsets.mean(axis=1, keepdims=True))[0]}
    if not structure.is_spherical:
        shapes = offsets @ helmert(len(offsets[0])).T
        values["shape_scores"] = np.linalg.lstsq(hyper["shape_root"], shapes)[0]
    if not structure.is_diagonal:
        values["axes"] = axes if structure.orientation == "V" else axes[:1]
    return values


def _axes_of(structure: CovarianceStructure, covariances: Floats, centre: Floats | None) -> Floats:
    """Return the axes (K, D, D) of covariances in the order of their variances, as rotations that are near a centre."""
    k, d, _ = covariances.shape
    if centre is None:
        return np.tile(np.eye(d), (k, 1, 1))
    if structure.orientation == "E":
        # Matrices with common axes; uneven shares, so that no variances tie in the sum that do not tie in all of them.
        volumes = np.exp(np.linalg.slogdet(covariances)[1] / d)
        shares = np.sqrt(np.arange(2.0, k + 2.0)) / volumes
        covariances = np.tile(np.einsum("k,kde->de", shares, covariances), (k, 1, 1))
    axes = np.linalg.eigh(covariances)[1][..., ::-1]
    # An axis may point either way: as at the centre, but for one where that is a reflection.
    along = np.einsum("kdj,kdj->kj", np.broadcast_to(centre, axes.shape), axes)
    signs = np.where(along < 0.0, -1.0, 1.0)
    reflected = np.linalg.det(axes * signs[:, None, :]) < 0.0
    signs[reflected, np.argmin(np.abs(along[reflected]), axis=1)] *= -1.0
    return axes * signs[:, None, :]
