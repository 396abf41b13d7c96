"""Numbers as text, tables as Markdown, and sections of a page that can be replaced one by one."""

import math
import re
from collections.abc import Iterable, Sequence
from statistics import median

__all__ = ["markdown_table", "number", "ratio", "replace_section", "slope"]


def slope(short: Sequence[float], long: Sequence[float], n_more: int) -> float:
    """Return the time of one iteration: the medians of long and short runs, their difference over the iterations.

    What every run pays once (checking and copying the data, the last E step of some peers) cancels.
    """
    return (median(long) - median(short)) / n_more


def ratio(peer: float, ours: float) -> float:
    """Return how many times longer the peer took; NaN where there is nothing to compare."""
    return peer / ours if ours > 0.0 and math.isfinite(peer) else math.nan


def number(value: float, digits: int = 3) -> str:
    """Write a number with so many significant digits, without an exponent where that stays short."""
    if not math.isfinite(value):
        return "-"
    if value == 0.0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if not -3 <= magnitude < 6:
        return f"{value:.{max(0, digits - 2)}e}"
    return f"{value:.{max(0, digits - 1 - magnitude)}f}"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first column to the left, the others to the right."""
    rule = [":--", *["--:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, rule, *rows])


def replace_section(page: str, name: str, text: str) -> str:
    """Return the page with the text between the marks of a section replaced; appended where there are no marks."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    section = f"{begin}\n{text.strip()}\n{end}"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", flags=re.DOTALL)
    if pattern.search(page):
        return pattern.sub(lambda _: section, page)
    return f"{page.rstrip()}\n\n{section}\n".lstrip()
