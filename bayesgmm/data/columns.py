"""Columns by name: found in a table, listed in a message, refused where two have one name."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from bayesgmm.errors import ArgumentError, DataError

__all__ = ["as_text", "column_positions", "list_names", "refuse_repeated"]

# Messages list so many names, not those of thousands of columns.
_MOST_NAMED = 20


def as_text(name: Any) -> str:
    """Return a column's name as plain text; the levels of pandas' MultiIndex are joined by blanks."""
    return " ".join(map(str, name)) if isinstance(name, tuple) else str(name)


def list_names(names: Sequence[str]) -> str:
    """Return names with commas between them, the first twenty of many.

    Parameters
    ----------
    names : sequence of str
        The names.

    Returns
    -------
    str
        Such as "height, width".
    """
    more = f", ... ({len(names):,} in all)" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def refuse_repeated(names: Sequence[str]) -> None:
    """Refuse names of which two are the same.

    Parameters
    ----------
    names : sequence of str
        Names of columns.

    Raises
    ------
    DataError
        When two are the same; it names them.
    """
    repeated = _first_repeated(names)
    if repeated is not None:
        raise DataError(f"two columns are named {names[repeated]!r}; rename one of them")


def _first_repeated(values: Sequence[Any]) -> int | None:
    """Return where a value stands that has been before; None when all differ."""
    seen: set[Any] = set()
    for position, value in enumerate(values):
        if value in seen:
            return position
        seen.add(value)
    return None


def column_positions(columns: Sequence[str] | str | None, names: Sequence[str], *, has_names: bool) -> list[int]:
    """Find columns by name, and those that came without names also by number.

    Parameters
    ----------
    columns : sequence of str, or None
        What to find; None stands for all.
    names : sequence of str
        Names of the columns that there are.
    has_names : bool
        Whether these names came with the table.

    Returns
    -------
    list of int
        Positions, in the order of `columns`.

    Raises
    ------
    DataError
        When a column is not there.
    ArgumentError
        When `columns` is empty or names a column twice.
    """
    if columns is None:
        return list(range(len(names)))
    wanted = list(columns) if isinstance(columns, Iterable) and not isinstance(columns, str) else [columns]
    if not wanted:
        raise ArgumentError("columns is empty; name at least one column or leave it out")
    places = {name: position for position, name in enumerate(names)}
    found = [_position(name, places, has_names=has_names) for name in wanted]
    repeated = _first_repeated(found)
    if repeated is not None:
        first = wanted[found.index(found[repeated])]
        raise ArgumentError(f"columns names {first!r} more than once")
    return found


def _position(name: Any, places: dict[str, int], *, has_names: bool) -> int:
    if as_text(name) in places:
        return places[as_text(name)]
    if not has_names and isinstance(name, int | np.integer) and 0 <= name < len(places):
        return int(name)
    raise DataError(f"no column named {name!r}; the table has {list_names(list(places))}")
