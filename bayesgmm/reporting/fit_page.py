"""The sections of a page about a single fit, an estimate or draws."""

import numpy as np
from matplotlib.figure import Figure

from bayesgmm.fit import MixtureFit
from bayesgmm.plots import (
    plot_components,
    plot_density,
    plot_em_trace,
    plot_entropy,
    plot_memberships,
    plot_pairs,
    plot_parameters,
    plot_projection,
    plot_trace,
)
from bayesgmm.plots.subject import read_subject
from bayesgmm.reporting.html import Html, element, list_of, paragraphs, table
from bayesgmm.reporting.numbers import write_number
from bayesgmm.reporting.pictures import Picture, hang
from bayesgmm.reporting.sampling import sampling_section
from bayesgmm.reporting.sections import made, reproduced, section
from bayesgmm.reporting.summary import Summary, summarize

__all__ = ["fit_sections"]

#: Columns up to which every pair is drawn.
MAX_PAIRS = 6
#: Columns above which a projection is drawn as well, and above which the table of components has a row for each.
FEW_COLUMNS = 4
#: Rows in the table of parameters.
MAX_PARAMETERS = 150


def fit_sections(fit: MixtureFit, source: str | None, command: str | None, *, progress: bool = False) -> list[Html]:
    """Build the sections of the page.

    Parameters
    ----------
    fit : MixtureFit
        The fit.
    source : str or None
        Where the data came from, in words.
    command : str or None
        The command that makes the page again.
    progress : bool, default False
        Whether to show how many pictures are drawn.

    Returns
    -------
    list of Html
        Sections, what to know before believing the fit first.
    """
    summary = summarize(fit)
    em, bayes = (None, fit) if fit.has_draws else (fit, None)
    bodies = {
        "Pictures": hang(_beside(fit), [*_of_columns(fit), *_of_rows(fit), *_of_the_making(fit)], progress=progress),
        "Parameters": summary.to_html(MAX_PARAMETERS) + paragraphs(*summary.notes),
        "Components": _components(fit),
        "Sampling": sampling_section(fit) if fit.has_draws else Html(""),
        "How it was made": made(em, bayes, source),
        "How to make it again": reproduced(em, bayes, command),
    }
    return [_opening(summary), *(section(title, body) for title, body in bodies.items() if body)]


def _opening(summary: Summary) -> Html:
    sound = "Nothing that was checked stands against believing this fit."
    said = list_of(summary.advice) if summary.advice else paragraphs(sound)
    return element("div", said, class_="verdict")


def _beside(fit: MixtureFit) -> list[Picture]:
    d, names = len(fit.features), read_subject(fit).choose(None, 2)
    where = f" Of {d} columns, the two in which the components are furthest apart." if d > 2 else ""
    spread = " The more lines or bands spread, the less the data settle a component." if fit.has_draws else ""
    band = ", with its pointwise band" if fit.has_draws else ""
    over = f"The components over the data.{where}{spread}"
    return [
        Picture(lambda: plot_components(fit, features=names), over, "Data with components"),
        Picture(lambda: plot_density(fit, features=names), f"The fitted density{band}.", "Fitted density"),
    ]


def _of_columns(fit: MixtureFit) -> list[Picture]:
    d = len(fit.features)
    shown = []
    if d > FEW_COLUMNS:
        caption = f"All {d} columns, seen along the two directions in which the components differ most."
        shown.append(Picture(lambda: plot_projection(fit), caption, "Components in a projection of all columns"))
    if 2 < d <= MAX_PAIRS:
        caption = "Every pair of columns; on the diagonal the components along one column, weight times density."
        shown.append(Picture(lambda: plot_pairs(fit), caption, "Components in every pair of columns"))
    return shown


def _of_rows(fit: MixtureFit) -> list[Picture]:
    if fit.n_components == 1:
        return []
    of = "" if fit.holds_all_rows else f" of the {fit.prepared.n_rows:,} that the fit holds"
    rows = f"The memberships of the least certain rows{of}."
    shown = [Picture(lambda: plot_memberships(fit), rows, "Memberships of the least certain rows")]
    if fit.has_draws:
        split = (
            "The same uncertainty by where it comes from: what would remain if the parameters were known, and what "
            "their uncertainty adds."
        )
        shown.append(Picture(lambda: plot_entropy(fit), split, "Entropies of the least certain rows, split in two"))
    return shown


def _of_the_making(fit: MixtureFit) -> list[Picture]:
    if fit.has_draws:
        forest = "The posterior intervals of the parameters, each measured in its own standard deviations."
        traces = "Draws by iteration: chains that agree lie on top of each other."
        return [
            Picture(lambda: plot_parameters(fit), forest, "Posterior intervals"),
            Picture(lambda: _trace(fit), traces, "Traces"),
        ]
    if "optimization" not in fit.tree.children:
        return []
    caption = "EM's climb, and the optima at which its starts ended: how high, and how often each was reached."
    return [Picture(lambda: plot_em_trace(fit), caption, "Log-likelihood by iteration, with the optima")]


def _trace(fit: MixtureFit) -> Figure:
    figure: Figure = plot_trace(fit).viz["figure"].item()
    return figure


def _components(fit: MixtureFit) -> Html:
    """Tabulate weight, centre and standard deviations of each component; for draws their posterior means."""
    if fit.has_draws and fit.info.diagnostics.get("labels_are_doubtful"):
        return paragraphs("Withheld: components cannot be told apart, so that a mean over the draws means nothing.")
    weights = fit.mixture.weights.reshape(-1, fit.n_components).mean(axis=0)
    d = len(fit.features)
    means = fit.mixture.means.reshape(-1, fit.n_components, d).mean(axis=0)
    variances = np.diagonal(fit.mixture.covariances, axis1=-2, axis2=-1)
    sds = np.sqrt(variances).reshape(-1, fit.n_components, d).mean(axis=0)
    if d > FEW_COLUMNS:
        head = ["mean and sd", *(f"component {k}" for k in range(fit.n_components))]
        cells = [
            [
                name,
                *(
                    f"{write_number(mean)} (sd {write_number(sd)})"
                    for mean, sd in zip(means[:, j], sds[:, j], strict=True)
                ),
            ]
            for j, name in enumerate(fit.features)
        ]
        return table(head, [["weight", *map(write_number, weights)], *cells])
    head = ["component", "weight", *(text for name in fit.features for text in (name, f"sd of {name}"))]
    rows = [
        [str(k), write_number(weights[k]), *map(write_number, np.stack([means[k], sds[k]], axis=1).ravel())]
        for k in range(fit.n_components)
    ]
    return table(head, rows)
