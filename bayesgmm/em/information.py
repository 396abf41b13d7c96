"""The information that rows carry about a mixture: scores, and first and second derivatives of the log-likelihood.

One pass over the rows, analytic for all fourteen structures. Were the labels known, the second derivatives would follow
from counts, means and scatters; what the missing labels take away is the covariance of the complete-data scores under
the responsibilities (Louis 1982). The pass adds up both, and the outer products of the scores, in the free coordinates
of tangent.py (math.md, 9.2 and 9.3).

Rows are taken in blocks; matrix products do the work, O(n p^2) of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayesgmm.em.conjugate import PriorTerms
from bayesgmm.em.scatters import outer_products
from bayesgmm.em.tangent import Directions, TangentSpace
from bayesgmm.mixture import softmax

__all__ = ["Block", "Information", "blocks", "information", "slots_of"]

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

    def along(self, free: NDArray[np.intp]) -> "Information":
        """Return the derivatives along some of the coordinates."""
        both = np.ix_(free, free)
        return Information(self.gradient[free], self.complete[both], self.observed[both], self.scores[both])


class Block(NamedTuple):
    """Some rows and what a mixture says of them.

    Parameters
    ----------
    weights : ndarray, shape (rows,)
        Frequencies.
    log_joint : ndarray, shape (rows, K)
        Log joint density of row and component; minus infinity where a label excludes the component.
    white : ndarray, shape (K, rows, D)
        Whitened offsets from the means.
    features : list of ndarray, shape (rows, 1 + D + Q)
        For every component the derivatives of the log joint density, but for the share of the weights.
    """

    weights: Floats
    log_joint: Floats
    white: Floats
    features: list[Floats]


class _Added(NamedTuple):
    """What a penalty or a prior adds to whitened moments: counts behind mean and determinant, firsts, seconds."""

    mean_count: float
    determinant_count: float
    firsts: Floats
    seconds: Floats


def information(
    space: TangentSpace,
    Z: Floats,
    sample_weight: Floats | None = None,
    *,
    reg_covar: float = 0.0,
    labels: NDArray[np.intp] | None = None,
    prior: PriorTerms | None = None,
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
    labels : ndarray of int, shape (n,), optional
        Components of the rows of which they are known, -1 for the others.
    prior : PriorTerms, optional
        The prior of the fit, in the units of the mixture; its derivatives belong to the same three.

    Returns
    -------
    Information
        Gradient, complete and observed information, outer products of the scores.
    """
    k, d = space.mixture.means.shape
    slots = [slots_of(space, component) for component in range(k)]
    size = k + k * d + space.n_covariance
    total, outer, within = np.zeros(size), np.zeros((size, size)), np.zeros((size, size))
    seconds = np.zeros((k, d, d))
    n = 0.0
    for block in blocks(space, Z, sample_weight, labels):
        n += block.weights.sum()
        responsibilities = softmax(block.log_joint)
        scores = _scores(block, responsibilities, slots, size)
        weighted = scores * block.weights[:, None]
        total += weighted.sum(axis=0)
        outer += weighted.T @ scores
        for component, (slot, features) in enumerate(zip(slots, block.features, strict=True)):
            share = (block.weights * responsibilities[:, component])[:, None]
            within[np.ix_(slot, slot)] += (share * features).T @ features
            seconds[component] += (share * block.white[component]).T @ block.white[component]
    added = _added(space, reg_covar * n / k, prior)
    return _assembled(space, slots, n, total, outer, within, seconds, added)


# ---------------------------------------------------------------- the pass over the rows


def slots_of(space: TangentSpace, component: int) -> NDArray[np.intp]:
    """Return where one component's log weight, mean and covariance coordinates are among all."""
    k, d = space.mixture.means.shape
    mean = k + component * d + np.arange(d)
    return np.concatenate([[component], mean, k + k * d + space.directions[component].columns])


def blocks(
    space: TangentSpace, Z: Floats, sample_weight: Floats | None = None, labels: NDArray[np.intp] | None = None
) -> Iterator[Block]:
    """Yield rows with what a mixture says of them, some at a time; see `information`."""
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
        if labels is not None:
            known = labels[part, None]
            log_joint = np.where((known < 0) | (known == np.arange(k)), log_joint, -np.inf)
        features = [_features(white[component], space.directions[component]) for component in range(k)]
        yield Block(weights[part], log_joint, white, features)


