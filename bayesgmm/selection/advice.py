"""From the tables of a selection to words: what was chosen, how firmly, who disagrees, and what to do.

Every rule is a threshold on a number of the tables and every sentence carries that number; the rules are listed in
math.md, 12.4. No rule lets the prediction (elpd) choose the number of components by itself.
"""

import numpy as np
import pandas as pd

from bayesgmm.comparison import Finding
from bayesgmm.structure import as_structure

__all__ = ["FLAT", "describe_cell", "find", "say"]

#: Cells whose criterion is within this of the best are hardly worse (Kass & Raftery 1995: "not worth a bare mention").
FLAT = 2.0
#: Rows for each free parameter below which criteria, which hold for many rows, are not to be relied on.
ROWS_PER_PARAMETER = 5.0
#: Rows that the smallest component should hold, besides one more than there are columns.
SMALLEST = 5.0
#: Differences of elpd below this, or below two standard errors, say nothing (Sivula, Magnusson & Vehtari 2020).
ELPD_NOTHING = 4.0
#: Natural logarithm of a Bayes factor that is worth mentioning, half of `FLAT`.
EVIDENCE_NOTHING = 1.0


def describe_cell(structure: str, n_components: int) -> str:
    """Name a cell in words."""
    return f"{n_components} component{'' if n_components == 1 else 's'}, {as_structure(structure)}"


def say(findings: tuple[Finding, ...]) -> str:
    """Return the verdict: the choice, then what stands against it, then what stands for it."""
    first, *others = findings
    order = {"bad": 0, "caution": 1, "good": 2}
    return " ".join([first.text, *(one.text for one in sorted(others, key=lambda one: order[one.level]))])


def find(
    table: pd.DataFrame,
    criterion: str,
    *,
    n_rows: float,
    n_features: int,
    predictions: pd.DataFrame | None = None,
    numbers: pd.DataFrame | None = None,
) -> tuple[Finding, ...]:
    """Read the tables (math.md, 12.4).

    Parameters
    ----------
    table : DataFrame
        The criteria of every cell, best first.
    criterion : {"bic", "icl", "aic"}
        What ranks the cells.
    n_rows : float
        Number of rows, n; with weights their sum.
    n_features : int
        Number of columns, D.
    predictions : DataFrame, optional
        What the posteriors of some cells predict, and their evidence.
    numbers : DataFrame, optional
        What is believed of the number of components.

    Returns
    -------
    tuple of Finding
        The choice first.
    """
    sound = table[table["is_sound"]]
    best = sound.iloc[0]
    findings = [
        _choice(best, criterion),
        _flat(sound, criterion),
        _edge(table, best),
        _clusters(sound),
        _size(best, n_rows, n_features),
        _unranked(table, criterion),
    ]
    if predictions is not None:
        findings += [_trouble(predictions), _prediction(predictions, sound, criterion), _evidence(predictions, sound)]
    if numbers is not None and "mfm_filled" in numbers:
        findings.append(_posterior_number(numbers))
    return tuple(finding for finding in findings if finding is not None)


def _named(row: pd.Series) -> str:
    return describe_cell(row["structure"], int(row["n_components"]))


def _choice(best: pd.Series, criterion: str) -> Finding:
    text = f"{criterion.upper()} chooses {_named(best)} ({best[criterion]:.1f})."
    if criterion == "aic":
        advice = "Rank by BIC: AIC goes on adding components as the table grows."
        return Finding("choice", "caution", text, advice)
    return Finding("choice", "good", text)


def _flat(sound: pd.DataFrame, criterion: str) -> Finding | None:
    gaps = sound[criterion] - sound[criterion].iloc[0]
    near = sound[gaps < FLAT].iloc[1:]
    if len(sound) == 1:
        return None
    if near.empty:
        text = f"The next best, {_named(sound.iloc[1])}, is {gaps.iloc[1]:.1f} behind."
        return Finding("margin", "good", text)
    shown = "; ".join(
        f"{_named(row)}: {gap:.1f}" for (_, row), gap in zip(near.iterrows(), gaps[near.index], strict=True)
    )
    text = f"{len(near)} other{'s are' if len(near) > 1 else ' is'} within {FLAT:g} of the best ({shown}): a tie."
    return Finding("margin", "caution", text, "Look at every cell of the tie before one is reported as the answer.")


def _edge(table: pd.DataFrame, best: pd.Series) -> Finding | None:
    numbers, k = table["n_components"], int(best["n_components"])
    if numbers.min() == numbers.max():
        return None
    if k == numbers.max():
        text = f"{k} is the largest number of components that was tried."
        return Finding("range", "caution", text, f"Try more: n_components=range({numbers.min()}, {2 * k + 1}).")
    if k == numbers.min() > 1:
        text = f"{k} is the smallest number of components that was tried."
        return Finding("range", "caution", text, f"Try fewer: n_components=range(1, {numbers.max() + 1}).")
    return None


def _clusters(sound: pd.DataFrame) -> Finding | None:
    """Compare BIC, which counts components of the density, with ICL, which counts clusters that stand apart."""
    by_bic, by_icl = (sound.iloc[int(np.argmin(sound[name]))] for name in ("bic", "icl"))
    k_bic, k_icl = int(by_bic["n_components"]), int(by_icl["n_components"])
    if k_bic == k_icl:
        return Finding("clusters", "good", f"BIC and ICL agree on {k_bic} component{'' if k_bic == 1 else 's'}.")
    text = (
        f"BIC takes {_named(by_bic)}, ICL {_named(by_icl)}: some components overlap, and the density has more of them "
        "than there are clusters that stand apart."
        if k_icl < k_bic
        else f"BIC takes {_named(by_bic)}, ICL {_named(by_icl)}."
    )
    return Finding("clusters", "caution", text, f"Take {k_bic} to describe the density, {k_icl} to count clusters.")


