"""The maximum of the likelihood of standardised rows: what goes in, what comes out, and the start that a user gives.

Without a start the optimum is searched for (`em.search`). A given start is one run, which stays with plain EM until the
maximum is near: it ends at the optimum that plain EM leads to from there, not at a better one elsewhere.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bayesgmm.em.conjugate import ConjugatePrior, PriorTerms
from bayesgmm.em.degeneracy import collinear_columns
from bayesgmm.em.fixed import Fixed
from bayesgmm.em.incomplete import IncompletePass, completed
from bayesgmm.em.knowledge import Knowledge
from bayesgmm.em.labelled import LabelledPass
from bayesgmm.em.loop import Progress, Settings, run_em
from bayesgmm.em.rows import StandardRows, has_missing, pack
from bayesgmm.em.search import Candidate, merged, search
from bayesgmm.em.starts import moments_of_labels, moments_of_responsibilities, pure_or_shrunk
from bayesgmm.em.statistics import Moments, Parameters, Pass, Source
from bayesgmm.errors import ArgumentError, FitError
from bayesgmm.kernels import em as kernels
from bayesgmm.mixture import Mixture, default_features
from bayesgmm.structure import CovarianceStructure, as_structure

__all__ = ["EMSolution", "Optimum", "maximise", "refuse_collinear", "solution_of"]

Floats = NDArray[np.float64]
Labels = NDArray[np.intp]

# Passes before acceleration where all rows are labelled: there is nothing to come to.
_N_PLAIN_LABELLED = 3
# Columns that a message names.
_MAX_NAMED = 8


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
    objectives : ndarray, shape (iterations,)
        What the run climbed: the log-likelihood, with the log prior where there is one (up to a constant).
    prior : PriorTerms or None
        The conjugate prior, with what was left to the data.
    other_traces : tuple of ndarray
        Log-likelihood after every iteration of the other runs over all rows, as far as they went.
    """

    mixture: Mixture
    log_likelihood: float
    trace: Floats
    n_iter: int
    converged: bool
    last_gain: float
    optima: tuple[Optimum, ...]
    degenerate_components: tuple[int, ...]
    objectives: Floats
    prior: PriorTerms | None = None
    other_traces: tuple[Floats, ...] = ()


