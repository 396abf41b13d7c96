"""Checkpoints: a long run leaves what it has drawn on the disk, and goes on from there when it is called again.

A checkpoint is a saved fit (storage.py) of the draws made so far, in the user's units and relabelled, so that
`bayesgmm.load`, and whatever else reads Zarr, can look at a run while it goes on. In a group of its own stand what the
sampler needs to go on, and the identity of the run: data, model, sampler, seed and settings. A call that differs in one
of them is another run, and is refused; only the number of draws may grow.

A checkpoint replaces the one before as every saved fit does, so that a run that is killed leaves one that can be read.
How often one is written is bounded by what it costs: at most a twentieth of the time goes into it.
"""

import hashlib
import json
import math
import time
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.data import PreparedData
from bayesgmm.errors import ArgumentError, FileFormatError, SamplingWarning
from bayesgmm.mixture import Mixture
from bayesgmm.storage import CHECKPOINT, as_path, read_tree, remove_leftovers, write_tree

__all__ = ["FEWEST_DRAWS", "Checkpoint", "Left", "longest_block", "read_left", "run_identity"]

# Time between two checkpoints, in times that the last one took.
_REST = 19
#: Draws in a chain below which nothing is said of them: R-hat and effective sample sizes need as many.
FEWEST_DRAWS = 4
# What must not differ between two calls of a run, but does not change the draws.
_WITHOUT_EFFECT = ("cores", "progress_callback", "progress_rate", "progress_style", "progress_template")
_MAY_DIFFER = ("draws", "priors_in_words")
# Groups that are not written: what is computed from draws and rows is computed again when it is read, and is much; the
# labels of rows are among what the sampler needs to go on.
_LEFT_OUT = ("log_likelihood", "allocations")
# What a run was that does not say.
_CALL = "fit_bayes"
_LIBRARIES = ("numpy", "numba", "pymc", "pytensor", "nutpie")
_LONGEST_SHOWN = 60
_TOLERANCE = 1e-6


class Left(NamedTuple):
    """What an earlier call of a run has left.

    Parameters
    ----------
    identity : dict
        What made the run what it was.
    seconds : float
        How long it had taken.
    state : Dataset
        What the sampler needs to go on.
    """

    identity: dict[str, Any]
    seconds: float
    state: xr.Dataset


class Described(Protocol):
    """What draws stand for."""

    @property
    def tree(self) -> xr.DataTree:
        """All of it, for a file."""


def read_left(path: str | Path, *, call: str = _CALL) -> Left | None:
    """Read what an earlier call of a run has left.

    Parameters
    ----------
    path : str or Path
        The checkpoint; its name ends in ``.zarr``.
    call : str, default "fit_bayes"
        The function that is called.

    Returns
    -------
    Left or None
        None where there is nothing yet.

    Raises
    ------
    ArgumentError
        When the name has another ending, or another function was called.
    FileFormatError
        When there is something else of that name, or it is damaged.
    FileNotFoundError
        When the folder in which it is to be does not exist.
    """
    target = as_path(path, "checkpoint")
    if target.suffix.lower() != ".zarr":
        raise ArgumentError(f"checkpoint={str(path)!r} must end in .zarr")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(target.parent)!r} for checkpoint {target.name!r}")
    remove_leftovers(target)
    try:
        tree = read_tree(target)
    except FileNotFoundError:
        return None
    if CHECKPOINT not in tree.children:
        raise FileFormatError(f"checkpoint={str(path)!r} is a saved fit, not a checkpoint; choose another name")
    state = tree[CHECKPOINT].to_dataset()
    found = json.loads(state.attrs.pop("identity"))
    then = found.get("call", _CALL)
    if then != call:
        raise ArgumentError(f"checkpoint {str(path)!r} was left by {then}, and this is {call}; name another checkpoint")
    return Left(found, float(state.attrs.pop("seconds")), state)


