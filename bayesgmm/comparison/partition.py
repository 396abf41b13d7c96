"""Partitions: whether the groups of rows that EM found are among those that the posterior finds.

Groups have no names here, only which rows are together, so this stands where components cannot be told apart. A draw's
partition is drawn from its responsibilities: the posterior of the labels, not of their most probable values. Distances,
the posterior's own partition and the credible ball around it are those of `bayesgmm.posterior`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesgmm.posterior import Partition, partition
from bayesgmm.posterior.partition_losses import partition_distances, read_label_draws
from bayesgmm.showing import Shown

__all__ = ["BALL", "PartitionComparison", "adjusted_rand_index", "compare_partitions"]

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

#: Probability of the credible ball.
BALL = 0.95
#: Descents from random starts in the search for the posterior's partition; cuts and draws are starts besides.
_RUNS = 4
#: Rows up to which the search also starts from hierarchical cuts of the similarity matrix.
_MAX_SIMILARITY = 2000


@dataclass(frozen=True, eq=False)
class PartitionComparison(Shown):
    """How well partitions agree with those of the draws.

    Parameters
    ----------
    table : DataFrame
        Indexed by partition (``em``, ``kmeans``, ``posterior``: that with the smallest expected variation of
        information): ``n_groups``, ``ari_mean``, ``ari_lower``, ``ari_upper``, ``vi_mean``, ``vi_lower``, ``vi_upper``
        (bits) over the draws; ``ball_distance`` (VI to the centre of the credible ball), ``ball_radius``, ``in_ball``.
    best : Partition
        The posterior's own partition, the centre of the ball.
    n_draws : int
        Draws whose partitions were compared.
    prob : float
        Probability of the intervals.
    """

    table: pd.DataFrame
    best: Partition
    n_draws: int
    prob: float

    def __repr__(self) -> str:
        header = f"PartitionComparison({self.prob:.0%} intervals, {self.n_draws} draws)"
        return f"{header}\n{self.table.round(3).to_string()}"


def compare_partitions(
    partitions: Mapping[str, Labels], allocations: NDArray[np.integer], prob: float, seed: int = 0
) -> PartitionComparison:
    """Compare partitions with those of the draws (math.md, 7.5, 7.7 and 8.9).

    Parameters
    ----------
    partitions : mapping of str to ndarray of int, shape (n,)
        What is compared, by name.
    allocations : ndarray of int, shape (S, n)
        The partitions of the draws.
    prob : float
        Probability of the intervals.
    seed : int, default 0
        Of the search for the posterior's own partition.

    Returns
    -------
    PartitionComparison
        The agreement.
    """
    best = partition(allocations, n_runs=_RUNS, prob=BALL, seed=seed, max_rows=_MAX_SIMILARITY)
    rows = {}
    for name, labels in (*partitions.items(), ("posterior", best.labels)):
        distance = float(partition_distances(labels, read_label_draws(best.labels[None]), "vi")[0])
        rows[name] = {
            "n_groups": len(np.unique(labels)),
            **_describe("ari", 1.0 - best.distances_to(labels, "ari"), prob),
            **_describe("vi", best.distances_to(labels, "vi"), prob),
            "ball_distance": max(distance, 0.0),
            "ball_radius": best.credible_ball.radius,
            "in_ball": best.is_inside_ball(labels),
        }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("partition")
    return PartitionComparison(table, best, len(allocations), prob)


def adjusted_rand_index(labels: Labels, others: Labels) -> Floats:
    """Compute the adjusted Rand index between a partition and each of others, of shape (S, n)."""
    return 1.0 - partition_distances(labels, read_label_draws(others), "ari")


def _describe(name: str, values: Floats, prob: float) -> dict[str, float]:
    lower, upper = np.quantile(values, [(1 - prob) / 2, (1 + prob) / 2])
    return {f"{name}_mean": float(values.mean()), f"{name}_lower": float(lower), f"{name}_upper": float(upper)}
