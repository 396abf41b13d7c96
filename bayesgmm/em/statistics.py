"""What an EM iteration needs to know of the data: log-likelihood and sufficient statistics at given parameters.

The sums of the kernel (S0, S1, S2, around the current means; math.md, 3.2) add up over any partition of the rows.
Chunks are cut by the number of rows alone and reduced in order, so that a result does not depend on the number of
threads.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bayesgmm.cores import available_cores
from bayesgmm.em.rows import Rows
from bayesgmm.kernels import em as kernels
from bayesgmm.mixture import Mixture
from bayesgmm.structure import CovarianceStructure

__all__ = [
    "Moments",
    "Parameters",
    "Pass",
    "Source",
    "Sums",
    "SumsSource",
    "kind_of",
    "reduced_scatters",
    "sums_of",
]

Floats = NDArray[np.float64]

_LOG_2PI = float(np.log(2.0 * np.pi))
# Work below which a second thread costs more than it brings: about 2 ms of one core.
_WORK_FOR_THREADS = 3e7
_MAX_CHUNKS = 32
_TINY = 1e-300
# The pooled scatter of a tied covariance is total minus between; below this fraction of the total that loses digits.
_TIED_CANCELLATION = 1e-6


class Parameters(NamedTuple):
    """Weights (K,), means (K, D) and covariances (K, D, D) of a mixture, unchecked: the loop's own currency."""

    weights: Floats
    means: Floats
    covariances: Floats

    def to_mixture(self) -> Mixture:
        """Return the checked value that leaves this room."""
        return Mixture(self.weights / self.weights.sum(), self.means, self.covariances)


class Sums(NamedTuple):
    """The log-likelihood of some rows and their statistics around the current means."""

    log_likelihood: float
    s0: Floats
    s1: Floats
    s2: Floats

    def plus(self, other: "Sums") -> "Sums":
        """Return the sums over these rows and others, around the same means."""
        return Sums(
            self.log_likelihood + other.log_likelihood, self.s0 + other.s0, self.s1 + other.s1, self.s2 + other.s2
        )


@dataclass(frozen=True)
class Moments:
    """Effective counts, means and scatters that responsibilities give the components.

    Parameters
    ----------
    log_likelihood : float
        Of all rows, at the parameters that gave the responsibilities.
    counts : ndarray, shape (K,)
        Sums of responsibilities.
    means : ndarray, shape (K, D)
        Weighted means.
    scatters : ndarray
        Weighted sums of squares around these means: (K, D, D), or (K, D) the diagonals, (K, 1) the traces, (1, D, D)
        the sum over the components. An M step needs no more of them than its structure has.
    """

    log_likelihood: float
    counts: Floats
    means: Floats
    scatters: Floats


def kind_of(structure: CovarianceStructure) -> int:
    """Return the kernel's kind of covariance for a structure."""
    if structure.is_spherical:
        return kernels.SPHERICAL
    if structure.is_diagonal:
        return kernels.DIAGONAL
    return kernels.TIED if structure.is_shared else kernels.FULL


class Source(Protocol):
    """Where an EM run gets its moments from: packed rows, or rows of another kind."""

    @property
    def total_weight(self) -> float:
        """Sum of the row weights."""

    @property
    def total(self) -> Moments:
        """Moments of all rows together, as those of one component with a full scatter."""

    def moments(self, parameters: Parameters, kind: int) -> Moments:
        """Compute log-likelihood and moments at `parameters`."""

    def on(self, rows: Rows) -> "Source":
        """Return a source over other, complete rows that shares the threads."""


def reduced_scatters(scatters: Floats, kind: int) -> Floats:
    """Return what a kind of covariance needs of full scatters (K, D, D); see `Moments`."""
    if kind == kernels.FULL:
        return scatters
    if kind == kernels.TIED:
        return scatters.sum(axis=0, keepdims=True)
    variances = np.diagonal(scatters, axis1=1, axis2=2)
    return variances if kind == kernels.DIAGONAL else variances.sum(axis=1, keepdims=True)


