"""Rows: what EM says about where each belongs, against what the draws say.

One pass over the rows computes all that is needed of them: averages, intervals, entropies, and allocations drawn from
the responsibilities of each draw, from which partitions are compared. For a large table the pass uses fewer draws,
evenly spaced through the chains, and says how many.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import entr

from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import BLOCK, Mixture
from bayesgmm.posterior.memberships import entropy

__all__ = ["RowPass", "membership_table", "pass_over_rows"]

Floats = NDArray[np.float64]

#: Rows times draws that intervals are computed from, and the draws that are always used.
WORK, MIN_DRAWS = 2 * 10**7, 400
#: Allocations that are kept, rows times draws, and the largest number of draws they come from.
ALLOCATIONS, MAX_ALLOCATED = 2 * 10**7, 500


@dataclass(frozen=True, eq=False)
class RowPass:
    """What the rows look like under the draws.

    Parameters
    ----------
    mean : ndarray, shape (n, K)
        Memberships.
    lower, upper : ndarray, shape (n,)
        Interval of the responsibility of the component that was asked for.
    aleatoric : ndarray, shape (n,)
        Average entropy of the responsibilities, nats.
    allocations : ndarray of int, shape (S, n)
        Components drawn from the responsibilities of S of the draws.
    n_draws : int
        Draws that averages and intervals come from.
    """

    mean: Floats
    lower: Floats
    upper: Floats
    aleatoric: Floats
    allocations: NDArray[np.int16]
    n_draws: int


def pass_over_rows(bayes: MixtureFit, component: NDArray[np.intp], prob: float, seed: int = 0) -> RowPass:
    """Compute memberships and allocations in one pass.

    Parameters
    ----------
    bayes : MixtureFit
        Matched draws.
    component : ndarray of int, shape (n,)
        The component of each row whose responsibility gets an interval.
    prob : float
        Probability of the equal-tailed interval.
    seed : int, default 0
        Of the allocations.

    Returns
    -------
    RowPass
        The results. Cost: O(n S K D^2), nothing larger than a block is held but the allocations.
    """
    X, every = bayes.prepared.values, bayes.mixture.flatten()
    n = len(X)
    draws = _thinned(every, max(MIN_DRAWS, WORK // n))
    n_draws, k = draws.n_mixtures, draws.n_components
    allocated = _evenly(n_draws, min(MAX_ALLOCATED, max(50, ALLOCATIONS // n)))
    rng = np.random.default_rng(seed)
    out = RowPass(
        np.empty((n, k)), np.empty(n), np.empty(n), np.empty(n), np.empty((len(allocated), n), dtype=np.int16), n_draws
    )
    step = max(1, BLOCK // (n_draws * k))
    for part in (slice(i, min(i + step, n)) for i in range(0, n, step)):
        shares = draws.responsibilities(X[part]).reshape(n_draws, -1, k)
        out.mean[part] = shares.mean(axis=0)
        out.aleatoric[part] = _mean_entropy(shares)
        chosen = np.take_along_axis(shares, component[None, part, None], axis=2)[..., 0]
        # Draws side by side in memory: sorting along the first axis is several times slower.
        out.lower[part], out.upper[part] = np.quantile(
            np.ascontiguousarray(chosen.T), [(1 - prob) / 2, (1 + prob) / 2], axis=1
        )
        cumulative = np.cumsum(shares[allocated, :, :-1], axis=2)
        level = rng.random(cumulative.shape[:2])
        out.allocations[:, part] = (cumulative < level[..., None]).sum(axis=2)
    return out


def _mean_entropy(shares: Floats) -> Floats:
    """Return the average entropy over the first axis; certain rows, most of them, cost no logarithm."""
    undecided = np.flatnonzero(shares.max(axis=2).min(axis=0) < 1.0)
    out = np.zeros(shares.shape[1])
    out[undecided] = entr(shares[:, undecided]).sum(axis=2).mean(axis=0)
    return out


def _thinned(draws: Mixture, limit: int) -> Mixture:
    return draws if draws.n_mixtures <= limit else draws[_evenly(draws.n_mixtures, limit)]


def _evenly(total: int, count: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(np.intp))


def membership_table(shares: Floats, seen: RowPass, rows: NDArray[Any], loo: Any) -> pd.DataFrame:
    """Compare the memberships of every row (math.md, 8.5 and 8.8).

    Parameters
    ----------
    shares : ndarray, shape (n, K)
        The estimate's responsibilities, its components in the posterior's order.
    seen : RowPass
        The rows under the draws, with the estimate's most probable component asked for.
    rows : ndarray, shape (n,)
        Labels of the rows.
    loo : ELPDData or None
        Of the draws, from `leave_one_out`.

    Returns
    -------
    DataFrame
        Indexed by row: ``em_component`` (the estimate's most probable component), ``em_responsibility`` of it,
        ``posterior_mean``, ``lower``, ``upper`` of the same component, ``posterior_component`` (the posterior's most
        probable one), ``outside`` (whether the responsibility is outside the interval), ``flips`` (whether the two
        components differ), ``em_entropy``, ``entropy`` and ``entropy_epistemic`` of the posterior, in nats,
        ``pareto_k`` of leave-one-out.
    """
    chosen, best = shares.argmax(axis=1), seen.mean.argmax(axis=1)
    positions = np.arange(len(chosen))
    responsibility = shares[positions, chosen]
    total = entropy(seen.mean)
    return pd.DataFrame(
        {
            "em_component": chosen,
            "em_responsibility": responsibility,
            "posterior_mean": seen.mean[positions, chosen],
            "lower": seen.lower,
            "upper": seen.upper,
            "posterior_component": best,
            "outside": (responsibility < seen.lower) | (responsibility > seen.upper),
            "flips": best != chosen,
            "em_entropy": entropy(shares),
            "entropy": total,
            "entropy_epistemic": np.maximum(total - seen.aleatoric, 0.0),
            "pareto_k": np.full(len(rows), np.nan) if loo is None else pointwise_k(loo, len(rows)),
        },
        index=pd.Index(rows, name="row"),
    )


def pointwise_k(loo: Any, n_rows: int) -> Floats:
    """Return the Pareto k of every row; NaN where leave-one-out was computed from other rows only."""
    found = np.asarray(loo.pareto_k, dtype=float).ravel()
    return found if len(found) == n_rows else np.full(n_rows, np.nan)
