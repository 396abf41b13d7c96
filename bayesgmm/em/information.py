"""The information that rows carry about a mixture: scores, and first and second derivatives of the log-likelihood.

One pass over the rows, analytic for all fourteen structures. Were the labels known, the second derivatives would follow
from counts, means and scatters; what the missing labels take away is the covariance of the complete-data scores under
the responsibilities (Louis 1982). The pass adds up both, and the outer products of the scores, in the free coordinates
of tangent.py (math.md, 9.2 and 9.3).

Rows are taken in blocks; matrix products do the work, O(n p^2) of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bayesgmm.em.tangent import Directions, TangentSpace
from bayesgmm.mixture import softmax

__all__ = ["Information", "information"]

Floats = NDArray[np.float64]

_LOG_2PI = float(np.log(2.0 * np.pi))
# Numbers in a block of scores: 16 MB.
_BLOCK = 2**21


@dataclass(frozen=True, eq=False)
class Information:
    """Derivatives of the log-likelihood at a mixture, in the p free coordinates.

    Parameters
    ----------
    gradient : ndarray, shape (p,)
        First derivatives; zero at a maximum.
    complete : ndarray, shape (p, p)
        Minus the expected second derivatives of the log-likelihood of rows and labels, given the rows.
    observed : ndarray, shape (p, p)
        Minus the second derivatives of the log-likelihood of the rows.
    scores : ndarray, shape (p, p)
        Sum of the outer products of the rows' scores.
    """

    gradient: Floats
    complete: Floats
    observed: Floats
    scores: Floats


@dataclass(frozen=True, eq=False)
class _Block:
    """Rows with their weights (n,), responsibilities (n, K), and per component whitened offsets and score features."""

    weights: Floats
    responsibilities: Floats
    white: Floats
    features: list[Floats]


def information(
    space: TangentSpace, Z: Floats, sample_weight: Floats | None = None, *, reg_covar: float = 0.0
) -> Information:
    """Compute the information that rows carry about a mixture (math.md, 9.2 and 9.3).

    Parameters
    ----------
    space : TangentSpace
        The mixture and its free coordinates.
    Z : ndarray, shape (n, D)
        Rows, in the units of the mixture.
    sample_weight : ndarray, shape (n,), optional
        Frequencies of the rows.
    reg_covar : float, optional
        What the fit was penalised with; its derivatives belong to gradient, complete and observed.

    Returns
    -------
    Information
        Gradient, complete and observed information, outer products of the scores.
    """
    k, d = space.mixture.means.shape
    slots = [_slots(space, component) for component in range(k)]
    size = k + k * d + space.n_covariance
    total, outer, within = np.zeros(size), np.zeros((size, size)), np.zeros((size, size))
    seconds = np.zeros((k, d, d))
    n = 0.0
    for block in _blocks(space, Z, sample_weight):
        n += block.weights.sum()
        scores = _scores(block, slots, size)
        weighted = scores * block.weights[:, None]
        total += weighted.sum(axis=0)
        outer += weighted.T @ scores
        for component, (slot, features) in enumerate(zip(slots, block.features, strict=True)):
            share = (block.weights * block.responsibilities[:, component])[:, None]
            within[np.ix_(slot, slot)] += (share * features).T @ features
            seconds[component] += (share * block.white[component]).T @ block.white[component]
    penalties = _penalties(space, reg_covar * n / k)
    return _assembled(space, slots, n, total, outer, within, seconds, penalties)


# ---------------------------------------------------------------- the pass over the rows


def _slots(space: TangentSpace, component: int) -> NDArray[np.intp]:
    """Return where one component's log weight, mean and covariance coordinates are among all."""
    k, d = space.mixture.means.shape
    mean = k + component * d + np.arange(d)
    return np.concatenate([[component], mean, k + k * d + space.directions[component].columns])


