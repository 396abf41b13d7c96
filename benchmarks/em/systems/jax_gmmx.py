"""gmmx, EM in JAX: full and diagonal covariances, in single precision, which is all that it takes."""

import gmmx
import jax.numpy as jnp
import numpy as np

from benchmarks.em.problems import Estimate

__all__ = ["Adapter"]


class Adapter:
    def __init__(self, n_threads: int) -> None:
        del n_threads  # the environment and the cores of the process have told JAX

    def load(self, X: np.ndarray) -> None:
        self._X = jnp.asarray(X, dtype=jnp.float32)

    def iterate(self, start: Estimate, *, structure: str, n_iter: int) -> Estimate:
        if structure not in {"full", "diag"}:
            raise NotImplementedError(structure)
        covariances = start.covariances
        if structure == "diag":
            covariances = np.diagonal(covariances, axis1=1, axis2=2)
        means, covariances, weights = (
            jnp.asarray(part, dtype=jnp.float32) for part in (start.means, covariances, start.weights)
        )
        model = gmmx.GaussianMixtureModelJax.from_squeezed(means, covariances, weights, structure)
        # The absolute change is compared with the tolerance, so that one below zero never stops a run.
        found = gmmx.EMFitter(max_iter=n_iter, tol=-1.0, reg_covar=0.0).fit(self._X, model)
        dense = np.asarray(found.gmm.covariances.values_dense)[0]
        return Estimate(found.gmm.weights_numpy, found.gmm.means_numpy, dense, int(found.n_iter))
