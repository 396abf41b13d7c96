"""The time of one EM iteration: same start, same data, a fixed number of iterations, no test of convergence.

Every system makes a short and a long run in each repetition; the difference of their medians over the difference of
their iterations is the time of one. The faster the system, the more iterations its long run has, so that what a run
pays once does not drown them. After as many all have the same parameters, or the row says by how much they do not.
"""

import math
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.em.problems import Problem, blurred
from benchmarks.em.workers import FailedError, UnsupportedError, Worker, estimate_of, interleave, start_workers
from benchmarks.machine import usable_cores
from benchmarks.tables import markdown_table, number, ratio, slope

__all__ = ["measure", "render"]

_OURS, _BOUND = "bayesgmm", "dgemm"
_PEERS = ("scikit-learn", "daal4py", "gmmx")
# Rows, features, components and structure.
_GRID = [
    (10_000, 2, 3, "full"),
    (100_000, 2, 5, "full"),
    (1_000_000, 2, 5, "full"),
    (100_000, 10, 8, "full"),
    (1_000_000, 8, 8, "full"),
    (100_000, 32, 10, "full"),
    (20_000, 64, 20, "full"),
    (100_000, 10, 8, "tied"),
    (100_000, 10, 8, "diag"),
    (100_000, 10, 8, "spherical"),
]
_QUICK_GRID = [(10_000, 2, 3, "full"), (20_000, 10, 8, "full"), (5_000, 32, 10, "full"), (20_000, 10, 8, "diag")]
# The bound counts arithmetic only; below this dimension other things take the time.
_BOUND_FROM = 32
_SHORT = 2
# Iterations of the long run beyond the short one: so many elementary operations, within limits.
_WORK = 1e9
_FEWEST, _MOST = 4, 100
# And at least so many seconds of them.
_LEAST_SECONDS = 0.4
# Parameters that differ by more than this, in standard deviations, are not the same iteration.
_SAME = {"gmmx": 1e-2, "scikit-learn": 1e-6, "daal4py": 1e-6}


def measure(*, quick: bool) -> dict[str, Any]:
    """Run the section; return numbers that JSON can hold."""
    repetitions = 3 if quick else 7
    threads = [1] if quick or len(usable_cores()) < 2 else [1, 2]
    rows: list[dict[str, Any]] = []
    absent: set[str] = set()
    for n_threads in threads:
        with start_workers([_OURS, *_PEERS, _BOUND], n_threads) as (workers, missing):
            absent.update(missing)
            for n, d, k, structure in _QUICK_GRID if quick else _GRID:
                rows.append(_row(workers, blurred(n, d, k, structure), structure, n_threads, repetitions))
    return {"rows": rows, "missing": sorted(absent), "repetitions": repetitions}


def _row(
    workers: dict[str, Worker], problem: Problem, structure: str, n_threads: int, repetitions: int
) -> dict[str, Any]:
    (n, d), k = problem.X.shape, problem.n_components
    n_more = int(np.clip(_WORK / (n * k * (20 + d * (d + 6))), _FEWEST, _MOST))
    calls, refusals, ends, more = {}, {}, {}, {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "problem.npz")
        problem.save(path)
        for name, worker in workers.items():
            if name == _BOUND and d < _BOUND_FROM:
                continue
            run = partial(worker.ask, "iterate", structure=structure)
            try:
                worker.ask("open", path=str(path))
                for _ in range(2):  # compilers and caches are warm the second time
                    short, ends[name] = run(n_iter=_SHORT), run(n_iter=_SHORT + n_more)
            except (UnsupportedError, FailedError) as refused:
                refusals[name] = str(refused)
                continue
            more[name] = _enough(short["seconds"], ends[name]["seconds"], n_more)
            calls |= {f"{name} short": partial(run, n_iter=_SHORT)}
            calls |= {f"{name} long": partial(run, n_iter=_SHORT + more[name])}
        answers, failures = interleave(calls, repetitions)
    if _OURS not in ends:
        raise FailedError(refusals[_OURS])
    seconds, cores = {}, {}
    for name in ends:
        short, long = (answers.get(f"{name} {length}") for length in ("short", "long"))
        if short and long:
            times = ([answer["seconds"] for answer in runs] for runs in (short, long))
            seconds[name] = slope(*times, more[name])
            cores[name] = median(answer["cores"] for answer in long)
    return {
        "n": n, "d": d, "k": k, "structure": structure, "threads": n_threads, "iterations": more,
        "seconds": seconds, "cores": cores, "refusals": refusals | failures, "gaps": _gaps(ends),
    }  # fmt: skip


