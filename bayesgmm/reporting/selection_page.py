"""The sections of a page about a selection: the choice, the criteria in pictures and numbers, the posteriors."""

from datetime import datetime
from functools import partial

import pandas as pd

from bayesgmm.comparison.text import rounded
from bayesgmm.plots.selection import plot_selection
from bayesgmm.reporting.html import Html, element, join, paragraphs, table, terms
from bayesgmm.reporting.numbers import NONE, write_share
from bayesgmm.reporting.pictures import Picture, hang
from bayesgmm.reporting.recipe import describe_data, describe_fit, describe_software
from bayesgmm.reporting.sections import section, verdict
from bayesgmm.selection import Selection
from bayesgmm.selection.selection import DECIMALS, PREDICTION_DECIMALS

__all__ = ["selection_sections"]

#: Cells in the table of criteria.
MAX_CELLS = 40

_CAPTIONS = {
    "bic": "BIC counts the components of the density.",
    "icl": "ICL counts clusters: it pays for rows whose component is not clear.",
    "aic": "AIC looks for the best prediction and goes on adding components.",
}


def selection_sections(
    selection: Selection, source: str | None, command: str | None, *, progress: bool = False
) -> list[Html]:
    """Build the sections of the page.

    Parameters
    ----------
    selection : Selection
        The selection.
    source : str or None
        Where the data came from, in words.
    command : str or None
        The command that makes the page again.
    progress : bool, default False
        Whether to show how many pictures are drawn.

    Returns
    -------
    list of Html
        Sections, the choice first.
    """
    bodies = {
        "Pictures": hang(_pictures(selection), progress=progress),
        "Criteria": _criteria(selection),
        "Posteriors": _posteriors(selection),
        "Number of components": _numbers(selection),
        "How it was made": _made(selection, source),
        "How to make it again": _reproduced(selection, command),
    }
    choice, *others = selection.findings
    opening = verdict(choice.text, selection.findings, others, selection.advice)
    return [opening, *(section(title, body) for title, body in bodies.items() if body)]


def _pictures(selection: Selection) -> list[Picture]:
    names = dict.fromkeys((selection.criterion, "bic", "icl"))
    return [
        Picture(
            partial(plot_selection, selection, criterion=name),
            f"{_CAPTIONS[name]} Smaller is better.",
            f"{name.upper()} against the number of components",
        )
        for name in names
    ]


def _criteria(selection: Selection) -> Html:
    found = selection.table
    shown = found.head(MAX_CELLS).drop(columns="is_sound")
    if not shown["why"].any():
        shown = shown.drop(columns="why")
    said = (
        "Smaller is better, as in scikit-learn; R's mclust reports minus BIC and minus ICL. The column smallest has "
        "the number of rows in the smallest component."
    )
    cut = [f"The best {MAX_CELLS} of {len(found)} cells."] if len(found) > MAX_CELLS else []
    return paragraphs(said, *cut) + _table(rounded(shown, DECIMALS))


def _posteriors(selection: Selection) -> Html:
    if selection.predictions is None:
        return Html("")
    said = (
        "Leave-one-out prediction (elpd) and log evidence of the cells with a sampled posterior; larger is better. A "
        "component too many costs elpd next to nothing, so that it must not choose the number of components by itself. "
        "Evidence depends on the priors."
    )
    return paragraphs(said) + _table(rounded(selection.predictions.drop(columns="ess"), PREDICTION_DECIMALS))


def _numbers(selection: Selection) -> Html:
    numbers = selection.number_of_components.reset_index()
    said = ["Probabilities. The BIC weights take every cell as equally probable before the data are seen."]
    if "mfm_k" in numbers:
        said.append(
            "mfm: a mixture of finite mixtures, k its number of components, filled those with rows; sparse: a "
            "mixture of more components than needed, which empty themselves. No number where the chains have not met."
        )
    texts = numbers.apply(lambda column: column.map(str if column.name == "n_components" else write_share))
    return paragraphs(*said) + _table(texts)


def _table(found: pd.DataFrame) -> Html:
    """Write a table of texts as it is."""
    names = [str(name) for name in found.columns]
    labels = [j for j, name in enumerate(names) if name in {"structure", "why", "trouble"}]
    rows = [[text or NONE if j not in labels else text for j, text in enumerate(row)] for row in found.to_numpy(object)]
    return table([name.removeprefix("n_").replace("_", " ") for name in names], rows, labels=labels)


def _made(selection: Selection, source: str | None) -> Html:
    settings, posteriors = selection.settings, selection.posteriors
    pairs = describe_data(selection.best, source)
    pairs["grid"] = f"{selection.header}; up to {settings.n_starts} starts a cell, seed {settings.seed}"
    pairs["best"] = describe_fit(selection.best)
    for number, fit in enumerate(posteriors.values(), start=1):
        pairs[f"posterior {number}"] = describe_fit(fit)
    pairs["software"] = describe_software(selection.best, *posteriors.values()) or "not recorded"
    pairs["page made"] = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return terms(pairs)


def _reproduced(selection: Selection, command: str | None) -> Html:
    settings = selection.settings
    numbers = sorted({k for _, k in selection.cells})
    arguments = [
        "table",
        str(numbers),
        f"structures={list(dict.fromkeys(code for code, _ in selection.cells))}",
        f'criterion="{selection.criterion}"',
        f"seed={settings.seed}",
        f"n_starts={settings.n_starts}",
    ]
    arguments += [f"reg_covar={settings.reg_covar!r}"] if settings.reg_covar else []
    lines = ["import bayesgmm as bg", "", "table = ...  # the rows and columns above",
             f"selection = bg.select({', '.join(arguments)})"]  # fmt: skip
    if selection.posteriors:
        plan = next(iter(selection.posteriors.values())).info.settings
        said = [f"{name}={plan[name]!r}" for name in ("draws", "tune", "chains") if name in plan]
        lines.append(f"selection = selection.with_posteriors({', '.join([str(len(selection.posteriors)), *said])})")
    lines.append('bg.report(selection, "report.html")')
    parts = [paragraphs("In Python:"), element("pre", element("code", "\n".join(lines)))]
    if command is not None:
        parts += [paragraphs("On the command line:"), element("pre", element("code", command))]
    return join(parts)
