"""R's mclust, through Rscript; it times itself, by the processor, so that the start of R does not count."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.em.problems import Estimate

__all__ = ["Adapter"]

_SCRIPT = Path(__file__).with_name("mclust.R")


class Adapter:
    def __init__(self, n_threads: int) -> None:
        del n_threads  # mclust has one
        rscript = shutil.which("Rscript")
        if rscript is None:
            raise ImportError("Rscript is not installed")
        self._rscript = rscript
        answer = subprocess.run(
            [rscript, "-e", "cat(as.character(packageVersion('mclust')))"], capture_output=True, text=True, check=False
        )
        if answer.returncode != 0:
            raise ImportError("R has no package mclust")
        self.version = answer.stdout.strip()

    def load(self, X: np.ndarray) -> None:
        self._X = X

    def converge(self, start: Estimate, *, tol: float, max_iter: int) -> Estimate:
        return self._run("em", len(start.weights), tol, max_iter, start)

    def search(self, n_components: int, *, seed: int) -> Estimate:
        return self._run("search", n_components, seed, 0, None)

    def _run(self, task: str, k: int, number: float, max_iter: int, start: Estimate | None) -> Estimate:
        """Run the script; all arrays pass through one file of doubles each way, in R's order of axes."""
        n, d = self._X.shape
        parts = [self._X.T.ravel()]
        if start is not None:
            parts += [start.weights, start.means.ravel(), start.covariances.ravel()]
        with tempfile.TemporaryDirectory() as folder:
            given, taken = Path(folder, "given.bin"), Path(folder, "taken.bin")
            np.concatenate(parts).tofile(given)
            arguments = [task, given, taken, n, d, k, repr(number), max_iter]
            answer = subprocess.run(
                [self._rscript, _SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False
            )
            if answer.returncode != 0:
                raise RuntimeError(f"mclust: {answer.stderr.strip().splitlines()[-1:]}")
            values = np.fromfile(taken)
        seconds, passes, weights, means, covariances = np.split(values, np.cumsum([1, 1, k, k * d]))
        return Estimate(weights, means.reshape(k, d), covariances.reshape(k, d, d), passes[0], seconds[0])
