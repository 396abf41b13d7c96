"""Covariances as standard deviations times correlations, with priors on each: LKJ and a family of positive numbers.

The third family of priors on covariances (math.md, 4.10), for the structures whose covariances are free matrices or
free numbers. Correlation matrices are sampled by the partial correlations of their Cholesky factor, whose density under
LKJ is known (Lewandowski, Kurowicka & Joe 2009); all components are done at once, at the price of D^4 multiplications
for each. A standard deviation whose prior has density at zero (half-normal) lets spikes in, so the guard of the other
families stands here too.
"""

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray
from scipy.stats import gamma, halfnorm

from bayesgmm.bayes.factorised import add_guard
from bayesgmm.bayes.likelihood import Components
from bayesgmm.bayes.matrices import cholesky_factor, general_inverse, gram, placed
from bayesgmm.bayes.priors import ResolvedPriors
from bayesgmm.data import Scaling
from bayesgmm.structure import CovarianceStructure

__all__ = ["lkj_components", "lkj_hyperparameters", "lkj_start", "partial_correlations"]

Floats = NDArray[np.float64]

#: Shape of the gamma prior: its density is zero at zero, and its tail that of an exponential.
_GAMMA_SHAPE = 2.0


def partial_correlations(name: str, eta: Any, copies: int, d: int) -> Any:
    """Make the partial correlations of LKJ correlation matrices, shape (copies, d (d - 1) / 2), inside a PyMC model.

    Parameters
    ----------
    name : str
        Name of the variable.
    eta : tensor_like, scalar
        1 is uniform over the correlation matrices.
    copies : int
        Number of matrices.
    d : int
        Their order, above one.

    Returns
    -------
    TensorVariable
        The random variable: (z + 1) / 2 of each partial correlation z, by rows of the lower triangle.

    Notes
    -----
    The partial correlation of columns i and j given the first j is 2 Beta(b, b) - 1 with b = eta + (d - 2 - j) / 2, all
    of them independent (math.md, 4.10).
    """
    _, columns = np.tril_indices(d, -1)
    halves = eta + 0.5 * (d - 2 - columns)
    return pm.Beta(name, halves, halves, shape=(copies, len(columns)))


def _correlation_chol(shares: Any, d: int) -> Any:
    """Return the lower Cholesky factors (copies, d, d) of correlation matrices from `partial_correlations`."""
    rows, columns = np.tril_indices(d, -1)
    at, after = (np.zeros((len(rows), d, d)) for _ in range(2))
    for j, (row, column) in enumerate(zip(rows, columns, strict=True)):
        at[j, row, column] = 1.0
        after[j, row, column + 1 : row + 1] = 1.0
    # What is left of a row's unit length before each entry; 4 s (1 - s) is 1 - z^2 without cancellation.
    before = pt.exp(placed(0.5 * pt.log(4.0 * shares * (1.0 - shares)), after))
    return before * (placed(2.0 * shares - 1.0, at) + np.eye(d)) * np.tri(d)


def lkj_hyperparameters(
    priors: ResolvedPriors, scaling: Scaling, structure: CovarianceStructure, n_components: int
) -> dict[str, Any]:
    """Return the numbers of the prior, standardised units (math.md, 4.10).

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
        ``sd_median`` (blocks,), ``eta``, ``smallest_variance`` (D,), and ``sd_spread`` for log-normal deviations, or
        ``sd_rate`` for gamma ones, or ``sd_scale`` for half-normal ones.
    """
    within = priors.within_sd / scaling.scale
    blocks = np.sqrt(np.mean(within**2, keepdims=True)) if structure.is_spherical else within
    by_family = {
        "lognormal": {"sd_median": blocks, "sd_spread": np.asarray(priors.sd_spread)},
        "halfnormal": {"sd_scale": blocks / halfnorm.median()},
        "gamma": {"sd_rate": gamma(_GAMMA_SHAPE).median() / blocks},
    }
    common = {"smallest_variance": (priors.smallest_sd * within) ** 2}
    correlations = {} if structure.is_diagonal else {"eta": np.asarray(priors.eta)}
    return by_family[priors.sd_prior] | common | correlations


def lkj_components(structure: CovarianceStructure, hyper: dict[str, Any], k: int, d: int) -> Components:
    """Make the variables of the covariances, inside a PyMC model.

    Parameters
    ----------
    structure : CovarianceStructure
        The structure.
    hyper : dict of str to tensor
        The numbers of `lkj_hyperparameters`.
    k, d : int
        Numbers of components and of columns.

    Returns
    -------
    Components
        Precisions and covariances.
    """
    copies = 1 if structure.is_shared else k
    copy_of = np.zeros(k, dtype=int) if structure.is_shared else np.arange(k)
    block_of = np.zeros(d, dtype=int) if structure.is_spherical else np.arange(d)
    sds = _standard_deviations(hyper, copies, 1 if structure.is_spherical else d)[copy_of][:, block_of]
    if structure.is_diagonal:
        diagonals = [np.eye(d) * part[..., None] for part in (1.0 / sds**2, sds**2, 1.0 / sds)]
        found = Components(*diagonals)
    else:
        shares = partial_correlations("correlations", hyper["eta"], copies, d)
        chols = sds[..., None] * _correlation_chol(shares, d)[copy_of]
        precisions = gram(general_inverse(chols)[1].mT)
        found = Components(precisions, gram(chols), cholesky_factor(precisions))
    add_guard(hyper["smallest_variance"], found.precisions, d)
    return found


def _standard_deviations(hyper: dict[str, Any], copies: int, blocks: int) -> Any:
    shape = (copies, blocks)
    if "sd_scale" in hyper:
        return pm.HalfNormal("sds", hyper["sd_scale"], shape=shape)
    if "sd_rate" in hyper:
        return pm.Gamma("sds", _GAMMA_SHAPE, hyper["sd_rate"], shape=shape)
    return pm.LogNormal("sds", pt.log(hyper["sd_median"]), hyper["sd_spread"], shape=shape)


def lkj_start(structure: CovarianceStructure, covariances: Floats, hyper: dict[str, Floats]) -> dict[str, Floats]:
    """Return values of ``sds`` and ``correlations`` at given covariances.

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
        ``sds`` (copies, blocks), and ``correlations`` (copies, D (D - 1) / 2) where there are any.
    """
    matrices = covariances[:1] if structure.is_shared else covariances
    sds = np.sqrt(np.diagonal(matrices, axis1=-2, axis2=-1))
    if structure.is_diagonal:
        return {"sds": sds[:, :1] if structure.is_spherical else sds}
    chols = np.linalg.cholesky(matrices / (sds[:, :, None] * sds[:, None, :]))
    # Each entry by what its predecessors in the row have left of the unit length.
    left = np.sqrt(np.cumsum(chols[..., ::-1] ** 2, axis=-1)[..., ::-1])
    rows, columns = np.tril_indices(sds.shape[-1], -1)
    return {"sds": sds, "correlations": 0.5 + 0.5 * (chols / np.where(left > 0.0, left, 1.0))[:, rows, columns]}
