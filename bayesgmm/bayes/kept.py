"""Draws that chains of NUTS have left, each as many as it got to: put together, written down, and gone on from.

NUTS does not go on bit for bit: what nutpie knows inside a chain cannot be taken out and put back. A chain goes on from
its last draw with a new adaptation, a short one, because the coordinates in which it moves are learned from the draws
that are kept: they whiten their average covariance. The draws before the join are a chain with this posterior, and so
are those after it; where the joins are is remembered.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.bayes.checkpoint import Checkpoint, longest_block
from bayesgmm.bayes.density import UnconstrainedDensity
from bayesgmm.bayes.gibbs_chains import padded
from bayesgmm.bayes.laplace import Laplace
from bayesgmm.bayes.vectors import as_dataset
from bayesgmm.errors import ArgumentError

__all__ = ["Keeper", "Kept", "Look", "Stats"]

Floats = NDArray[np.float64]
#: Statistics of sampling by name, each with one number for a draw.
Stats = dict[str, NDArray[Any]]


class Look(Protocol):
    """Is shown chains while they run."""

    def __call__(self, so_far: Callable[[], tuple[Floats, Stats]], *, is_last: bool) -> None:
        """Look, or not: `so_far` returns vectors and statistics of the draws so far, which costs something."""


# Kept draws for each coordinate from which their covariance is worth learning.
_DRAWS_PER_COORDINATE = 20
# The covariance is drawn a little towards the diagonal, by as much as so many draws weigh.
_PRIOR_DRAWS = 5.0
# How closely a log density is repeated, on another machine too.
_SAME = 1e-5
_STAT = "stat_"


@dataclass(frozen=True)
class Kept:
    """Draws of chains that have got to different lengths.

    Parameters
    ----------
    vectors : tuple of ndarray, each of shape (draws made, size)
        Unconstrained draws, chain by chain.
    stats : tuple of dict of str to ndarray
        Their statistics.
    joins : tuple of int
        How many draws all chains together had each time that the run was taken up again.
    """

    vectors: tuple[Floats, ...]
    stats: tuple[Stats, ...]
    joins: tuple[int, ...] = ()

    @classmethod
    def nothing(cls, chains: int, size: int) -> "Kept":
        """Return chains without draws."""
        return cls(tuple(np.empty((0, size)) for _ in range(chains)), tuple({} for _ in range(chains)))

    @classmethod
    def from_state(cls, state: xr.Dataset, size: int) -> "Kept":
        """Read what `to_state` wrote of chains in so many coordinates."""
        made = state["made"].values
        if not made.any():
            return cls.nothing(len(made), size)
        names = [str(name) for name in state.data_vars if str(name).startswith(_STAT)]
        joins = tuple(int(part) for part in str(state.attrs["joins"]).split())
        stats = tuple(
            {name.removeprefix(_STAT): state[name].values[chain, :count] for name in names if count}
            for chain, count in enumerate(made)
        )
        return cls(tuple(state["vectors"].values[chain, :count] for chain, count in enumerate(made)), stats, joins)

    def to_state(self) -> xr.Dataset:
        """Return all of it as a dataset; what shorter chains lack is zero."""
        longest = int(self.lengths.max())
        contents: dict[str, Any] = {"made": ("chain", self.lengths)}
        if longest:  # Zarr has no arrays without elements
            contents["vectors"] = (("chain", "kept", "coordinate"), padded(self.vectors, longest))
            for name in self._names:
                columns = [chain.get(name) for chain in self.stats]
                none = next(column for column in columns if column is not None)[:0]
                filled = [none if column is None else column for column in columns]
                contents[f"{_STAT}{name}"] = (("chain", "kept"), padded(filled, longest))
        return xr.Dataset(contents, attrs={"joins": " ".join(map(str, self.joins))})

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Draws of each chain."""
        return np.array([len(part) for part in self.vectors])

    @property
    def _names(self) -> list[str]:
        return sorted({name for chain in self.stats for name in chain})

    def joined(self) -> "Kept":
        """Return the same, to be gone on from: the join is remembered."""
        return Kept(self.vectors, self.stats, (*self.joins, int(self.lengths.sum())))

    def followed_by(self, chains: Sequence[int], vectors: Floats, stats: Mapping[str, NDArray[Any]]) -> "Kept":
        """Return these draws and further ones of some of the chains.

        Parameters
        ----------
        chains : sequence of int
            Which chains.
        vectors : ndarray, shape (len(chains), draws, size)
            Their further draws; NaN from where a chain has none yet.
        stats : mapping of str to ndarray, shape (len(chains), draws)
            Their statistics.

        Returns
        -------
        Kept
            All of them.
        """
        all_vectors, all_stats = list(self.vectors), list(self.stats)
        for chain, further, at in zip(chains, vectors, range(len(chains)), strict=True):
            count = int(np.sum(~np.isnan(further).any(axis=1)))
            all_vectors[chain] = np.concatenate([self.vectors[chain], further[:count]])
            all_stats[chain] = {
                name: np.concatenate([self.stats[chain].get(name, values[at, :0]), values[at, :count]])
                for name, values in stats.items()
            }
        return Kept(tuple(all_vectors), tuple(all_stats), self.joins)

    def check_density(self, density: UnconstrainedDensity) -> None:
        """Refuse to go on with draws from another density.

        Parameters
        ----------
        density : UnconstrainedDensity
            That of the model now.

        Raises
        ------
        ArgumentError
            When the last draw of a chain has another log density than it had when it was drawn.
        """
        for vectors, stats in zip(self.vectors, self.stats, strict=True):
            if len(vectors) == 0:
                continue
            then = float(stats["lp"][-1])
            now = density.evaluate(vectors[-1])[0] if vectors.shape[1] == density.size else np.nan
            if not np.isclose(now, then, rtol=_SAME, atol=_SAME):
                raise ArgumentError(
                    f"the checkpoint was left by another model: the log posterior of a draw was {then:.6g} and is "
                    f"{now:.6g} now; name another checkpoint"
                )

    def block(self, draws: int) -> tuple[Floats, xr.Dataset]:
        """Return as many draws of as many chains as there are, with their statistics; there must be some."""
        chosen, made = longest_block(self.lengths)
        found = {
            name: (("chain", "draw"), np.stack([self.stats[chain][name][:made] for chain in chosen]))
            for name in self._names
        }
        is_part = made < draws or len(chosen) < len(self.vectors)
        attributes: dict[str, Any] = {"interrupted_after": made} if is_part else {}
        if self.joins:
            attributes["resumed_after"] = " ".join(map(str, self.joins))
        return np.stack([self.vectors[chain][:made] for chain in chosen]), xr.Dataset(found, attrs=attributes)

    def geometry(self) -> Laplace | None:
        """Return the normal distribution with the mean of the draws and their covariance within chains.

        Returns
        -------
        Laplace or None
            To whiten by; None where there are too few draws to learn from.
        """
        size = self.vectors[0].shape[1]
        total = int(self.lengths.sum())
        if total < _DRAWS_PER_COORDINATE * size:
            return None
        centred = np.concatenate([part - part.mean(axis=0) for part in self.vectors if len(part)])
        cov = centred.T @ centred / total
        variances = np.diag(cov)
        if not np.all(variances > 0):
            return None
        towards = _PRIOR_DRAWS / (total + _PRIOR_DRAWS)
        chol = np.linalg.cholesky((1 - towards) * cov + towards * np.diag(variances))
        return Laplace(np.concatenate(self.vectors).mean(axis=0), np.nan, chol)


