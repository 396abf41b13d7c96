"""`select`: from a user's table, numbers of components and structures to a Selection."""

from collections.abc import Iterable
from typing import Any

from numpy.typing import ArrayLike

from bayesgmm.data import prepare
from bayesgmm.errors import ArgumentError, FitError
from bayesgmm.seeding import recorded_seed
from bayesgmm.selection.advice import describe_cell
from bayesgmm.selection.grid import CRITERIA, GridSettings, fit_grid
from bayesgmm.selection.selection import Selection, check_whole
from bayesgmm.structure import STRUCTURES, CovarianceStructure, as_structure

__all__ = ["select"]


def select(
    data: Any,
    n_components: Iterable[int] | int = range(1, 10),
    *,
    structures: Iterable[str | CovarianceStructure] | str = ("full", "diag"),
    criterion: str = "bic",
    seed: Any = None,
    n_starts: int = 32,
    reg_covar: float = 0.0,
    sample_weight: ArrayLike | None = None,
    missing: str = "error",
    n_threads: int | None = None,
    bayes: bool = False,
    n_survivors: int = 3,
    progress: bool = False,
    **options: Any,
) -> Selection:
    """Choose the number of components and the covariance structure.

    Parameters
    ----------
    data : table or PreparedData
        Rows and columns; see `prepare`.
    n_components : int or iterable of int, default 1 to 9
        Numbers of components to try.
    structures : str or iterable of str, default ("full", "diag")
        Covariance structures to try, by their common names or mclust's codes; "all" stands for the fourteen.
    criterion : {"bic", "icl", "aic"}, default "bic"
        What ranks the cells; smaller is better. scikit-learn's sign: R's mclust reports minus BIC and minus ICL.
    seed : int, Generator or RandomState, optional
        Source of the starts; every cell derives its own from it. Without one a seed is drawn and kept in ``.settings``.
    n_starts : int, default 32
        Starts of a cell that comes within 20 of the best; the first round has a quarter of them.
    reg_covar : float, default 0.0
        As in `fit_em`.
    sample_weight : array_like, shape (n,), optional
        Non-negative weights of the rows.
    missing : {"error", "drop", "marginalize"}, default "error"
        As in `fit_em`.
    n_threads : int, optional
        Threads that share the cells; no influence on the result. Default: all cores.
    bayes : bool, default False
        Whether to sample the posteriors of the best cells; the same as `Selection.with_posteriors`.
    n_survivors : int, default 3
        Number of these posteriors.
    progress : bool, default False
        Whether to show on the error stream what is done and the time left; only in a terminal or a notebook.
    **options
        For `fit_bayes`: ``draws``, ``tune``, ``chains``, ``priors``, ...

    Returns
    -------
    Selection
        ``table``, ``best``, ``survivors``, ``verdict``, ``advice``; shows itself in a terminal and in a notebook.

    Raises
    ------
    DataError
        When the table cannot be used.
    ArgumentError
        When an argument is illegal.
    FitError
        When no cell of the grid could be fitted.

    Notes
    -----
    math.md, 12. Cost: one `fit_em` for each cell, on one thread each.

    References
    ----------
    Fraley & Raftery (2002), J. Am. Stat. Assoc. 97, 611-631. Biernacki, Celeux & Govaert (2000), IEEE Trans. Pattern
    Anal. Mach. Intell. 22, 719-725.

    Examples
    --------
    >>> from bayesgmm import load_dataset
    >>> selection = select(load_dataset("galaxies"), range(2, 5), structures="spherical", n_starts=8, seed=0)
    >>> selection.best.n_components, round(selection.best.bic, 2)
    (3, 442.22)
    """
    if criterion not in CRITERIA:
        raise ArgumentError(f"criterion={criterion!r} is not known; use one of {', '.join(map(repr, CRITERIA))}")
    if options and not bayes:
        raise ArgumentError(f"without bayes=True there are no posteriors to pass {', '.join(options)} on to")
    check_whole("n_survivors", n_survivors)
    check_whole("n_starts", n_starts)
    if n_threads is not None:
        check_whole("n_threads", n_threads)
    numbers = _read_numbers(n_components)
    prepared = prepare(data, sample_weight=sample_weight, missing=missing)
    chosen = _read_structures(structures, prepared.n_features)
    settings = GridSettings(recorded_seed(seed), int(n_starts), reg_covar, n_threads)
    cells = fit_grid(prepared, numbers, chosen, criterion=criterion, settings=settings, progress=progress)
    if not any(cell.is_sound for cell in cells):
        raise FitError(f"no cell could be fitted; {describe_cell(*cells[0].key)}: {cells[0].why}")
    found = Selection(prepared, cells, criterion, settings)
    return found.with_posteriors(n_survivors, progress=progress, **options) if bayes else found


def _read_numbers(n_components: Any) -> list[int]:
    if isinstance(n_components, str) or not isinstance(n_components, Iterable):
        n_components = [n_components]
    numbers = list(n_components)
    if not numbers:
        raise ArgumentError("n_components is empty; give at least one number of components")
    for number in numbers:
        check_whole("n_components", number)
    return sorted({int(number) for number in numbers})


def _read_structures(structures: Any, n_features: int) -> list[CovarianceStructure]:
    """Return the structures without repetition: in one dimension several are the same."""
    if isinstance(structures, str | CovarianceStructure):
        structures = list(STRUCTURES) if structures == "all" else [structures]
    if not isinstance(structures, Iterable):
        raise ArgumentError(f"structures={structures!r} must be names, such as ('full', 'diag'), or 'all'")
    chosen = [as_structure(structure, n_features) for structure in structures]
    if not chosen:
        raise ArgumentError("structures is empty; give at least one, or 'all'")
    return list(dict.fromkeys(chosen))
