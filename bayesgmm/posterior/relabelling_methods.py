"""Ways to give the components of every draw the same names; each returns one permutation a draw.

``stephens`` and ``ecr`` agree on a consensus and then on the permutations that fit it, in turn, until nothing changes:
the averaged responsibilities and the Kullback-Leibler divergence from them (Stephens 2000), or the most frequent
allocation of each row and the rows that are allocated otherwise (Papastamoulis & Iliopoulos 2010). They start from the
match to one draw (or to a reference), not from the numbering that draws come in: where chains have switched, the
average over that numbering is the same for every component and says nothing. Where components overlap there are
several such agreements; some of the draws are tried as starts, on a few draws, and the best agreement is carried on.

``by_distance`` compares components as densities, not by their rows, with those of a reference; ``pivot`` compares
parameters with those of one draw (Marin, Mengersen & Robert 2005). ``order`` sorts by the means of one column: the
baseline that everybody knows, and that fails where the means do not tell components apart.

Responsibilities of all draws are never held together: each round computes them anew, block by block.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from bayesgmm.errors import ArgumentError
from bayesgmm.mixture import BLOCK, Mixture
from bayesgmm.posterior.matching import assign, hellinger_cost, overlap_cost, wasserstein_cost

__all__ = [
    "N_STARTS",
    "Draws",
    "Rows",
    "agree",
    "averaged_shares",
    "best_draw",
    "by_distance",
    "order_by_column",
    "overlap_costs",
    "pivot",
    "spread",
]

Floats = NDArray[np.float64]
Permutations = NDArray[np.intp]

#: Rounds of consensus and permutations; each lowers the same objective, and a handful is usual.
MAX_ROUNDS = 100
#: Draws that are tried as starts, and draws that they are tried on.
N_STARTS, TRIAL_DRAWS = 8, 100
# A responsibility below this counts as this: its logarithm must stay finite.
_SMALLEST_SHARE = 1e-30
# Counts of rows often tie; all responsibilities together must weigh less than one row.
_TIE_BREAK = 1e-6


class Draws(Protocol):
    """What an agreement about rows needs of draws: mixtures have it, and so have labels."""

    @property
    def n_mixtures(self) -> int:
        """Number of draws."""

    @property
    def n_components(self) -> int:
        """Number of components, K."""

    def __getitem__(self, index: Any) -> Self: ...

    def responsibilities(self, X: Any) -> Floats:
        """Return how much of every row belongs to every component."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows that decide on names, and what they count.

    Parameters
    ----------
    values : ndarray, shape (n, D)
        Rows, in the units of the draws.
    weights : ndarray, shape (n,), or None
        Their weights.
    """

    values: Floats
    weights: Floats | None = None

    def weigh(self, shares: Floats) -> Floats:
        """Return numbers of each row, shape (n, K), times the weight of the row."""
        return shares if self.weights is None else shares * self.weights[:, None]

    def shares(self, draws: Draws) -> Iterator[tuple[slice, Floats]]:
        """Yield responsibilities of a batch with one leading dimension, block by block: (part, n, K)."""
        step = max(1, BLOCK // (len(self.values) * draws.n_components))
        for start in range(0, draws.n_mixtures, step):
            part = slice(start, start + step)
            yield part, draws[part].responsibilities(self.values)


def overlap_costs(reference: Floats, draws: Draws, rows: Rows) -> Floats:
    """Return one minus the overlap of responsibilities with those of a reference (math.md, 6.1), shape (S, K, K)."""
    return np.concatenate([overlap_cost(reference, shares, rows.weights) for _, shares in rows.shares(draws)])


def averaged_shares(draws: Draws, rows: Rows, permutations: Permutations) -> Floats:
    """Return the average of the permuted responsibilities, shape (n, K)."""
    total = np.zeros((len(rows.values), draws.n_components))
    for part, shares in rows.shares(draws):
        total += _permuted_sum(shares, permutations[part])
    return total / draws.n_mixtures


def best_draw(draws: Mixture, rows: Rows) -> Mixture:
    """Return the draw with the largest log-likelihood."""
    log_densities = draws.log_density(rows.values)
    weights = np.ones(len(rows.values)) if rows.weights is None else rows.weights
    return draws[int(np.argmax(log_densities @ weights))]


# -------------------------------------------------------------------- by agreement


def agree(draws: Draws, rows: Rows, starts: Sequence[Floats], method: str) -> Permutations:
    """Alternate between a consensus and the permutations that fit it (math.md, 6.4 and 6.5).

    Parameters
    ----------
    draws : Draws
        Draws, one leading dimension.
    rows : Rows
        The rows.
    starts : sequence of ndarray, shape (n, K)
        Responsibilities that the draws are matched to first; of several the one that a few draws agree on best.
    method : {"stephens", "ecr"}
        What the consensus is.

    Returns
    -------
    ndarray of int, shape (S, K)
        Component j of the consensus is component ``permutations[s, j]`` of draw s.
    """
    if len(starts) > 1:
        few = spread(draws, TRIAL_DRAWS)
        starts = [_alternate(few, rows, start, method)[1] for start in starts]
    loss = _doubt if method == "stephens" else _dissent
    return _alternate(draws, rows, min(starts, key=lambda start: loss(start, rows)), method)[0]


def spread[D: Draws](draws: D, limit: int) -> D:
    """Return at most `limit` of the draws, evenly spaced."""
    return draws[np.linspace(0, draws.n_mixtures - 1, min(limit, draws.n_mixtures)).astype(int)]


def _alternate(draws: Draws, rows: Rows, start: Floats, method: str) -> tuple[Permutations, Floats]:
    """Return the permutations and the consensus that fit each other, from one start."""
    cost, hold = (_divergence, _as_they_are) if method == "stephens" else (_disagreement, _allocations_and_shares)
    permutations = assign(overlap_costs(start, draws, rows)).permutations
    consensus = averaged_shares(draws, rows, permutations)
    for _ in range(MAX_ROUNDS):
        before, permutations = permutations, np.empty_like(permutations)
        total = np.zeros_like(consensus)
        for part, shares in rows.shares(draws):
            held = hold(shares)
            permutations[part] = assign(cost(consensus, held, rows)).permutations
            total += _permuted_sum(held, permutations[part])
        consensus = total / draws.n_mixtures
        if np.array_equal(permutations, before):
            break
    return permutations, consensus


def _divergence(consensus: Floats, shares: Floats, rows: Rows) -> Floats:
    """Return the divergence of responsibilities from the consensus, up to what no permutation changes."""
    return -rows.weigh(np.log(np.maximum(consensus, _SMALLEST_SHARE))).T @ shares


def _disagreement(consensus: Floats, allocations: Floats, rows: Rows) -> Floats:
    """Return minus the rows that are allocated as most draws do."""
    return -rows.weigh(_allocations(consensus)).T @ allocations


def _doubt(consensus: Floats, rows: Rows) -> float:
    """Return the entropy of averaged responsibilities, which is the mean divergence from them up to a constant."""
    return float(-rows.weigh(consensus * np.log(np.maximum(consensus, _SMALLEST_SHARE))).sum())


def _dissent(consensus: Floats, rows: Rows) -> float:
    """Return minus the rows that draws allocate as most draws do."""
    return float(-rows.weigh(consensus).max(axis=1).sum())


def _as_they_are(shares: Floats) -> Floats:
    return shares


def _allocations(shares: Floats) -> Floats:
    """Return one for the most probable component and zero for the others."""
    return np.asarray(np.arange(shares.shape[-1]) == shares.argmax(axis=-1)[..., None], dtype=float)


def _allocations_and_shares(shares: Floats) -> Floats:
    """Return allocations, and a trace of the responsibilities that decides between equal counts."""
    return _allocations(shares) + _TIE_BREAK * shares


def _permuted_sum(shares: Floats, permutations: Permutations) -> Floats:
    """Return the sum over draws of shares whose columns are permuted, shape (n, K)."""
    return np.asarray(np.take_along_axis(shares, permutations[:, None, :], axis=-1).sum(axis=0))


# -------------------------------------------------------------------- by parameters


def by_distance(draws: Mixture, reference: Mixture, distance: str) -> Permutations:
    """Match components to those of a mixture by how far apart their normal distributions are (math.md, 6.3 and 8.6).

    Parameters
    ----------
    draws : Mixture
        Draws, one leading dimension.
    reference : Mixture
        The mixture that gives the names.
    distance : {"hellinger", "wasserstein"}
        What is squared and summed over components.

    Returns
    -------
    ndarray of int, shape (S, K)
        The permutations with the smallest sum.
    """
    cost = hellinger_cost
    if distance == "wasserstein":
        # Lengths in different columns are added, so they must be on one scale; overlaps do not depend on units.
        scale, cost = 1.0 / _within_sd(draws), wasserstein_cost
        draws, reference = draws.affine(scale, 0.0), reference.affine(scale, 0.0)
    step = max(1, BLOCK // (draws.n_components * draws.n_features) ** 2)
    starts = range(0, draws.n_mixtures, step)
    return np.concatenate([assign(cost(reference, draws[s : s + step])).permutations for s in starts])


def pivot(draws: Mixture, reference: Mixture) -> Permutations:
    """Match parameters to those of one mixture (Marin, Mengersen & Robert 2005; math.md, 6.6).

    Parameters
    ----------
    draws : Mixture
        Draws, one leading dimension.
    reference : Mixture
        The pivot.

    Returns
    -------
    ndarray of int, shape (S, K)
        The permutations with the largest scalar product of the parameter vectors.
    """
    # In standard deviations within components: only so are means, variances and weights on one scale.
    sd = _within_sd(draws)
    return assign(-_parameter_vectors(reference, sd)[0] @ np.swapaxes(_parameter_vectors(draws, sd), 1, 2)).permutations


def _within_sd(draws: Mixture) -> Floats:
    """Return the standard deviation of every column within components, averaged over draws and components."""
    return np.sqrt(_variances(draws).mean(axis=(0, 1)))


def _variances(mixture: Mixture) -> Floats:
    return np.diagonal(mixture.covariances, axis1=-2, axis2=-1)


def _parameter_vectors(mixture: Mixture, sd: Floats) -> Floats:
    """Return weight, means and covariances of each component as one vector in units of `sd`, shape (S, K, numbers)."""
    flat = mixture.flatten() if mixture.batch_shape else mixture
    k, d = mixture.n_components, mixture.n_features
    lower = np.tril_indices(d)
    covariances = (flat.covariances / np.outer(sd, sd)).reshape(-1, k, d, d)[..., lower[0], lower[1]]
    means = ((flat.means - np.mean(mixture.means, axis=tuple(range(mixture.means.ndim - 1)))) / sd).reshape(-1, k, d)
    return np.concatenate([flat.weights.reshape(-1, k, 1), means, covariances], axis=-1)


def order_by_column(draws: Mixture, column: str | None) -> Permutations:
    """Sort components by the means of one column (math.md, 6.7).

    Parameters
    ----------
    draws : Mixture
        Draws, one leading dimension.
    column : str or None
        The column; None stands for the one whose means differ most, in standard deviations within components.

    Returns
    -------
    ndarray of int, shape (S, K)
        The permutations that sort.
    """
    if column is None:
        within = _variances(draws).mean(axis=(0, 1))
        position = int(np.argmax(draws.means.var(axis=1).mean(axis=0) / within))
    elif column in draws.features:
        position = draws.features.index(column)
    else:
        raise ArgumentError(f"order_by={column!r} is not a column; use one of {', '.join(draws.features)}")
    return np.argsort(draws.means[..., position], axis=-1, kind="stable")
