"""`standard_errors`: how far an EM estimate would move with other rows, from derivatives or by resampling.

From derivatives (information.py), in milliseconds: the inverse of the observed information, which trusts the model; the
sandwich, which does not; the inverse of the scores' outer products, which needs no second derivatives. By resampling
(bootstrap.py), in seconds: three bootstraps and the jackknife, which do without a quadratic log-likelihood.

Work is done in standardised units and turned into the user's at the end, so that standard errors change with the units
exactly as the estimates do. An information that cannot be inverted is refused in words.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

from bayesgmm.em.bootstrap import RESAMPLING, Replicates, replicate
from bayesgmm.em.curvature import curvature_of, free_covariance
from bayesgmm.em.remembered import fixed_of
from bayesgmm.em.tangent import jacobian
from bayesgmm.errors import ArgumentError, ConvergenceWarning, DegenerateFitWarning, FitError, LabelWarning
from bayesgmm.fit import MixtureFit, check_fit
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.checks import check_prob
from bayesgmm.posterior.parameters import Parameter, list_parameters, parameter_draws
from bayesgmm.posterior.relabel import DOUBTFUL_SHARE
from bayesgmm.seeding import recorded_seed
from bayesgmm.showing import Shown, in_short

__all__ = ["ANALYTIC", "StandardErrors", "check_request", "standard_errors"]

Floats = NDArray[np.float64]

#: The methods that need derivatives, and no resampling.
ANALYTIC = ("information", "sandwich", "empirical")
_METHODS = (*ANALYTIC, *RESAMPLING, "jackknife")
# Replicates that leave a percentile at every hundredth exact: (999 + 1) / 100 is whole (Davison & Hinkley 1997).
_N_BOOT = 999
_MANY_FAILED = 0.05

#: Parameters that are printed; the table has all.
MAX_ROWS = 40


@dataclass(frozen=True, eq=False)
class StandardErrors(Shown):
    """Standard errors and confidence intervals of an estimate.

    Parameters
    ----------
    table : DataFrame
        Indexed by parameter: ``estimate``, ``se``, ``lower``, ``upper``; user's units.
    covariance : DataFrame
        Covariance of the P named parameters, (P, P); user's units. Singular where they are not free of each other.
    method : str
        How it was estimated.
    prob : float
        Confidence of the intervals.
    condition : float or None
        Condition number of the information that was inverted, in coordinates in which the information of rows with
        known labels is the identity. None for resampling.
    missing_information : float or None
        Largest share of that information, over all directions, which the missing labels take away; EM converges at this
        rate. None but for the observed information.
    replicates : Mixture or None
        The replicates, one leading dimension, components matched to the estimate; user's units. None where nothing is
        resampled.
    ambiguous_share : float or None
        Share of replicates whose components could as well be named otherwise.
    n_failed : int
        Replicates left out because a component collapsed.
    seed : int or None
        Seed of the resampling.
    """

    table: pd.DataFrame
    covariance: pd.DataFrame
    method: str
    prob: float
    condition: float | None = None
    missing_information: float | None = None
    replicates: Mixture | None = None
    ambiguous_share: float | None = None
    n_failed: int = 0
    seed: int | None = None

    def __repr__(self) -> str:
        if self.replicates is None:
            note = f"condition {self.condition:.3g}"
        else:
            note = (
                f"{self.replicates.n_mixtures} replicates, {self.ambiguous_share:.1%} ambiguous, {self.n_failed} failed"
            )
        shown = self.table.head(MAX_ROWS).rename_axis(None).rename(index=in_short)
        more = len(self.table) - len(shown)
        cut = f"\n{more:,} more parameters; all are in .table" if more else ""
        return f"StandardErrors({self.method}, {self.prob:.0%} intervals, {note})\n{shown.to_string()}{cut}"


def standard_errors(
    fit: MixtureFit,
    method: str = "information",
    *,
    n_boot: int | None = None,
    seed: Any = None,
    prob: float = 0.95,
    n_starts: int = 0,
    n_threads: int | None = None,
    progress: bool = False,
) -> StandardErrors:
    """Compute standard errors and confidence intervals of an EM estimate.

    Parameters
    ----------
    fit : MixtureFit
        An EM fit, of any structure.
    method : str, default "information"
        From derivatives: "information" (inverse of the observed information), "sandwich" (right in large samples even
        where the model is wrong), "empirical" (inverse of the summed outer products of the scores). By resampling:
        "bootstrap" (rows with replacement), "parametric_bootstrap" (rows from the estimate), "weighted_bootstrap"
        (Dirichlet weights on the rows), "jackknife" (rows left out in turn).
    n_boot : int, optional
        Number of replicates, default 999. For the jackknife the number of groups that are left out in turn; default as
        many as there are rows.
    seed : int, Generator or RandomState, optional
        Source of the resampling. Without one a seed is drawn, and recorded in ``.seed``.
    prob : float, default 0.95
        Confidence of the intervals.
    n_starts : int, default 0
        Own starts of each replicate. Every replicate also starts from the estimate.
    n_threads : int, optional
        Threads that share the replicates; no influence on the result. Default: all cores.
    progress : bool, default False
        Whether to show the progress of resampling.

    Returns
    -------
    StandardErrors
        Table, covariance, and how far they can be trusted; user's units.

    Raises
    ------
    ArgumentError
        When `fit` is no EM fit, or an argument is illegal.
    FitError
        When a component of the fit has collapsed, the information is singular or indefinite, or half of the replicates
        collapse.

    Warns
    -----
    ConvergenceWarning
        When the estimate is further than a tenth of a standard error from the maximum, or a replicate did not converge.
    DegenerateFitWarning
        When more than one replicate in twenty collapsed.
    LabelWarning
        When more than one replicate in twenty could as well have been labelled otherwise.

    Notes
    -----
    Formulas: math.md, 9.2 to 9.8. Row weights are frequencies: a row of weight two counts as two rows. Intervals from
    derivatives and from the jackknife are symmetric on the scale that is natural for a parameter (logit of a weight,
    logarithm of a variance, inverse hyperbolic sine of a correlation); those of a bootstrap are percentiles. Where
    `reg_covar` was used, its penalty belongs to the information, and replicates are fitted with it. So it is with what
    else a fit was told (math.md, 3.8 and 3.10 to 3.12): labels count as known, fixed parameters have no line in the
    table, a prior adds its curvature. A fit at the bound on its eigenvalues has no information; take a bootstrap.

    References
    ----------
    Louis (1982), J. R. Stat. Soc. B 44, 226-233. Basford, Greenway, McLachlan & Peel (1997), Comput. Stat. 12, 1-17.
    O'Hagan, Murphy, Scrucca & Gormley (2019), Comput. Stat. 34, 1779-1813.

    Examples
    --------
    >>> from bayesgmm import fit_em, load_dataset
    >>> fit = fit_em(load_dataset("faithful"), 2, seed=0)
    >>> standard_errors(fit).table.loc["means[0, waiting]"].round(2).to_dict()
    {'estimate': 79.97, 'se': 0.46, 'lower': 79.07, 'upper': 80.86}
    """
    check_request(fit, method, prob=prob, n_boot=n_boot, n_starts=n_starts)
    if method in ANALYTIC:
        return _from_derivatives(fit, method, prob)
    number = recorded_seed(seed)
    count = n_boot if n_boot is not None or method == "jackknife" else _N_BOOT
    found = replicate(fit, method, n_boot=count, seed=number, n_starts=n_starts, n_threads=n_threads, progress=progress)
    _warn_of_replicates(found)
    return _from_replicates(fit, found, method, prob, number)


def check_request(
    fit: MixtureFit, method: str, *, prob: float, n_boot: int | None = None, n_starts: int = 0
) -> None:  # fmt: skip
    """Refuse what is no EM estimate, is not at a maximum, or is asked for in a way that does not exist."""
    if method not in _METHODS:
        raise ArgumentError(f"method={method!r} is not known; use one of {', '.join(map(repr, _METHODS))}")
    check_fit(fit)
    if fit.has_draws or fit.method != "em":
        raise ArgumentError(
            f"standard errors belong to an EM estimate, and this fit was made by {fit.method!r}; of draws, take the "
            "posterior standard deviations"
        )
    fit.check_holds_all_rows("standard_errors")
    check_prob(prob)
    if n_boot is not None and (isinstance(n_boot, bool) or not isinstance(n_boot, int | np.integer) or n_boot < 2):
        raise ArgumentError(f"n_boot={n_boot!r} must be a whole number, at least 2")
    if isinstance(n_starts, bool) or not isinstance(n_starts, int | np.integer) or n_starts < 0:
        raise ArgumentError(f"n_starts={n_starts!r} must be a whole number, zero or more")
    n_incomplete = int(np.isnan(fit.prepared.values).any(axis=1).sum())
    if n_incomplete:
        raise ArgumentError(
            f"standard errors need complete rows, and {n_incomplete} of {fit.n_rows} rows that were fitted have "
            "missing values; fit with missing='drop'"
        )
    collapsed = fit.info.diagnostics.get("degenerate_components")
    if collapsed:
        raise FitError(
            f"component {', '.join(map(str, collapsed))} of the fit has collapsed: it is not at a maximum, and "
            "standard errors are not defined; use fewer components, a simpler structure, or reg_covar=1e-3"
        )


# ---------------------------------------------------------------- from derivatives


def _from_derivatives(fit: MixtureFit, method: str, prob: float) -> StandardErrors:
    at = curvature_of(fit)
    free, eigenvalues = free_covariance(at.known, method)
    parameters = _free_parameters(fit)
    by_free = (jacobian(at.space, parameters) * _units(parameters, fit.features, fit.scaling.scale)[:, None])[
        :, at.free
    ]
    covariance = by_free @ free @ by_free.T
    return StandardErrors(
        table=_table(fit.mixture, parameters, covariance, prob),
        covariance=_named(covariance, parameters),
        method=method,
        prob=prob,
        condition=float(eigenvalues[-1] / eigenvalues[0]),
        missing_information=None if method == "empirical" else float(1.0 - eigenvalues[0]),
    )


def _free_parameters(fit: MixtureFit) -> list[Parameter]:
    """Return the named parameters that were not fixed."""
    fixed = fixed_of(fit).names
    named = list_parameters(fit.structure, fit.n_components, fit.features)
    return [parameter for parameter in named if parameter.group not in fixed]


def _units(parameters: Sequence[Parameter], features: tuple[str, ...], scale: Floats) -> Floats:
    """Return what turns each parameter from standardised into the user's units."""
    factors = dict(zip(features, scale, strict=True))
    return np.array([np.prod([factors[name] for name in parameter.features]) for parameter in parameters])


