"""`GaussianMixture`: scikit-learn's estimator over the maximum likelihood engine.

Same constructor, attributes, methods and shapes, so that code written for `sklearn.mixture.GaussianMixture` runs as it
is: the same start for the same ``random_state``, components in the order of the start, parameters that are only
attributes (so an instance may be filled in or reordered by hand). What differs is the engine. It takes row weights and
all fourteen covariance structures, stops on an estimate of all that is left to gain, and keeps its digits at any
offset and unit.
"""

import warnings
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import exceptions as sklearn_exceptions
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from bayesgmm import errors
from bayesgmm.em.rows import merge_repeated
from bayesgmm.errors import DataError, DegenerateFitWarning
from bayesgmm.estimators.base import MixtureEstimator
from bayesgmm.estimators.covariances import (
    check_means,
    check_precisions,
    check_weights,
    dense,
    dense_covariances_of,
    laid_out,
    precision_cholesky,
    precisions_of,
)
from bayesgmm.estimators.problem import Outcome, Problem, pose
from bayesgmm.estimators.starts import RECIPES, draw_start
from bayesgmm.estimators.verbose import Narrator
from bayesgmm.mixture import Mixture
from bayesgmm.seeding import as_generator
from bayesgmm.structure import STRUCTURES, CovarianceStructure, as_structure

__all__ = ["ConvergenceWarning", "GaussianMixture"]

Floats = NDArray[np.float64]

_STARTS_OF_A_SEARCH = 32


class ConvergenceWarning(errors.ConvergenceWarning, sklearn_exceptions.ConvergenceWarning):
    """EM stopped before it converged: the package's warning and scikit-learn's, so that filters for either catch it."""


