"""A whole posterior: effective draws per second, and how long the first one takes.

Every run has a process of its own. Its first posterior includes all that has to be compiled or loaded, its second only
what every posterior costs; by the second, draws per second are counted. What compilers keep on disk is warm: a process
before it has made a few draws of the same model.
"""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.bayes.problems import Target, apart, overlapping_rows, real_rows
from benchmarks.em.workers import FailedError, MissingError, Worker
from benchmarks.tables import markdown_table, number, ratio

__all__ = ["OURS", "measure", "render"]

OURS = "bayesgmm, NUTS"
# What is run, by what the table calls it: the system and its options.
_RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    OURS: ("bayesgmm", {"prior": "lkj", "is_whole": False}),
    "bayesgmm, `fit_bayes`": ("bayesgmm", {"prior": "lkj"}),
    "bayesgmm, `fit_bayes`, default prior": ("bayesgmm", {}),
    "bayesgmm, `fit_bayes`, Gibbs": ("bayesgmm", {"sampler": "gibbs"}),
    "bayesgmm, `fit_bayes`, Laplace": ("bayesgmm", {"sampler": "laplace"}),
    "bayesgmm, `fit_bayes`, Pathfinder": ("bayesgmm", {"sampler": "pathfinder"}),
    "PyMC, `pm.Mixture`, nutpie": ("pymc", {}),
    "numpyro, by hand": ("numpyro", {}),
    "Stan, by hand": ("stan", {}),
}
_PLAN = {"draws": 500, "tune": 500, "chains": 2}
_QUICK_PLAN = {"draws": 200, "tune": 200, "chains": 2}
# Where the slowest system takes a quarter of an hour for the other one.
_SHORT_PLAN = {"draws": 200, "tune": 300, "chains": 2}
_WARM_UP = {"draws": 10, "tune": 10, "chains": 2}
#: Above it chains disagree, and an effective size means nothing.
_BAD_R_HAT = 1.05


def _targets(*, quick: bool) -> list[tuple[Target, dict[str, int]]]:
    if quick:
        return [(real_rows("faithful", 2), _QUICK_PLAN)]
    usual = [real_rows("faithful", 2), real_rows("iris", 3), apart(10_000)]
    return [(target, _PLAN) for target in usual] + [
        (target, _SHORT_PLAN) for target in (apart(100_000), overlapping_rows(10_000))
    ]


def measure(*, quick: bool) -> dict[str, Any]:
    """Run the section; return numbers that JSON can hold."""
    missing: dict[str, str] = {}
    problems = [_measured(target, plan, missing, is_warmed=not quick) for target, plan in _targets(quick=quick)]
    return {"problems": problems, "missing": list(missing), "is_warmed": not quick}


def _measured(target: Target, plan: dict[str, int], missing: dict[str, str], *, is_warmed: bool) -> dict[str, Any]:
    results, refusals = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "target.npz")
        target.save(path)
        for label, (name, options) in _RUNS.items():
            if name in missing:
                continue
            try:
                if is_warmed:
                    _ask(name, path, _WARM_UP | options)
                results[label] = _ask(name, path, plan | options)
            except MissingError as absent:
                missing[name] = str(absent)
            except FailedError as failed:
                refusals[label] = str(failed)
    return {"name": target.name, "plan": plan, "results": results, "refusals": refusals}


def _ask(name: str, path: Path, options: dict[str, Any]) -> dict[str, Any]:
    with Worker(name, 1, "benchmarks.bayes.serve") as worker:
        worker.ask("open", path=str(path))
        return worker.ask("posterior", **options)


def render(found: dict[str, Any]) -> str:
    """Return the section as Markdown."""
    header = [
        "system", "first, s", "second, s", "density: draws/s", "ours is", "parameters: draws/s", "ours is", "R-hat",
    ]  # fmt: skip
    blocks = []
    for problem in found["problems"]:
        results = problem["results"]
        lines = [_line(label, result, results.get(OURS)) for label, result in results.items()]
        plan = problem["plan"]
        heading = f"**{problem['name']}**, {plan['chains']} chains of {plan['draws']} draws after {plan['tune']}"
        blocks.append(f"{heading}\n\n{markdown_table(header, lines)}")
        blocks += [f"{label} gives no result: {why}." for label, why in problem["refusals"].items()]
    if not found["is_warmed"]:
        blocks.append("Compilers may have had nothing on disk: the first time is no measurement.")
    if found["missing"]:
        blocks.append(f"Not installed: {', '.join(found['missing'])}.")
    return "\n\n".join(blocks)


def _line(label: str, result: dict[str, float], ours: dict[str, float] | None) -> list[str]:
    cells = [label, number(result["first"]), number(result["again"])]
    for key in ("ess_density", "ess_parameters"):
        # NaN is no agreement either.
        if not result["r_hat"] <= _BAD_R_HAT:
            cells += ["-", "-"]
            continue
        rate = result[key] / result["again"]
        faster = float("nan") if ours is None else ratio(ours[key] / ours["again"], rate)
        cells += [number(rate), "" if label == OURS else f"{number(faster, 2)}x"]
    return [*cells, number(result["r_hat"], 4)]
