"""`fit_kmeans`: k-means as the member of the mixture family that it is.

EM for equal weights and one common spherical covariance sigma^2 I, as sigma goes to zero, assigns every row to the
nearest mean and moves every mean to the average of its rows: Lloyd's algorithm, and the expected log-likelihood
becomes the sum of squared distances (math.md, 1.3). So a k-means result is a mixture: equal weights, the centroids,
and the variance within clusters. As a `MixtureFit` it stands beside an EM estimate and a posterior in one comparison.

The search is scikit-learn's; what is owned here is the translation.
"""

import time
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.cluster import KMeans

from bayesgmm.data import PreparedData, Scaling, prepare
from bayesgmm.em.starts import moments_of_labels
from bayesgmm.errors import ArgumentError, ConvergenceWarning
from bayesgmm.fit import FitInfo, MixtureFit, assemble, versions_of
from bayesgmm.mixture import Mixture
from bayesgmm.seeding import as_generator, recorded_seed
from bayesgmm.structure import STRUCTURES

__all__ = ["fit_kmeans"]

Floats = NDArray[np.float64]

_STRUCTURE = STRUCTURES["EII"]


def fit_kmeans(
    data: Any,
    n_components: int,
    *,
    seed: Any = None,
    n_starts: int = 10,
    max_iter: int = 1000,
    sample_weight: ArrayLike | None = None,
    missing: str = "error",
) -> MixtureFit:
    """Cluster rows by k-means and return the result as a mixture.

    Parameters
    ----------
    data : table or PreparedData
        Rows and columns; see `prepare`. Distances are Euclidean in the user's units; with ``prepare(scale="feature")``
        each column counts in units of its standard deviation.
    n_components : int
        Number of clusters, K.
    seed : int, Generator or RandomState, optional
        Source of the starts. Without one a seed is drawn, and recorded in ``fit.info.seed``.
    n_starts : int, default 10
        Number of starts (k-means++); the result with the smallest sum of squares is kept.
    max_iter : int, default 1000
        Largest number of iterations of a run. It ends when no row changes its cluster.
    sample_weight : array_like, shape (n,), optional
        Non-negative weights of the rows.
    missing : {"error", "drop"}, default "error"
        See `prepare`.

    Returns
    -------
    MixtureFit
        Method "kmeans", structure "EII", clusters by decreasing size. Weights are equal, 1 / K, so that
        ``fit.predict`` is the nearest centroid, exactly k-means' assignment; covariances are the within-cluster
        variance (sum of squares / n D) times the identity. ``fit.info.diagnostics`` has ``inertia`` (the sum of
        squared distances, user's units squared), ``shares`` (of the rows in each cluster), ``iterations`` and
        ``converged``.

    Raises
    ------
    DataError
        When the table cannot be used.
    ArgumentError
        When an argument is illegal.

    Warns
    -----
    ConvergenceWarning
        When the best run stopped at `max_iter`.

    Notes
    -----
    ``fit.log_likelihood`` is that of the mixture at these parameters. They do not maximise it, since k-means maximises
    the classification likelihood, and ``fit.n_parameters`` counts weights that are not estimated: prefer `fit_em` with
    ``structure="EII"`` for BIC and its kin.

    References
    ----------
    Lloyd (1982), IEEE Trans. Inf. Theory 28, 129-137. Celeux & Govaert (1992), Comput. Stat. Data Anal. 14, 315-332.

    Examples
    --------
    >>> from bayesgmm import load_dataset
    >>> fit = fit_kmeans(load_dataset("faithful"), 2, seed=0)
    >>> round(fit.info.diagnostics["inertia"], 2)
    8901.77
    """
    _check_counts(n_starts=n_starts, max_iter=max_iter)
    prepared = prepare(data, sample_weight=sample_weight, missing=missing)
    prepared.check_complete("k-means")
    prepared.check_components(n_components)
    prepared.check_complete("k-means")
    number = recorded_seed(seed)
    begun = time.perf_counter()
    scaling = prepared.scaling(_STRUCTURE)
    Z = scaling.standardize(prepared.values)
    # tol=0: until no row changes its cluster, so that the centroids are the means of their rows.
    search = KMeans(
        n_components, n_init=n_starts, max_iter=max_iter, tol=0.0,
        random_state=int(as_generator(number).integers(2**31)),
    ).fit(Z, sample_weight=prepared.sample_weight)  # fmt: skip
    mixture, diagnostics = _translated(Z, search.labels_, n_components, prepared, scaling)
    diagnostics |= {
        "converged": search.n_iter_ < max_iter, "iterations": int(search.n_iter_),
        "seconds": time.perf_counter() - begun,
    }  # fmt: skip
    if not diagnostics["converged"]:
        warnings.warn(
            f"k-means stopped after {max_iter} iterations while rows still changed their clusters; raise max_iter",
            ConvergenceWarning,
            stacklevel=2,
        )
    settings = {
        "n_starts": int(n_starts), "max_iter": int(max_iter), "scale": prepared.scale, "n_dropped": prepared.n_dropped,
        "fixed": ["weights"],
    }  # fmt: skip
    versions = versions_of("bayesgmm", "numpy", "scikit-learn")
    info = FitInfo("kmeans", _STRUCTURE.code, int(n_components), number, settings, diagnostics, versions)
    return assemble(mixture, prepared, info, scaling)


def _check_counts(**counts: Any) -> None:
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ArgumentError(f"{name}={value!r} must be a positive whole number")


def _translated(
    Z: Floats, labels: NDArray[np.integer], k: int, prepared: PreparedData, scaling: Scaling
) -> tuple[Mixture, dict[str, Any]]:
    """Return the mixture that a partition stands for, user's units, clusters by decreasing size, and its sums."""
    d = Z.shape[1]
    moments = moments_of_labels(Z, labels.astype(np.intp), k, prepared.sample_weight)
    order = np.argsort(-moments.counts, kind="stable")
    squares = np.einsum("kdd->d", moments.scatters)
    total = float(moments.counts.sum())
    covariance = squares.sum() / (total * d) * np.eye(d)
    standard = Mixture(
        np.full(k, 1.0 / k), moments.means[order], np.broadcast_to(covariance, (k, d, d)), prepared.features
    )  # fmt: skip
    diagnostics = {
        "inertia": float(squares @ scaling.scale**2), "shares": (moments.counts[order] / total).tolist(),
    }  # fmt: skip
    return scaling.mixture_to_user(standard), diagnostics
