"""The data that EM is measured on, and where it starts.

Simulated problems come from a seed, real ones from the package. A start is a set of parameters, so that every peer can
be given the same one: the truth, blurred, where only time is measured; a k-means partition's moments where the way to
the optimum matters.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

__all__ = [
    "Estimate",
    "Problem",
    "blurred",
    "from_labels",
    "hard_problem",
    "mean_log_likelihood",
    "overlapping",
    "real",
]

Floats = NDArray[np.float64]

_ROWS_AT_ONCE = 100_000


@dataclass(frozen=True)
class Estimate:
    """Parameters of a mixture, user's units, and the passes over the data that they took; NaN where not known.

    `seconds` is set by a peer that runs in a process of its own and times itself.
    """

    weights: Floats
    means: Floats
    covariances: Floats
    passes: float = float("nan")
    seconds: float | None = None


@dataclass(frozen=True)
class Problem:
    """Rows (n, D) and the parameters to start from."""

    name: str
    X: Floats
    start: Estimate

    @property
    def n_components(self) -> int:
        return len(self.start.weights)

    def save(self, path: Path) -> None:
        """Write the problem for the processes that work on it."""
        np.savez(path, X=self.X, w=self.start.weights, m=self.start.means, c=self.start.covariances)

    @classmethod
    def load(cls, path: Path) -> "Problem":
        """Read what `save` wrote."""
        with np.load(path) as file:
            return cls(path.stem, file["X"], Estimate(file["w"], file["m"], file["c"]))


def mean_log_likelihood(X: Floats, estimate: Estimate) -> float:
    """Compute the log-likelihood per row in the plainest way; every peer is judged by this one."""
    constants = np.log(estimate.weights) - 0.5 * X.shape[1] * np.log(2.0 * np.pi)
    chols = np.linalg.cholesky(estimate.covariances)
    total = 0.0
    for rows in np.array_split(X, -(-len(X) // _ROWS_AT_ONCE)):
        log_joint = np.empty((len(chols), len(rows)))
        for k, (mean, chol) in enumerate(zip(estimate.means, chols, strict=True)):
            y = solve_triangular(chol, (rows - mean).T, lower=True)
            log_joint[k] = constants[k] - np.log(np.diagonal(chol)).sum() - 0.5 * (y**2).sum(axis=0)
        total += float(logsumexp(log_joint, axis=0).sum())
    return total / len(X)


# ---------------------------------------------------------------- simulated


def blurred(n: int, d: int, k: int, structure: str = "full", seed: int = 0) -> Problem:
    """Return a mixture that overlaps so much that EM is at work for hundreds of passes, started near the truth.

    Where components are far apart EM is over after ten passes, and peers that notice it stop.
    """
    rng = np.random.default_rng(seed)
    means = rng.normal(0.0, 2.5 / np.sqrt(2.0 * d), (k, d))
    truth = Estimate(rng.dirichlet(np.full(k, 5.0)), means, _covariances(rng, k, d, 0.8, 1.25))
    X = _sample(rng, truth, n)
    means = truth.means + rng.normal(0.0, 0.2, (k, d))
    start = Estimate(np.full(k, 1.0 / k), means, _of_structure(1.2 * truth.covariances, structure))
    return Problem(f"n={n} d={d} k={k} {structure}", X, start)


def overlapping(n: int, d: int, k: int, separation: float, seed: int) -> Problem:
    """Return a mixture whose means lie so many standard deviations apart, started from k-means."""
    rng = np.random.default_rng(seed)
    means = rng.normal(0.0, separation / np.sqrt(2.0), (k, d))
    truth = Estimate(rng.dirichlet(np.full(k, 4.0)), means, _covariances(rng, k, d, 0.5, 1.5))
    X = _sample(rng, truth, n)
    return Problem(f"simulated, D={d}, K={k}, n={n}", X, k_means_start(X, k))


def hard_problem(number: int) -> Problem:
    """Return one of the mixtures on which optima are searched: K 4 to 9, D 2 to 6, unequal and overlapping.

    Its start is the truth, which no peer is told: EM from there is one of the candidates for the best optimum known.
    """
    rng = np.random.default_rng([2024, number])
    k, d = 4 + number % 6, 2 + number % 5
    weights = 0.03 + (1.0 - 0.03 * k) * rng.dirichlet(np.full(k, 1.5))
    means = rng.normal(0.0, rng.uniform(1.2, 2.2), (k, d))
    truth = Estimate(weights, means, _covariances(rng, k, d, 0.1, 1.5))
    X = _sample(rng, truth, 400 * k)
    return Problem(f"hard {number}: D={d}, K={k}", X, truth)


def _covariances(rng: np.random.Generator, k: int, d: int, smallest: float, largest: float) -> Floats:
    """Draw covariances with random axes and eigenvalues spread evenly on the log scale."""
    axes = np.linalg.qr(rng.normal(size=(k, d, d)))[0]
    values = np.exp(rng.uniform(np.log(smallest), np.log(largest), (k, 1, d)))
    return (axes * values) @ axes.transpose(0, 2, 1)


def _sample(rng: np.random.Generator, truth: Estimate, n: int) -> Floats:
    labels = rng.choice(len(truth.weights), size=n, p=truth.weights)
    noise = rng.normal(size=(n, truth.means.shape[1]))
    chols = np.linalg.cholesky(truth.covariances)
    X = np.empty_like(noise)
    for k, chol in enumerate(chols):
        X[labels == k] = truth.means[k] + noise[labels == k] @ chol.T
    return X


def _of_structure(covariances: Floats, structure: str) -> Floats:
    k, d, _ = covariances.shape
    variances = np.diagonal(covariances, axis1=1, axis2=2)
    if structure == "tied":
        return np.broadcast_to(covariances.mean(axis=0), (k, d, d)).copy()
    if structure == "diag":
        return variances[:, :, None] * np.eye(d)
    if structure == "spherical":
        return variances.mean(axis=1)[:, None, None] * np.eye(d)
    return covariances


# ---------------------------------------------------------------- real, and starts


def real(name: str, k: int) -> Problem:
    """Return a data set of the package, started from k-means."""
    from bayesgmm.data.datasets import load_dataset

    X = np.ascontiguousarray(load_dataset(name).to_numpy(dtype=np.float64))
    return Problem(f"{name}, D={X.shape[1]}, K={k}, n={len(X)}", X, k_means_start(X, k))


def k_means_start(X: Floats, k: int) -> Estimate:
    """Return the moments of a k-means partition of the scaled rows."""
    from sklearn.cluster import KMeans

    labels = KMeans(k, n_init=1, random_state=0).fit_predict((X - X.mean(axis=0)) / X.std(axis=0))
    return from_labels(X, labels, k)


def from_labels(X: Floats, labels: NDArray[np.integer], k: int) -> Estimate:
    """Return weights, means and covariances of the groups."""
    groups = [X[labels == group] for group in range(k)]
    covariances = np.stack([np.atleast_2d(np.cov(rows.T, bias=True)) for rows in groups])
    weights = np.array([len(rows) for rows in groups]) / len(X)
    return Estimate(weights, np.stack([rows.mean(axis=0) for rows in groups]), covariances)
