"""A likelihood to maximise, as an estimator poses it: rows and a start in the user's units in, a mixture in them out.

Between a scikit-learn estimator and the engine (`em.maximise`) lie two differences, and they are settled here. The
engine works on standardised rows. And its `reg_covar` is in standardised units, scikit-learn's in the user's; with one
common scale for all columns the two are one number. Every start is made a mixture before EM runs: then the parameters
after ``max_iter=m`` are those of m EM steps, as in scikit-learn.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bayesgmm.data import PreparedData, Scaling
from bayesgmm.em.maximise import EMSolution, maximise
from bayesgmm.errors import DataError, FitError
from bayesgmm.mixture import Mixture, default_features
from bayesgmm.structure import CovarianceStructure

__all__ = ["Outcome", "Problem", "pose"]

Floats = NDArray[np.float64]
Progress = Callable[[int, float], None]

#: What stands for reg_covar=None: this fraction of each column's variance.
_RELATIVE_REG_COVAR = 1e-6

_ILL_DEFINED = (
    "Fitting the mixture model failed because some components have ill-defined empirical covariance (for instance "
    "caused by singleton or collapsed samples). Try to decrease the number of components, increase reg_covar, or scale "
    "the input data."
)


@dataclass(frozen=True)
class Outcome:
    """Where a run of EM ended.

    Parameters
    ----------
    mixture : Mixture
        Parameters, user's units.
    lower_bounds : list of float
        Log-likelihood per row after every iteration, user's units.
    converged : bool
        Whether nothing was left to gain.
    remaining_gain : float
        Estimate of the log-likelihood per row that was left to gain.
    degenerate : tuple of int
        Components that have collapsed.
    """

    mixture: Mixture
    lower_bounds: list[float]
    converged: bool
    remaining_gain: float
    degenerate: tuple[int, ...]

    @property
    def rank(self) -> tuple[bool, float]:
        """Sort key: sound before collapsed, then decreasing likelihood."""
        return bool(self.degenerate), -self.lower_bounds[-1]


@dataclass(frozen=True)
class Problem:
    """Rows, and what is to be fitted to them.

    Parameters
    ----------
    rows : ndarray, shape (n, D)
        Rows, user's units.
    weights : ndarray, shape (n,), or None
        Row weights, positive.
    n_components : int
        Number of components, K.
    structure : CovarianceStructure
        The structure, reduced to the dimension of the data.
    scaling : Scaling
        The change of units for the engine.
    reg_covar : float
        In the engine's units.
    """

    rows: Floats
    weights: Floats | None
    n_components: int
    structure: CovarianceStructure
    scaling: Scaling
    reg_covar: float

    @cached_property
    def standard_rows(self) -> Floats:
        """The rows in the engine's units."""
        return self.scaling.standardize(self.rows)

    def run(self, start: Mixture, *, max_iter: int, tol: float, progress: Progress | None = None) -> Outcome:
        """Run EM from a mixture in the user's units; raise DataError when it is singular from the beginning."""
        standard = self.scaling.mixture_to_standard(start)
        return self._outcome(self._maximise(start=standard, max_iter=max_iter, tol=_positive(tol), progress=progress))

    def search(
        self, n_starts: int, *, max_iter: int, tol: float, rng: np.random.Generator, progress: Progress | None = None
    ) -> Outcome:
        """Let the engine search for the best optimum; components by decreasing weight."""
        found = self._outcome(
            self._maximise(n_starts=n_starts, max_iter=max_iter, tol=_positive(tol), rng=rng, progress=progress)
        )
        return replace(found, mixture=found.mixture.sorted_by_weight())

    def mixture_of(self, start: Mixture | NDArray[Any]) -> Mixture:
        """Return the mixture, user's units, that labels (n,) or responsibilities (n, K) mean; a mixture is itself."""
        if isinstance(start, Mixture):
            return start
        return self.scaling.mixture_to_user(self._maximise(start=start, max_iter=1).mixture)

    def _maximise(self, *, max_iter: int, **settings: Any) -> EMSolution:
        try:
            solution = maximise(
                self.standard_rows, self.n_components, structure=self.structure,
                sample_weight=self.weights, reg_covar=self.reg_covar, max_iter=max_iter, **settings,
            )  # fmt: skip
        except (FitError, np.linalg.LinAlgError):
            raise DataError(_ILL_DEFINED) from None
        # A run without a single step: its first M step had no positive definite covariances. scikit-learn raises there.
        if self.reg_covar == 0.0 and solution.degenerate_components and len(solution.trace) == 1 < max_iter:
            raise DataError(_ILL_DEFINED)
        return solution

    def _outcome(self, solution: EMSolution) -> Outcome:
        total = float(len(self.rows) if self.weights is None else self.weights.sum())
        lower_bounds = (solution.trace / total + self.scaling.log_jacobian).tolist()
        mixture = self.scaling.mixture_to_user(solution.mixture)
        return Outcome(
            mixture, lower_bounds, solution.converged, solution.last_gain, solution.degenerate_components
        )  # fmt: skip


def pose(
    rows: Floats, weights: Floats | None, n_components: int, structure: CovarianceStructure, reg_covar: float | None
) -> Problem:
    """Pose the problem of fitting a mixture to rows.

    Parameters
    ----------
    rows : ndarray, shape (n, D)
        Rows, user's units.
    weights : ndarray, shape (n,), or None
        Row weights, positive.
    n_components : int
        Number of components, K.
    structure : CovarianceStructure
        The structure, reduced to the dimension of the data.
    reg_covar : float or None
        Added to the variances, user's units squared; None for 1e-6 of every column's variance.

    Returns
    -------
    Problem
        What EM runs on.
    """
    data = PreparedData(rows, default_features(rows.shape[1]), np.arange(len(rows)), weights)
    has_constant = bool(np.any(np.ptp(rows, axis=0) == 0.0))
    if reg_covar is None and not has_constant:
        return Problem(rows, weights, n_components, structure, data.scaling(structure), _RELATIVE_REG_COVAR)
    scaling = replace(data, scale="common").scaling(structure)
    if not scaling.scale[0] > 0.0:
        scaling = Scaling(scaling.shift, np.ones(rows.shape[1]))
    amount = _RELATIVE_REG_COVAR if reg_covar is None else reg_covar / float(scaling.scale[0]) ** 2
    return Problem(rows, weights, n_components, structure, scaling, amount)


def _positive(tol: float) -> float:
    """Return a tolerance that the engine takes; zero means that nothing is ever small enough."""
    return tol or float(np.finfo(np.float64).tiny)