# ---------------------------------------------------------------- from replicates


def _from_replicates(fit: MixtureFit, found: Replicates, method: str, prob: float, seed: int) -> StandardErrors:
    parameters = _free_parameters(fit)
    names, values = parameter_draws(found.mixture, fit.structure)
    values = values[:, [names.index(parameter.name) for parameter in parameters]]
    offsets = values - np.average(values, axis=0, weights=found.counts)
    squares = (found.counts * offsets.T) @ offsets
    n = found.counts.sum()
    covariance = squares * ((n - 1.0) / n) if method == "jackknife" else squares / (n - 1.0)
    table = _table(fit.mixture, parameters, covariance, prob)
    if method != "jackknife":
        table["lower"], table["upper"] = np.quantile(values, [0.5 - prob / 2, 0.5 + prob / 2], axis=0)
    return StandardErrors(
        table=table,
        covariance=_named(covariance, parameters),
        method=method,
        prob=prob,
        replicates=found.mixture,
        ambiguous_share=found.ambiguous_share,
        n_failed=found.n_failed,
        seed=seed,
    )


def _warn_of_replicates(found: Replicates) -> None:
    n = found.mixture.n_mixtures
    if found.n_failed > _MANY_FAILED * (n + found.n_failed):
        warnings.warn(
            f"a component collapsed in {found.n_failed} of {n + found.n_failed} replicates, which are left out: the "
            "standard errors are too small; use fewer components, a simpler structure, or reg_covar=1e-3",
            DegenerateFitWarning,
            stacklevel=4,
        )
    if found.n_unconverged:
        warnings.warn(
            f"{found.n_unconverged} of {n} replicates did not converge; raise max_iter in the fit",
            ConvergenceWarning,
            stacklevel=4,
        )
    if found.ambiguous_share > DOUBTFUL_SHARE:
        warnings.warn(
            f"{found.ambiguous_share:.0%} of the replicates could as well have been labelled otherwise; standard "
            "errors of single components mean little",
            LabelWarning,
            stacklevel=4,
        )


