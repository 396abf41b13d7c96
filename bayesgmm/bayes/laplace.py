"""Laplace's approximation at a mode, and importance sampling that corrects it and knows when it cannot.

Around its mode a posterior of many rows is nearly normal, with the inverse of minus the Hessian as covariance. Draws of
that normal distribution, weighted by how much denser the posterior is there, are draws of the posterior itself, and the
mean of the weights is the evidence. Whether the weights can be trusted is read from the Pareto shape of their tail,
k-hat: above 0.7 they cannot, and nothing is returned in their name (Vehtari et al. 2024).

Gradients are exact and cheap, so the Hessian is taken from their central differences. Where rows are read chunk by
chunk, its gradients, and the densities of many draws, come from one pass each (streamed_density.py).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, multivariate_t

from bayesgmm.bayes.density import FORBIDDEN, UnconstrainedDensity, unconstrained_density
from bayesgmm.bayes.model import start_values
from bayesgmm.bayes.streamed_density import StreamedDensity, streamed_density
from bayesgmm.bayes.streamed_rows import StreamedRows
from bayesgmm.bayes.symmetry import in_region
from bayesgmm.bayes.vectors import as_dataset
from bayesgmm.errors import FitError
from bayesgmm.mixture import Mixture
from bayesgmm.structure import CovarianceStructure

__all__ = [
    "FEW_PROPOSALS",
    "LARGEST_KHAT",
    "LEAST_EFFICIENCY",
    "PROPOSALS_PER_DRAW",
    "ImportanceSample",
    "Laplace",
    "importance_sample",
    "laplace_at",
    "largest_khat",
    "sample_laplace",
    "sample_laplace_stream",
    "weigh",
]

Floats = NDArray[np.float64]

#: Above it the tail of importance weights is too heavy for any feasible number of draws (Vehtari et al. 2024).
LARGEST_KHAT = 0.7
# Where axes are sampled: they run around a sphere, and 30 rows of two components of structure VVE had a log evidence of
# -142.94 and -142.76 with k-hat 0.54 and 0.67 and standard errors of 0.03 and 0.04, where -142.50 is right.
_LARGEST_KHAT_OF_AXES = 0.5
#: k-hat sees the tail of the weights drawn, not a part of the posterior that no proposal reached. Where one was
#: missed (a component without rows, of six rows), k-hat was 0.57 and the efficiency 0.08; Old Faithful has 0.67.
LEAST_EFFICIENCY = 0.15
# Below it there is hardly anything to improve. Measured over 30 seeds on four posteriors, k-hat mostly 0.3 to 0.8: the
# log evidence was within two standard errors of the truth 80 to 90 times in 100 with a normal distribution, 93 to 97
# times with a t distribution.
_GOOD_KHAT = 0.3
# Of the t distribution: measured k-hat with infinite, 30, 10 and 5 degrees of freedom: galaxies K=3 0.71, 0.77, 0.61,
# 0.52; iris K=3 0.57, 0.58, 0.50, 0.66; Old Faithful K=2 0.46, 0.25, 0.05, 0.07.
_TAIL_DOF = 10

# Of the central differences, in unconstrained coordinates (logs, log-ratios, standardised means).
_STEP = 1e-5
# How far from the top the search for the mode may end, in log density: half the Newton decrement.
_FLAT = 1e-6
#: Proposals for each draw that is kept, so that few draws are kept twice; one, where weights are nearly equal.
PROPOSALS_PER_DRAW = 4
FEW_PROPOSALS = 4000
_NEARLY_EQUAL = 0.9
_REMEDY = "use sampler='nuts'"
# NUTS needs all rows in memory.
_STREAMED_REMEDY = (
    "use sampler='gibbs', or sampler='nuts' on a sample of the rows: fit_em carries one (fit_em(...).prepared)"
)


@dataclass(frozen=True, eq=False)
class Laplace:
    """The normal approximation of a posterior at a mode, in unconstrained coordinates.

    Parameters
    ----------
    mode : ndarray, shape (size,)
        Where the log posterior is largest.
    log_density : float
        The log posterior there, not normalised.
    chol : ndarray, shape (size, size)
        Matrix C with C C' the covariance, the inverse of minus the Hessian.
    """

    mode: Floats
    log_density: float
    chol: Floats

    @property
    def log_evidence(self) -> float:
        """The log mass of this mode if the posterior were normal (math.md, 11.1)."""
        log_volume = 0.5 * len(self.mode) * np.log(2 * np.pi) + np.log(np.abs(np.diagonal(self.chol))).sum()
        return float(self.log_density + log_volume)


@dataclass(frozen=True, eq=False)
class ImportanceSample:
    """Weighted draws, and how far they can be trusted.

    Parameters
    ----------
    vectors : ndarray, shape (S, size)
        Draws from the approximation.
    log_weights : ndarray, shape (S,)
        Their Pareto-smoothed log weights, normalised to sum to one.
    khat : float
        Shape of the tail of the weights; above 0.7 nothing below is to be believed.
    efficiency : float
        Effective draws per draw, between 0 and 1.
    log_evidence : float
        Log mass of the posterior in the region sampled.
    mcse : float
        Monte Carlo standard error of `log_evidence`.
    log_densities : ndarray, shape (S,), optional
        The log posterior at `vectors`, not normalised.
    """

    vectors: Floats
    log_weights: Floats
    khat: float
    efficiency: float
    log_evidence: float
    mcse: float
    log_densities: Floats | None = None

    def resample(self, n: int, rng: np.random.Generator) -> Floats:
        """Draw vectors without weights, in random order; few of them twice when n is well below S."""
        return self.vectors[self.chosen(n, rng)]

    def chosen(self, n: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Draw the positions of vectors without weights."""
        # Stratified: the number of times that a vector is taken is within one of its expectation.
        points = (np.arange(n) + rng.random(n)) / n
        total = np.cumsum(np.exp(self.log_weights))
        chosen = np.searchsorted(total / total[-1], points)
        return rng.permutation(chosen)


