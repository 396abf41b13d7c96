"""The command line: `python -m benchmarks [--quick] [--only SECTION ...] [--out PAGE.md]`."""

import argparse
import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.bayes import gradient, posterior
from benchmarks.em import convergence, memory, optimum, per_iteration
from benchmarks.machine import busyness, describe
from benchmarks.tables import number, replace_section

__all__ = ["main"]

_SECTIONS = {
    "per-iteration": per_iteration,
    "memory": memory,
    "convergence": convergence,
    "optimum": optimum,
    "gradient": gradient,
    "posterior": posterior,
}


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and, with --out, write."""
    options = _parser().parse_args(arguments)
    results = {}
    for name in options.only or _SECTIONS:
        section = _SECTIONS[name]
        load = busyness()
        found = section.measure(quick=options.quick)
        found["about"] = _about(name, options, load)
        results[name] = found
        print(f"## {name}\n\n{_text(name, found)}\n", flush=True)
        if options.out is not None:
            _write(options.out, results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure EM and the posterior against peers."
    )
    parser.add_argument("--quick", action="store_true", help="small data, few repetitions: some minutes")
    parser.add_argument("--only", nargs="+", choices=_SECTIONS, help="these sections instead of all")
    parser.add_argument("--out", type=Path, help="a Markdown page whose sections are replaced; JSON goes next to it")
    return parser


def _about(name: str, options: argparse.Namespace, load: float) -> dict[str, Any]:
    command = f"make bench ARGS='{'--quick ' if options.quick else ''}--only {name}'"
    date = dt.datetime.now(dt.UTC).date().isoformat()
    return {"date": date, "command": command, "load": load, "machine": describe()}


def _text(name: str, found: dict[str, Any]) -> str:
    about = found["about"]
    machine = dict(about["machine"])
    where = f"{machine.pop('processor')}, {machine.pop('cores')} cores, {machine.pop('system')}"
    versions = machine | found.get("versions", {})
    named = ", ".join(f"{package} {version}" for package, version in versions.items())
    measured = f"Measured {about['date']} with `{about['command']}`, load {number(about['load'], 2)} at the start."
    return f"{_SECTIONS[name].render(found)}\n\n{measured} {where}; {named}."


def _write(page: Path, results: dict[str, Any]) -> None:
    """Replace the sections that were measured, in the page and in the JSON file; the others stand."""
    page.parent.mkdir(parents=True, exist_ok=True)
    text = page.read_text() if page.exists() else ""
    for name, found in results.items():
        text = replace_section(text, name, _text(name, found))
    page.write_text(text)
    numbers = page.with_suffix(".json")
    known = json.loads(numbers.read_text()) if numbers.exists() else {}
    numbers.write_text(json.dumps(known | results, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
