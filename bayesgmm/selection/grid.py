"""The grid of EM fits: every covariance structure with every number of components, on the same prepared rows.

Every cell is one `fit_em` on one thread, with a seed that depends on its structure and number of components and on
nothing else of the grid. All cells are first searched with few starts; those that come near the best one are searched
again with many. Measured on iris, Old Faithful, galaxies and acidity, 8 starts everywhere take a third of the time that
32 take, and differ from them mostly in cells that no criterion would choose.

The cells check each other: a mixture whose parameters are a special case of another's cannot have the higher
likelihood. Where it has, the search of the larger one has missed its maximum, and it is fitted again from the smaller
one's solution. What cannot be fitted is no error here; the cell says why.
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesgmm.data import PreparedData
from bayesgmm.em.bootstrap import in_parallel
from bayesgmm.em.fit import fit_em
from bayesgmm.errors import ConvergenceWarning, DataError, DegenerateFitWarning, FitError
from bayesgmm.fit import MixtureFit
from bayesgmm.seeding import recorded_seed
from bayesgmm.structure import STRUCTURES, CovarianceStructure

__all__ = ["CRITERIA", "Cell", "GridSettings", "fit_grid"]

#: The criteria that can rank a grid; smaller is better for each.
CRITERIA = ("bic", "icl", "aic")

# The first round has this share of the starts, and cells within so much of the best criterion get them all.
_SCOUTING_SHARE = 0.25
_CONTENDING = 20.0
# A simpler mixture may not fit better than by this much, in log-likelihood.
_ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class Cell:
    """One covariance structure with one number of components.

    Parameters
    ----------
    structure : CovarianceStructure
        The structure.
    n_components : int
        Number of components, K.
    fit : MixtureFit or None
        The estimate; None where there is none.
    why : str
        Why the estimate is not to be ranked; empty where it is sound.
    """

    structure: CovarianceStructure
    n_components: int
    fit: MixtureFit | None
    why: str = ""

    @property
    def key(self) -> tuple[str, int]:
        """Code of the structure, and number of components."""
        return self.structure.code, self.n_components

    @property
    def is_sound(self) -> bool:
        """Whether the estimate may be ranked."""
        return not self.why

    @property
    def height(self) -> float:
        """Log-likelihood of a sound estimate, user's units; minus infinity of any other."""
        return float(self.fit.log_likelihood) if self.fit is not None and self.is_sound else -np.inf

    @cached_property
    def criteria(self) -> dict[str, float]:
        """The criteria by name (math.md, 2.4); NaN where there is no estimate."""
        if self.fit is None:
            return dict.fromkeys(CRITERIA, np.nan)
        return {name: float(getattr(self.fit, name)) for name in CRITERIA}


@dataclass(frozen=True)
class GridSettings:
    """How the cells are fitted.

    Parameters
    ----------
    seed : int
        The seed that every cell derives its own from.
    n_starts : int
        Number of starts of the cells that come near the best.
    reg_covar : float
        As in `fit_em`.
    n_threads : int or None
        Threads that share the cells.
    """

    seed: int
    n_starts: int
    reg_covar: float
    n_threads: int | None


def fit_grid(
    prepared: PreparedData,
    n_components: Sequence[int],
    structures: Sequence[CovarianceStructure],
    *,
    criterion: str,
    settings: GridSettings,
    progress: bool = False,
) -> tuple[Cell, ...]:
    """Fit every structure with every number of components by EM (math.md, 12.1).

    Parameters
    ----------
    prepared : PreparedData
        The rows.
    n_components : sequence of int
        Numbers of components, increasing.
    structures : sequence of CovarianceStructure
        The structures, reduced to the dimension of the data.
    criterion : {"bic", "icl", "aic"}
        The criterion that decides which cells are searched thoroughly.
    settings : GridSettings
        Seed, starts, threads.
    progress : bool, default False
        Whether to show how many cells are fitted.

    Returns
    -------
    tuple of Cell
        One for each structure and number of components, sound or not.
    """
    few = max(1, round(_SCOUTING_SHARE * settings.n_starts))
    keys = [(structure, k) for structure in structures for k in n_components]
    with warnings.catch_warnings():
        # The cells say themselves what is wrong with them.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", DegenerateFitWarning)
        cells = _searched(prepared, keys, few, settings, progress=progress)
        cells = _consistent(prepared, cells, settings)
        contenders = [(cell.structure, cell.n_components) for cell in _contending(cells.values(), criterion)]
        if settings.n_starts > few:
            for key, cell in _searched(prepared, contenders, settings.n_starts, settings, progress=progress).items():
                cells[key] = max(cells[key], cell, key=lambda one: one.height)
            cells = _consistent(prepared, cells, settings)
    return tuple(cells.values())


type _Cells = dict[tuple[str, int], Cell]


def _searched(
    prepared: PreparedData,
    keys: Iterable[tuple[CovarianceStructure, int]],
    n_starts: int,
    settings: GridSettings,
    *,
    progress: bool,
) -> _Cells:
    def work(key: tuple[CovarianceStructure, int]) -> Cell:
        seed = _cell_seed(settings.seed, *key)
        return _fitted(prepared, *key, seed=seed, n_starts=n_starts, reg_covar=settings.reg_covar)

    what = "cells, few starts" if n_starts < settings.n_starts else "cells"
    cells = in_parallel(work, list(keys), n_threads=settings.n_threads, progress=progress, what=what)
    return {cell.key: cell for cell in cells}


