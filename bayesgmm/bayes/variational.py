"""Variational approximation: the independent normal distributions closest to the posterior.

In unconstrained coordinates. The objective is the evidence lower bound, averaged over a fixed set of standard normal
draws (deterministic ADVI: Giordano, Ingram & Broderick 2024). With the draws fixed it is an ordinary smooth function,
which L-BFGS maximises to convergence; nothing is stochastic, no step size is tuned, and the compiled gradient is
reused. The stochastic ADVI of PyMC optimises the same bound: on Old Faithful it took a minute of compilation and was
500 nats short after 2000 steps.

What comes out is an approximation and says so: correlations are lost and spreads come out too small.
"""

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import minimize

from bayesgmm.bayes.density import FORBIDDEN, unconstrained_density
from bayesgmm.bayes.laplace import pareto_smoothed
from bayesgmm.bayes.model import start_values
from bayesgmm.bayes.vectors import as_dataset
from bayesgmm.errors import ArgumentError, FitError
from bayesgmm.mixture import Mixture
from bayesgmm.structure import CovarianceStructure

__all__ = ["sample_advi"]

Floats = NDArray[np.float64]

_N_FIXED = 60
# Standard deviations at the start of the search; wide ones begin where the density is not finite.
_FIRST_SD = 0.05


def sample_advi(
    model: pm.Model,
    *,
    structure: CovarianceStructure,
    start: Mixture,
    draws: int,
    tune: int,
    chains: int,
    seed: int,
    progress: bool,
    n_fixed: int = _N_FIXED,
) -> dict[str, xr.Dataset]:
    """Draw from the mean-field approximation of a posterior.

    Parameters
    ----------
    model : pymc.Model
        The model; all free variables continuous.
    structure : CovarianceStructure
        The structure it was built for.
    start : Mixture
        Where the search starts; one mixture, standardised units.
    draws, tune, chains : int
        ``chains * draws`` independent draws are made; `tune` is not used.
    seed : int
        Seed.
    progress : bool
        Not used.
    n_fixed : int, default 60
        Standard normal draws that the bound is averaged over.

    Returns
    -------
    dict of str to Dataset
        Groups ``posterior`` and ``sample_stats``; the latter's attributes say that this is approximate, and have the
        bound ``elbo`` and ``khat``, the Pareto shape of the importance weights that would be needed to correct it.

    Raises
    ------
    ArgumentError
        When `n_fixed` is not a whole number above one.
    FitError
        When the search for the bound's maximum fails.

    Notes
    -----
    math.md, 11.6.
    """
    if isinstance(n_fixed, bool) or not isinstance(n_fixed, int | np.integer) or n_fixed < 2:
        raise ArgumentError(f"n_fixed={n_fixed!r} must be a whole number, at least 2")
    rng = np.random.default_rng(seed)
    density = unconstrained_density(model, start_values(model, structure, start))
    half = rng.standard_normal((int(n_fixed + 1) // 2, density.size))
    # With their mirror images the mean of the draws is exact.
    fixed = np.concatenate([half, -half])

    def negative_bound(parameters: Floats) -> tuple[float, Floats]:
        """Return minus the bound and its gradient."""
        centre, log_sd = np.split(parameters, 2)
        sd = np.exp(log_sd)
        values, gradients = density.evaluate_all(centre + sd * fixed)
        if not (np.all(np.isfinite(values)) and np.all(np.isfinite(gradients))):
            return FORBIDDEN, np.zeros_like(parameters)
        by_log_sd = (gradients * fixed * sd).mean(axis=0) + 1.0
        return -float(values.mean() + log_sd.sum()), -np.concatenate([gradients.mean(axis=0), by_log_sd])

    begin = np.concatenate([density.start, np.full(density.size, np.log(_FIRST_SD))])
    best = minimize(negative_bound, begin, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "maxcor": 20})
    if not np.isfinite(best.fun) or best.fun >= FORBIDDEN:
        raise FitError("the variational bound has no finite value near the start; use sampler='nuts'")
    centre, log_sd = np.split(best.x, 2)
    noise = rng.standard_normal((chains * draws, density.size))
    vectors = centre + np.exp(log_sd) * noise
    heights = density.evaluate_all(vectors)[0]
    ratios = heights + 0.5 * (noise**2).sum(axis=1)
    stats = xr.Dataset({"lp": (("chain", "draw"), heights.reshape(chains, draws))})
    # On new draws: on those that it was optimised over the bound looks better than it is.
    elbo = heights.mean() + float(log_sd.sum()) + 0.5 * density.size * (1.0 + float(np.log(2 * np.pi)))
    stats.attrs = {"is_approximate": 1, "elbo": float(elbo), "khat": pareto_smoothed(ratios)[1]}
    vectors = vectors.reshape(chains, draws, density.size)
    return {"posterior": as_dataset(model, density, vectors), "sample_stats": stats}
