"""Prediction: what EM's fit to the rows promises, against rows that were left out.

Leave-one-out cross-validation is ArviZ's. Of a large table it is computed from a sample of the rows, by ArviZ's
difference estimator, whose own error is told. k-fold cross-validation is ours because both sides are fitted anew: EM on
the rows that remain, for the plug-in density, and the posterior, for the predictive one.
"""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from bayesgmm.data import PreparedData
from bayesgmm.em.fit import fit_em
from bayesgmm.errors import ArgumentError, BayesGMMWarning
from bayesgmm.fit import MixtureFit
from bayesgmm.progress import track
from bayesgmm.seeding import as_generator, recorded_seed

__all__ = ["PARETO_K_LIMIT", "cross_validate", "elpd_differences", "leave_one_out", "pit_table", "prediction_table"]

Floats = NDArray[np.float64]

#: Pareto k above which a LOO term is not reliable (Vehtari et al. 2024).
PARETO_K_LIMIT = 0.7
#: Above this many rows leave-one-out is computed from a sample of `SAMPLED_ROWS` of them.
MAX_ROWS, SAMPLED_ROWS = 10_000, 2_000
#: Rows times draws above which a sample of the rows is combined with every second, third, ... draw only.
MAX_POINTWISE = 2 * 10**7
#: Draws, evenly spaced, that PIT values are computed from.
PIT_DRAWS = 500


def leave_one_out(bayes: MixtureFit) -> Any:
    """Return ArviZ's leave-one-out cross-validation of the draws, pointwise; None where the tree has no log-likelihood.

    Above 10,000 rows from a sample of 2,000 of them. Its warning about unreliable rows is not repeated: the tables
    carry the Pareto k of every row.
    """
    import arviz as az

    if "log_likelihood" not in bayes.tree.children:
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Estimated shape parameter of Pareto distribution")
        if bayes.n_rows > MAX_ROWS:
            thin = 1 + bayes.n_rows * bayes.mixture.n_mixtures // MAX_POINTWISE
            return az.loo_subsample(bayes.tree, observations=SAMPLED_ROWS, pointwise=True, thin=thin)
        return az.loo(bayes.tree, pointwise=True)


def elpd_differences(scores: Mapping[Any, Any]) -> dict[Any, tuple[float, float]]:
    """Compute each elpd less the best one, with the standard error of that difference, row by row in pairs.

    Parameters
    ----------
    scores : mapping to ELPDData
        What `leave_one_out` returned for posteriors of the same rows, by any key.

    Returns
    -------
    dict to tuple of float
        Difference and its standard error (math.md, 12.5) by the same keys; for sums over a sample of the rows the
        error of the sampling is in it.
    """
    import arviz as az

    if len(scores) < 2:
        return dict.fromkeys(scores, (0.0, 0.0))
    keys = {str(position): key for position, key in enumerate(scores)}
    with warnings.catch_warnings():
        # Unreliable rows are counted in the tables.
        warnings.filterwarnings("ignore", category=UserWarning, module="arviz_stats")
        # Of the weights, which nobody asks for, these cannot fail: stacking takes exponentials row by row.
        compared = az.compare({name: scores[key] for name, key in keys.items()}, method="pseudo-bma", round_to="none")
    sampling = compared.get("subsampling_dse", 0.0 * compared["dse"]).astype(float).fillna(0.0)
    errors = np.hypot(compared["dse"].astype(float), sampling)
    return {keys[str(name)]: (float(compared["elpd_diff"][name]), float(errors[name])) for name in compared.index}


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
        ``bic``, ``icl``, ``elpd_loo``, ``elpd_se``, ``p_loo``, ``pareto_k_bad`` (rows whose Pareto k is above 0.7),
        ``subsampling_se`` (of ``elpd_loo``, where it comes from a sample of the rows). NaN where a number does not
        apply.
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
            "subsampling_se": float(getattr(loo, "subsampling_se", None) or np.nan),
        }  # fmt: skip
    columns = [*point, "elpd_loo", "elpd_se", "p_loo", "pareto_k_bad", "subsampling_se"]
    table = pd.DataFrame([point, drawn], index=pd.Index(["em", "posterior"], name="fit"), columns=columns)
    return table.astype({"pareto_k_bad": "Int64"})


# -------------------------------------------------------------------- LOO-PIT


