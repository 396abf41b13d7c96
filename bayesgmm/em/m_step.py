"""The M step of all fourteen covariance structures, from counts, means and scatters alone.

Two questions settle a structure. In which axes is it diagonal: those of the columns (orientation I), each component's
own (orientation V with a common shape), common ones that are searched for (orientation E with variable shapes), or do
axes not matter because shape and orientation are both equal or both variable? And then, how do volumes and shapes
follow from the scatters in these axes: the same six formulas serve diagonals and matrices. That is the one place that
reads the letters (Celeux & Govaert 1995; math.md, 3.4 and 3.5).
"""

import numpy as np
from numpy.typing import NDArray

from bayesgmm.em.constraint import truncated
from bayesgmm.em.knowledge import NOTHING, Knowledge
from bayesgmm.em.statistics import Moments, Parameters
from bayesgmm.kernels.orientation import rotate_to_common_axes
from bayesgmm.structure import CovarianceStructure

__all__ = ["m_step"]

Floats = NDArray[np.float64]

_MAX_NEWTON_STEPS = 50
_MAX_SWEEPS = 50


def m_step(
    moments: Moments,
    structure: CovarianceStructure,
    *,
    previous: Parameters | None = None,
    prior: Floats | None = None,
    knowledge: Knowledge = NOTHING,
) -> Parameters:
    """Compute the parameters that maximise the expected complete log-likelihood (math.md, 3.3 to 3.5, 3.10 to 3.12).

    Parameters
    ----------
    moments : Moments
        Counts, means and scatters of the components, standardised units.
    structure : CovarianceStructure
        The structure, already reduced to the dimension of the data.
    previous : Parameters, optional
        Parameters of the iteration before, where the search for volumes or common axes starts from.
    prior : ndarray, shape (D, D), optional
        Covariance that is added to a component holding its even share n / K of the rows; standardised units. A
        component with fewer rows gets more, in proportion. It makes the estimate the mode under a prior on the
        precisions, so that EM stays monotone (in the penalised log-likelihood) and a structure stays what it is.
        Default: none.
    knowledge : Knowledge, optional
        Fixed parameters, a conjugate prior, a bound on the variances. Default: nothing.

    Returns
    -------
    parameters : Parameters
        Weights, means and covariances.

    Raises
    ------
    numpy.linalg.LinAlgError
        When the scatters determine no positive definite covariance.
    """
    means, weights = knowledge.means(moments), knowledge.weights(moments.counts)
    if knowledge.fixed.covariances is not None:
        return Parameters(weights, means, knowledge.fixed.covariances)
    scatters = moments.scatters if prior is None else _with_prior(moments.scatters, moments.counts, prior)
    counts, scatters = knowledge.around(means, moments, scatters)
    d = means.shape[1]
    if knowledge.max_ratio is not None:
        return Parameters(weights, means, _bounded(scatters, counts, d, structure, knowledge.max_ratio))
    covariances = _covariances(scatters, counts, d, structure, None if previous is None else previous.covariances)
    return Parameters(weights, means, covariances)


def _with_prior(scatters: Floats, counts: Floats, prior: Floats) -> Floats:
    """Add the prior's rows to the scatters, in their layout."""
    share = counts.sum() / len(scatters)  # all rows, where the scatter is pooled
    if scatters.ndim == 3:
        return scatters + share * prior
    variances = np.diagonal(prior)
    return scatters + share * (variances if scatters.shape[1] > 1 else variances.sum())


