"""A comparison as an ArviZ-like DataTree: every table a group, every number with its name."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
import xarray as xr

__all__ = ["as_tree"]


def as_tree(tables: Mapping[str, pd.DataFrame], attributes: Mapping[str, Any]) -> xr.DataTree:
    """Put tables into a tree that can be saved.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        The tables by the name of their group; the name of an index becomes a dimension.
    attributes : mapping of str to object
        Strings and numbers for the root.

    Returns
    -------
    xarray.DataTree
        One group for each table.
    """
    tree = xr.DataTree.from_dict({f"/{name}": _as_dataset(table) for name, table in tables.items()})
    tree.attrs.update(attributes)
    return tree


def _as_dataset(table: pd.DataFrame) -> xr.Dataset:
    """Convert a table; words become strings, and what can be missing a float, since files know nothing else."""
    plain: dict[Hashable, Any] = {}
    for name, column in table.items():
        if pd.api.types.is_bool_dtype(column) and not column.isna().any():
            plain[name] = column.astype(bool)
        elif pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
            plain[name] = column.astype(float) if column.isna().any() or column.dtype.kind not in "iuf" else column
        else:
            plain[name] = column.fillna("").astype(str).astype(object)
    dimension = "entry" if table.index.name is None else str(table.index.name)
    index = table.index if table.index.dtype.kind in "iuf" else table.index.astype(str).astype(object)
    return xr.Dataset({str(name): (dimension, column.to_numpy()) for name, column in plain.items()}, {dimension: index})
