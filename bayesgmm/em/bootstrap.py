"""Replicates of an estimate: the same fit to rows that could as well have been there.

A replicate starts EM at the estimate, so it stays at the optimum whose uncertainty is asked for; starts of its own can
be added. Its components are matched to the estimate's. Every replicate has its own random stream and runs on one
thread, so that replicates do not depend on how many threads share the work.

Row weights are frequencies throughout: a row of weight two is drawn, left out and simulated as two rows would be.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bayesgmm.cores import available_cores
from bayesgmm.em.arguments import whole
from bayesgmm.em.maximise import EMSolution, maximise
from bayesgmm.em.remembered import labels_of, told
from bayesgmm.errors import ArgumentError, FitError
from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.relabel import relabel
from bayesgmm.progress import follow
from bayesgmm.seeding import as_generator
from bayesgmm.structure import CovarianceStructure

__all__ = ["RESAMPLING", "Replicates", "in_parallel", "replicate"]

Floats = NDArray[np.float64]

# The difference that one row makes is small; what EM leaves to gain must be smaller.
_JACKKNIFE_TOL = 1e-13


@dataclass(frozen=True, eq=False)
class Replicates:
    """Replicates of an estimate, components matched to it.

    Parameters
    ----------
    mixture : Mixture
        The replicates, one leading dimension, user's units.
    counts : ndarray, shape (replicates,)
        How often each of them stands for: ones, but for the jackknife with row weights.
    ambiguous_share : float
        Share of replicates whose components could as well be named otherwise (math.md, 6.2).
    n_failed : int
        Replicates left out because a component collapsed.
    n_unconverged : int
        Replicates kept although EM stopped before it converged.
    """

    mixture: Mixture
    counts: Floats
    ambiguous_share: float
    n_failed: int
    n_unconverged: int


@dataclass(frozen=True, eq=False)
class _Estimate:
    """What is replicated, in standardised units, and how EM is told to run."""

    mixture: Mixture
    structure: CovarianceStructure
    Z: Floats
    weights: Floats
    n_starts: int
    labels: NDArray[np.intp] | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Number of rows that a sample of the same size has."""
        return max(1, round(float(self.weights.sum())))

    def refit(self, sample: "_Sample", rng: np.random.Generator) -> EMSolution | None:
        """Fit rows from the estimate on, and from starts of its own where asked for; None when all collapse."""
        found = [self._maximise(sample, start=self.mixture)]
        if self.n_starts:
            found.append(self._maximise(sample, n_starts=self.n_starts, rng=rng))
        sound = [one for one in found if one is not None and not one.degenerate_components]
        return max(sound, key=lambda one: one.log_likelihood, default=None)

    def _maximise(self, sample: "_Sample", **start: Any) -> EMSolution | None:
        k = self.mixture.n_components
        if np.count_nonzero(sample.weights) <= k:
            return None
        try:
            return maximise(
                sample.Z, k, structure=self.structure, sample_weight=sample.weights, labels=sample.labels, n_threads=1,
                **self.settings, **start,
            )  # fmt: skip
        except (FitError, np.linalg.LinAlgError):
            return None


class _Sample(NamedTuple):
    """Rows that could as well have been there: values, weights, and the labels that are known of them."""

    Z: Floats
    weights: Floats
    labels: NDArray[np.intp] | None


type _Resample = Callable[[_Estimate, np.random.Generator], _Sample]


def replicate(
    fit: MixtureFit,
    method: str,
    *,
    n_boot: int | None,
    seed: int,
    n_starts: int = 0,
    n_threads: int | None = None,
    progress: bool = False,
) -> Replicates:
    """Replicate an EM estimate (math.md, 9.7).

    Parameters
    ----------
    fit : MixtureFit
        An EM fit.
    method : {"bootstrap", "parametric_bootstrap", "weighted_bootstrap", "jackknife"}
        Draw rows with replacement; draw rows from the estimate; weight the rows at random; leave rows out.
    n_boot : int or None
        Number of replicates. For the jackknife the number of groups that are left out in turn, None for single rows.
    seed : int
        Of the random streams.
    n_starts : int, default 0
        Own starts of each replicate, in addition to the estimate.
    n_threads : int, optional
        Threads that share the replicates; no influence on the result. Default: all cores.
    progress : bool, default False
        Whether to show progress.

    Returns
    -------
    Replicates
        Those that did not collapse.

    Raises
    ------
    ArgumentError
        For the jackknife, when row weights are not whole numbers, or there are more groups than rows.
    FitError
        When half of the replicates collapse, or, for the jackknife, one of them.
    """
    estimate = _estimate(fit, n_starts, is_jackknife=method == "jackknife")
    rng = as_generator(seed)
    resamples: list[_Resample] = [RESAMPLING[method]] * (n_boot or 0) if method in RESAMPLING else []
    counts = np.ones(len(resamples))
    if method == "jackknife":
        left_out, counts = _left_out(estimate.weights, n_boot, rng)
        resamples = [partial(_without, rows) for rows in left_out]

    def work(task: tuple[_Resample, np.random.Generator]) -> EMSolution | None:
        """Draw rows and fit them."""
        resample, stream = task
        return estimate.refit(resample(estimate, stream), stream)

    tasks = list(zip(resamples, rng.spawn(len(resamples)), strict=True))
    solutions = in_parallel(work, tasks, n_threads=n_threads, progress=progress)
    _check_failures(solutions, method)
    kept = [solution for solution in solutions if solution is not None]
    matched, ambiguous_share = _matched(fit, [solution.mixture for solution in kept])
    return Replicates(
        mixture=matched,
        counts=counts[[solution is not None for solution in solutions]],
        ambiguous_share=ambiguous_share,
        n_failed=len(solutions) - len(kept),
        n_unconverged=sum(not solution.converged for solution in kept),
    )


