"""All parameters at once: how far the estimate lies from the middle of the posterior, jointly.

Every parameter may lie inside its own interval while all together lie where the posterior hardly is, and the other way
round. So parameters are taken together in unconstrained coordinates, in which a posterior is nearest to a normal one,
and the estimate's Mahalanobis distance is ranked among those of the draws themselves.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import Mixture
from bayesgmm.showing import Shown
from bayesgmm.structure import CovarianceStructure

__all__ = ["JointPosition", "joint_position", "unconstrained"]

Floats = NDArray[np.float64]

#: Draws for each coordinate below which a covariance matrix is too rough to measure distances with.
_DRAWS_PER_COORDINATE = 5
#: Below this share of the largest variance, all coordinates scaled alike, a direction is not one.
_FLAT = 1e-10


@dataclass(frozen=True)
class JointPosition(Shown):
    """Where the estimate lies in the joint posterior.

    Parameters
    ----------
    distance : float
        Mahalanobis distance from the posterior mean, in unconstrained coordinates.
    n_coordinates : int
        Number of coordinates.
    expected : float
        Root of the number of coordinates: the distance at which a draw is to be expected.
    tail : float
        Share of the draws that are further out than the estimate.
    chi2_tail : float
        The same for a normal posterior.
    """

    distance: float
    n_coordinates: int
    expected: float
    tail: float
    chi2_tail: float


def unconstrained(mixture: Mixture, structure: CovarianceStructure) -> Floats:
    """Return the unconstrained coordinates of mixtures (math.md, 8.3).

    Parameters
    ----------
    mixture : Mixture
        One mixture or a batch; weights positive.
    structure : CovarianceStructure
        Says which entries vary: spherical and diagonal covariances have logarithms of standard deviations only, shared
        ones count once.

    Returns
    -------
    ndarray, shape (..., P)
        Log-ratios of the weights to the last, means, Cholesky factors of the covariances with the logarithm of their
        diagonal.
    """
    batch = mixture.batch_shape
    log_weights = np.log(mixture.weights)
    ratios = log_weights[..., :-1] - log_weights[..., -1:]
    chols = mixture.cholesky[..., :1, :, :] if structure.is_shared else mixture.cholesky
    logs = np.log(np.diagonal(chols, axis1=-2, axis2=-1))
    logs = logs[..., :1] if structure.is_spherical else logs
    parts = [ratios, mixture.means.reshape(*batch, -1), logs.reshape(*batch, -1)]
    if not structure.is_diagonal:
        rows, columns = np.tril_indices(mixture.n_features, -1)
        parts.append(chols[..., rows, columns].reshape(*batch, -1))
    return np.concatenate(parts, axis=-1)


def joint_position(em: Mixture, bayes: MixtureFit) -> JointPosition | str:
    """Measure the joint distance of the estimate, or say why it is withheld (math.md, 8.3).

    Parameters
    ----------
    em : Mixture
        The estimate, its components in the posterior's order.
    bayes : MixtureFit
        The draws.

    Returns
    -------
    JointPosition or str
        The distance, or a sentence.
    """
    if not np.all(em.weights > 0) or not np.all(bayes.mixture.weights > 0):
        return "a weight is zero, which has no logarithm"
    draws = unconstrained(bayes.mixture.flatten(), bayes.structure)
    estimate = unconstrained(em, bayes.structure)
    n_draws, p = draws.shape
    if n_draws < _DRAWS_PER_COORDINATE * p:
        return f"{n_draws} draws are too few for {p} coordinates; draw at least {_DRAWS_PER_COORDINATE * p}"
    spread = draws.std(axis=0, ddof=1)
    if not np.all(spread > 0):
        return "a parameter is the same in every draw"
    scaled = (draws - draws.mean(axis=0)) / spread
    values, axes = np.linalg.eigh(np.cov(scaled, rowvar=False).reshape(p, p))
    # Where volume, shape and orientation are tied, the coordinates outnumber the parameters.
    free = min(bayes.n_parameters, int((values > _FLAT * values[-1]).sum()))
    whitening = axes[:, -free:] / np.sqrt(values[-free:])
    own = float((((estimate - draws.mean(axis=0)) / spread @ whitening) ** 2).sum())
    others = ((scaled @ whitening) ** 2).sum(axis=1)
    return JointPosition(
        distance=float(np.sqrt(own)),
        n_coordinates=free,
        expected=float(np.sqrt(free)),
        tail=float((others > own).mean()),
        chi2_tail=float(stats.chi2.sf(own, free)),
    )
