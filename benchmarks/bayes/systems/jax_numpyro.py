"""numpyro, with a likelihood written by hand: one matrix product for all distances, in double precision."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import logsumexp
from numpyro.infer import MCMC, NUTS, init_to_value
from numpyro.infer.util import initialize_model

from benchmarks.bayes.problems import Target

__all__ = ["Adapter"]

numpyro.enable_x64()
# numpyro traces and compiles at every run; what JAX then keeps on disk spares it most of that, as numba does for ours.
jax.config.update("jax_compilation_cache_dir", str(Path(tempfile.gettempdir(), "benchmarks-jax-cache")))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


class Adapter:
    def load(self, target: Target) -> None:
        self._target = target
        self._rows = jnp.asarray(target.rows)
        deviations = np.sqrt(np.diagonal(target.covariances, axis1=1, axis2=2))
        correlations = target.covariances / (deviations[:, :, None] * deviations[:, None, :])
        start = {
            "weights": target.weights, "means": target.means, "sds": deviations,
            "correlation_chols": np.linalg.cholesky(correlations),
        }  # fmt: skip
        self._start = init_to_value(values={name: jnp.asarray(value) for name, value in start.items()})
        self._mcmc: dict[tuple[int, ...], MCMC] = {}

    def gradient(self) -> Callable[[], Any]:
        found = initialize_model(jax.random.PRNGKey(0), self._model, init_strategy=self._start)
        at = found.param_info.z
        function = jax.jit(jax.value_and_grad(found.potential_fn))
        return lambda: jax.block_until_ready(function(at))

    def sample(self, *, draws: int, tune: int, chains: int, seed: int) -> tuple[Any, Any, Any]:
        plan = (draws, tune, chains)
        if plan not in self._mcmc:
            kernel = NUTS(self._model, init_strategy=self._start)
            self._mcmc[plan] = MCMC(
                kernel, num_warmup=tune, num_samples=draws, num_chains=chains, chain_method="sequential",
                progress_bar=False,
            )  # fmt: skip
        self._mcmc[plan].run(jax.random.PRNGKey(seed))
        found = {name: np.asarray(part) for name, part in self._mcmc[plan].get_samples(group_by_chain=True).items()}
        chols = found["sds"][..., None] * found["correlation_chols"]
        return found["weights"], found["means"], chols @ np.swapaxes(chols, -1, -2)

    def _model(self) -> None:
        target = self._target
        k, d = target.means.shape
        weights = numpyro.sample("weights", dist.Dirichlet(jnp.asarray(target.concentration)))
        mean_law = dist.Normal(jnp.asarray(target.location), jnp.asarray(target.spread))
        means = numpyro.sample("means", mean_law.expand((k, d)).to_event(2))
        sd_law = dist.LogNormal(jnp.log(jnp.asarray(target.sd_median)), target.sd_spread)
        sds = numpyro.sample("sds", sd_law.expand((k, d)).to_event(2))
        chols = numpyro.sample("correlation_chols", dist.LKJCholesky(d, target.eta).expand((k,)).to_event(1))
        numpyro.factor("x", self._log_likelihood(weights, means, sds[..., None] * chols))

    def _log_likelihood(self, weights: Any, means: Any, chols: Any) -> Any:
        k, d = means.shape
        inverses = jax.vmap(lambda chol: solve_triangular(chol, jnp.eye(d), lower=True))(chols)
        whitened = self._rows @ inverses.reshape(k * d, d).T - jnp.einsum("kde,ke->kd", inverses, means).ravel()
        distances = (whitened.reshape(-1, k, d) ** 2).sum(axis=-1)
        log_roots = jnp.log(jnp.diagonal(inverses, axis1=1, axis2=2)).sum(axis=-1)
        log_joint = jnp.log(weights) + log_roots - 0.5 * d * jnp.log(2.0 * jnp.pi) - 0.5 * distances
        return logsumexp(log_joint, axis=-1).sum()
