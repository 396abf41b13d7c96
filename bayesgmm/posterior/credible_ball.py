"""How far from the estimate the posterior of a partition reaches: the credible ball and the partitions on its rim.

A partition has no standard error. What it has is a distance, and so a ball around the estimate that holds 95 % of the
draws (Wade & Ghahramani 2018). Its radius says how uncertain the clustering is, and three sets of partitions what that
means: the horizontal bounds are the farthest draws inside; the upper vertical bounds have the fewest clusters of all
inside and are the farthest of these; the lower vertical bounds have the most clusters.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bayesgmm.posterior.partition_losses import Draws, Floats, Labels, compact_labels, partition_distances, sort_by_size
from bayesgmm.showing import Shown

__all__ = ["CredibleBall", "PartitionBound", "credible_ball"]

# Distances that differ by less are equal up to the order of sums.
_SAME = 1e-9


@dataclass(frozen=True, eq=False)
class PartitionBound(Shown):
    """The partitions that bound a credible ball in one direction.

    Parameters
    ----------
    distance : float
        How far they are from the estimate.
    n_clusters : int
        Clusters of the first of them; of vertical bounds all have the same number.
    labels : ndarray of int, shape (m, n)
        The partitions, each once; labels from 0 by decreasing size.
    """

    distance: float
    n_clusters: int
    labels: NDArray[np.int64]

    def __repr__(self) -> str:
        counts = np.bincount(self.labels[0])
        sizes = "/".join(map(str, counts[:10])) + ("/..." if len(counts) > 10 else "")
        return (
            f"PartitionBound(distance {self.distance:.4g}, {len(self.labels)} partition{'s' * (len(self.labels) > 1)}, "
            f"the first of sizes {sizes})"
        )


@dataclass(frozen=True, eq=False)
class CredibleBall(Shown):
    """A ball around an estimated partition that holds a given share of the draws (math.md, 7.7).

    Parameters
    ----------
    prob : float
        The share that it was asked to hold.
    distance : {"vi", "binder"}
        How distance is measured: variation of information in bits, or Binder's loss.
    radius : float
        The smallest radius that holds that share.
    horizontal : PartitionBound
        The farthest draws inside.
    upper : PartitionBound
        The draws inside with the fewest clusters, and of these the farthest.
    lower : PartitionBound
        The draws inside with the most clusters, and of these the farthest.
    distances : ndarray, shape (S,)
        The distance of every draw from the estimate.
    n_clusters : ndarray of int, shape (S,)
        The clusters of every draw.
    """

    prob: float
    distance: str
    radius: float
    horizontal: PartitionBound
    upper: PartitionBound
    lower: PartitionBound
    distances: Floats = field(repr=False)
    n_clusters: NDArray[np.int64] = field(repr=False)

    def holds(self, distance: float) -> bool:
        """Return whether a partition lies inside.

        Parameters
        ----------
        distance : float
            Its distance from the estimate, in the units of `radius`.

        Returns
        -------
        bool
            Whether it does, the rim included.
        """
        return bool(distance <= self.radius + _SAME)

    def __repr__(self) -> str:
        unit = " bits" if self.distance == "vi" else ""
        return (
            f"CredibleBall({self.prob:.0%} of the draws within {self.radius:.4g}{unit} of the estimate, "
            f"{self.upper.n_clusters} to {self.lower.n_clusters} clusters)"
        )


def credible_ball(labels: Labels, draws: Draws, *, distance: str, prob: float) -> CredibleBall:
    """Compute the credible ball around a partition (Wade & Ghahramani 2018; math.md, 7.7).

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
        The estimate, from 0.
    draws : ndarray of unsigned int, shape (n, S)
        Labels of the rows in each draw, from 0 without gaps.
    distance : {"vi", "binder"}
        How distance is measured; both are metrics.
    prob : float
        Share of the draws that the ball holds.

    Returns
    -------
    CredibleBall
        Radius, bounds, and the distances of all draws.
    """
    apart = partition_distances(labels, draws, distance)
    n_clusters = draws.max(axis=0).astype(np.int64) + 1
    # The smallest observed distance within which at least that share lies; 0.95 * 10,000 must not be 9,501.
    rank = max(int(np.ceil(prob * len(apart) - _SAME)), 1)
    radius = float(np.sort(apart)[rank - 1])
    inside = apart <= radius + _SAME
    fewest, most = n_clusters[inside].min(), n_clusters[inside].max()
    return CredibleBall(
        prob=prob,
        distance=distance,
        radius=radius,
        horizontal=_farthest(draws, apart, inside),
        upper=_farthest(draws, apart, inside & (n_clusters == fewest)),
        lower=_farthest(draws, apart, inside & (n_clusters == most)),
        distances=apart,
        n_clusters=n_clusters,
    )


def _farthest(draws: Draws, apart: Floats, among: NDArray[np.bool_]) -> PartitionBound:
    distance = float(apart[among].max())
    chosen = np.flatnonzero(among & (apart >= distance - _SAME))
    labels = np.unique([sort_by_size(compact_labels(draws[:, s])) for s in chosen], axis=0)
    return PartitionBound(distance, int(labels[0].max()) + 1, labels)
