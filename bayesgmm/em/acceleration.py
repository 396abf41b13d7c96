"""Quasi-Newton steps for EM, in coordinates in which an EM step is a gradient.

In coordinates that make the information of the complete data the identity, the step that EM takes is the gradient of
the log-likelihood (to first order), and EM is steepest ascent with step length one. Limited-memory BFGS on these steps
learns the information that is missing, for every structure alike and without a derivative (Jamshidian & Jennrich 1997;
math.md, 3.7). The coordinates are log counts, whitened means, and the Cholesky factors of whitened covariances with
the diagonal in logs, scaled with the root of the counts; they move along with the run, because components shrink and
turn by factors on the way. A vector is turned back into counts, means and scatters; the M step makes parameters of the
structure of them.

Measured on 23 slow problems: 11,600 passes of plain EM, 6,800 with Anderson acceleration on the moments, 1,300 so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bayesgmm.em.statistics import Moments, Parameters
from bayesgmm.structure import CovarianceStructure

__all__ = ["Coordinates", "Direction", "History"]

Floats = NDArray[np.float64]

# How many steps back the history goes.
_DEPTH = 10
# The reference moves along when a component is this far from it, in standard deviations or logs.
_DRIFT = 0.3
# Pairs of steps whose curvature is smaller than this fraction of their lengths say nothing.
_CURVATURE = 1e-8


class Coordinates:
    """The map between mixtures and vectors around a reference, which is the origin.

    Parameters
    ----------
    reference : Parameters
        The mixture that gives origin and scale.
    structure : CovarianceStructure
        The structure; it says which numbers of a covariance there are.
    total_weight : float
        Sum of the row weights.
    """

    def __init__(self, reference: Parameters, structure: CovarianceStructure, total_weight: float) -> None:
        k, d = reference.means.shape
        counts = reference.weights * total_weight
        self._reference, self._structure, self._total_weight = reference, structure, total_weight
        self._chols = np.linalg.cholesky(reference.covariances)
        self._whitening = np.tril(np.linalg.inv(self._chols))
        self._root_counts = np.sqrt(counts)[:, None]
        # How many numbers stand for the covariances: one triangle, a triangle each, or a diagonal (or one number) each.
        self._n_matrices = 1 if structure.is_shared and not structure.is_diagonal else k
        self._n_variances = 1 if structure.is_spherical else d
        self._triangle = np.tril_indices(d)
        self._is_diagonal = self._triangle[0] == self._triangle[1]
        if structure.is_diagonal:
            scale = np.sqrt(0.5 * d / self._n_variances)
            self._covariance_scale = scale * np.repeat(self._root_counts, self._n_variances, axis=1)
        else:
            root = self._root_counts if self._n_matrices == k else np.sqrt(np.full((1, 1), total_weight))
            self._covariance_scale = root * np.where(self._is_diagonal, np.sqrt(2.0), 1.0)
        roots = self._root_counts[:, 0]
        self._scale = np.concatenate([roots, np.repeat(roots, d), self._covariance_scale.ravel()])

    def encode(self, mixtures: Sequence[Parameters]) -> Floats:
        """Return the vectors of some mixtures, stacked."""
        weights, means, covariances = (np.stack(values) for values in zip(*mixtures, strict=True))
        n = len(mixtures)
        logs = self._root_counts[:, 0] * np.log(weights / self._reference.weights)
        shifts = (means - self._reference.means)[..., None]
        means = self._root_counts * (self._whitening @ shifts)[..., 0]
        logs_of_covariances = self._covariance_scale * self._encoded_covariances(covariances)
        return np.concatenate([logs, means.reshape(n, -1), logs_of_covariances.reshape(n, -1)], axis=1)

    def decode(self, vector: Floats) -> Moments:
        """Return the moments that rows drawn from the mixture of a vector would have."""
        k, d = self._reference.means.shape
        logs, means, covariances = np.split(vector, [k, k + k * d])
        counts = self._reference.weights * np.exp(logs / self._root_counts[:, 0])
        counts *= self._total_weight / counts.sum()
        shifts = (means.reshape(k, d) / self._root_counts)[:, :, None]
        scatters = self._decoded_covariances(covariances.reshape(-1, self._covariance_scale.shape[1]))
        n_rows = counts if len(scatters) == k else counts.sum(keepdims=True)
        scatters = scatters * n_rows.reshape(-1, *[1] * (scatters.ndim - 1))
        return Moments(np.nan, counts, self._reference.means + (self._chols @ shifts)[:, :, 0], scatters)

    def drift(self, vector: Floats) -> float:
        """Return how far a vector is from the reference: the largest number in it, per root of the rows behind it."""
        return float(np.abs(vector / self._scale).max())

    def _encoded_covariances(self, covariances: Floats) -> Floats:
        if self._structure.is_diagonal:
            own = np.diagonal(covariances, axis1=-2, axis2=-1)[..., : self._n_variances]
            reference = np.diagonal(self._reference.covariances, axis1=1, axis2=2)[:, : self._n_variances]
            return np.asarray(np.log(own / reference))
        whitening = self._whitening[: self._n_matrices]
        white = whitening @ covariances[:, : self._n_matrices] @ whitening.transpose(0, 2, 1)
        triangles = np.linalg.cholesky(white)[..., *self._triangle]
        triangles[..., self._is_diagonal] = np.log(triangles[..., self._is_diagonal])
        return triangles

    def _decoded_covariances(self, values: Floats) -> Floats:
        """Return covariances, or diagonals, or traces: the layout of `Moments.scatters` per row."""
        d = self._reference.means.shape[1]
        values = values / self._covariance_scale
        if self._structure.is_diagonal:
            reference = np.diagonal(self._reference.covariances, axis1=1, axis2=2)[:, : self._n_variances]
            return np.asarray(reference * np.exp(values) * (d / self._n_variances))
        values[:, self._is_diagonal] = np.exp(values[:, self._is_diagonal])
        triangles = np.zeros((self._n_matrices, d, d))
        triangles[:, *self._triangle] = values
        chols = self._chols[: self._n_matrices] @ triangles
        return chols @ chols.transpose(0, 2, 1)


@dataclass(frozen=True)
class Direction:
    """A quasi-Newton step and what it promises.

    Parameters
    ----------
    coordinates : Coordinates
        The vector space.
    origin, step : ndarray
        Where the step starts, and the step.
    slope : float
        Derivative of the log-likelihood along the step, at its start.
    em_gain : float
        What the plain EM step promises to gain.
    length : float
        Length of the step: root mean square over the rows, in standard deviations.
    is_reliable : bool
        Whether the latest steps saw the log-likelihood curved downwards, as it is near a maximum.
    """

    coordinates: Coordinates
    origin: Floats
    step: Floats
    slope: float
    em_gain: float
    length: float
    is_reliable: bool

    @property
    def gain(self) -> float:
        """Estimate of the log-likelihood that is left to gain; infinite where it cannot be told."""
        return 0.5 * abs(self.slope) if self.is_reliable else np.inf

    def moments(self, fraction: float) -> Moments:
        """Return the moments at a fraction of the step."""
        return self.coordinates.decode(self.origin + fraction * self.step)


class History:
    """The latest points of a run and the EM steps from them."""

    def __init__(self, structure: CovarianceStructure, total_weight: float) -> None:
        self._structure, self._total_weight = structure, total_weight
        self._points: list[tuple[Parameters, Parameters]] = []
        self._vectors: list[tuple[Floats, Floats]] = []
        self._coordinates: list[Coordinates] = []  # none before the first point, then one

    def direction(self, parameters: Parameters, following: Parameters) -> Direction:
        """Add a point and its EM step; return the quasi-Newton step from there.

        Parameters
        ----------
        parameters : Parameters
            The point.
        following : Parameters
            Where an EM step leads from it.

        Returns
        -------
        Direction
            The step, its length and what it promises.

        Raises
        ------
        numpy.linalg.LinAlgError
            When a covariance is not positive definite.
        """
        self._points = [*self._points[-_DEPTH:], (parameters, following)]
        self._encode()
        origin, em_step = self._vectors[-1]
        pairs = [
            (x - earlier_x, earlier_f - f)
            for (earlier_x, earlier_f), (x, f) in zip(self._vectors[:-1], self._vectors[1:], strict=True)
        ]
        is_convex = [s @ y > _CURVATURE * np.sqrt((s @ s) * (y @ y)) for s, y in pairs]
        step = _two_loops(em_step, [pair for pair, keep in zip(pairs, is_convex, strict=True) if keep])
        length = float(np.linalg.norm(step) / np.sqrt(self._total_weight))
        is_reliable = len(pairs) >= 2 and all(is_convex[-2:])
        slope, em_gain = float(em_step @ step), 0.5 * float(em_step @ em_step)
        return Direction(self._coordinates[0], origin, step, slope, em_gain, length, is_reliable)

    def _encode(self) -> None:
        """Bring the vectors up to date; all of them when the reference has to move along."""
        if self._coordinates:
            self._vectors = [*self._vectors[-_DEPTH:], *self._encoded(self._points[-1:])]
            if self._coordinates[0].drift(self._vectors[-1][0]) < _DRIFT:
                return
        self._coordinates = [Coordinates(self._points[-1][0], self._structure, self._total_weight)]
        self._vectors = self._encoded(self._points)

    def _encoded(self, points: list[tuple[Parameters, Parameters]]) -> list[tuple[Floats, Floats]]:
        """Return the vectors of points and of the EM steps from them."""
        vectors = self._coordinates[0].encode([mixture for point in points for mixture in point])
        return [(x, following - x) for x, following in zip(vectors[::2], vectors[1::2], strict=True)]


def _two_loops(gradient: Floats, pairs: list[tuple[Floats, Floats]]) -> Floats:
    """Apply the inverse Hessian of limited-memory BFGS to a gradient; without history that is the identity."""
    step, weights = gradient.copy(), []
    for s, y in reversed(pairs):
        weights.append(float(s @ step) / float(s @ y))
        step -= weights[-1] * y
    for (s, y), weight in zip(pairs, reversed(weights), strict=True):
        step += s * (weight - float(y @ step) / float(s @ y))
    return step
