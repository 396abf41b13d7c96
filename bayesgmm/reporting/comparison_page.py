"""The sections of a page about a comparison: from the verdict down to how to repeat it."""

from typing import Any

import pandas as pd

from bayesgmm.comparison import Comparison
from bayesgmm.comparison.text import rounded_parameters
from bayesgmm.plots import plot_components, plot_density, plot_memberships, plot_pairs, plot_parameters
from bayesgmm.plots.subject import read_subject
from bayesgmm.reporting.html import Html, element, join, list_of, paragraphs, table
from bayesgmm.reporting.numbers import write_count, write_share
from bayesgmm.reporting.pictures import picture
from bayesgmm.reporting.sections import made, reproduced, section

__all__ = ["comparison_sections"]

#: How the words of the table and the levels of findings are coloured, and what the levels are called.
_LEVEL_OF_WORD = {"central": "good", "inside": "good", "outside": "caution", "far outside": "bad", "unclear": "plain"}
_WORD_OF_LEVEL = {"good": "sound", "caution": "caution", "bad": "problem"}

#: A membership whose interval ends below this is not certain.
CERTAIN = 0.99
#: Rows in the table of uncertain memberships.
MAX_ROWS = 12
#: Columns up to which every pair is drawn.
MAX_PAIRS = 6

_WORDS = {
    "central": "inside the interval and less than one standard deviation from the posterior mean",
    "inside": "inside the interval, further from the mean",
    "outside": "outside the interval",
    "far outside": "outside the interval, by three standard deviations or more",
    "unclear": "the chains disagree about this parameter, so nothing is said",
}


def comparison_sections(check: Comparison, source: str | None, command: str | None) -> list[Html]:
    """Build the sections of the page.

    Parameters
    ----------
    check : Comparison
        The comparison.
    source : str or None
        Where the data came from, in words.
    command : str or None
        The command that makes the page again.

    Returns
    -------
    list of Html
        Sections, the verdict first.
    """
    bodies = {
        "Pictures": _pictures(check),
        "How to read this": _how_to_read(check),
        "Parameters": _parameters(check),
        "Components": _components(check),
        "Rows that are hardest to place": _memberships(check),
        "Fit and prediction": _prediction(check),
        "How it was made": made(check.em, check.bayes, source),
        "How to make it again": reproduced(check.em, check.bayes, command),
    }
    return [_verdict(check), *(section(title, body) for title, body in bodies.items() if body)]


def _verdict(check: Comparison) -> Html:
    opening = check.verdict
    for finding in check.findings:
        opening = opening.replace(finding.text, "")
    levels = [finding.level for finding in check.findings]
    worst = next((level for level in ("bad", "caution") if level in levels), "good")
    findings = [
        _word(_WORD_OF_LEVEL.get(finding.level, finding.level), finding.level)
        + element("span", element("strong", finding.topic.capitalize()), ". ", finding.text)
        for finding in check.findings
    ]
    advice = [element("h3", "What to do"), list_of(check.advice)] if check.advice else []
    return join([
        element("div", paragraphs(" ".join(opening.split())), class_=f"verdict {worst}"),
        list_of(map(Html, findings), class_="findings"),
        *advice,
    ])  # fmt: skip


def _word(word: str, level: str) -> Html:
    return element("span", word, class_=f"word {level}")


def _pictures(check: Comparison) -> Html:
    interval = f"{check.interval_prob:.0%}"
    d = len(check.em.features)
    names = read_subject(check).choose(None, 2)
    where = f" Of {d} columns, the two in which the components are furthest apart." if d > 2 else ""
    shown = [
        picture(
            lambda: plot_components(check, features=names),
            f"The components over the data.{where} Ink: EM. Colour: the posterior; the more its lines or bands spread, "
            "the less the data settle the component.",
            alternative="Data with the components of EM and of the posterior",
        ),
        picture(
            lambda: plot_density(check, features=names),
            f"The fitted density of EM and of the posterior, with pointwise {interval} bands.",
            alternative="Fitted density with its band",
        ),
    ]
    tall = []
    if 2 < d <= MAX_PAIRS:
        caption = "Every pair of columns; on the diagonal the components along one column, weight times density."
        tall.append(picture(lambda: plot_pairs(check), caption, alternative="Components in every pair of columns"))
    tall.append(
        picture(
            lambda: plot_parameters(check),
            f"Where EM's estimates lie in their posteriors. Every line is a parameter's {interval} interval, measured "
            "in its own standard deviations; the values beside it are in the units of the data.",
            alternative="Posterior intervals of all parameters with the EM estimates",
        )
    )
    if check.em.n_components > 1:
        caption = f"The least certain rows: posterior membership with its {interval} interval, and EM's responsibility."
        tall.append(
            picture(lambda: plot_memberships(check), caption, alternative="Memberships of the least certain rows")
        )
    return element("div", *shown, class_="beside") + join(tall)


