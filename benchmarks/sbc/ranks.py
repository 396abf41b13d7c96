"""Quantities of a mixture whose ranks are looked at, and where the truth lies among the draws.

Some do not depend on the labels; for the others components are matched to a fixed reference, which is what relabelling
does, so that a label means the same for the truth and for every draw. The log-likelihood of the rows is among them: it
alone sees a sampler that ignores a part of the rows.
"""

import arviz as az
import numpy as np
from numpy.typing import NDArray

from bayesgmm.mixture import Mixture
from bayesgmm.posterior.matching import assign, hellinger_cost

__all__ = ["QUANTITIES", "pit_values", "quantities", "thinned_by_worth"]

Floats = NDArray[np.float64]

_REFERENCE = Mixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], np.stack([np.eye(2)] * 2))
_POINT = np.array([[1.0, -0.5]])
_DIAGONAL = np.sqrt([0.5, 0.5])

#: Names, in order; those from "weight 1" on are of the matched components.
QUANTITIES = (
    "log-likelihood", "log density at a point", "sum of squared weights", "mean of the mixture",
    "correlation of the mixture", "mean log determinant", "rows 1 and 2 together", "weight 1", "mean 1, first column",
    "mean 1, second column", "mean 2, first column", "log variance 1, first column", "log variance 2, second column",
    "log variance 1, diagonal",
)  # fmt: skip


def quantities(mixture: Mixture, rows: Floats) -> Floats:
    """Compute all quantities of a batch of mixtures (S,), shape (S, number of quantities)."""
    r = mixture.responsibilities(rows[:2])
    total = mixture.covariance
    log_determinants = np.linalg.slogdet(mixture.covariances)[1]
    found = [
        mixture.log_density(rows).sum(axis=-1),
        mixture.log_density(_POINT)[:, 0],
        (mixture.weights**2).sum(axis=-1),
        mixture.mean[:, 0],
        total[:, 0, 1] / np.sqrt(total[:, 0, 0] * total[:, 1, 1]),
        (mixture.weights * log_determinants).sum(axis=-1),
        (r[:, 0] * r[:, 1]).sum(axis=-1),
    ]
    matched = mixture.permute(assign(hellinger_cost(_REFERENCE, mixture)).permutations)
    along = np.einsum("d,skde,e->sk", _DIAGONAL, matched.covariances, _DIAGONAL)
    found += [
        matched.weights[:, 0], matched.means[:, 0, 0], matched.means[:, 0, 1], matched.means[:, 1, 0],
        np.log(matched.covariances[:, 0, 0, 0]), np.log(matched.covariances[:, 1, 1, 1]), np.log(along[:, 0]),
    ]  # fmt: skip
    return np.stack(found, axis=-1)


def thinned_by_worth(draws: Floats) -> Floats:
    """Keep so few of the draws (S, Q) that they are worth as many as they are, for the quantity that is worst off."""
    worth = min(float(az.ess(column[None], method="mean")) for column in draws.T)
    step = int(np.ceil(len(draws) / max(1.0, worth)))
    return draws[step - 1 :: step]


def pit_values(truth: Floats, draws: Floats, rng: np.random.Generator) -> Floats:
    """Return where the truth lies among the draws, between 0 and 1; uniform when they have the same distribution.

    Parameters
    ----------
    truth : ndarray, shape (Q,)
        The quantities of the truth.
    draws : ndarray, shape (S, Q)
        Those of the draws.
    rng : numpy.random.Generator
        Spreads each rank over its interval, and breaks ties.
    """
    below, equal = (draws < truth).sum(axis=0), (draws == truth).sum(axis=0)
    return (below + rng.random(len(truth)) * (equal + 1)) / (len(draws) + 1)