def run_identity(
    prepared: PreparedData,
    model: pm.Model | None,
    reference: Mixture | None,
    settings: Mapping[str, Any],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what makes a run what it is.

    Parameters
    ----------
    prepared : PreparedData
        The data.
    model : pymc.Model or None
        A model that the user made; None for that of `build_model`.
    reference : Mixture or None
        The EM estimate at which chains start, user's units; None where there is none.
    settings : mapping
        What was asked for; ``draws`` among it is left out. ``call`` is the function, unless it is `fit_bayes`.
    options : mapping
        For the sampler.

    Returns
    -------
    dict
        Plain JSON values.
    """
    effective = {name: value for name, value in options.items() if name not in _WITHOUT_EFFECT}
    found = {
        "data": _digest(prepared.values, prepared.sample_weight, *prepared.features),
        "model": None if model is None else _model_digest(model),
        **{name: value for name, value in settings.items() if name not in _MAY_DIFFER},
        **effective,
        # After what it follows from, which says more about a difference.
        "em": None if reference is None else [reference.weights.tolist(), reference.means.tolist()],
        "versions": {name: version(name) for name in ("bayesgmm", *_LIBRARIES)},
    }
    return json.loads(json.dumps(found, default=str))


class Checkpoint:
    """Where a run leaves what it has drawn.

    Parameters
    ----------
    path : str or Path
        A Zarr store, there already or not.
    seconds : float
        The least time between two checkpoints.
    identity : mapping
        From `run_identity`.
    left : Left, optional
        From `read_left`.
    draws : int
        Draws that the run shall have in each chain.
    describe : callable
        Called with groups of draws, as the sampler returns them, and the seconds that they took; returns a fit, or
        what else they stand for.

    Raises
    ------
    ArgumentError
        When another run has left it, or one with more draws.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        seconds: float,
        identity: Mapping[str, Any],
        left: Left | None,
        draws: int,
        describe: Callable[[Mapping[str, xr.Dataset], float], Described],
    ) -> None:
        self.path = Path(path)
        self._seconds = _check_seconds(seconds)
        self._identity = dict(identity)
        self._describe = describe
        self._begun = time.monotonic()
        self._next = self._begun + self._seconds
        self._before = 0.0
        self._complaints: set[str] = set()
        #: What the sampler needs to go on; None for a new run.
        self.state: xr.Dataset | None = None
        if left is not None:
            self._refuse_another_run(left, draws)
            self.state, self._before = left.state, left.seconds

    @property
    def seconds(self) -> float:
        """How long the run has taken, earlier calls included."""
        return self._before + time.monotonic() - self._begun

    def is_due(self) -> bool:
        """Whether it is time for another checkpoint."""
        return time.monotonic() >= self._next

    def write(self, state: xr.Dataset, groups: Mapping[str, xr.Dataset]) -> None:
        """Write a checkpoint; where that fails, the one before stands and the run goes on.

        Draws that cannot be summarised are kept all the same, to go on from.

        Parameters
        ----------
        state : Dataset
            What the sampler needs to go on.
        groups : mapping of str to Dataset
            The draws made so far, as the sampler returns them; they may be too few for a fit.
        """
        begun = time.monotonic()
        attributes = {"identity": json.dumps(self._identity), "seconds": self.seconds}
        is_readable = groups["posterior"].sizes["draw"] >= FEWEST_DRAWS if groups else False
        tree = xr.DataTree()
        if is_readable:
            try:
                tree = self._describe(groups, self.seconds).tree.drop_nodes(_LEFT_OUT, errors="ignore")
            except Exception as error:  # noqa: BLE001 (hours of sampling must not end for a summary of them)
                self._complain("holds no summary of the draws", error)
        tree[CHECKPOINT] = xr.DataTree(state.assign_attrs({**state.attrs, **attributes}))
        try:
            write_tree(tree, self.path)
        except OSError as error:
            self._complain("could not be written", error)
        now = time.monotonic()
        self._next = now + max(self._seconds, _REST * (now - begun))

    def _complain(self, what: str, error: Exception) -> None:
        if what not in self._complaints:
            message = f"checkpoint {str(self.path)!r} {what} ({error}); sampling goes on"
            warnings.warn(message, SamplingWarning, stacklevel=3)
        self._complaints.add(what)

    def _refuse_another_run(self, left: Left, draws: int) -> None:
        whose = f"checkpoint {str(self.path)!r} was left by a run with"
        remedy = "make them equal, or name another checkpoint"
        versions = [dict(identity["versions"]) for identity in (left.identity, self._identity)]
        own = [found.pop("bayesgmm") for found in versions]
        if own[0] != own[1]:
            raise ArgumentError(f"{whose} bayesgmm {own[0]}, and this is {own[1]}; name another checkpoint")
        for name in (name for name in {**left.identity, **self._identity} if name != "versions"):
            then, now = (identity.get(name) for identity in (left.identity, self._identity))
            if not _is_same(then, now):
                raise ArgumentError(f"{whose} {_difference(name, then, now)}; {remedy}")
        made = int(left.state["made"].max())
        if made > draws:
            raise ArgumentError(f"{whose} {made} draws in a chain, and this call has draws={draws}; ask for more")
        changed = [name for name in _LIBRARIES if versions[0].get(name) != versions[1][name]]
        if changed:
            message = f"{whose} another version of {', '.join(changed)}; the draws to come may differ in rounding"
            warnings.warn(message, SamplingWarning, stacklevel=4)


