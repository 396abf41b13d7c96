"""Priors as data: what is believed before the data are seen, in the user's units.

A `Priors` says nothing about PyMC. Its defaults depend on the data through the range of each column only (Richardson &
Green 1997; Stephens 1997; Fruehwirth-Schnatter 2006), and forbid spikes, also where values tie (precisions.py).
`Priors.resolve` fills in the defaults, `ResolvedPriors.describe` says them in words.

The model (math.md, 4.1 to 4.4): weights ~ Dirichlet(concentration); means ~ Normal(mean_location, mean_sd) column by
column; precisions Lambda_k ~ Wishart(dof, C^-1) given a scale matrix C that the components share, C ~
Wishart(scale_dof, S) with S such that the expected covariance has the standard deviations `within_sd`. C is integrated
out. A last factor rules out standard deviations far below `smallest_sd`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesgmm.data.prepare import PreparedData, prepare
from bayesgmm.errors import ArgumentError
from bayesgmm.structure import CovarianceStructure, as_structure

__all__ = ["Priors", "ResolvedPriors"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Priors:
    """Prior beliefs about a Gaussian mixture; None stands for a default that is scaled to the data.

    Parameters
    ----------
    concentration : float or sequence of K floats, default 1.0
        Of the Dirichlet prior on the weights, dimensionless; 1 is uniform.
    mean_location : sequence of D floats, optional
        Prior means of the component means, user's units. Default the middle of each column's range.
    mean_sd : sequence of D floats, optional
        Prior standard deviations of the component means, user's units. Default each column's range.
    within_sd : sequence of D floats, optional
        Guess of the standard deviations within a component, user's units. Default a fraction of each column's range,
        sqrt((p + 4) / 300) with p = D for full and tied covariances and 1 for the others: 13 % to 20 %.
    smallest_sd : float, default 0.01
        Fraction of `within_sd` far below which no standard deviation is believed, dimensionless: the prior density at
        it is lower by half a nat, at a tenth of it by 50.
    dof : float, optional
        Degrees of freedom of a component's precision, dimensionless, above p + 1; larger means that the components'
        covariances are more alike. Default p + 4.
    scale_dof : float, optional
        How firmly `within_sd` is believed, dimensionless, above p - 1. Default p.

    Examples
    --------
    >>> Priors(concentration=4.0).concentration
    4.0
    """

    concentration: float | Sequence[float] = 1.0
    mean_location: Sequence[float] | None = None
    mean_sd: Sequence[float] | None = None
    within_sd: Sequence[float] | None = None
    smallest_sd: float = 0.01
    dof: float | None = None
    scale_dof: float | None = None

    def resolve(self, prepared: PreparedData, structure: CovarianceStructure, n_components: int) -> "ResolvedPriors":
        """Fill in the defaults and check everything.

        Parameters
        ----------
        prepared : PreparedData
            The data whose ranges set the defaults.
        structure : CovarianceStructure
            The covariance structure.
        n_components : int
            Number of components, K.

        Returns
        -------
        ResolvedPriors
            Numbers for every argument, user's units.

        Raises
        ------
        ArgumentError
            Naming the argument, its value and its legal range.
        """
        d = prepared.n_features
        lowest, highest = prepared.values.min(axis=0), prepared.values.max(axis=0)
        span = highest - lowest
        p = 1 if structure.is_diagonal else d
        return ResolvedPriors(
            features=prepared.features,
            concentration=_positive("concentration", self.concentration, n_components),
            mean_location=_vector("mean_location", self.mean_location, lowest + 0.5 * span),
            mean_sd=_positive("mean_sd", self.mean_sd, d, default=span),
            within_sd=_positive("within_sd", self.within_sd, d, default=span * np.sqrt((p + 4) / 300)),
            smallest_sd=_above("smallest_sd", self.smallest_sd, 0.0, default=0.01),
            dof=_above("dof", self.dof, p + 1, default=p + 4),
            scale_dof=_above("scale_dof", self.scale_dof, p - 1, default=p),
        )

    def describe(self, data: Any = None, n_components: int = 2, structure: str | CovarianceStructure = "full") -> str:
        """Say the priors in words: in the user's units where data are given, as rules where they are not.

        Parameters
        ----------
        data : PreparedData or table, optional
            The data whose ranges set the defaults.
        n_components : int, default 2
            Number of components, K.
        structure : str or CovarianceStructure, default "full"
            The covariance structure.

        Returns
        -------
        str
            One line for the weights, one for each column, one for the covariances.
        """
        if data is not None:
            prepared = prepare(data)
            return self.resolve(prepared, as_structure(structure, prepared.n_features), n_components).describe()
        location = _or_rule(self.mean_location, "the middle of each column")
        spread = _or_rule(self.mean_sd, "the range of each column")
        within = _or_rule(self.within_sd, "13 % to 20 % of the range")
        dof, scale_dof = _or_rule(self.dof, "p + 4"), _or_rule(self.scale_dof, "p")
        lines = (
            f"weights ~ Dirichlet({self.concentration})",
            f"component means ~ Normal({location}, sd {spread})",
            f"standard deviation within a component about {within}, none far below {self.smallest_sd:g} of that",
            f"covariances: inverse Wishart, {dof} degrees of freedom, around a shared scale with {scale_dof}",
        )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, the inverse of ``Priors(**values)``.

        Returns
        -------
        dict
            One entry for each argument.
        """
        return {
            name: list(map(float, value)) if isinstance(value, Sequence | np.ndarray) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True, eq=False)