def maximise(
    Z: Floats | StandardRows,
    n_components: int,
    *,
    structure: str | CovarianceStructure = "full",
    sample_weight: Floats | None = None,
    start: Mixture | NDArray[np.integer] | Floats | None = None,
    n_starts: int = 32,
    max_iter: int = 1000,
    tol: float = 1e-10,
    reg_covar: float = 0.0,
    labels: Labels | None = None,
    fixed: Fixed | None = None,
    prior: ConjugatePrior | None = None,
    max_eigenvalue_ratio: float | None = None,
    rng: np.random.Generator | None = None,
    n_threads: int | None = None,
    progress: Progress | None = None,
    features: Sequence[str] = (),
) -> EMSolution:
    """Maximise the likelihood of a Gaussian mixture.

    Parameters
    ----------
    Z : ndarray or StandardRows, shape (n, D)
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
    labels : ndarray of int, shape (n,), optional
        Component of the rows of which it is known, which must be complete; -1 for the others. The log-likelihood is
        then that of rows and labels.
    fixed : Fixed, optional
        Parameters that are held, standardised units.
    prior : ConjugatePrior, optional
        A prior whose mode is sought, standardised units.
    max_eigenvalue_ratio : float, optional
        Largest ratio of two eigenvalues of the covariances, within and between components.
    rng : numpy.random.Generator, optional
        Source of the own starts. Default: seeded with zero.
    n_threads : int, optional
        Number of threads; it has no influence on the result. Default: the cores of this process.
    progress : callable, optional
        Called with (passes, log-likelihood) after every iteration of a run that goes to the end.
    features : sequence of str, optional
        Names of the columns, for messages.

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
    floor = reg_covar * np.eye(Z.shape[1]) if reg_covar > 0.0 else None
    Z, sample_weight, start, labels = _without_zero_weights(Z, sample_weight, start, labels)
    if len(Z) < n_components:
        raise ArgumentError(
            f"n_components={n_components} needs at least as many rows, got {len(Z)}; ask for fewer components"
        )
    generator = rng or np.random.default_rng(0)
    with _open(Z, n_components, sample_weight, labels, n_threads) as data:
        known = Knowledge(
            fixed or Fixed(),
            None if prior is None else prior.terms(here, n_components, data.total),
            max_eigenvalue_ratio,
            data.labelled if isinstance(data, LabelledPass) else None,
        )
        if not here.is_diagonal and floor is None and not known.keeps_regular:
            refuse_collinear(data.total, len(Z), here, features)
        left: list[Candidate] = []
        settings = Settings(here, max_iter=max_iter, tol=tol, prior=floor, knowledge=known)
        Z = completed(np.asarray(Z), data.total, generator) if has_missing(Z) else Z
        if start is not None:
            moments = _given_moments(Z, n_components, sample_weight, start, data)
            finalists = [_one_run(data, moments, settings.faithful(), progress)]
        elif known.labelled is not None and labels is not None and labels.min() >= 0:
            finalists = [
                _one_run(data, known.labelled, replace(settings.faithful(), n_plain=_N_PLAIN_LABELLED), progress)
            ]
        else:
            generators = generator.spawn(n_starts if n_components > 1 else 1)
            finalists, left = search(Z, n_components, sample_weight, data, settings, generators, progress)
    return solution_of(merged(finalists, data.total_weight), known.prior, left)


@contextmanager
def _open(
    Z: Floats | StandardRows, n_components: int, weights: Floats | None, labels: Labels | None, n_threads: int | None
) -> Iterator[Source]:
    """Open the pass over the rows; labelled ones, which are complete, enter with their moments."""
    if labels is not None:
        has_label = labels >= 0
        labelled = moments_of_labels(
            Z[has_label], labels[has_label], n_components, None if weights is None else weights[has_label]
        )
        Z, weights = Z[~has_label], None if weights is None else weights[~has_label]
    opened = (
        IncompletePass.over(np.asarray(Z), weights, n_threads)
        if has_missing(Z)
        else Pass.over(pack(Z, weights), n_threads)
    )
    with opened as data:
        yield data if labels is None else LabelledPass(data, labelled)


def _one_run(data: Source, moments: Moments, settings: Settings, progress: Progress | None) -> Candidate:
    """Run EM from moments; a mixture is brought to the structure by one M step."""
    parameters = pure_or_shrunk(moments, settings.structure, settings.prior, settings.knowledge)
    return Candidate(run_em(data, parameters, settings, progress))


type _Start = Mixture | NDArray[np.integer] | Floats | None


def _without_zero_weights(
    Z: Floats | StandardRows, weights: Floats | None, start: _Start, labels: Labels | None
) -> tuple[Floats | StandardRows, Floats | None, _Start, Labels | None]:
    if weights is None or np.all(weights > 0.0):
        return Z, weights, start, labels
    keep = weights > 0.0
    if start is not None and not isinstance(start, Mixture) and len(start) == len(Z):
        start = start[keep]
    return Z[keep], weights[keep], start, None if labels is None else labels[keep]


def refuse_collinear(total: Moments, n_rows: int, structure: CovarianceStructure, features: Sequence[str]) -> None:
    """Refuse columns of which some are constant or, to rounding, linear combinations of others."""
    columns = collinear_columns(total)
    if not columns:
        return
    d = total.means.shape[1]
    remedy = "choose a diagonal structure, or set reg_covar=1e-3 or prior='default'"
    if n_rows <= d:
        raise FitError(f"{n_rows} rows of {d} columns determine no {structure} covariance, which takes more rows than "
                       f"columns; use fewer columns, {remedy}")  # fmt: skip
    names = features or default_features(d)
    named = ", ".join(repr(names[j]) for j in columns[:_MAX_NAMED]) + (", ..." if len(columns) > _MAX_NAMED else "")
    raise FitError(
        "no start has positive definite covariances: the columns "
        f"{named} are constant or linear combinations of others; drop one of them, {remedy}"
    )


# ---------------------------------------------------------------- a start that is given


def _given_moments(
    Z: Floats | StandardRows,
    n_components: int,
    weights: Floats | None,
    start: Mixture | NDArray[np.integer] | Floats,
    data: Source,
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
        return moments_of_labels(np.asarray(Z), values.astype(np.intp), n_components, weights)
    if values.shape == (len(Z), n_components):
        if not np.all(np.isfinite(values)) or values.min() < 0.0 or not np.allclose(values.sum(axis=1), 1.0):
            raise ArgumentError("start has rows that are not responsibilities: non-negative numbers that sum to one")
        return moments_of_responsibilities(np.asarray(Z), values.astype(np.float64), weights)
    raise ArgumentError(
        f"start has shape {values.shape} and type {values.dtype}; expected a Mixture, integer labels of shape "
        f"({len(Z)},), or responsibilities of shape ({len(Z)}, {n_components})"
    )


def solution_of(candidates: list[Candidate], prior: PriorTerms | None, left: Sequence[Candidate] = ()) -> EMSolution:
    """Return the best of the candidates as the solution, and all of them as its optima; `left` went to no end."""
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
        objectives=np.array(best.objectives),
        prior=prior,
        other_traces=tuple(np.array(trace) for one in [*candidates, *left] for trace in one.traces)[1:],
    )