class GaussianMixture(MixtureEstimator):
    """Gaussian mixture fitted by EM, with scikit-learn's interface.

    Parameters
    ----------
    n_components : int, default 1
        Number of components, K.
    covariance_type : {"full", "tied", "diag", "spherical"} or code, default "full"
        The covariance structure: scikit-learn's four, or one of mclust's codes ("VVV", "EEE", "VEV", ...).
    tol : float, default 1e-3
        Converged when the estimate of what is left to gain, in log-likelihood per row, is below it. scikit-learn
        compares the gain of the last step, which says little about what is left; so this stops later, and closer to
        the maximum.
    reg_covar : float or None, default None
        Added to the variances. A number is in the user's units squared, as in scikit-learn, for a component that holds
        its even share of the rows; one with fewer rows gets more, in proportion. None stands for 1e-6 of the variance
        of each column (of their mean for structures that compare columns, such as "spherical"), so that a fit does not
        depend on the units; scikit-learn's default is the number 1e-6.
    max_iter : int, default 100
        Largest number of passes over the data, a rejected step of the acceleration included. 0 returns the start.
    n_init : int, default 1
        Number of starts, each run to the end; the best is kept.
    init_params : {"kmeans", "k-means++", "random", "random_from_data", "search"}, default "kmeans"
        Where EM starts. The first four are scikit-learn's, drawn as it draws them. "search" leaves it to `fit_em`'s own
        search, `n_init` times 32 starts of which the better ones are followed: slower, and far more often the best
        optimum that there is. Only "search" starts at the same place whatever the order of the rows, and whether a row
        occurs twice or has weight two; the others draw rows by where they stand.
    weights_init : array_like of shape (n_components,), optional
        Weights to start from, in place of those of `init_params`.
    means_init : array_like of shape (n_components, n_features), optional
        Means to start from, user's units.
    precisions_init : array_like, optional
        Inverse covariances to start from, user's units, in the shape of ``precisions_``.
    random_state : int, RandomState, Generator or None, default None
        Source of the starts and of `sample`. None is NumPy's global state.
    warm_start : bool, default False
        Whether a second `fit` continues from the first one's parameters.
    verbose : int, default 0
        1 prints starts and iterations, 2 what they gain too.
    verbose_interval : int, default 10
        Number of passes between two lines.

    Attributes
    ----------
    weights_ : ndarray, shape (n_components,)
        Weights of the components, in the order of the start.
    means_ : ndarray, shape (n_components, n_features)
        Means, user's units.
    covariances_, precisions_, precisions_cholesky_ : ndarray
        Covariances, their inverses, and factors U with U U' the inverse: (n_components,) for "spherical", (n_features,
        n_features) for "tied", (n_components, n_features) for "diag", (n_components, n_features, n_features) for "full"
        and for all of mclust's codes. User's units, always float64.
    converged_ : bool
        Whether the best run converged.
    n_iter_ : int
        Number of its iterations.
    lower_bound_ : float
        Log-likelihood per row at its end, user's units; minus infinity without an iteration.
    lower_bounds_ : list of float, length ``n_iter_``
        Log-likelihood per row after every iteration. (scikit-learn's are those before it.)
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str
        Names of the columns, where they have some.

    See Also
    --------
    bayesgmm.fit_em : The fit itself, with standard errors and all optima; takes ``start=estimator.mixture_``.

    Notes
    -----
    One change of unit for all columns changes no fit, as long as `reg_covar` is None. With a unit for each column the
    starts differ, since distances do, except those of "search"; the likelihood of a "full", "tied" or "diag" mixture
    has the same optima.

    Examples
    --------
    >>> X = [[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]]
    >>> mixture = GaussianMixture(n_components=2, random_state=0).fit(X)
    >>> mixture.means_.round(3)
    array([[10.,  2.],
           [ 1.,  2.]])
    >>> mixture.predict([[0, 0], [12, 3]])
    array([1, 0])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "covariance_type": [StrOptions({"full", "tied", "diag", "spherical", "E", "V", *STRUCTURES})],
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "reg_covar": [Interval(Real, 0.0, None, closed="left"), None],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "init_params": [StrOptions({*RECIPES, "search"})],
        "weights_init": ["array-like", None],
        "means_init": ["array-like", None],
        "precisions_init": ["array-like", None],
        "random_state": ["random_state", np.random.Generator],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "verbose_interval": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: float | None = None,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        weights_init: ArrayLike | None = None,
        means_init: ArrayLike | None = None,
        precisions_init: ArrayLike | None = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval

    def fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the mixture by EM.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Rows, user's units.
        y : Ignored
            Not used; scikit-learn's interface has it.
        sample_weight : array_like of shape (n_samples,), optional
            Non-negative weights of the rows: 2 stands for a row that occurs twice, 0 for one that is not there.

        Returns
        -------
        GaussianMixture
            The estimator itself.

        Raises
        ------
        ArgumentError
            When a parameter is illegal.
        DataError
            When the rows leave a covariance undefined.

        Warns
        -----
        ConvergenceWarning
            When the best run stopped at `max_iter`.
        DegenerateFitWarning
            When every run ended in a component that has collapsed on a few rows.
        """
        self._validate_params()
        rows, weights = self._training_rows(X, sample_weight)
        if len(rows) < self.n_components:
            raise DataError(
                "Expected n_samples >= n_components but got "
                f"n_components = {self.n_components}, n_samples = {len(rows)}"
            )
        if self._is_search():
            merged = merge_repeated(rows, weights)
            rows, weights = merged if len(merged[0]) >= self.n_components else (rows, weights)
        structure = self._structure(rows.shape[1])
        problem = pose(rows, weights, self.n_components, structure, self.reg_covar)
        last_bound = self.lower_bound_ if self._is_continued() else None
        if self.max_iter == 0:
            self._keep(self._start(problem, self._generator()), [], converged=False)
            return self
        best = self._best_run(problem)
        # A continued run of one or two passes is too short for the engine's own estimate of what is left to gain.
        stands = last_bound is not None and abs(best.lower_bounds[-1] - last_bound) < self.tol
        self._keep(best.mixture, best.lower_bounds, converged=best.converged or (stands and not best.degenerate))
        self._warn(best)
        return self

    def bic(self, X: ArrayLike) -> float:
        """Compute the Bayesian information criterion on rows; smaller is better (math.md, 2.4).

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Rows, user's units.

        Returns
        -------
        float
            -2 log L + p log n.
        """
        scores = self.score_samples(X)
        return float(-2.0 * scores.sum() + self._n_parameters() * np.log(len(scores)))

    def aic(self, X: ArrayLike) -> float:
        """Compute Akaike's information criterion on rows; smaller is better (math.md, 2.4).

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Rows, user's units.

        Returns
        -------
        float
            -2 log L + 2 p.
        """
        return float(-2.0 * self.score_samples(X).sum() + 2.0 * self._n_parameters())

    @property
    def mixture_(self) -> Mixture:
        """The fitted parameters as a `Mixture`, user's units."""
        check_is_fitted(self)
        return self._fitted_mixture()

    # ---------------------------------------------------------------- starts and runs

    def _structure(self, n_features: int) -> CovarianceStructure:
        return as_structure(self.covariance_type, n_features)

    def _is_continued(self) -> bool:
        return bool(self.warm_start and hasattr(self, "converged_"))

    def _best_run(self, problem: Problem) -> Outcome:
        rng, narrator = self._generator(), Narrator(self.verbose, self.verbose_interval)
        settings: dict[str, Any] = {"max_iter": self.max_iter, "tol": self.tol, "progress": narrator}
        outcomes = []
        is_search = self._is_search()
        for number in range(1 if is_search or self._is_continued() else self.n_init):
            narrator.begin(number)
            if is_search:
                n_starts = self.n_init * _STARTS_OF_A_SEARCH
                outcome = problem.search(n_starts, rng=as_generator(self._seed()), **settings)
            else:
                outcome = problem.run(self._start(problem, rng), **settings)
            narrator.end(outcome.lower_bounds[-1], converged=outcome.converged)
            outcomes.append(outcome)
        return min(outcomes, key=lambda outcome: outcome.rank)

    def _is_search(self) -> bool:
        given = (self.weights_init, self.means_init, self.precisions_init)
        return self.init_params == "search" and not self._is_continued() and all(part is None for part in given)

    def _start(self, problem: Problem, rng: np.random.RandomState) -> Mixture:
        """Return the last parameters, or draw a start and put in what the user has given of it."""
        if self._is_continued():
            return self._fitted_mixture()
        given = self._given(problem.rows.shape[1])
        if len(given) == 3:
            return Mixture(**given)
        recipe = "kmeans" if self.init_params == "search" else self.init_params
        drawn = problem.mixture_of(draw_start(recipe, problem.rows, self.n_components, problem.weights, rng))
        return replace(drawn, **given)

    def _given(self, n_features: int) -> dict[str, Any]:
        """Return what the user has given of a start, checked."""
        k, kind = self.n_components, self.covariance_type
        given: dict[str, Any] = {}
        if self.weights_init is not None:
            given["weights"] = check_weights(self.weights_init, k)
        if self.means_init is not None:
            given["means"] = check_means(self.means_init, k, n_features)
        if self.precisions_init is not None:
            precisions = check_precisions(self.precisions_init, kind, k, n_features)
            given["covariances"] = np.linalg.inv(dense(precisions, kind, k, n_features))
        return given

    # ---------------------------------------------------------------- results

    def _keep(self, mixture: Mixture, lower_bounds: list[float], *, converged: bool) -> None:
        self.weights_ = mixture.weights.copy()
        self.means_ = mixture.means.copy()
        self.covariances_ = laid_out(mixture.covariances, self.covariance_type)
        self.precisions_cholesky_ = precision_cholesky(self.covariances_, self.covariance_type)
        self.precisions_ = precisions_of(self.precisions_cholesky_, self.covariance_type)
        self.converged_ = bool(converged)
        self.n_iter_ = len(lower_bounds)
        self.lower_bounds_ = lower_bounds
        self.lower_bound_ = lower_bounds[-1] if lower_bounds else -np.inf

    def _fitted_mixture(self) -> Mixture:
        """Return the parameters as they stand in the attributes, where a user may have changed them."""
        means = np.asarray(self.means_, dtype=np.float64)
        if hasattr(self, "covariances_"):
            covariances = dense(np.asarray(self.covariances_), self.covariance_type, *means.shape)
        else:
            factors = np.asarray(self.precisions_cholesky_)
            covariances = dense_covariances_of(factors, self.covariance_type, *means.shape)
        return Mixture(self.weights_, means, covariances, self._column_names())

    def _n_parameters(self) -> int:
        k, d = np.shape(self.means_)
        return self._structure(d).n_parameters(k, d)

    def _warn(self, best: Outcome) -> None:
        if best.degenerate:
            warnings.warn(
                f"component {', '.join(map(str, best.degenerate))} has collapsed on a few rows: the likelihood is not "
                "bounded and this is not a maximum; use fewer components, a simpler covariance_type, or a larger "
                "reg_covar",
                DegenerateFitWarning,
                stacklevel=3,
            )
        elif not self.converged_:
            warnings.warn(
                "Best performing initialization did not converge. Try different init parameters, or increase max_iter, "
                f"tol, or check for degenerate data. (Iterations: {self.n_iter_}; log-likelihood per row to gain, by "
                f"estimate: {best.remaining_gain:.2g}.)",
                ConvergenceWarning,
                stacklevel=3,
            )
