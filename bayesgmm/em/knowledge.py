"""What EM is told besides the rows: parameters that are held, a prior, a bound on the variances, rows with a label.

Every piece leaves the M step in closed form, and they combine: first the means, then the scatters around them with what
a prior adds, then covariances under the bound. What names the components (labels, fixed parameters) also says which
group of a partition is which, so that starts do not have to find that out (math.md, 3.8 and 3.10 to 3.12).
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from bayesgmm.em.conjugate import PriorTerms
from bayesgmm.em.fixed import Fixed
from bayesgmm.em.scatters import outer_products, pooled_moments, with_added
from bayesgmm.em.statistics import Moments

__all__ = ["NOTHING", "Knowledge"]

Floats = NDArray[np.float64]

_TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Knowledge:
    """What is known besides the rows, standardised units.

    Parameters
    ----------
    fixed : Fixed
        Parameters that are held.
    prior : PriorTerms or None
        A conjugate prior on means and covariances.
    max_ratio : float or None
        Largest ratio of two eigenvalues of the covariances.
    labelled : Moments or None
        Moments of the rows with a known component, full scatters.
    """

    fixed: Fixed = field(default_factory=Fixed)
    prior: PriorTerms | None = None
    max_ratio: float | None = None
    labelled: Moments | None = None

    @property
    def names_components(self) -> bool:
        """Whether components are not interchangeable."""
        return bool(self.fixed.names) or self.labelled is not None

    @property
    def keeps_regular(self) -> bool:
        """Whether covariances are positive definite even where columns are collinear."""
        return self.max_ratio is not None or self.prior is not None or self.fixed.covariances is not None

    def without_prior(self) -> "Knowledge":
        """Return what restricts the parameters only."""
        return replace(self, prior=None)

    def means(self, moments: Moments) -> Floats:
        """Return the means (K, D) of an M step."""
        if self.fixed.means is not None:
            return self.fixed.means
        return moments.means if self.prior is None else self.prior.means(moments)

    def weights(self, counts: Floats) -> Floats:
        """Return the weights (K,) of an M step."""
        return counts / counts.sum() if self.fixed.weights is None else self.fixed.weights

    def around(self, means: Floats, moments: Moments, scatters: Floats) -> tuple[Floats, Floats]:
        """Return the counts and the scatters around `means` from which an M step makes covariances."""
        if means is not moments.means:
            scatters = with_added(scatters, outer_products(moments.counts, moments.means - means))
        return (
            (moments.counts, scatters) if self.prior is None else self.prior.added_to(moments.counts, scatters, means)
        )

    def arranged(self, moments: Moments) -> Moments:
        """Give the groups of a partition the names that components have, and labelled rows to their component.

        Parameters
        ----------
        moments : Moments
            Of the partition, full scatters.

        Returns
        -------
        Moments
            Groups in the order of the components that they are nearest to. Labelled rows count once more, for where
            they belong: a start, not a likelihood.
        """
        if not self.names_components:
            return moments
        groups, components = linear_sum_assignment(self._distances(moments))
        order = groups[np.argsort(components)]
        arranged = Moments(np.nan, moments.counts[order], moments.means[order], moments.scatters[order])
        return arranged if self.labelled is None else pooled_moments(arranged, self.labelled)

    def labelled_start(self, total: Moments) -> Moments | None:
        """Return what the labelled rows alone say of the components; None where one has no such row.

        Parameters
        ----------
        total : Moments
            Moments of all rows together, as those of one component: every component borrows D + 1 rows' worth.

        Returns
        -------
        Moments or None
            Full scatters.
        """
        if self.labelled is None or not self.labelled.counts.min() > _TINY:
            return None
        borrowed = (total.means.shape[1] + 1.0) * total.scatters[0] / total.counts[0]
        return replace(self.labelled, scatters=self.labelled.scatters + borrowed)

    def _distances(self, moments: Moments) -> Floats:
        """Return how far groups (rows) are from what is known of components (columns), in squared deviations."""
        k = len(moments.counts)
        shares = moments.counts / moments.counts.sum()
        centred = moments.means - shares @ moments.means
        own = np.diagonal(moments.scatters, axis1=1, axis2=2)
        variances = np.maximum(own.sum(axis=0) / moments.counts.sum() + shares @ centred**2, _TINY)
        distances = np.zeros((k, k))
        if self.labelled is not None:
            has_rows = self.labelled.counts > _TINY
            distances += _squares(moments.means, self.labelled.means, variances) * has_rows
        if self.fixed.means is not None:
            distances += _squares(moments.means, self.fixed.means, variances)
        if self.fixed.covariances is not None:
            known = np.diagonal(self.fixed.covariances, axis1=1, axis2=2)
            found = np.maximum(own / moments.counts[:, None], 1e-6 * variances)
            distances += _squares(np.log(found), np.log(known), np.ones_like(variances))
        if self.fixed.weights is not None:
            distances += np.log(np.maximum(shares, 1e-6)[:, None] / self.fixed.weights) ** 2
        return distances


def _squares(first: Floats, second: Floats, variances: Floats) -> Floats:
    return np.asarray((((first[:, None] - second) ** 2) / variances).sum(axis=2))


#: Nothing but the rows.
NOTHING = Knowledge()
