"""`fit_stream`: what `fit_em` does with rows that are read chunk by chunk.

The first pass surveys the rows: it checks them as `prepare` would, and gives their moments and a random sample. Where
the sample turns out to be all rows, the fit is an ordinary one. Otherwise the result carries a small sample in the
place of the data, and says so; what it knows of all rows (their number, the log-likelihood, how certain the allocation
is) stands in a group of its own.
"""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from bayesgmm.cores import available_cores
from bayesgmm.data import Scaling
from bayesgmm.data.chunks import Stream, Workers
from bayesgmm.data.memory import memory_for_rows
from bayesgmm.data.survey import Survey, survey
from bayesgmm.em.arguments import check_bound, positive, read_fixed, read_prior, standard_start, whole
from bayesgmm.em.conjugate import ConjugatePrior
from bayesgmm.em.fit import fit_em
from bayesgmm.em.loop import passes_shown
from bayesgmm.em.result import Told, point_fit
from bayesgmm.em.statistics import Parameters
from bayesgmm.em.streamed import StreamSource, maximise_stream
from bayesgmm.errors import ArgumentError
from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import Mixture
from bayesgmm.seeding import as_generator, recorded_seed
from bayesgmm.structure import CovarianceStructure, as_structure

__all__ = ["fit_stream"]

# Rows of the sample that is searched: so many, and so many times the number of parameters; never fewer than the others.
_SAMPLE_ROWS, _SAMPLE_ROWS_PER_PARAMETER = 100_000, 200
_FEWEST_ROWS, _FEWEST_ROWS_PER_PARAMETER = 2_000, 10
# While the sample is drawn and searched there are so many copies of it, and it may have this share of the memory.
_COPIES_OF_SAMPLE, _SHARE_OF_SAMPLE = 6, 0.5
# Packed rows may have this share.
_SHARE_OF_PACKED = 0.5
# Rows that a fit carries in the place of its data.
_ROWS_TO_SHOW = 4096


