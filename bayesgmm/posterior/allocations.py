"""Names for the clusters of label draws whose number of clusters is random.

Where the number of components is random no two draws need have the same number of clusters, and a name can only be
given across draws that do. So the draws with one number, by default the most frequent, are taken, and their labels are
relabelled by agreement on allocations (relabelling_methods.py), which needs no parameters. The grade is that of every
relabelling; of its numbers the non-permutation share is the one to look at here: where clusters of one draw are
nearest to the same name, the draws have as many clusters, but not the same ones.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesgmm.errors import ArgumentError
from bayesgmm.posterior.partition_losses import read_label_draws
from bayesgmm.posterior.relabel import RelabellingQuality, grade, spread_rows
from bayesgmm.posterior.relabelling_methods import N_STARTS, Rows, agree, averaged_shares, overlap_costs, spread

__all__ = ["RelabelledAllocations", "relabel_allocations"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LabelDraws:
    """Draws of labels in the place of draws of mixtures: a row belongs to one component, whatever its values.

    Parameters
    ----------
    labels : ndarray of int, shape (..., n)
        Components of the rows, from 0.
    n_components : int
        Number of components.
    """

    labels: NDArray[np.integer]
    n_components: int

    @property
    def n_mixtures(self) -> int:
        """Number of draws."""
        return len(self.labels)

    def __getitem__(self, index: int | slice | NDArray[np.intp]) -> "LabelDraws":
        return LabelDraws(self.labels[index], self.n_components)

    def responsibilities(self, X: Floats) -> Floats:
        """Return one for the component of a row and zero for the others, shape (..., n, K); `X` plays no part."""
        return np.asarray(np.arange(self.n_components) == self.labels[..., None], dtype=float)


@dataclass(frozen=True, eq=False)
class RelabelledAllocations:
    """Draws of labels with the same number of clusters, and the same names for them.

    Parameters
    ----------
    labels : ndarray of int, shape (S, n)
        Clusters of the rows, from 0 by decreasing average size.
    positions : ndarray of int, shape (S,)
        Which draws they are, counted through the chains one after another.
    n_clusters : int
        Number of clusters of each of them.
    share : float
        Share of all draws that have as many.
    quality : RelabellingQuality
        How sure the names are, these draws taken as one chain.
    """

    labels: NDArray[np.intp] = field(repr=False)
    positions: NDArray[np.intp] = field(repr=False)
    n_clusters: int
    share: float
    quality: RelabellingQuality

    def __repr__(self) -> str:
        return f"RelabelledAllocations({self.n_clusters} clusters in {self.share:.1%} of the draws; {self.quality})"


def relabel_allocations(label_draws: ArrayLike, n_clusters: int | None = None) -> RelabelledAllocations:
    """Give the clusters of label draws the same names where draws have the same number of clusters.

    Parameters
    ----------
    label_draws : array_like, shape (draws, n) or (chain, draw, n)
        Labels of the rows in each draw, numbers or names, from any sampler, such as the ``allocations`` of
        `number_of_components`.
    n_clusters : int, optional
        Take the draws with this number of clusters. Default the most frequent number; of equally frequent ones the
        smallest.

    Returns
    -------
    RelabelledAllocations
        The labels of these draws, and how sure they are; see ``quality.non_permutation_share``.

    Raises
    ------
    ArgumentError
        When the draws are no labels, or no draw has that number of clusters.

    Notes
    -----
    The agreement is math.md, 6.5, the grade 6.8.

    References
    ----------
    Papastamoulis & Iliopoulos (2010). Fruehwirth-Schnatter (2006), Finite Mixture and Markov Switching Models, 3.7.

    Examples
    --------
    >>> found = relabel_allocations([[0, 0, 0, 1, 1], [1, 1, 1, 0, 0], [0, 1, 2, 2, 2]])
    >>> found.n_clusters, found.labels
    (2, array([[0, 0, 0, 1, 1],
           [0, 0, 0, 1, 1]]))
    """
    draws = read_label_draws(label_draws)
    numbers = draws.max(axis=0).astype(np.int64) + 1
    wanted = int(np.bincount(numbers).argmax()) if n_clusters is None else n_clusters
    positions = np.flatnonzero(numbers == wanted) if isinstance(wanted, int | np.integer) else ()
    if len(positions) == 0:
        known = ", ".join(map(str, np.unique(numbers)))
        raise ArgumentError(f"n_clusters={n_clusters!r}: no draw has that number of clusters; there are {known}")
    codes = np.ascontiguousarray(draws[:, positions].T)
    kept = spread_rows(codes.shape[1])
    chosen, rows = LabelDraws(codes[:, kept], wanted), Rows(np.empty((len(kept), 0)))
    permutations = agree(chosen, rows, list(spread(chosen, N_STARTS).responsibilities(rows.values)), "ecr")
    sizes = averaged_shares(chosen, rows, permutations).sum(axis=0)
    permutations = permutations[:, np.argsort(-sizes, kind="stable")]
    names = averaged_shares(chosen, rows, permutations)
    costs = overlap_costs(names, chosen, rows)
    quality = grade(costs, permutations[None], names.sum(axis=0), has_reference=False)
    # A permutation leads from names to components; labels are the way back.
    labels = np.take_along_axis(np.argsort(permutations, axis=1), codes.astype(np.intp), axis=1)
    return RelabelledAllocations(labels, positions, wanted, len(positions) / len(numbers), quality)
