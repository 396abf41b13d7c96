"""The process that one system runs in: reads a task per line, answers with a line of JSON.

Started by `workers` with the threads already limited in the environment; here the process is bound to as many cores
before anything is imported that might count them. What libraries print goes to the standard error.
"""

import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["main"]

# A short call is repeated until so many seconds are over, and the median counts.
_LONG_ENOUGH = 0.2
_WARM_UP_ROWS = 2000
_KILOBYTE = 1024 if sys.platform != "darwin" else 1


class Server:
    def __init__(self, name: str, n_threads: int) -> None:
        from benchmarks.em.systems import open_system

        self._system = open_system(name, n_threads)
        # With one thread the time of the processor: it is that of the clock on an idle core, and holds on a busy one.
        self._now = time.process_time if n_threads == 1 else time.perf_counter
        self.version = getattr(self._system, "version", None)

    def open(self, path: str) -> dict[str, Any]:
        """Load a problem."""
        from benchmarks.em.problems import Problem

        self._problem = Problem.load(Path(path))
        self._system.load(self._problem.X)
        return {}

    def iterate(self, **options: Any) -> dict[str, Any]:
        return self._timed(lambda: self._system.iterate(self._problem.start, **options), repeated=False)

    def converge(self, **options: Any) -> dict[str, Any]:
        return self._timed(lambda: self._system.converge(self._problem.start, **options), repeated=True)

    def search(self, **options: Any) -> dict[str, Any]:
        k = self._problem.n_components
        return self._timed(lambda: self._system.search(k, **options), repeated=False)

    def memory(self, path: str, method: str, **options: Any) -> dict[str, Any]:
        """Return by how many bytes the peak of this process rises in a call; to be asked once in a process."""
        from benchmarks.em.problems import Problem

        problem = Problem.load(Path(path))
        call = getattr(self._system, method)
        self._system.load(problem.X[:_WARM_UP_ROWS].copy())
        call(problem.start, **options)
        self._system.load(problem.X)
        _forget_peak()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        call(problem.start, **options)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"bytes": (after - before) * _KILOBYTE}

    def _timed(self, call: Callable[[], Any], *, repeated: bool) -> dict[str, Any]:
        seconds: list[float] = []
        cpu_begun, begun = time.process_time(), time.perf_counter()
        while True:
            call_begun = self._now()
            estimate = call()
            seconds.append(self._now() - call_begun)
            elapsed = time.perf_counter() - begun
            if not repeated or estimate.seconds is not None or elapsed > _LONG_ENOUGH:
                break
        return {
            "seconds": median(seconds) if estimate.seconds is None else estimate.seconds,
            "cores": (time.process_time() - cpu_begun) / elapsed,
            "passes": float(estimate.passes),
            "weights": estimate.weights.tolist(),
            "means": estimate.means.tolist(),
            "covariances": estimate.covariances.tolist(),
        }


def _forget_peak() -> None:
    """Let the peak begin at what is in use, on Linux; elsewhere reading the problem may hide some of the rise."""
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")


def main(make_server: Callable[[str, int], Any] = Server) -> None:
    """Serve until the input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    warnings.simplefilter("ignore")
    name, n_threads, *cores = sys.argv[1:]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in cores})
    try:
        server = make_server(name, int(n_threads))
    except ImportError as missing:
        print(json.dumps({"missing": str(missing)}), file=answers)
        return
    print(json.dumps({"version": server.version}), file=answers)
    for line in sys.stdin:
        task = json.loads(line)
        try:
            answer = getattr(server, task.pop("task"))(**task)
        except NotImplementedError as refused:
            answer = {"unsupported": str(refused)}
        except (ValueError, ArithmeticError, RuntimeError, MemoryError) as failed:
            answer = {"failed": f"{type(failed).__name__}: {failed}"}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
