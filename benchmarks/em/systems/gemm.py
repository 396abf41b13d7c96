"""A bound: the time that BLAS, at the rate of a large square product, needs for the arithmetic of an EM iteration.

For each row and component an iteration multiplies a triangle by a vector (the distance) and adds a triangle of products
(the second moment): D^2 additions and multiplications each, 2 n K D^2 in all, when no half of a matrix is computed in
vain. Nothing is counted for exponentials, nor for reading the data.
"""

import time

import numpy as np

from benchmarks.em.problems import Estimate

__all__ = ["Adapter"]

_SIZE = 1536


class Adapter:
    def __init__(self, n_threads: int) -> None:
        self._now = time.process_time if n_threads == 1 else time.perf_counter
        rng = np.random.default_rng(0)
        self._a, self._b, self._out = (rng.normal(size=(_SIZE, _SIZE)) for _ in range(3))

    def load(self, X: np.ndarray) -> None:
        self._shape = X.shape

    def iterate(self, start: Estimate, *, structure: str, n_iter: int) -> Estimate:
        del structure
        begun = self._now()
        np.dot(self._a, self._b, out=self._out)
        per_operation = (self._now() - begun) / (2.0 * _SIZE**3)
        n, d = self._shape
        seconds = n_iter * per_operation * 2.0 * n * len(start.weights) * d**2
        return Estimate(start.weights, start.means, start.covariances, n_iter, seconds)
