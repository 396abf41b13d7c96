"""How much memory a fit takes beyond the rows that it is given: the rise of the peak of a process of its own."""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.em.problems import blurred
from benchmarks.em.workers import FailedError, MissingError, Worker
from benchmarks.tables import markdown_table, number, ratio

__all__ = ["OURS", "measure", "render"]

_SHAPE, _QUICK_SHAPE = (1_000_000, 8, 8), (100_000, 8, 8)
_ITERATE = {"method": "iterate", "structure": "full", "n_iter": 3}
# What is run, by what the table calls it: the system, the method and its options.
OURS = "bayesgmm, EM loop"
_RUNS = {
    OURS: ("bayesgmm", _ITERATE),
    "bayesgmm, `fit_em`": ("bayesgmm", {"method": "converge", "public": True}),
    "scikit-learn": ("scikit-learn", _ITERATE),
    "daal4py": ("daal4py", _ITERATE),
    "gmmx": ("gmmx", _ITERATE),
}


def measure(*, quick: bool) -> dict[str, Any]:
    """Run the section; return numbers that JSON can hold."""
    problem = blurred(*(_QUICK_SHAPE if quick else _SHAPE))
    taken, missing = {}, []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "problem.npz")
        problem.save(path)
        for label, (name, options) in _RUNS.items():
            try:
                with Worker(name, 1) as worker:
                    taken[label] = worker.ask("memory", path=str(path), **options)["bytes"]
            except MissingError:
                missing.append(name)
            except FailedError as failed:
                taken[label] = None
                missing.append(str(failed))
    return {"name": problem.name, "data": problem.X.nbytes, "bytes": taken, "missing": missing}


def render(found: dict[str, Any]) -> str:
    """Return the section as Markdown."""
    taken = {label: size for label, size in found["bytes"].items() if size is not None}
    ours = taken.get(OURS, 0)
    lines = [
        [label, number(size / 1e6), number(size / found["data"], 2), f"{number(ratio(size, ours), 2)}x"]
        for label, size in taken.items()
    ]
    table = markdown_table(["system", "MB beyond the data", "in sizes of the data", "against our loop"], lines)
    text = f"{found['name']}: {number(found['data'] / 1e6)} MB of rows.\n\n{table}"
    return f"{text}\n\nNot measured: {', '.join(found['missing'])}." if found["missing"] else text
