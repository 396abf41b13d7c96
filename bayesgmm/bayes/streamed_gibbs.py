"""Gibbs sampling of rows that are read chunk by chunk: the sweep is a map over chunks and a sum of what labels count.

The parameters of all chains go to the chunks; counts, sums and squares come back, a few numbers for each component, and
the parameters are drawn from them here. Labels are drawn where the rows are, and never leave: what is drawn for a row
depends on seed, chain, sweep and the number of the row, on nothing that a worker holds. So a chunk may be worked on
anywhere and, where a worker is lost, again.
"""

from functools import partial

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.bayes.chain_threads import check_count
from bayesgmm.bayes.conjugate_model import CONJUGATE, read_prior
from bayesgmm.bayes.gibbs import groups_of, random_streams, start_parameters
from bayesgmm.bayes.gibbs_chains import Draws, room_for
from bayesgmm.bayes.on_chunks import LabelSums, count_labels
from bayesgmm.bayes.streamed_rows import StreamedRows
from bayesgmm.errors import ArgumentError
from bayesgmm.kernels.conditionals import Parameters, Prior, draw_parameters
from bayesgmm.kernels.labels import label_key
from bayesgmm.mixture import Mixture
from bayesgmm.progress import progress_bar
from bayesgmm.structure import CovarianceStructure

__all__ = ["sample_gibbs_stream"]

Floats = NDArray[np.float64]


def sample_gibbs_stream(
    rows: StreamedRows,
    model: pm.Model,
    *,
    structure: CovarianceStructure,
    start: Mixture,
    draws: int,
    tune: int,
    chains: int,
    seed: int,
    progress: bool = False,
    thin: int = 1,
) -> dict[str, xr.Dataset]:
    """Sample the posterior of a Gaussian mixture by blocked Gibbs, from rows that are read chunk by chunk.

    Parameters
    ----------
    rows : StreamedRows
        The rows, numbered.
    model : pymc.Model
        Made by `build_model` of `prior_rows`, and not changed.
    structure : CovarianceStructure
        The structure that it was made for.
    start : Mixture
        A single mixture, standardised units. Each chain draws its first labels from it.
    draws, tune, chains : int
        Draws kept and draws thrown away before them in each chain; number of chains, which sweep side by side.
    seed : int
        Seed. Draws are those of `sample_gibbs` with the same seed from the same rows in memory, but for rounding, since
        sums over other chunks are rounded otherwise. From the same chunks, added up in the same order, they are equal
        to the last bit, whoever works on them.
    progress : bool, default False
        Whether to show progress.
    thin : int, default 1
        Sweeps for each draw.

    Returns
    -------
    dict of str to Dataset
        Groups ``posterior`` and ``sample_stats`` as those of `sample_gibbs`, and ``all_rows``: the log-likelihood of
        each draw, standardised units.

    Raises
    ------
    ArgumentError
        When the model is not conjugate, or `thin` is not a positive number.
    KeyboardInterrupt
        When sampling is interrupted before the first draw; later, the draws made so far are returned.

    Notes
    -----
    math.md, 10.1 to 10.3 and 10.7. A sweep of all chains is one pass over the rows.
    """
    _check_conditionals(model, structure)
    prior, thin = read_prior(model, structure), check_count("thin", thin)
    sampler = _Sampler(rows, prior, model["concentration"].get_value(), start, chains, seed)
    found = [room_for(draws, sampler.here(chain)) for chain in range(chains)]
    made = 0
    with progress_bar(progress=progress) as bar:
        task = bar.add_task("sampling", total=tune + draws)
        try:
            for draw in range(-tune, draws):
                for sweep in range(thin):
                    sampler.sweep(found if draw >= 0 and sweep == 0 else [], draw)
                made = max(0, draw + 1)
                bar.update(task, advance=1)
        except KeyboardInterrupt:
            if made == 0:
                raise KeyboardInterrupt("sampling was interrupted before the first draw") from None
    parts = [chain.part(0, made) for chain in found]
    features = tuple(map(str, model.coords["feature"]))
    groups = groups_of(parts, prior, sampler.concentration, features, (chains, draws))
    log_likelihood = np.stack([part.log_likelihood for part in parts])
    return groups | {"all_rows": xr.Dataset({"log_likelihood": (("chain", "draw"), log_likelihood)})}


def _check_conditionals(model: pm.Model, structure: CovarianceStructure) -> None:
    """Refuse what has no exact conditionals, in words that can be followed where not all rows are in memory."""
    if structure.code not in CONJUGATE:
        raise ArgumentError(
            f"sampler='gibbs' has no exact conditionals for structure {structure}; use sampler='laplace', or one of "
            f"{', '.join(CONJUGATE)}"
        )
    if "precisions" not in {variable.name for variable in model.free_RVs}:
        raise ArgumentError(
            "sampler='gibbs' has exact conditionals for inverse Wishart covariances only; use "
            "Priors(covariance='wishart') or sampler='laplace'"
        )


class _Sampler:
    """Chains that sweep side by side."""

    def __init__(
        self, rows: StreamedRows, prior: Prior, concentration: Floats, start: Mixture, chains: int, seed: int
    ) -> None:
        self._rows, self._prior, self.concentration = rows, prior, concentration
        self._parameters = Parameters(*(np.stack([values] * chains) for values in start_parameters(start, prior)))
        self._streams = [random_streams(seed, chain) for chain in range(chains)]

    def here(self, chain: int) -> Parameters:
        """Return where a chain stands; it shares the memory."""
        return Parameters(*(values[chain] for values in self._parameters))

    def sweep(self, kept: list[Draws], draw: int) -> None:
        """Draw labels, then parameters; note the parameters before that, with what labels say of them."""
        keys = np.array([label_key(stream[0]) for stream in self._streams], dtype=np.uint64)
        count = partial(count_labels, parameters=self._parameters, keys=keys, is_diagonal=self._prior.is_diagonal)
        sums = self._rows.fold(count, LabelSums.plus)
        for chain, room in enumerate(kept):
            for values, here in zip(room.parameters[:3], self.here(chain)[:3], strict=True):
                values[draw] = here
            room.log_likelihood[draw] = sums.log_likelihood[chain]
            room.n_filled[draw] = np.count_nonzero(sums.s0[chain])
        for chain, streams in enumerate(self._streams):
            counted = sums.s0[chain], sums.s1[chain], sums.s2[chain]
            draw_parameters(self._prior, self.concentration, *counted, self.here(chain), streams[1])
