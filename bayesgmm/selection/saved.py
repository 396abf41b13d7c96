"""A selection as one tree that can be saved, and back.

The tree is that of the best fit, with a group ``selection`` that holds all the rest: every cell of the grid, the
posteriors that were sampled, their evidence, and the posterior of the number of components. So the file is a saved fit
as well, with all that `bayesgmm.storage` does for its safety, and what reads fits finds the best one in it.

A grid has a hundred cells, each with the same variables in other sizes, and a file is slow by its variables, not by its
bytes. So the cells are stacked: one array for each variable, with a dimension ``cell`` and as long in all others as the
longest needs; how much of it belongs to a cell is in the description. The rows stand in the file once.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesgmm.errors import FileFormatError
from bayesgmm.fit import MixtureFit
from bayesgmm.selection.grid import Cell, GridSettings
from bayesgmm.selection.selection import Selection
from bayesgmm.storage import load, save
from bayesgmm.structure import as_structure

if TYPE_CHECKING:
    from bayesgmm.bayes.random_components import ComponentNumber
    from bayesgmm.selection.posteriors import Posteriors

__all__ = ["as_tree", "from_tree", "load_selection", "save_selection"]

#: Version of the layout of the group. A reader refuses a larger number.
VERSION = 1

_GROUP = "selection"
_SHARED = "observed_data"


def save_selection(selection: Selection, path: str | Path) -> Path:
    """Save a selection; see `Selection.save`."""
    return save(MixtureFit(as_tree(selection)), path)


def load_selection(path: str | Path) -> Selection:
    """Load a selection; see `Selection.load`."""
    tree = load(path).tree
    if _GROUP not in tree.children:
        raise FileFormatError(f"{str(path)!r} is a saved fit and no selection; read it with bayesgmm.load")
    version = json.loads(tree[_GROUP].attrs["description"])["version"]
    if version > VERSION:
        raise FileFormatError(
            f"{str(path)!r} has version {version} of the layout of selections; this bayesgmm reads up to {VERSION}: "
            "install a newer one"
        )
    return from_tree(tree)


# -------------------------------------------------------------------- to a tree


def as_tree(selection: Selection) -> xr.DataTree:
    """Put a selection into a tree.

    Parameters
    ----------
    selection : Selection
        The selection; PyMC models of its posteriors are left out.

    Returns
    -------
    xarray.DataTree
        The tree of the best fit, and the group ``selection``.
    """
    cells, drawn = list(selection.cells.values()), selection.drawn
    fits = [cell.fit for cell in cells if cell.fit is not None]
    description: dict[str, Any] = {
        "version": VERSION,
        "criterion": selection.criterion,
        "settings": asdict(selection.settings),
        "cells": [{"structure": cell.structure.code, "n_components": cell.n_components, "why": cell.why,
                   "fit": None if cell.fit is None else _describe(cell.fit)} for cell in cells],
    }  # fmt: skip
    groups = {name: node.to_dataset() for name, node in selection.best.tree.children.items()}
    for name in dict.fromkeys(name for fit in fits for name in _children(fit)):
        groups[f"{_GROUP}/cells/{name}"] = _stack([_children(fit).get(name) for fit in fits])
    if drawn is not None:
        for key, fit in drawn.fits.items():
            groups |= {f"{_path(key)}/{name}": part for name, part in _children(fit).items()}
        for name, found in drawn.numbers.items():
            groups |= {f"{_GROUP}/numbers/{name}/{part}": dataset for part, dataset in _number_groups(found).items()}
        description["posteriors"] = [[*key, fit.tree.attrs["bayesgmm_info"]] for key, fit in drawn.fits.items()]
        description["evidences"] = [[*key, asdict(found)] for key, found in drawn.evidences.items()]
        description["numbers"] = {name: _describe_number(found) for name, found in drawn.numbers.items()}
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = dict(selection.best.tree.attrs)
    tree[_GROUP].attrs["description"] = json.dumps(description)
    return tree


def _children(fit: MixtureFit) -> dict[str, xr.Dataset]:
    """Return the groups of a fit but for the rows, which all fits share."""
    return {name: node.to_dataset() for name, node in fit.tree.children.items() if name != _SHARED}


def _path(key: tuple[str, int]) -> str:
    return f"{_GROUP}/posteriors/{key[0]}_{key[1]}"


def _describe(fit: MixtureFit) -> dict[str, Any]:
    """Return what stacking loses: how the fit was made, and how large its groups are."""
    return {
        "info": fit.tree.attrs["bayesgmm_info"],
        "groups": {
            name: {"sizes": dict(part.sizes), "variables": list(part.data_vars)}
            for name, part in _children(fit).items()
        },
    }


def _stack(parts: Sequence[xr.Dataset | None]) -> xr.Dataset:
    """Stack datasets of the same variables in other sizes; what is beyond the size of one is not a number, or zero."""
    there = [part for part in parts if part is not None]
    longest: dict[Any, xr.Dataset] = {}
    for part in there:
        longest |= {
            dim: part for dim, size in part.sizes.items() if dim not in longest or size > longest[dim].sizes[dim]
        }
    stacked = {}
    for name in dict.fromkeys(name for part in there for name in part.data_vars):
        model = next(part[name] for part in there if name in part)
        sizes = [longest[dim].sizes[dim] for dim in model.dims]
        values = np.full((len(parts), *sizes), np.nan if model.dtype.kind == "f" else 0, dtype=model.dtype)
        for own, given in zip(values, parts, strict=True):
            if given is not None and name in given:
                own[tuple(slice(size) for size in given[name].shape)] = given[name].values
        stacked[name] = (("cell", *model.dims), values, model.attrs)
    coords = {dim: part.coords[dim].variable for dim, part in longest.items() if dim in part.coords}
    return xr.Dataset(stacked, coords=coords, attrs=there[0].attrs)


def _describe_number(found: "ComponentNumber") -> dict[str, Any]:
    belief = asdict(found.belief)
    return {
        "belief": belief | {"probabilities": np.asarray(belief["probabilities"]).tolist()},
        "structure": found.structure.code,
        "columns": list(found.table.columns),
        "diagnostics": dict(found.diagnostics),
        "settings": dict(found.settings),
    }


def _number_groups(found: "ComponentNumber") -> dict[str, xr.Dataset]:
    return {
        "table": xr.Dataset.from_dataframe(found.table),
        "draws": found.draws,
        "allocations": found.allocations.to_dataset(name="allocations"),
    }


# -------------------------------------------------------------------- and back


def from_tree(tree: xr.DataTree) -> Selection:
    """Read what `as_tree` made.

    Parameters
    ----------
    tree : xarray.DataTree
        The tree, in memory.

    Returns
    -------
    Selection
        The selection.
    """
    description = json.loads(tree[_GROUP].attrs["description"])
    rows = tree[_SHARED].to_dataset()
    stacked = {name: node.to_dataset() for name, node in tree[f"{_GROUP}/cells"].children.items()}
    cells, position = [], 0
    for said in description["cells"]:
        fit = None
        if said["fit"] is not None:
            groups = {name: _part(stacked[name], position, own) for name, own in said["fit"]["groups"].items()}
            fit, position = _fit(groups, rows, said["fit"]["info"]), position + 1
        cells.append(Cell(as_structure(said["structure"]), said["n_components"], fit, said["why"]))
    prepared = next(cell.fit for cell in cells if cell.fit is not None).prepared
    settings = GridSettings(**description["settings"])
    return Selection(prepared, cells, description["criterion"], settings, _drawn(tree, description, rows))


def _part(stacked: xr.Dataset, position: int, said: Mapping[str, Any]) -> xr.Dataset:
    """Return what belongs to one fit."""
    own = stacked.drop_vars([name for name in stacked.data_vars if name not in said["variables"]]).isel(cell=position)
    own = own.drop_dims([dim for dim in own.dims if dim not in said["sizes"]])
    return own.isel({dim: slice(size) for dim, size in said["sizes"].items()})


def _fit(groups: Mapping[str, xr.Dataset], rows: xr.Dataset, info: str) -> MixtureFit:
    tree = xr.DataTree.from_dict({**groups, _SHARED: rows})
    tree.attrs["bayesgmm_info"] = info
    return MixtureFit(tree)


def _drawn(tree: xr.DataTree, description: Mapping[str, Any], rows: xr.Dataset) -> "Posteriors | None":
    if "posteriors" not in description:
        return None
    from bayesgmm.bayes.evidence import Evidence
    from bayesgmm.selection.posteriors import Posteriors

    fits = {}
    for code, k, info in description["posteriors"]:
        groups = {name: node.to_dataset() for name, node in tree[_path((code, k))].children.items()}
        fits[code, k] = _fit(groups, rows, info)
    numbers = tree[f"{_GROUP}/numbers"].children if description["numbers"] else {}
    return Posteriors(
        fits,
        {(code, k): Evidence(**found) for code, k, found in description["evidences"]},
        {name: _number(numbers[name], said) for name, said in description["numbers"].items()},
    )


def _number(node: xr.DataTree, said: Mapping[str, Any]) -> "ComponentNumber":
    from bayesgmm.bayes.number_priors import NumberBelief
    from bayesgmm.bayes.random_components import ComponentNumber

    belief = NumberBelief(**said["belief"] | {"probabilities": np.asarray(said["belief"]["probabilities"])})
    # A store gives variables back in an order of its own.
    table: pd.DataFrame = node["table"].to_dataset().to_dataframe()[said["columns"]]
    return ComponentNumber(
        belief, as_structure(said["structure"]), table, node["draws"].to_dataset(),
        node["allocations"].to_dataset()["allocations"], said["diagnostics"], said["settings"],
    )  # fmt: skip
