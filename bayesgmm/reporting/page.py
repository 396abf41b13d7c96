"""One HTML file that says everything about a comparison or a fit: verdict, tables, pictures, how it was made.

The file needs no other file and no network: styles are inside, pictures are data URIs. It is written whole or not at
all.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from bayesgmm.errors import ArgumentError
from bayesgmm.fit import MixtureFit
from bayesgmm.storage import replacing

if TYPE_CHECKING:
    from bayesgmm.comparison import Comparison

__all__ = ["report"]


def report(
    check: "Comparison | MixtureFit",
    path: str | Path,
    *,
    title: str | None = None,
    source: str | None = None,
    command: str | None = None,
) -> Path:
    """Write a page about a comparison or a fit.

    Parameters
    ----------
    check : Comparison or MixtureFit
        What the page is about.
    path : str or Path
        The file to write, ``.html``; one that is there already is replaced.
    title : str, optional
        The heading. Default says what was compared.
    source : str, optional
        Where the data came from, in words; a fit does not know.
    command : str, optional
        The command that makes the page again, where there is one.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    ArgumentError
        When `check` is something else, or the name has another ending.
    OSError
        When the file cannot be written.
    """
    # Pictures load matplotlib; a summary, which lives in this room too, does without.
    from bayesgmm.comparison import Comparison
    from bayesgmm.reporting.sections import page

    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ArgumentError(f"a report ends in .html; {str(target)!r} does not")
    if isinstance(check, Comparison):
        from bayesgmm.reporting.comparison_page import comparison_sections

        sections, under = comparison_sections(check, source, command), check.header
    elif isinstance(check, MixtureFit):
        from bayesgmm.reporting.fit_page import fit_sections

        sections, under = fit_sections(check, source, command), check.summary().header[0]
    else:
        raise ArgumentError(f"a report is about a comparison or a fit, not {type(check).__name__}")
    text = page(title or _title(check), under, sections)
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return target


def _title(check: "Comparison | MixtureFit") -> str:
    fit = check if isinstance(check, MixtureFit) else check.em
    columns = ", ".join(fit.features[:4]) + (", ..." if len(fit.features) > 4 else "")
    if isinstance(check, MixtureFit):
        return f"Gaussian mixture of {columns}"
    return f"EM and the posterior: {columns}"