# ---------------------------------------------------------------- tables and intervals


def _named(covariance: Floats, parameters: Sequence[Parameter]) -> pd.DataFrame:
    names = pd.Index([parameter.name for parameter in parameters], name="parameter")
    return pd.DataFrame(covariance, index=names, columns=names)


def _table(mixture: Mixture, parameters: Sequence[Parameter], covariance: Floats, prob: float) -> pd.DataFrame:
    estimates = np.array([getattr(mixture, parameter.group)[parameter.position] for parameter in parameters])
    errors = np.sqrt(np.diagonal(covariance))
    quantile = float(ndtri(0.5 + prob / 2))
    bounds = np.array([
        _interval(mixture, parameter, estimate, quantile * error)
        for parameter, estimate, error in zip(parameters, estimates, errors, strict=True)
    ])  # fmt: skip
    names = pd.Index([parameter.name for parameter in parameters], name="parameter")
    columns = {"estimate": estimates, "se": errors, "lower": bounds[:, 0], "upper": bounds[:, 1]}
    return pd.DataFrame(columns, index=names)


def _interval(mixture: Mixture, parameter: Parameter, estimate: float, width: float) -> Floats:
    """Return an interval that is symmetric on the natural scale, given the half width on the plain one."""
    sides = np.array([-width, width])
    if parameter.group == "means":
        return estimate + sides
    if parameter.group == "weights":
        return np.asarray(expit(logit(estimate) + sides / (estimate * (1.0 - estimate))))
    component, i, j = parameter.position
    if i == j:
        return np.asarray(estimate * np.exp(sides / estimate))
    variances = np.diagonal(mixture.covariances[component])
    size = np.sqrt(variances[i] * variances[j])
    return np.asarray(size * np.sinh(np.arcsinh(estimate / size) + sides / np.hypot(estimate, size)))