def in_parallel[Task, Result](
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    n_threads: int | None,
    progress: bool,
    what: str = "replicates",
) -> list[Result]:
    """Do work for every task on a pool of threads, linear algebra on one thread each; results in the order of tasks."""
    count = available_cores() if n_threads is None else whole("n_threads", n_threads)
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(count) as pool:
        results = pool.map(work, tasks)
        return follow(results, what, total=len(tasks), progress=progress)


# ---------------------------------------------------------------- rows that could as well have been there


def _drawn(estimate: _Estimate, rng: np.random.Generator) -> _Sample:
    """Draw as many rows as there are, with replacement."""
    total = estimate.weights.sum()
    counts = rng.multinomial(estimate.n, estimate.weights / total)
    return _Sample(estimate.Z, counts * (total / estimate.n), estimate.labels)


def _weighted(estimate: _Estimate, rng: np.random.Generator) -> _Sample:
    """Weight the rows by a Dirichlet distribution (Newton & Raftery 1994)."""
    gammas = rng.standard_gamma(estimate.weights)
    return _Sample(estimate.Z, gammas * (estimate.weights.sum() / gammas.sum()), estimate.labels)


def _simulated(estimate: _Estimate, rng: np.random.Generator) -> _Sample:
    """Draw as many rows as there are from the estimate."""
    Z, components = estimate.mixture.sample(estimate.n, rng)
    labels = None if estimate.labels is None else _as_many_known(components, estimate)
    return _Sample(Z, np.full(len(Z), estimate.weights.sum() / estimate.n), labels)


def _as_many_known(components: NDArray[np.intp], estimate: _Estimate) -> NDArray[np.intp]:
    """Tell as many labels of each component as are known of the data; the others are -1."""
    labels = np.full(len(components), -1, dtype=np.intp)
    for component in range(estimate.mixture.n_components):
        known = estimate.weights[estimate.labels == component].sum() * estimate.n / estimate.weights.sum()
        labels[np.flatnonzero(components == component)[: round(float(known))]] = component
    return labels


#: How each method draws rows and their weights.
RESAMPLING: dict[str, _Resample] = {
    "bootstrap": _drawn,
    "parametric_bootstrap": _simulated,
    "weighted_bootstrap": _weighted,
}


def _without(rows: NDArray[np.intp], estimate: _Estimate, _rng: np.random.Generator) -> _Sample:
    """Leave out rows, as often as they are named."""
    return _Sample(estimate.Z, estimate.weights - np.bincount(rows, minlength=len(estimate.Z)), estimate.labels)


def _left_out(weights: Floats, n_groups: int | None, rng: np.random.Generator) -> tuple[list[NDArray[np.intp]], Floats]:
    """Return the rows that are left out in turn (a row of weight two counts twice), and how often each case occurs."""
    if np.any(weights != np.round(weights)):
        raise ArgumentError(
            "the jackknife leaves out rows and needs row weights that are whole numbers; use 'bootstrap'"
        )
    if n_groups is None:
        rows = np.flatnonzero(weights)
        return list(rows[:, None]), weights[rows]
    copies = np.repeat(np.arange(len(weights)), weights.astype(np.intp))
    if n_groups > len(copies):
        raise ArgumentError(f"n_boot={n_groups} groups cannot be made of {len(copies)} rows; leave n_boot out")
    return np.array_split(rng.permutation(copies), n_groups), np.ones(n_groups)


# ---------------------------------------------------------------- around the fits


def _estimate(fit: MixtureFit, n_starts: int, *, is_jackknife: bool) -> _Estimate:
    prepared, asked = fit.prepared, fit.info.settings
    tol = asked.get("tol", 1e-10)
    return _Estimate(
        mixture=fit.scaling.mixture_to_standard(fit.mixture),
        structure=fit.structure,
        Z=fit.scaling.standardize(prepared.values),
        weights=np.ones(prepared.n_rows) if prepared.sample_weight is None else prepared.sample_weight,
        n_starts=n_starts,
        labels=labels_of(fit),
        settings=told(fit)
        | {
            "max_iter": asked.get("max_iter", 1000),
            "reg_covar": asked.get("reg_covar", 0.0),
            "tol": min(tol, _JACKKNIFE_TOL) if is_jackknife else tol,
        },
    )


def _check_failures(solutions: list[EMSolution | None], method: str) -> None:
    n_failed = sum(solution is None for solution in solutions)
    if n_failed > (0 if method == "jackknife" else 0.5 * len(solutions)):
        raise FitError(
            f"a component collapsed in {n_failed} of {len(solutions)} replicates of the {method}: a few rows carry it; "
            "use fewer components, a simpler structure, reg_covar=1e-3, or method='information'"
        )


def _matched(fit: MixtureFit, mixtures: list[Mixture]) -> tuple[Mixture, float]:
    """Return the replicates, user's units, with the estimate's component names, and the share of doubtful names."""
    batch = Mixture(
        np.stack([mixture.weights for mixture in mixtures])[None],
        np.stack([mixture.means for mixture in mixtures])[None],
        np.stack([mixture.covariances for mixture in mixtures])[None],
        fit.features,
    )
    matched = relabel(
        batch, fit.scaling.standardize(fit.prepared.values), method="em",
        reference=fit.scaling.mixture_to_standard(fit.mixture), sample_weight=fit.prepared.sample_weight,
    )  # fmt: skip
    return fit.scaling.mixture_to_user(matched.mixture[0]), matched.quality.ambiguous_share
