"""The mixture as PyMC's documentation writes it, `pm.Mixture` of `pm.MvNormal`, sampled by nutpie."""

from collections.abc import Callable
from typing import Any

import numpy as np
import nutpie
import pymc as pm

from benchmarks.bayes.problems import Target

__all__ = ["Adapter"]


class Adapter:
    def load(self, target: Target) -> None:
        self._target = target
        self._compiled: Any = None

    def gradient(self) -> Callable[[], Any]:
        model = self._model()
        function = model.logp_dlogp_function(ravel_inputs=True)
        function.set_extra_values({})
        point = model.initial_point()
        vector = np.concatenate([np.ravel(point[variable.name]) for variable in model.value_vars])
        return lambda: function(vector)

    def sample(self, *, draws: int, tune: int, chains: int, seed: int) -> tuple[Any, Any, Any]:
        if self._compiled is None:
            self._compiled = nutpie.compile_pymc_model(self._model(), jitter_rvs=set())
        tree = nutpie.sample(
            self._compiled, draws=draws, tune=tune, chains=chains, seed=seed, cores=1, progress_bar=False,
            save_warmup=False,
        )  # fmt: skip
        posterior = tree["posterior"]
        packed = np.stack([posterior[f"chol_{k}"].values for k in range(self._target.n_components)], axis=2)
        rows, columns = np.tril_indices(self._target.rows.shape[1])
        chols = np.zeros((*packed.shape[:3], rows.max() + 1, rows.max() + 1))
        chols[..., rows, columns] = packed
        return posterior["weights"].values, posterior["means"].values, chols @ np.swapaxes(chols, -1, -2)

    def _model(self) -> pm.Model:
        target = self._target
        k, d = target.means.shape
        lower = np.tril_indices(d)
        roots = np.linalg.cholesky(target.covariances)
        with pm.Model() as model:
            weights = pm.Dirichlet("weights", target.concentration, initval=target.weights)
            means = pm.Normal("means", target.location, target.spread, shape=(k, d), initval=target.means)
            components = []
            for j in range(k):
                deviations = pm.LogNormal.dist(np.log(target.sd_median), target.sd_spread, shape=d)
                chol, _, _ = pm.LKJCholeskyCov(
                    f"chol_{j}", eta=target.eta, n=d, sd_dist=deviations, initval=roots[j][lower]
                )
                components.append(pm.MvNormal.dist(means[j], chol=chol))
            pm.Mixture("x", w=weights, comp_dists=components, observed=target.rows)
        return model
