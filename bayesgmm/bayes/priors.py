"""Priors as data: what is believed before the data are seen, in the user's units.

A `Priors` says nothing about PyMC. Its defaults depend on the data through the range of each column only (Richardson &
Green 1997; Stephens 1997; Fruehwirth-Schnatter 2006), and forbid spikes, also where values tie (precisions.py).
`Priors.resolve` fills in the defaults, `ResolvedPriors.describe` says them in words.

Weights ~ Dirichlet(concentration); means ~ Normal(mean_location, mean_sd) column by column, or multivariate normal with
`mean_cov`. The covariances have one of three families, all around the standard deviations `within_sd` (math.md, 4.3,
4.9 and 4.10):

``"wishart"``
    Precisions Lambda_k ~ Wishart(dof, C^-1) given a scale matrix C that the components share, itself Wishart with
    `scale_dof` and integrated out. For the six structures whose precisions are free matrices or free numbers.
``"factorised"``
    Volume, shape and orientation apart: for all fourteen structures, and the default where the first does not apply.
``"lkj"``
    Correlations ~ LKJ(eta), standard deviations ~ `sd_prior`. For the same six structures as the first.

A last factor rules out standard deviations far below `smallest_sd`, in every family.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesgmm.data.prepare import PreparedData, prepare
from bayesgmm.errors import ArgumentError
from bayesgmm.showing import Shown
from bayesgmm.structure import STRUCTURES, CovarianceStructure, as_structure

__all__ = ["COVARIANCE_FAMILIES", "SD_PRIORS", "Priors", "ResolvedPriors", "as_priors"]

Floats = NDArray[np.float64]

#: The families of priors on covariances.
COVARIANCE_FAMILIES = ("wishart", "factorised", "lkj")
#: The families of priors on standard deviations that go with LKJ correlations.
SD_PRIORS = ("lognormal", "halfnormal", "gamma")


@dataclass(frozen=True)
class Priors(Shown):
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
        sqrt((p + 4) / 300): 13 % to 20 %, with p = D for matrices (full and tied, not factorised) and 1 for the others.
    smallest_sd : float, default 0.01
        Fraction of `within_sd` far below which no standard deviation is believed, dimensionless: the prior density at
        it is lower by half a nat, at a tenth of it by 50.
    dof : float, optional
        How alike the components' covariances are: degrees of freedom of a component's precision, dimensionless, above
        p + 1; larger means more alike. Default p + 4.
    scale_dof : float, optional
        How firmly `within_sd` is believed, dimensionless, above p - 1. Default p.
    mean_cov : array_like, shape (D, D), optional
        Prior covariance matrix of a component's mean, user's units, instead of `mean_sd`.
    covariance : {"wishart", "factorised", "lkj"}, optional
        Family of the covariances. Default "wishart" for full, tied, diag, spherical, EEI and EII, and "factorised" for
        the other structures.
    sd_prior : {"lognormal", "halfnormal", "gamma"}, default "lognormal"
        With "lkj": family of the standard deviations within a component, each with `within_sd` as its median.
    sd_spread : float, default 1.0
        With "lkj" and "lognormal": standard deviation of the logarithm of a standard deviation, dimensionless.
    eta : float, default 1.0
        With "lkj": 1 is uniform over the correlation matrices, larger is closer to no correlation.

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
    mean_cov: ArrayLike | None = None
    covariance: str | None = None
    sd_prior: str = "lognormal"
    sd_spread: float = 1.0
    eta: float = 1.0

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
        # Rows that only stand for the range of a stream have no weight at all.
        weights = prepared.sample_weight
        counting = prepared.values if weights is None or not weights.any() else prepared.values[weights > 0.0]
        lowest, highest = np.nanmin(counting, axis=0), np.nanmax(counting, axis=0)
        span = highest - lowest
        family = _family(self.covariance, structure)
        p = 1 if structure.is_diagonal or family != "wishart" else d
        if self.mean_cov is not None and self.mean_sd is not None:
            raise ArgumentError("pass mean_sd or mean_cov, not both: each says how far the means may lie")
        return ResolvedPriors(
            features=prepared.features,
            concentration=_positive("concentration", self.concentration, n_components),
            mean_location=_vector("mean_location", self.mean_location, lowest + 0.5 * span),
            mean_sd=_positive("mean_sd", self.mean_sd, d, default=span),
            within_sd=_positive("within_sd", self.within_sd, d, default=span * np.sqrt((p + 4) / 300)),
            smallest_sd=_above("smallest_sd", self.smallest_sd, 0.0, default=0.01),
            dof=_above("dof", self.dof, p + 1, default=p + 4),
            scale_dof=_above("scale_dof", self.scale_dof, p - 1, default=p),
            mean_cov=None if self.mean_cov is None else _positive_definite("mean_cov", self.mean_cov, d),
            covariance=family,
            structure=structure,
            sd_prior=_one_of("sd_prior", self.sd_prior, SD_PRIORS),
            sd_spread=_above("sd_spread", self.sd_spread, 0.0, default=1.0),
            eta=_above("eta", self.eta, 0.0, default=1.0),
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
            prepared.check_components(n_components)
            return self.resolve(prepared, as_structure(structure, prepared.n_features), n_components).describe()
        location = _or_rule(self.mean_location, "the middle of each column")
        spread = f"sd {_or_rule(self.mean_sd, 'the range of each column')}"
        if self.mean_cov is not None:
            spread = f"covariance {np.asarray(self.mean_cov).tolist()}"
        within = _or_rule(self.within_sd, "13 % to 20 % of the range")
        chosen = as_structure(structure)
        family = _family(self.covariance, chosen)
        dof, scale_dof = ("p + 4", "p") if family == "wishart" else ("5", "1")
        about = _covariances_in_words(
            family, _or_rule(self.dof, dof), _or_rule(self.scale_dof, scale_dof), self.eta, self.sd_prior,
            self.sd_spread, chosen,
        )  # fmt: skip
        lines = (
            f"weights ~ Dirichlet({self.concentration})",
            f"component means ~ Normal({location}, {spread})",
            f"standard deviation within a component about {within}, none far below {self.smallest_sd:g} of that",
            f"covariances: {about}",
        )
        return "\n".join(lines)

    def __repr__(self) -> str:
        usual = Priors.__dataclass_fields__
        own = {name: value for name, value in self.to_dict().items() if value != usual[name].default}
        return f"Priors({', '.join(f'{name}={value!r}' for name, value in own.items())})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, the inverse of ``Priors(**values)``.

        Returns
        -------
        dict
            One entry for each argument.
        """
        return {name: _plain(value) for name, value in asdict(self).items()}


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
        How alike the components are, and how firmly `within_sd` is believed.
    mean_cov : ndarray, shape (D, D), or None
        Prior covariance of a mean, in place of `mean_sd`.
    covariance : str
        Family of the covariances.
    structure : CovarianceStructure
        Of the covariances.
    sd_prior, sd_spread, eta : str, float, float
        Of the family "lkj".
    """

    features: tuple[str, ...]
    concentration: Floats
    mean_location: Floats
    mean_sd: Floats
    within_sd: Floats
    smallest_sd: float
    dof: float
    scale_dof: float
    mean_cov: Floats | None = None
    covariance: str = "wishart"
    structure: CovarianceStructure = STRUCTURES["VVV"]
    sd_prior: str = "lognormal"
    sd_spread: float = 1.0
    eta: float = 1.0

    def describe(self) -> str:
        """Say the priors in words and in the user's units."""
        alike = np.ptp(self.concentration) == 0
        shown = f"{self.concentration[0]:g}" if alike else ", ".join(f"{value:g}" for value in self.concentration)
        lines = [f"weights ~ Dirichlet({shown})"]
        mean_sd = self.mean_sd if self.mean_cov is None else np.sqrt(np.diag(self.mean_cov))
        for j, name in enumerate(self.features):
            lines.append(
                f"{name}: component means ~ Normal({self.mean_location[j]:.4g}, sd {mean_sd[j]:.4g}); "
                f"standard deviation within a component about {self.within_sd[j]:.3g}"
            )
        if self.mean_cov is not None:
            correlation = self.mean_cov / np.outer(mean_sd, mean_sd)
            pairs = [f"{correlation[i, j]:.2g}" for i, j in zip(*np.tril_indices(len(mean_sd), -1), strict=True)]
            lines.append(f"component means are correlated, by rows: {', '.join(pairs)}")
        about = _covariances_in_words(
            self.covariance, f"{self.dof:g}", f"{self.scale_dof:g}", self.eta, self.sd_prior, self.sd_spread,
            self.structure,
        )  # fmt: skip
        lines.append(f"covariances: {about}, none far below {self.smallest_sd:g} of these standard deviations")
        return "\n".join(lines)


