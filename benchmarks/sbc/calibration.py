"""Many replications of many cells in a few processes, and what they say together.

A cell is a structure and an engine. All engines see the same truths and the same rows, slow ones a part of them. An
engine that refuses rows leaves them out: given the rows, the truth is a draw of the posterior whatever the engine
thinks of it, so that the rest is as uniform as the whole.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from multiprocessing import get_context
from typing import NamedTuple

import arviz as az
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.bayes.conjugate_model import CONJUGATE
from bayesgmm.bayes.samplers import SAMPLERS
from bayesgmm.structure import as_structure
from benchmarks.sbc.engines import PLANS, compiled_once, posterior_draws
from benchmarks.sbc.problems import Truths, draw_truths, problem_of
from benchmarks.sbc.ranks import QUANTITIES, pit_values, quantities, thinned_by_worth

__all__ = ["APPROXIMATE", "Cell", "calibrate", "cells", "p_values", "run_chunk"]

Floats = NDArray[np.float64]

#: Engines that say themselves that they are approximate: they show what the others must not look like.
APPROXIMATE = ("pathfinder", "advi")

_CHUNK = 20
_SEED = 20261122


class Cell(NamedTuple):
    """What a structure and an engine have shown."""

    structure: str
    engine: str
    pit: Floats  # (replications, quantities)
    worth: Floats  # (replications,), effective draws of the log-likelihood
    n_draws: int
    n_refused: int

    @property
    def name(self) -> str:
        """What the cell is called in tables and pictures."""
        return f"{self.structure}, {self.engine}"


def cells(structures: Sequence[str], engines: Sequence[str]) -> list[tuple[str, str]]:
    """Return the structures and the engines that have them; of an approximate one, the first structure will do."""
    unknown = set(engines) - set(SAMPLERS)
    if unknown:
        raise ValueError(f"there is no engine {min(unknown)!r}")
    return [
        (structure, engine)
        for structure in structures
        for engine in engines
        if (engine != "gibbs" or as_structure(structure, 2).code in CONJUGATE)
        and (engine not in APPROXIMATE or structure == structures[0])
    ]


def run_chunk(structure: str, engine: str, truths: Truths, seed: int) -> tuple[Floats, Floats, int]:
    """Return PIT values, effective draws of the log-likelihood, and draws of some replications; NaN where refused."""
    problem, rng = problem_of(structure), np.random.default_rng(seed)
    pit, worth = np.full((len(truths.rows), len(QUANTITIES)), np.nan), np.full(len(truths.rows), np.nan)
    n_draws = 0
    with compiled_once():
        for j, rows in enumerate(truths.rows):
            draws = posterior_draws(problem, rows, engine, int(rng.integers(2**31)))
            if draws is None:
                continue
            n_draws = draws.n_mixtures
            found = quantities(draws.flatten(), rows)
            worth[j] = az.ess(found[:, 0].reshape(draws.batch_shape), method="mean")
            if PLANS[engine].by_worth:
                found = thinned_by_worth(found)
            pit[j] = pit_values(quantities(truths.mixtures[j : j + 1], rows)[0], found, rng)
    return pit, worth, n_draws


def calibrate(
    wanted: Sequence[tuple[str, str]], replications: int, *, n_processes: int = 2, seed: int = _SEED
) -> Iterator[Cell]:
    """Run all replications of all cells; a cell is given back as soon as it is done."""
    with ProcessPoolExecutor(n_processes, mp_context=get_context("spawn")) as pool:
        for structure, group in groupby(wanted, key=lambda cell: cell[0]):
            truths = draw_truths(structure, replications, seed)
            started = {
                engine: [
                    pool.submit(run_chunk, structure, engine, part, seed + 1 + j)
                    for j, part in enumerate(_chunks(truths, round(PLANS[engine].share * replications)))
                ]
                for _, engine in group
            }
            for engine, futures in started.items():
                parts = [future.result() for future in futures]
                pit, worth = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
                refused = np.isnan(pit).any(axis=1)
                n_draws = max(part[2] for part in parts)
                yield Cell(structure, engine, pit[~refused], worth[~refused], n_draws, int(refused.sum()))


def _chunks(truths: Truths, size: int) -> Iterator[Truths]:
    for first in range(0, size, _CHUNK):
        part = slice(first, min(first + _CHUNK, size))
        yield Truths(truths.mixtures[part], truths.rows[part])


def p_values(pit: Floats) -> Floats:
    """Return for each quantity the p-value of a uniform distribution (POT-C, `arviz_stats`)."""
    values = xr.Dataset({"pit": (("quantity", "draw"), pit.T)})
    return np.asarray(values.azstats.uniformity_test(dim="draw", method="pot_c")[0]["pit"])