def _features(white: Floats, directions: Directions) -> Floats:
    """Return the scores of rows known to belong to a component: 1, y, (y' M y - tr M) / 2 for every direction M."""
    rows, columns = np.nonzero(np.triu(np.any(directions.changes != 0.0, axis=0)))
    factors = directions.changes[:, rows, columns] * np.where(rows == columns, 0.5, 1.0)
    traces = np.trace(directions.changes, axis1=1, axis2=2)
    squares = (white[:, rows] * white[:, columns]) @ factors.T - 0.5 * traces
    return np.concatenate([np.ones((len(white), 1)), white, squares], axis=1)


def _scores(block: Block, responsibilities: Floats, slots: list[NDArray[np.intp]], size: int) -> Floats:
    """Return responsibilities times features, added up over the components, shape (rows, size)."""
    scores = np.zeros((len(block.weights), size))
    for component, (slot, features) in enumerate(zip(slots, block.features, strict=True)):
        scores[:, slot] += responsibilities[:, component, None] * features
    return scores


# ---------------------------------------------------------------- from sums to derivatives


def _assembled(
    space: TangentSpace, slots: list[NDArray[np.intp]], n: float, total: Floats, outer: Floats, within: Floats,
    seconds: Floats, added: _Added,
) -> Information:  # fmt: skip
    k, d = space.mixture.means.shape
    weights = np.zeros(len(total))
    weights[:k] = space.mixture.weights
    gradient = total - n * weights
    complete = n * (np.diag(weights) - np.outer(weights, weights))
    for component, slot in enumerate(slots):
        count, means = total[component], slot[1 : 1 + d]
        changes = space.directions[component].changes
        excess = added.seconds[component] - added.determinant_count * np.eye(d)
        gradient[slot[1 + d :]] += 0.5 * np.tensordot(changes, excess, axes=2)
        gradient[means] += added.firsts[component]
        complete[np.ix_(slot, slot)] += _complete(
            space.directions[component], count + added.mean_count, count + added.determinant_count,
            total[means] + added.firsts[component], seconds[component] + added.seconds[component],
        )  # fmt: skip
    missing = within - outer
    spread = outer - np.outer(total, weights) - np.outer(weights, total) + n * np.outer(weights, weights)
    return Information(
        _contrasted_vector(space, gradient), _contrasted(space, complete), _contrasted(space, complete - missing),
        _contrasted(space, spread),
    )  # fmt: skip


def _complete(
    directions: Directions, mean_count: float, determinant_count: float, first: Floats, second: Floats
) -> Floats:
    """Return minus the second derivatives of one component's log-likelihood, from its whitened moments."""
    d = len(first)
    changes = directions.changes
    out = np.zeros((1 + d + len(changes), 1 + d + len(changes)))
    out[1 : 1 + d, 1 : 1 + d] = mean_count * np.eye(d)
    cross = changes @ first
    out[1 + d :, 1 : 1 + d] = cross
    out[1 : 1 + d, 1 + d :] = cross.T
    quarter = 0.25 * np.tensordot(second @ changes, changes, axes=([1, 2], [1, 2]))
    bend = _bend(directions, 0.5 * (second - determinant_count * np.eye(d)))
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


def _added(space: TangentSpace, amount: float, prior: PriorTerms | None) -> _Added:
    """Return what a penalty of -amount/2 tr(Sigma_k^-1) and a conjugate prior add to the whitened moments."""
    whitening = np.linalg.inv(space.roots)
    seconds = np.asarray(amount * whitening @ whitening.transpose(0, 2, 1))
    k, d = space.mixture.means.shape
    if prior is None:
        return _Added(0.0, 0.0, np.zeros((k, d)), seconds)
    offsets = np.einsum("kij,kj->ki", whitening, prior.mean - space.mixture.means)
    seconds = seconds + whitening @ prior.scatter @ whitening.transpose(0, 2, 1)
    seconds += outer_products(np.full(k, prior.kappa), offsets)
    return _Added(prior.kappa, prior.count, prior.kappa * offsets, seconds)


def _contrasted_vector(space: TangentSpace, vector: Floats) -> Floats:
    k = space.mixture.n_components
    return np.concatenate([space.contrasts.T @ vector[:k], vector[k:]])


def _contrasted(space: TangentSpace, matrix: Floats) -> Floats:
    """Exchange the K log weights for their K - 1 contrasts, on both sides; symmetric to the last bit."""
    k = space.mixture.n_components
    half = np.concatenate([space.contrasts.T @ matrix[:k], matrix[k:]])
    whole = np.concatenate([half[:, :k] @ space.contrasts, half[:, k:]], axis=1)
    return 0.5 * (whole + whole.T)