def _blocks(space: TangentSpace, Z: Floats, sample_weight: Floats | None) -> Iterator[_Block]:
    k, d = space.mixture.means.shape
    weights = np.ones(len(Z)) if sample_weight is None else sample_weight
    whitening = np.linalg.inv(space.roots)
    log_determinants = np.linalg.slogdet(space.roots)[1]
    constants = np.log(space.mixture.weights) - log_determinants - 0.5 * d * _LOG_2PI
    step = max(1, _BLOCK // (k + k * d + space.n_covariance))
    for start in range(0, len(Z), step):
        part = slice(start, start + step)
        white = (Z[part] - space.mixture.means[:, None, :]) @ whitening.transpose(0, 2, 1)
        log_joint = constants - 0.5 * (white**2).sum(axis=2).T
        responsibilities = softmax(log_joint)
        features = [_features(white[component], space.directions[component]) for component in range(k)]
        yield _Block(weights[part], responsibilities, white, features)


def _features(white: Floats, directions: Directions) -> Floats:
    """Return the scores of rows known to belong to a component: 1, y, (y' M y - tr M) / 2 for every direction M."""
    rows, columns = np.nonzero(np.triu(np.any(directions.changes != 0.0, axis=0)))
    factors = directions.changes[:, rows, columns] * np.where(rows == columns, 0.5, 1.0)
    traces = np.trace(directions.changes, axis1=1, axis2=2)
    squares = (white[:, rows] * white[:, columns]) @ factors.T - 0.5 * traces
    return np.concatenate([np.ones((len(white), 1)), white, squares], axis=1)


def _scores(block: _Block, slots: list[NDArray[np.intp]], size: int) -> Floats:
    """Return responsibilities times features, added up over the components, shape (rows, size)."""
    scores = np.zeros((len(block.weights), size))
    for component, (slot, features) in enumerate(zip(slots, block.features, strict=True)):
        scores[:, slot] += block.responsibilities[:, component, None] * features
    return scores


# ---------------------------------------------------------------- from sums to derivatives


def _assembled(
    space: TangentSpace, slots: list[NDArray[np.intp]], n: float, total: Floats, outer: Floats, within: Floats,
    seconds: Floats, penalties: Floats,
) -> Information:  # fmt: skip
    k = space.mixture.n_components
    weights = np.zeros(len(total))
    weights[:k] = space.mixture.weights
    gradient = total - n * weights
    complete = n * (np.diag(weights) - np.outer(weights, weights))
    for component, slot in enumerate(slots):
        count, first = total[component], total[slot[1 : 1 + space.mixture.n_features]]
        changes = space.directions[component].changes
        second = seconds[component] + penalties[component]
        gradient[slot[-len(changes) :]] += 0.5 * np.tensordot(changes, penalties[component], axes=2)
        complete[np.ix_(slot, slot)] += _complete(space.directions[component], count, first, second)
    missing = within - outer
    spread = outer - np.outer(total, weights) - np.outer(weights, total) + n * np.outer(weights, weights)
    return Information(
        _contrasted_vector(space, gradient), _contrasted(space, complete), _contrasted(space, complete - missing),
        _contrasted(space, spread),
    )  # fmt: skip


def _complete(directions: Directions, count: float, first: Floats, second: Floats) -> Floats:
    """Return minus the second derivatives of one component's log-likelihood, from its whitened moments."""
    d = len(first)
    changes = directions.changes
    out = np.zeros((1 + d + len(changes), 1 + d + len(changes)))
    out[1 : 1 + d, 1 : 1 + d] = count * np.eye(d)
    cross = changes @ first
    out[1 + d :, 1 : 1 + d] = cross
    out[1 : 1 + d, 1 + d :] = cross.T
    quarter = 0.25 * np.tensordot(second @ changes, changes, axes=([1, 2], [1, 2]))
    bend = _bend(directions, 0.5 * (second - count * np.eye(d)))
    out[1 + d :, 1 + d :] = quarter + quarter.T - bend - bend.T
    return out


def _bend(directions: Directions, gradient: Floats) -> Floats:
    """Return b, with <gradient, what is quadratic in M> = sum_ij b_ij x_i x_j for coordinates x (math.md, 9.3)."""
    turns = directions.turns
    if not turns.any():
        return np.zeros((len(turns), len(turns)))
    skew = turns - turns.transpose(0, 2, 1)
    stretches = directions.changes - turns - turns.transpose(0, 2, 1)
    by_turn = np.tensordot(gradient @ turns - turns @ gradient, turns, axes=([1, 2], [1, 2]))
    by_stretch = np.tensordot(gradient @ skew - skew @ gradient, stretches, axes=([1, 2], [1, 2]))
    return np.asarray(0.5 * (by_turn + by_stretch))


def _penalties(space: TangentSpace, amount: float) -> Floats:
    """Return what a penalty of -amount/2 tr(Sigma_k^-1) adds to the whitened scatters, shape (K, D, D)."""
    whitening = np.linalg.inv(space.roots)
    return np.asarray(amount * whitening @ whitening.transpose(0, 2, 1))


def _contrasted_vector(space: TangentSpace, vector: Floats) -> Floats:
    k = space.mixture.n_components
    return np.concatenate([space.contrasts.T @ vector[:k], vector[k:]])


def _contrasted(space: TangentSpace, matrix: Floats) -> Floats:
    """Exchange the K log weights for their K - 1 contrasts, on both sides; symmetric to the last bit."""
    k = space.mixture.n_components
    half = np.concatenate([space.contrasts.T @ matrix[:k], matrix[k:]])
    whole = np.concatenate([half[:, :k] @ space.contrasts, half[:, k:]], axis=1)
    return 0.5 * (whole + whole.T)
