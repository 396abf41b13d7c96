"""bayesgmm: the loop alone for plain iterations, the engine and `fit_em` for the rest."""

from typing import Any

import numpy as np

from bayesgmm.data import Scaling
from bayesgmm.em.fit import fit_em
from bayesgmm.em.loop import Settings, run_em
from bayesgmm.em.maximise import maximise
from bayesgmm.em.rows import pack
from bayesgmm.em.statistics import Parameters, Pass
from bayesgmm.mixture import Mixture
from bayesgmm.structure import as_structure
from benchmarks.em.problems import Estimate

__all__ = ["Adapter"]

_NEVER = 10**9


class Adapter:
    def __init__(self, n_threads: int) -> None:
        self._n_threads = n_threads

    def load(self, X: np.ndarray) -> None:
        self._X = X

    def iterate(self, start: Estimate, *, structure: str, n_iter: int) -> Estimate:
        # The first pass is at the start itself, before any M step.
        settings = Settings(as_structure(structure), max_iter=n_iter + 1, tol=0.0, n_plain=_NEVER)
        with Pass.over(pack(self._X), self._n_threads) as data:
            run = run_em(data, Parameters(start.weights, start.means, start.covariances), settings)
        if run.n_passes != n_iter + 1:
            raise RuntimeError(f"EM stopped after {run.n_passes} passes")
        return Estimate(*run.parameters, passes=n_iter)

    def converge(self, start: Estimate, *, public: bool) -> Estimate:
        """Run the engine on standardised rows, or `fit_em`, which also prepares the table and assembles a result."""
        mixture = Mixture(start.weights, start.means, start.covariances)
        if public:
            return self._fit(mixture.n_components, start=mixture)
        scaling = Scaling(self._X.mean(axis=0), self._X.std(axis=0))
        solution = maximise(
            scaling.standardize(self._X),
            mixture.n_components,
            start=scaling.mixture_to_standard(mixture),
            n_threads=self._n_threads,
        )
        found = scaling.mixture_to_user(solution.mixture)
        return Estimate(found.weights, found.means, found.covariances, solution.n_iter)

    def search(self, n_components: int, *, seed: int, n_starts: int = 32) -> Estimate:
        return self._fit(n_components, seed=seed, n_starts=n_starts)

    def _fit(self, n_components: int, **options: Any) -> Estimate:
        fit = fit_em(self._X, n_components, n_threads=self._n_threads, **options)
        passes = fit.info.diagnostics["iterations"]
        return Estimate(fit.mixture.weights, fit.mixture.means, fit.mixture.covariances, passes)
