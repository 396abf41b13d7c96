"""How results show themselves: in a terminal a screen at most, in a notebook the same, escaped."""

from collections.abc import Sequence
from html import escape
from typing import Any

__all__ = ["Shown", "in_short", "name_some"]

_ELLIPSIS = "..."


class Shown:
    """A result whose `repr` a notebook shows as it is, whatever names the user's columns and rows have."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return f'<pre style="white-space: pre-wrap; margin: 0">{escape(repr(self))}</pre>'


def in_short(text: Any, limit: int = 49) -> str:
    """Take the middle out of a text that is longer than `limit`; at the end there is often a unit.

    Parameters
    ----------
    text : object
        What is written.
    limit : int, default 49
        Most letters.

    Returns
    -------
    str
        The text.
    """
    shown, half = str(text), (limit - len(_ELLIPSIS)) // 2
    return shown if len(shown) <= limit else f"{shown[:half]}{_ELLIPSIS}{shown[-half:]}"


def name_some(names: Sequence[str], limit: int = 8) -> str:
    """Return names with commas between them, of many the first and how many more there are.

    Parameters
    ----------
    names : sequence of str
        The names.
    limit : int, default 8
        Most that are named.

    Returns
    -------
    str
        Such as "height, width and 12 more".
    """
    shown = ", ".join(in_short(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
