"""Bridge sampling: the mass of a posterior from its draws and from those of a normal distribution fitted to them.

The bridge is the function of both densities with the smallest error (Meng & Wong 1996), found by iteration. It needs
the posterior to be connected within one copy (symmetry.py), not to be normal: what the draws never reached, it does not
count.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from bayesgmm.bayes.density import UnconstrainedDensity
from bayesgmm.bayes.symmetry import in_region
from bayesgmm.errors import FitError

__all__ = ["bridge_sampling"]

Floats = NDArray[np.float64]

_MAX_ROUNDS = 1000


def bridge_sampling(density: UnconstrainedDensity, draws: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """Estimate the log mass of the region that draws come from, by a bridge to a normal distribution.

    Parameters
    ----------
    density : UnconstrainedDensity
        Log posterior, not normalised.
    draws : ndarray, shape (chains, draws, size)
        Unconstrained draws. Those outside the region of the densest are left out (symmetry.py).
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    log_mass : float
        Log mass of one copy of the posterior.
    mcse : float
        Its approximate standard error (Fruehwirth-Schnatter 2004).

    Notes
    -----
    math.md, 11.3. The first half of every chain fits the normal distribution, the second half makes the bridge.
    """
    import arviz as az

    half = draws.shape[1] // 2
    reference = _densest(density, draws[:, :half].reshape(-1, density.size))
    fitted = _of_region(density, reference, draws[:, :half].reshape(-1, density.size))
    proposal = multivariate_normal(fitted.mean(axis=0), np.cov(fitted.T).reshape(density.size, density.size))
    posterior = _of_region(density, reference, draws[:, half:].reshape(-1, density.size))
    proposed = np.reshape(proposal.rvs(len(posterior), random_state=rng), (-1, density.size))
    at_draws = _heights(density, posterior) - proposal.logpdf(posterior)
    at_proposed = _heights(density, proposed) - proposal.logpdf(proposed)
    legal = np.flatnonzero(np.isfinite(at_proposed))
    at_proposed[legal[~in_region(density, reference, proposed[legal])]] = -np.inf
    # Draws of a chain are worth fewer than they are; the bridge gives them the weight of the effective ones.
    lengths = draws.shape[0], draws.shape[1] - half
    worth = float(az.ess(_heights(density, draws[:, half:].reshape(-1, density.size)).reshape(lengths)))
    share = len(posterior) / np.prod(lengths)
    return _bridge(at_draws, at_proposed, min(share * worth, len(posterior)))


def _bridge(at_draws: Floats, at_proposed: Floats, n_effective: float) -> tuple[float, float]:
    """Iterate Meng & Wong's optimal bridge between log ratios at draws and at proposals."""
    share = n_effective / (n_effective + len(at_proposed))
    log_mass = float(np.median(at_draws))
    for _ in range(_MAX_ROUNDS):
        above = at_proposed - np.logaddexp(np.log(share) + at_proposed, np.log1p(-share) + log_mass)
        below = -np.logaddexp(np.log(share) + at_draws, np.log1p(-share) + log_mass)
        change = logsumexp(above) - np.log(len(above)) - logsumexp(below) + np.log(len(below)) - log_mass
        log_mass += float(change)
        if abs(change) < 1e-10:
            break
    else:
        raise FitError("bridge sampling does not settle: the draws and their normal fit do not overlap; use 'smc'")
    parts = ((above, len(above)), (below, n_effective))
    squares = [np.expm1(logsumexp(2 * part) - 2 * logsumexp(part) + np.log(len(part))) / n for part, n in parts]
    return log_mass, float(np.sqrt(sum(squares)))


def _heights(density: UnconstrainedDensity, vectors: Floats) -> Floats:
    values = density.values(vectors)
    return np.where(np.isnan(values), -np.inf, values)


def _densest(density: UnconstrainedDensity, vectors: Floats) -> Floats:
    return vectors[np.argmax(_heights(density, vectors))]


def _of_region(density: UnconstrainedDensity, reference: Floats, vectors: Floats) -> Floats:
    kept = vectors[in_region(density, reference, vectors)]
    if len(kept) <= 2 * density.size:
        raise FitError(
            f"{len(kept)} of {len(vectors)} draws are in one of the equal copies of the posterior, too few for bridge "
            f"sampling in {density.size} dimensions; raise draws, or use method='laplace' or 'smc'"
        )
    return kept
