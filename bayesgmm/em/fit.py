"""`fit_em`: maximum likelihood from a user's table to a MixtureFit.

Prepares the data, runs the engine on standardised rows (maximise.py), converts to the user's units, orders components
by decreasing weight, and says in warnings what a reader of the result must know.
"""

import math
import time
import warnings
from importlib.metadata import version
from numbers import Real
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from bayesgmm.data import PreparedData, Scaling, prepare
from bayesgmm.data.tables import as_floats
from bayesgmm.em.maximise import EMSolution, maximise
from bayesgmm.errors import ArgumentError, ConvergenceWarning, DegenerateFitWarning, FitError
from bayesgmm.fit import FitInfo, MixtureFit, assemble
from bayesgmm.mixture import Mixture, default_features
from bayesgmm.seeding import as_generator, recorded_seed
from bayesgmm.structure import CovarianceStructure, as_structure

__all__ = ["fit_em"]

_REMEDIES = "use fewer components, a simpler structure, or reg_covar=1e-3"


def fit_em(
    data: Any,
    n_components: int,
    *,
    structure: str | CovarianceStructure = "full",
    seed: Any = None,
    start: Mixture | MixtureFit | ArrayLike | None = None,
    n_starts: int = 32,
    max_iter: int = 1000,
    tol: float = 1e-10,
    reg_covar: float = 0.0,
    sample_weight: ArrayLike | None = None,
    missing: str = "error",
    n_threads: int | None = None,
) -> MixtureFit:
    """Fit a Gaussian mixture by maximum likelihood.

    Parameters
    ----------
    data : table or PreparedData
        Rows and columns; see `prepare`.
    n_components : int
        Number of components, K.
    structure : str or CovarianceStructure, default "full"
        Covariance structure: "full", "tied", "diag", "spherical", or one of mclust's codes ("VVV", ...).
    seed : int, Generator or RandomState, optional
        Source of the starts. Without one a seed is drawn, and recorded in ``fit.info.seed``.
    start : Mixture, MixtureFit, labels (n,) or responsibilities (n, K), optional
        Where to start: parameters in the user's units, a partition, or a soft one. Then this is the only start.
    n_starts : int, default 32
        Number of own starts; all get a few passes, the better ones more, the best are run to convergence.
    max_iter : int, default 1000
        Largest number of passes over the data of a run.
    tol : float, default 1e-10
        Converged when the estimate of what is left to gain, in log-likelihood per row, is below it.
    reg_covar : float, default 0.0
        Added to the variances, in units of the variance of the scaled data (dimensionless, so that a fit does not
        depend on the units).
    sample_weight : array_like, shape (n,), optional
        Non-negative weights of the rows.
    missing : {"error", "drop", "marginalize"}, default "error"
        Rows with missing values: refuse them, leave them out, or use what was observed of them, exactly (math.md, 3.9).
    n_threads : int, optional
        Threads; no influence on the result. Default: all cores where the data are large.

    Returns
    -------
    MixtureFit
        The estimate; components by decreasing weight, user's units. ``fit.optima`` lists every optimum found.

    Raises
    ------
    DataError
        When the table cannot be used.
    ArgumentError
        When an argument is illegal.
    FitError
        When no start led to positive definite covariances: columns are collinear, or rows tie.

    Warns
    -----
    ConvergenceWarning
        When the best run stopped at `max_iter`.
    DegenerateFitWarning
        When every optimum found has a collapsed component.

    References
    ----------
    Dempster, Laird & Rubin (1977), J. R. Stat. Soc. B 39, 1-38. Celeux & Govaert (1995), Pattern Recognition 28,
    781-793.

    Examples
    --------
    >>> from bayesgmm import load_dataset
    >>> fit = fit_em(load_dataset("faithful"), 2, seed=0)
    >>> round(fit.log_likelihood, 3)
    -1130.264
    """
    limits: dict[str, Any] = {
        "n_starts": _whole("n_starts", n_starts), "max_iter": _whole("max_iter", max_iter),
        "tol": _positive("tol", tol), "reg_covar": _positive("reg_covar", reg_covar, or_zero=True),
    }  # fmt: skip
    n_threads = None if n_threads is None else _whole("n_threads", n_threads)
    prepared = prepare(data, sample_weight=sample_weight, missing=missing)
    prepared.check_components(n_components)
    chosen = as_structure(structure, prepared.n_features)
    scaling = prepared.scaling(chosen)
    number = recorded_seed(seed)
    begun = time.perf_counter()
    solution = maximise(
        scaling.standardize(prepared.values),
        n_components,
        structure=chosen,
        sample_weight=prepared.sample_weight,
        start=_standard_start(start, scaling, prepared, n_components),
        rng=as_generator(number),
        n_threads=n_threads,
        **limits,
    )
    settings = limits | {"scale": prepared.scale, "n_dropped": prepared.n_dropped}
    settings |= {"start": "own"} if start is None else {"start": "given", "n_starts": 1}
    mixture = _to_user(solution.mixture, scaling, prepared)
    _refuse_singular(mixture)
    degenerate = _degenerate_after_sorting(solution)
    diagnostics = {
        "converged": solution.converged, "iterations": solution.n_iter, "remaining_gain": solution.last_gain,
        "degenerate_components": degenerate, "seconds": time.perf_counter() - begun,
    }  # fmt: skip
    _warn(solution, degenerate, limits["max_iter"])
    info = FitInfo(
        "em", chosen.code, int(n_components), number, settings, diagnostics,
        {name: version(name) for name in ("bayesgmm", "numpy", "numba")},
    )  # fmt: skip
    offset = _log_jacobian(prepared, scaling)
    groups = {"optimization": _trace(solution, offset), "optima": _optima(solution, scaling, prepared, offset)}
    return assemble(mixture, prepared, info, scaling, groups=groups)


