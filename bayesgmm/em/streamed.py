"""EM on rows that are read chunk by chunk.

An iteration needs sums over the rows and nothing else (math.md, 3.2), so a pass reads the chunks, packs each one and
adds up what the kernel says of it; where the packed rows fit into the memory that they may take, they are kept and
nothing is read again. The search for the best optimum needs many passes but not all rows: it happens on a random
sample, in memory, and only what it found is run to the end on everything.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesgmm.data import Scaling
from bayesgmm.data.chunks import Chunk, Stream, Workers
from bayesgmm.data.survey import Survey, clean
from bayesgmm.em.conjugate import ConjugatePrior
from bayesgmm.em.fixed import Fixed
from bayesgmm.em.knowledge import Knowledge
from bayesgmm.em.loop import Progress, Settings, run_em
from bayesgmm.em.maximise import EMSolution, maximise, refuse_collinear, solution_of
from bayesgmm.em.rows import Rows, StandardRows, pack
from bayesgmm.em.search import Candidate, merged
from bayesgmm.em.starts import pure_or_shrunk
from bayesgmm.em.statistics import Moments, Parameters, Pass, Sums, SumsSource, sums_of
from bayesgmm.errors import FitError
from bayesgmm.kernels import em as kernels
from bayesgmm.mixture import Mixture
from bayesgmm.structure import CovarianceStructure

__all__ = ["StreamSource", "maximise_stream"]

Floats = NDArray[np.float64]

_LOG_2PI = float(np.log(2.0 * np.pi))
# Optima of the sample that make a few passes over all rows, and those that go on to the end.
_N_AUDITIONS, _AUDITION_PASSES, _N_FINALISTS = 6, 3, 3
_N_PLAIN_CONTINUED = 3
# The search on the sample need not end more sharply than the sample knows the optimum.
_SAMPLE_TOLERANCE = 1e-7


class StreamSource(SumsSource):
    """A pass over a stream: parameters in, moments out.

    Parameters
    ----------
    stream : Stream
        The rows, user's units.
    found : Survey
        What is known of them.
    scaling : Scaling
        The change of units under which EM runs.
    workers : Workers
        Threads.
    room : int
        Bytes that packed rows may take; where they need more, every pass reads the stream again.
    """

    def __init__(self, stream: Stream, found: Survey, scaling: Scaling, workers: Workers, room: int) -> None:
        self._workers = workers
        self.total = _total(found, scaling)
        self._pack = partial(_packed, scaling=scaling, is_clean=found.is_clean)
        n_bytes = 8 * found.n_rows * (len(stream.features) + 1)
        #: Whether the packed rows are kept in memory.
        self.is_kept = n_bytes <= room
        self._rows = stream.kept(self._pack, workers) if self.is_kept else stream

    @property
    def total_weight(self) -> float:
        """Sum of the row weights."""
        return float(self.total.counts[0])

    def on(self, rows: Rows) -> Pass:
        """Return a pass over other rows that shares the threads."""
        return Pass(rows, self._workers.pool, self._workers.count)

    def sums(self, kind: int, means: Floats, factors: Floats, constants: Floats) -> Sums:
        """Add up the kernel's sums over all rows, in a fixed order."""
        return self._fold(partial(sums_of, kind=kind, means=means, factors=factors, constants=constants), Sums.plus)

    def log_certainty(self, parameters: Parameters) -> float:
        """Compute the weighted sum of log max_k r_ik over all rows, which the ICL needs (math.md, 2.4)."""
        return float(self._fold(partial(_log_certainty, parameters=parameters), add))

    def _fold(self, function: Any, combine: Any) -> Any:
        """Apply a function of packed rows to all rows, and combine the results in order."""
        of_items = function if self.is_kept else partial(_of_packed, pack_chunk=self._pack, function=function)
        return self._rows.fold(of_items, combine, self._workers)


def _packed(chunk: Chunk, scaling: Scaling, *, is_clean: bool) -> Rows:
    usable = chunk if is_clean else clean(chunk)
    weights = None if usable.weights is None else np.asarray(usable.weights, dtype=np.float64)
    return pack(StandardRows(usable.values, scaling), weights)


def _of_packed(chunk: Chunk, pack_chunk: Any, function: Any) -> Any:
    return function(pack_chunk(chunk))


def _log_certainty(rows: Rows, parameters: Parameters) -> float:
    _, responsibilities = Pass(rows).posterior(parameters)
    # Without weights of the user, there are two rows of them: those of a whole block and those of the last.
    is_weighted = rows.weights.shape[0] == rows.n_blocks
    weights = rows.weights.ravel()[: rows.n] if is_weighted else np.ones(rows.n)
    return float(weights @ np.log(responsibilities.max(axis=1)))


def _total(found: Survey, scaling: Scaling) -> Moments:
    """Return the moments of all rows in standardised units; the log-likelihood is that of the standard normal."""
    moments = found.moments
    mean = (moments.mean - scaling.shift) / scaling.scale
    scatter = moments.scatter / np.outer(scaling.scale, scaling.scale)
    squares = np.trace(scatter) + moments.weight * (mean @ mean)
    log_likelihood = -0.5 * (moments.weight * len(mean) * _LOG_2PI + squares)
    return Moments(float(log_likelihood), np.array([moments.weight]), mean[None], scatter[None])


