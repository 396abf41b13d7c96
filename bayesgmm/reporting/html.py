"""HTML from Python values, with one rule: text is escaped unless it is `Html` already.

Column names, row labels and file names come from users and may hold anything; so the only way to put markup on a page
is to build it here.
"""

import base64
import html
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

__all__ = ["Html", "data_uri", "element", "join", "list_of", "paragraphs", "table", "terms"]


class Html(str):
    """Markup that needs no escaping any more; what is added to it is escaped if it is not markup."""

    __slots__ = ()

    def __add__(self, other: str) -> "Html":
        return join([self, other])


def element(tag: str, *children: Any, **attributes: str | None) -> Html:
    """Build an element; children that are not `Html` are escaped, attributes always.

    Parameters
    ----------
    tag : str
        Name of the element.
    *children : object
        Contents, joined.
    **attributes : str or None
        Attributes; None leaves one out, a trailing underscore is dropped (``class_``).

    Returns
    -------
    Html
        The element.
    """
    pairs = [
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for name, value in attributes.items() if value is not None
    ]  # fmt: skip
    opening = f"<{tag}{''.join(pairs)}>"
    return Html(opening if tag in {"img", "meta"} else f"{opening}{join(children)}</{tag}>")


def join(parts: Iterable[Any], between: str = "") -> Html:
    """Join parts to markup, escaping those that are not."""
    return Html(between.join(part if isinstance(part, Html) else html.escape(str(part)) for part in parts))


def paragraphs(*texts: Any, class_: str | None = None) -> Html:
    """Build a paragraph of each text."""
    return join(element("p", text, class_=class_) for text in texts)


def list_of(items: Iterable[Any], class_: str | None = None) -> Html:
    """Build a bulleted list; nothing where there are no items."""
    entries = [element("li", item) for item in items]
    return element("ul", *entries, class_=class_) if entries else Html("")


def terms(pairs: Mapping[str, Any]) -> Html:
    """Build a list of terms and what they are."""
    return element("dl", *(element("dt", name) + element("dd", text) for name, text in pairs.items()))


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], *, labels: Collection[int] = (0,)) -> Html:
    """Build a table that scrolls sideways where the page is narrow.

    Parameters
    ----------
    head : sequence
        Headings of the columns.
    rows : iterable of sequence
        Cells, row by row.
    labels : collection of int, default (0,)
        Positions of the columns that hold words, aligned left; the others hold numbers, aligned right.

    Returns
    -------
    Html
        The table.
    """
    kinds = ["label" if j in labels else "number" for j in range(len(head))]
    heading = join(element("th", cell, scope="col", class_=kind) for cell, kind in zip(head, kinds, strict=True))
    body = [
        join(
            element("th" if j == 0 else "td", cell, class_=kind, scope="row" if j == 0 else None)
            for j, (cell, kind) in enumerate(zip(row, kinds, strict=True))
        )
        for row in rows
    ]
    rows_below = element("tbody", *(element("tr", cells) for cells in body))
    return element("div", element("table", element("thead", element("tr", heading)), rows_below), class_="scroll")


def data_uri(png: bytes) -> str:
    """Return a PNG image as a URI that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
