"""Mixtures to test on: random ones of any shape, and members of every covariance structure."""

import numpy as np
from scipy.stats import special_ortho_group

from bayesgmm.mixture import Mixture


def random_mixture(k=3, d=2, *, batch=(), seed=0, features=()):
    """Draw a mixture, or a batch, whose components overlap and whose covariances are well conditioned."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(*batch, k, d, d))
    covariances = 0.5 * roots @ np.swapaxes(roots, -1, -2) + 0.3 * np.eye(d)
    weights = rng.dirichlet(np.full(k, 3.0), size=batch)
    return Mixture(weights, 2.0 * rng.normal(size=(*batch, k, d)), covariances, features)


def random_rows(n=50, d=2, *, seed=1):
    return 2.0 * np.random.default_rng(seed).normal(size=(n, d))


def random_covariances(code, k, d, *, seed=0):
    """Draw covariances of a structure from its definition: volume x orientation x shape x orientation'."""
    rng = np.random.default_rng(seed)
    volume, shape, orientation = code

    def draw(letter, identity, one):
        if letter == "I":
            return np.stack([identity] * k)
        return np.stack([one()] * k if letter == "E" else [one() for _ in range(k)])

    volumes = draw(volume, np.ones(()), lambda: np.exp(rng.normal()))
    logs = draw(shape, np.zeros(d), lambda: rng.normal(size=d))
    shapes = np.exp(logs - logs.mean(axis=1, keepdims=True))
    axes = draw(orientation, np.eye(d), lambda: special_ortho_group(d, seed=rng).rvs() if d > 1 else np.eye(1))
    return volumes[:, None, None] * (axes * shapes[:, None, :]) @ np.swapaxes(axes, -1, -2)
