"""From the tables of a comparison to words: findings with their numbers, one paragraph, and what to do.

Every rule is a threshold on a number that the tables hold (they are listed in math.md, 8.11), and every sentence
carries that number, so that a reader can disagree. Trouble of the sampler comes before anything else: with chains that
disagree nothing else is said. Where components cannot be told apart, only what needs no labels is spoken of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayesgmm.comparison.density import DensityComparison
from bayesgmm.comparison.joint import JointPosition
from bayesgmm.comparison.partition import BALL, PartitionComparison
from bayesgmm.comparison.prediction import PARETO_K_LIMIT
from bayesgmm.comparison.pull import PriorPull

__all__ = ["Finding", "advise", "find", "open_verdict", "summarize_findings"]

#: Posterior standard deviations beyond this factor of the standard errors, either way, are not the same.
RATIO = 1.5
#: A joint position further out than all but this share of the draws is far.
JOINT_TAIL = 0.01
#: A density further from the predictive one than this share of the draws are.
DENSITY_QUANTILE = 0.95
#: EM's entropies below this share of the posterior's, and by more than this many nats a row, are overconfident.
CONFIDENCE, EXCESS = 0.8, 0.01
#: An optimum that is the nearest for fewer draws than this does not stand for the posterior.
OPTIMUM_SHARE = 0.5
#: A mode that the prior moves by more than this many standard deviations is moved.
PULL = 0.5

_REPORT_INTERVALS = "Report posterior intervals beside the estimates: ± two standard errors are not enough here."


@dataclass(frozen=True)
class Finding:
    """One thing that a comparison found.

    Parameters
    ----------
    topic : str
        What it is about: sampling, labels, components, parameters, errors, joint, prior, density, memberships,
        partition, optimum or prediction.
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


def find(tables: Mapping[str, Any], diagnostics: Mapping[str, Any], prob: float) -> tuple[Finding, ...]:
    """Read the tables.

    Parameters
    ----------
    tables : mapping
        ``components``, ``parameters``, ``prediction``, ``memberships``, as they are before anything is withheld; and,
        where they were computed, ``label_free``, ``errors``, ``joint``, ``pull``, ``density``, ``partition``,
        ``optimum``.
    diagnostics : mapping
        Of the posterior's sampler, as in ``fit.info.diagnostics``.
    prob : float
        Probability of the intervals.

    Returns
    -------
    tuple of Finding
        Sampling first, then labels, and then what depends on components before what does not.
    """
    doubtful = bool(diagnostics.get("labels_are_doubtful"))
    several = len(tables["components"]) > 1
    labels = [_labels(diagnostics)] if several else []
    sampling = _sampling(tables["label_free"] if doubtful and "label_free" in tables else tables["parameters"],
                         diagnostics)  # fmt: skip
    if sampling.level == "bad":
        return (sampling, *(finding for finding in labels if finding.level == "bad"))
    found: list[Finding | None] = [sampling, *labels]
    if not doubtful:
        found += [_components(tables["components"])] if several else []
        found += [_parameters(tables["parameters"], prob), _errors(tables.get("errors")), _joint(tables.get("joint"))]
        found += [_prior(tables.get("pull"))]
    found.append(_density(tables.get("density")))
    if several:
        found += [] if doubtful else [_memberships(tables["memberships"], prob)]
        found += [_partition(tables.get("partition")), _optimum(tables.get("optimum"))]
    found.append(_prediction(tables["prediction"], tables["memberships"]))
    return tuple(finding for finding in found if finding is not None)


def open_verdict(findings: tuple[Finding, ...]) -> str:
    """Return the first sentence of the verdict: the sum of the findings."""
    bad = {finding.topic for finding in findings if finding.level == "bad"}
    if "sampling" in bad:
        return "The comparison cannot be relied on as it stands."
    if "labels" in bad:
        return "Component by component nothing can be compared; what needs no labels can."
    if bad:
        return "The EM estimate is not a summary of this posterior."
    if any(finding.level == "caution" for finding in findings):
        return "The EM estimate is a fair summary, with reservations."
    return "The EM estimate can be trusted as a summary of this posterior."


