"""From a solution in standardised units to a MixtureFit, with the warnings that a reader of it needs.

Rows in memory and rows that are read chunk by chunk end here: units, the order of the components, the record of what
EM was told, the groups of the tree.
"""

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.data import PreparedData, Scaling
from bayesgmm.em.arguments import KnownLabels
from bayesgmm.em.constraint import spikes_at_the_bound
from bayesgmm.em.fixed import Fixed
from bayesgmm.em.maximise import EMSolution
from bayesgmm.em.statistics import Parameters
from bayesgmm.errors import ArgumentError, ConvergenceWarning, DegenerateFitWarning, FitError
from bayesgmm.fit import FitInfo, MixtureFit, assemble, versions_of
from bayesgmm.mixture import Mixture
from bayesgmm.structure import CovarianceStructure

__all__ = ["Told", "log_jacobian", "point_fit"]

_REMEDIES = "use fewer components, a simpler structure, or reg_covar=1e-3 or prior='default'"
# Warnings point at the line that called the package.
_PACKAGE = (str(Path(__file__).parents[1]),)
# A component that has this fraction of an even share is empty.
_EMPTY_WEIGHT = 2e-6


@dataclass(frozen=True, eq=False)
class Told:
    """What EM was told besides the rows.

    Parameters
    ----------
    fixed : Fixed
        Parameters that are held, user's units.
    bound : float or None
        Largest ratio of two eigenvalues of covariances, standardised units.
    known : KnownLabels or None
        Components of rows.
    """

    fixed: Fixed
    bound: float | None = None
    known: KnownLabels | None = None


def point_fit(
    solution: EMSolution,
    prepared: PreparedData,
    scaling: Scaling,
    structure: CovarianceStructure,
    *,
    told: Told,
    seed: int,
    settings: Mapping[str, Any],
    begun: float,
    offset: float,
    groups: Mapping[str, xr.Dataset] | None = None,
) -> MixtureFit:
    """Make the fit that a solution stands for, and warn of what a reader of it must know.

    Parameters
    ----------
    solution : EMSolution
        What was found, standardised units.
    prepared : PreparedData
        The rows that the fit carries, user's units.
    scaling : Scaling
        The change of units.
    structure : CovarianceStructure
        The covariance structure.
    told : Told
        What EM was told besides the rows.
    seed : int
        Seed of the starts.
    settings : mapping
        The arguments of the call, as plain values; with ``max_iter``.
    begun : float
        When the fit began, by `time.perf_counter`.
    offset : float
        What a log-likelihood gains in the user's units (math.md, 5.2).
    groups : mapping of str to Dataset, optional
        Further groups of the tree.

    Returns
    -------
    MixtureFit
        The estimate, user's units; components with a name at their place, the others by decreasing weight.

    Raises
    ------
    FitError
        When a covariance of the solution is singular.

    Warns
    -----
    ConvergenceWarning, DegenerateFitWarning
        See `fit_em`.
    """
    named = _named_components(solution.mixture.n_components, told)
    mixture = told.fixed.restored(_to_user(solution.mixture, scaling, prepared, named))
    _refuse_singular(mixture)
    degenerate = _collapsed_components(solution, named)
    diagnostics = {
        "converged": solution.converged, "iterations": solution.n_iter, "remaining_gain": solution.last_gain,
        "degenerate_components": degenerate, "seconds": time.perf_counter() - begun,
    }  # fmt: skip
    log_prior = _log_prior(solution, mixture, scaling)
    if log_prior is not None:
        diagnostics["log_posterior"] = solution.log_likelihood + offset + log_prior
    if told.bound is not None and not degenerate:
        _warn_of_spikes(scaling.mixture_to_standard(mixture), structure, told.bound)
    _warn(solution, mixture, degenerate, settings["max_iter"])
    info = FitInfo(
        "em", structure.code, mixture.n_components, seed, {**settings, **_as_settings(told, solution, scaling)},
        diagnostics, versions_of("bayesgmm", "numpy", "numba"),
    )  # fmt: skip
    contents = {
        "optimization": _trace(solution, offset, log_prior),
        "optima": _optima(solution, scaling, prepared, offset, named),
        "runs": _runs(solution, offset),
        **(groups or {}),
    }
    known = None if told.known is None else told.known.components
    return assemble(mixture, prepared, info, scaling, groups=contents, known_components=known)


def log_jacobian(prepared: PreparedData, scaling: Scaling) -> float:
    """Return what a log-likelihood gains in the user's units: a term for each observed value (math.md, 5.2)."""
    if not prepared.has_missing:
        return -prepared.effective_rows * float(np.log(scaling.scale).sum())
    weights = np.ones(prepared.n_rows) if prepared.sample_weight is None else prepared.sample_weight
    return -float(weights @ ~np.isnan(prepared.values) @ np.log(scaling.scale))


def _log_prior(solution: EMSolution, mixture: Mixture, scaling: Scaling) -> float | None:
    """Return the log density of the conjugate prior at a mixture in the user's units, up to a constant."""
    if solution.prior is None:
        return None
    return solution.prior.to_user(scaling).log_density(
        Parameters(mixture.weights, mixture.means, mixture.covariances)
    )  # fmt: skip


def _as_settings(told: Told, solution: EMSolution, scaling: Scaling) -> dict[str, Any]:
    """Return what EM was told as plain values, for the fit's record."""
    found: dict[str, Any] = {}
    if told.known is not None:
        n_labelled = int(np.count_nonzero(told.known.components >= 0))
        found |= {"label_names": told.known.names, "n_labelled": n_labelled}
    if told.fixed.names:
        found["fixed"] = list(told.fixed.names)
    if solution.prior is not None:
        found["prior"] = solution.prior.to_user(scaling).to_settings()
    return found if told.bound is None else found | {"max_eigenvalue_ratio": told.bound}


