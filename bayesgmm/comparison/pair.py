"""`compare`: from fits to what they say of each other; two that belong together, or several side by side."""

from typing import Any, overload

import numpy as np

from bayesgmm.comparison.comparison import Comparison
from bayesgmm.comparison.components import DISTANCES
from bayesgmm.comparison.several import FitTable, check_same_rows, tabulate
from bayesgmm.errors import ArgumentError, ComparisonError
from bayesgmm.fit import MixtureFit, check_fit
from bayesgmm.posterior.checks import check_prob
from bayesgmm.seeding import recorded_seed

__all__ = ["compare"]


@overload
def compare(  # numpydoc ignore=GL08
    em: MixtureFit, bayes: MixtureFit, *, ci_prob: float | None = None, ci_kind: str | None = None,
    distance: str = "hellinger", n_boot: int = 0, seed: int = 0, progress: bool = False,
) -> Comparison: ...  # fmt: skip


@overload
def compare(  # numpydoc ignore=GL08
    em: MixtureFit, bayes: MixtureFit, third: MixtureFit, /, *others: MixtureFit, ci_prob: float | None = None,
    ci_kind: str | None = None, distance: str = "hellinger", n_boot: int = 0, seed: int = 0, progress: bool = False,
) -> FitTable: ...  # fmt: skip


def compare(
    em: MixtureFit,
    bayes: MixtureFit,
    *others: MixtureFit,
    ci_prob: float | None = None,
    ci_kind: str | None = None,
    distance: str = "hellinger",
    n_boot: int = 0,
    seed: int = 0,
    progress: bool = False,
) -> Comparison | FitTable:
    """Compare a maximum-likelihood estimate with a posterior of the same mixture, or put several fits side by side.

    Parameters
    ----------
    em : MixtureFit
        A point estimate, from `fit_em` or `fit_kmeans`.
    bayes : MixtureFit
        Draws, from `fit_bayes`, of the same rows and columns with the same number of components and structure.
    *others : MixtureFit
        With three or more fits, of any kind, number of components and structure, of the same rows and columns, a table
        of all of them is returned instead.
    ci_prob : float, optional
        Probability of the intervals. Default ``az.rcParams["stats.ci_prob"]``.
    ci_kind : {"eti", "hdi"}, optional
        Kind of the parameters' intervals. Default ``az.rcParams["stats.ci_kind"]``.
    distance : {"hellinger", "wasserstein"}, default "hellinger"
        What matches the estimate's components with the posterior's.
    n_boot : int, default 0
        Replicates for bootstrap standard errors beside the others; 0 leaves them out, 199 take seconds.
    seed : int, default 0
        Of everything that is drawn on the way: points, allocations, replicates.
    progress : bool, default False
        Whether to show on the error stream what is done and the time left; only in a terminal or a notebook.
        Of two fits, tables are computed when they are first asked for, and progress is shown then.

    Returns
    -------
    Comparison or FitTable
        Of two fits a `Comparison`: tables ``components``, ``parameters``, ``errors``, ``joint``, ``pull``, ``density``,
        ``memberships``, ``partition``, ``prediction``, ``optimum``; ``findings``, ``verdict``, ``advice``, ``tree``.

    Raises
    ------
    ComparisonError
        When the fits do not describe the same rows and columns, or, of two, the same components and structure.
    ArgumentError
        When one of them is not what it should be, or an argument is illegal.

    Notes
    -----
    What each level says is math.md, 8; the rules of the verdict are 8.11.

    Examples
    --------
    >>> import bayesgmm as bg
    >>> table = bg.load_dataset("faithful")
    >>> em = bg.fit_em(table, 2, seed=0)
    >>> post = bg.fit_bayes(table, 2, seed=0, em=em)  # doctest: +SKIP
    >>> bg.compare(em, post)  # doctest: +SKIP
    """
    import arviz as az

    prob = check_prob(az.rcParams["stats.ci_prob"] if ci_prob is None else ci_prob, "ci_prob")
    kind = az.rcParams["stats.ci_kind"] if ci_kind is None else ci_kind
    if kind not in ("eti", "hdi"):
        raise ArgumentError(f"ci_kind={kind!r} must be 'eti' or 'hdi'")
    if distance not in DISTANCES:
        raise ArgumentError(f"distance={distance!r} must be one of {', '.join(map(repr, DISTANCES))}")
    if isinstance(n_boot, bool) or not isinstance(n_boot, int | np.integer) or n_boot < 0 or n_boot == 1:
        raise ArgumentError(f"n_boot={n_boot!r} must be 0, for no bootstrap, or a whole number from 2")
    if others:
        return tabulate(em, bayes, *others, progress=progress)
    _check_pair(em, bayes)
    return Comparison(
        em, bayes, prob, kind, distance=distance, n_boot=int(n_boot), seed=recorded_seed(seed), progress=progress
    )


def _check_pair(em: Any, bayes: Any) -> None:
    for name, fit, drawn in (("em", em, False), ("bayes", bayes, True)):
        check_fit(fit, name)
        if fit.has_draws != drawn:
            expected = "draws, from fit_bayes" if drawn else "a point estimate, from fit_em"
            raise ArgumentError(
                f"{name}={fit!r} must be {expected}; three or more fits of any kind are put side by side"
            )
        fit.check_holds_all_rows("a comparison")
    for what, one, other in (
        ("columns", em.features, bayes.features),
        ("number of components", em.n_components, bayes.n_components),
        ("structure", str(em.structure), str(bayes.structure)),
    ):
        if one != other:
            raise ComparisonError(f"the fits differ in their {what}: {one} and {other}")
    check_same_rows(em, bayes)