def laplace_at(density: UnconstrainedDensity, start: Floats) -> Laplace:
    """Find the mode uphill from a start and approximate the posterior there by a normal distribution.

    Parameters
    ----------
    density : UnconstrainedDensity
        Log posterior and gradient.
    start : ndarray, shape (size,)
        Where the climb begins.

    Returns
    -------
    Laplace
        Mode, height and covariance.

    Raises
    ------
    FitError
        When the climb does not end at a point where the log posterior is curved downwards in every direction.

    Notes
    -----
    math.md, 11.1. A few hundred gradients: quasi-Newton steps first, then a trust region with the Hessian.
    """

    def objective(vector: Floats) -> tuple[float, Floats]:
        """Return minus the log density and its gradient."""
        value, gradient = density.evaluate(vector)
        is_legal = np.isfinite(value) and np.all(np.isfinite(gradient))
        return (-value, -gradient) if is_legal else (FORBIDDEN, np.zeros_like(vector))

    with np.errstate(all="ignore"):
        near = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000, "maxcor": 30}).x
        # SciPy's types do not know a gradient that comes with the value beside a Hessian that does not.
        found = minimize(  # type: ignore[call-overload]
            objective, near, jac=True, hess=lambda vector: -_hessian(density, vector), method="trust-exact",
            options={"gtol": 1e-8, "maxiter": 50},
        ).x  # fmt: skip
    value, gradient = density.evaluate(found)
    try:
        chol = np.linalg.cholesky(-_hessian(density, found))
    except np.linalg.LinAlgError:
        raise FitError(
            "the log posterior has no peak near the start: it is flat or rising in some direction; " + _remedy(density)
        ) from None
    # Written so that NaN is a failure.
    if not gradient @ cho_solve((chol, True), gradient) < 2 * _FLAT:
        raise FitError(f"the search for the mode of the posterior did not arrive; {_remedy(density)}")
    root = solve_triangular(chol, np.eye(density.size), lower=True, trans="T")
    return Laplace(found, value, root)


def _remedy(density: UnconstrainedDensity) -> str:
    """Say what to do where the approximation is wrong."""
    return _STREAMED_REMEDY if isinstance(density, StreamedDensity) else _REMEDY


def _hessian(density: UnconstrainedDensity, vector: Floats) -> Floats:
    steps = _STEP * np.eye(density.size)
    points = np.concatenate([vector + steps, vector - steps])
    _, gradients = density.evaluate_all(points)
    columns = (gradients[: density.size] - gradients[density.size :]) / (2 * _STEP)
    return 0.5 * (columns + columns.T)


def largest_khat(model: pm.Model) -> float:
    """Return up to which Pareto k-hat importance draws around a mode of a model are believed.

    Parameters
    ----------
    model : pymc.Model
        The model.

    Returns
    -------
    float
        `LARGEST_KHAT`; less where the covariances have axes that are sampled (math.md, 4.9).
    """
    return min(LARGEST_KHAT, _LARGEST_KHAT_OF_AXES) if "axes" in model.named_vars else LARGEST_KHAT


