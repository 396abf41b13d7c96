"""Every parameter of the estimate placed in its posterior, and the standard errors of maximum likelihood beside it."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.em.standard_errors import standard_errors
from bayesgmm.errors import ArgumentError, BayesGMMWarning, FitError
from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.parameters import list_parameters, parameter_draws

__all__ = ["error_table", "in_sds", "label_free_table", "parameter_table", "whole_mixture"]

Floats = NDArray[np.float64]

#: An information matrix of more parameters takes minutes; a comparison leaves it to who asks for it.
MOST_PARAMETERS = 1000


def parameter_table(em: Mixture, bayes: MixtureFit, prob: float, kind: str) -> pd.DataFrame:
    """Place every EM estimate in its posterior (math.md, 8.1, 8.2 and 8.4).

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
        Indexed by parameter: ``em``, ``mean``, ``sd``, ``lower``, ``upper`` of the interval of the kind asked for,
        ``quantile`` (share of draws below the estimate), ``tail`` (two-sided), ``z`` ((em - mean) / sd), ``verdict``,
        ``in_eti``, ``in_hdi`` (whether the interval of that kind holds the estimate), ``r_hat``, ``ess_bulk``,
        ``ess_tail``.
    """
    names, values = parameter_draws(bayes.mixture, bayes.structure)
    _, estimates = parameter_draws(em, bayes.structure)
    return _place(names, values, estimates, prob, kind)


def label_free_table(em: MixtureFit, bayes: MixtureFit, prob: float, kind: str) -> pd.DataFrame:
    """Place what needs no labels in its posterior: log-likelihood, moments of the whole mixture, sorted weights.

    Parameters
    ----------
    em, bayes : MixtureFit
        The estimate and the draws.
    prob : float
        Probability of the interval.
    kind : {"eti", "hdi"}
        Equal-tailed or highest-density interval.

    Returns
    -------
    DataFrame
        As `parameter_table`, indexed by ``log_likelihood``, ``mean[column]``, ``sd[column]``, ``largest weight`` and
        ``smallest weight``. The log-likelihood of EM is the largest there is, so nothing is said of where it lies.
    """
    names, values = whole_mixture(bayes)
    table = _place(names, values, whole_mixture(em)[1], prob, kind)
    table.loc["log_likelihood", ["quantile", "tail", "z"]] = np.nan
    table.loc["log_likelihood", "verdict"] = ""
    return table


def whole_mixture(fit: MixtureFit) -> tuple[list[str], Floats]:
    """Return what can be said of a mixture without naming its components.

    Parameters
    ----------
    fit : MixtureFit
        An estimate or draws.

    Returns
    -------
    names : list of str
        ``log_likelihood``; ``mean[column]`` and ``sd[column]`` of the whole mixture; with several components
        ``largest weight`` and ``smallest weight``.
    values : ndarray, shape (P,) or (chain, draw, P)
        The values, user's units.
    """
    mixture = fit.mixture
    names = ["log_likelihood", *(f"{what}[{name}]" for what in ("mean", "sd") for name in fit.features)]
    sds = np.sqrt(np.diagonal(mixture.covariance, axis1=-2, axis2=-1))
    parts = [np.asarray(fit.log_likelihood)[..., None], mixture.mean, sds]
    if mixture.n_components > 1:
        names += ["largest weight", "smallest weight"]
        parts.append(np.stack([mixture.weights.max(axis=-1), mixture.weights.min(axis=-1)], axis=-1))
    return names, np.concatenate(parts, axis=-1)


def _place(names: list[str], values: Floats, estimates: Floats, prob: float, kind: str) -> pd.DataFrame:
    """Place estimates of shape (P,) in draws of shape (chain, draw, P)."""
    import arviz as az

    draws = xr.Dataset({"value": (("chain", "draw", "name"), values)}, coords={"name": names})
    intervals = {
        name: interval(draws, prob=prob)["value"].transpose("name", ...).values
        for name, interval in (("eti", az.eti), ("hdi", az.hdi))
    }
    inside = {name: (bounds[:, 0] <= estimates) & (estimates <= bounds[:, 1]) for name, bounds in intervals.items()}
    flat = values.reshape(-1, len(names))
    mean, sd = flat.mean(axis=0), flat.std(axis=0, ddof=1)
    below = (flat < estimates).mean(axis=0)
    # Chains that do not move have no R-hat: 0 / 0, which is a failure and not a pass.
    with np.errstate(divide="ignore", invalid="ignore"):
        mixing = {
            "r_hat": az.rhat(draws)["value"].values if values.shape[0] > 1 else np.nan,
            "ess_bulk": az.ess(draws, method="bulk")["value"].values,
            "ess_tail": az.ess(draws, method="tail", prob=(0.05, 0.95))["value"].values,
        }
    table = pd.DataFrame(
        {
            "em": estimates,
            "mean": mean,
            "sd": sd,
            "lower": intervals[kind][:, 0],
            "upper": intervals[kind][:, 1],
            "quantile": below,
            "tail": 2.0 * np.minimum(below, 1.0 - below),
            "z": in_sds(estimates - mean, sd),
            "in_eti": inside["eti"],
            "in_hdi": inside["hdi"],
            **mixing,
        },
        index=pd.Index(names, name="parameter"),
    )
    table.insert(8, "verdict", [_verdict_word(row) for row in table.itertuples()])
    return table


def in_sds(differences: Floats, sd: Floats) -> Floats:
    """Measure differences in standard deviations; NaN where the draws do not differ."""
    moves = sd > 0
    return np.where(moves, differences / np.where(moves, sd, 1.0), np.nan)


def _verdict_word(row: Any) -> str:
    """Say in a word where the estimate lies; nothing is said of a parameter whose chains disagree (math.md, 8.4)."""
    if not (np.isnan(row.r_hat) or row.r_hat <= 1.05) or row.ess_bulk < 100:
        return "unclear"
    if row.lower <= row.em <= row.upper:
        return "central" if abs(row.z) < 1 else "inside"
    return "outside" if abs(row.z) < 3 else "far outside"


def error_table(
    em: MixtureFit,
    order: NDArray[np.intp],
    posterior_sd: "pd.Series[float]",
    *,
    n_boot: int,
    seed: Any,
    progress: bool = False,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Put three standard errors of maximum likelihood beside the posterior standard deviations (math.md, 9.4 and 9.7).

    Parameters
    ----------
    em : MixtureFit
        The estimate.
    order : ndarray of int, shape (K,)
        Component j of the posterior is component ``order[j]`` of the estimate.
    posterior_sd : Series
        Posterior standard deviations by parameter name, components in the posterior's order.
    n_boot : int
        Replicates of the bootstrap; with 0 there is no bootstrap.
    seed : int or None
        Of the bootstrap.
    progress : bool, default False
        Whether to show the progress of the bootstrap.

    Returns
    -------
    table : DataFrame
        Indexed by parameter: ``posterior_sd``, ``se_information``, ``se_sandwich``, ``se_bootstrap``, ``ratio``
        (posterior standard deviation over the standard error from the information). NaN where one is withheld.
    withheld : dict of str to str
        Why, by column.
    """
    names = _names_in_estimate(em, order)
    columns: dict[str, Any] = {"posterior_sd": posterior_sd.to_numpy()}
    withheld = {}
    for method in ("information", "sandwich", "bootstrap"):
        errors, reason = _errors_or_reason(em, method, {"n_boot": n_boot, "seed": seed, "progress": progress})
        columns[f"se_{method}"] = np.nan if errors is None else errors.loc[names].to_numpy()
        if reason:
            withheld[f"se_{method}"] = reason
    table = pd.DataFrame(columns, index=posterior_sd.index)
    table["ratio"] = table["posterior_sd"] / table["se_information"]
    return table, withheld


