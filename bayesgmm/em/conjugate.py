"""`ConjugatePrior`: a prior for EM under which every M step keeps its closed form, and which keeps spikes away.

Given its covariance, a mean is normal around a common centre; a covariance is inverse Wishart (Fraley & Raftery 2007).
To an M step that is a few rows more: kappa rows at the centre, a scatter, and a count for the determinant. So one
description serves all fourteen structures. A covariance that all components share has one prior, as it is one
parameter; where any part of it varies, each component has its own. Diagonal covariances have an inverse gamma prior on
every variance, spherical ones on theirs.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesgmm.data import Scaling
from bayesgmm.data.tables import as_floats
from bayesgmm.em.degeneracy import collinear_columns
from bayesgmm.em.scatters import outer_products, with_added
from bayesgmm.em.statistics import Moments, Parameters
from bayesgmm.errors import ArgumentError
from bayesgmm.showing import Shown, in_short
from bayesgmm.structure import CovarianceStructure

__all__ = ["ConjugatePrior", "PriorTerms"]

Floats = NDArray[np.float64]

_SYMMETRIC = 1e-8


@dataclass(frozen=True, eq=False)
class ConjugatePrior(Shown):
    """A normal prior on the means and an inverse Wishart prior on the covariances, for EM (math.md, 3.11).

    Parameters
    ----------
    mean : array_like, shape (D,), optional
        Centre of the prior of every mean, user's units. Default: the means of the columns.
    kappa : float, default 0.01
        How many rows the prior of a mean is worth, dimensionless. Zero: none.
    dof : float, optional
        Degrees of freedom of the prior of a covariance. Default D + 2.
    scale : float or array_like, shape (D,) or (D, D), optional
        Scale matrix of the prior of a covariance, user's units; a number or a vector stands for a diagonal. Diagonal
        structures use its diagonal, spherical ones its mean variance. Default: the covariance of the data over
        K^(2/D), so that K covariances of this size fill the volume of the data; of collinear columns the diagonal.

    Raises
    ------
    ArgumentError
        When a number is outside its range.

    Notes
    -----
    The defaults are those of Fraley & Raftery (2007), except that each variance of a diagonal structure is compared
    with its own column and not with the average over the columns: so a fit does not depend on the units.

    References
    ----------
    Fraley & Raftery (2007), J. Classif. 24, 155-181.

    Examples
    --------
    >>> from bayesgmm import fit_em, load_dataset
    >>> fit = fit_em(load_dataset("galaxies"), 3, prior=ConjugatePrior(), seed=0)
    >>> fit.info.diagnostics["degenerate_components"]
    []
    """

    mean: ArrayLike | None = None
    kappa: float = 0.01
    dof: float | None = None
    scale: ArrayLike | None = None

    def __post_init__(self) -> None:
        for name in ("kappa", "dof"):
            value = getattr(self, name)
            is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            if value is not None and not (is_number and np.isfinite(value) and value >= 0.0):
                raise ArgumentError(f"{name}={value!r} of the prior must be zero or a positive number")
        if self.kappa is None:
            raise ArgumentError("kappa=None of the prior must be zero or a positive number")

    def __repr__(self) -> str:
        usual = ConjugatePrior()
        given = {name: value for name, value in vars(self).items() if not np.array_equal(value, getattr(usual, name))}
        shown = (f"{name}={in_short(np.asarray(value).tolist())}" for name, value in given.items())
        return f"ConjugatePrior({', '.join(shown)})"

    def to_standard(self, scaling: Scaling) -> "ConjugatePrior":
        """Convert from the user's to standardised units, with the scale as a matrix.

        Parameters
        ----------
        scaling : Scaling
            The change of units under which the fit runs.

        Returns
        -------
        ConjugatePrior
            The same prior; what was left to the data still is.

        Raises
        ------
        ArgumentError
            When mean or scale do not fit the columns, or the scale is not positive definite.
        """
        d = len(scaling.scale)
        mean = None if self.mean is None else scaling.standardize(_vector(self.mean, d))
        scale = None if self.scale is None else _matrix(self.scale, d) / np.outer(scaling.scale, scaling.scale)
        return ConjugatePrior(mean, self.kappa, self.dof, scale)

    def terms(self, structure: CovarianceStructure, n_components: int, total: Moments | None = None) -> "PriorTerms":
        """Settle what was left to the data and to the structure.

        Parameters
        ----------
        structure : CovarianceStructure
            The structure, reduced to the dimension of the data.
        n_components : int
            Number of components, K.
        total : Moments, optional
            Moments of all rows together, as those of one component, in the units of the prior; needed only where
            mean or scale is left to the data.

        Returns
        -------
        PriorTerms
            What the prior adds to the moments of every component.

        Raises
        ------
        ArgumentError
            When `dof` leaves the prior without a density.
        """
        if self.mean is None or self.scale is None:
            if total is None:
                raise ArgumentError("mean and scale of the prior are left to the data, and there are none")
            return replace(
                self, mean=total.means[0] if self.mean is None else self.mean,
                scale=_scale_of_data(total, n_components) if self.scale is None else self.scale,
            ).terms(structure, n_components)  # fmt: skip
        mean = np.asarray(self.mean, dtype=np.float64)
        d = len(mean)
        scale = _matrix(self.scale, d)
        dof = d + 2.0 if self.dof is None else float(self.dof)
        least = 0.0 if structure.is_diagonal else d - 1.0
        if not dof > least:
            raise ArgumentError(f"dof={dof:g} of the prior must be above {least:g} for {d} columns and {structure}")
        return PriorTerms(structure, n_components, mean, float(self.kappa), dof, scale)


@dataclass(frozen=True, eq=False)
class PriorTerms:
    """A conjugate prior as what it adds to the moments of every component; math.md, 3.11.

    Parameters
    ----------
    structure : CovarianceStructure
        The structure, reduced to the dimension of the data.
    n_components : int
        Number of components, K.
    mean : ndarray, shape (D,)
        Centre of the means.
    kappa : float
        Rows that stand at the centre.
    dof : float
        Degrees of freedom.
    scale : ndarray, shape (D, D)
        Scale matrix, before it is reduced to what the structure has of it.
    """

    structure: CovarianceStructure
    n_components: int
    mean: Floats
    kappa: float
    dof: float
    scale: Floats

    @property
    def count(self) -> float:
        """What is added to the count of a component where it multiplies the log determinant."""
        d = len(self.mean)
        if self.structure.is_spherical:
            power = (self.dof + 2.0) / d
        elif self.structure.is_diagonal:
            power = self.dof + 2.0
        else:
            power = self.dof + d + 1.0
        return power * self._share + 1.0

    @property
    def scatter(self) -> Floats:
        """What is added to the scatter of a component around its mean, besides `kappa` rows at the centre, (D, D)."""
        d = len(self.mean)
        if self.structure.is_spherical:
            return np.eye(d) * (np.trace(self.scale) / d**2 * self._share)
        return (np.diag(np.diagonal(self.scale)) if self.structure.is_diagonal else self.scale) * self._share

    @property
    def _share(self) -> float:
        """The share of one component in a prior: all of it, but for a covariance that all components have."""
        return 1.0 / self.n_components if self.structure.is_shared else 1.0

    def means(self, moments: Moments) -> Floats:
        """Return the means (K, D) that maximise likelihood times prior."""
        shares = self.kappa / (moments.counts + self.kappa)
        return np.asarray(moments.means + shares[:, None] * (self.mean - moments.means))

    def added_to(self, counts: Floats, scatters: Floats, means: Floats) -> tuple[Floats, Floats]:
        """Return counts and scatters around `means` with those of the prior, in their layout."""
        offsets = means - self.mean
        increments = self.scatter + outer_products(np.full(len(means), self.kappa), offsets)
        return counts + self.count, with_added(scatters, increments)

    def log_density(self, parameters: Parameters) -> float:
        """Return the log prior density, up to a constant that does not depend on the parameters."""
        offsets = parameters.means - self.mean
        added = self.scatter + outer_products(np.full(len(offsets), self.kappa), offsets)
        traces = np.trace(np.linalg.solve(parameters.covariances, added), axis1=1, axis2=2)
        log_determinants = np.linalg.slogdet(parameters.covariances)[1]
        return float(-0.5 * (self.count * log_determinants + traces).sum())

    def to_user(self, scaling: Scaling) -> "PriorTerms":
        """Convert from standardised to the user's units."""
        return PriorTerms(
            self.structure, self.n_components, self.mean * scaling.scale + scaling.shift, self.kappa, self.dof,
            self.scale * np.outer(scaling.scale, scaling.scale),
        )  # fmt: skip

    def to_settings(self) -> dict[str, Any]:
        """Return what makes the same `ConjugatePrior` again, as plain JSON values."""
        return {"mean": self.mean.tolist(), "kappa": self.kappa, "dof": self.dof, "scale": self.scale.tolist()}


