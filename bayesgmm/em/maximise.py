"""The maximum of the likelihood of standardised rows: what goes in, what comes out, and the start that a user gives.

Without a start the optimum is searched for (`em.search`). A given start is one run, which stays with plain EM until the
maximum is near: it ends at the optimum that plain EM leads to from there, not at a better one elsewhere.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bayesgmm.em.incomplete import IncompletePass, completed
from bayesgmm.em.loop import Progress, Settings, run_em
from bayesgmm.em.rows import pack
from bayesgmm.em.search import Candidate, merged, search
from bayesgmm.em.starts import SINGULAR_START, moments_of_labels, moments_of_responsibilities, pure_or_shrunk
from bayesgmm.em.statistics import Moments, Parameters, Pass, Source
from bayesgmm.errors import ArgumentError, FitError
from bayesgmm.kernels import em as kernels
from bayesgmm.mixture import Mixture
from bayesgmm.structure import CovarianceStructure, as_structure

__all__ = ["EMSolution", "Optimum", "maximise"]

Floats = NDArray[np.float64]

# Features whose variance given the others is below this fraction of their own are linear combinations of others.
_COLLINEAR = 1e-13


@dataclass(frozen=True)
class Optimum:
    """An optimum of the likelihood that at least one start reached.

    Parameters
    ----------
    mixture : Mixture
        The parameters, standardised units.
    log_likelihood : float
        Log-likelihood of the standardised rows.
    times_reached : int
        Number of starts that led here, as far as they were followed.
    is_degenerate : bool
        Whether a component has collapsed.
    """

    mixture: Mixture
    log_likelihood: float
    times_reached: int
    is_degenerate: bool


@dataclass(frozen=True)
class EMSolution:
    """What `maximise` found, in standardised units.

    Parameters
    ----------
    mixture : Mixture
        The best parameters.
    log_likelihood : float
        Log-likelihood of the rows at them.
    trace : ndarray, shape (iterations,)
        Log-likelihood after every iteration of the run that won.
    n_iter : int
        Passes over the data that this run took.
    converged : bool
        Whether nothing was left to gain at its end.
    last_gain : float
        Estimate of the log-likelihood per unit of row weight that was left to gain.
    optima : tuple of Optimum
        Every distinct optimum, the sound ones first, by decreasing log-likelihood; the first is the solution.
    degenerate_components : tuple of int
        Collapsed components of the solution; not empty only if no start led to a sound optimum.
    """

    mixture: Mixture
    log_likelihood: float
    trace: Floats
    n_iter: int
    converged: bool
    last_gain: float
    optima: tuple[Optimum, ...]
    degenerate_components: tuple[int, ...]


def maximise(
    Z: Floats,
    n_components: int,
    *,
    structure: str | CovarianceStructure = "full",
    sample_weight: Floats | None = None,
    start: Mixture | NDArray[np.integer] | Floats | None = None,
    n_starts: int = 32,
    max_iter: int = 1000,
    tol: float = 1e-10,
    reg_covar: float = 0.0,
    rng: np.random.Generator | None = None,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> EMSolution:
    """Maximise the likelihood of a Gaussian mixture.

    Parameters
    ----------
    Z : ndarray, shape (n, D)
        Rows, centred and scaled; NaN stands for a value that is missing, which is marginalised.
    n_components : int
        Number of components, K.
    structure : str or CovarianceStructure, optional
        The covariance structure. Default ``"full"``.
    sample_weight : ndarray, shape (n,), optional
        Non-negative row weights; a row of weight zero has no effect.
    start : Mixture, ndarray of int (n,) or ndarray (n, K), optional
        Where to start: parameters in standardised units, a partition into groups 0 to K - 1, or responsibilities. Then
        there is this one start only. Default: `n_starts` starts of our own.
    n_starts : int, optional
        Number of own starts. Default 32.
    max_iter : int, optional
        Largest number of passes of a run. Default 1000.
    tol : float, optional
        Converged when the estimate of the log-likelihood that is left to gain, per unit of row weight, is below it.
        Default 1e-10.
    reg_covar : float, optional
        Variance that is added to a component holding its even share n / K of the rows, more where there are fewer;
        standardised units. Default 0.
    rng : numpy.random.Generator, optional
        Source of the own starts. Default: seeded with zero.
    n_threads : int, optional
        Number of threads; it has no influence on the result. Default: the cores of this process.
    progress : callable, optional
        Called with (passes, log-likelihood) after every iteration of a run that goes to the end.

    Returns
    -------
    EMSolution
        The best optimum found, and all others.

    Raises
    ------
    ArgumentError
        When `start` does not fit the data, or there are fewer rows than components.
    FitError
        When no start has positive definite covariances, which is so for collinear columns.
    """
    here = as_structure(structure, Z.shape[1])
    prior = reg_covar * np.eye(Z.shape[1]) if reg_covar > 0.0 else None
    settings = Settings(here, max_iter=max_iter, tol=tol, prior=prior)
    Z, sample_weight, start = _without_zero_weights(Z, sample_weight, start)
    if len(Z) < n_components:
        raise ArgumentError(
            f"n_components={n_components} needs at least as many rows, got {len(Z)}; ask for fewer components"
        )
    generator = rng or np.random.default_rng(0)
    with _open(Z, sample_weight, n_threads) as data:
        Z = completed(Z, data.total, generator)
        if not here.is_diagonal and reg_covar == 0.0 and _is_collinear(data.total):
            raise FitError(SINGULAR_START)
        if start is not None:
            parameters = _given_start(Z, n_components, sample_weight, start, data, settings)
            finalists = [Candidate(run_em(data, parameters, settings.faithful(), progress))]
        else:
            generators = generator.spawn(n_starts if n_components > 1 else 1)
            finalists = search(Z, n_components, sample_weight, data, settings, generators, progress)
    return _solution(merged(finalists, data.total_weight))


def _open(Z: Floats, weights: Floats | None, n_threads: int | None) -> AbstractContextManager[Source]:
    if np.isnan(Z).any():
        return IncompletePass.over(Z, weights, n_threads)
    return Pass.over(pack(Z, weights), n_threads)


def _without_zero_weights(
    Z: Floats, weights: Floats | None, start: Mixture | NDArray[np.integer] | Floats | None
) -> tuple[Floats, Floats | None, Mixture | NDArray[np.integer] | Floats | None]:
    if weights is None or np.all(weights > 0.0):
        return Z, weights, start
    keep = weights > 0.0
    if start is not None and not isinstance(start, Mixture) and len(start) == len(Z):
        start = start[keep]
    return Z[keep], weights[keep], start


def _is_collinear(total: Moments) -> bool:
    """Whether a column is constant or, to rounding, a linear combination of others."""
    covariance = total.scatters[0] / total.counts[0]
    variances = np.diagonal(covariance)
    if not np.all(variances > 0.0):
        return True
    sds = np.sqrt(variances)
    return bool(np.linalg.eigvalsh(covariance / np.outer(sds, sds))[0] < _COLLINEAR)


# ---------------------------------------------------------------- a start that is given


def _given_start(
    Z: Floats,
    n_components: int,
    weights: Floats | None,
    start: Mixture | NDArray[np.integer] | Floats,
    data: Source,
    settings: Settings,
) -> Parameters:
    """Return the parameters of a given start; a mixture is brought to the structure by one EM step."""
    moments = _given_moments(Z, n_components, weights, start, data)
    return pure_or_shrunk(moments, settings.structure, settings.prior)


def _given_moments(
    Z: Floats, n_components: int, weights: Floats | None, start: Mixture | NDArray[np.integer] | Floats, data: Source
) -> Moments:
    if isinstance(start, Mixture):
        if (start.n_components, start.n_features, start.batch_shape) != (n_components, Z.shape[1], ()):
            raise ArgumentError(
                f"start is a mixture of {start.n_components} components in {start.n_features} features, batch shape "
                f"{start.batch_shape}; expected one mixture of {n_components} components in {Z.shape[1]} features"
            )
        return data.moments(Parameters(start.weights, start.means, start.covariances), kernels.FULL)
    values = np.asarray(start)
    if values.shape == (len(Z),) and np.issubdtype(values.dtype, np.integer):
        if values.min() < 0 or values.max() >= n_components:
            raise ArgumentError(
                f"start has labels from {values.min()} to {values.max()}; expected 0 to {n_components - 1}"
            )
        return moments_of_labels(Z, values.astype(np.intp), n_components, weights)
    if values.shape == (len(Z), n_components):
        if not np.all(np.isfinite(values)) or values.min() < 0.0 or not np.allclose(values.sum(axis=1), 1.0):
            raise ArgumentError("start has rows that are not responsibilities: non-negative numbers that sum to one")
        return moments_of_responsibilities(Z, values.astype(np.float64), weights)
    raise ArgumentError(
        f"start has shape {values.shape} and type {values.dtype}; expected a Mixture, integer labels of shape "
        f"({len(Z)},), or responsibilities of shape ({len(Z)}, {n_components})"
    )


def _solution(candidates: list[Candidate]) -> EMSolution:
    optima = tuple(
        Optimum(one.run.parameters.to_mixture(), one.run.log_likelihood, one.times_reached, bool(one.run.degenerate))
        for one in candidates
    )
    best = candidates[0].run
    return EMSolution(
        mixture=optima[0].mixture,
        log_likelihood=best.log_likelihood,
        trace=np.array(best.trace),
        n_iter=best.n_passes,
        converged=best.converged,
        last_gain=best.remaining_gain,
        optima=optima,
        degenerate_components=best.degenerate,
    )