# -------------------------------------------------------------------- words


def _or_rule(value: Any, rule: str) -> str:
    return rule if value is None else str(value)


def _covariances_in_words(
    family: str, dof: str, scale_dof: str, eta: float, sd_prior: str, sd_spread: float, structure: CovarianceStructure
) -> str:
    if family == "wishart":
        return (
            f"inverse Wishart, {dof} degrees of freedom, around a shared scale with {scale_dof} degrees of freedom "
            "(integrated out)"
        )
    if family == "factorised":
        parts = "volumes, and shapes with their axes," if structure.has_matrix_shape else "volumes and shapes"
        turned = "" if structure.is_diagonal or structure.has_matrix_shape else ", axes uniform over the rotations"
        return (
            f"{parts} lognormal, as alike as with {dof} degrees of freedom, around a shared location as "
            f"firm as with {scale_dof} (integrated out){turned}"
        )
    correlations = "" if structure.is_diagonal else f"correlations ~ LKJ({eta:g}), "
    spread = f" with log sd {sd_spread:g}" if sd_prior == "lognormal" else ""
    return f"{correlations}standard deviations {sd_prior}{spread} around their median"


# -------------------------------------------------------------------- checks


def _plain(value: Any) -> Any:
    return (
        np.asarray(value, dtype=float).tolist()
        if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
        else value
    )