def _whole(name: str, value: Any) -> int:
    """Check a number that is written into the fit, which holds plain numbers only."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ArgumentError(f"{name}={value!r} must be a positive whole number")
    return int(value)


def _positive(name: str, value: Any, *, or_zero: bool = False) -> float:
    is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < 0 or (value == 0 and not or_zero):
        raise ArgumentError(f"{name}={value!r} must be {'zero or ' if or_zero else ''}a positive number")
    return float(value)


def _standard_start(start: Any, scaling: Scaling, prepared: PreparedData, k: int) -> Mixture | NDArray[Any] | None:
    """Convert a start to standardised units and to the order of the columns; labels to 0 .. K-1."""
    if start is None:
        return None
    if isinstance(start, MixtureFit | Mixture):
        mixture = start.mixture if isinstance(start, MixtureFit) else start
        return scaling.mixture_to_standard(_fitting_start(mixture, prepared, k))
    found = np.asarray(start)
    if found.ndim not in (1, 2) or len(found) != prepared.n_rows:
        raise ArgumentError(f"start has shape {found.shape}; it needs one label or K responsibilities for each of "
                            f"{prepared.n_rows} rows")  # fmt: skip
    if found.ndim == 2:
        return as_floats(found, "start")
    names, labels = np.unique(found, return_inverse=True)
    if len(names) != k:
        raise ArgumentError(f"start has {len(names)} different labels; it needs n_components={k}")
    return labels.astype(np.intp)


def _fitting_start(mixture: Mixture, prepared: PreparedData, k: int) -> Mixture:
    """Return a mixture with the columns of the data in their order; by position where either came without names."""
    if mixture.batch_shape or mixture.n_components != k or mixture.n_features != prepared.n_features:
        raise ArgumentError(
            f"start={mixture!r} is not a single mixture of {k} components and {prepared.n_features} columns"
        )
    if default_features(prepared.n_features) in (mixture.features, prepared.features):
        return mixture
    return mixture.marginal(prepared.features)


def _log_jacobian(prepared: PreparedData, scaling: Scaling) -> float:
    """Return what a log-likelihood gains in the user's units: a term for each observed value (math.md, 5.2)."""
    weights = np.ones(prepared.n_rows) if prepared.sample_weight is None else prepared.sample_weight
    return -float(weights @ ~np.isnan(prepared.values) @ np.log(scaling.scale))


def _to_user(mixture: Mixture, scaling: Scaling, prepared: PreparedData) -> Mixture:
    named = Mixture(mixture.weights, mixture.means, mixture.covariances, prepared.features)
    return scaling.mixture_to_user(named).sorted_by_weight()


def _refuse_singular(mixture: Mixture) -> None:
    """Refuse what has no density: rows that tie may leave a collapsed component without any width."""
    try:
        _ = mixture.cholesky
    except ArgumentError as error:
        raise FitError(f"{error}, and no start led to a sound optimum; {_REMEDIES}") from None


def _degenerate_after_sorting(solution: EMSolution) -> list[int]:
    order = np.argsort(-solution.mixture.weights, kind="stable")
    return [int(position) for position, k in enumerate(order) if k in solution.degenerate_components]


def _warn(solution: EMSolution, degenerate: list[int], max_iter: int) -> None:
    if degenerate:
        warnings.warn(
            f"component{'s' if len(degenerate) > 1 else ''} {', '.join(map(str, degenerate))} collapsed on a few rows: "
            f"the likelihood is not bounded and this is not a maximum; {_REMEDIES}",
            DegenerateFitWarning,
            stacklevel=3,
        )
    elif not solution.converged:
        left = f"an estimated {solution.last_gain:.2g}" if np.isfinite(solution.last_gain) else "an unknown amount of"
        warnings.warn(
            f"EM stopped after {solution.n_iter} passes (max_iter={max_iter}) with {left} log-likelihood per row left "
            "to gain; raise max_iter, use fewer components, or a simpler structure",
            ConvergenceWarning,
            stacklevel=3,
        )


def _trace(solution: EMSolution, offset: float) -> xr.Dataset:
    return xr.Dataset({"log_likelihood": ("iteration", np.asarray(solution.trace) + offset)})


def _optima(solution: EMSolution, scaling: Scaling, prepared: PreparedData, offset: float) -> xr.Dataset:
    mixtures = [_to_user(optimum.mixture, scaling, prepared) for optimum in solution.optima]
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
