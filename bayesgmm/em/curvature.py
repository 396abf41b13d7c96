"""The covariance of the free coordinates of an EM estimate, from the curvature of what it maximises.

Coordinates that were fixed are left out. A prior belongs to the information as it belongs to the objective. An estimate
that a bound holds is not where the gradient vanishes, and one that has collapsed is nowhere: both are refused in words,
as is an information that cannot be inverted (math.md, 9.2 to 9.5).
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bayesgmm.em.constraint import is_at_the_bound
from bayesgmm.em.information import Information, information
from bayesgmm.em.remembered import bound_of, fixed_of, labels_of, prior_terms_of
from bayesgmm.em.tangent import TangentSpace, tangent_space
from bayesgmm.errors import ConvergenceWarning, FitError
from bayesgmm.fit import MixtureFit

__all__ = ["Curvature", "curvature_of", "free_covariance"]

Floats = NDArray[np.float64]

# Below this fraction of the complete-data information nothing is known of a direction.
_SINGULAR = 1e-8
# Distance from the maximum, in standard errors, beyond which standard errors are not what they say.
_FAR = 0.1
_NOT_A_MAXIMUM = (
    "the information is not positive definite ({}): the fit is not at a maximum of the likelihood, or the rows do not "
    "determine its parameters; raise max_iter, use fewer components or a simpler structure, or take method='bootstrap'"
)
_TOO_FEW_ROWS = (
    "the outer products of the scores are singular ({}): there are too few rows for so many parameters; take "
    "method='information'"
)


@dataclass(frozen=True, eq=False)
class Curvature:
    """Where an estimate is, and the derivatives of its objective along the coordinates that are free.

    Parameters
    ----------
    space : TangentSpace
        The mixture, standardised units, and all its coordinates.
    free : ndarray of int, shape (p,)
        The coordinates that were not fixed.
    known : Information
        The derivatives along these.
    """

    space: TangentSpace
    free: NDArray[np.intp]
    known: Information


def curvature_of(fit: MixtureFit) -> Curvature:
    """Compute the derivatives of what an EM fit maximises, at the fit.

    Parameters
    ----------
    fit : MixtureFit
        An EM fit.

    Returns
    -------
    Curvature
        Standardised units.

    Raises
    ------
    FitError
        When the fit is held by the bound on its eigenvalues.
    """
    mixture, prepared, bound = fit.scaling.mixture_to_standard(fit.mixture), fit.prepared, bound_of(fit)
    if bound is not None and is_at_the_bound(mixture.covariances, fit.structure, bound):
        raise FitError(
            f"max_eigenvalue_ratio={bound:g} holds the fit where the likelihood still rises, and its curvature there "
            "says nothing; take method='bootstrap', or a larger ratio"
        )
    space = tangent_space(mixture, fit.structure)
    found = information(
        space, fit.scaling.standardize(prepared.values), prepared.sample_weight,
        reg_covar=fit.info.settings.get("reg_covar", 0.0), labels=labels_of(fit), prior=prior_terms_of(fit),
    )  # fmt: skip
    free = _free(space, fixed_of(fit).names)
    return Curvature(space, free, found.along(free))


def _free(space: TangentSpace, fixed: tuple[str, ...]) -> NDArray[np.intp]:
    """Return the coordinates that do not belong to what is fixed."""
    k, d = space.mixture.means.shape
    sizes = {"weights": k - 1, "means": k * d, "covariances": space.n_covariance}
    return np.flatnonzero(np.concatenate([np.full(size, name not in fixed) for name, size in sizes.items()]))


def free_covariance(known: Information, method: str) -> tuple[Floats, Floats]:
    """Return the covariance of the free coordinates, and the eigenvalues of the information that was inverted for it.

    Coordinates change first to those that make the complete information the identity: so "small" has a meaning.

    Parameters
    ----------
    known : Information
        The derivatives.
    method : {"information", "sandwich", "empirical"}
        How the covariance is estimated (math.md, 9.4).

    Returns
    -------
    covariance : ndarray, shape (p, p)
        Of the free coordinates.
    eigenvalues : ndarray, shape (p,)
        Relative to the complete information.

    Raises
    ------
    FitError
        When the information is singular or indefinite.
    """
    try:
        whitening = np.linalg.inv(np.linalg.cholesky(known.complete))
    except np.linalg.LinAlgError:
        raise FitError(_NOT_A_MAXIMUM.format("even with known labels it is indefinite")) from None
    inverted = known.scores if method == "empirical" else known.observed
    eigenvalues, axes = np.linalg.eigh(whitening @ inverted @ whitening.T)
    if not eigenvalues[0] > _SINGULAR:
        reason = f"its smallest eigenvalue is {eigenvalues[0]:.2g} of that with known labels"
        raise FitError((_TOO_FEW_ROWS if method == "empirical" else _NOT_A_MAXIMUM).format(reason))
    half = whitening.T @ (axes / np.sqrt(eigenvalues))
    if method == "empirical":
        return half @ half.T, eigenvalues
    _warn_of_distance(float(np.linalg.norm(half.T @ known.gradient)))
    if method == "information":
        return half @ half.T, eigenvalues
    return half @ (half.T @ known.scores @ half) @ half.T, eigenvalues


def _warn_of_distance(distance: float) -> None:
    if distance > _FAR:
        warnings.warn(
            f"the fit is {distance:.2g} standard errors away from the maximum of the likelihood; continue it with "
            "fit_em(..., start=fit)",
            ConvergenceWarning,
            stacklevel=6,
        )