def _size(best: pd.Series, n_rows: float, n_features: int) -> Finding | None:
    ratio, smallest = n_rows / best["n_parameters"], best["smallest"]
    if smallest < max(SMALLEST, n_features + 1):
        text = f"The smallest component of the chosen cell holds {smallest:.1f} rows."
        return Finding("size", "caution", text, "Look at these rows: they may be outliers rather than a group.")
    if ratio < ROWS_PER_PARAMETER:
        text = f"There are {ratio:.1f} rows for each free parameter of the chosen cell; the criteria suppose many."
        return Finding("size", "caution", text, "Add simpler structures to the grid, or check with bootstrap_lrt().")
    return None


def _unranked(table: pd.DataFrame, criterion: str) -> Finding | None:
    sound, others = table[table["is_sound"]], table[~table["is_sound"]]
    if others.empty:
        return None
    text = f"{len(others)} of {len(table)} cells are not ranked (the column why says for what reason)."
    tempting = others[others[criterion] < sound[criterion].iloc[0]]
    if tempting.empty:
        return Finding("cells", "good", text)
    text += f" {_named(tempting.iloc[0])} has the smaller {criterion.upper()}, but it is no maximum."
    return Finding("cells", "caution", text, "Do not take a cell that is not ranked: use reg_covar=1e-3 to tame it.")


# -------------------------------------------------------------------- the Bayesian side


def _trouble(predictions: pd.DataFrame) -> Finding | None:
    troubled = predictions[predictions["trouble"] != ""]
    if troubled.empty:
        return None
    shown = "; ".join(f"{_named(row)}: {row['trouble']}" for _, row in troubled.iterrows())
    advice = "Sample longer (draws, tune) where chains have not met; look at the rows whose Pareto k is large."
    return Finding("posteriors", "caution", f"Not every posterior can be relied on ({shown}).", advice)


def _prediction(predictions: pd.DataFrame, sound: pd.DataFrame, criterion: str) -> Finding | None:
    """Say what predicts best; where that has another number of components, that it is no reason to take it."""
    scored = predictions[predictions["elpd"].notna() & (predictions["n_bad_k"] == 0)]
    if len(scored) < 2:
        return None
    leader, choice = scored.iloc[0], _first_of(scored, sound)
    if choice["n_components"] == leader["n_components"]:
        text = f"Leave-one-out prediction is best for {int(leader['n_components'])} components as well."
        return Finding("prediction", "good", text)
    gap, error = -choice["elpd_diff"], choice["elpd_diff_se"]
    numbers = f"elpd {gap:.1f} above that of {_named(choice)}, standard error {error:.1f}"
    text = f"Leave-one-out prediction is best for {_named(leader)} ({numbers})"
    if gap < max(ELPD_NOTHING, 2.0 * error):
        return Finding("prediction", "good", f"{text}: no difference to speak of.")
    advice = (
        f"Do not choose the number of components by elpd alone, which {criterion.upper()} contradicts here: it rewards "
        "a good density, and a component too many costs it next to nothing."
    )
    return Finding("prediction", "caution", f"{text}.", advice)


def _evidence(predictions: pd.DataFrame, sound: pd.DataFrame) -> Finding | None:
    known = predictions[predictions["log_evidence"].notna()]
    if len(known) < 2:
        return None
    leader, choice = known.iloc[int(np.argmax(known["log_evidence"]))], _first_of(known, sound)
    gap = float(leader["log_evidence"] - choice["log_evidence"])
    error = float(np.hypot(leader["log_evidence_se"], choice["log_evidence_se"]))
    if gap == 0.0:
        return Finding("evidence", "good", f"The evidence is largest for {_named(leader)} as well.")
    if gap < max(EVIDENCE_NOTHING, 2.0 * error):
        return Finding("evidence", "good", f"The evidence does not contradict the choice (log Bayes factor {gap:.1f}).")
    text = f"The evidence is for {_named(leader)}, against {_named(choice)} by a log Bayes factor of {gap:.1f}."
    advice = "Criterion and evidence disagree: see what other priors say before either is believed."
    return Finding("evidence", "caution", text, advice)


def _posterior_number(numbers: pd.DataFrame) -> Finding:
    """Compare the posterior of the number of components with the BIC weights of the same structure."""
    posterior, weights = numbers["mfm_filled"], numbers["bic_weight_within"].fillna(0.0)
    if posterior.isna().all():
        text = "The posterior of the number of components is withheld: its chains have not met."
        return Finding("number", "caution", text, "Sample it longer with bayesgmm.bayes.random_components.")
    k, k_bic = (int(numbers.index[int(np.argmax(column))]) for column in (posterior, weights))
    said = f"{posterior.max():.0%} of the posterior are for {k} filled component{'' if k == 1 else 's'}"
    if k == k_bic:
        return Finding("number", "good", f"{said}, as BIC within that structure.")
    text = f"{said}, and {posterior.get(k_bic, 0.0):.0%} for {k_bic}, which BIC takes within that structure."
    advice = "BIC and the posterior of the number of components disagree: report both numbers, with their weights."
    return Finding("number", "caution", text, advice)


def _first_of(some: pd.DataFrame, sound: pd.DataFrame) -> pd.Series:
    """Return the row whose cell the criterion ranks first."""
    ranks = {(row.structure, row.n_components): rank for rank, row in enumerate(sound.itertuples())}
    return some.iloc[int(np.argmin([ranks[row.structure, row.n_components] for row in some.itertuples()]))]
