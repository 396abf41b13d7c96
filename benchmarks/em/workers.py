"""One process for each system, with a fixed number of threads, asked one at a time.

Interleaving the systems, repetition by repetition, is what makes their ratios hold on a machine whose speed drifts; a
process each keeps their thread pools, their memory and their failures apart.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Self

import numpy as np

from benchmarks.em.problems import Estimate
from benchmarks.machine import has_avx512, usable_cores

__all__ = ["FailedError", "MissingError", "UnsupportedError", "Worker", "estimate_of", "interleave", "start_workers"]

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS", "NPROC",
)  # fmt: skip
# Lines of the standard error of a process that died.
_LAST_LINES = 3


class MissingError(Exception):
    """The system is not installed."""


class UnsupportedError(Exception):
    """The system cannot do this."""


class FailedError(Exception):
    """The system tried and failed."""


class Worker:
    """A process that one system runs in.

    Parameters
    ----------
    name : str
        The system, one of `systems.SYSTEMS`.
    n_threads : int
        Threads; the process is also bound to as many cores, where the operating system can do that.
    module : str, default "benchmarks.em.serve"
        What runs in the process.
    """

    def __init__(self, name: str, n_threads: int, module: str = "benchmarks.em.serve") -> None:
        self.name = name
        cores = usable_cores()[-n_threads:]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, name, str(n_threads), *map(str, cores)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=_environment(name, n_threads),
        )
        try:
            self.version = self._answer().get("version")
        except Exception:
            self.close()
            raise

    def ask(self, task: str, **options: Any) -> dict[str, Any]:
        """Send a task, wait for its answer.

        Raises
        ------
        UnsupportedError
            When the system cannot do this.
        FailedError
            When it tried and failed, or died.
        """
        try:
            print(json.dumps({"task": task, **options}), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise FailedError(f"{self.name} has died") from None
        return self._answer()

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):  # a process that died has nothing to close
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise FailedError(f"{self.name} died: {' '.join(self._errors.read().splitlines()[-_LAST_LINES:])}")
        answer = json.loads(line)
        for key, error in {"missing": MissingError, "unsupported": UnsupportedError, "failed": FailedError}.items():
            if key in answer:
                raise error(f"{self.name}: {answer[key]}")
        return answer


@contextmanager
def start_workers(names: Sequence[str], n_threads: int) -> Iterator[tuple[dict[str, Worker], list[str]]]:
    """Start the systems that are installed; give them, and the names of the others."""
    workers, missing = {}, []
    with ExitStack() as stack:
        for name in names:
            try:
                workers[name] = stack.enter_context(Worker(name, n_threads))
            except MissingError:
                missing.append(name)
        yield workers, missing


def interleave(
    calls: dict[str, Callable[[], dict[str, Any]]], repetitions: int
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """Make every call in turn, so many times over.

    Returns the answers, and why others gave none: a call that fails or is not supported is left out from there on.
    """
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in calls}
    refusals: dict[str, str] = {}
    for _ in range(repetitions):
        for name in list(answers):
            try:
                answers[name].append(calls[name]())
            except (UnsupportedError, FailedError) as refused:
                refusals[name] = str(refused)
                del answers[name]
    return answers, refusals


def estimate_of(answer: dict[str, Any]) -> Estimate:
    """Return the parameters in an answer."""
    return Estimate(*(np.array(answer[part]) for part in ("weights", "means", "covariances")), answer["passes"])


def _environment(name: str, n_threads: int) -> dict[str, str]:
    """Return the environment in which every threading library sees the same number of threads."""
    environment = os.environ | dict.fromkeys(_THREAD_VARIABLES, str(n_threads)) | {"JAX_PLATFORMS": "cpu"}
    if name == "dgemm" and has_avx512():
        # Left to itself OpenBLAS 0.3.34 took AVX2 on a processor with AVX-512: 55 GFLOP/s instead of 92.
        environment["OPENBLAS_CORETYPE"] = "SkylakeX"
    return environment
