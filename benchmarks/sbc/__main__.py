"""The command line: `python -m benchmarks.sbc [--replications N] [--structures ...] [--out PAGE.md]`."""

import argparse
import datetime as dt
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from benchmarks.sbc.calibration import calibrate, cells
from benchmarks.sbc.engines import PLANS
from benchmarks.sbc.page import as_numbers, draw_pictures, table
from benchmarks.sbc.problems import N_COMPONENTS, N_ROWS, STRUCTURES
from benchmarks.tables import replace_section

__all__ = ["main"]

_SECTION = "calibration"
_SHOWN = ("python", "bayesgmm", "pymc", "pytensor", "nutpie", "numpy", "numba")


def main(arguments: list[str] | None = None) -> None:
    """Calibrate, print and, with --out, write."""
    options = _parser().parse_args(arguments)
    # Before the processes start: they take it over.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    begun, found = time.perf_counter(), []
    for cell in calibrate(cells(options.structures, options.engines), options.replications, n_processes=options.jobs):
        found.append(cell)
        print(f"{_line(as_numbers(cell))}, after {time.perf_counter() - begun:.0f} s", flush=True)
    numbers = [as_numbers(cell) for cell in found]
    text = f"{table(numbers)}\n\n{_about(options, (time.perf_counter() - begun) / 60)}"
    print(f"\n{text}")
    if options.out is not None:
        pictures = draw_pictures(found, options.out.parent / "images")
        page = options.out.read_text() if options.out.exists() else ""
        options.out.write_text(replace_section(page, _SECTION, "\n\n".join([*pictures, text])))
        options.out.with_suffix(".json").write_text(json.dumps({"cells": numbers, "machine": describe()}) + "\n")


def _line(cell: dict[str, Any]) -> str:
    name = f"{cell['structure']} by {cell['engine']}"
    least = min(cell["p_values"].values(), default=float("nan"))
    return f"{name}: {cell['replications']} replications, {cell['refused']} refused, smallest p {least:.2g}"


def _about(options: argparse.Namespace, minutes: float) -> str:
    machine, date = describe(), dt.datetime.now(dt.UTC).date().isoformat()
    versions = ", ".join(f"{name} {machine[name]}" for name in _SHOWN if name in machine)
    command = f"make sbc ARGS='--replications {options.replications}'"
    return (
        f"Measured {date} with `{command}`: {N_ROWS} rows, 2 columns, {N_COMPONENTS} components, "
        f"{options.jobs} processes, {minutes:.0f} minutes; {machine['processor']}; {versions}."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sbc", description="Simulation-based calibration of the engines."
    )
    parser.add_argument("--replications", type=int, default=200, help="draws from the prior (default 200)")
    parser.add_argument("--structures", nargs="+", default=STRUCTURES, help=f"default {' '.join(STRUCTURES)}")
    parser.add_argument("--engines", nargs="+", choices=tuple(PLANS), default=tuple(PLANS), help="default all of them")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument(
        "--out", type=Path, help="a Markdown page whose table is replaced; picture and JSON go beside it"
    )
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
