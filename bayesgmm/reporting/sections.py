"""What every page has: its frame, its sections, how the fit was made and how it is made again."""

from collections.abc import Sequence
from datetime import datetime
from importlib import resources

from bayesgmm.comparison.verdict import Finding
from bayesgmm.fit import MixtureFit
from bayesgmm.reporting.html import Html, element, join, list_of, paragraphs, terms
from bayesgmm.reporting.recipe import describe_data, describe_fit, describe_software, python_lines

__all__ = ["colored", "made", "page", "reproduced", "section", "verdict"]

#: What the levels of findings are called.
_WORD_OF_LEVEL = {"good": "sound", "caution": "caution", "bad": "problem"}


def page(title: str, under: str, sections: list[Html]) -> str:
    """Build a whole page that needs no other file and no network.

    Parameters
    ----------
    title, under : str
        The heading, and the line below it.
    sections : list of Html
        The contents.

    Returns
    -------
    str
        The page.
    """
    css = Html(resources.files("bayesgmm.reporting").joinpath("page.css").read_text(encoding="utf-8"))
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        # Nothing may be loaded from anywhere, whatever a column is called.
        element(
            "meta",
            http_equiv="Content-Security-Policy",
            content="default-src 'none'; img-src data:; style-src 'unsafe-inline'",
        ),
        element("title", title),
        element("style", css),
    )
    header = element("header", element("h1", title), paragraphs(under, class_="under"))
    body = element("body", element("main", header, *sections))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def section(title: str, body: Html) -> Html:
    """Build a section with its heading."""
    return element("section", element("h2", title), body)


def colored(word: str, level: str) -> Html:
    """Return a word in the colour of its level: good, caution, bad or plain."""
    return element("span", word, class_=f"word {level}")


def verdict(opening: str, findings: Sequence[Finding], shown: Sequence[Finding], advice: Sequence[str]) -> Html:
    """Build what a page opens with: the verdict, what it rests on, and what to do.

    Parameters
    ----------
    opening : str
        The verdict in a sentence or two; its colour is that of the worst finding.
    findings : sequence of Finding
        Everything that was found.
    shown : sequence of Finding
        What is listed below the opening; less where that says some of it already.
    advice : sequence of str
        What to do; may be empty.

    Returns
    -------
    Html
        The opening of the page.
    """
    levels = [finding.level for finding in findings]
    worst = next((level for level in ("bad", "caution") if level in levels), "good")
    listed = [
        colored(_WORD_OF_LEVEL.get(finding.level, finding.level), finding.level)
        + element("span", element("strong", finding.topic.capitalize()), ". ", finding.text)
        for finding in shown
    ]
    to_do = [element("h3", "What to do"), list_of(advice)] if advice else []
    return join([
        element("div", paragraphs(opening), class_=f"verdict {worst}"),
        list_of(map(Html, listed), class_="findings"),
        *to_do,
    ])  # fmt: skip


def made(em: MixtureFit | None, bayes: MixtureFit | None, source: str | None) -> Html:
    """Say how the fits were made: data, both methods, priors, versions, date."""
    fits = [fit for fit in (em, bayes) if fit is not None]
    pairs = describe_data(fits[0], source)
    if em is not None:
        pairs["EM"] = describe_fit(em)
    if bayes is not None:
        pairs["posterior"] = describe_fit(bayes)
        pairs["priors"] = bayes.info.settings.get("priors_in_words", "not recorded")
    pairs["software"] = describe_software(*fits) or "not recorded"
    pairs["page made"] = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return terms(pairs)


def reproduced(em: MixtureFit | None, bayes: MixtureFit | None, command: str | None) -> Html:
    """Say how to make the fits again, in Python and as a command."""
    parts = [paragraphs("In Python:"), _code(python_lines(em, bayes))]
    if command is not None:
        parts += [paragraphs("On the command line:"), _code(command)]
    return join(parts)


def _code(text: str) -> Html:
    return element("pre", element("code", text))
