"""The search for the best optimum: many starts, short runs, the better ones longer, moves, the best to the end.

A likelihood of a mixture has many optima. Every start makes a few passes, the better quarter makes more (successive
halving); then split-and-merge moves try to leave the best one, and the few best distinct ones are run to convergence.
On large data all rounds but the last see a sample of the rows. Runs that meet are merged and counted, so that an
optimum is known by how often it was reached. An optimum at which a component has collapsed never wins over one that is
sound; where many runs collapse, the search is made again under a weak prior that keeps it away from spikes.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from bayesgmm.em.loop import Progress, Run, Settings, run_em
from bayesgmm.em.moves import split_and_merge
from bayesgmm.em.rows import StandardRows, merge_repeated, pack
from bayesgmm.em.starts import (
    SINGULAR_START,
    fixed_labels,
    moments_of_labels,
    pure_or_shrunk,
    random_labels,
    start_from,
)
from bayesgmm.em.statistics import Moments, Source
from bayesgmm.errors import FitError

__all__ = ["Candidate", "merged", "search"]

Floats = NDArray[np.float64]

_SHORT_RUN = 10
_LONGER_RUN = 40
_FAITHFUL_RUN = 300
_MANY_STARTS = 8
_N_FINALISTS = 3
# After so many passes a run is compared with those that have converged.
_LEG = 40
_N_PLAIN_CONTINUED = 3
# Rounds of moves, at most, and proposals per round as a share of the number of starts.
_MAX_MOVES = 6
_PROPOSALS_PER_START = 0.75
_LEAST_GAIN = 1e-4
# Where so many runs collapse, the rounds are made again with a prior: this share of the variance that a component has
# when K of them fill the data evenly.
_MANY_SPIKES = 0.2
_SCOUTING_VARIANCE = 3e-2
# Rows of the first rounds: so many, and so many times the number of parameters. On a sample, optima that fit its noise
# look best; so more candidates than will be run to the end make a few passes over all rows first.
_SAMPLE_ROWS = 10_000
_SAMPLE_ROWS_PER_PARAMETER = 50
_N_AUDITIONS = 12
# Runs meet when their components match to this fraction of a standard deviation and log weight.
_SAME_COMPONENT = 0.05
_SAME_LOG_LIKELIHOOD = 1e-6


@dataclass(frozen=True)
class Candidate:
    """A run, the number of starts that it stands for, and the traces of the runs that were bound for the same end."""

    run: Run
    times_reached: int = 1
    joined: tuple[tuple[float, ...], ...] = ()

    @property
    def traces(self) -> tuple[tuple[float, ...], ...]:
        """Log-likelihood after every iteration of the run, and of those that joined it."""
        return (self.run.trace, *self.joined)

    @property
    def rank(self) -> tuple[bool, float]:
        """Sort key: sound before degenerate, then decreasing objective."""
        return bool(self.run.degenerate), -self.run.objective


def search(
    Z: Floats | StandardRows,
    n_components: int,
    weights: Floats | None,
    data: Source,
    settings: Settings,
    generators: list[np.random.Generator],
    progress: Progress | None = None,
) -> tuple[list[Candidate], list[Candidate]]:
    """Run a start for every generator by successive halving.

    Parameters
    ----------
    Z : ndarray or StandardRows, shape (n, D)
        Rows, standardised units.
    n_components : int
        Number of components, K.
    weights : ndarray, shape (n,), optional
        Positive row weights.
    data : Source
        The pass over all these rows.
    settings : Settings
        Structure and stopping rule.
    generators : list of numpy.random.Generator
        One per start.
    progress : callable, optional
        Called with (passes, log-likelihood) in the last round.

    Returns
    -------
    finalists : list of Candidate
        The runs that went to the end.
    left : list of Candidate
        Runs over all rows that were left behind.

    Raises
    ------
    FitError
        When no start has positive definite covariances, or all collapse at once.
    """
    rows, row_weights, scout = _scout(Z, n_components, weights, data, settings, generators[0])
    fixed = fixed_labels(rows, n_components, row_weights, generators[0]) if len(generators) >= _MANY_STARTS else []
    drawn = [
        random_labels(rows, n_components, row_weights, number, generator)
        for number, generator in enumerate(generators[len(fixed) :])
    ]
    told = settings.knowledge
    ours, starts = (
        [told.arranged(moments_of_labels(rows, labels, n_components, row_weights)) for labels in partitions]
        for partitions in (fixed, drawn)
    )
    from_labels = told.labelled_start(scout.total)
    ours += [] if from_labels is None else [from_labels]
    careful = replace(settings, prior=_scouting_prior(settings.prior, scout.total, n_components))
    final = replace(settings, n_plain=_N_PLAIN_CONTINUED)
    audition = replace(settings, max_iter=min(_SHORT_RUN, settings.max_iter))
    finalists: list[Candidate] = []
    left: list[Candidate] = []
    known = _faithful_runs(scout, ours, settings)
    for scouting in (settings, careful):
        better, others = _scouted(rows, row_weights, scout, starts, scouting, generators)
        entrants = [*better, *others, *([] if finalists else known)]
        if scout is not data:
            entrants, _ = _round(data, entrants, _N_AUDITIONS, audition, is_same_rows=False)
        ended, behind = _round(data, entrants, _N_FINALISTS, final, progress=progress)
        finalists += ended
        left += behind
        if np.mean([bool(one.run.degenerate) for one in [*better, *ended]]) < _MANY_SPIKES:
            break
    if not finalists:
        raise FitError(
            f"all {len(generators)} starts collapsed on a few rows; ask for fewer components, a structure with fewer "
            "parameters, or set reg_covar"
        )
    return finalists, left


def _faithful_runs(data: Source, starts: list[Moments], settings: Settings) -> list[Candidate]:
    """Run starts that need no luck to where plain EM leads from them."""
    faithful = replace(settings.faithful(), max_iter=min(_FAITHFUL_RUN, settings.max_iter))
    return [
        Candidate(
            run_em(data, pure_or_shrunk(moments, settings.structure, settings.prior, settings.knowledge), faithful)
        )
        for moments in starts
    ]


def _scouted(
    rows: Floats,
    weights: Floats | None,
    scout: Source,
    starts: list[Moments],
    settings: Settings,
    generators: list[np.random.Generator],
) -> tuple[list[Candidate], list[Candidate]]:
    """Make the rounds before the last one; return the candidates that went through them, and the others."""
    first = _short_runs(scout, starts, settings)
    if not first:
        raise FitError(SINGULAR_START)
    better, others = _round(scout, first, max(_N_FINALISTS, len(starts) // 4), _longer(settings))
    if starts[0].counts.size > 2:
        better = _with_moves(rows, weights, scout, better, settings, generators)
    return better, others


def _scouting_prior(prior: Floats | None, total: Moments, n_components: int) -> Floats:
    """Return a weak prior that keeps the first rounds from running into spikes."""
    d = total.means.shape[1]
    weak = _SCOUTING_VARIANCE * n_components ** (-2.0 / d) * total.scatters[0] / total.counts[0]
    return weak if prior is None else weak + prior


def _longer(settings: Settings) -> Settings:
    return replace(settings, max_iter=min(_LONGER_RUN, settings.max_iter), n_plain=_N_PLAIN_CONTINUED)


def _scout(
    Z: Floats | StandardRows,
    n_components: int,
    weights: Floats | None,
    data: Source,
    settings: Settings,
    rng: np.random.Generator,
) -> tuple[Floats, Floats | None, Source]:
    """Return the rows, weights and pass of the first rounds: a sample where there are many rows."""
    n = len(Z)
    n_parameters = settings.structure.n_parameters(n_components, Z.shape[1])
    size = max(_SAMPLE_ROWS, _SAMPLE_ROWS_PER_PARAMETER * n_parameters)
    if n <= 2 * size:
        # Weights are repeated rows then, and the order of rows means nothing.
        rows, row_weights = merge_repeated(np.asarray(Z), weights)
        return (rows, row_weights, data) if len(rows) >= n_components else (np.asarray(Z), weights, data)
    chosen = np.sort(rng.choice(n, size=size, replace=False))
    rows, row_weights = Z[chosen], None if weights is None else weights[chosen]
    return rows, row_weights, data.on(pack(rows, row_weights))


def _short_runs(data: Source, starts: list[Moments], settings: Settings) -> list[Candidate]:
    """Make a few passes from every start that has positive definite covariances."""
    short = replace(settings, max_iter=min(_SHORT_RUN, settings.max_iter))
    candidates = []
    for moments in starts:
        try:
            parameters = start_from(
                moments, settings.structure, prior=settings.prior, shrunk=True, knowledge=settings.knowledge
            )
            candidates.append(Candidate(run_em(data, parameters, short)))
        except np.linalg.LinAlgError:
            continue
    return candidates


def _with_moves(
    Z: Floats,
    weights: Floats | None,
    data: Source,
    candidates: list[Candidate],
    settings: Settings,
    generators: list[np.random.Generator],
) -> list[Candidate]:
    """Return the candidates and what split-and-merge moves made of the best, as long as they gain."""
    n_proposals = int(_PROPOSALS_PER_START * len(generators))
    n_kept = max(1, n_proposals // 4)
    for _ in range(_MAX_MOVES if n_proposals else 0):
        best = min(candidates, key=lambda one: one.rank)
        if best.run.degenerate:
            break
        proposals = split_and_merge(Z, weights, best.run.parameters.to_mixture(), n_proposals, generators[0])
        starts = [settings.knowledge.arranged(moments) for moments in proposals]
        moved, _ = _round(data, _short_runs(data, starts, settings), n_kept, _longer(settings))
        candidates = [*candidates, *moved]
        if not any(one.run.objective > best.run.objective + _LEAST_GAIN for one in moved if not one.run.degenerate):
            break
    return candidates


def _round(
    data: Source,
    candidates: list[Candidate],
    n_kept: int,
    settings: Settings,
    *,
    is_same_rows: bool = True,
    progress: Progress | None = None,
) -> tuple[list[Candidate], list[Candidate]]:
    """Continue the best distinct candidates until so many have come out sound; return those, and the ones not reached.

    A candidate that collapses does not count and makes room for the next in line.
    """
    continued: list[Candidate] = []
    waiting = merged(candidates, data.total_weight)
    while waiting and sum(not one.run.degenerate for one in continued) < n_kept:
        candidate = waiting.pop(0)
        if candidate.run.degenerate and is_same_rows:
            continued.append(candidate)
            continue
        try:
            run = _run_on(data, candidate.run, continued, settings, progress)
        except np.linalg.LinAlgError:
            continue
        continued.append(
            replace(candidate, run=run.after(candidate.run))
            if is_same_rows
            else Candidate(run, candidate.times_reached)  # traces on a sample are of another likelihood
        )
    return continued, waiting


def _run_on(data: Source, earlier: Run, done: list[Candidate], settings: Settings, progress: Progress | None) -> Run:
    """Continue a run, but not to the end when it is about to meet one that is there already."""
    leg = run_em(data, earlier.parameters, replace(settings, max_iter=min(_LEG, settings.max_iter)), progress)
    is_over = leg.converged or leg.degenerate or settings.max_iter <= _LEG
    ends = [one.run for one in done if one.run.converged and one.run.objective >= leg.objective]
    if is_over or any(_is_same(leg, end, data.total_weight) for end in ends):
        return leg
    rest = replace(settings, max_iter=settings.max_iter - leg.n_passes)
    return run_em(data, leg.parameters, rest, progress).after(leg)


def merged(candidates: list[Candidate], total_weight: float) -> list[Candidate]:
    """Find the distinct candidates, best first, each with the number of starts that led to it."""
    distinct: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda one: one.rank):
        for position, other in enumerate(distinct):
            if _is_same(candidate.run, other.run, total_weight):
                times_reached = other.times_reached + candidate.times_reached
                distinct[position] = replace(other, times_reached=times_reached, joined=other.joined + candidate.traces)
                break
        else:
            distinct.append(candidate)
    return distinct


def _is_same(first: Run, second: Run, total_weight: float) -> bool:
    """Whether two runs are at one optimum, or so close that they are bound for the same."""
    if bool(first.degenerate) != bool(second.degenerate):
        return False
    is_final = first.converged and second.converged
    if is_final and abs(first.objective - second.objective) > _SAME_LOG_LIKELIHOOD * total_weight:
        return False
    a, b = first.parameters, second.parameters
    sds = np.sqrt(np.diagonal(a.covariances, axis1=1, axis2=2))
    gaps = (np.abs(a.means[:, None] - b.means) / sds[:, None]).max(axis=2)
    gaps = np.maximum(gaps, np.abs(np.log(a.weights)[:, None] - np.log(b.weights)))
    sizes = np.log(np.diagonal(a.covariances, axis1=1, axis2=2))[:, None]
    gaps = np.maximum(gaps, np.abs(sizes - np.log(np.diagonal(b.covariances, axis1=1, axis2=2))).max(axis=2))
    gaps = np.minimum(gaps, 1e6)
    rows, columns = linear_sum_assignment(gaps)
    return bool(gaps[rows, columns].max() < _SAME_COMPONENT)