def importance_sample(
    density: UnconstrainedDensity, approximation: Laplace, n: int, rng: np.random.Generator, *, tails: bool = True
) -> ImportanceSample:
    """Draw around a mode and weigh the draws by the posterior, within one copy of it.

    Parameters
    ----------
    density : UnconstrainedDensity
        Log posterior.
    approximation : Laplace
        What is drawn from.
    n : int
        Number of draws.
    rng : numpy.random.Generator
        Source of randomness.
    tails : bool, default True
        Whether to try heavier tails where those of the normal distribution are too light.

    Returns
    -------
    ImportanceSample
        Draws, weights, k-hat and log evidence of the region whose components and axes are numbered like the mode's.

    Notes
    -----
    math.md, 11.2. Outside the region the weight is zero, so that all copies of it add up to the whole exactly. Where
    the tails of the normal distribution are too light, those of a t distribution are tried; the smaller k-hat wins.
    """
    normal = _weighted(density, approximation, n, rng, np.inf)
    if not tails or normal.khat <= _GOOD_KHAT:
        return normal
    return min(normal, _weighted(density, approximation, n, rng, _TAIL_DOF), key=lambda one: one.khat)


def _weighted(
    density: UnconstrainedDensity, approximation: Laplace, n: int, rng: np.random.Generator, dof: float
) -> ImportanceSample:
    centre, identity = np.zeros(density.size), np.eye(density.size)
    proposal: Any = (
        multivariate_normal(centre, identity) if np.isinf(dof) else multivariate_t(centre, identity, df=int(dof))
    )
    noise = proposal.rvs(n, random_state=rng).reshape(n, density.size)
    vectors = approximation.mode + noise @ approximation.chol.T
    log_proposal = proposal.logpdf(noise) - np.log(np.abs(np.diagonal(approximation.chol))).sum()
    log_densities = density.values(vectors)
    ratios = log_densities - log_proposal
    ratios[np.isnan(ratios)] = -np.inf
    legal = np.flatnonzero(np.isfinite(ratios))
    ratios[legal[~in_region(density, approximation.mode, vectors[legal])]] = -np.inf
    return replace(weigh(vectors, ratios, remedy=_remedy(density)), log_densities=log_densities)


def weigh(vectors: Floats, log_ratios: Floats, *, remedy: str = _REMEDY) -> ImportanceSample:
    """Smooth importance ratios and read from them what they are worth.

    Parameters
    ----------
    vectors : ndarray, shape (S, size)
        Draws.
    log_ratios : ndarray, shape (S,)
        Log of posterior over proposal; minus infinity where the posterior is zero.
    remedy : str
        What to do where hardly a draw is legal, for the error.

    Returns
    -------
    ImportanceSample
        Normalised weights, k-hat, efficiency, log evidence.

    Raises
    ------
    FitError
        When the posterior is zero at nearly every draw.
    """
    n, inside = len(vectors), np.isfinite(log_ratios)
    if inside.sum() < np.sqrt(n):
        raise FitError(f"the posterior is zero at nearly every draw from the approximation; {remedy}")
    smoothed, khat = pareto_smoothed(log_ratios[inside])
    # Smoothing changes the tail only; the smallest weight shows by which constant the rest was normalised.
    lowest = np.argmin(log_ratios[inside])
    log_weights = np.full(n, -np.inf)
    log_weights[inside] = smoothed - logsumexp(smoothed)
    total = logsumexp(smoothed) + log_ratios[inside][lowest] - smoothed[lowest]
    efficiency = float(np.exp(-logsumexp(2 * log_weights)) / n)
    mcse = float(np.sqrt(max(1 / efficiency - 1, 0.0) / n))
    return ImportanceSample(vectors, log_weights, float(khat), efficiency, float(total - np.log(n)), mcse)


def pareto_smoothed(log_ratios: Floats) -> tuple[Floats, float]:
    """Return ArviZ's Pareto-smoothed log weights, up to a constant, and the k-hat of their tail."""
    import arviz as az  # noqa: F401 (registers the accessor)

    # ArviZ takes minus the log ratios: for leave-one-out these are log-likelihoods.
    smoothed, khat = xr.DataArray(-log_ratios, dims="sample").azstats.psislw(dim="sample")
    return np.asarray(smoothed), float(khat)


