"""bayesgmm: the density that its samplers call, and `fit_bayes` from the table to the result."""

from collections.abc import Callable
from typing import Any

import numpy as np

from bayesgmm.bayes.density import UnconstrainedDensity, unconstrained_density
from bayesgmm.bayes.fit import fit_bayes
from bayesgmm.bayes.model import build_model, start_values
from bayesgmm.bayes.nutpie_chains import sample_vectors
from bayesgmm.bayes.priors import Priors
from bayesgmm.mixture import Mixture
from bayesgmm.structure import as_structure
from benchmarks.bayes.problems import Target

__all__ = ["Adapter"]


class Adapter:
    def load(self, target: Target) -> None:
        self._target = target
        self._compiled: UnconstrainedDensity | None = None

    def gradient(self, *, prior: str = "lkj") -> Callable[[], Any]:
        density = self._density(prior)
        return lambda: density.evaluate(density.start)

    def sample(
        self, *, prior: str = "wishart", sampler: str = "nuts", is_whole: bool = True, **plan: Any
    ) -> tuple[Any, Any, Any]:
        """Fit, with EM, relabelling and everything else that a result has; or draw alone, as the peers do."""
        if not is_whole:
            return self._draw(prior, **plan)
        options = {"cores": 1} if sampler in {"nuts", "gibbs"} else {}
        if sampler == "nuts":
            del plan["tune"]  # it is part of what `fit_bayes` chooses for itself
        fit = fit_bayes(
            self._target.rows, self._target.n_components, priors=Priors(covariance=prior), sampler=sampler,
            **plan, **options,
        )  # fmt: skip
        standard = fit.scaling.mixture_to_standard(fit.mixture)
        return standard.weights, standard.means, standard.covariances

    def _draw(self, prior: str, *, draws: int, tune: int, chains: int, seed: int) -> tuple[Any, Any, Any]:
        if self._compiled is None:
            self._compiled = self._density(prior)
        density = self._compiled
        starts = np.tile(density.start, (chains, 1))
        vectors, _ = sample_vectors(density, starts, draws, tune, seed, progress=False, options={"cores": 1})
        found = density.expand(vectors.reshape(-1, density.size))
        weights, means, covariances = (
            found[name].reshape(chains, draws, *found[name].shape[1:]) for name in ("weights", "means", "covariances")
        )
        return weights, means, 0.5 * (covariances + np.swapaxes(covariances, -1, -2))

    def _density(self, prior: str) -> UnconstrainedDensity:
        target = self._target
        model = build_model(target.rows, target.n_components, "full", Priors(covariance=prior))
        start = start_values(model, as_structure("full"), Mixture(target.weights, target.means, target.covariances))
        return unconstrained_density(model, start)
