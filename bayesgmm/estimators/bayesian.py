"""`BayesianGaussianMixture`: scikit-learn's interface over the posterior of `fit_bayes`.

scikit-learn's class of this name is an approximation: it maximises a variational bound. This one samples the posterior
by Markov chain Monte Carlo, so predictions are averages over draws, and `fit_` holds the draws themselves. The price
is time: seconds to minutes where the variational fit takes milliseconds.

The arguments that steer scikit-learn's optimiser are accepted and do nothing. Those of its prior are translated where
the model here has a counterpart, and refused where it has none: a prior that is silently another one would be worse.
"""

from dataclasses import replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval, StrOptions

from bayesgmm.data import prepare
from bayesgmm.em.fit import fit_em
from bayesgmm.errors import ArgumentError
from bayesgmm.estimators.base import MixtureEstimator
from bayesgmm.estimators.covariances import laid_out, precision_cholesky, precisions_of
from bayesgmm.fit import MixtureFit
from bayesgmm.structure import STRUCTURES, CovarianceStructure, as_structure

if TYPE_CHECKING:
    from bayesgmm.bayes import Priors

__all__ = ["BayesianGaussianMixture"]

Floats = NDArray[np.float64]

#: R-hat up to which chains agree (Vehtari et al. 2021).
_GOOD_R_HAT = 1.01
#: Variance added where the chains start, in units of the columns' variances.
_START_REG_COVAR = 1e-3


