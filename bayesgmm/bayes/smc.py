"""Sequential Monte Carlo from the prior to the posterior, by PyMC.

A population of draws from the prior is led to the posterior through powers of the likelihood. It can find modes without
being told of them, and gives the evidence on the way. It needs no start. A small population may lose modes, or
numberings of the components, through resampling: populations that disagree are the sign of it.

Particles move by random walks. PyMC's default, proposals from one normal distribution for the whole population, fits a
posterior of K! modes badly: with it the log evidence of the galaxies (three components of equal variance, 3 x 3000
particles) came out as -229.4 with a standard error of 0.5, where -226.8 is right; random walks gave -226.7 with 0.14.
Stages are short (threshold 0.85): with PyMC's default of 0.5 that of Old Faithful came out as -422.2 with a standard
error of 1.0, where -420.3 is right; short stages gave -420.1 with 0.4.

How far off the log evidence may be is read from independent populations alone: they are few, which Student's t allows
for, and one by itself says nothing. (Standard errors above are without that allowance.)
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import norm, t

from bayesgmm.bayes.prior_mass import log_potential_mass
from bayesgmm.mixture import Mixture
from bayesgmm.structure import CovarianceStructure

__all__ = ["pooled_log_evidence", "sample_smc"]


def sample_smc(
    model: pm.Model,
    *,
    structure: CovarianceStructure | None,
    start: Mixture,
    draws: int,
    tune: int,
    chains: int,
    seed: int,
    progress: bool,
    **options: Any,
) -> dict[str, xr.Dataset]:
    """Sample a model by sequential Monte Carlo.

    Parameters
    ----------
    model : pymc.Model
        The model.
    structure : CovarianceStructure, optional
        Not used.
    start : Mixture
        Not used: the population starts from the prior; axes from the most probable coordinates of rotations drawn from
        it (math.md, 11.8).
    draws, tune, chains : int
        Size of a population; not used; number of independent populations.
    seed : int
        Seed.
    progress : bool
        Whether to show progress.
    **options
        For `pymc.sample_smc`: ``kernel`` (default random-walk Metropolis), ``correlation_threshold`` (default 0.001,
        the smaller the longer the walks), ``threshold`` (default 0.85, the larger the more stages), ...

    Returns
    -------
    dict of str to Dataset
        Groups ``posterior`` and ``sample_stats`` (number of stages); its attributes have the log evidence, averaged
        over populations, and its standard error, NaN for a single population. Model's own units.
    """
    settings = {"kernel": pm.smc.MH, "correlation_threshold": 0.001, "threshold": 0.85} | options
    with _quiet():
        tree = pm.sample_smc(
            draws, model=model, chains=chains, cores=1, random_seed=seed, progressbar=progress,
            compute_convergence_checks=False, **settings,
        )  # fmt: skip
    values = tree["sample_stats"]["log_marginal_likelihood"].values
    of_chains = [np.ravel(values[c] if chains > 1 else values) for c in range(chains)]
    log_evidence, mcse = pooled_log_evidence(np.array([stages[-1] for stages in of_chains], dtype=float))
    # Potentials are tempered with the likelihood, and so is the guard, which belongs to the prior.
    log_mass, mass_mcse = log_potential_mass(model)
    stats = xr.Dataset({"n_stages": ("chain", [len(stages) for stages in of_chains])})
    stats.attrs = {"log_evidence": log_evidence - log_mass, "log_evidence_mcse": float(np.hypot(mcse, mass_mcse))}
    return {"posterior": tree["posterior"].to_dataset(), "sample_stats": stats}


def pooled_log_evidence(logs: NDArray[np.float64]) -> tuple[float, float]:
    """Average evidences of independent populations, and say how far off the logarithm of the mean may be.

    Parameters
    ----------
    logs : ndarray, shape (populations,)
        Log evidence by each population. Evidences are unbiased, their logarithms are not.

    Returns
    -------
    log_evidence : float
        Logarithm of the mean evidence.
    mcse : float
        Standard error, so large that two of them are exceeded as rarely as by a normal variable although it is judged
        from few numbers; NaN for a single one.

    Notes
    -----
    math.md, 11.8.
    """
    n = len(logs)
    log_mean = float(logsumexp(logs) - np.log(n))
    if n == 1:
        return log_mean, float("nan")
    sd = float(np.std(logs, ddof=1))
    allowance = float(t.ppf(norm.cdf(2.0), n - 1)) / 2.0
    return log_mean, allowance * float(np.hypot(sd / np.sqrt(n), sd**2 / np.sqrt(2 * (n - 1))))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what PyMC and PyTensor say about compilation; the fit has its own words for what matters."""
    logger = logging.getLogger("pymc")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Numba will use object mode", category=UserWarning)
            yield
    finally:
        logger.setLevel(level)