class ResolvedPriors:
    """Priors with every number filled in, user's units; made by `Priors.resolve`.

    Parameters
    ----------
    features : tuple of str
        Column names.
    concentration : ndarray, shape (K,)
        Of the Dirichlet prior on the weights.
    mean_location, mean_sd : ndarray, shape (D,)
        Of the normal prior on the means.
    within_sd : ndarray, shape (D,)
        Expected standard deviations within a component.
    smallest_sd : float
        Fraction of `within_sd` far below which none is believed.
    dof, scale_dof : float
        Degrees of freedom of the Wishart priors.
    """

    features: tuple[str, ...]
    concentration: Floats
    mean_location: Floats
    mean_sd: Floats
    within_sd: Floats
    smallest_sd: float
    dof: float
    scale_dof: float

    def describe(self) -> str:
        """Say the priors in words and in the user's units."""
        alike = np.ptp(self.concentration) == 0
        shown = f"{self.concentration[0]:g}" if alike else ", ".join(f"{value:g}" for value in self.concentration)
        lines = [f"weights ~ Dirichlet({shown})"]
        for j, name in enumerate(self.features):
            lines.append(
                f"{name}: component means ~ Normal({self.mean_location[j]:.4g}, sd {self.mean_sd[j]:.4g}); "
                f"standard deviation within a component about {self.within_sd[j]:.3g}"
            )
        lines.append(
            f"covariances: inverse Wishart, {self.dof:g} degrees of freedom, around a shared scale "
            f"with {self.scale_dof:g} degrees of freedom (integrated out), "
            f"none far below {self.smallest_sd:g} of these standard deviations"
        )
        return "\n".join(lines)


def _or_rule(value: Any, rule: str) -> str:
    return rule if value is None else str(value)


def _vector(name: str, value: Sequence[float] | float | None, default: Floats) -> Floats:
    if value is None:
        return default
    found = np.asarray(value, dtype=float)
    if found.ndim == 0:
        found = np.full(default.shape, float(found))
    if found.shape != default.shape or not np.all(np.isfinite(found)):
        raise ArgumentError(f"{name} must be {len(default)} finite numbers, found {value!r}")
    return found


def _positive(name: str, value: Any, size: int, default: Floats | None = None) -> Floats:
    found = _vector(name, value, np.ones(size) if default is None else default)
    if np.any(found <= 0):
        raise ArgumentError(f"{name} must be positive, found {value!r}")
    return found


def _above(name: str, value: float | None, bound: float, default: float) -> float:
    if value is None:
        return float(default)
    if not (np.isfinite(value) and value > bound):
        raise ArgumentError(f"{name}={value!r} must be a number above {bound:g}")
    return float(value)