def _family(name: str | None, structure: CovarianceStructure) -> str:
    """Return the family of the covariances, and refuse one that a structure does not have."""
    is_free = not {"E", "V"} <= set(structure.code)
    if name is None:
        return "wishart" if is_free else "factorised"
    _one_of("covariance", name, COVARIANCE_FAMILIES)
    if name != "factorised" and not is_free:
        raise ArgumentError(
            f"covariance={name!r} is for full, tied, diag, spherical, EEI and EII covariances; structure {structure} "
            "has covariance='factorised'"
        )
    return name


def _one_of(name: str, value: Any, legal: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in legal:
        raise ArgumentError(f"{name}={value!r} is not known; use one of {', '.join(map(repr, legal))}")
    return str(value)


def as_priors(priors: Any) -> Priors:
    """Return the priors that were given, or the usual ones for None; refuse what is none.

    Parameters
    ----------
    priors : Priors or None
        What was given.

    Returns
    -------
    Priors
        The priors.

    Raises
    ------
    ArgumentError
        When it is neither.
    """
    if priors is not None and not isinstance(priors, Priors):
        raise ArgumentError(f"priors={priors!r} must be Priors(...) or None")
    return Priors() if priors is None else priors


def _numbers(name: str, value: Any) -> Floats:
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise ArgumentError(f"{name} must be numbers, found {value!r}") from None


def _vector(name: str, value: Sequence[float] | float | None, default: Floats) -> Floats:
    if value is None:
        return default
    found = _numbers(name, value)
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


def _positive_definite(name: str, value: ArrayLike, d: int) -> Floats:
    found = _numbers(name, value)
    if found.shape != (d, d) or not np.all(np.isfinite(found)):
        raise ArgumentError(f"{name} must be a matrix of {d} x {d} finite numbers, found shape {found.shape}")
    if not np.allclose(found, found.T, rtol=1e-8, atol=0.0):
        raise ArgumentError(f"{name} must be symmetric")
    sd = np.sqrt(np.maximum(np.diag(found), 0.0))
    if np.any(sd == 0.0) or np.linalg.eigvalsh(found / np.outer(sd, sd))[0] < 1e-12:
        raise ArgumentError(
            f"{name} must be positive definite; its smallest eigenvalue is {np.linalg.eigvalsh(found)[0]:g}"
        )
    return 0.5 * (found + found.T)


def _above(name: str, value: float | None, bound: float, default: float) -> float:
    if value is None:
        return float(default)
    if not (isinstance(value, Real) and np.isfinite(value) and value > bound):
        raise ArgumentError(f"{name}={value!r} must be a number above {bound:g}")
    return float(value)