def _covariances(
    scatters: Floats, counts: Floats, d: int, structure: CovarianceStructure, previous: Floats | None
) -> Floats:
    letters = structure.volume + structure.shape
    if not structure.is_diagonal and structure.shape == structure.orientation:
        fitted = _volumes_and_shapes(scatters, counts, d, letters, previous)
        return np.broadcast_to(fitted, (len(counts), d, d)).copy()
    if structure.is_diagonal:
        spectra = np.diagonal(scatters, axis1=1, axis2=2) if scatters.ndim == 3 else scatters
        variances = _volumes_and_shapes(spectra, counts, d, letters, previous)
        return np.broadcast_to(variances, (len(counts), d))[:, :, None] * np.eye(d)
    if structure.orientation == "V":
        spectra, axes = np.linalg.eigh(scatters)
    else:
        spectra, axes = _common_axes(scatters, counts, structure.volume == "E", previous)
    variances = _volumes_and_shapes(np.maximum(spectra, 0.0), counts, d, letters, previous)
    variances = np.broadcast_to(variances, (len(counts), d))
    covariances = (axes * variances[:, None, :]) @ np.swapaxes(axes, -1, -2)
    return 0.5 * (covariances + np.swapaxes(covariances, -1, -2))


def _bounded(scatters: Floats, counts: Floats, d: int, structure: CovarianceStructure, ratio: float) -> Floats:
    """Return covariances with bounded eigenvalues; scatters may be singular (math.md, 3.12)."""
    k, letters = len(counts), structure.volume + structure.shape
    if structure.is_diagonal:
        spectra = np.diagonal(scatters, axis1=1, axis2=2) if scatters.ndim == 3 else scatters
        variances = np.broadcast_to(_fitted(spectra, counts, d, letters, None), (k, d))
        return truncated(variances, counts, ratio)[:, :, None] * np.eye(d)
    spectra, axes = np.linalg.eigh(_fitted(scatters, counts, d, letters, None))
    variances = truncated(np.broadcast_to(np.maximum(spectra, 0.0), (k, d)), counts, ratio)
    covariances = (axes * variances[:, None, :]) @ np.swapaxes(axes, -1, -2)
    return 0.5 * (covariances + np.swapaxes(covariances, -1, -2))


# ---------------------------------------------------------------- volumes and shapes


