"""Densities made by hand, whose mass is known: two components of equal weight and unit variance, with free means."""

import numpy as np
from scipy.stats import multivariate_normal

from bayesgmm.bayes.density import UnconstrainedDensity

LOG_MASS = 3.0


def two_means(apart, sd=0.4):
    """Return a posterior of two means in its two numberings, each with the mass exp(LOG_MASS)."""
    centres = np.array([[-apart, apart], [apart, -apart]])
    copies = [multivariate_normal(centre, sd**2 * np.eye(2)) for centre in centres]

    def evaluate(vector):
        logs = LOG_MASS + np.array([copy.logpdf(vector) for copy in copies])
        value = np.logaddexp(*logs)
        shares = np.exp(logs - value)
        return float(value), shares @ (centres - vector) / sd**2

    def expand(vectors):
        n = len(vectors)
        return {
            "weights": np.full((n, 2), 0.5), "means": vectors[:, :, None].copy(), "covariances": np.ones((n, 2, 1, 1)),
        }  # fmt: skip

    def sample(shape, rng):
        which = rng.integers(2, size=shape)
        return centres[which] + sd * rng.normal(size=(*shape, 2))

    return UnconstrainedDensity(2, evaluate, expand, centres[0] + 0.1), sample


def normal(size, seed=0):
    """Return a normal density with the mass exp(LOG_MASS), its mean and its covariance; one component of mean x0."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(size, size))
    mean, cov = rng.normal(size=size), root @ root.T + 0.5 * np.eye(size)
    law, precision = multivariate_normal(mean, cov), np.linalg.inv(cov)

    def evaluate(vector):
        return float(LOG_MASS + law.logpdf(vector)), precision @ (mean - vector)

    def expand(vectors):
        n = len(vectors)
        return {"weights": np.ones((n, 1)), "means": vectors[:, :1, None], "covariances": np.ones((n, 1, 1, 1))}

    return UnconstrainedDensity(size, evaluate, expand, np.zeros(size)), mean, cov
