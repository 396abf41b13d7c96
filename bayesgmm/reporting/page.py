"""One HTML file that says all about a comparison, a fit or a selection: verdict, tables, pictures, how it was made.

The file needs no other file and no network: styles are inside, pictures are data URIs. It is written whole or not at
all. The same page can be had as Markdown, with its pictures in a folder beside.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from bayesgmm.errors import ArgumentError
from bayesgmm.fit import MixtureFit
from bayesgmm.reporting.markdown import write_markdown
from bayesgmm.storage import as_path, replacing

if TYPE_CHECKING:
    from bayesgmm.comparison import Comparison
    from bayesgmm.selection import Selection

__all__ = ["report"]

# Columns, and letters of their names, in a heading.
_MOST_NAMED, _LONGEST = 4, 80


def report(
    check: "Comparison | MixtureFit | Selection",
    path: str | Path,
    *,
    title: str | None = None,
    source: str | None = None,
    command: str | None = None,
    progress: bool = False,
) -> Path:
    """Write a page about a comparison, a fit or a selection.

    Parameters
    ----------
    check : Comparison, MixtureFit or Selection
        What the page is about.
    path : str or Path
        The file to write, ``.html`` or ``.md``; one that is there already is replaced. Beside ``name.md`` the pictures
        lie in the folder ``name_files``.
    title : str, optional
        The heading. Default says what the page is about.
    source : str, optional
        Where the data came from, in words; a fit does not know.
    command : str, optional
        The command that makes the page again, where there is one.
    progress : bool, default False
        Whether to show on the error stream how many pictures are drawn and the time left; only where somebody can see
        it, in a terminal or a notebook.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    ArgumentError
        When `check` is something else, `path` is no path, or the name has another ending.
    OSError
        When the file cannot be written.
    """
    # Pictures load matplotlib; a summary, which lives in this room too, does without.
    from bayesgmm.comparison import Comparison
    from bayesgmm.reporting.sections import page
    from bayesgmm.selection import Selection

    target = as_path(path)
    if target.suffix.lower() not in (".html", ".htm", ".md"):
        raise ArgumentError(f"a report ends in .html or .md; {str(target)!r} does not")
    if isinstance(check, Comparison):
        from bayesgmm.reporting.comparison_page import comparison_sections

        sections, under = comparison_sections(check, source, command, progress=progress), check.header
    elif isinstance(check, MixtureFit):
        from bayesgmm.reporting.fit_page import fit_sections

        sections, under = fit_sections(check, source, command, progress=progress), check.summary().header[0]
    elif isinstance(check, Selection):
        from bayesgmm.reporting.selection_page import selection_sections

        sections, under = selection_sections(check, source, command, progress=progress), check.header
    else:
        raise ArgumentError(f"a report is about a comparison, a fit or a selection, not {type(check).__name__}")
    text = page(title or _title(check), under, sections)
    if target.suffix.lower() == ".md":
        return write_markdown(text, target)
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return target


def _title(check: "Comparison | MixtureFit | Selection") -> str:
    if isinstance(check, MixtureFit):
        return f"Gaussian mixture of {_columns(check.features)}"
    from bayesgmm.selection import Selection

    if isinstance(check, Selection):
        return f"How many components: {_columns(check.prepared.features)}"
    return f"EM and the posterior: {_columns(check.em.features)}"


def _columns(names: tuple[str, ...]) -> str:
    """Name the columns as far as they fit into a heading, at least the first."""
    fitting = [j for j in range(1, len(names) + 1) if len(", ".join(names[:j])) <= _LONGEST] or [1]
    shown = ", ".join(names[: min(fitting[-1], _MOST_NAMED)])
    return shown + (", ..." if shown != ", ".join(names) else "")