class BayesianGaussianMixture(MixtureEstimator):
    """Posterior of a Gaussian mixture, sampled by MCMC, with scikit-learn's interface.

    Not the variational approximation that scikit-learn's class of the same name is.

    Parameters
    ----------
    n_components : int, default 1
        Number of components, K.
    covariance_type : {"full", "tied", "diag", "spherical"} or code, default "full"
        The covariance structure; of mclust's codes those that `fit_bayes` has a model for.
    tol, reg_covar, max_iter, n_init, init_params : optional
        They steer scikit-learn's optimiser and do nothing here.
    weight_concentration_prior_type : {"dirichlet_distribution"}, default "dirichlet_distribution"
        "dirichlet_process", scikit-learn's default, is refused: a Dirichlet distribution with a small
        `weight_concentration_prior` and a generous `n_components` says much the same.
    weight_concentration_prior : float, optional
        Concentration of the Dirichlet prior, dimensionless. Default 1, uniform over the weights (scikit-learn: 1 / K).
    mean_precision_prior : None
        Refused: here the prior of the means does not shrink with the covariances. Pass ``priors=Priors(mean_sd=...)``.
    mean_prior : array_like of shape (n_features,), optional
        Prior mean of the component means, user's units. Default the middle of each column's range.
    degrees_of_freedom_prior : float, optional
        Of the Wishart prior on the precisions, dimensionless. Must be above D + 1 (above 2 for diagonal covariances),
        so that the covariances have an expectation. Default that bound plus 3.
    covariance_prior : float or array_like, optional
        Scale of the inverse Wishart prior, user's units squared: (n_features, n_features), diagonal, for "full" and
        "tied"; (n_features,) for "diag"; a number for "spherical". Needs `degrees_of_freedom_prior`. It sets the
        expected covariance; how firmly that is believed is ``Priors(scale_dof=...)``.
    random_state : int, RandomState, Generator or None, default None
        Source of the chains' seeds and of `sample`. None is NumPy's global state.
    warm_start : bool, default False
        Does nothing here.
    verbose : int, default 0
        Whether to show the sampler's progress.
    verbose_interval : int, default 10
        Does nothing here.
    priors : Priors, optional
        The prior in this package's own terms, in place of the arguments above.
    draws : int, default 1000
        Draws kept in each chain.
    tune : int, optional
        Steps before them, in which a chain adapts; see `fit_bayes`.
    chains : int, default 4
        Number of chains.
    sampler : str or callable, default "nuts"
        See `fit_bayes`.
    sampler_options : dict, optional
        Further arguments of the sampler, such as ``{"target_accept": 0.95}``.

    Attributes
    ----------
    fit_ : MixtureFit
        The draws; what `compare`, plots and reports take. The PyMC model in it is left out when the estimator is
        pickled.
    weights_ : ndarray, shape (n_components,)
        Posterior means of the weights.
    means_ : ndarray, shape (n_components, n_features)
        Posterior means of the means, user's units.
    covariances_, precisions_, precisions_cholesky_ : ndarray
        Posterior means of the covariances, the inverses of these, and factors U with U U' the inverse, in the shapes
        that `GaussianMixture` has them in. User's units.
    converged_ : bool
        Whether the chains agree (R-hat at most 1.01) without a divergence. One chain alone never does.
    n_iter_ : int
        Steps of each chain, those of its adaptation included.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str
        Names of the columns, where they have some.

    See Also
    --------
    bayesgmm.fit_bayes : The fit itself.
    GaussianMixture : Maximum likelihood.

    Notes
    -----
    `predict_proba` is the posterior mean of the responsibilities, `score_samples` the log posterior predictive density
    (math.md, 4.7), `sample` draws from the posterior predictive distribution. ``weights_`` and its kin are for looking
    at: a mixture of posterior means is not the posterior mean of the mixture, and where labels are in doubt (there is
    a warning) they mean nothing.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "covariance_type": [StrOptions({"full", "tied", "diag", "spherical", "E", "V", *STRUCTURES})],
        "tol": "no_validation",
        "reg_covar": "no_validation",
        "max_iter": "no_validation",
        "n_init": "no_validation",
        "init_params": "no_validation",
        "weight_concentration_prior_type": [StrOptions({"dirichlet_process", "dirichlet_distribution"})],
        "weight_concentration_prior": [None, Interval(Real, 0.0, None, closed="neither")],
        "mean_precision_prior": [None, Interval(Real, 0.0, None, closed="neither")],
        "mean_prior": [None, "array-like"],
        "degrees_of_freedom_prior": [None, Interval(Real, 0.0, None, closed="neither")],
        "covariance_prior": [None, "array-like", Interval(Real, 0.0, None, closed="neither")],
        "random_state": ["random_state", np.random.Generator],
        "warm_start": "no_validation",
        "verbose": ["verbose"],
        "verbose_interval": "no_validation",
        "priors": "no_validation",
        "draws": [Interval(Integral, 1, None, closed="left")],
        "tune": [Interval(Integral, 0, None, closed="left"), None],
        "chains": [Interval(Integral, 1, None, closed="left")],
        "sampler": [str, callable],
        "sampler_options": [dict, None],
    }

    def __init__(
        self,
        *,
        n_components: int = 1,
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        weight_concentration_prior_type: str = "dirichlet_distribution",
        weight_concentration_prior: float | None = None,
        mean_precision_prior: float | None = None,
        mean_prior: ArrayLike | None = None,
        degrees_of_freedom_prior: float | None = None,
        covariance_prior: ArrayLike | None = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        priors: "Priors | None" = None,
        draws: int = 1000,
        tune: int | None = None,
        chains: int = 4,
        sampler: Any = "nuts",
        sampler_options: dict[str, Any] | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weight_concentration_prior_type = weight_concentration_prior_type
        self.weight_concentration_prior = weight_concentration_prior
        self.mean_precision_prior = mean_precision_prior
        self.mean_prior = mean_prior
        self.degrees_of_freedom_prior = degrees_of_freedom_prior
        self.covariance_prior = covariance_prior
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.priors = priors
        self.draws = draws
        self.tune = tune
        self.chains = chains
        self.sampler = sampler
        self.sampler_options = sampler_options

    def fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Sample the posterior.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Rows, user's units.
        y : Ignored
            Not used; scikit-learn's interface has it.
        sample_weight : array_like of shape (n_samples,), optional
            Non-negative weights of the rows: a power likelihood.

        Returns
        -------
        BayesianGaussianMixture
            The estimator itself.

        Raises
        ------
        ArgumentError
            When a parameter is illegal, or has no counterpart in the model.
        DataError
            When the table cannot be used.

        Warns
        -----
        SamplingWarning
            Divergences, chains that disagree, too few effective draws.
        LabelWarning
            When components cannot be told apart in too many draws.
        """
        from bayesgmm.bayes import fit_bayes

        self._validate_params()
        rows, weights = self._training_rows(X, sample_weight)
        prepared = prepare(rows, sample_weight=weights)
        prepared = replace(prepared, features=self._column_names() or prepared.features)
        structure = as_structure(self.covariance_type, prepared.n_features)
        priors, seed = self._priors(structure, prepared.n_features), self._seed()
        # The posterior is proper with more columns than rows, where the likelihood has no maximum to start chains at.
        start = fit_em(prepared, self.n_components, structure=structure, seed=seed, reg_covar=_START_REG_COVAR)
        self.fit_ = fit_bayes(
            prepared, self.n_components, structure=structure, priors=priors, seed=seed, em=start,
            draws=self.draws, tune=self.tune, chains=self.chains, sampler=self.sampler, progress=bool(self.verbose),
            **(self.sampler_options or {}),
        )  # fmt: skip
        self.n_iter_ = self.fit_.info.settings["tune"] + self.draws
        self._keep_means()
        return self

    # ---------------------------------------------------------------- inner

    def _fitted_mixture(self) -> MixtureFit:
        return self.fit_

    def _keep_means(self) -> None:
        """Keep the posterior means in scikit-learn's attributes."""
        draws = self.fit_.mixture
        k, d = draws.n_components, draws.n_features
        self.weights_ = draws.weights.reshape(-1, k).mean(axis=0)
        self.means_ = draws.means.reshape(-1, k, d).mean(axis=0)
        self.covariances_ = laid_out(draws.covariances.reshape(-1, k, d, d).mean(axis=0), self.covariance_type)
        self.precisions_cholesky_ = precision_cholesky(self.covariances_, self.covariance_type)
        self.precisions_ = precisions_of(self.precisions_cholesky_, self.covariance_type)
        found = self.fit_.info.diagnostics
        self.converged_ = bool(found["max_r_hat"] <= _GOOD_R_HAT and not found["divergences"])

    def _priors(self, structure: CovarianceStructure, n_features: int) -> "Priors":
        """Translate the priors to the model's."""
        from bayesgmm.bayes import Priors

        if self.weight_concentration_prior_type == "dirichlet_process":
            raise ArgumentError(
                "weight_concentration_prior_type='dirichlet_process' has no model here; use 'dirichlet_distribution' "
                "with a small weight_concentration_prior, such as 1 / n_components"
            )
        if self.mean_precision_prior is not None:
            raise ArgumentError(
                f"mean_precision_prior={self.mean_precision_prior!r} has no counterpart: the prior of the means does "
                "not shrink with the covariances; pass priors=Priors(mean_sd=...)"
            )
        named: dict[str, Any] = {
            "concentration": self.weight_concentration_prior,
            "mean_location": self.mean_prior,
            "dof": self.degrees_of_freedom_prior,
            "within_sd": self._expected_sds(structure, n_features),
        }
        given = {name: value for name, value in named.items() if value is not None}
        if self.priors is None:
            return Priors(**given)
        if given:
            raise ArgumentError("priors= says the whole prior; leave out the other arguments whose names end in _prior")
        return self.priors

    def _expected_sds(self, structure: CovarianceStructure, n_features: int) -> Floats | None:
        """Return the standard deviations of the covariance that `covariance_prior` expects (math.md, 4.3)."""
        if self.covariance_prior is None:
            return None
        if self.degrees_of_freedom_prior is None:
            raise ArgumentError(
                "covariance_prior is the scale of an inverse Wishart; give degrees_of_freedom_prior with it"
            )
        try:
            scale = np.asarray(self.covariance_prior, dtype=np.float64)
        except (TypeError, ValueError):
            raise ArgumentError(f"covariance_prior must be numbers; found {self.covariance_prior!r}") from None
        d, named = n_features, as_structure(self.covariance_type)
        shape = () if named.is_spherical else (d,) if named.is_diagonal else (d, d)
        if scale.shape != shape:
            raise ArgumentError(f"covariance_prior has shape {scale.shape}; covariance_type={named} needs {shape}")
        if scale.ndim == 2:
            if np.any(scale != np.diag(np.diagonal(scale))):
                raise ArgumentError("covariance_prior must be diagonal: the prior here expects uncorrelated columns")
            scale = np.diagonal(scale)
        excess = self.degrees_of_freedom_prior - (1 if structure.is_diagonal else d) - 1
        if not excess > 0.0 or not np.all(scale > 0.0):
            raise ArgumentError(
                "covariance_prior must be positive, and degrees_of_freedom_prior large enough for the covariances to "
                f"have an expectation; found {self.covariance_prior!r} and {self.degrees_of_freedom_prior!r}"
            )
        return np.broadcast_to(np.sqrt(scale / excess), (d,)).copy()

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "fit_" in state:
            state["fit_"] = MixtureFit(state["fit_"].tree)
        return state