class SumsSource(ABC):
    """A source that turns the kernel's sums over complete rows into moments; where the rows are is up to `sums`."""

    #: Moments of all rows together, as those of one component with a full scatter.
    total: Moments

    @property
    @abstractmethod
    def total_weight(self) -> float:
        """Sum of the row weights."""

    @abstractmethod
    def sums(self, kind: int, means: Floats, factors: Floats, constants: Floats) -> Sums:
        """Add up the kernel's sums over all rows, in a fixed order; see `kernels.em.em_pass`."""

    def moments(self, parameters: Parameters, kind: int) -> Moments:
        """Compute log-likelihood and moments.

        Parameters
        ----------
        parameters : Parameters
            Weights, means and covariances.
        kind : int
            Kind of covariance, which decides what scatters are returned.

        Returns
        -------
        Moments
            Of all rows.

        Raises
        ------
        numpy.linalg.LinAlgError
            When a covariance is not positive definite.
        """
        if kind == kernels.TIED:
            return self._tied_moments(parameters)
        means, factors, constants, _ = _kernel_inputs(parameters, kind)
        sums = self.sums(kind, means, factors, constants)
        counts = np.maximum(sums.s0, _TINY)
        shifts = sums.s1 / counts[:, None]
        return Moments(sums.log_likelihood, counts, parameters.means + shifts, _scatters(kind, sums, shifts))

    def _tied_moments(self, parameters: Parameters) -> Moments:
        """Return the moments with the pooled scatter: total minus between, where that keeps enough digits."""
        if not self._is_tiny(parameters.covariances[0]):
            means, factors, constants, chol = _kernel_inputs(parameters, kernels.TIED)
            sums = self.sums(kernels.TIED, means, factors, constants)
            counts = np.maximum(sums.s0, _TINY)
            means = parameters.means + (sums.s1 / counts[:, None]) @ chol.T
            from_centre = means - self.total.means[0]
            pooled = self.total.scatters[0] - (counts * from_centre.T) @ from_centre
            if not self._is_tiny(pooled / self.total.counts[0]):
                return Moments(sums.log_likelihood, counts, means, pooled[None])
        full = self.moments(parameters, kernels.FULL)
        return replace(full, scatters=reduced_scatters(full.scatters, kernels.TIED))

    def _is_tiny(self, covariance: Floats) -> bool:
        """Whether a covariance, in some direction, is so much smaller than the total that a difference loses it."""
        white = self._total_whitening @ covariance @ self._total_whitening.T
        return not np.linalg.eigvalsh(white)[0] > _TIED_CANCELLATION

    @cached_property
    def _total_whitening(self) -> Floats:
        """Inverse Cholesky factor of the total covariance; zeros, which make everything tiny, where it is singular."""
        covariance = self.total.scatters[0] / self.total.counts[0]
        try:
            return np.linalg.inv(np.linalg.cholesky(covariance))
        except np.linalg.LinAlgError:
            return np.zeros_like(covariance)


class Pass(SumsSource):
    """A pass over packed rows: parameters in, moments out.

    Parameters
    ----------
    rows : Rows
        The packed data.
    pool : ThreadPoolExecutor or None
        Where the chunks run; None runs them here, one after the other.
    n_threads : int
        Number of tasks that the chunks are dealt to.
    """

    def __init__(self, rows: Rows, pool: ThreadPoolExecutor | None = None, n_threads: int = 1) -> None:
        self.rows = rows
        self._pool = pool
        self._n_threads = n_threads
        self._bounds = _chunk_bounds(rows)
        d = rows.n_features
        self.total = self.moments(Parameters(np.ones(1), np.zeros((1, d)), np.eye(d)[None]), kernels.FULL)

    @classmethod
    @contextmanager
    def over(cls, rows: Rows, n_threads: int | None = None) -> Iterator["Pass"]:
        """Open a pass with its own threads, and close them at the end."""
        count = n_threads or available_cores()
        if count == 1:
            yield cls(rows)
            return
        with ThreadPoolExecutor(count) as pool:
            yield cls(rows, pool, count)

    @property
    def total_weight(self) -> float:
        """Sum of the row weights."""
        return self.rows.total_weight

    def on(self, rows: Rows) -> "Pass":
        """Return a pass over other rows that shares the threads."""
        return Pass(rows, self._pool, self._n_threads)

    def sums(self, kind: int, means: Floats, factors: Floats, constants: Floats) -> Sums:
        """Add up the kernel's sums over all rows, in a fixed order."""
        k, d = means.shape
        n_chunks = len(self._bounds) - 1
        log_likelihoods, s0, s1, s2 = _empty_sums(kind, n_chunks, k, d)
        blocks, weights, bounds = self.rows.blocks, self.rows.weights, self._bounds

        def run(chunk: int) -> None:
            """Add up the blocks of a chunk."""
            kernels.em_pass(
                kind, blocks, weights, bounds[chunk], bounds[chunk + 1], means, factors, constants,
                log_likelihoods[chunk], s0[chunk], s1[chunk], s2[chunk],
            )  # fmt: skip

        self._run_chunks(run, kind, k)
        return Sums(float(log_likelihoods.sum()), s0.sum(axis=0), s1.sum(axis=0), s2.sum(axis=0))

    def posterior(self, parameters: Parameters) -> tuple[Floats, Floats]:
        """Compute the log densities and the responsibilities of the rows.

        Parameters
        ----------
        parameters : Parameters
            Weights, means and covariances.

        Returns
        -------
        log_densities : ndarray, shape (n,)
            Log densities, standardised units.
        responsibilities : ndarray, shape (n, K)
            They sum to one over the components.

        Raises
        ------
        numpy.linalg.LinAlgError
            When a covariance is not positive definite.
        """
        means, factors, constants = (values[None] for values in _kernel_inputs(parameters, kernels.FULL)[:3])
        n, k, bounds = self.rows.n, means.shape[1], self._bounds
        log_densities, responsibilities = np.empty((1, n)), np.empty((1, n, k))

        def run(chunk: int) -> None:
            """Fill in the blocks of a chunk."""
            kernels.density_pass(
                self.rows.blocks, bounds[chunk], bounds[chunk + 1], means, factors, constants, log_densities,
                responsibilities,
            )  # fmt: skip

        self._run_chunks(run, kernels.FULL, k)
        return log_densities[0], responsibilities[0]

    def _run_chunks(self, run: Callable[[int], None], kind: int, k: int) -> None:
        """Run the chunks, in threads where the work is worth it."""
        d, n_chunks = self.rows.n_features, len(self._bounds) - 1
        work = self.rows.n * k * (20.0 + d * (d + 6.0 if kind == kernels.FULL else 4.0))
        if self._pool is None or work < _WORK_FOR_THREADS:
            for chunk in range(n_chunks):
                run(chunk)
        else:
            list(self._pool.map(run, range(n_chunks)))


