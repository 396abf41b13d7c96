"""Chains of compiled sweeps in threads: run side by side, stopped by Ctrl-C, and left in a checkpoint on the way.

Whatever a chain is, it runs in batches, after each of which it says how far it has come and is told whether to go on.
The calling thread waits, and writes down where the chains stand when it is time.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from threading import Event, Lock
from typing import Any

import numpy as np
import xarray as xr

from bayesgmm.bayes.checkpoint import Checkpoint
from bayesgmm.cores import available_cores
from bayesgmm.errors import ArgumentError
from bayesgmm.progress import progress_bar

__all__ = ["check_count", "run_and_keep", "run_in_threads"]

# Seconds between two looks at whether a checkpoint is due.
_NAP = 0.1


def run_and_keep(
    run: Callable[[int, Callable[[int], bool]], None],
    chains: int,
    *,
    cores: int | None,
    total: int,
    progress: bool,
    checkpoint: Checkpoint | None,
    state: Callable[[], xr.Dataset],
    groups: Callable[[], dict[str, xr.Dataset]],
) -> dict[str, xr.Dataset]:
    """Run chains in threads, leave checkpoints, and return what they have drawn, also where they were interrupted.

    Parameters
    ----------
    run : callable
        See `run_in_threads`.
    chains : int
        Number of chains.
    cores : int or None
        Chains that run at the same time.
    total : int
        Steps of all chains together.
    progress : bool
        Whether to show progress.
    checkpoint : Checkpoint or None
        Where the run leaves what it has drawn.
    state : callable
        Returns what the chains need to go on from where they stand.
    groups : callable
        Returns the draws made so far; nothing where there are none.

    Returns
    -------
    dict of str to Dataset
        What `groups` returned in the end.

    Raises
    ------
    KeyboardInterrupt
        When sampling is interrupted before the first draw.
    """

    def save_when_due() -> None:
        """Write a checkpoint, if it is time."""
        if checkpoint is not None and checkpoint.is_due():
            so_far = groups()  # before the state, which then has all of these draws, and perhaps more
            checkpoint.write(state(), so_far)

    try:
        run_in_threads(
            run, chains, cores=cores, total=total, progress=progress,
            meanwhile=None if checkpoint is None else save_when_due,
        )  # fmt: skip
    finally:
        # Whatever ended the run, an interruption of another kind included.
        found = groups()
        if checkpoint is not None and total:
            checkpoint.write(state(), found)
    if not found:
        raise KeyboardInterrupt("sampling was interrupted before the first draw")
    return found


def run_in_threads(
    run: Callable[[int, Callable[[int], bool]], None],
    chains: int,
    *,
    cores: int | None,
    total: int,
    progress: bool,
    meanwhile: Callable[[], None] | None = None,
) -> None:
    """Run chains in threads; an interruption, or an error in one of them, ends all at their next batch.

    Parameters
    ----------
    run : callable
        Called with the number of a chain and with a function that takes the number of steps made and says whether to
        go on.
    chains : int
        Number of chains.
    cores : int or None
        Chains that run at the same time. None: as many as there are cores.
    total : int
        Steps of all chains together, for the progress bar.
    progress : bool
        Whether to show it.
    meanwhile : callable, optional
        Called some times a second in the calling thread.
    """
    is_stopped, lock = Event(), Lock()
    n_workers = min(chains, available_cores() if cores is None else check_count("cores", cores))
    with progress_bar(progress=progress) as bar, ThreadPoolExecutor(n_workers) as pool:
        task = bar.add_task("sampling", total=total)

        def advance(steps: int) -> bool:
            """Report steps; say whether the chain should go on."""
            with lock:
                bar.update(task, advance=steps)
            return not is_stopped.is_set()

        futures = [pool.submit(run, chain, advance) for chain in range(chains)]
        try:
            while _wait_for_some(futures, None if meanwhile is None else _NAP):
                if meanwhile is not None:
                    meanwhile()
        except KeyboardInterrupt:
            is_stopped.set()
        except BaseException:
            is_stopped.set()  # else leaving the pool would wait for every chain to end
            raise
        for future in futures:
            future.result()


def _wait_for_some(futures: Sequence[Future[Any]], seconds: float | None) -> bool:
    """Wait for the end of all chains, or so long; say whether any goes on. Raise what a chain has raised."""
    done, going_on = wait(futures, timeout=seconds, return_when=FIRST_EXCEPTION)
    for future in done:
        future.result()
    return bool(going_on)


def check_count(name: str, value: Any) -> int:
    """Return a whole number that is at least one, or say that it is not."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ArgumentError(f"{name}={value!r} must be a whole number, at least 1")
    return int(value)