def _named_components(k: int, told: Told) -> NDArray[np.bool_]:
    """Return which components have a name, and so a place, (K,)."""
    named = np.full(k, bool(told.fixed.names))
    if told.known is not None:
        named[told.known.components[told.known.components >= 0]] = True
    return named


def _order(weights: NDArray[np.float64], named: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the components in order: those with a name at their place, the others by decreasing weight."""
    order, free = np.arange(len(weights)), np.flatnonzero(~named)
    order[free] = free[np.argsort(-weights[free], kind="stable")]
    return order


def _to_user(mixture: Mixture, scaling: Scaling, prepared: PreparedData, named: NDArray[np.bool_]) -> Mixture:
    """Convert a solution to the user's units, its components in order: named ones at their place."""
    with_columns = Mixture(mixture.weights, mixture.means, mixture.covariances, prepared.features)
    return scaling.mixture_to_user(with_columns).permute(_order(mixture.weights, named))


def _refuse_singular(mixture: Mixture) -> None:
    """Refuse what has no density: rows that tie may leave a collapsed component without any width."""
    try:
        _ = mixture.cholesky
    except ArgumentError as error:
        raise FitError(f"{error}, and no start led to a sound optimum; {_REMEDIES}") from None


def _collapsed_components(solution: EMSolution, named: NDArray[np.bool_]) -> list[int]:
    """Return the collapsed components of a solution, by their numbers after ordering."""
    order = _order(solution.mixture.weights, named)
    return [int(position) for position, k in enumerate(order) if k in solution.degenerate_components]


def _warn_of_spikes(standard: Mixture, structure: CovarianceStructure, bound: float) -> None:
    """Warn of components that only the bound on the eigenvalues keeps from collapsing."""
    spikes = spikes_at_the_bound(standard, structure, bound)
    if spikes:
        warnings.warn(
            f"only max_eigenvalue_ratio={bound:g} keeps {_components(spikes)} from collapsing on a few rows; choose a "
            "smaller ratio, or fewer components",
            DegenerateFitWarning,
            skip_file_prefixes=_PACKAGE,
        )


def _components(numbers: Sequence[int]) -> str:
    return f"component{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _warn(solution: EMSolution, mixture: Mixture, degenerate: list[int], max_iter: int) -> None:
    """Warn of collapsed and of empty components, and of a run that did not end."""
    empty = [k for k in degenerate if mixture.weights[k] * mixture.n_components < _EMPTY_WEIGHT]
    collapsed = [k for k in degenerate if k not in empty]
    if collapsed:
        warnings.warn(
            f"{_components(collapsed)} collapsed on a few rows: the likelihood is not bounded and this is not a "
            f"maximum; {_REMEDIES}",
            DegenerateFitWarning,
            skip_file_prefixes=_PACKAGE,
        )
    elif empty:
        warnings.warn(
            f"{_components(empty)} {'is' if len(empty) == 1 else 'are'} empty: no row is taken for a member; use fewer "
            "components, or fix less",
            DegenerateFitWarning,
            skip_file_prefixes=_PACKAGE,
        )
    elif not solution.converged:
        left = f"an estimated {solution.last_gain:.2g}" if np.isfinite(solution.last_gain) else "an unknown amount of"
        warnings.warn(
            f"EM stopped after {solution.n_iter} passes (max_iter={max_iter}) with {left} log-likelihood per row left "
            "to gain; raise max_iter, use fewer components, or a simpler structure",
            ConvergenceWarning,
            skip_file_prefixes=_PACKAGE,
        )


def _trace(solution: EMSolution, offset: float, log_prior: float | None) -> xr.Dataset:
    """Return the log-likelihood by iteration, and the log posterior where there is a prior; user's units."""
    found = xr.Dataset({"log_likelihood": ("iteration", np.asarray(solution.trace) + offset)})
    if log_prior is None:
        return found
    last = solution.log_likelihood + offset + log_prior
    return found.assign(log_posterior=("iteration", solution.objectives - solution.objectives[-1] + last))


def _runs(solution: EMSolution, offset: float) -> xr.Dataset:
    """Return the log-likelihood by iteration of every run over all rows, the one that won first; NaN after its end."""
    traces = [solution.trace, *solution.other_traces]
    longest = max(map(len, traces))
    padded = [np.pad(trace + offset, (0, longest - len(trace)), constant_values=np.nan) for trace in traces]
    return xr.Dataset({"log_likelihood": (("run", "iteration"), np.stack(padded))})


def _optima(
    solution: EMSolution, scaling: Scaling, prepared: PreparedData, offset: float, named: NDArray[np.bool_]
) -> xr.Dataset:
    """Return every optimum that was found, user's units."""
    mixtures = [_to_user(optimum.mixture, scaling, prepared, named) for optimum in solution.optima]
    names = list(prepared.features)
    return xr.Dataset(
        {
            "log_likelihood": ("optimum", [optimum.log_likelihood + offset for optimum in solution.optima]),
            "times_reached": ("optimum", [optimum.times_reached for optimum in solution.optima]),
            "is_degenerate": ("optimum", [int(optimum.is_degenerate) for optimum in solution.optima]),
            "weights": (("optimum", "component"), np.stack([m.weights for m in mixtures])),
            "means": (("optimum", "component", "feature"), np.stack([m.means for m in mixtures])),
            "covariances": (
                ("optimum", "component", "feature", "feature_bis"), np.stack([m.covariances for m in mixtures])
            ),
        },
        coords={"feature": names, "feature_bis": names},
    )  # fmt: skip
