"""The table and the picture of a calibration, for the page that keeps them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.sbc.calibration import APPROXIMATE, Cell, p_values
from benchmarks.sbc.ranks import QUANTITIES
from benchmarks.tables import markdown_table, number

__all__ = ["ALARM", "LEAST_REPLICATIONS", "as_numbers", "draw_pictures", "is_calibrated", "table"]

#: The smallest p-value of all quantities of all cells is held against this, divided by their number.
ALARM = 0.01
#: With fewer replications than this, nothing is concluded.
LEAST_REPLICATIONS = 50

#: Probability that a line that is right stays in the band.
ENVELOPE = 0.99

# NUTS has all structures, and so fills a row of the picture.
_IN_ORDER = ("nuts", "gibbs", "smc", "laplace", "pathfinder", "advi")
_BINS = 20
_SIMULATIONS = 2000


def as_numbers(cell: Cell) -> dict[str, Any]:
    """Return a cell as plain JSON values: the ranks as counts in twenty bins."""
    is_enough = len(cell.pit) >= LEAST_REPLICATIONS
    p = np.round(p_values(cell.pit), 5).tolist() if is_enough else []
    counts = [np.histogram(column, bins=_BINS, range=(0.0, 1.0))[0].tolist() for column in cell.pit.T]
    return {
        "structure": cell.structure,
        "engine": cell.engine,
        "replications": len(cell.pit),
        "refused": cell.n_refused,
        "draws": cell.n_draws,
        "effective_draws": float(np.median(cell.worth)) if len(cell.worth) else 0.0,
        "p_values": dict(zip(QUANTITIES, p, strict=False)),
        "counts": dict(zip(QUANTITIES, counts, strict=True)),
    }


def is_calibrated(found: dict[str, Any], n_tests: int) -> bool:
    """Whether no quantity of a cell is so far from uniform that chance is excluded."""
    return min(found["p_values"].values(), default=1.0) >= ALARM / n_tests


def table(cells: Sequence[dict[str, Any]]) -> str:
    """Return the table of all cells, and what follows from it."""
    exact = [cell for cell in cells if cell["engine"] not in APPROXIMATE and cell["p_values"]]
    n_tests = len(QUANTITIES) * len(exact)
    header = ["structure", "engine", "replications", "refused", "draws (effective)", "smallest p", "of"]
    rows = []
    for cell in cells:
        name, p = min(cell["p_values"].items(), key=lambda item: item[1], default=("too few to conclude", np.nan))
        draws = f"{cell['draws']} ({number(cell['effective_draws'])})"
        counted = [str(cell["replications"]), str(cell["refused"])]
        engine = f"{cell['engine']}, approximate" if cell["engine"] in APPROXIMATE else cell["engine"]
        rows.append([cell["structure"], engine, *counted, draws, number(p, 2), name])
    if not exact:
        return (
            f"{markdown_table(header, rows)}\n\nNo engine that claims to be exact has enough replications to conclude."
        )
    failed = [f"{cell['structure']} by {cell['engine']}" for cell in exact if not is_calibrated(cell, n_tests)]
    found = f"not calibrated: {', '.join(failed)}" if failed else "none is that small"
    return (
        f"{markdown_table(header, rows)}\n\nOf {n_tests} p-values of engines that claim to be exact, the smallest that "
        f"chance explains is {ALARM:g}/{n_tests} = {ALARM / n_tests:.1e}; {found}."
    )


def draw_pictures(cells: Sequence[Cell], folder: Path) -> list[str]:
    """Draw cells with all replications, with fewer, and with refusals, a picture each; return their Markdown."""
    enough = [cell for cell in cells if len(cell.pit) >= LEAST_REPLICATIONS]
    enough.sort(key=lambda cell: _IN_ORDER.index(cell.engine))
    most = max((len(cell.pit) for cell in enough), default=0)
    shown = {
        "calibration.png": [cell for cell in enough if not cell.n_refused and len(cell.pit) == most],
        "calibration-fewer.png": [cell for cell in enough if not cell.n_refused and len(cell.pit) < most],
        "calibration-accepted.png": [cell for cell in enough if cell.n_refused],
    }
    lines = []
    for name, chosen in shown.items():
        if chosen:
            n = _draw_picture(chosen, folder / name)
            about = f"Ranks of the truth, {n} replications in each panel"
            lines.append(f"![{about}]({folder.name}/{name})\n\n*{about}.*")
    return lines


def _draw_picture(cells: Sequence[Cell], path: Path) -> int:
    """Draw the distribution of the ranks of each cell less the uniform one; return how many replications it shows."""
    import arviz as az
    import matplotlib as mpl
    from arviz_stats.ecdf_utils import ecdf_pit

    mpl.use("Agg")
    n = min(len(cell.pit) for cell in cells)
    values = xr.Dataset(
        {cell.name: (("quantity", "draw"), cell.pit[:n].T) for cell in cells}, coords={"quantity": list(QUANTITIES)}
    )
    columns = min(5, len(cells))
    shown = az.plot_ecdf_pit(
        xr.DataTree.from_dict({"prior_sbc": values}), sample_dims="draw", cols=["__variable__"], col_wrap=columns,
        aes={"color": ["quantity"]}, aes_by_visuals={"ecdf_lines": ["color"]}, backend="matplotlib",
        visuals={"p_value_text": False, "suspicious_points": False, "xlabel": False},
        figure_kwargs={"figsize": (2.7 * columns, 2.3 * -(-len(cells) // columns))},
    )  # fmt: skip
    # Its own method="envelope" fails under the NumPy that is installed; the band is the same function's.
    x, _, lowest, highest = ecdf_pit(np.linspace(0.0, 1.0, n), ENVELOPE, _SIMULATIONS)
    figure = shown.viz["figure"].item()
    figure.subplots_adjust(hspace=0.35)
    for axes in figure.axes[: len(cells)]:
        axes.fill_between(x, lowest - x, highest - x, step="post", color="0.5", alpha=0.25, linewidth=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    return n
