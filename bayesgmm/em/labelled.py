"""Rows of which it is known which component they came from.

Such a row has one responsibility of one, whatever the parameters are. So the moments of all of them are taken once and
added to what a pass over the other rows finds; their log-likelihood, that of row and label together, follows from these
moments as well (math.md, 3.8).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bayesgmm.em.rows import Rows
from bayesgmm.em.scatters import outer_products, pooled_moments
from bayesgmm.em.statistics import Moments, Parameters, Source

__all__ = ["LabelledPass", "joint_log_likelihood"]

Floats = NDArray[np.float64]

_LOG_2PI = float(np.log(2.0 * np.pi))


@dataclass(frozen=True, eq=False)
class LabelledPass:
    """A pass over rows of which some have a known component: parameters in, moments of all rows out.

    Parameters
    ----------
    unlabelled : Source
        The pass over the other rows; there may be none of them.
    labelled : Moments
        Moments of the labelled rows, full scatters (K, D, D).
    """

    unlabelled: Source
    labelled: Moments

    @property
    def total_weight(self) -> float:
        """Sum of the row weights."""
        return self.unlabelled.total_weight + float(self.labelled.counts.sum())

    @property
    def total(self) -> Moments:
        """Moments of all rows together, as those of one component with a full scatter."""
        counts = self.labelled.counts
        mean = counts @ self.labelled.means / counts.sum()
        between = outer_products(counts, self.labelled.means - mean)
        scatter = (self.labelled.scatters + between).sum(axis=0)
        return pooled_moments(
            self.unlabelled.total, Moments(0.0, counts.sum(keepdims=True), mean[None], scatter[None])
        )  # fmt: skip

    def moments(self, parameters: Parameters, kind: int) -> Moments:
        """Compute log-likelihood and moments.

        Parameters
        ----------
        parameters : Parameters
            Weights, means and covariances.
        kind : int
            Kind of covariance, which decides what scatters are returned.

        Returns
        -------
        Moments
            Of all rows. The log-likelihood is that of the labels, too.

        Raises
        ------
        numpy.linalg.LinAlgError
            When a covariance is not positive definite.
        """
        known = replace(self.labelled, log_likelihood=joint_log_likelihood(self.labelled, parameters))
        return pooled_moments(self.unlabelled.moments(parameters, kind), known)

    def on(self, rows: Rows) -> "LabelledPass":
        """Return a source over other rows, together with the labelled ones, which count in proportion."""
        share = rows.total_weight / self.total_weight
        scaled = replace(self.labelled, counts=share * self.labelled.counts, scatters=share * self.labelled.scatters)
        return LabelledPass(self.unlabelled.on(rows), scaled)


def joint_log_likelihood(labelled: Moments, parameters: Parameters) -> float:
    """Compute the log-likelihood of rows with their labels from their moments (math.md, 3.8).

    Parameters
    ----------
    labelled : Moments
        Of the rows of each component, full scatters (K, D, D).
    parameters : Parameters
        Weights, means and covariances.

    Returns
    -------
    float
        Sum of log weight and log density of the known component.

    Raises
    ------
    numpy.linalg.LinAlgError
        When a covariance is not positive definite.
    """
    chols = np.linalg.cholesky(parameters.covariances)
    log_determinants = 2.0 * np.log(np.diagonal(chols, axis1=1, axis2=2)).sum(axis=1)
    scatters = labelled.scatters + outer_products(labelled.counts, labelled.means - parameters.means)
    traces = np.trace(np.linalg.solve(parameters.covariances, scatters), axis1=1, axis2=2)
    constants = np.log(parameters.weights) - 0.5 * (log_determinants + parameters.means.shape[1] * _LOG_2PI)
    return float((labelled.counts * constants - 0.5 * traces).sum())
