"""A comparison as text for the terminal and as HTML for a notebook.

Numbers are rounded to what they can bear: a parameter to two digits of its posterior standard deviation. The full
precision stays in the DataFrames.
"""

import textwrap
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd

__all__ = ["notebook_html", "rounded", "rounded_parameters", "terminal_text"]

_WIDTH = 100


def rounded_parameters(table: pd.DataFrame) -> pd.DataFrame:
    """Return the parameter table as text, each row rounded to two digits of its standard deviation."""
    decimals = [_decimals(sd) for sd in table["sd"]]
    columns = {
        name: [f"{value:.{places}f}" for value, places in zip(table[name], decimals, strict=True)]
        for name in ("em", "mean", "sd", "lower", "upper")
    }
    columns["quantile"] = [f"{value:.3f}" for value in table["quantile"]]
    columns["z"] = [f"{value:+.2f}" for value in table["z"]]
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


def terminal_text(header: str, tables: Mapping[str, pd.DataFrame], verdict: str, advice: Sequence[str]) -> str:
    """Return header, tables, verdict and advice for a terminal."""
    parts = [header]
    parts += [f"{title}\n{table.to_string(index_names=False)}" for title, table in tables.items()]
    parts.append(textwrap.fill(verdict, _WIDTH))
    parts += [textwrap.fill(f"Advice: {line}", _WIDTH) for line in advice]
    return "\n\n".join(parts)


def notebook_html(header: str, tables: Mapping[str, pd.DataFrame], verdict: str, advice: Sequence[str]) -> str:
    """Return header, tables, verdict and advice for a notebook; everything is escaped."""
    parts = [f"<p><strong>{escape(header)}</strong></p>"]
    for title, table in tables.items():
        parts.append(f"<p>{escape(title)}</p>{table.to_html(border=0, index_names=False)}")
    parts.append(f"<p>{escape(verdict)}</p>")
    parts += [f"<p><em>Advice: {escape(line)}</em></p>" for line in advice]
    return "\n".join(parts)


def _decimals(sd: float) -> int:
    if not (np.isfinite(sd) and sd > 0):
        return 3
    return int(np.clip(1 - np.floor(np.log10(sd)), 0, 12))


def _number(value: float, decimals: int) -> str:
    return "" if pd.isna(value) else f"{value:.{decimals}f}"
