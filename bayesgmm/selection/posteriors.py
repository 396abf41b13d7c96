"""The Bayesian side of a selection: the posteriors of the best cells, what each predicts, evidence, posterior of K.

Leave-one-out and its comparison are ArviZ's. Whether chains agree is judged by the log-likelihood of the draws, which
needs no labels: with a component too many they switch in every chain, and the prediction is none the worse for it.
The evidence is Laplace's with importance sampling where that is sound, and bridge sampling elsewhere.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayesgmm.bayes.conjugate_model import CONJUGATE
from bayesgmm.bayes.evidence import Evidence, log_evidence
from bayesgmm.bayes.fit import fit_bayes
from bayesgmm.bayes.random_components import ComponentNumber, number_of_components
from bayesgmm.comparison.prediction import PARETO_K_LIMIT, elpd_differences, leave_one_out
from bayesgmm.errors import ArgumentError, FitError, LabelWarning, SamplingWarning
from bayesgmm.fit import MixtureFit
from bayesgmm.selection.grid import Cell

__all__ = ["MAX_R_HAT", "Posteriors", "number_table", "prediction_table", "sample_posteriors"]

#: R-hat of the log-likelihood above which the chains have not met, and nothing is said of what they predict.
MAX_R_HAT = 1.05


@dataclass(frozen=True, eq=False)
class Posteriors:
    """What was drawn for a selection.

    Parameters
    ----------
    fits : dict
        Draws by code of the structure and number of components.
    evidences : dict
        Log evidence by the same keys; those that could not be computed are not there.
    numbers : dict
        Posterior of the number of components, by "mfm" and "sparse", under the best structure that has a sampler for
        it. Empty where none has, where rows have weights or values are missing.
    """

    fits: dict[tuple[str, int], MixtureFit]
    evidences: dict[tuple[str, int], Evidence]
    numbers: dict[str, ComponentNumber]


def sample_posteriors(ranked: Sequence[Cell], n_survivors: int, seed: int, options: Mapping[str, Any]) -> Posteriors:
    """Sample the posteriors of the best cells, started from their EM estimates, and the number of components.

    Parameters
    ----------
    ranked : sequence of Cell
        Sound cells, the best first.
    n_survivors : int
        How many of them are sampled.
    seed : int
        Seed of all of them.
    options : mapping
        For `fit_bayes`.

    Returns
    -------
    Posteriors
        Draws, evidences, and the posterior of the number of components.
    """
    fits, evidences = {}, {}
    with warnings.catch_warnings():
        # The tables say of each posterior what is wrong with it.
        warnings.simplefilter("ignore", SamplingWarning)
        warnings.simplefilter("ignore", LabelWarning)
        for cell in ranked[:n_survivors]:
            if cell.fit is None:
                continue
            fits[cell.key] = fit_bayes(
                cell.fit.prepared, cell.n_components, structure=cell.structure, em=cell.fit, seed=seed, **options
            )
            found = _evidence(fits[cell.key], cell.fit, seed, progress=options.get("progress", False))
            if found is not None:
                evidences[cell.key] = found
        numbers = _numbers(ranked, seed, options)
    return Posteriors(fits, evidences, numbers)


def _evidence(fit: MixtureFit, em: MixtureFit, seed: int, *, progress: bool) -> Evidence | None:
    """Return the log evidence by the first method that is sound; None where none is."""
    for method in ("laplace", "bridge"):
        try:
            return log_evidence(fit, em=em, method=method, seed=seed, progress=progress)
        except (FitError, ArgumentError):
            continue
    return None


def _numbers(ranked: Sequence[Cell], seed: int, options: Mapping[str, Any]) -> dict[str, ComponentNumber]:
    cell = next((cell for cell in ranked if cell.structure.code in CONJUGATE), None)
    prepared = None if cell is None or cell.fit is None else cell.fit.prepared
    if cell is None or prepared is None or prepared.sample_weight is not None or prepared.has_missing:
        return {}
    return {
        method: number_of_components(
            prepared,
            method=method,
            structure=cell.structure,
            priors=options.get("priors"),
            seed=seed,
            progress=options.get("progress", False),
        )
        for method in ("mfm", "sparse")
    }


def number_table(posteriors: Posteriors) -> pd.DataFrame:
    """Tabulate the posterior of the number of components (math.md, 12.3).

    Parameters
    ----------
    posteriors : Posteriors
        What was drawn.

    Returns
    -------
    DataFrame
        Indexed by the number: ``mfm_k`` (components), ``mfm_filled`` and ``sparse_filled`` (components that rows come
        from). A column whose chains have not met is withheld (NaN).
    """
    columns = {}
    for method, found in posteriors.numbers.items():
        met = found.diagnostics["chains"] == 1 or found.diagnostics["max_r_hat"] <= MAX_R_HAT
        for name, label in (("p_components", "k"), ("p_filled", "filled")):
            if name in found.table:
                columns[f"{method}_{label}"] = found.table[name] if met else found.table[name] * np.nan
    return pd.DataFrame(columns)


def prediction_table(posteriors: Posteriors) -> pd.DataFrame:
    """Compare the posteriors by leave-one-out cross-validation and by their evidence (math.md, 12.5).

    Parameters
    ----------
    posteriors : Posteriors
        What was drawn.

    Returns
    -------
    DataFrame
        Sorted by ``elpd``, user's units: ``structure``, ``n_components``, ``elpd``, ``elpd_se``, ``elpd_diff`` to the
        best and its ``elpd_diff_se``, ``p_loo``, ``max_pareto_k``, ``n_bad_k`` (rows above 0.7), ``log_evidence`` and
        ``log_evidence_se`` (natural logarithms), ``r_hat`` and ``ess`` of the log-likelihood, ``divergences``,
        ``trouble`` in words. Where the chains have not met, or no pointwise log-likelihood was kept, the elpd is
        withheld (NaN).
    """
    diagnosed = {key: _diagnosis(fit) for key, fit in posteriors.fits.items()}
    scores = {key: leave_one_out(fit) for key, fit in posteriors.fits.items() if not diagnosed[key]["trouble"]}
    scores = {key: score for key, score in scores.items() if score is not None}
    differences = elpd_differences(scores)
    rows: list[dict[str, Any]] = [
        {
            "structure": code,
            "n_components": k,
            **_score(scores.get((code, k))),
            **dict(zip(("elpd_diff", "elpd_diff_se"), differences.get((code, k), (np.nan, np.nan)), strict=True)),
            **_height(posteriors.evidences.get((code, k))),
            **diagnosed[code, k],
        }
        for code, k in posteriors.fits
    ]
    table = pd.DataFrame([row | {"trouble": _trouble(row)} for row in rows])
    order = ["structure", "n_components", "elpd", "elpd_se", "elpd_diff", "elpd_diff_se", "p_loo", "max_pareto_k",
             "n_bad_k", "log_evidence", "log_evidence_se", "r_hat", "ess", "divergences", "trouble"]  # fmt: skip
    return table[order].sort_values("elpd", ascending=False, kind="stable", ignore_index=True)


def _height(evidence: Evidence | None) -> dict[str, float]:
    if evidence is None:
        return {"log_evidence": np.nan, "log_evidence_se": np.nan}
    return {"log_evidence": evidence.value, "log_evidence_se": evidence.mcse}


def _diagnosis(fit: MixtureFit) -> dict[str, Any]:
    """Judge the chains by a number that needs no labels."""
    import arviz as az

    heights = np.asarray(fit.log_likelihood)
    r_hat = float(az.rhat(heights)) if heights.shape[0] > 1 else np.nan
    # One chain has no R-hat and passes unjudged; several chains that do not move have none either, and fail.
    met = heights.shape[0] == 1 or r_hat <= MAX_R_HAT
    return {
        "r_hat": r_hat,
        "ess": float(az.ess(heights)),
        "divergences": int(fit.info.diagnostics.get("divergences", 0)),
        "trouble": "" if met else f"the chains have not met (R-hat {r_hat:.2f})",
    }


def _score(loo: Any) -> dict[str, float]:
    if loo is None:
        return dict.fromkeys(("elpd", "elpd_se", "p_loo", "max_pareto_k", "n_bad_k"), np.nan)
    bad = np.asarray(loo.pareto_k)
    return {
        "elpd": float(loo.elpd), "elpd_se": float(loo.se), "p_loo": float(loo.p),
        "max_pareto_k": float(bad.max()), "n_bad_k": float(np.sum(bad > PARETO_K_LIMIT)),
    }  # fmt: skip


def _trouble(row: Mapping[str, Any]) -> str:
    """Say what stands against believing a row of the table."""
    said = [row["trouble"]] if row["trouble"] else []
    if row["n_bad_k"] > 0:
        rows = "row" if row["n_bad_k"] == 1 else "rows"
        said.append(f"Pareto k above {PARETO_K_LIMIT} in {row['n_bad_k']:.0f} {rows}")
    if row["divergences"]:
        said.append(f"{row['divergences']} divergence{'' if row['divergences'] == 1 else 's'}")
    return "; ".join(said)
