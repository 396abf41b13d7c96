"""The tables of a comparison, each a plain DataFrame computed from an EM fit and a posterior.

Owned here: the numbers. What they mean in words is verdict.py. All are in the user's units, and every definition has
its place in math.md, 8.
"""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.matching import assign, hellinger_cost
from bayesgmm.posterior.parameters import parameter_draws

__all__ = ["component_table", "leave_one_out", "membership_table", "parameter_table", "prediction_table"]

Floats = NDArray[np.float64]

#: Pareto k above which a LOO term is not reliable (Vehtari et al. 2024).
PARETO_K_LIMIT = 0.7


def component_table(em: MixtureFit, bayes: MixtureFit) -> pd.DataFrame:
    """Match the components of the estimate with those of the posterior mean (math.md, 6.3).

    Parameters
    ----------
    em, bayes : MixtureFit
        The estimate and the draws.

    Returns
    -------
    DataFrame
        Indexed by the estimate's component: ``match`` (the posterior's component), ``em_weight``, ``posterior_weight``,
        ``hellinger`` (distance of the two Gaussians, 0 to 1) and ``margin`` (distance to the next best minus that).
    """
    centre = posterior_mean(bayes.mixture)
    costs = np.sqrt(np.maximum(hellinger_cost(em.mixture, centre)[0], 0.0))
    order = assign(costs[None]).permutations[0]
    k = em.n_components
    distance = costs[np.arange(k), order]
    others = np.where(np.arange(k)[None] == order[:, None], np.inf, costs).min(axis=1)
    columns = {
        "match": order,
        "em_weight": em.mixture.weights,
        "posterior_weight": centre.weights[order],
        "hellinger": distance,
        "margin": others - distance if k > 1 else np.full(1, np.nan),
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(k, name="component"))


def posterior_mean(mixture: Mixture) -> Mixture:
    """Return the mixture at the posterior means of weights, means and covariances."""
    axes = tuple(range(len(mixture.batch_shape)))
    return Mixture(
        mixture.weights.mean(axis=axes), mixture.means.mean(axis=axes), mixture.covariances.mean(axis=axes),
        mixture.features,
    )  # fmt: skip


def parameter_table(em: Mixture, bayes: MixtureFit, prob: float, kind: str) -> pd.DataFrame:
    """Place every EM estimate in its posterior (math.md, 8.1 and 8.2).

    Parameters
    ----------
    em : Mixture
        The estimate, its components in the posterior's order.
    bayes : MixtureFit
        The draws.
    prob : float
        Probability of the interval.
    kind : {"eti", "hdi"}
        Equal-tailed or highest-density interval.

    Returns
    -------
    DataFrame
        Indexed by parameter: ``em``, ``mean``, ``sd``, ``lower``, ``upper``, ``quantile`` (share of draws below the
        estimate), ``z`` ((em - mean) / sd), ``verdict``, ``r_hat``, ``ess_bulk``, ``ess_tail``.
    """
    import arviz as az

    names, values = parameter_draws(bayes.mixture, bayes.structure)
    _, estimates = parameter_draws(em, bayes.structure)
    draws = xr.Dataset({"value": (("chain", "draw", "name"), values)}, coords={"name": names})
    interval = az.hdi if kind == "hdi" else az.eti
    bounds = interval(draws, prob=prob)["value"].transpose("name", ...).values
    flat = values.reshape(-1, len(names))
    mean, sd = flat.mean(axis=0), flat.std(axis=0, ddof=1)
    table = pd.DataFrame(
        {
            "em": estimates,
            "mean": mean,
            "sd": sd,
            "lower": bounds[:, 0],
            "upper": bounds[:, 1],
            "quantile": (flat < estimates).mean(axis=0),
            "z": (estimates - mean) / sd,
            "r_hat": az.rhat(draws)["value"].values if values.shape[0] > 1 else np.nan,
            "ess_bulk": az.ess(draws, method="bulk")["value"].values,
            "ess_tail": az.ess(draws, method="tail", prob=(0.05, 0.95))["value"].values,
        },
        index=pd.Index(names, name="parameter"),
    )
    table.insert(7, "verdict", [_verdict_word(row) for row in table.itertuples()])
    return table