def _volumes_and_shapes(scatters: Floats, counts: Floats, d: int, letters: str, previous: Floats | None) -> Floats:
    """Return variances from diagonals (K, D) or covariances from matrices (K, D, D); common ones have length one."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        fitted = _fitted(scatters, counts, d, letters, previous)
    variances = fitted if fitted.ndim == 2 else np.diagonal(fitted, axis1=1, axis2=2)
    if not (np.all(np.isfinite(fitted)) and np.all(variances > 0.0)):
        raise np.linalg.LinAlgError("a scatter matrix is singular")
    return fitted


def _fitted(scatters: Floats, counts: Floats, d: int, letters: str, previous: Floats | None) -> Floats:
    n, per_count = counts.sum(), counts.reshape(-1, *[1] * (scatters.ndim - 1))
    if letters == "EI":
        return np.asarray(scatters.sum(keepdims=True) / (n * d))
    if letters == "VI":
        return np.asarray(scatters.sum(axis=1, keepdims=True) / (per_count * d))
    if letters == "EE":
        return np.asarray(scatters.sum(axis=0, keepdims=True) / n)
    if letters == "VV":
        return scatters / per_count
    if letters == "EV":
        volumes = np.exp(_log_determinants(scatters) / d).reshape(per_count.shape)
        return scatters / volumes * (volumes.sum() / n)
    volumes = np.exp(_log_volumes(scatters, counts, d, previous)).reshape(per_count.shape)
    return np.asarray(volumes * (scatters / volumes).sum(axis=0, keepdims=True) / n)


def _log_determinants(scatters: Floats) -> Floats:
    if scatters.ndim == 2:
        return np.asarray(np.log(scatters).sum(axis=1))
    signs, values = np.linalg.slogdet(scatters)
    return np.where(signs > 0.0, values, -np.inf)


def _log_volumes(scatters: Floats, counts: Floats, d: int, previous: Floats | None) -> Floats:
    """Return log volumes u, up to a constant, of components that share their shape.

    With the common shape profiled out, they minimise d sum_k n_k u_k + n log det(sum_k exp(-u_k) W_k), which is convex
    in u; damped Newton steps find it to rounding in about four steps, in one or two from the iteration before.
    """
    n = counts.sum()
    u = _starting_log_volumes(scatters, counts, d, previous)
    value, gradient, hessian = _volume_criterion(u, scatters, counts, d)
    for _ in range(_MAX_NEWTON_STEPS):
        # The criterion does not change along (1, ..., 1); adding that direction makes the system regular.
        step = -np.linalg.solve(hessian + n / len(u), gradient)
        decrement = -gradient @ step
        if not decrement > 1e-13 * n:
            return u + step if np.all(np.isfinite(step)) else u
        size = 1.0
        while True:
            candidate = _volume_criterion(u + size * step, scatters, counts, d)
            if candidate[0] <= value - 0.25 * size * decrement or size < 1e-3:
                break
            size *= 0.5
        u = u + size * step
        value, gradient, hessian = candidate
    return u


def _starting_log_volumes(scatters: Floats, counts: Floats, d: int, previous: Floats | None) -> Floats:
    if previous is not None:
        return _log_determinants(previous) / d
    traces = scatters.sum(axis=1) if scatters.ndim == 2 else np.trace(scatters, axis1=1, axis2=2)
    floor = 1e-12 * traces.sum() / counts.sum()
    return np.asarray(np.log(np.maximum(traces / counts, floor)))


def _volume_criterion(u: Floats, scatters: Floats, counts: Floats, d: int) -> tuple[float, Floats, Floats]:
    """Return value, gradient and Hessian of d sum_k n_k u_k + n log det(sum_k exp(-u_k) W_k)."""
    n = counts.sum()
    scaled = scatters * np.exp(-u).reshape(-1, *[1] * (scatters.ndim - 1))
    common = scaled.sum(axis=0)
    if scatters.ndim == 2:
        log_determinant = np.log(common).sum()
        relative = scaled / common
        traces = relative.sum(axis=1)
    else:
        chol = np.linalg.cholesky(common)
        whitening = np.linalg.inv(chol)
        log_determinant = 2.0 * np.log(np.diagonal(chol)).sum()
        relative = (whitening @ scaled @ whitening.T).reshape(len(u), -1)
        traces = relative[:, :: d + 1].sum(axis=1)
    value = float(d * counts @ u + n * log_determinant)
    return value, d * counts - n * traces, n * (np.diag(traces) - relative @ relative.T)


# ---------------------------------------------------------------- common axes


def _common_axes(
    scatters: Floats, counts: Floats, has_equal_volume: bool, previous: Floats | None
) -> tuple[Floats, Floats]:
    """Return the diagonals (K, D) of the scatters in their common axes, and the axes (D, D)."""
    starts = _axes_of_data(scatters, counts) if previous is None else [_axes_of_covariances(previous)]
    best: tuple[float, Floats, Floats] | None = None
    for start in starts:
        axes = np.ascontiguousarray(start)
        rotated = np.ascontiguousarray(axes.T @ scatters @ axes)
        value = rotate_to_common_axes(rotated, counts, axes, has_equal_volume, _MAX_SWEEPS, 1e-9)
        if best is None or value < best[0]:
            best = value, np.diagonal(rotated, axis1=1, axis2=2), axes
    if best is None or not np.isfinite(best[0]):
        raise np.linalg.LinAlgError("a scatter matrix is singular along a common axis")
    return best[1], best[2]


def _axes_of_covariances(covariances: Floats) -> Floats:
    """Return the axes that covariances have in common: eigenvectors of a combination in which no two axes tie."""
    sizes = np.trace(covariances, axis1=1, axis2=2)
    mixing = (1.0 + np.arange(len(covariances)) / np.pi) / sizes
    return np.linalg.eigh(np.tensordot(mixing, covariances, axes=1))[1]


def _axes_of_data(scatters: Floats, counts: Floats) -> list[Floats]:
    """Return where to start the search for common axes: those of the pooled scatter and of every component."""
    return [np.linalg.eigh(scatters.sum(axis=0))[1], *np.linalg.eigh(scatters / counts[:, None, None])[1]]