def maximise_stream(
    data: StreamSource,
    sample: Floats,
    n_components: int,
    *,
    structure: CovarianceStructure,
    sample_weight: Floats | None = None,
    start: Mixture | None = None,
    n_starts: int = 32,
    max_iter: int = 1000,
    tol: float = 1e-10,
    reg_covar: float = 0.0,
    fixed: Fixed | None = None,
    prior: ConjugatePrior | None = None,
    max_eigenvalue_ratio: float | None = None,
    rng: np.random.Generator | None = None,
    n_threads: int | None = None,
    features: Sequence[str] = (),
    progress: Progress | None = None,
) -> EMSolution:
    """Maximise the likelihood of a Gaussian mixture on rows that are read chunk by chunk.

    Parameters
    ----------
    data : StreamSource
        The pass over all rows.
    sample : ndarray, shape (m, D)
        Random rows, standardised units, on which the optimum is searched for.
    n_components : int
        Number of components, K.
    structure : CovarianceStructure
        The covariance structure, reduced to the dimension of the data.
    sample_weight : ndarray, shape (m,), optional
        Weights of the sampled rows.
    start : Mixture, optional
        Where to start, standardised units; then this is the only start, and the sample is not looked at.
    n_starts : int, default 32
        Number of own starts.
    max_iter : int, default 1000
        Largest number of passes over the rows of a run.
    tol : float, default 1e-10
        Converged when the estimate of what is left to gain, in log-likelihood per unit of row weight, is below it.
    reg_covar : float, default 0.0
        Variance that is added to a component holding its even share of the rows, standardised units.
    fixed : Fixed, optional
        Parameters that are held, standardised units.
    prior : ConjugatePrior, optional
        A prior whose mode is sought, standardised units.
    max_eigenvalue_ratio : float, optional
        Largest ratio of two eigenvalues of the covariances.
    rng : numpy.random.Generator, optional
        Source of the own starts.
    n_threads : int, optional
        Threads of the search on the sample.
    features : sequence of str, optional
        Names of the columns, for messages.
    progress : callable, optional
        Called with (passes, log-likelihood) after every pass over all rows.

    Returns
    -------
    EMSolution
        The best optimum found, and all others that were run on all rows.

    Raises
    ------
    FitError
        When no start has positive definite covariances, or all collapse.
    """
    d = data.total.means.shape[1]
    floor = reg_covar * np.eye(d) if reg_covar > 0.0 else None
    known = Knowledge(
        fixed or Fixed(), None if prior is None else prior.terms(structure, n_components, data.total),
        max_eigenvalue_ratio,
    )  # fmt: skip
    settings = Settings(structure, max_iter=max_iter, tol=tol, prior=floor, knowledge=known)
    if not structure.is_diagonal and floor is None and not known.keeps_regular:
        refuse_collinear(data.total, int(data.total_weight) + d, structure, features)
    if start is not None:
        moments = data.moments(Parameters(start.weights, start.means, start.covariances), kernels.FULL)
        parameters = pure_or_shrunk(moments, structure, floor, known)
        finalists = [Candidate(run_em(data, parameters, settings.faithful(), progress))]
    else:
        scouted = maximise(
            sample, n_components, structure=structure, sample_weight=sample_weight, n_starts=n_starts,
            max_iter=max_iter, tol=max(tol, _SAMPLE_TOLERANCE), reg_covar=reg_covar, fixed=fixed, prior=prior,
            max_eigenvalue_ratio=max_eigenvalue_ratio, rng=rng, n_threads=n_threads, features=features,
        )  # fmt: skip
        finalists = _finalists(data, scouted, settings, progress)
    return solution_of(merged(finalists, data.total_weight), known.prior)


def _finalists(
    data: StreamSource, scouted: EMSolution, settings: Settings, progress: Progress | None
) -> list[Candidate]:
    """Run the best optima of the sample on all rows, the better ones to the end; those that collapse do not count."""
    audition = replace(settings, max_iter=min(_AUDITION_PASSES, settings.max_iter))
    final = replace(settings, n_plain=_N_PLAIN_CONTINUED)
    heard = []
    for optimum in scouted.optima[:_N_AUDITIONS]:
        mixture = optimum.mixture
        try:
            run = run_em(data, Parameters(mixture.weights, mixture.means, mixture.covariances), audition, progress)
        except np.linalg.LinAlgError:
            continue
        heard.append(Candidate(run, optimum.times_reached))
    finalists: list[Candidate] = []
    for candidate in merged(heard, data.total_weight):
        if sum(not one.run.degenerate for one in finalists) == _N_FINALISTS:
            break
        run = run_em(data, candidate.run.parameters, final, progress)
        finalists.append(replace(candidate, run=run.after(candidate.run)))
    if not finalists:
        raise FitError(
            "every optimum of the sample has singular covariances on all rows; ask for fewer components, a structure "
            "with fewer parameters, or set reg_covar"
        )
    return finalists
