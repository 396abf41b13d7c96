"""Which optimum is found, and what it costs: every system from its own starts, on hard simulated mixtures.

The best optimum known of a problem is the best of all these runs, of a long search of ours (200 starts), and of EM from
the parameters that the data were simulated with. A result with a component that has all but collapsed is no optimum: it
counts as a failure, and never as the best.
"""

import math
import tempfile
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from scipy.linalg import eigh

from benchmarks.em.problems import Estimate, Problem, hard_problem, mean_log_likelihood
from benchmarks.em.workers import Worker, estimate_of, interleave, start_workers
from benchmarks.tables import markdown_table, number

__all__ = ["is_spike", "measure", "render"]

# What is run, by what the table calls it: the system, the method and its options; `seed` is the problem's number.
_RUNS = {
    "bayesgmm, default": ("bayesgmm", "search", {}),
    "bayesgmm, 8 starts": ("bayesgmm", "search", {"n_starts": 8}),
    "scikit-learn, default": ("scikit-learn", "search", {}),
    "scikit-learn, n_init=10": ("scikit-learn", "search", {"n_init": 10}),
    "scikit-learn, n_init=10, tol=1e-8": ("scikit-learn", "search", {"n_init": 10, "tol": 1e-8, "max_iter": 10_000}),
    "daal4py, own start": ("daal4py", "search", {"max_iter": 1000}),
    "daal4py, best of 10 own starts": ("daal4py", "search", {"max_iter": 1000, "n_starts": 10}),
    "mclust, default": ("mclust", "search", {}),
}
_REFERENCES = {
    "long search": ("bayesgmm", "search", {"n_starts": 200}),
    "from the truth": ("bayesgmm", "converge", {"public": True}),
}
_NEAR, _NEARER = 1e-3, 1e-5
# A component on so few rows per parameter of its covariance, or so thin against all the data, has all but collapsed.
_FEWEST_ROWS_BEYOND_FEATURES = 1
_THINNEST = 1e-6


def measure(*, quick: bool) -> dict[str, Any]:
    """Run the section; return numbers that JSON can hold."""
    numbers = range(2) if quick else range(30)
    runs = {label: run for label, run in _RUNS.items() if not (quick and "tol" in run[2])}
    references = {label: run for label, run in _REFERENCES.items() if not (quick and "n_starts" in run[2])}
    names = list(dict.fromkeys(name for name, _, _ in runs.values()))
    with start_workers(names, 1) as (workers, missing):
        problems = [_measured(workers, runs | references, number) for number in numbers]
    return {"problems": problems, "missing": missing}


def _measured(workers: dict[str, Worker], runs: dict[str, Any], number: int) -> dict[str, Any]:
    problem = hard_problem(number)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "problem.npz")
        problem.save(path)
        for worker in workers.values():
            worker.ask("open", path=str(path))
        calls = {}
        for label, (name, method, options) in runs.items():
            if name in workers:
                seed = {"seed": number + 1} if method == "search" else {}
                calls[label] = partial(workers[name].ask, method, **seed, **options)
        if number == 0:
            interleave(calls, 1)  # compilers are warm from here on
        answers, refusals = interleave(calls, 1)
    results = {label: _judged(problem, found[0]) for label, found in answers.items()}
    return {"name": problem.name, "results": results, "refusals": refusals}


def _judged(problem: Problem, answer: dict[str, Any]) -> dict[str, float]:
    """Return time and log-likelihood per row; the latter NaN for a spike, which is no optimum."""
    estimate = estimate_of(answer)
    sound = not is_spike(problem.X, estimate)
    value = mean_log_likelihood(problem.X, estimate) if sound else math.nan
    return {"seconds": answer["seconds"], "log_likelihood": value}


def is_spike(X: np.ndarray, estimate: Estimate) -> bool:
    """Whether a component sits on hardly more rows than features, or is very thin against all the data."""
    total = np.cov(X.T)
    few = estimate.weights * len(X) < X.shape[1] + _FEWEST_ROWS_BEYOND_FEATURES
    thin = [eigh(covariance, total, eigvals_only=True)[0] < _THINNEST for covariance in estimate.covariances]
    return bool(np.any(few) or np.any(thin))


# ---------------------------------------------------------------- as text


def render(found: dict[str, Any]) -> str:
    """Return the section as Markdown."""
    problems = found["problems"]
    best = [_best(problem) for problem in problems]
    lines = []
    for label in _RUNS:
        results = [problem["results"].get(label) for problem in problems]
        if not any(results):
            continue
        gaps = [
            math.inf if result is None or math.isnan(result["log_likelihood"]) else top - result["log_likelihood"]
            for top, result in zip(best, results, strict=True)
        ]
        seconds = [result["seconds"] for result in results if result]
        lines.append([
            label,
            f"{100.0 * mean(gap <= _NEAR for gap in gaps):.0f} %",
            f"{100.0 * mean(gap <= _NEARER for gap in gaps):.0f} %",
            f"{max(0.0, median(gaps)):.0e}",
            f"{sum(math.isinf(gap) for gap in gaps)}",
            number(mean(seconds)),
        ])  # fmt: skip
    header = [
        "system", "within 1e-3 per row", "within 1e-5 per row", "median shortfall", "failed or a spike", "s per fit",
    ]  # fmt: skip
    text = f"{len(problems)} problems.\n\n{markdown_table(header, lines)}"
    return f"{text}\n\nNot installed: {', '.join(found['missing'])}." if found["missing"] else text


def _best(problem: dict[str, Any]) -> float:
    values = [result["log_likelihood"] for result in problem["results"].values()]
    return max(value for value in values if not math.isnan(value))