def summarize_findings(findings: tuple[Finding, ...]) -> str:
    """Return the verdict: one paragraph, the worst first, and at its end what to do."""
    by_level = {level: [f.text for f in findings if f.level == level] for level in ("bad", "caution", "good")}
    parts = [open_verdict(findings), *by_level["bad"], *by_level["caution"], *by_level["good"]]
    advice = advise(findings)
    if advice:
        parts += ["What to do:", *advice]
    return " ".join(parts)


def advise(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """Return what to do, without repetition."""
    return tuple(dict.fromkeys(finding.advice for finding in findings if finding.advice))


# -------------------------------------------------------------------- draws and labels


def _sampling(parameters: pd.DataFrame, diagnostics: Mapping[str, Any]) -> Finding:
    # A chain that does not move has no R-hat; that is a failure, not a pass.
    r_hat = float(parameters["r_hat"].max(skipna=False))
    ess = float(parameters[["ess_bulk", "ess_tail"]].min().min())
    divergences = int(diagnostics.get("divergences", 0))
    spread = f"largest R-hat {r_hat:.3f}" if np.isfinite(r_hat) else "no R-hat"
    numbers = f"{spread}, smallest effective sample size {ess:.0f}, {divergences} divergences"
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
        return Finding("labels", "bad", text, "Compare densities and partitions, or fit fewer components.")
    return Finding("labels", "good", f"Components keep their names ({share:.1%} of the draws are ambiguous).")


# -------------------------------------------------------------------- what depends on components


def _components(components: pd.DataFrame) -> Finding:
    furthest = components["hellinger"].idxmax()
    distance, margin = components["hellinger"].max(), components["margin"].min()
    numbers = f"largest Hellinger distance {distance:.2f}, component {furthest}"
    if distance > 0.5 or margin < 0.1:
        numbers += f", smallest margin to another match {margin:.2f}"
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


def _errors(errors: pd.DataFrame | None) -> Finding | None:
    if errors is None or errors["ratio"].isna().all():
        return None
    ratio = errors["ratio"].dropna()
    worst = ratio.index[int(np.argmax(np.abs(np.log(ratio.to_numpy()))))]
    numbers = f"posterior standard deviations are {ratio.min():.2f} to {ratio.max():.2f} times the standard errors"
    if ratio.max() > RATIO or ratio.min() < 1 / RATIO:
        text = f"EM's standard errors are not the posterior's ({numbers}; furthest is {worst} at {ratio[worst]:.2f})."
        return Finding("errors", "caution", text, _REPORT_INTERVALS)
    return Finding("errors", "good", f"EM's standard errors agree with the posterior ({numbers}).")


def _joint(joint: JointPosition | str | None) -> Finding | None:
    if not isinstance(joint, JointPosition):
        return None
    numbers = (
        f"Mahalanobis distance {joint.distance:.1f} in {joint.n_coordinates} coordinates, where {joint.expected:.1f} "
        f"is usual; {joint.tail:.1%} of the draws are further out"
    )
    if joint.tail < JOINT_TAIL:
        text = f"All parameters together, the estimate lies at the edge of the posterior ({numbers})."
        return Finding("joint", "caution", text, "Report posterior means with intervals instead of the estimate.")
    return Finding(
        "joint", "good", f"All parameters together, the estimate lies well inside the posterior ({numbers})."
    )


def _prior(pull: PriorPull | str | None) -> Finding | None:
    if not isinstance(pull, PriorPull):
        return None
    sizes = pull.table["pull"].abs()
    number = f"at most {sizes.max():.2f} posterior standard deviations, in {sizes.idxmax()!s}"
    if "psense_diagnosis" in pull.table:
        number += (
            f"; power scaling flags {int((pull.table['psense_diagnosis'] != '').sum())} of {len(sizes)} parameters"
        )
    if sizes.max() > PULL:
        advice = "Compare with other priors, or give the priors from what is known of the matter."
        return Finding("prior", "caution", f"The prior moves the maximum ({number}).", advice)
    return Finding("prior", "good", f"The prior hardly moves the maximum ({number}).")


def _memberships(memberships: pd.DataFrame, prob: float) -> Finding:
    flips, outside, n = int(memberships["flips"].sum()), int(memberships["outside"].sum()), len(memberships)
    total, own = float(memberships["entropy"].sum()), float(memberships["em_entropy"].sum())
    share = own / total if total > 0 else 1.0
    named = _named(memberships.index[memberships["flips"]])
    numbers = (
        f"{flips} of {n} rows change their component{named}, {outside} have an EM responsibility outside its "
        f"{prob:.0%} interval, EM's entropies add up to {own:.1f} nats of the posterior's {total:.1f}"
    )
    if flips > 0.02 * n or outside > 0.1 * n:
        advice = "Use the posterior's memberships(), and name the rows of high epistemic entropy."
        return Finding("memberships", "caution", f"The clustering is not settled ({numbers}).", advice)
    if share < CONFIDENCE and total - own > EXCESS * n:
        advice = "Use the posterior's memberships() where the certainty of single rows matters."
        return Finding(
            "memberships", "caution", f"EM is surer of its clustering than the data allow ({numbers}).", advice
        )
    return Finding("memberships", "good", f"The clustering is settled ({numbers}).")


# -------------------------------------------------------------------- what needs no labels


def _density(density: DensityComparison | None) -> Finding | None:
    if density is None:
        return None
    own, outside = density.table.loc["hellinger"], float(density.table["em"]["outside"])
    numbers = (
        f"Hellinger distance {own['em']:.3f}, larger than that of {own['quantile']:.0%} of the draws; outside the "
        f"{density.prob:.0%} band over {outside:.0%} of the probability"
    )
    if own["quantile"] > DENSITY_QUANTILE:
        text = f"EM's density is not a good stand-in for the predictive one ({numbers})."
        return Finding("density", "caution", text, "Predict with the posterior: post.log_density averages over draws.")
    return Finding("density", "good", f"EM's density is close to the predictive one ({numbers}).")


def _partition(partition: PartitionComparison | None) -> Finding | None:
    if partition is None:
        return None
    own = partition.table.loc["em"]
    numbers = (
        f"adjusted Rand index with the draws {own['ari_mean']:.2f}, variation of information {own['vi_mean']:.2f} "
        f"bits; {own['ball_distance']:.2f} bits from the centre of the {BALL:.0%} credible ball of radius "
        f"{own['ball_radius']:.2f}"
    )
    rival = ""
    if "kmeans" in partition.table.index and not partition.table["in_ball"]["kmeans"]:
        rival = f"; that of k-means lies outside, at {float(partition.table['ball_distance']['kmeans']):.2f}"
    if not own["in_ball"]:
        text = f"EM's partition is not one that the posterior finds plausible ({numbers}{rival})."
        return Finding("partition", "caution", text, "Take the posterior's partition, or report how rows pair up.")
    return Finding("partition", "good", f"EM's partition is plausible under the posterior ({numbers}{rival}).")


def _optimum(optima: pd.DataFrame | None) -> Finding | None:
    if optima is None or optima.empty or pd.isna(optima["share"].iloc[0]):
        return None
    if len(optima) == 1:
        return Finding("optimum", "good", "Every start of EM ended in the same optimum.")
    best = optima.iloc[0]
    second = optima["gap"].iloc[1:][~optima["is_degenerate"].iloc[1:]]
    gap = f", the next best is {second.min():.1f} nats lower" if len(second) else ""
    numbers = f"{len(optima)} were found{gap}; {best['share']:.0%} of the draws are nearest to the best"
    if best["share"] < OPTIMUM_SHARE:
        text = f"The best optimum of EM carries little of the posterior ({numbers})."
        return Finding(
            "optimum", "caution", text, "Look at fit.optima: another optimum stands for more of the posterior."
        )
    return Finding("optimum", "good", f"The best optimum of EM carries the posterior ({numbers}).")


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
        which = f"row {unreliable[0]}" if len(unreliable) == 1 else f"{len(unreliable)} rows{_named(unreliable)}"
        text = f"Leave-one-out is not reliable for {which}, Pareto k above {PARETO_K_LIMIT} ({numbers})."
        return Finding(
            "prediction", "caution", text, f"Look at {which}: the posterior hangs on it more than it should."
        )
    return Finding("prediction", "good", f"Out of sample: {numbers}.")


def _named(rows: "pd.Index[Any]") -> str:
    """Name at most five rows in brackets; nothing where there are none."""
    if len(rows) == 0:
        return ""
    return f" ({', '.join(map(str, rows[:5]))}{', ...' if len(rows) > 5 else ''})"