def pit_table(bayes: MixtureFit, loo: Any) -> pd.DataFrame | None:
    """Compute the probability integral transform of every row left out, column by column (math.md, 8.10).

    Parameters
    ----------
    bayes : MixtureFit
        The draws.
    loo : ELPDData or None
        Of the draws, from `leave_one_out`; its smoothed weights are used.

    Returns
    -------
    DataFrame or None
        One row for each row of the data and one column for each of its columns: the probability, predicted from the
        other rows, of a value no larger than the one that was seen. Uniform where the model fits. None where there are
        no weights: no log-likelihood was kept, or leave-one-out was computed from a sample of the rows.
    """
    if loo is None or getattr(loo, "subsample_size", None):
        return None
    prepared = bayes.prepared
    every = bayes.mixture.flatten()
    chosen = np.unique(np.linspace(0, every.n_mixtures - 1, min(PIT_DRAWS, every.n_mixtures)).astype(int))
    draws = every[chosen]
    log_weights = loo.log_weights.transpose(..., "row", "chain", "draw").values.reshape(prepared.n_rows, -1)[:, chosen]
    shares = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    sds = np.sqrt(np.diagonal(draws.covariances, axis1=-2, axis2=-1))
    columns = {}
    for j, name in enumerate(prepared.features):
        below = np.zeros(shares.shape)
        for k in range(draws.n_components):
            z = (prepared.values[:, j, None] - draws.means[:, k, j]) / sds[:, k, j]
            below += draws.weights[:, k] * ndtr(z)
        columns[name] = (shares * below).sum(axis=1)
    return pd.DataFrame(columns, index=pd.Index(prepared.rows, name="row"))


# -------------------------------------------------------------------- k-fold


def cross_validate(
    em: MixtureFit,
    bayes: MixtureFit,
    *,
    k: int,
    seed: Any,
    draws: int,
    tune: int,
    chains: int,
    n_starts: int,
    progress: bool = False,
) -> pd.DataFrame:
    """Score both fits on rows that neither has seen (math.md, 8.10); see `Comparison.kfold`."""
    prepared = em.prepared
    _check_folds(k, prepared, em, bayes)
    number = recorded_seed(seed)
    fold_of = as_generator(number).permutation(np.arange(prepared.n_rows) % k)
    records = []
    for fold in track(range(k), "folds", total=k, progress=progress):
        held = np.flatnonzero(fold_of == fold)
        kept = _subset(prepared, np.flatnonzero(fold_of != fold))
        with warnings.catch_warnings():
            # What a single fold's sampler says of itself is in its row of the table.
            warnings.simplefilter("ignore", BayesGMMWarning)
            point = fit_em(
                kept, em.n_components, structure=em.structure, seed=number + fold, n_starts=n_starts,
                reg_covar=em.info.settings.get("reg_covar", 0.0),
            )  # fmt: skip
            posterior = _fit_posterior(kept, bayes, point, {"draws": draws, "tune": tune, "chains": chains,
                                                            "seed": number + fold})  # fmt: skip
        records.append(_score(prepared, held, point, posterior))
    return pd.DataFrame(records, index=pd.RangeIndex(k, name="fold"))


def _check_folds(k: Any, prepared: PreparedData, em: MixtureFit, bayes: MixtureFit) -> None:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 2 <= k <= prepared.n_rows:
        raise ArgumentError(f"k={k!r} folds are not possible; k must be a whole number from 2 to {prepared.n_rows}")
    if em.method != "em":
        raise ArgumentError(f"k-fold cross-validation fits by EM again, and the estimate was made by {em.method!r}")
    if bayes.info.settings.get("priors") is None or bayes.info.settings.get("sampler") == "callable":
        raise ArgumentError(
            "k-fold cross-validation samples the posterior again, which needs priors and a sampler that the fit "
            "remembers; this one was made with a model or a sampler of your own"
        )


def _subset(prepared: PreparedData, rows: NDArray[np.intp]) -> PreparedData:
    weights = None if prepared.sample_weight is None else prepared.sample_weight[rows]
    return replace(prepared, values=prepared.values[rows], rows=prepared.rows[rows], sample_weight=weights)


def _fit_posterior(kept: PreparedData, bayes: MixtureFit, em: MixtureFit, plan: dict[str, Any]) -> MixtureFit:
    # Loads PyMC, so only where it is needed.
    from bayesgmm.bayes import Priors, fit_bayes

    priors = Priors(**bayes.info.settings["priors"])
    sampler = bayes.info.settings.get("sampler", "nuts")
    return fit_bayes(kept, bayes.n_components, structure=bayes.structure, priors=priors, em=em, sampler=sampler, **plan)


def _score(prepared: PreparedData, held: NDArray[np.intp], em: MixtureFit, bayes: MixtureFit) -> dict[str, float]:
    weights = np.ones(len(held)) if prepared.sample_weight is None else prepared.sample_weight[held]
    plug_in, predictive = (fit.log_density(prepared.values[held]) for fit in (em, bayes))
    gain = predictive - plug_in
    return {
        "n_rows": len(held),
        "em": float(weights @ plug_in),
        "posterior": float(weights @ predictive),
        "difference": float(weights @ gain),
        "difference_squares": float(weights @ gain**2),
        "max_r_hat": float(bayes.info.diagnostics.get("max_r_hat", np.nan)),
    }
