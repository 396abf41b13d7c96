"""The sections of a page about a comparison: from the verdict down to how to repeat it."""

from collections.abc import Callable
from typing import Any

from bayesgmm.comparison import Comparison
from bayesgmm.plots import (
    plot_components,
    plot_density,
    plot_em_trace,
    plot_entropy,
    plot_memberships,
    plot_pairs,
    plot_parameters,
    plot_projection,
)
from bayesgmm.plots.subject import read_subject
from bayesgmm.reporting.comparison_tables import LEVEL_OF_WORD, colored, table_sections
from bayesgmm.reporting.html import Html, element, join, list_of, paragraphs
from bayesgmm.reporting.pictures import picture
from bayesgmm.reporting.sampling import sampling_section
from bayesgmm.reporting.sections import made, reproduced, section

__all__ = ["comparison_sections"]

#: What the levels of findings are called.
_WORD_OF_LEVEL = {"good": "sound", "caution": "caution", "bad": "problem"}

#: Columns up to which every pair is drawn.
MAX_PAIRS = 6
#: Columns above which a projection is drawn as well.
FEW_COLUMNS = 4

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
        **table_sections(check),
        "Sampling": sampling_section(check.bayes),
        "What was withheld or shortened": _notes(check),
        "How it was made": made(check.em, check.bayes, source),
        "How to make it again": reproduced(check.em, check.bayes, command),
    }
    return [_verdict(check), *(section(title, body) for title, body in bodies.items() if body)]


def _verdict(check: Comparison) -> Html:
    levels = [finding.level for finding in check.findings]
    worst = next((level for level in ("bad", "caution") if level in levels), "good")
    findings = [
        colored(_WORD_OF_LEVEL.get(finding.level, finding.level), finding.level)
        + element("span", element("strong", finding.topic.capitalize()), ". ", finding.text)
        for finding in check.findings
    ]
    advice = [element("h3", "What to do"), list_of(check.advice)] if check.advice else []
    return join([
        element("div", paragraphs(check.opening), class_=f"verdict {worst}"),
        list_of(map(Html, findings), class_="findings"),
        *advice,
    ])  # fmt: skip


def _notes(check: Comparison) -> Html:
    said = [f"{name}: {note}" for name, note in check.notes.items()]
    return list_of(said)


def _pictures(check: Comparison) -> Html:
    names = read_subject(check).choose(None, 2)
    beside = [picture(draw, caption, alternative=words) for draw, caption, words in _beside(check, names)]
    wide = [picture(draw, caption, alternative=words) for draw, caption, words in _wide(check)]
    return element("div", *beside, class_="beside") + join(wide)


def _beside(check: Comparison, names: tuple[str, ...]) -> list[tuple[Callable[[], Any], str, str]]:
    """Return what is drawn side by side: how, its caption, and what stands for it where it cannot be seen."""
    d = len(check.em.features)
    where = f" Of {d} columns, the two in which the components are furthest apart." if d > 2 else ""
    return [
        (
            lambda: plot_components(check, features=names),
            (
                f"The components over the data.{where} Ink: EM. Colour: the posterior; the more its lines or bands "
                "spread, the less the data settle the component."
            ),
            "Data with the components of EM and of the posterior",
        ),
        (
            lambda: plot_density(check, features=names),
            f"The fitted density of EM and of the posterior, with pointwise {check.interval_prob:.0%} bands.",
            "Fitted density with its band",
        ),
    ]


def _wide(check: Comparison) -> list[tuple[Callable[[], Any], str, str]]:
    d, interval = len(check.em.features), f"{check.interval_prob:.0%}"
    shown: list[tuple[Callable[[], Any], str, str]] = []
    if d > FEW_COLUMNS:
        caption = f"All {d} columns, seen along the two directions in which the components differ most."
        shown.append((lambda: plot_projection(check), caption, "Components in a projection of all columns"))
    if 2 < d <= MAX_PAIRS:
        caption = "Every pair of columns; on the diagonal the components along one column, weight times density."
        shown.append((lambda: plot_pairs(check), caption, "Components in every pair of columns"))
    if check.labels_hold:
        shown += _of_components(check, interval)
    if "optimization" in check.em.tree.children:
        caption = "EM's climb, and the optima at which its starts ended: how high, and how often each was reached."
        shown.append((lambda: plot_em_trace(check), caption, "Log-likelihood by iteration, with the optima"))
    return shown


def _of_components(check: Comparison, interval: str) -> list[tuple[Callable[[], Any], str, str]]:
    forest = (
        f"Where EM's estimates lie in their posteriors. Every line is a parameter's {interval} interval, measured in "
        "its own standard deviations; the values beside it are in the units of the data."
    )
    shown: list[tuple[Callable[[], Any], str, str]] = [
        (lambda: plot_parameters(check), forest, "Posterior intervals of all parameters with the EM estimates")
    ]
    if check.em.n_components > 1:
        rows = f"The least certain rows: posterior membership with its {interval} interval, and EM's responsibility."
        split = (
            "The same uncertainty by where it comes from: what would remain if the parameters were known, and what "
            "their uncertainty adds. EM knows the first part only."
        )
        shown += [
            (lambda: plot_memberships(check), rows, "Memberships of the least certain rows"),
            (lambda: plot_entropy(check), split, "Entropies of the least certain rows, split in two"),
        ]
    return shown


def _how_to_read(check: Comparison) -> Html:
    interval = f"{check.interval_prob:.0%}"
    words = [colored(word, LEVEL_OF_WORD[word]) + join([": ", meaning]) for word, meaning in _WORDS.items()]
    return paragraphs(
        "The same Gaussian mixture was fitted twice. EM finds the one set of parameters under which the data are most "
        "probable. The posterior is the whole range of parameters that data and prior leave open, as a set of draws.",
        f"Intervals ({check.interval_kind.upper()}) hold {interval} of the posterior. An estimate outside is unusual, "
        "not impossible. The quantile is the share of draws below EM's estimate; z is the estimate's distance from the "
        "posterior mean in posterior standard deviations. R-hat near 1 and an effective sample size (ESS) of 400 or "
        "more say that the draws themselves can be relied on.",
    ) + list_of(map(Html, words))
