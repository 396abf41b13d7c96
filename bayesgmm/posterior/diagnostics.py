"""Did the chains converge? Asked of quantities that do not depend on how components are numbered.

R-hat and ESS of a component's mean say as much about relabelling as about sampling. The log-likelihood, the log density
at fixed points, the entropy of the allocations and the number of components that own rows are the same under every
numbering: where these disagree between chains no relabelling will help, and where they agree labels are all that is
left to doubt. R-hat and ESS themselves are ArviZ's.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesgmm.errors import ArgumentError
from bayesgmm.mixture import BLOCK, Mixture
from bayesgmm.posterior.checks import check_mixture, read_weighted_rows
from bayesgmm.posterior.memberships import entropy

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["label_free_diagnostics", "label_free_draws"]

Floats = NDArray[np.float64]

# Of a chain that moves less than this, relative to its size, R-hat measures rounding.
_ROUNDING = 1e-10


def label_free_diagnostics(
    mixture: Mixture, X: ArrayLike, *, sample_weight: ArrayLike | None = None, n_points: int = 5
) -> "pd.DataFrame":
    """Compute R-hat and ESS of quantities that do not depend on how components are numbered (math.md, 6.9).

    Parameters
    ----------
    mixture : Mixture
        Draws; leading dimensions (chain, draw), components in any order.
    X : array_like, shape (n, D)
        The rows that were fitted, in the units of `mixture`.
    sample_weight : array_like, shape (n,), optional
        Weights of the rows.
    n_points : int, default 5
        Rows at which the log density is followed, from the least to the most probable.

    Returns
    -------
    DataFrame
        One row for each quantity: ``mean``, ``sd``, ``mcse_mean``, ``ess_bulk``, ``ess_tail``, ``r_hat``, and
        ``is_constant``: a quantity that never changes (all components own rows in every draw) has neither R-hat nor
        ESS, and that is no failure of its.

    Raises
    ------
    ArgumentError
        When there are no draws by chain, fewer than four draws in a chain, or shapes do not fit together.
    """
    import arviz as az
    import pandas as pd

    values = label_free_draws(mixture, X, sample_weight=sample_weight, n_points=n_points)
    table = {}
    for name, draws in values.items():
        size = max(float(np.abs(draws).max()), 1.0)
        is_constant = bool(np.ptp(draws) <= _ROUNDING * size)
        ess_bulk, ess_tail, r_hat, mcse = (np.nan,) * 4
        if not is_constant:
            ess_bulk, ess_tail = az.ess(draws), az.ess(draws, method="tail", prob=(0.05, 0.95))
            mcse = az.mcse(draws)
            r_hat = az.rhat(draws) if len(draws) > 1 else np.nan
        table[name] = {
            "mean": draws.mean(),
            "sd": draws.std(ddof=1),
            "mcse_mean": float(mcse),
            "ess_bulk": float(ess_bulk),
            "ess_tail": float(ess_tail),
            "r_hat": float(r_hat),
            "is_constant": is_constant,
        }
    return pd.DataFrame.from_dict(table, orient="index")


def label_free_draws(
    mixture: Mixture, X: ArrayLike, *, sample_weight: ArrayLike | None = None, n_points: int = 5
) -> dict[str, Floats]:
    """Compute, for every draw, quantities that do not depend on how components are numbered (math.md, 6.9).

    Parameters
    ----------
    mixture : Mixture
        Draws; leading dimensions (chain, draw), components in any order.
    X : array_like, shape (n, D)
        The rows that were fitted, in the units of `mixture`.
    sample_weight : array_like, shape (n,), optional
        Weights of the rows.
    n_points : int, default 5
        Rows at which the log density is followed.

    Returns
    -------
    dict of str to ndarray, shape (chain, draw)
        ``log_likelihood``; ``log_density[i]`` at row i; ``entropy``, the average over rows of the entropy of their
        responsibilities, in nats; ``filled_components``, the expected number of components that own a row.
    """
    rows, weights = _read(mixture, X, sample_weight, n_points)
    draws = mixture.flatten()
    total, doubt, filled = np.empty((3, draws.n_mixtures))
    at_rows = np.zeros(len(rows))
    step = max(1, BLOCK // (len(rows) * draws.n_components))
    for start in range(0, draws.n_mixtures, step):
        part = slice(start, start + step)
        log_densities, shares = draws[part].log_density(rows), draws[part].responsibilities(rows)
        total[part] = log_densities @ weights
        doubt[part] = entropy(shares) @ weights / weights.sum()
        filled[part] = _expected_filled(shares[:, weights > 0])
        at_rows += log_densities.sum(axis=0)
    order = np.argsort(at_rows, kind="stable")
    points = order[np.linspace(0, len(rows) - 1, min(n_points, len(rows))).astype(int)]
    at_points = draws.log_density(rows[points]).T
    columns = {"log_likelihood": total}
    columns |= {f"log_density[{i}]": values for i, values in zip(points, at_points, strict=True)}
    columns |= {"entropy": doubt, "filled_components": filled}
    return {name: values.reshape(mixture.batch_shape) for name, values in columns.items()}


def _expected_filled(shares: Floats) -> Floats:
    """Return sum over components of one minus the probability that none of the rows belongs to it."""
    with np.errstate(divide="ignore"):
        log_empty = np.log1p(-np.minimum(shares, 1.0)).sum(axis=1)
    return np.asarray(-np.expm1(log_empty).sum(axis=-1))


def _read(mixture: Mixture, X: ArrayLike, sample_weight: ArrayLike | None, n_points: int) -> tuple[Floats, Floats]:
    check_mixture(mixture)
    if len(mixture.batch_shape) != 2:
        raise ArgumentError(f"mixture must have leading dimensions (chain, draw), not {mixture.batch_shape}")
    if mixture.batch_shape[1] < 4:
        raise ArgumentError(f"{mixture.batch_shape[1]} draws in a chain say nothing about it; at least 4 are needed")
    if isinstance(n_points, bool) or not isinstance(n_points, int | np.integer) or n_points < 0:
        raise ArgumentError(f"n_points={n_points!r} must be a whole number, zero or more")
    rows, weights = read_weighted_rows(mixture, X, sample_weight)
    return rows, np.ones(len(rows)) if weights is None else weights
