"""The mass that the guard against spikes leaves to a prior, which the log density leaves out.

Under the prior of precisions.py the guard is part of a density whose constant without it is known. Elsewhere it is a
potential, a factor beside densities that are normalised. Either way an evidence has to be divided by the guard's
expectation under the prior.
"""

import numpy as np
import pymc as pm
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import wishart

__all__ = ["log_potential_mass", "log_prior_mass"]

Floats = NDArray[np.float64]

# Draws from the prior.
_PRIOR_DRAWS = 20_000
_POTENTIAL_DRAWS = 5000


def log_prior_mass(model: pm.Model) -> tuple[float, float]:
    """Return the log of the mass that the guard against spikes leaves to the prior (math.md, 11.5).

    Parameters
    ----------
    model : pymc.Model
        A model; without a guard the mass is one.

    Returns
    -------
    log_mass : float
        Zero or a little less.
    mcse : float
        Its Monte Carlo standard error.

    Notes
    -----
    Under the prior of precisions.py the expectation of the guard, given the shared scale matrix C, is a ratio of
    determinants, and C is averaged over draws. Where the guard is a potential, it is averaged itself.
    """
    names = ("precision_dof", "scale_dof", "scale_rate", "scale_guard")
    if any(name not in model.named_vars for name in names):
        return log_potential_mass(model)
    dof, scale_dof, rate, guard = (np.asarray(model[name].get_value(), dtype=float) for name in names)
    rng = np.random.default_rng(0)
    if rate.ndim == 1:
        scales = rng.chisquare(scale_dof, size=(_PRIOR_DRAWS, len(rate))) / rate
        return _log_mean(-0.5 * dof.sum() * np.log1p(guard / scales).sum(axis=1))
    scales = np.reshape(wishart.rvs(float(scale_dof), np.linalg.inv(rate), _PRIOR_DRAWS, rng), (-1, *rate.shape))
    guarded = np.linalg.slogdet(scales + np.diag(guard))[1]
    return _log_mean(0.5 * dof.sum() * (np.linalg.slogdet(scales)[1] - guarded))


def log_potential_mass(model: pm.Model) -> tuple[float, float]:
    """Return the log mass where the guard is a potential of the model, which is not part of any density.

    Parameters
    ----------
    model : pymc.Model
        A model.

    Returns
    -------
    log_mass : float
        Zero where there is no such potential.
    mcse : float
        Its Monte Carlo standard error.
    """
    guards = [potential for potential in model.potentials if potential.name == "guard"]
    if not guards:
        return 0.0, 0.0
    # Compiled with numba it would take longer, and rotations are drawn in Python anyway.
    return _log_mean(np.asarray(pm.draw(guards[0], draws=_POTENTIAL_DRAWS, random_seed=0, mode="FAST_COMPILE")))


def _log_mean(logs: Floats) -> tuple[float, float]:
    """Return the log of a mean of factors that are given by their logs, and its standard error."""
    log_mean = float(logsumexp(logs) - np.log(len(logs)))
    return log_mean, float(np.std(np.exp(logs - log_mean)) / np.sqrt(len(logs)))