def _cell_seed(seed: int, structure: CovarianceStructure, k: int) -> int:
    """Return a cell's own seed, which the rest of the grid has no part in."""
    return recorded_seed(np.random.SeedSequence(seed, spawn_key=(list(STRUCTURES).index(structure.code), k)))


def _fitted(prepared: PreparedData, structure: CovarianceStructure, k: int, **options: Any) -> Cell:
    """Fit one cell; its criteria are computed here, on the thread that fits."""
    try:
        fit = fit_em(prepared, k, structure=structure, n_threads=1, **options)
    except (FitError, DataError) as error:
        return Cell(structure, k, None, str(error))
    cell = Cell(structure, k, fit, _unsound(fit))
    _ = cell.criteria
    return cell


def _unsound(fit: MixtureFit) -> str:
    """Say why an estimate is no maximum of the likelihood; nothing where it is one."""
    collapsed = fit.info.diagnostics["degenerate_components"]
    if collapsed:
        return f"component{'s' if len(collapsed) > 1 else ''} {', '.join(map(str, collapsed))} collapsed on a few rows"
    if not fit.info.diagnostics["converged"]:
        return f"EM stopped after {fit.info.diagnostics['iterations']} passes before it had converged"
    return ""


def _contending(cells: Iterable[Cell], criterion: str) -> list[Cell]:
    sound = [cell for cell in cells if cell.is_sound]
    limit = min((cell.criteria[criterion] for cell in sound), default=np.inf) + _CONTENDING
    return [cell for cell in sound if cell.criteria[criterion] <= limit]


# -------------------------------------------------------------------- cells that check each other


def _consistent(prepared: PreparedData, cells: _Cells, settings: GridSettings) -> _Cells:
    """Fit a cell again from a simpler one that fits better; where that does not help either, the cell says so."""
    checked: _Cells = {}
    for key in sorted(cells, key=lambda one: (one[1], _complexity(cells[one].structure))):
        cell = cells[key]
        cell = replace(cell, why="") if cell.fit is not None and not _unsound(cell.fit) else cell
        for simpler in _simpler(cell, checked.values()):
            if simpler.height > cell.height + _ROUNDING:
                refits = _refits(prepared, cell, simpler, settings)
                cell = max([cell, *refits], key=lambda one: one.height)
            if cell.is_sound and simpler.height > cell.height + _ROUNDING:
                gap = simpler.height - cell.height
                shape = f"{simpler.structure} with {simpler.n_components} components"
                cell = replace(cell, why=f"not the maximum: {shape} fits better by {gap:.2g} in log-likelihood")
        checked[key] = cell
    return {key: checked[key] for key in cells}


def _complexity(structure: CovarianceStructure) -> int:
    return sum("IEV".index(letter) for letter in structure.code)


def _is_nested(inner: CovarianceStructure, outer: CovarianceStructure) -> bool:
    """Whether every mixture of one structure is one of the other: letter by letter, I within E within V."""
    return all("IEV".index(a) <= "IEV".index(b) for a, b in zip(inner.code, outer.code, strict=True))


def _simpler(cell: Cell, done: Iterable[Cell]) -> list[Cell]:
    """Return what a cell must not fall behind: the best structure inside it, and one component less."""
    inside, fewer = [], []
    for other in done:
        if other.n_components == cell.n_components and _is_nested(other.structure, cell.structure):
            inside.append(other)
        if other.n_components == cell.n_components - 1 and other.structure == cell.structure:
            fewer.append(other)
    return [max(group, key=lambda one: one.height) for group in (inside, fewer) if group]


def _refits(prepared: PreparedData, cell: Cell, simpler: Cell, settings: GridSettings) -> list[Cell]:
    """Fit a cell from a simpler solution: as it is, or with each of its components in turn cut in two."""
    if simpler.fit is None:
        return []
    starts: list[Any] = [simpler.fit]
    if simpler.n_components < cell.n_components:
        starts = [_cut_in_two(simpler.fit, component) for component in range(simpler.n_components)]
    options = {"seed": _cell_seed(settings.seed, cell.structure, cell.n_components), "reg_covar": settings.reg_covar}
    return [_fitted(prepared, cell.structure, cell.n_components, start=start, **options) for start in starts]


def _cut_in_two(fit: MixtureFit, component: int) -> NDArray[np.float64]:
    """Return the responsibilities of a fit with one component's rows cut in two across its longest axis."""
    rows = fit.scaling.standardize(fit.prepared.values)
    mixture = fit.scaling.mixture_to_standard(fit.mixture)
    axis = np.linalg.eigh(mixture.covariances[component])[1][:, -1]
    is_beyond = np.nan_to_num(rows - mixture.means[component]) @ axis > 0.0
    shares = fit.responsibilities()
    apart = np.where(is_beyond, shares[:, component], 0.0)
    shares[:, component] -= apart
    return np.column_stack([shares, apart])
