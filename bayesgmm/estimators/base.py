"""What the two estimators have in common: rows in, predictions out, as scikit-learn's mixtures do.

Both are density estimators to scikit-learn: not clusterers, although they have `predict`, as in scikit-learn itself.
They are transformers too, which scikit-learn's are not: the probabilities of the components are columns that another
step of a pipeline can learn from.
"""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, DensityMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from bayesgmm.errors import ArgumentError
from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import Mixture
from bayesgmm.seeding import recorded_seed

__all__ = ["MixtureEstimator"]

Floats = NDArray[np.float64]


class MixtureEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator):
    """Base of the estimators; a subclass says in `_fitted_mixture` what its predictions come from."""

    random_state: Any
    weights_: Floats

    def fit_predict(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> NDArray[np.intp]:
        """Fit the mixture and return the most probable component of each row.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Rows, user's units.
        y : Ignored
            Not used; scikit-learn's interface has it.
        sample_weight : array_like of shape (n_samples,), optional
            Non-negative weights of the rows.

        Returns
        -------
        ndarray of int, shape (n_samples,)
            Labels of the components.
        """
        return self.fit(X, y, sample_weight=sample_weight).predict(X)

    def predict(self, X: ArrayLike) -> NDArray[np.intp]:
        """Return the most probable component of each row.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Rows, user's units.

        Returns
        -------
        ndarray of int, shape (n_samples,)
            Labels of the components.
        """
        return np.asarray(self.predict_proba(X).argmax(axis=1))

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Compute the probability of each component for each row.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Rows, user's units.

        Returns
        -------
        ndarray, shape (n_samples, n_components)
            Probabilities that sum to one.
        """
        rows = self._new_rows(X)
        return self._fitted_mixture().responsibilities(rows)

    def transform(self, X: ArrayLike) -> Floats:
        """Return the probability of each component for each row, as columns for the next step of a pipeline.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Rows, user's units.

        Returns
        -------
        ndarray, shape (n_samples, n_components)
            What `predict_proba` returns; a dataframe where `set_output` asks for one.
        """
        return self.predict_proba(X)

    def score_samples(self, X: ArrayLike) -> Floats:
        """Compute the log density of each row.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Rows, user's units.

        Returns
        -------
        ndarray, shape (n_samples,)
            Log densities, user's units.
        """
        rows = self._new_rows(X)
        return self._fitted_mixture().log_density(rows)

    def score(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Compute the mean log density of rows.

        Parameters
        ----------
        X : array_like of shape (n_samples, n_features)
            Rows, user's units.
        y : Ignored
            Not used; scikit-learn's interface has it.
        sample_weight : array_like of shape (n_samples,), optional
            Non-negative weights of the rows.

        Returns
        -------
        float
            Log-likelihood per row, user's units.
        """
        scores = self.score_samples(X)
        if sample_weight is None:
            return float(np.mean(scores))
        weights = _check_sample_weight(sample_weight, scores, dtype=np.float64, ensure_non_negative=True)
        return float(np.average(scores, weights=weights))

    def sample(self, n_samples: int = 1) -> tuple[Floats, NDArray[np.intp]]:
        """Generate rows from the fitted mixture.

        Parameters
        ----------
        n_samples : int, default 1
            Number of rows.

        Returns
        -------
        X : ndarray, shape (n_samples, n_features)
            Rows, user's units, component by component.
        y : ndarray of int, shape (n_samples,)
            The component that each row came from.
        """
        check_is_fitted(self)
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ArgumentError(
                f"Invalid value for 'n_samples': {n_samples!r}. The sampling requires at least one sample."
            )
        rows, labels = self._fitted_mixture().sample(n_samples, self._seed())
        order = np.argsort(labels, kind="stable")
        return rows[order], labels[order]

    # ---------------------------------------------------------------- inner

    def _fitted_mixture(self) -> Mixture | MixtureFit:
        raise NotImplementedError

    @property
    def _n_features_out(self) -> int:
        """How many columns `transform` returns; scikit-learn names them by it."""
        return len(self.weights_)

    def _generator(self) -> np.random.RandomState:
        """Return the source of random numbers; None is NumPy's global one, as everywhere in scikit-learn."""
        if isinstance(self.random_state, np.random.Generator):
            return np.random.RandomState(self.random_state.bit_generator)
        return check_random_state(self.random_state)

    def _seed(self) -> int:
        """Return a seed for what takes one: `random_state` itself where it is a number."""
        return recorded_seed(self._generator() if self.random_state is None else self.random_state)

    def _training_rows(self, X: ArrayLike, sample_weight: ArrayLike | None) -> tuple[Floats, Floats | None]:
        """Check the rows and weights of a fit, and remember the columns; rows of weight zero are left out."""
        rows = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        if sample_weight is None:
            return rows, None
        weights = _check_sample_weight(sample_weight, rows, dtype=np.float64, ensure_non_negative=True)
        return rows[weights > 0.0], weights[weights > 0.0]

    def _new_rows(self, X: ArrayLike) -> Floats:
        check_is_fitted(self)
        return np.asarray(validate_data(self, X, reset=False, dtype=np.float64))

    def _column_names(self) -> tuple[str, ...]:
        """Return the names of the columns; none where they came without."""
        return tuple(map(str, getattr(self, "feature_names_in_", ())))
