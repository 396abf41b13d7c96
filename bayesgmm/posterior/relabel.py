"""Relabelling: giving the components of every draw the same names.

The likelihood does not change when components are renumbered, so chains may number them differently and a chain may
change its mind. Here each draw is permuted (relabelling_methods.py), and the match is graded. Means, weights,
covariances and memberships move together, since what is permuted is the `Mixture`.

Whatever the method, the grade is on one scale, that of shared rows (matching.py, overlap): what decides a label is
which rows a component owns, not how its parameters are written. At most `MAX_ROWS` rows, evenly spaced through the
table, are looked at.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesgmm.errors import ArgumentError
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.checks import check_mixture, read_weighted_rows
from bayesgmm.posterior.matching import assign
from bayesgmm.posterior.relabelling_methods import (
    N_STARTS,
    Permutations,
    Rows,
    agree,
    averaged_shares,
    best_draw,
    by_distance,
    order_by_column,
    overlap_costs,
    pivot,
    spread,
)

if TYPE_CHECKING:
    import pandas as pd
from bayesgmm.showing import Shown

__all__ = ["COSTS", "METHODS", "Relabelling", "RelabellingQuality", "grade", "relabel", "spread_rows"]

Floats = NDArray[np.float64]

#: The methods, and what they are in words.
METHODS = {
    "em": "components closest to those of a reference",
    "stephens": "smallest divergence from the averaged responsibilities",
    "ecr": "most rows allocated as most draws do",
    "pivot": "parameters closest to those of one draw",
    "order": "means of one column in increasing order",
}
#: What "close" means for "em", in words.
COSTS = {
    "overlap": "one minus the overlap of responsibilities",
    "hellinger": "squared Hellinger distance between components",
    "wasserstein": "squared Bures-Wasserstein distance between components",
}
#: Rows that the cost is computed on.
MAX_ROWS = 2000
#: A draw is ambiguous when the second-best permutation costs less than this much more than the best, on a scale where
#: exchanging two components without any overlap costs 2.
AMBIGUOUS_MARGIN = 0.1
#: Above this share of ambiguous draws the labels are called doubtful.
DOUBTFUL_SHARE = 0.05


@dataclass(frozen=True, eq=False)
class RelabellingQuality(Shown):
    """How sure a relabelling is.

    Parameters
    ----------
    margins : ndarray, shape (chain, draw)
        Overlap that the best other permutation would cost, between 0 and 2; infinite for a single component. Below zero
        where another permutation shares more rows than the one that a method chose by its own criterion.
    ambiguous_share : float
        Share of draws whose margin is below 0.1.
    changed_share : float
        Share of draws whose components were renumbered; without a reference, otherwise than in most draws.
    ambiguous_by_chain, changed_by_chain : ndarray, shape (chain,)
        The same shares, chain by chain.
    non_permutation_share : float, default 0.0
        Share of draws in which two components that own rows have the same nearest name, so that some name is left to a
        component that is nowhere near it: a sign of more components than clusters.
    """

    margins: Floats
    ambiguous_share: float
    changed_share: float
    ambiguous_by_chain: Floats
    changed_by_chain: Floats
    non_permutation_share: float = 0.0

    @property
    def labels_are_doubtful(self) -> bool:
        """Whether more than one draw in twenty could as well have been labelled otherwise."""
        return self.ambiguous_share > DOUBTFUL_SHARE

    @property
    def by_chain(self) -> "pd.DataFrame":
        """One row a chain: ``ambiguous_share``, ``changed_share``, and three quantiles of the margins."""
        import pandas as pd

        low, median, high = np.quantile(self.margins, [0.05, 0.5, 0.95], axis=1, method="inverted_cdf")
        columns = {
            "ambiguous_share": self.ambiguous_by_chain,
            "changed_share": self.changed_by_chain,
            "margin_5%": low,
            "margin_50%": median,
            "margin_95%": high,
        }
        return pd.DataFrame(columns, index=pd.RangeIndex(len(low), name="chain"))

    def __repr__(self) -> str:
        return f"RelabellingQuality({self})"

    def __str__(self) -> str:
        verdict = "labels are doubtful" if self.labels_are_doubtful else "labels are clear"
        collisions = self.non_permutation_share
        return (
            f"{verdict}: {self.ambiguous_share:.1%} of draws ambiguous, {self.changed_share:.1%} renumbered, "
            f"median margin {np.median(self.margins):.2f}"
            + (f", two components nearest to one name in {collisions:.1%}" if collisions > 0 else "")
        )


@dataclass(frozen=True, eq=False)
class Relabelling(Shown):
    """Draws with matched components.

    Parameters
    ----------
    mixture : Mixture
        The draws, components permuted; leading dimensions (chain, draw).
    permutations : ndarray of int, shape (chain, draw, K)
        Component j of a relabelled draw was component ``permutations[c, d, j]``.
    quality : RelabellingQuality
        How sure the match is.
    method : str, default "em"
        How it was found.
    """

    mixture: Mixture
    permutations: Permutations
    quality: RelabellingQuality
    method: str = "em"

    def __repr__(self) -> str:
        return f"Relabelling({self.quality})"


def relabel(
    mixture: Mixture,
    X: ArrayLike,
    *,
    method: str = "em",
    cost: str = "overlap",
    reference: Mixture | None = None,
    sample_weight: ArrayLike | None = None,
    order_by: str | None = None,
) -> Relabelling:
    """Match the components of posterior draws.

    Parameters
    ----------
    mixture : Mixture
        Draws; leading dimensions (chain, draw).
    X : array_like, shape (n, D)
        The rows that were fitted, in the units of `mixture`.
    method : {"em", "stephens", "ecr", "pivot", "order"}, default "em"
        "em": per draw the assignment to `reference` at the smallest `cost`. "stephens": smallest Kullback-Leibler
        divergence from the averaged responsibilities, iterated. "ecr": allocations that agree with the most frequent
        one, iterated. "pivot": parameters closest to those of `reference`, or of the draw with the largest likelihood.
        "order": increasing means of one column; a baseline.
    cost : {"overlap", "hellinger", "wasserstein"}, default "overlap"
        For "em", what it costs to give a component a name. "overlap": one minus the overlap of responsibilities.
        "hellinger", "wasserstein": squared distance (for the latter that of Bures and Wasserstein, in standard
        deviations within components) between the normal distributions, whatever the rows.
    reference : Mixture, optional
        The single mixture that gives components their names, usually the EM fit. "em" needs one. "stephens" and "ecr"
        start from it, "pivot" takes it as the pivot; without one components are named by decreasing average weight.
    sample_weight : array_like, shape (n,), optional
        Weights of the rows.
    order_by : str, optional
        The column for "order"; default the one whose means differ most.

    Returns
    -------
    Relabelling
        The permuted draws, the permutations, and how sure they are.

    Raises
    ------
    ArgumentError
        When the method is unknown, or draws, reference, rows and weights do not fit together.

    Notes
    -----
    math.md, 6.1 to 6.8. Whatever the method and the cost, the grade is by shared rows.

    Examples
    --------
    >>> one = Mixture([0.6, 0.4], [[0.0], [9.0]], [[[1.0]], [[1.0]]])
    >>> draws = Mixture(*(np.stack([part, part[::-1]])[None] for part in (one.weights, one.means, one.covariances)))
    >>> found = relabel(draws, one.sample(50, seed=0)[0], method="stephens")
    >>> found.mixture.means[0, :, :, 0]
    array([[0., 9.],
           [0., 9.]])
    """
    _check(mixture, method, cost, reference, order_by)
    rows = _thin_rows(*read_weighted_rows(mixture, X, sample_weight))
    draws = mixture.flatten()
    if method == "em" and reference is not None:
        names = reference.responsibilities(rows.values)
        costs = overlap_costs(names, draws, rows)
        permutations = assign(costs).permutations if cost == "overlap" else by_distance(draws, reference, cost)
    else:
        permutations = _permutations(draws, rows, method, reference, order_by)
        names = averaged_shares(draws, rows, permutations)
        costs = overlap_costs(names, draws, rows)
    permutations = permutations.reshape(*mixture.batch_shape, mixture.n_components)
    quality = grade(costs, permutations, rows.weigh(names).sum(axis=0), has_reference=reference is not None)
    return Relabelling(mixture.permute(permutations), permutations, quality, method)


def _check(mixture: Mixture, method: str, cost: str, reference: Mixture | None, order_by: str | None) -> None:
    check_mixture(mixture)
    if reference is not None:
        check_mixture(reference, "reference")
    if not isinstance(method, str) or method not in METHODS:
        raise ArgumentError(f"method={method!r} is not known; use {', '.join(map(repr, METHODS))}")
    if not isinstance(cost, str) or cost not in COSTS:
        raise ArgumentError(f"cost={cost!r} is not known; use {', '.join(map(repr, COSTS))}")
    if cost != "overlap" and method != "em":
        raise ArgumentError(f"cost={cost!r} is for method='em', not for {method!r}")
    if method == "em" and reference is None:
        raise ArgumentError(
            "method='em' needs reference=, the mixture that gives components their names; 'stephens' needs none"
        )
    if method == "order" and reference is not None:
        raise ArgumentError("method='order' takes names from the means: leave out reference=, or use another method")
    if method != "order" and order_by is not None:
        raise ArgumentError(f"order_by={order_by!r} is for method='order', not for {method!r}")
    if len(mixture.batch_shape) != 2 or (reference is not None and reference.batch_shape):
        raise ArgumentError("mixture must have leading dimensions (chain, draw), and reference none")
    sizes = mixture.n_components, mixture.n_features
    if reference is not None and sizes != (reference.n_components, reference.n_features):
        raise ArgumentError(f"the draws and the reference do not fit together: {mixture!r} and {reference!r}")


def spread_rows(n: int) -> NDArray[np.intp]:
    """Return the positions of at most `MAX_ROWS` of n rows, evenly spaced."""
    return np.unique(np.linspace(0, n - 1, min(n, MAX_ROWS)).astype(np.intp))


def _thin_rows(X: Floats, weights: Floats | None) -> Rows:
    keep = spread_rows(len(X))
    return Rows(X[keep]) if weights is None else Rows(X[keep], weights[keep])


def _permutations(
    draws: Mixture, rows: Rows, method: str, reference: Mixture | None, order_by: str | None
) -> Permutations:
    if method == "order":
        return order_by_column(draws, order_by)
    centre = best_draw(draws, rows) if reference is None else reference
    if method == "pivot":
        found = pivot(draws, centre)
    else:
        starts = [centre.responsibilities(rows.values)]
        if reference is None:
            starts += list(spread(draws, N_STARTS).responsibilities(rows.values))
        found = agree(draws, rows, starts, method)
    if reference is not None:
        return found
    weights = np.take_along_axis(draws.weights, found, axis=-1).mean(axis=0)
    return found[:, np.argsort(-weights, kind="stable")]


# -------------------------------------------------------------------- grades


def grade(costs: Floats, permutations: Permutations, totals: Floats, *, has_reference: bool) -> RelabellingQuality:
    """Grade permutations by the rows that components share (math.md, 6.8).

    Parameters
    ----------
    costs : ndarray, shape (S, K, K)
        One minus the overlap of every name with every component, draw by draw.
    permutations : ndarray of int, shape (chain, draw, K)
        What was chosen.
    totals : ndarray, shape (K,)
        Rows that every name has.
    has_reference : bool
        Whether the names are a reference's, so that the permutation that changes nothing is known.

    Returns
    -------
    RelabellingQuality
        The grade.
    """
    margins = _margins(costs, permutations.reshape(-1, costs.shape[1])).reshape(permutations.shape[:-1])
    ambiguous = margins < AMBIGUOUS_MARGIN
    usual = np.arange(costs.shape[1]) if has_reference else _most_frequent(permutations)
    changed = np.any(permutations != usual, axis=-1)
    return RelabellingQuality(
        margins=margins,
        ambiguous_share=float(ambiguous.mean()),
        changed_share=float(changed.mean()),
        ambiguous_by_chain=ambiguous.mean(axis=1),
        changed_by_chain=changed.mean(axis=1),
        non_permutation_share=_collisions(costs, totals),
    )


def _margins(costs: Floats, permutations: Permutations) -> Floats:
    """Return how much more the best other permutation costs than the one that was chosen."""
    found = assign(costs)
    chosen = np.take_along_axis(costs, permutations[:, :, None], axis=2)[..., 0].sum(axis=1)
    is_best = np.all(permutations == found.permutations, axis=1)
    return np.where(is_best, found.margins, found.costs - chosen)


def _collisions(costs: Floats, totals: Floats) -> float:
    """Return the share of draws in which two components with rows of their own are nearest to the same name."""
    rows_shared = (1.0 - costs) * totals[:, None]
    nearest, owns_rows = rows_shared.argmax(axis=1), rows_shared.sum(axis=1) >= 1.0
    n_names = costs.shape[1]
    counts = np.sum((nearest[:, None, :] == np.arange(n_names)[:, None]) & owns_rows[:, None, :], axis=2)
    return float(np.mean(np.any(counts > 1, axis=1)))


def _most_frequent(permutations: Permutations) -> Permutations:
    distinct, counts = np.unique(permutations.reshape(-1, permutations.shape[-1]), axis=0, return_counts=True)
    return distinct[counts.argmax()]
