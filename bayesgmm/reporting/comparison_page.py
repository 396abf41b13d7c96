"""The sections of a page about a comparison: from the verdict down to how to repeat it."""

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
from bayesgmm.reporting.comparison_tables import LEVEL_OF_WORD, table_sections
from bayesgmm.reporting.html import Html, join, list_of, paragraphs
from bayesgmm.reporting.pictures import Picture, hang
from bayesgmm.reporting.sampling import sampling_section
from bayesgmm.reporting.sections import colored, made, reproduced, section, verdict

__all__ = ["comparison_sections"]

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


def comparison_sections(
    check: Comparison, source: str | None, command: str | None, *, progress: bool = False
) -> list[Html]:
    """Build the sections of the page.

    Parameters
    ----------
    check : Comparison
        The comparison.
    source : str or None
        Where the data came from, in words.
    command : str or None
        The command that makes the page again.
    progress : bool, default False
        Whether to show how many pictures are drawn.

    Returns
    -------
    list of Html
        Sections, the verdict first.
    """
    bodies = {
        "Pictures": hang(_beside(check), _wide(check), progress=progress),
        "How to read this": _how_to_read(check),
        **table_sections(check),
        "Sampling": sampling_section(check.bayes),
        "What was withheld or shortened": _notes(check),
        "How it was made": made(check.em, check.bayes, source),
        "How to make it again": reproduced(check.em, check.bayes, command),
    }
    opening = verdict(check.opening, check.findings, check.findings, check.advice)
    return [opening, *(section(title, body) for title, body in bodies.items() if body)]


def _notes(check: Comparison) -> Html:
    said = [f"{name}: {note}" for name, note in check.notes.items()]
    return list_of(said)


def _beside(check: Comparison) -> list[Picture]:
    d, names = len(check.em.features), read_subject(check).choose(None, 2)
    where = f" Of {d} columns, the two in which the components are furthest apart." if d > 2 else ""
    over = (
        f"The components over the data.{where} Ink: EM. Colour: the posterior; the more its lines or bands spread, the "
        "less the data settle the component."
    )
    fitted = f"The fitted density of EM and of the posterior, with pointwise {check.interval_prob:.0%} bands."
    return [
        Picture(
            lambda: plot_components(check, features=names), over, "Data with the components of EM and of the posterior"
        ),
        Picture(lambda: plot_density(check, features=names), fitted, "Fitted density with its band"),
    ]


def _wide(check: Comparison) -> list[Picture]:
    d = len(check.em.features)
    shown = []
    if d > FEW_COLUMNS:
        caption = f"All {d} columns, seen along the two directions in which the components differ most."
        shown.append(Picture(lambda: plot_projection(check), caption, "Components in a projection of all columns"))
    if 2 < d <= MAX_PAIRS:
        caption = "Every pair of columns; on the diagonal the components along one column, weight times density."
        shown.append(Picture(lambda: plot_pairs(check), caption, "Components in every pair of columns"))
    if check.labels_hold:
        shown += _of_components(check, f"{check.interval_prob:.0%}")
    if "optimization" in check.em.tree.children:
        caption = "EM's climb, and the optima at which its starts ended: how high, and how often each was reached."
        shown.append(Picture(lambda: plot_em_trace(check), caption, "Log-likelihood by iteration, with the optima"))
    return shown


def _of_components(check: Comparison, interval: str) -> list[Picture]:
    forest = (
        f"Where EM's estimates lie in their posteriors. Every line is a parameter's {interval} interval, measured in "
        "its own standard deviations; the values beside it are in the units of the data."
    )
    shown = [Picture(lambda: plot_parameters(check), forest, "Posterior intervals with the EM estimates")]
    if check.em.n_components > 1:
        rows = (
            f"The least certain rows: posterior membership with its {interval} interval, and EM's responsibility. The "
            "darker the cell above a bar, the less decided the row."
        )
        split = (
            "The same uncertainty by where it comes from: what would remain if the parameters were known, and what "
            "their uncertainty adds. EM knows the first part only."
        )
        shown += [
            Picture(lambda: plot_memberships(check), rows, "Memberships of the least certain rows"),
            Picture(lambda: plot_entropy(check), split, "Entropies of the least certain rows, split in two"),
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
