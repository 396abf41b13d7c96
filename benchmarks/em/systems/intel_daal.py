"""daal4py, Intel's library below scikit-learn-intelex: full and diagonal covariances."""

import daal4py
import numpy as np

from benchmarks.em.problems import Estimate

__all__ = ["Adapter"]

_STORAGE = {"full": "full", "diag": "diagonal"}


class Adapter:
    def __init__(self, n_threads: int) -> None:
        daal4py.daalinit(n_threads)

    def load(self, X: np.ndarray) -> None:
        self._X = X

    def iterate(self, start: Estimate, *, structure: str, n_iter: int) -> Estimate:
        found = self._fit(start, structure, threshold=0.0, max_iter=n_iter)
        if found.passes != n_iter:
            raise RuntimeError(f"daal4py stopped after {found.passes} of {n_iter} iterations")
        return found

    def converge(self, start: Estimate, *, threshold: float, max_iter: int) -> Estimate:
        return self._fit(start, "full", threshold=threshold, max_iter=max_iter)

    def search(self, n_components: int, *, seed: int, max_iter: int, n_starts: int = 1) -> Estimate:
        runs = [self._own_start(n_components, 1000 * seed + number, max_iter) for number in range(n_starts)]
        return max(runs, key=lambda run: run[0])[1]

    def _own_start(self, n_components: int, seed: int, max_iter: int) -> tuple[float, Estimate]:
        engine = daal4py.engines_mt19937(seed=seed)
        first = daal4py.em_gmm_init(nComponents=n_components, engine=engine).compute(self._X)
        start = Estimate(first.weights[0], first.means, np.stack(first.covariances))
        return self._run(start, "full", threshold=1e-4, max_iter=max_iter)

    def _fit(self, start: Estimate, structure: str, **limits: float) -> Estimate:
        return self._run(start, structure, **limits)[1]

    def _run(self, start: Estimate, structure: str, *, threshold: float, max_iter: int) -> tuple[float, Estimate]:
        """Return the log-likelihood that daal4py reports, one step behind, and the parameters."""
        if structure not in _STORAGE:
            raise NotImplementedError(structure)
        is_full = structure == "full"
        covariances = [c if is_full else np.diagonal(c)[None].copy() for c in start.covariances]
        found = daal4py.em_gmm(
            nComponents=len(start.weights),
            maxIterations=max_iter,
            accuracyThreshold=threshold,
            regularizationFactor=0.0,
            covarianceStorage=_STORAGE[structure],
        ).compute(self._X, start.weights[None], start.means, covariances)
        final = [c if is_full else np.diag(c[0]) for c in found.covariances]
        estimate = Estimate(found.weights[0], found.means, np.stack(final), int(found.nIterations[0, 0]))
        return float(found.goalFunction[0, 0]), estimate