def _how_to_read(check: Comparison) -> Html:
    interval = f"{check.interval_prob:.0%}"
    words = [_word(word, _LEVEL_OF_WORD[word]) + join([" ", meaning]) for word, meaning in _WORDS.items()]
    return paragraphs(
        "The same Gaussian mixture was fitted twice. EM finds the one set of parameters under which the data are most "
        "probable. The posterior is the whole range of parameters that data and prior leave open, as a set of draws.",
        f"Intervals ({check.interval_kind.upper()}) hold {interval} of the posterior. An estimate outside is unusual, "
        "not impossible. The quantile is the share of draws below EM's estimate; z is the estimate's distance from the "
        "posterior mean in posterior standard deviations. R-hat near 1 and an effective sample size (ESS) of 400 or "
        "more say that the draws themselves can be relied on.",
    ) + list_of(map(Html, words))


def _parameters(check: Comparison) -> Html:
    text = rounded_parameters(check.parameters)
    kind = f"{check.interval_prob:.0%} from"
    head = ["parameter", "EM", "mean", "sd", kind, "to", "quantile", "z", "EM is", "R-hat", "ESS"]
    rows = []
    for name, row in text.iterrows():
        word = _word(row["verdict"], _LEVEL_OF_WORD.get(row["verdict"], "plain"))
        numbers = [row[column] for column in ("em", "mean", "sd", "lower", "upper", "quantile", "z")]
        rows.append([name, *numbers, word, row["r_hat"], row["ess_bulk"]])
    return table(head, rows, labels=(0, 8))


def _components(check: Comparison) -> Html:
    if check.em.n_components == 1:
        return Html("")
    found = check.components
    head = ["component of EM", "of the posterior", "weight, EM", "weight, posterior", "distance", "margin"]
    rows = [
        [name, match, *(f"{number:.3f}" for number in numbers)]
        for name, match, *numbers in found[
            ["match", "em_weight", "posterior_weight", "hellinger", "margin"]
        ].itertuples()
    ]
    note = (
        "The distance is Hellinger's, between EM's component and the one at the posterior means: 0 for equal, 1 for "
        "apart. The margin says how much further the next best match is."
    )
    return table(head, rows) + paragraphs(note)


def _memberships(check: Comparison) -> Html:
    if check.em.n_components == 1:
        return Html("")
    found = check.memberships
    notable = found[(found["lower"] < CERTAIN) | found["flips"] | found["outside"]]
    hardest = notable.sort_values("entropy", ascending=False, kind="stable").head(MAX_ROWS)
    head = ["row", "EM says", "with", "posterior", f"{check.interval_prob:.0%} from", "to", "most probable", ""]
    rows = [_membership_cells(row) for row in hardest.itertuples()]
    said = (
        f"Of {len(found):,} rows, {int(found['flips'].sum())} change their most probable component and "
        f"{int(found['outside'].sum())} have an EM responsibility outside the interval of their membership. "
    )
    if hardest.empty:
        return paragraphs(said + f"Every membership is at least {CERTAIN:.0%}, interval included.")
    if len(notable) > MAX_ROWS:
        said += f"{len(notable)} rows are not certain; these are the {MAX_ROWS} with the largest entropy."
    return paragraphs(said) + table(head, rows, labels=(0, 1, 6, 7))


def _membership_cells(row: Any) -> list[Any]:
    shares = [write_share(share) for share in (row.em_responsibility, row.posterior_mean, row.lower, row.upper)]
    remark = _word("outside", "caution") if row.outside else Html("")
    if row.flips:
        remark = _word("changes", "bad")
    return [row.Index, f"component {row.em_component}", *shares, f"component {row.posterior_component}", remark]


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
}


def _prediction(check: Comparison) -> Html:
    found = check.prediction
    rows = [
        [title, *(_criterion(name, found.loc[fit, name]) for fit in ("em", "posterior")), note]
        for name, (title, note) in _CRITERIA.items() if name in found.columns
    ]  # fmt: skip
    return table(["", "EM", "posterior", ""], rows, labels=(0, 3))


def _criterion(name: str, value: Any) -> str:
    if pd.isna(value):
        return ""
    return write_count(value) if name in ("n_parameters", "pareto_k_bad") else f"{float(value):,.2f}"
