"""One evaluation of log posterior and gradient, which is what NUTS spends its time on.

All models have the same rows and, but for the last line of ours, the same prior; each has its own unconstrained
coordinates.
"""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.bayes.problems import of_problem
from benchmarks.em.problems import Problem, blurred
from benchmarks.em.workers import FailedError, MissingError, Worker
from benchmarks.tables import markdown_table, number, ratio

__all__ = ["OURS", "measure", "render"]

OURS = "bayesgmm"
# What is run, by what the table calls it: the system and its options.
_RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    OURS: ("bayesgmm", {"prior": "lkj"}),
    "bayesgmm, default prior": ("bayesgmm", {"prior": "wishart"}),
    "PyMC, `pm.Mixture`": ("pymc", {}),
    "numpyro, by hand": ("numpyro", {}),
}
# Rows, features and components.
_GRID = [(10_000, 2, 3), (10_000, 8, 5), (100_000, 4, 4)]
_QUICK_GRID = [(2000, 2, 3)]


def measure(*, quick: bool) -> dict[str, Any]:
    """Run the section; return numbers that JSON can hold."""
    missing: dict[str, str] = {}
    rows = [_measured(blurred(*shape), missing) for shape in (_QUICK_GRID if quick else _GRID)]
    return {"rows": rows, "missing": list(missing)}


def _measured(problem: Problem, missing: dict[str, str]) -> dict[str, Any]:
    results, refusals = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "target.npz")
        of_problem(problem, from_em=False).save(path)
        for label, (name, options) in _RUNS.items():
            if name in missing:
                continue
            try:
                with Worker(name, 1, "benchmarks.bayes.serve") as worker:
                    worker.ask("open", path=str(path))
                    results[label] = worker.ask("gradient", **options)
            except MissingError as absent:
                missing[name] = str(absent)
            except FailedError as failed:
                refusals[label] = str(failed)
    n, d = problem.X.shape
    return {"n": n, "d": d, "k": problem.n_components, "results": results, "refusals": refusals}


def render(found: dict[str, Any]) -> str:
    """Return the section as Markdown."""
    labels = [label for label in _RUNS if any(label in row["results"] for row in found["rows"])]
    lines = [
        [f"{row['n']:,}, {row['d']}, {row['k']}", *(_cell(row["results"], label) for label in labels)]
        for row in found["rows"]
    ]
    notes = [f"{label} failed: {why}." for row in found["rows"] for label, why in row["refusals"].items()]
    notes += [f"Not installed: {', '.join(found['missing'])}."] if found["missing"] else []
    table = markdown_table(["rows, columns, K", *(f"{label}, ms" for label in labels)], lines)
    return "\n\n".join([table, *notes])


def _cell(results: dict[str, Any], label: str) -> str:
    if label not in results:
        return "-"
    text = number(1e3 * results[label]["seconds"])
    if label == OURS or OURS not in results:
        return text
    return f"{text} ({number(ratio(results[label]['seconds'], results[OURS]['seconds']), 2)}x)"
