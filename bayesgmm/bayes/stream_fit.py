"""`fit_bayes_stream`: what `fit_bayes` does with rows that are read chunk by chunk.

A survey checks the rows as `prepare` would, and gives their ranges, moments and a random sample. Where the sample turns
out to be all rows, the fit is an ordinary one. Otherwise the sampler goes over the chunks. The result carries the
sample in the place of the data, and says so; the log-likelihood that all rows give a draw stands in a group of its own.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pymc as pm
import xarray as xr

from bayesgmm.bayes.density import log_prior
from bayesgmm.bayes.diagnostics import warn
from bayesgmm.bayes.fit import chain_seed, describe_priors, fit_bayes, reference_fit
from bayesgmm.bayes.laplace import sample_laplace_stream
from bayesgmm.bayes.model import build_model
from bayesgmm.bayes.priors import Priors
from bayesgmm.bayes.result import posterior_fit
from bayesgmm.bayes.samplers import check_options, steps_before
from bayesgmm.bayes.streamed_gibbs import sample_gibbs_stream
from bayesgmm.bayes.streamed_rows import StreamedRows, prior_rows, row_numbers
from bayesgmm.cores import available_cores
from bayesgmm.data.chunks import Stream, Workers
from bayesgmm.data.memory import memory_for_rows
from bayesgmm.data.survey import Survey, survey
from bayesgmm.errors import ArgumentError
from bayesgmm.fit import MixtureFit
from bayesgmm.seeding import recorded_seed
from bayesgmm.structure import CovarianceStructure, as_structure

__all__ = ["STREAMED", "fit_bayes_stream"]

#: The samplers that can go over chunks.
STREAMED = ("gibbs", "laplace")

# Rows that a fit carries in the place of its data.
_ROWS_TO_SHOW = 4096
# Of the memory that rows may take, for those that are kept standardised.
_SHARE_OF_KEPT = 0.5
# Warnings point at the caller of `fit_bayes`.
_STACKLEVEL = 4


def fit_bayes_stream(
    stream: Stream,
    n_components: int,
    *,
    structure: str | CovarianceStructure,
    priors: Priors | None,
    seed: Any,
    draws: int,
    tune: int | None,
    chains: int,
    em: MixtureFit | None,
    model: pm.Model | None,
    sampler: str,
    checkpoint: Any,
    progress: bool,
    max_memory: float | None,
    **options: Any,
) -> MixtureFit:
    """Sample the posterior of a Gaussian mixture from rows that are read chunk by chunk.

    Parameters
    ----------
    stream : Stream
        The rows, from `open_stream`.
    n_components : int
        Number of components, K.
    structure : str or CovarianceStructure
        Covariance structure.
    priors : Priors or None
        Default `Priors()`, scaled to all rows.
    seed : int, Generator, RandomState or None
        Seed. Given the same `em`, draws are those of the same rows in memory, and those of any other source or cut into
        chunks, but for rounding: sums over other chunks, or added up in another order, are rounded otherwise. The same
        source with the same chunks gives the same draws to the last bit: in threads or on a cluster, whoever works on a
        chunk, and how often. What Gibbs draws for a row depends on its number; rows that ``missing="drop"`` leaves out
        have one here and none in memory, so that draws differ from those in memory.
    draws, tune, chains : int
        See `fit_bayes`.
    em : MixtureFit or None
        An EM fit of the same rows. Default: `fit_em` is called.
    model : pymc.Model or None
        A model is refused: it would have to hold the rows.
    sampler : {"gibbs", "laplace"}
        The sampler.
    checkpoint : str, Path or None
        Refused: a run over chunks leaves nothing to go on from.
    progress : bool
        Whether to show progress.
    max_memory : float or None
        Bytes that rows may take in memory. Default half of what is available.
    **options
        For the sampler.

    Returns
    -------
    MixtureFit
        The draws. ``fit.tree["observed_data"]`` holds a random sample of the rows, unless they are few.

    Raises
    ------
    DataError
        When the rows cannot be used.
    ArgumentError
        When an argument is illegal, or needs all rows in memory.
    FitError
        When "laplace" cannot be trusted.

    Warns
    -----
    SamplingWarning, LabelWarning
        See `fit_bayes`.
    """
    _check(stream, sampler, model, checkpoint, options)
    chosen, number = as_structure(structure, len(stream.features)), recorded_seed(seed)
    plan: dict[str, Any] = {
        "draws": int(draws), "tune": steps_before(sampler, tune), "chains": int(chains), "seed": chain_seed(number),
    }  # fmt: skip
    room = int(_SHARE_OF_KEPT * stream.memory(memory_for_rows(max_memory)))
    with _workers(options.pop("cores", None)) as workers:
        found = survey(stream, _ROWS_TO_SHOW, number, workers)
        found.check(stream)
        sample = found.sampled(stream)
        if sample.n_rows == found.n_rows:
            return fit_bayes(
                sample, n_components, structure=chosen, priors=priors, seed=number, draws=draws, tune=tune,
                chains=chains, em=em, sampler=sampler, progress=progress, **options,
            )  # fmt: skip
        sample.check_components(n_components)
        scaling, extremes = found.scaling(stream.about.scale, chosen), prior_rows(found, stream)
        settings = describe_priors(priors, None, extremes, chosen, n_components)
        numbers = row_numbers(stream, workers) if sampler == "gibbs" else None
        reference = reference_fit(em, stream, n_components, chosen, number, max_memory)
        model = build_model(extremes, n_components, chosen, priors)
        begun = time.perf_counter()
        rows = StreamedRows(stream, found, scaling, workers, room, numbers)
        draw = sample_gibbs_stream if sampler == "gibbs" else sample_laplace_stream
        start = scaling.mixture_to_standard(reference.mixture)
        groups = draw(rows, model, structure=chosen, start=start, progress=progress, **plan, **options)
    seconds = time.perf_counter() - begun
    log_likelihood = groups["all_rows"]["log_likelihood"] + scaling.log_jacobian * found.total_weight
    groups["all_rows"] = _all_rows(found, log_likelihood)
    of_prior = log_prior(model, groups["posterior"])
    if of_prior is not None:
        groups["log_prior"] = of_prior
    settings = {
        **plan, **settings, "sampler": sampler, "starts": "em", "scale": stream.about.scale,
        "n_dropped": found.n_incomplete, "rows": stream.about.what,
    }  # fmt: skip
    fit = posterior_fit(
        groups, prepared=sample, reference=reference, scaling=scaling, structure=chosen, method=sampler, seed=number,
        settings=settings, seconds=seconds,
    )  # fmt: skip
    warn(fit.info.diagnostics, _STACKLEVEL)
    return fit


def _check(stream: Stream, sampler: str, model: Any, checkpoint: Any, options: dict[str, Any]) -> None:
    if sampler not in STREAMED:
        named = "a sampler of your own" if sampler == "callable" else f"sampler={sampler!r}"
        raise ArgumentError(
            f"{named} needs all rows in memory, and these ({stream.about.what}) are read chunk by chunk; use "
            "sampler='gibbs' or sampler='laplace', prepare(data) where the rows fit into memory, or a sample of them: "
            "fit_em carries one (fit_em(...).prepared)"
        )
    if model is not None:
        raise ArgumentError(
            "a model holds all rows in memory, and these are read chunk by chunk; pass priors instead of model"
        )
    if checkpoint is not None:
        raise ArgumentError(
            f"checkpoint={str(checkpoint)!r}: runs over rows that are read chunk by chunk leave nothing to go on from; "
            "leave it out"
        )
    check_options(sampler, options)


@contextmanager
def _workers(cores: int | None) -> Iterator[Workers]:
    count = cores or available_cores()
    if count == 1:
        yield Workers()
        return
    with ThreadPoolExecutor(count) as pool:
        yield Workers(pool, count)


def _all_rows(found: Survey, log_likelihood: xr.DataArray) -> xr.Dataset:
    """Return what is known of all rows, beside the sample that the fit carries."""
    known = {"n_rows": found.n_read - found.n_incomplete, "effective_rows": found.total_weight}
    return xr.Dataset({**known, "log_likelihood": log_likelihood})