def fit_stream(
    stream: Stream,
    n_components: int,
    *,
    structure: str | CovarianceStructure = "full",
    seed: Any = None,
    start: Mixture | MixtureFit | ArrayLike | None = None,
    n_starts: int = 32,
    max_iter: int = 1000,
    tol: float = 1e-10,
    reg_covar: float = 0.0,
    fix: Mapping[str, ArrayLike] | None = None,
    prior: ConjugatePrior | str | None = None,
    max_eigenvalue_ratio: float | None = None,
    n_threads: int | None = None,
    max_memory: float | None = None,
    progress: bool = False,
) -> MixtureFit:
    """Fit a Gaussian mixture by maximum likelihood to rows that are read chunk by chunk.

    Parameters
    ----------
    stream : Stream
        The rows, from `open_stream`.
    n_components : int
        Number of components, K.
    structure : str or CovarianceStructure, default "full"
        Covariance structure.
    seed : int, Generator or RandomState, optional
        Source of the sample and of the starts.
    start : Mixture or MixtureFit, optional
        Where to start: parameters in the user's units. Then this is the only start. Anything else is refused.
    n_starts : int, default 32
        Number of own starts.
    max_iter : int, default 1000
        Largest number of passes over the rows of a run.
    tol : float, default 1e-10
        Converged when the estimate of what is left to gain, in log-likelihood per unit of row weight, is below it.
    reg_covar : float, default 0.0
        Variance that is added to a component holding its even share of the rows, standardised units.
    fix : mapping of str to array_like, optional
        Parameters that are held, user's units; see `fit_em`.
    prior : ConjugatePrior or "default", optional
        A conjugate prior; see `fit_em`.
    max_eigenvalue_ratio : float, optional
        Largest ratio of two variances; see `fit_em`.
    n_threads : int, optional
        Threads; no influence on the result. Default: all cores.
    max_memory : float, optional
        Bytes that rows may take in memory: the sample that is searched, and the packed rows where all of them fit.
        Default half of what is available. It has no influence on the result but through the size of the sample.
    progress : bool, default False
        Whether to show how many passes over the rows there have been.

    Returns
    -------
    MixtureFit
        The estimate. ``fit.tree["observed_data"]`` holds a random sample of the rows, unless they are few.

    Raises
    ------
    DataError
        When the rows cannot be used.
    ArgumentError
        When an argument is illegal, or needs all rows in memory.
    FitError
        When no start led to positive definite covariances.
    """
    limits: dict[str, Any] = {
        "n_starts": whole("n_starts", n_starts), "max_iter": whole("max_iter", max_iter),
        "tol": positive("tol", tol), "reg_covar": positive("reg_covar", reg_covar, or_zero=True),
    }  # fmt: skip
    k = whole("n_components", n_components)
    chosen = as_structure(structure, len(stream.features))
    number, room, begun = recorded_seed(seed), memory_for_rows(max_memory), time.perf_counter()
    told: dict[str, Any] = {"fix": fix, "prior": prior, "max_eigenvalue_ratio": max_eigenvalue_ratio}
    n_sample = _sample_size(chosen.n_parameters(k, len(stream.features)), len(stream.features), room)
    with _workers(None if n_threads is None else whole("n_threads", n_threads)) as workers:
        found = survey(stream, n_sample, number, workers)
        found.check(stream)
        sample = found.sampled(stream)
        if sample.n_rows == found.n_rows:
            return fit_em(
                sample, k, structure=chosen, seed=number, start=start, n_threads=n_threads, progress=progress,
                **limits, **told
            )  # fmt: skip
        sample.check_components(k)
        scaling = found.scaling(stream.about.scale, chosen)
        fixed = read_fixed(fix, chosen, scaling, k)
        bound = check_bound(max_eigenvalue_ratio, chosen, fixed)
        data = StreamSource(stream, found, scaling, workers, int(_SHARE_OF_PACKED * stream.memory(room)))
        with passes_shown(progress=progress) as tell:
            solution = maximise_stream(
                data, scaling.standardize(sample.values), k, structure=chosen, sample_weight=sample.sample_weight,
                start=_mixture_start(start, scaling, sample, k), fixed=fixed.to_standard(scaling),
                prior=read_prior(prior, scaling, limits["reg_covar"], fixed), max_eigenvalue_ratio=bound,
                rng=as_generator(number), n_threads=n_threads, features=stream.features, progress=tell, **limits,
            )  # fmt: skip
        best = solution.mixture
        log_certainty = data.log_certainty(Parameters(best.weights, best.means, best.covariances))
    settings = limits | {"scale": stream.about.scale, "n_dropped": found.n_incomplete, "rows": stream.about.what}
    settings |= {"start": "own"} if start is None else {"start": "given", "n_starts": 1}
    offset = -found.total_weight * float(np.log(scaling.scale).sum())
    return point_fit(
        solution, found.sampled(stream, _ROWS_TO_SHOW), scaling, chosen, told=Told(fixed, bound), seed=number,
        settings=settings, begun=begun, offset=offset,
        groups={"all_rows": _all_rows(found, solution.log_likelihood + offset, log_certainty)},
    )  # fmt: skip


@contextmanager
def _workers(n_threads: int | None) -> Iterator[Workers]:
    count = n_threads or available_cores()
    if count == 1:
        yield Workers()
        return
    with ThreadPoolExecutor(count) as pool:
        yield Workers(pool, count)


def _sample_size(n_parameters: int, n_features: int, room: int) -> int:
    """Return how many rows to draw: what a search can use, where the memory allows it."""
    wanted = max(_SAMPLE_ROWS, _SAMPLE_ROWS_PER_PARAMETER * n_parameters)
    fewest = max(_FEWEST_ROWS, _FEWEST_ROWS_PER_PARAMETER * n_parameters)
    allowed = int(_SHARE_OF_SAMPLE * room) // (8 * (n_features + 2) * _COPIES_OF_SAMPLE)
    return max(fewest, min(wanted, allowed))


def _mixture_start(start: Any, scaling: Scaling, sample: Any, k: int) -> Mixture | None:
    """Return a start in standardised units; one that has an entry for each row is refused."""
    if start is not None and not isinstance(start, Mixture | MixtureFit):
        raise ArgumentError(
            f"start is {type(start).__name__}; rows that are read chunk by chunk start from a Mixture or a MixtureFit"
        )
    found = standard_start(start, scaling, sample, sample, k, "error")
    return found if isinstance(found, Mixture) else None


def _all_rows(found: Survey, log_likelihood: float, log_certainty: float) -> xr.Dataset:
    """Return what is known of all rows, beside the sample that the fit carries."""
    known = {
        "n_rows": found.n_read - found.n_incomplete,
        "effective_rows": found.total_weight,
        "log_likelihood": log_likelihood,
        "log_certainty": log_certainty,
    }
    return xr.Dataset(known)