class Keeper:
    """Looks at chains while they run, and leaves what they have drawn in a checkpoint.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where; what an earlier call has left there is kept.
    model : pymc.Model
        The model.
    density : UnconstrainedDensity
        Its density.
    chains, draws, tune : int
        Number of chains, of draws that each shall have, and of the steps before them.
    """

    def __init__(
        self, checkpoint: Checkpoint, model: pm.Model, density: UnconstrainedDensity, *, chains: int, draws: int,
        tune: int,
    ) -> None:  # fmt: skip
        left = checkpoint.state
        self.draws, self.tune = draws, tune
        #: All draws so far.
        self.kept = Kept.nothing(chains, density.size) if left is None else Kept.from_state(left, density.size)
        self.kept.check_density(density)
        self._checkpoint, self._model, self._density = checkpoint, model, density

    def look_at(self, chains: Sequence[int]) -> Look:
        """Return what looks at some chains, whose draws come after those that are kept."""
        before = self.kept

        def look(so_far: Callable[[], tuple[Floats, Stats]], *, is_last: bool) -> None:
            """Write a checkpoint, if it is time."""
            if is_last or self._checkpoint.is_due():
                self.kept = before.followed_by(chains, *so_far())
                self._checkpoint.write(self.kept.to_state(), self.groups() if self.kept.lengths.any() else {})

        return look

    def groups(self) -> dict[str, xr.Dataset]:
        """Return the draws that are kept, as `sample_nuts` returns them."""
        vectors, stats = self.kept.block(self.draws)
        stats.attrs["tune"] = self.tune
        return {"posterior": as_dataset(self._model, self._density, vectors), "sample_stats": stats}
