"""From the tables of a comparison to words: findings with their numbers, one paragraph, and what to do.

Every rule is a threshold on a number that the tables hold, and every sentence carries that number, so that a reader can
disagree. Trouble of the sampler comes before anything else: with chains that disagree nothing else is said.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayesgmm.comparison.tables import PARETO_K_LIMIT

__all__ = ["Finding", "advise", "find", "summarize_findings"]


@dataclass(frozen=True)
class Finding:
    """One thing that a comparison found.

    Parameters
    ----------
    topic : str
        What it is about: sampling, labels, components, parameters, memberships or prediction.
    level : {"good", "caution", "bad"}
        How much it should worry.
    text : str
        A sentence with its number.
    advice : str
        What to do; empty where nothing need be done.
    """

    topic: str
    level: str
    text: str
    advice: str = ""


def find(tables: Mapping[str, pd.DataFrame], diagnostics: Mapping[str, Any], prob: float) -> tuple[Finding, ...]:
    """Read the tables.

    Parameters
    ----------
    tables : mapping
        ``components``, ``parameters``, ``prediction``, ``memberships``.
    diagnostics : mapping
        Of the posterior's sampler, as in ``fit.info.diagnostics``.
    prob : float
        Probability of the intervals.

    Returns
    -------
    tuple of Finding
        Sampling first, then labels, components, parameters, memberships, prediction.
    """
    findings: list[Finding | None] = [_sampling(tables["parameters"], diagnostics)]
    if len(tables["components"]) > 1:
        findings += [_labels(diagnostics), _components(tables["components"])]
    findings.append(_parameters(tables["parameters"], prob))
    if len(tables["components"]) > 1:
        findings.append(_memberships(tables["memberships"], prob))
    findings.append(_prediction(tables["prediction"], tables["memberships"]))
    return tuple(finding for finding in findings if finding is not None)


def summarize_findings(findings: tuple[Finding, ...]) -> str:
    """Return the verdict: one paragraph, the worst first where something is wrong."""
    bad = [finding for finding in findings if finding.level == "bad"]
    caution = [finding for finding in findings if finding.level == "caution"]
    if bad:
        opening = "The comparison cannot be relied on as it stands."
    elif caution:
        opening = "The EM estimate is a fair summary, with reservations."
    else:
        opening = "The EM estimate can be trusted as a summary of this posterior."
    good = [finding for finding in findings if finding.level == "good"]
    return " ".join([opening, *(finding.text for finding in [*bad, *caution, *good])])


def advise(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """Return what to do, without repetition."""
    return tuple(dict.fromkeys(finding.advice for finding in findings if finding.advice))


def _sampling(parameters: pd.DataFrame, diagnostics: Mapping[str, Any]) -> Finding:
    r_hat, ess = float(parameters["r_hat"].max()), float(parameters[["ess_bulk", "ess_tail"]].min().min())
    divergences = int(diagnostics.get("divergences", 0))
    numbers = f"largest R-hat {r_hat:.3f}, smallest effective sample size {ess:.0f}, {divergences} divergences"
    if not r_hat <= 1.05 or ess < 100:
        return Finding(
            "sampling", "bad", f"The chains have not met ({numbers}).", "Sample longer: raise tune and draws."
        )
    if r_hat > 1.01 or ess < 400 or divergences:
        advice = "Raise target_accept to 0.95." if divergences else "Raise draws."
        return Finding("sampling", "caution", f"The draws are usable but not clean ({numbers}).", advice)
    return Finding("sampling", "good", f"The draws are sound ({numbers}).")


def _labels(diagnostics: Mapping[str, Any]) -> Finding:
    share = float(diagnostics.get("ambiguous_share", 0.0))
    if diagnostics.get("labels_are_doubtful"):
        text = f"In {share:.0%} of the draws components cannot be told apart, so component by component nothing holds."
        return Finding("labels", "bad", text, "Compare densities and memberships, or fit fewer components.")
    return Finding("labels", "good", f"Components keep their names ({share:.1%} of the draws are ambiguous).")


def _components(components: pd.DataFrame) -> Finding:
    furthest = components["hellinger"].idxmax()
    distance, margin = components["hellinger"].max(), components["margin"].min()
    numbers = f"largest Hellinger distance {distance:.2f}, component {furthest}"
    if distance > 0.5 or margin < 0.1:
        text = f"The posterior's components are not those of EM ({numbers})."
        advice = "Look at fit.optima and plot_components: EM may sit on an optimum with little posterior mass."
        return Finding("components", "bad", text, advice)
    if distance > 0.2:
        return Finding("components", "caution", f"EM's components are moved by the posterior ({numbers}).",
                       "Report posterior means with intervals instead of the estimate.")  # fmt: skip
    return Finding("components", "good", f"EM and posterior describe the same components ({numbers}).")


def _parameters(parameters: pd.DataFrame, prob: float) -> Finding:
    outside = parameters.index[parameters["verdict"].isin(["outside", "far outside"])]
    n, total = len(outside), len(parameters)
    worst = int(np.argmax(parameters["z"].abs().to_numpy()))
    number = f"{parameters.index[worst]} at z = {parameters['z'].iloc[worst]:+.1f} is furthest"
    expected = (1 - prob) * total
    if (parameters["verdict"] == "far outside").any() or n > max(2, 2 * expected + 1):
        text = f"{n} of {total} estimates lie outside their {prob:.0%} interval ({number})."
        return Finding("parameters", "caution", text, "Report intervals: for these parameters EM is not typical.")
    if n:
        text = f"{n} of {total} estimates lie outside their {prob:.0%} interval, no more than chance allows ({number})."
        return Finding("parameters", "good", text)
    return Finding("parameters", "good", f"All {total} estimates lie inside their {prob:.0%} interval ({number}).")


def _memberships(memberships: pd.DataFrame, prob: float) -> Finding:
    flips, outside, n = int(memberships["flips"].sum()), int(memberships["outside"].sum()), len(memberships)
    epistemic = float(memberships["entropy_epistemic"].sum() / max(memberships["entropy"].sum(), np.finfo(float).tiny))
    numbers = (
        f"{flips} of {n} rows change their component, {outside} have an EM responsibility outside its {prob:.0%} "
        f"interval, {epistemic:.0%} of the uncertainty about memberships comes from the parameters"
    )
    if flips > 0.02 * n or outside > 0.1 * n:
        advice = "Use the posterior's memberships(), and name the rows of high epistemic entropy."
        return Finding("memberships", "caution", f"The clustering is not settled ({numbers}).", advice)
    return Finding("memberships", "good", f"The clustering is settled ({numbers}).")


def _prediction(prediction: pd.DataFrame, memberships: pd.DataFrame) -> Finding | None:
    row = prediction.loc["posterior"]
    if pd.isna(row["elpd_loo"]):
        return None
    optimism = float(prediction.loc["em", "log_likelihood"] - row["elpd_loo"])
    numbers = (
        f"EM's log-likelihood is {optimism:.1f} above the leave-one-out score, "
        f"with {row['p_loo']:.1f} effective parameters"
    )
    unreliable = memberships.index[memberships["pareto_k"] > PARETO_K_LIMIT]
    if len(unreliable):
        named = ", ".join(map(str, unreliable[:5])) + (", ..." if len(unreliable) > 5 else "")
        which = f"row {named}" if len(unreliable) == 1 else f"{len(unreliable)} rows ({named})"
        text = f"Leave-one-out is not reliable for {which}, Pareto k above {PARETO_K_LIMIT} ({numbers})."
        return Finding(
            "prediction", "caution", text, f"Look at {which}: the posterior hangs on it more than it should."
        )
    return Finding("prediction", "good", f"Out of sample: {numbers}.")
