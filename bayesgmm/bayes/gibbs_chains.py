"""The chains of a Gibbs sampler: their draws, where each stands, and both as a dataset that a run goes on from.

A chain runs in a thread of its own, in batches of sweeps. After each batch its standing (the parameters, the random
streams, how many sweeps it has made) is replaced as a whole, so that another thread can write down at any time a state
that belongs together; draws that have been made are not touched again. From such a state a chain goes on bit for bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.kernels.conditionals import Parameters

__all__ = ["Chain", "Draws", "Standing", "chains_of", "padded", "read_standing", "room_for", "state_of",
           "write_standings"]  # fmt: skip

Floats = NDArray[np.float64]

_DRAWN = {
    "log_weights": ("component",),
    "means": ("component", "feature"),
    "factors": ("component", "feature", "feature_bis"),
}
_SCALE = ("scale_row", "scale_column")
_NUMBERS = ("log_likelihood", "n_filled", "acceptance")
# In states from before weights could have fractional parts: every sweep was taken.
_NOT_RECORDED = {"acceptance": 1.0}


class Draws(NamedTuple):
    """Room for the draws of a chain.

    Parameters
    ----------
    parameters : Parameters
        With a leading dimension, the draws; without the scale matrix.
    log_likelihood : ndarray, shape (draws,)
        Of each.
    n_filled : ndarray of int, shape (draws,)
        Components with rows.
    acceptance : ndarray, shape (draws,)
        The share of sweeps that were taken.
    """

    parameters: Parameters
    log_likelihood: Floats
    n_filled: NDArray[np.int64]
    acceptance: Floats

    def part(self, first: int, size: int) -> "Draws":
        """Return the places of some draws, to be read or filled in."""
        chosen = slice(first, first + size)
        places = Parameters(*(values[chosen] for values in self.parameters))
        return Draws(places, self.log_likelihood[chosen], self.n_filled[chosen], self.acceptance[chosen])


class Standing(NamedTuple):
    """Where a chain stands between two batches.

    Parameters
    ----------
    tuned, made : int
        Draws thrown away and draws kept so far.
    parameters : Parameters
        Where it is.
    streams : ndarray of uint64, shape (streams, 4)
        Its random numbers.
    """

    tuned: int
    made: int
    parameters: Parameters
    streams: NDArray[np.uint64]

    def copy(self) -> "Standing":
        """Return one that shares no array with this one."""
        copied = Parameters(*(values.copy() for values in self.parameters))
        return Standing(self.tuned, self.made, copied, self.streams.copy())


@dataclass
class Chain:
    """A chain.

    Parameters
    ----------
    draws : Draws
        Room for all draws that it shall make.
    standing : Standing
        Where it stands; replaced, never changed.
    """

    draws: Draws
    standing: Standing


def room_for(count: int, parameters: Parameters) -> Draws:
    """Make room for draws; the scale matrix is not kept."""
    log_weights, means, factors = (np.empty((count, *values.shape)) for values in parameters[:3])
    kept = Parameters(log_weights, means, factors, np.empty((0, 0, 0)))
    return Draws(kept, np.empty(count), np.empty(count, dtype=np.int64), np.empty(count))


def state_of(chains: list[Chain]) -> xr.Dataset:
    """Write down chains as they stand, while they may be running.

    Parameters
    ----------
    chains : list of Chain
        The chains.

    Returns
    -------
    Dataset
        ``made`` and ``tuned`` (chain,), their draws, and what is under ``at_...``: where each stands.
    """
    standings = [chain.standing for chain in chains]
    contents = write_standings(standings)
    longest = max(standing.made for standing in standings)
    if longest == 0:  # Zarr has no arrays without elements
        return xr.Dataset(contents)
    made = [chain.draws.part(0, standing.made) for chain, standing in zip(chains, standings, strict=True)]
    for j, (name, dims) in enumerate(_DRAWN.items()):
        contents[name] = (("chain", "kept", *dims), padded([part.parameters[j] for part in made], longest))
    for name in _NUMBERS:
        contents[name] = (("chain", "kept"), padded([getattr(part, name) for part in made], longest))
    return xr.Dataset(contents)


def chains_of(state: xr.Dataset, draws: int) -> list[Chain]:
    """Return the chains that `state_of` wrote down.

    Parameters
    ----------
    state : Dataset
        What it returned.
    draws : int
        Draws that each chain shall make in all.

    Returns
    -------
    list of Chain
        The chains, where they stood.
    """
    return [_chain_of(state.isel(chain=chain), draws) for chain in range(state.sizes["chain"])]


def _chain_of(state: xr.Dataset, draws: int) -> Chain:
    standing = read_standing(state)
    room = room_for(draws, standing.parameters)
    if standing.made:
        part = room.part(0, standing.made)
        names, places = (*_DRAWN, *_NUMBERS), (*part.parameters[:3], *part[1:])
        for name, place in zip(names, places, strict=True):
            place[...] = state[name].values[: standing.made] if name in state else _NOT_RECORDED[name]
    return Chain(room, standing)


def write_standings(standings: Sequence[Standing]) -> dict[str, Any]:
    """Write down where chains stand.

    Parameters
    ----------
    standings : sequence of Standing
        One for each chain.

    Returns
    -------
    dict of str to tuple
        Variables of a dataset: ``tuned``, ``made``, and the rest as ``at_...``.
    """
    at = [np.stack(values) for values in zip(*(standing.parameters for standing in standings), strict=True)]
    places = {
        f"at_{name}": (("chain", *dims), values) for (name, dims), values in zip(_DRAWN.items(), at[:3], strict=True)
    }
    return {
        "tuned": ("chain", np.array([standing.tuned for standing in standings])),
        "made": ("chain", np.array([standing.made for standing in standings])),
        "at_streams": (("chain", "stream", "word"), np.stack([standing.streams for standing in standings])),
        "at_scale": (("chain", *_SCALE), at[3]),
        **places,
    }


def read_standing(state: xr.Dataset) -> Standing:
    """Return where a chain stood.

    Parameters
    ----------
    state : Dataset
        What `write_standings` wrote of it.

    Returns
    -------
    Standing
        Its own arrays.
    """
    at = Parameters(*(np.ascontiguousarray(state[f"at_{name}"].values) for name in (*_DRAWN, "scale")))
    return Standing(int(state["tuned"]), int(state["made"]), at, np.ascontiguousarray(state["at_streams"].values))


def padded(parts: Sequence[NDArray[Any]], longest: int) -> NDArray[Any]:
    """Stack arrays of different lengths.

    Parameters
    ----------
    parts : sequence of ndarray, each of shape (length, ...)
        The arrays.
    longest : int
        The length that all shall have.

    Returns
    -------
    ndarray, shape (parts, longest, ...)
        The arrays; what a shorter one lacks is zero.
    """
    return np.stack([np.pad(part, [(0, longest - len(part)), *[(0, 0)] * (part.ndim - 1)]) for part in parts])