def _scale_of_data(total: Moments, n_components: int) -> Floats:
    """Return the covariance of the data over K^(2/D); of collinear columns its diagonal, as a prior needs a density."""
    d = total.means.shape[1]
    scale = total.scatters[0] / max(total.counts[0] - 1.0, 1.0) * n_components ** (-2.0 / d)
    return np.diag(np.diagonal(scale)) if collinear_columns(total) else scale


def _vector(values: ArrayLike, d: int) -> Floats:
    found = as_floats(np.asarray(values), "the mean of the prior")
    if found.ndim == 0:
        found = found[None]
    if found.shape != (d,) or not np.all(np.isfinite(found)):
        raise ArgumentError(f"the mean of the prior has shape {found.shape}; it needs one finite number for each of "
                            f"{d} columns")  # fmt: skip
    return found


def _matrix(values: ArrayLike, d: int) -> Floats:
    found = as_floats(np.asarray(values), "the scale of the prior")
    if found.ndim < 2 and found.shape in ((), (d,)):
        found = np.diag(np.broadcast_to(found, d))
    if found.shape != (d, d):
        raise ArgumentError(
            f"the scale of the prior has shape {found.shape}; it needs a number, {d} of them, or a {d} x {d} matrix"
        )
    is_symmetric = np.all(np.isfinite(found)) and np.all(np.abs(found - found.T) <= _SYMMETRIC * np.abs(found).max())
    if not (is_symmetric and np.linalg.eigvalsh(found)[0] > 0.0):
        raise ArgumentError("the scale of the prior is not a symmetric positive definite matrix")
    return found
