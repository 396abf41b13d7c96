"""Relabelling: giving the components of every draw the same names.

The likelihood does not change when components are renumbered, so chains may number them differently and a chain may
change its mind. Here each draw is permuted to match a reference mixture, and the match is graded. Means, weights,
covariances and memberships move together, since what is permuted is the `Mixture`.

The cost is one minus the overlap of responsibilities (matching.py), computed on at most `MAX_ROWS` rows, evenly spaced
through the table: what decides a label is which rows a component owns, not how its parameters are written.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesgmm.errors import ArgumentError
from bayesgmm.mixture import BLOCK, Mixture
from bayesgmm.posterior.matching import assign, overlap_cost

__all__ = ["Relabelling", "RelabellingQuality", "relabel"]

Floats = NDArray[np.float64]

#: Rows that the cost is computed on.
MAX_ROWS = 2000
#: A draw is ambiguous when the second-best permutation costs less than this much more than the best, on a scale where
#: exchanging two components without any overlap costs 2.
AMBIGUOUS_MARGIN = 0.1
#: Above this share of ambiguous draws the labels are called doubtful.
DOUBTFUL_SHARE = 0.05


@dataclass(frozen=True, eq=False)
class RelabellingQuality:
    """How sure a relabelling is.

    Parameters
    ----------
    margins : ndarray, shape (chain, draw)
        Cost of the second-best permutation minus that of the best, between 0 and 2; infinite for a single component.
    ambiguous_share : float
        Share of draws whose margin is below 0.1.
    changed_share : float
        Share of draws whose components were renumbered.
    ambiguous_by_chain, changed_by_chain : ndarray, shape (chain,)
        The same shares, chain by chain.
    """

    margins: Floats
    ambiguous_share: float
    changed_share: float
    ambiguous_by_chain: Floats
    changed_by_chain: Floats

    @property
    def labels_are_doubtful(self) -> bool:
        """Whether more than one draw in twenty could as well have been labelled otherwise."""
        return self.ambiguous_share > DOUBTFUL_SHARE

    def __str__(self) -> str:
        verdict = "labels are doubtful" if self.labels_are_doubtful else "labels are clear"
        return (
            f"{verdict}: {self.ambiguous_share:.1%} of draws ambiguous, {self.changed_share:.1%} renumbered, "
            f"median margin {np.median(self.margins):.2f}"
        )


@dataclass(frozen=True, eq=False)
class Relabelling:
    """Draws with matched components.

    Parameters
    ----------
    mixture : Mixture
        The draws, components permuted; leading dimensions (chain, draw).
    permutations : ndarray of int, shape (chain, draw, K)
        Component j of a relabelled draw was component ``permutations[c, d, j]``.
    quality : RelabellingQuality
        How sure the match is.
    """

    mixture: Mixture
    permutations: NDArray[np.intp]
    quality: RelabellingQuality

    def __repr__(self) -> str:
        return f"Relabelling({self.quality})"


def relabel(
    mixture: Mixture,
    X: ArrayLike,
    *,
    method: str = "em",
    reference: Mixture | None = None,
    sample_weight: ArrayLike | None = None,
) -> Relabelling:
    """Match the components of posterior draws.

    Parameters
    ----------
    mixture : Mixture
        Draws; leading dimensions (chain, draw).
    X : array_like, shape (n, D)
        The rows that were fitted, in the units of `mixture`.
    method : {"em"}, default "em"
        How: per draw the assignment to `reference` with the largest overlap of responsibilities.
    reference : Mixture
        The single mixture that gives components their names; usually the EM fit.
    sample_weight : array_like, shape (n,), optional
        Weights of the rows.

    Returns
    -------
    Relabelling
        The permuted draws, the permutations, and how sure they are.

    Raises
    ------
    ArgumentError
        When the method is unknown, or draws, reference, rows and weights do not fit together.
    """
    if method != "em":
        raise ArgumentError(f"method={method!r} is not known; use 'em'")
    if reference is None:
        raise ArgumentError("method='em' needs reference=, the mixture that gives components their names")
    if len(mixture.batch_shape) != 2 or reference.batch_shape:
        raise ArgumentError("mixture must have leading dimensions (chain, draw), and reference none")
    if (mixture.n_components, mixture.n_features) != (reference.n_components, reference.n_features):
        raise ArgumentError(f"the draws and the reference do not fit together: {mixture!r} and {reference!r}")
    rows, weights = _thin_rows(np.asarray(X, dtype=float), sample_weight)
    assignment = assign(_overlap_costs(reference, mixture.flatten(), rows, weights))
    permutations = assignment.permutations.reshape(*mixture.batch_shape, mixture.n_components)
    quality = _grade(permutations, assignment.margins.reshape(mixture.batch_shape))
    return Relabelling(mixture.permute(permutations), permutations, quality)


def _thin_rows(X: Floats, sample_weight: ArrayLike | None) -> tuple[Floats, Floats | None]:
    keep = np.unique(np.linspace(0, len(X) - 1, min(len(X), MAX_ROWS)).astype(int))
    if sample_weight is None:
        return X[keep], None
    weights = np.asarray(sample_weight, dtype=float)
    if weights.shape != (len(X),):
        raise ArgumentError(f"sample_weight has shape {weights.shape}; it needs one weight for each of {len(X)} rows")
    return X[keep], weights[keep]


def _overlap_costs(reference: Mixture, draws: Mixture, rows: Floats, weights: Floats | None) -> Floats:
    held = reference.responsibilities(rows)
    step = max(1, BLOCK // held.size)
    parts = [
        overlap_cost(held, draws[s : s + step].responsibilities(rows), weights)
        for s in range(0, draws.n_mixtures, step)
    ]
    return np.concatenate(parts)


def _grade(permutations: NDArray[np.intp], margins: Floats) -> RelabellingQuality:
    ambiguous = margins < AMBIGUOUS_MARGIN
    changed = np.any(permutations != np.arange(permutations.shape[-1]), axis=-1)
    return RelabellingQuality(
        margins=margins,
        ambiguous_share=float(ambiguous.mean()),
        changed_share=float(changed.mean()),
        ambiguous_by_chain=ambiguous.mean(axis=1),
        changed_by_chain=changed.mean(axis=1),
    )