def sums_of(rows: Rows, kind: int, means: Floats, factors: Floats, constants: Floats) -> Sums:
    """Compute the kernel's sums over packed rows, here and now.

    Parameters
    ----------
    rows : Rows
        The packed rows.
    kind : int
        Kind of covariance.
    means, factors, constants : ndarray
        What the kernel takes; see `kernels.em.em_pass`.

    Returns
    -------
    Sums
        Of these rows.
    """
    log_likelihood, s0, s1, s2 = (found[0] for found in _empty_sums(kind, 1, *means.shape))
    kernels.em_pass(
        kind, rows.blocks, rows.weights, 0, rows.n_blocks, means, factors, constants, log_likelihood, s0, s1, s2
    )
    return Sums(float(log_likelihood[0]), s0, s1, s2)


def _empty_sums(kind: int, n: int, k: int, d: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Return zeros for the log-likelihoods and sums of n chunks."""
    layouts = {kernels.FULL: (k, d, d), kernels.DIAGONAL: (k, 1, d), kernels.SPHERICAL: (k, 1, 1)}
    return np.zeros((n, 1)), np.zeros((n, k)), np.zeros((n, k, d)), np.zeros((n, *layouts.get(kind, (1, 0, 0))))


def _chunk_bounds(rows: Rows) -> list[int]:
    """Cut the blocks into chunks of at least 2048 rows, at most 32 of them."""
    n_chunks = max(1, min(_MAX_CHUNKS, rows.n // 2048, rows.n_blocks))
    return [rows.n_blocks * chunk // n_chunks for chunk in range(n_chunks + 1)]


def _kernel_inputs(parameters: Parameters, kind: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Return means, factors and constants for the kernel, and the Cholesky factor of a tied covariance."""
    weights, means, covariances = parameters
    d = means.shape[1]
    if kind in (kernels.DIAGONAL, kernels.SPHERICAL):
        variances = np.diagonal(covariances, axis1=1, axis2=2)
        if not np.all(variances > 0.0):
            raise np.linalg.LinAlgError("a variance is not positive")
        factors = 1.0 / np.sqrt(variances[:, None, : d if kind == kernels.DIAGONAL else 1])
        log_determinants = 0.5 * np.log(variances).sum(axis=1)
        chol = np.empty((0, 0))
    else:
        chols = np.linalg.cholesky(covariances[:1] if kind == kernels.TIED else covariances)
        factors = np.tril(np.linalg.inv(chols))
        log_determinants = np.log(np.diagonal(chols, axis1=1, axis2=2)).sum(axis=1)
        chol = chols[0]
    if kind == kernels.TIED:
        means = means @ factors[0].T
    constants = np.log(weights) - log_determinants - 0.5 * d * _LOG_2PI
    return np.ascontiguousarray(means), np.ascontiguousarray(factors), constants, chol


def _scatters(kind: int, sums: Sums, shifts: Floats) -> Floats:
    """Move the second moments from the current means to the new ones."""
    counts = sums.s0[:, None]
    if kind == kernels.FULL:
        lower = np.tril(sums.s2)
        full = lower + np.tril(sums.s2, -1).transpose(0, 2, 1)
        return full - (counts * shifts)[:, :, None] * shifts[:, None, :]
    square = shifts**2
    if kind == kernels.SPHERICAL:
        square = square.sum(axis=1, keepdims=True)
    return sums.s2[:, 0, :] - counts * square
