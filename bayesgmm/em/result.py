"""From a solution in standardised units to what a MixtureFit carries, and what a reader of it must be warned of.

`fit_em` and `fit_stream` share this: units, the order of the components, the record of what EM was told, the groups of
the tree.
"""

import warnings
from collections.abc import Sequence
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
from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import Mixture
from bayesgmm.structure import CovarianceStructure

__all__ = [
    "collapsed_components",
    "log_jacobian",
    "log_prior_of",
    "named_components",
    "optima_group",
    "refuse_singular",
    "to_user",
    "trace_group",
    "warn",
    "warn_of_spikes",
    "what_was_told",
    "with_labels",
]

_REMEDIES = "use fewer components, a simpler structure, or reg_covar=1e-3 or prior='default'"
# Warnings point at the line that called the package.
_PACKAGE = (str(Path(__file__).parents[1]),)
# A component that has this fraction of an even share is empty.
_EMPTY_WEIGHT = 2e-6


def log_jacobian(prepared: PreparedData, scaling: Scaling) -> float:
    """Return what a log-likelihood gains in the user's units: a term for each observed value (math.md, 5.2)."""
    if not prepared.has_missing:
        return -prepared.effective_rows * float(np.log(scaling.scale).sum())
    weights = np.ones(prepared.n_rows) if prepared.sample_weight is None else prepared.sample_weight
    return -float(weights @ ~np.isnan(prepared.values) @ np.log(scaling.scale))


def log_prior_of(solution: EMSolution, mixture: Mixture, scaling: Scaling) -> float | None:
    """Return the log density of the conjugate prior at a mixture in the user's units, up to a constant."""
    if solution.prior is None:
        return None
    return solution.prior.to_user(scaling).log_density(
        Parameters(mixture.weights, mixture.means, mixture.covariances)
    )  # fmt: skip


def what_was_told(
    known: KnownLabels | None, fixed: Fixed, solution: EMSolution, scaling: Scaling, bound: float | None
) -> dict[str, Any]:
    """Return what EM was told besides the rows, as plain values for the fit's record."""
    told: dict[str, Any] = {}
    if known is not None:
        told |= {"label_names": known.names, "n_labelled": int(np.count_nonzero(known.components >= 0))}
    if fixed.names:
        told["fixed"] = list(fixed.names)
    if solution.prior is not None:
        told["prior"] = solution.prior.to_user(scaling).to_settings()
    return told if bound is None else told | {"max_eigenvalue_ratio": bound}


def named_components(k: int, known: KnownLabels | None, fixed: Fixed) -> NDArray[np.bool_]:
    """Return which components have a name, and so a place, (K,)."""
    named = np.full(k, bool(fixed.names))
    if known is not None:
        named[known.components[known.components >= 0]] = True
    return named


def _order(weights: NDArray[np.float64], named: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the components in order: those with a name at their place, the others by decreasing weight."""
    order, free = np.arange(len(weights)), np.flatnonzero(~named)
    order[free] = free[np.argsort(-weights[free], kind="stable")]
    return order


def to_user(mixture: Mixture, scaling: Scaling, prepared: PreparedData, named: NDArray[np.bool_]) -> Mixture:
    """Convert a solution to the user's units, its components in order: named ones at their place."""
    with_columns = Mixture(mixture.weights, mixture.means, mixture.covariances, prepared.features)
    return scaling.mixture_to_user(with_columns).permute(_order(mixture.weights, named))


def refuse_singular(mixture: Mixture) -> None:
    """Refuse what has no density: rows that tie may leave a collapsed component without any width."""
    try:
        _ = mixture.cholesky
    except ArgumentError as error:
        raise FitError(f"{error}, and no start led to a sound optimum; {_REMEDIES}") from None


def collapsed_components(solution: EMSolution, named: NDArray[np.bool_]) -> list[int]:
    """Return the collapsed components of a solution, by their numbers after ordering."""
    order = _order(solution.mixture.weights, named)
    return [int(position) for position, k in enumerate(order) if k in solution.degenerate_components]


def warn_of_spikes(standard: Mixture, structure: CovarianceStructure, bound: float) -> None:
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


def warn(solution: EMSolution, mixture: Mixture, degenerate: list[int], max_iter: int) -> None:
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


def trace_group(solution: EMSolution, offset: float, log_prior: float | None) -> xr.Dataset:
    """Return the log-likelihood by iteration, and the log posterior where there is a prior; user's units."""
    found = xr.Dataset({"log_likelihood": ("iteration", np.asarray(solution.trace) + offset)})
    if log_prior is None:
        return found
    last = solution.log_likelihood + offset + log_prior
    return found.assign(log_posterior=("iteration", solution.objectives - solution.objectives[-1] + last))


def with_labels(fit: MixtureFit, known: KnownLabels) -> MixtureFit:
    """Keep the labels with the data, and count labelled rows with the density of row and label."""
    is_known = known.components >= 0
    labels = known.components[is_known]
    fit.tree["constant_data"] = xr.DataTree(
        fit.tree["constant_data"].to_dataset().assign(known_component=("row", known.components))
    )
    if "log_likelihood" in fit.tree.children:
        pointwise = fit.tree["log_likelihood"].to_dataset().copy(deep=True)
        prepared = fit.prepared
        joint = fit.mixture.log_joint(prepared.values[is_known])[np.arange(len(labels)), labels]
        weights = 1.0 if prepared.sample_weight is None else prepared.sample_weight[is_known]
        pointwise["x"].values[..., is_known] = joint * weights
        fit.tree["log_likelihood"] = xr.DataTree(pointwise)
    return fit


def optima_group(
    solution: EMSolution, scaling: Scaling, prepared: PreparedData, offset: float, named: NDArray[np.bool_]
) -> xr.Dataset:
    """Return every optimum that was found, user's units."""
    mixtures = [to_user(optimum.mixture, scaling, prepared, named) for optimum in solution.optima]
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
