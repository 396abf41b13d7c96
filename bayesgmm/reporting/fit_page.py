"""The sections of a page about a single fit, an estimate or draws."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesgmm.fit import MixtureFit
from bayesgmm.plots import plot_components, plot_density, plot_memberships, plot_pairs, plot_parameters, plot_trace
from bayesgmm.plots.subject import read_subject
from bayesgmm.reporting.html import Html, element, join, list_of, paragraphs, table
from bayesgmm.reporting.numbers import write_number
from bayesgmm.reporting.pictures import picture
from bayesgmm.reporting.sampling import sampling_section
from bayesgmm.reporting.sections import made, reproduced, section
from bayesgmm.reporting.summary import Summary, summarize

__all__ = ["fit_sections"]

#: Columns up to which every pair is drawn.
MAX_PAIRS = 6


def fit_sections(fit: MixtureFit, source: str | None, command: str | None) -> list[Html]:
    """Build the sections of the page.

    Parameters
    ----------
    fit : MixtureFit
        The fit.
    source : str or None
        Where the data came from, in words.
    command : str or None
        The command that makes the page again.

    Returns
    -------
    list of Html
        Sections, what to know before believing the fit first.
    """
    summary = summarize(fit)
    em, bayes = (None, fit) if fit.has_draws else (fit, None)
    bodies = {
        "Pictures": _pictures(fit),
        "Parameters": summary.to_html() + paragraphs(*summary.notes),
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


def _pictures(fit: MixtureFit) -> Html:
    d = len(fit.features)
    names = read_subject(fit).choose(None, 2)
    shown: list[tuple[Callable[[], Figure | Axes], str, str]] = [
        (lambda: plot_components(fit, features=names), "The components over the data.", "Data with components"),
        (lambda: plot_density(fit, features=names), "The fitted density.", "Fitted density"),
    ]
    wide: list[tuple[Callable[[], Figure | Axes], str, str]] = []
    if 2 < d <= MAX_PAIRS:
        wide.append((lambda: plot_pairs(fit), "Every pair of columns.", "Components in every pair of columns"))
    if fit.has_draws:
        caption = "The posterior intervals of all parameters, each measured in its own standard deviations."
        wide.append((lambda: plot_parameters(fit), caption, "Posterior intervals"))
        wide.append((lambda: _trace(fit), "Draws by iteration: chains that agree lie on top of each other.", "Traces"))
    if fit.n_components > 1:
        of = "" if fit.holds_all_rows else f" of the {fit.prepared.n_rows:,} that the fit holds"
        caption = f"The memberships of the least certain rows{of}."
        wide.append((lambda: plot_memberships(fit), caption, "Memberships"))
    side_by_side = [picture(draw, caption, alternative=words) for draw, caption, words in shown]
    return element("div", *side_by_side, class_="beside") + join(
        picture(draw, caption, alternative=words) for draw, caption, words in wide
    )


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
    head = ["component", "weight", *(text for name in fit.features for text in (name, f"sd of {name}"))]
    rows = [
        [str(k), write_number(weights[k]), *map(write_number, np.stack([means[k], sds[k]], axis=1).ravel())]
        for k in range(fit.n_components)
    ]
    return table(head, rows)
