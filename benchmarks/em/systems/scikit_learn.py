"""scikit-learn's GaussianMixture, without the regularisation where the same model is compared."""

from typing import Any

import numpy as np
from sklearn.mixture import GaussianMixture

from benchmarks.em.problems import Estimate

__all__ = ["Adapter"]


class Adapter:
    def __init__(self, n_threads: int) -> None:
        del n_threads  # the environment has told BLAS and OpenMP

    def load(self, X: np.ndarray) -> None:
        self._X = X

    def iterate(self, start: Estimate, *, structure: str, n_iter: int) -> Estimate:
        # A tolerance below zero is refused; a gain is never below zero, so that zero never stops a run.
        return self._fit(start, structure, tol=0.0, max_iter=n_iter)

    def converge(self, start: Estimate, *, tol: float, max_iter: int) -> Estimate:
        return self._fit(start, "full", tol=tol, max_iter=max_iter)

    def search(self, n_components: int, *, seed: int, **options: Any) -> Estimate:
        return _estimate(GaussianMixture(n_components, random_state=seed, **options).fit(self._X))

    def _fit(self, start: Estimate, structure: str, **options: Any) -> Estimate:
        model = GaussianMixture(
            len(start.weights),
            covariance_type=structure,
            reg_covar=0.0,
            weights_init=start.weights,
            means_init=start.means,
            precisions_init=_precisions(start.covariances, structure),
            **options,
        )
        return _estimate(model.fit(self._X))


def _precisions(covariances: np.ndarray, structure: str) -> np.ndarray:
    precisions = np.linalg.inv(covariances)
    variances = np.diagonal(precisions, axis1=1, axis2=2)
    return {
        "full": precisions,
        "tied": precisions[0],
        "diag": variances,
        "spherical": variances[:, 0],
    }[structure]


def _estimate(model: GaussianMixture) -> Estimate:
    k, d = model.means_.shape
    found = model.covariances_
    if model.covariance_type == "tied":
        found = np.broadcast_to(found, (k, d, d))
    elif model.covariance_type == "diag":
        found = found[:, :, None] * np.eye(d)
    elif model.covariance_type == "spherical":
        found = found[:, None, None] * np.eye(d)
    return Estimate(model.weights_, model.means_, found, model.n_iter_)