def sample_laplace(
    model: pm.Model,
    *,
    structure: CovarianceStructure,
    start: Mixture,
    draws: int,
    tune: int,
    chains: int,
    seed: int,
    progress: bool,
) -> dict[str, xr.Dataset]:
    """Draw from the posterior by Laplace's approximation and Pareto-smoothed importance resampling.

    Parameters
    ----------
    model : pymc.Model
        The model; all free variables continuous.
    structure : CovarianceStructure
        The structure it was built for.
    start : Mixture
        Near the mode; one mixture, standardised units.
    draws, tune, chains : int
        ``chains * draws`` draws are made; they are independent, so chains are a matter of form and `tune` is not used.
    seed : int
        Seed.
    progress : bool
        Not used: it takes as long as a few thousand log densities.

    Returns
    -------
    dict of str to Dataset
        Groups ``posterior`` and ``sample_stats``; the latter's attributes have k-hat and efficiency.

    Raises
    ------
    FitError
        When k-hat is above `largest_khat`, fewer than 15 % of the draws count, or the posterior has no peak near the
        start.
    """
    density = unconstrained_density(model, start_values(model, structure, start))
    groups, _ = _draw(model, density, draws, chains, np.random.default_rng(seed))
    return groups


def sample_laplace_stream(
    rows: StreamedRows,
    model: pm.Model,
    *,
    structure: CovarianceStructure,
    start: Mixture,
    draws: int,
    tune: int,
    chains: int,
    seed: int,
    progress: bool = False,
) -> dict[str, xr.Dataset]:
    """Draw as `sample_laplace` does, from the posterior of rows that are read chunk by chunk.

    Parameters
    ----------
    rows : StreamedRows
        The rows.
    model : pymc.Model
        Made by `build_model` of `prior_rows`.
    structure : CovarianceStructure
        The structure it was built for.
    start : Mixture
        Near the mode; one mixture, standardised units.
    draws, tune, chains : int
        ``chains * draws`` draws are made; they are independent, so chains are a matter of form and `tune` is not used.
    seed : int
        Seed. Draws are those of `sample_laplace` from the same rows in memory, but for rounding.
    progress : bool, default False
        Not used.

    Returns
    -------
    dict of str to Dataset
        Groups ``posterior``, ``sample_stats``, and ``all_rows``: the log-likelihood of each draw, standardised units.

    Raises
    ------
    FitError
        When k-hat is above `largest_khat`, fewer than 15 % of the draws count, or the posterior has no peak near the
        start.
    """
    density = streamed_density(rows, model, start_values(model, structure, start))
    groups, vectors = _draw(model, density, draws, chains, np.random.default_rng(seed))
    of_prior = np.array([density.log_prior(vector) for vector in vectors]).reshape(chains, draws)
    return groups | {"all_rows": xr.Dataset({"log_likelihood": groups["sample_stats"]["lp"] - of_prior})}


def _draw(
    model: pm.Model, density: UnconstrainedDensity, draws: int, chains: int, rng: np.random.Generator
) -> tuple[dict[str, xr.Dataset], Floats]:
    """Draw; return the groups, and the unconstrained vectors (chains * draws, size)."""
    approximation = laplace_at(density, density.start)
    total = draws * chains
    weighted = importance_sample(density, approximation, max(FEW_PROPOSALS, total), rng)
    if weighted.efficiency < _NEARLY_EQUAL and PROPOSALS_PER_DRAW * total > FEW_PROPOSALS:
        weighted = importance_sample(density, approximation, PROPOSALS_PER_DRAW * total, rng)
    limit = largest_khat(model)
    if not (weighted.khat <= limit and weighted.efficiency >= LEAST_EFFICIENCY):
        raise FitError(
            f"the posterior is too far from normal for sampler='laplace' (Pareto k-hat {weighted.khat:.2f}, at most "
            f"{limit} is good; {weighted.efficiency:.1%} of the draws count, at least {LEAST_EFFICIENCY:.0%} "
            f"should); {_remedy(density)}"
        )
    chosen = weighted.chosen(total, rng)
    vectors = weighted.vectors[chosen]
    log_densities = np.asarray(weighted.log_densities)[chosen]
    stats = xr.Dataset({"lp": (("chain", "draw"), log_densities.reshape(chains, draws))})
    stats.attrs = {"khat": weighted.khat, "efficiency": weighted.efficiency}
    posterior = as_dataset(model, density, vectors.reshape(chains, draws, density.size))
    return {"posterior": posterior, "sample_stats": stats}, vectors