def _verdict_word(row: Any) -> str:
    """Say in a word where the estimate lies; nothing is said of a parameter whose chains disagree (math.md, 8.4)."""
    if not (np.isnan(row.r_hat) or row.r_hat <= 1.05) or row.ess_bulk < 100:
        return "unclear"
    if row.lower <= row.em <= row.upper:
        return "central" if abs(row.z) < 1 else "inside"
    return "outside" if abs(row.z) < 3 else "far outside"


def leave_one_out(bayes: MixtureFit) -> Any:
    """Return ArviZ's leave-one-out cross-validation of the draws, pointwise; None where the tree has no log-likelihood.

    Its warning about unreliable rows is not repeated: the tables carry the Pareto k of every row.
    """
    import arviz as az

    if "log_likelihood" not in bayes.tree.children:
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Estimated shape parameter of Pareto distribution")
        return az.loo(bayes.tree, pointwise=True)


def prediction_table(em: MixtureFit, bayes: MixtureFit, loo: Any) -> pd.DataFrame:
    """Put the criteria of the estimate beside the cross-validated prediction of the posterior.

    Parameters
    ----------
    em, bayes : MixtureFit
        The estimate and the draws.
    loo : ELPDData or None
        Of the draws, from `leave_one_out`.

    Returns
    -------
    DataFrame
        Rows ``em`` and ``posterior``; columns ``log_likelihood`` (for draws the mean), ``n_parameters``, ``aic``,
        ``bic``, ``icl``, ``elpd_loo``, ``elpd_se``, ``p_loo``, ``pareto_k_bad`` (rows whose Pareto k is above 0.7). NaN
        where a number does not apply.
    """
    names = ("log_likelihood", "n_parameters", "aic", "bic", "icl")
    point = {name: getattr(em, name) for name in names}
    drawn: dict[str, float] = {
        "log_likelihood": float(np.mean(bayes.log_likelihood)),
        "n_parameters": bayes.n_parameters,
    }
    if loo is not None:
        drawn |= {
            "elpd_loo": float(loo.elpd), "elpd_se": float(loo.se), "p_loo": float(loo.p),
            "pareto_k_bad": int(np.sum(np.asarray(loo.pareto_k) > PARETO_K_LIMIT)),
        }  # fmt: skip
    columns = [*point, "elpd_loo", "elpd_se", "p_loo", "pareto_k_bad"]
    table = pd.DataFrame([point, drawn], index=pd.Index(["em", "posterior"], name="fit"), columns=columns)
    return table.astype({"pareto_k_bad": "Int64"})


def membership_table(em: Mixture, bayes: MixtureFit, loo: Any, prob: float) -> pd.DataFrame:
    """Compare the memberships of every row (math.md, 8.5).

    Parameters
    ----------
    em : Mixture
        The estimate, its components in the posterior's order.
    bayes : MixtureFit
        The draws.
    loo : ELPDData or None
        Of the draws, from `leave_one_out`.
    prob : float
        Probability of the interval.

    Returns
    -------
    DataFrame
        Indexed by row: ``em_component`` (the estimate's most probable component), ``em_responsibility`` of it,
        ``posterior_mean``, ``lower``, ``upper`` of the same component, ``posterior_component`` (the posterior's most
        probable one), ``outside`` (whether the responsibility is outside the interval), ``flips`` (whether the two
        components differ), ``entropy`` and ``entropy_epistemic`` of the posterior, in nats, ``pareto_k`` of
        leave-one-out.
    """
    shares = em.responsibilities(bayes.prepared.values)
    chosen = shares.argmax(axis=1)
    held = bayes.memberships(prob=prob)
    rows = np.arange(len(chosen))
    lower, upper = held["lower"].values[rows, chosen], held["upper"].values[rows, chosen]
    responsibility = shares[rows, chosen]
    return pd.DataFrame(
        {
            "em_component": chosen,
            "em_responsibility": responsibility,
            "posterior_mean": held["mean"].values[rows, chosen],
            "lower": lower,
            "upper": upper,
            "posterior_component": held["map_component"].values,
            "outside": (responsibility < lower) | (responsibility > upper),
            "flips": held["map_component"].values != chosen,
            "entropy": held["entropy"].values,
            "entropy_epistemic": held["entropy_epistemic"].values,
            "pareto_k": np.full(len(rows), np.nan) if loo is None else np.asarray(loo.pareto_k),
        },
        index=pd.Index(held["row"].values, name="row"),
    )
