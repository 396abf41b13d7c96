"""The tables of a page about a comparison, level by level, each with a sentence on how to read it.

Where components cannot be told apart, the sections of single components hold the reason why they are empty, and the
label-free table stands in for the parameters.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from bayesgmm.comparison import Comparison
from bayesgmm.comparison.joint import JointPosition
from bayesgmm.comparison.pull import PriorPull
from bayesgmm.comparison.shown import rounded_errors
from bayesgmm.comparison.text import rounded_parameters
from bayesgmm.reporting.html import Html, paragraphs, table
from bayesgmm.reporting.numbers import NONE, write_count, write_number, write_share
from bayesgmm.reporting.sections import colored

__all__ = ["LEVEL_OF_WORD", "table_sections"]

#: How the words of the table are coloured.
LEVEL_OF_WORD = {"central": "good", "inside": "good", "outside": "caution", "far outside": "bad", "unclear": "plain"}

#: A membership whose interval ends below this is not certain.
CERTAIN = 0.99
#: Rows in the table of uncertain memberships, and in that of optima.
MAX_ROWS = 12
#: Parameters in the tables that say how far two numbers differ.
MAX_PARAMETERS = 15
#: Parameters in the table of all of them.
MOST_PARAMETERS = 150


def table_sections(check: Comparison) -> dict[str, Html]:
    """Build the tables.

    Parameters
    ----------
    check : Comparison
        The comparison.

    Returns
    -------
    dict of str to Html
        Bodies by the title of their section; empty where there is nothing to tell.
    """
    sections: dict[str, Callable[[Comparison], Html]] = {
        "Parameters": _parameters,
        "Components": _components,
        "Standard errors": _errors,
        "All parameters together": _joint,
        "What the prior does": _pull,
        "Density": _density,
        "Rows that are hardest to place": _memberships,
        "Groups of rows": _partition,
        "Optima of EM": _optima,
        "Fit and prediction": _prediction,
    }
    return {title: build(check) for title, build in sections.items()}


# -------------------------------------------------------------------- single components


def _parameters(check: Comparison) -> Html:
    if check.labels_hold:
        return _parameter_rows(check, check.parameters)
    said = "Parameters of single components are withheld: components cannot be told apart in too many of the draws."
    whole = "What needs no names stands: the mixture as a whole."
    return paragraphs(f"{said} {whole}") + _parameter_rows(check, check.label_free)


def _parameter_rows(check: Comparison, found: pd.DataFrame) -> Html:
    listed, said = _furthest(found, found["z"], MOST_PARAMETERS)
    return _parameter_table(check, rounded_parameters(listed)) + (paragraphs(said.strip()) if said else Html(""))


def _parameter_table(check: Comparison, text: pd.DataFrame) -> Html:
    kind = f"{check.interval_prob:.0%} from"
    head = ["parameter", "EM", "mean", "sd", kind, "to", "quantile", "z", "EM is", "R-hat", "ESS"]
    rows = []
    for name, row in text.iterrows():
        word = row["verdict"]
        cell = colored(word, LEVEL_OF_WORD.get(word, "plain")) if word else Html("")
        numbers = [row[column] for column in ("em", "mean", "sd", "lower", "upper", "quantile", "z")]
        rows.append([name, *numbers, cell, row["r_hat"], row["ess_bulk"]])
    return table(head, rows, labels=(0, 8))


def _components(check: Comparison) -> Html:
    if check.em.n_components == 1 or not check.labels_hold:
        return Html("")
    found = check.components
    head = [
        "component of EM",
        "of the posterior",
        "weight, EM",
        "weight, posterior",
        "Hellinger",
        "Wasserstein",
        "margin",
    ]
    columns = ["em_weight", "posterior_weight", "hellinger", "wasserstein", "margin"]
    rows = [
        [str(name), str(match), *(f"{number:.3f}" for number in numbers)]
        for name, match, *numbers in found[["match", *columns]].itertuples()
    ]
    note = (
        "Distances are between EM's component and the one at the posterior means. Hellinger's is 0 for equal and 1 for "
        "apart; that of Bures and Wasserstein is in units of the scaled columns and has no upper end. The margin says "
        f"how much further the next best match is ({check.distance})."
    )
    return table(head, rows) + paragraphs(note)


def _errors(check: Comparison) -> Html:
    if not check.labels_hold:
        return Html("")
    errors = check.errors.dropna(axis="columns", how="all")
    if "ratio" not in errors:
        return paragraphs(*_reasons(check, ("se_information", "se_sandwich")))
    titles = {
        "posterior_sd": "posterior sd", "se_information": "information", "se_sandwich": "sandwich",
        "se_bootstrap": "bootstrap", "ratio": "posterior sd / information",
    }  # fmt: skip
    listed, said = _furthest(errors, np.log(errors["ratio"]))
    text = rounded_errors(listed)
    rows = [[name, *row] for name, *row in text.itertuples()]
    note = (
        "How far EM's estimate would move with other rows, by three routes: the curvature of the likelihood, which "
        "trusts the model; the sandwich, which does not; and, where asked for, the bootstrap. A ratio well above 1 "
        "says that ± two standard errors promise too much."
    )
    return table(["parameter", *(titles[name] for name in text.columns)], rows) + paragraphs(f"{note}{said}")


def _furthest(
    found: pd.DataFrame, distance: "pd.Series[float]", limit: int = MAX_PARAMETERS
) -> tuple[pd.DataFrame, str]:
    """Return the rows of a long table that are furthest from nothing, and what is to be said about the others."""
    if len(found) <= limit:
        return found, ""
    positions = np.sort(np.argsort(-np.abs(distance.fillna(0.0).to_numpy()), kind="stable")[:limit])
    return found.iloc[positions], f" Listed are the {limit} of {len(found):,} parameters that differ most."


def _reasons(check: Comparison, names: tuple[str, ...]) -> list[str]:
    return [f"Withheld: {check.notes[name]}." for name in names if name in check.notes]


def _joint(check: Comparison) -> Html:
    found = check.joint
    if not isinstance(found, JointPosition):
        return paragraphs(f"Withheld: {found}.") if check.labels_hold else Html("")
    return paragraphs(
        f"In {found.n_coordinates} unconstrained coordinates (log-ratios of the weights, means, log-Cholesky factors "
        f"of the covariances) the estimate is a Mahalanobis distance of {found.distance:.2f} from the posterior mean, "
        f"where {found.expected:.2f} is usual for a draw. {write_share(found.tail)} of the draws are further out; of a "
        f"normal posterior it would be {write_share(found.chi2_tail)}."
    )


def _pull(check: Comparison) -> Html:
    found = check.pull
    if not isinstance(found, PriorPull):
        return paragraphs(f"Withheld: {found}.") if check.labels_hold else Html("")
    head = ["parameter", "EM", "posterior mode", "posterior mean", "pull", "averaging"]
    listed, said = _furthest(found.table, found.table["pull"])
    has_sensitivity = "psense_diagnosis" in found.table
    head += ["power scaling"] if has_sensitivity else []
    rows = [
        [name, *(write_number(row[column]) for column in ("mle", "map", "mean")),
         *(f"{row[column]:+.2f}" for column in ("pull", "averaging")),
         *([row["psense_diagnosis"]] if has_sensitivity else [])]
        for name, row in listed.to_dict("index").items()
    ]  # fmt: skip
    note = (
        "From EM to the posterior mode only the prior is new (pull); from the mode to the mean only the averaging over "
        f"what the data leave open. Both are in posterior standard deviations.{said}"
    )
    if has_sensitivity:
        note += (
            " Power scaling asks how the posterior moves when prior and likelihood are made a little stronger (ArviZ)."
        )
    if pd.notna(found.rank):
        note += f" {write_share(1 - found.rank)} of the draws have a higher posterior density than EM's estimate."
    return table(head, rows, labels=(0, 6)) + paragraphs(note)


# -------------------------------------------------------------------- without names


_DISTANCES = {
    "l1": ("L1", "twice the largest difference in the probability of any event"),
    "hellinger": ("Hellinger", "0 for equal, 1 for apart"),
    "kl": ("Kullback-Leibler", "what predicting with EM costs for each row, in nats, if the posterior is right"),
    "sup": ("largest difference", "as a share of the density's peak"),
    "outside": ("outside the band", "share of the probability over which the density leaves the pointwise band"),
}


def _density(check: Comparison) -> Html:
    found = check.density
    head = ["distance to the predictive density", "EM", "single draws: median", f"{found.prob:.0%} from", "to",
            "draws that are closer", ""]  # fmt: skip
    rows = []
    for name, row in found.table.to_dict("index").items():
        title, meaning = _DISTANCES[str(name)]
        numbers = [f"{row[column]:.3f}" for column in ("em", "draws_median", "draws_lower", "draws_upper")]
        rows.append([title, *numbers, write_share(row["quantile"]), meaning])
    note = (
        "EM plugs its estimate into the density; the posterior predictive density averages over what is not known. "
        "Single draws show what distance is usual for one set of parameters."
    )
    return table(head, rows, labels=(0, 6)) + paragraphs(note)


def _memberships(check: Comparison) -> Html:
    if check.em.n_components == 1 or not check.labels_hold:
        return Html("")
    found = check.memberships
    notable = found[(found["lower"] < CERTAIN) | found["flips"] | found["outside"]]
    hardest = notable.sort_values("entropy", ascending=False, kind="stable").head(MAX_ROWS)
    head = ["row", "EM says", "with", "posterior", f"{check.interval_prob:.0%} from", "to", "most probable", ""]
    rows = [_membership_cells(row) for row in hardest.itertuples()]
    said = (
        f"Of {len(found):,} rows, {int(found['flips'].sum())} change their most probable component and "
        f"{int(found['outside'].sum())} have an EM responsibility outside the interval of their membership. "
        f"The entropies of EM's memberships add up to {found['em_entropy'].sum():.2f} nats, those of the posterior's "
        f"to {found['entropy'].sum():.2f}: EM's silence about its own uncertainty hides {check.overconfidence:.2f}. "
    )
    if hardest.empty:
        return paragraphs(said + f"Every membership is at least {CERTAIN:.0%}, interval included.")
    if len(notable) > MAX_ROWS:
        said += f"{len(notable)} rows are not certain; these are the {MAX_ROWS} with the largest entropy."
    return paragraphs(said) + table(head, rows, labels=(0, 1, 6, 7))


def _membership_cells(row: Any) -> list[Any]:
    shares = [write_share(share) for share in (row.em_responsibility, row.posterior_mean, row.lower, row.upper)]
    remark = colored("outside", "caution") if row.outside else Html("")
    if row.flips:
        remark = colored("changes", "bad")
    return [row.Index, f"component {row.em_component}", *shares, f"component {row.posterior_component}", remark]


_PARTITIONS = {"em": "EM", "kmeans": "k-means", "posterior": "the posterior's own"}


def _partition(check: Comparison) -> Html:
    if check.partition is None:
        return Html("")
    found = check.partition
    kind = f"{found.prob:.0%}"
    head = ["partition", "groups", "Rand index", kind, "VI, bits", kind, "from the centre", "of the ball"]
    rows = [
        [
            _PARTITIONS[str(row.Index)], str(row.n_groups), f"{row.ari_mean:.3f}",
            f"{row.ari_lower:.3f} to {row.ari_upper:.3f}", f"{row.vi_mean:.3f}",
            f"{row.vi_lower:.3f} to {row.vi_upper:.3f}", f"{row.ball_distance:.3f}",
            colored("inside", "good") if row.in_ball else colored("outside", "caution"),
        ]
        for row in found.table.itertuples()
    ]  # fmt: skip
    note = (
        f"Agreement with the partitions of {found.n_draws} draws: the adjusted Rand index is 1 for the same groups and "
        "0 for no more than chance; the variation of information (VI) is 0 for the same groups. The posterior's own "
        "partition has the smallest expected VI; the ball around it, of radius "
        f"{found.table['ball_radius'].iloc[0]:.3f}, holds 95% of the draws."
    )
    return table(head, rows, labels=(0, 7)) + paragraphs(note)


def _optima(check: Comparison) -> Html:
    if len(check.optimum) < 2:
        return Html("")
    found = check.optimum.head(MAX_ROWS)
    modes = check.modes
    masses: dict[Any, float] = modes["mass"].to_dict() if isinstance(modes, pd.DataFrame) else {}
    head = ["optimum", "log-likelihood", "below the best", "times reached", "draws nearest", "posterior mass", ""]
    rows = [
        [
            str(number), f"{row['log_likelihood']:,.2f}", f"{row['gap']:.2f}", write_count(row["times_reached"]),
            write_share(row["share"]), write_share(masses.get(number, float("nan"))),
            colored("spike", "caution") if row["is_degenerate"] else Html(""),
        ]
        for number, row in found.to_dict("index").items()
    ]  # fmt: skip
    note = (
        "The distinct optima at which EM's starts ended. A draw is nearest to the optimum whose components are most "
        "like its own. The mass is the share of the evidence of all modes, by importance sampling; "
        f"it is left out ({NONE}) where that cannot be trusted. An optimum that leads to the same mode as a better one "
        "has none of its own."
    )
    return table(head, rows, labels=(0, 6)) + paragraphs(note)


_CRITERIA = {
    "log_likelihood": ("log-likelihood", "of the rows that were fitted; for the posterior its mean over the draws"),
    "n_parameters": ("free parameters", ""),
    "aic": ("AIC", "smaller is better"),
    "bic": ("BIC", "smaller is better; the sign of scikit-learn, the opposite of mclust's"),
    "icl": ("ICL", "BIC that also counts how undecided the memberships are"),
    "elpd_loo": ("expected log density, LOO", "of each row predicted from the others; larger is better"),
    "elpd_se": ("its standard error", ""),
    "p_loo": ("effective parameters, LOO", "how much the fit adapts to the rows it has seen"),
    "pareto_k_bad": ("rows with Pareto k above 0.7", "for these rows LOO is not reliable"),
    "subsampling_se": ("error of LOO from sampling rows", "LOO was computed from a sample of the rows"),
}


def _prediction(check: Comparison) -> Html:
    found = check.prediction.dropna(axis="columns", how="all")
    rows = [
        [title, *(_criterion(name, found.loc[fit, name]) for fit in ("em", "posterior")), note]
        for name, (title, note) in _CRITERIA.items() if name in found.columns
    ]  # fmt: skip
    return table(["", "EM", "posterior", ""], rows, labels=(0, 3)) + _calibration(check)


def _calibration(check: Comparison) -> Html:
    """Say how uniform the probability integral transforms of the rows left out are, column by column."""
    if check.loo_pit is None:
        return Html("")
    limit = 1.36 / np.sqrt(check.em.n_rows)
    found = {name: float(stats.kstest(values.dropna(), "uniform").statistic) for name, values in check.loo_pit.items()}
    named = ", ".join(f"{name} {distance:.3f}" for name, distance in found.items())
    return paragraphs(
        "Calibration: where the model fits, each value's probability as predicted from the other rows is uniform. "
        f"Largest distance from uniform (Kolmogorov's; above {limit:.3f} in one of twenty by chance): {named}."
    )


def _criterion(name: str, value: Any) -> str:
    if pd.isna(value):
        return ""
    return write_count(value) if name in ("n_parameters", "pareto_k_bad") else f"{float(value):,.2f}"
