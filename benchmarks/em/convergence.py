"""The way to convergence: same start, same data, every system's own test for when to stop.

A system that stops early is fast; so the table says next to the time by how much the result falls short of the best
that any system reached from that start.
"""

import math
import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.em.problems import Problem, mean_log_likelihood, overlapping, real
from benchmarks.em.workers import Worker, estimate_of, interleave, start_workers
from benchmarks.tables import markdown_table, number, ratio

__all__ = ["OURS", "measure", "render"]

_MANY = 50_000
OURS = "bayesgmm, `fit_em`"
# What is run, by what the table calls it: the system and its options.
_RUNS = {
    OURS: ("bayesgmm", {"public": True}),
    "bayesgmm, engine": ("bayesgmm", {"public": False}),
    "scikit-learn, default": ("scikit-learn", {"tol": 1e-3, "max_iter": 100}),
    "scikit-learn, tol=1e-10": ("scikit-learn", {"tol": 1e-10, "max_iter": _MANY}),
    "daal4py, default threshold": ("daal4py", {"threshold": 1e-4, "max_iter": _MANY}),
    "daal4py, threshold=1e-8": ("daal4py", {"threshold": 1e-8, "max_iter": _MANY}),
    "mclust, default": ("mclust", {"tol": 1e-5, "max_iter": _MANY}),
    "mclust, tol=1e-12": ("mclust", {"tol": 1e-12, "max_iter": _MANY}),
}


def _problems(*, quick: bool) -> list[Problem]:
    if quick:
        return [real("faithful", 3), overlapping(1000, 2, 3, 2.0, seed=1)]
    return [
        *(real("faithful", k) for k in (2, 3, 4)),
        real("iris", 3),
        overlapping(2000, 2, 3, 2.0, seed=1),
        overlapping(5000, 10, 5, 1.5, seed=2),
        overlapping(20_000, 4, 5, 2.0, seed=3),
    ]


def measure(*, quick: bool) -> dict[str, Any]:
    """Run the section; return numbers that JSON can hold."""
    repetitions = 1 if quick else 3
    names = list(dict.fromkeys(name for name, _ in _RUNS.values()))
    with start_workers(names, 1) as (workers, missing):
        problems = [_measured(workers, problem, repetitions) for problem in _problems(quick=quick)]
        versions = {name: worker.version for name, worker in workers.items() if worker.version}
    return {"problems": problems, "missing": missing, "repetitions": repetitions, "versions": versions}


def _measured(workers: dict[str, Worker], problem: Problem, repetitions: int) -> dict[str, Any]:
    runs = {label: run for label, run in _RUNS.items() if run[0] in workers}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "problem.npz")
        problem.save(path)
        for worker in workers.values():
            worker.ask("open", path=str(path))
        calls = {label: partial(workers[name].ask, "converge", **options) for label, (name, options) in runs.items()}
        interleave(calls, 1)  # compilers and caches are warm from here on
        answers, refusals = interleave(calls, repetitions)
    results = {
        label: {
            "seconds": median(one["seconds"] for one in found),
            "passes": found[-1]["passes"],
            "log_likelihood": mean_log_likelihood(problem.X, estimate_of(found[-1])),
        }
        for label, found in answers.items()
    }
    return {"name": problem.name, "results": results, "refusals": refusals}


def render(found: dict[str, Any]) -> str:
    """Return the section as Markdown."""
    blocks = []
    for problem in found["problems"]:
        results = problem["results"]
        best = max(result["log_likelihood"] for result in results.values())
        ours = results[OURS]["seconds"]
        lines = [
            [
                label,
                number(1e3 * result["seconds"]),
                f"{number(ratio(result['seconds'], ours), 2)}x",
                "-" if math.isnan(result["passes"]) else f"{result['passes']:.0f}",
                _shortfall(best - result["log_likelihood"]),
            ]
            for label, result in results.items()
        ]
        lines += [[label, "failed", "", "", ""] for label in problem["refusals"]]
        header = ["system", "ms", "against `fit_em`", "passes", "short of the best, per row"]
        blocks.append(f"**{problem['name']}** (best {best:.6f} per row)\n\n{markdown_table(header, lines)}")
    if found["missing"]:
        blocks.append(f"Not installed: {', '.join(found['missing'])}.")
    return "\n\n".join(blocks)


def _shortfall(gap: float) -> str:
    """Write what is missing; below 1e-11 it is rounding."""
    return f"{gap:.0e}" if gap > 1e-11 else "0"
