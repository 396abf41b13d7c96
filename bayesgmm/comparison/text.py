"""A comparison as text for the terminal and as HTML for a notebook.

Numbers are rounded to what they can bear: a parameter to two digits of its posterior standard deviation. The full
precision stays in the DataFrames.
"""

import textwrap
from collections.abc import Mapping
from html import escape

import numpy as np
import pandas as pd

__all__ = ["notebook_html", "rounded", "rounded_parameters", "terminal_text"]

_WIDTH = 100


def rounded_parameters(table: pd.DataFrame) -> pd.DataFrame:
    """Return the parameter table as text, each row rounded to two digits of its standard deviation."""
    decimals = [_decimals(sd) for sd in table["sd"]]
    columns = {
        name: [_number(value, places) for value, places in zip(table[name], decimals, strict=True)]
        for name in ("em", "mean", "sd", "lower", "upper")
    }
    columns["quantile"] = [_number(value, 3) for value in table["quantile"]]
    columns["z"] = ["" if pd.isna(value) else f"{value:+.2f}" for value in table["z"]]
    columns["verdict"] = list(table["verdict"])
    columns["r_hat"] = [_number(value, 3) for value in table["r_hat"]]
    columns["ess_bulk"] = [_number(value, 0) for value in table["ess_bulk"]]
    return pd.DataFrame(columns, index=table.index)


def rounded(table: pd.DataFrame, decimals: Mapping[str, int]) -> pd.DataFrame:
    """Return a table as text, columns rounded to the given decimals; what does not apply is left blank."""
    columns = {
        name: [_number(value, decimals[name]) if name in decimals else str(value) for value in table[name]]
        for name in table.columns
    }
    return pd.DataFrame(columns, index=table.index)


def terminal_text(header: str, tables: Mapping[str, pd.DataFrame], notes: Mapping[str, str], verdict: str) -> str:
    """Return header, tables, notes and verdict for a terminal."""
    parts = [header]
    parts += [f"{title}\n{table.to_string(index_names=False)}" for title, table in tables.items()]
    parts += ["\n".join(textwrap.fill(f"{name}: {note}", _WIDTH) for name, note in notes.items())] if notes else []
    parts.append(textwrap.fill(verdict, _WIDTH))
    return "\n\n".join(parts)


def notebook_html(header: str, tables: Mapping[str, pd.DataFrame], notes: Mapping[str, str], verdict: str) -> str:
    """Return header, tables, notes and verdict for a notebook; everything is escaped."""
    parts = [f"<p><strong>{escape(header)}</strong></p>"]
    for title, table in tables.items():
        parts.append(f"<p>{escape(title)}</p>{table.to_html(border=0, index_names=False)}")
    parts += [f"<p><small>{escape(name)}: {escape(note)}</small></p>" for name, note in notes.items()]
    parts.append(f"<p>{escape(verdict)}</p>")
    return "\n".join(parts)


def _decimals(sd: float) -> int:
    if not (np.isfinite(sd) and sd > 0):
        return 3
    return int(np.clip(1 - np.floor(np.log10(sd)), 0, 12))


def _number(value: float, decimals: int) -> str:
    return "" if pd.isna(value) else f"{value:.{decimals}f}"
