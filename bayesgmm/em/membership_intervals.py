"""`membership_intervals`: how far a membership under an EM estimate would move with other rows.

An estimate gives every row its responsibilities and says nothing of their uncertainty. The delta method does, on the
logit of each, where the interval is symmetric and stays between zero and one; its gradient is the score of the
component less the mean score of the others, which the information knows already (math.md, 9.10). A bootstrap does
without derivatives: the responsibilities of the row under every replicate.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from bayesgmm.data import read_rows
from bayesgmm.em.bootstrap import RESAMPLING
from bayesgmm.em.curvature import Curvature, curvature_of, free_covariance
from bayesgmm.em.information import Block, blocks, slots_of
from bayesgmm.em.standard_errors import ANALYTIC, StandardErrors, check_request, standard_errors
from bayesgmm.errors import ArgumentError
from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import log_sum_exp, softmax
from bayesgmm.posterior.memberships import memberships

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["membership_intervals"]

Floats = NDArray[np.float64]

_METHODS = (*ANALYTIC, *RESAMPLING)


def membership_intervals(
    fit: MixtureFit,
    X: Any = None,
    method: str | StandardErrors = "information",
    *,
    prob: float = 0.95,
    n_boot: int | None = None,
    seed: Any = None,
    n_threads: int | None = None,
    progress: bool = False,
) -> "xr.Dataset":
    """Compute the membership of each row under an EM estimate, with its confidence interval.

    Parameters
    ----------
    fit : MixtureFit
        An EM fit.
    X : array_like or DataFrame, shape (n, D), optional
        Complete rows, user's units. Default the fitted rows, as if none had a label.
    method : str or StandardErrors, default "information"
        By the delta method: "information", "sandwich" or "empirical". From replicates: "bootstrap",
        "parametric_bootstrap" or "weighted_bootstrap"; or what `standard_errors` returned, whose replicates are used.
    prob : float, default 0.95
        Confidence of the intervals.
    n_boot : int, optional
        Number of replicates, default 999.
    seed : int, Generator or RandomState, optional
        Source of the resampling.
    n_threads : int, optional
        Threads that share the replicates; no influence on the result. Default: all cores.
    progress : bool, default False
        Whether to show the progress of resampling.

    Returns
    -------
    xarray.Dataset
        As `MixtureFit.memberships`: ``mean`` is that of the estimate, ``lower`` and ``upper`` are the interval.

    Raises
    ------
    ArgumentError
        When `fit` is no EM fit, or an argument is illegal.
    FitError
        When the estimate has no standard errors; see `standard_errors`.

    Notes
    -----
    Formula: math.md, 9.10. O(n K p^2) for p free parameters by the delta method.

    Examples
    --------
    >>> from bayesgmm import fit_em, load_dataset
    >>> fit = fit_em(load_dataset("faithful"), 2, seed=0)
    >>> found = membership_intervals(fit, [[3.0, 67.0]])
    >>> [round(float(found[name][0, 1]), 2) for name in ("lower", "mean", "upper")]
    [0.01, 0.11, 0.65]
    """
    name = method.method if isinstance(method, StandardErrors) else method
    if name not in _METHODS:
        raise ArgumentError(
            f"method={name!r} gives no intervals of memberships; use one of {', '.join(map(repr, _METHODS))}"
        )
    check_request(fit, name, prob=prob, n_boot=n_boot)
    replicates = method.replicates if isinstance(method, StandardErrors) else None
    if replicates is None and name in RESAMPLING:
        options = {"n_boot": n_boot, "seed": seed, "n_threads": n_threads, "progress": progress}
        replicates = standard_errors(fit, name, **options).replicates
    table = read_rows(fit.prepared if X is None else X, fit.features)
    found = memberships(fit.mixture, table.values, table.rows, prob=prob)
    if replicates is not None:
        spread = memberships(replicates, table.values, table.rows, prob=prob)
        lower, upper = spread["lower"].values, spread["upper"].values
    else:
        lower, upper = _delta_bounds(curvature_of(fit), name, fit.scaling.standardize(table.values), prob)
    dims = ("row", "component")
    return found.assign(lower=(dims, lower), upper=(dims, upper)).assign_attrs(
        interval=f"{name.replace('_', ' ')}, {100 * prob:g}%"
    )


def _delta_bounds(at: Curvature, method: str, Z: Floats, prob: float) -> tuple[Floats, Floats]:
    """Return the ends of the intervals that are symmetric on the logit scale, each (n, K)."""
    covariance, _ = free_covariance(at.known, method)
    parts = [_logits(at, covariance, block) for block in blocks(at.space, Z)]
    logits, errors = (np.concatenate(values) for values in zip(*parts, strict=True))
    width = float(ndtri(0.5 + prob / 2)) * errors
    return expit(logits - width), expit(logits + width)


def _logits(at: Curvature, covariance: Floats, block: Block) -> tuple[Floats, Floats]:
    """Return the logits of the memberships and their standard errors, each (rows, K)."""
    n, k = block.log_joint.shape
    slots = [slots_of(at.space, component) for component in range(k)]
    logits, errors = np.full((n, k), np.inf), np.zeros((n, k))
    for component in range(k if k > 1 else 0):
        others = block.log_joint.copy()
        others[:, component] = -np.inf
        logits[:, component] = block.log_joint[:, component] - log_sum_exp(others)
        # The derivative of a logit: the score of the component less the mean score of the others, among themselves.
        shares = -softmax(others)
        shares[:, component] = 1.0
        slopes = _scores(at, block, shares, slots)
        variances = np.einsum("np,np->n", slopes @ covariance, slopes)
        errors[:, component] = np.sqrt(np.maximum(variances, 0.0))
    return logits, errors


def _scores(at: Curvature, block: Block, shares: Floats, slots: list[NDArray[np.intp]]) -> Floats:
    """Return the scores of the components, added up with shares that sum to zero, along the free coordinates."""
    k, d = at.space.mixture.means.shape
    scores = np.zeros((len(shares), k + k * d + at.space.n_covariance))
    for component, (slot, features) in enumerate(zip(slots, block.features, strict=True)):
        scores[:, slot] += shares[:, component, None] * features
    return np.concatenate([scores[:, :k] @ at.space.contrasts, scores[:, k:]], axis=1)[:, at.free]