def longest_block(lengths: NDArray[np.integer]) -> tuple[NDArray[np.intp], int]:
    """Return the chains and the number of draws that make the most of chains that stopped at different lengths.

    Parameters
    ----------
    lengths : ndarray of int, shape (chains,)
        Draws of each chain.

    Returns
    -------
    chains : ndarray of int
        Which chains.
    draws : int
        How many draws of each; zero where there are none at all.
    """
    kept = [int(length) * int(np.sum(lengths >= length)) for length in lengths]
    best = int(lengths[np.argmax(kept)])
    return np.flatnonzero(lengths >= best), best


# -------------------------------------------------------------------- which run it is


def _check_seconds(seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | np.number) or not 0 <= seconds < math.inf:
        raise ArgumentError(f"checkpoint_seconds={seconds!r} must be a number of seconds, zero or more")
    return float(seconds)


def _digest(*parts: Any) -> str:
    """Return a checksum of arrays and names."""
    found = hashlib.sha256()
    for part in parts:
        values = np.ascontiguousarray(part) if isinstance(part, np.ndarray) else None
        found.update(repr(part).encode() if values is None else repr((values.shape, values.dtype.str)).encode())
        found.update(b"" if values is None else values.tobytes())
    return found.hexdigest()


def _model_digest(model: pm.Model) -> str:
    """Return a checksum of the numbers that a model holds and of the kinds of its variables."""
    data = [part for held in model.data_vars for part in (held.name, np.asarray(held.get_value()))]
    kinds = [
        (variable.name, str(variable.type), type(variable.owner.op).__name__)
        for variable in (*model.free_RVs, *model.observed_RVs, *model.deterministics, *model.potentials)
        if variable.owner is not None
    ]
    return _digest(*data, *kinds)


def _is_same(one: Any, other: Any) -> bool:
    """Compare JSON values, numbers but for rounding: an EM fit is repeated on whatever machine goes on."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return bool(one == other)


def _difference(name: str, then: Any, now: Any) -> str:
    """Say what differs; a checksum or a long table says nothing to a reader."""
    if name == "data":
        return "other rows, columns or weights"
    shown = f"{name}={then!r}, and this call has {name}={now!r}"
    return shown if len(shown) <= 2 * _LONGEST_SHOWN and name != "model" else f"another {name}"
