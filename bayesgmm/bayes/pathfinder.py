"""Pathfinder: normal approximations along the way of a quasi-Newton search, the best of them kept for each of several.

A search for the mode by L-BFGS passes, on its way, through the bulk of the posterior, and the curvature that it has
gathered by then makes a normal distribution at every step. The one with the largest evidence lower bound is kept
(Zhang, Carpenter, Gelman & Vehtari 2022). Several searches from scattered starts give several, which together are a
proposal for importance sampling. It takes gradients by the hundred and no second derivatives, and notices a mode beside
the one that EM found.

Draws of different searches are weighed by the density of the mixture of all of them, not by that of their own, which
keeps weights bounded where searches end in the same place. What comes out is an approximation and says so; k-hat tells
how far the weights could correct it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import minimize
from scipy.special import logsumexp

from bayesgmm.bayes.density import FORBIDDEN, UnconstrainedDensity, unconstrained_density
from bayesgmm.bayes.laplace import FEW_PROPOSALS, PROPOSALS_PER_DRAW, ImportanceSample, weigh
from bayesgmm.bayes.model import start_values
from bayesgmm.bayes.symmetry import in_region
from bayesgmm.bayes.vectors import as_dataset
from bayesgmm.errors import ArgumentError, FitError
from bayesgmm.mixture import Mixture
from bayesgmm.structure import CovarianceStructure

__all__ = ["NormalApproximation", "find_paths", "sample_pathfinder", "weigh_paths"]

Floats = NDArray[np.float64]

# Of the starts of the searches around EM's estimate, in unconstrained coordinates (logs, standardised means).
_SCATTER = 0.3
_N_PATHS = 8
# Steps that the curvature is gathered from, as in the paper, and draws by which a bound is judged.
_MEMORY = 6
_DRAWS_PER_BOUND = 10
_MAX_STEPS = 1000
# A step over which the gradient does not fall by this much of its square says nothing of the curvature.
_LEAST_CURVATURE = 1e-12


@dataclass(frozen=True, eq=False)
class NormalApproximation:
    """A normal distribution somewhere on the way of a search.

    Parameters
    ----------
    mean : ndarray, shape (size,)
        Its mean, unconstrained coordinates.
    chol : ndarray, shape (size, size)
        Lower Cholesky factor of its covariance.
    elbo : float
        Its evidence lower bound.
    """

    mean: Floats
    chol: Floats
    elbo: float = -np.inf

    @property
    def log_volume(self) -> float:
        """Minus the log density at the mean."""
        return float(np.log(np.diagonal(self.chol)).sum() + 0.5 * len(self.mean) * np.log(2 * np.pi))

    def draw(self, n: int, rng: np.random.Generator) -> Floats:
        """Draw vectors (n, size)."""
        return self.mean + rng.standard_normal((n, len(self.mean))) @ self.chol.T

    def log_density(self, vectors: Floats) -> Floats:
        """Return log densities (S,) at vectors (S, size)."""
        white = solve_triangular(self.chol, (vectors - self.mean).T, lower=True)
        return -0.5 * (white**2).sum(axis=0) - self.log_volume


def find_paths(density: UnconstrainedDensity, starts: Floats, rng: np.random.Generator) -> list[NormalApproximation]:
    """Search from every start, and keep the best approximation on each way.

    Parameters
    ----------
    density : UnconstrainedDensity
        Log posterior and gradient.
    starts : ndarray, shape (paths, size)
        Where searches begin.
    rng : numpy.random.Generator
        Of the draws by which approximations are judged.

    Returns
    -------
    list of NormalApproximation
        One for each search that came anywhere.

    Raises
    ------
    FitError
        When none did.

    Notes
    -----
    math.md, 11.7.
    """
    found = [best for start in starts if (best := _best_on_the_way(density, start, rng)) is not None]
    if not found:
        raise FitError("no search for the mode of the posterior came anywhere; use sampler='nuts'")
    return found


def weigh_paths(
    density: UnconstrainedDensity, paths: list[NormalApproximation], n: int, rng: np.random.Generator
) -> ImportanceSample:
    """Draw from the mixture of several approximations and weigh the draws by the posterior.

    Parameters
    ----------
    density : UnconstrainedDensity
        Log posterior; its start gives components their numbers.
    paths : list of NormalApproximation
        The approximations, of equal weight.
    n : int
        Number of draws, about.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ImportanceSample
        Draws and weights in the region whose components are numbered like the start's; k-hat.

    Notes
    -----
    math.md, 11.2 and 11.7.
    """
    vectors = np.concatenate([path.draw(-(-n // len(paths)), rng) for path in paths])
    log_proposal = logsumexp([path.log_density(vectors) for path in paths], axis=0) - np.log(len(paths))
    ratios = density.evaluate_all(vectors)[0] - log_proposal
    ratios[np.isnan(ratios)] = -np.inf
    legal = np.flatnonzero(np.isfinite(ratios))
    ratios[legal[~in_region(density, density.start, vectors[legal])]] = -np.inf
    return weigh(vectors, ratios)


def _best_on_the_way(
    density: UnconstrainedDensity, start: Floats, rng: np.random.Generator
) -> NormalApproximation | None:
    points = _way(density, start)
    values, gradients = density.evaluate_all(points)
    legal = np.isfinite(values) & np.all(np.isfinite(gradients), axis=1)
    noise = rng.standard_normal((_DRAWS_PER_BOUND, density.size))
    best = None
    for one in _approximations(points[legal], gradients[legal]):
        heights = density.evaluate_all(one.mean + noise @ one.chol.T)[0]
        elbo = float(np.mean(heights + 0.5 * (noise**2).sum(axis=1)) + one.log_volume)
        if np.isfinite(elbo) and (best is None or elbo > best.elbo):
            best = NormalApproximation(one.mean, one.chol, elbo)
    return best


def _way(density: UnconstrainedDensity, start: Floats) -> Floats:
    """Return the points (steps + 1, size) that L-BFGS passes through."""

    def objective(vector: Floats) -> tuple[float, Floats]:
        """Return minus the log density and its gradient."""
        value, gradient = density.evaluate(vector)
        is_legal = np.isfinite(value) and np.all(np.isfinite(gradient))
        return (-value, -gradient) if is_legal else (FORBIDDEN, np.zeros_like(vector))

    points = [start]
    with np.errstate(all="ignore"):
        minimize(
            objective, start, jac=True, method="L-BFGS-B", callback=lambda point: points.append(point.copy()),
            options={"maxiter": _MAX_STEPS, "maxcor": _MEMORY, "ftol": 1e-11},
        )  # fmt: skip
    return np.array(points)


def _approximations(points: Floats, gradients: Floats) -> Iterator[NormalApproximation]:
    """Yield the normal approximation at every point that has some curvature behind it (math.md, 11.7)."""
    diagonal = np.ones(points.shape[1])
    steps: list[Floats] = []
    falls: list[Floats] = []
    for j in range(1, len(points)):
        step, fall = points[j] - points[j - 1], gradients[j - 1] - gradients[j]
        if step @ fall > _LEAST_CURVATURE * (fall @ fall):
            diagonal = _rescaled(diagonal, step, fall)
            steps, falls = [*steps, step][-_MEMORY:], [*falls, fall][-_MEMORY:]
        if steps:
            covariance = _inverse_hessian(diagonal, np.array(steps).T, np.array(falls).T)
            try:
                chol = np.linalg.cholesky(covariance)
            except np.linalg.LinAlgError:
                continue
            yield NormalApproximation(points[j] + covariance @ gradients[j], chol)


def _rescaled(diagonal: Floats, step: Floats, fall: Floats) -> Floats:
    """Return the diagonal of the inverse Hessian after one more step (Gilbert & Lemarechal 1989)."""
    a, b, c = fall @ (diagonal * fall), fall @ step, (step / diagonal) @ step
    return 1.0 / (a / (b * diagonal) + fall**2 / b - a * step**2 / (b * c * diagonal**2))


def _inverse_hessian(diagonal: Floats, steps: Floats, falls: Floats) -> Floats:
    """Return the inverse Hessian (size, size) that L-BFGS would have: compact form of Byrd, Nocedal & Schnabel 1994."""
    products = steps.T @ falls
    inverse = np.linalg.inv(np.triu(products))
    scaled = diagonal[:, None] * falls
    middle = inverse.T @ (np.diag(np.diagonal(products)) + falls.T @ scaled) @ inverse
    crossed = scaled @ inverse @ steps.T
    found = np.diag(diagonal) + steps @ middle @ steps.T - crossed - crossed.T
    return 0.5 * (found + found.T)


def sample_pathfinder(
    model: pm.Model,
    *,
    structure: CovarianceStructure,
    start: Mixture,
    draws: int,
    tune: int,
    chains: int,
    seed: int,
    progress: bool,
    n_paths: int = _N_PATHS,
) -> dict[str, xr.Dataset]:
    """Draw from a posterior approximately, by multi-path Pathfinder and Pareto-smoothed importance resampling.

    Parameters
    ----------
    model : pymc.Model
        The model; all free variables continuous.
    structure : CovarianceStructure
        The structure it was built for.
    start : Mixture
        Searches begin around it; one mixture, standardised units.
    draws, tune, chains : int
        ``chains * draws`` draws are made; they are independent, so chains are a matter of form and `tune` is not used.
    seed : int
        Seed.
    progress : bool
        Not used.
    n_paths : int, default 8
        Searches, from scattered starts.

    Returns
    -------
    dict of str to Dataset
        Groups ``posterior`` and ``sample_stats``; the latter's attributes say that this is approximate, and have
        k-hat and efficiency of the importance weights and ``elbo``, the bound of the best search.

    Raises
    ------
    ArgumentError
        When `n_paths` is not a positive whole number.
    FitError
        When no search came anywhere.

    Notes
    -----
    math.md, 11.7.
    """
    if isinstance(n_paths, bool) or not isinstance(n_paths, int | np.integer) or n_paths < 1:
        raise ArgumentError(f"n_paths={n_paths!r} must be a whole number, at least 1")
    rng = np.random.default_rng(seed)
    density = unconstrained_density(model, start_values(model, structure, start))
    starts = density.start + _SCATTER * rng.standard_normal((int(n_paths), density.size))
    starts[0] = density.start
    paths = find_paths(density, starts, rng)
    weighted = weigh_paths(density, paths, max(FEW_PROPOSALS, PROPOSALS_PER_DRAW * draws * chains), rng)
    vectors = weighted.resample(draws * chains, rng).reshape(chains, draws, density.size)
    heights = density.evaluate_all(vectors.reshape(-1, density.size))[0]
    stats = xr.Dataset({"lp": (("chain", "draw"), heights.reshape(chains, draws))})
    stats.attrs = {
        "is_approximate": 1, "khat": weighted.khat, "efficiency": weighted.efficiency,
        "elbo": max(path.elbo for path in paths),
    }  # fmt: skip
    return {"posterior": as_dataset(model, density, vectors), "sample_stats": stats}