def _enough(short: float, long: float, n_more: int) -> int:
    """Return how many further iterations a long run should have, from the seconds of one with `n_more`."""
    one = max((long - short) / n_more, 0.01 * long / n_more)
    return int(np.clip(_LEAST_SECONDS / one, n_more, _MOST))


def _gaps(ends: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Return how far the final means are from ours, in standard deviations."""
    ours = estimate_of(ends[_OURS])
    sds = np.sqrt(np.diagonal(ours.covariances, axis1=1, axis2=2))
    return {
        name: float(np.abs((estimate_of(end).means - ours.means) / sds).max())
        for name, end in ends.items()
        if name in _PEERS
    }


# ---------------------------------------------------------------- as text


def render(found: dict[str, Any]) -> str:
    """Return the section as Markdown."""
    blocks = []
    for n_threads in sorted({row["threads"] for row in found["rows"]}):
        rows = [row for row in found["rows"] if row["threads"] == n_threads]
        blocks.append(f"{'One thread' if n_threads == 1 else f'{n_threads} threads'}, milliseconds per iteration:")
        blocks.append(_table(rows, found, n_threads))
    return "\n\n".join([*blocks, *_remarks(found)])


def _table(rows: Sequence[dict[str, Any]], found: dict[str, Any], n_threads: int) -> str:
    peers = [peer for peer in _PEERS if peer not in found["missing"]]
    header = ["n, D, K", "structure", _OURS, *peers, "dgemm bound"]
    if n_threads > 1:
        header.append("gain over one thread")
    lines = []
    for row in rows:
        ours = row["seconds"][_OURS]
        line = [f"{row['n']:,}, {row['d']}, {row['k']}", row["structure"], number(1e3 * ours)]
        line += [_against(row["seconds"].get(peer, math.nan), ours) for peer in peers]
        bound = row["seconds"].get(_BOUND, math.nan)
        line.append(f"{number(1e3 * bound)} ({number(ratio(bound, ours), 2)}x)" if bound > 0.0 else "")
        if n_threads > 1:
            line.append(f"{number(ratio(_with_one_thread(found, row), ours))}x")
        lines.append(line)
    return markdown_table(header, lines)


def _against(peer: float, ours: float) -> str:
    return f"{number(1e3 * peer)} ({number(ratio(peer, ours), 2)}x)" if math.isfinite(peer) else "-"


def _with_one_thread(found: dict[str, Any], row: dict[str, Any]) -> float:
    keys = ("n", "d", "k", "structure")
    alone = [one for one in found["rows"] if one["threads"] == 1 and all(one[key] == row[key] for key in keys)]
    return alone[0]["seconds"][_OURS] if alone else math.nan


def _remarks(found: dict[str, Any]) -> list[str]:
    """Say what a reader must know: who is missing, who did something else, who used more cores than it was given."""
    remarks = []
    if found["missing"]:
        remarks.append(f"Not installed: {', '.join(found['missing'])}.")
    for row in found["rows"]:
        where = f"at n={row['n']:,}, D={row['d']}, K={row['k']}, {row['structure']}, {row['threads']} thread(s)"
        for name, gap in row["gaps"].items():
            if not gap < _SAME[name]:
                remarks.append(f"{name} ends {number(gap)} standard deviations from us {where}.")
        for name, cores in row["cores"].items():
            if cores > 1.1 * row["threads"]:
                remarks.append(f"{name} used {number(cores)} cores {where}.")
        for name, why in row["refusals"].items():
            if row["structure"] not in why:  # that it does not have the structure is what the dash says
                remarks.append(f"{name.split()[0]} failed {where}: {why}")
    return remarks