def _names_in_estimate(em: MixtureFit, order: NDArray[np.intp]) -> list[str]:
    """Return what the parameters of the posterior, in turn, are called in the estimate."""
    listed = list_parameters(em.structure, em.n_components, em.features)
    name_of = {(parameter.group, *parameter.position): parameter.name for parameter in listed}
    shared = em.structure.is_shared
    return [
        name_of[
            p.group, p.component if shared and p.group == "covariances" else int(order[p.component]), *p.position[1:]
        ]
        for p in listed
    ]


def _errors_or_reason(em: MixtureFit, method: str, resampling: dict[str, Any]) -> tuple["pd.Series[float] | None", str]:
    """Return standard errors, or None with the reason; what was warned of is a reason as well, beside the numbers."""
    options: dict[str, Any] = {}
    if method == "bootstrap":
        if not resampling["n_boot"]:
            return None, "not asked for: compare(..., n_boot=199)"
        options = resampling
    elif em.n_parameters > MOST_PARAMETERS:
        return None, f"{em.n_parameters:,} parameters take long: em.standard_errors({method!r})"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = standard_errors(em, method, **options).table["se"]
        except (ArgumentError, FitError) as error:
            return None, str(error)
    said = [str(warning.message) for warning in caught if issubclass(warning.category, BayesGMMWarning)]
    return found, "; ".join(said)
