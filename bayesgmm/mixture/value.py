"""A Gaussian mixture as a value: weights, means and covariances, with any number of leading (batch) dimensions.

This is the one thing that the rest of the package passes around. An EM estimate has no leading dimensions, restarts
have one, posterior draws have two (chain, draw); every density below broadcasts over them, so that one routine serves
the estimate, the draws, the plots and the tests. A mixture that is permuted, rescaled, marginalised or conditioned is a
mixture again.

Owned here: densities, responsibilities, sampling, moments, marginals and conditionals, and the pair of converters to
and from xarray. Not owned: fitting, units (a mixture does not know whether it is standardised), matching of labels.
A value that is missing (NaN) in a row is integrated out: the row counts with its marginal density.

Work arrays are cut into blocks of about `BLOCK` numbers: draws x rows x components x features is never held at once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesgmm.errors import ArgumentError
from bayesgmm.mixture.checks import (
    check_shapes,
    check_symmetric,
    check_weights,
    feature_names,
    finite_number,
    name_singular,
    read_only,
    real_rows,
)
from bayesgmm.mixture.densities import is_large, log_densities, responsibilities
from bayesgmm.mixture.log_space import log_sum_exp, softmax
from bayesgmm.seeding import recorded_seed
from bayesgmm.showing import Shown, name_some

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["BLOCK", "Mixture", "simulate"]

Floats = NDArray[np.float64]

#: Target size of a work array, in float64 numbers: 32 MB, within reach of the last-level cache.
BLOCK = 2**22

_LOG_2PI = float(np.log(2.0 * np.pi))
# Squares of distances overflow at 1e154 standard deviations; infinite ones would make responsibilities NaN.
_LARGEST_SQUARE = 1e300


@dataclass(frozen=True, eq=False)
class Mixture(Shown):
    """A Gaussian mixture, or an array of them.

    Parameters
    ----------
    weights : array_like, shape (..., K)
        Component weights; positive or zero, each mixture's sum is one.
    means : array_like, shape (..., K, D)
        Component means.
    covariances : array_like, shape (..., K, D, D)
        Component covariances, symmetric and positive definite, always dense.
    features : sequence of str, optional
        Names of the D columns. Default ``x0``, ``x1``, ...

    Raises
    ------
    ArgumentError
        When shapes do not fit together, a number is not finite, weights do not sum to one, a covariance is not
        symmetric, or (on first use of a density) a covariance is not positive definite.

    Examples
    --------
    >>> mixture = Mixture([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> mixture.responsibilities([[0.0], [2.0]]).round(3)
    array([[1. , 0. ],
           [0.5, 0.5]])
    """

    weights: Floats
    means: Floats
    covariances: Floats
    features: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for name in ("weights", "means", "covariances"):
            object.__setattr__(self, name, read_only(name, getattr(self, name)))
        object.__setattr__(self, "features", feature_names(self.features, self.means))
        check_shapes(self.weights, self.means, self.covariances)
        check_weights(self.weights)
        check_symmetric(self.covariances)

    # ---------------------------------------------------------------- sizes

    @property
    def n_components(self) -> int:
        """Number of components, K."""
        return int(self.weights.shape[-1])

    @property
    def n_features(self) -> int:
        """Number of columns, D."""
        return int(self.means.shape[-1])

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Leading dimensions: () for one mixture, (chain, draw) for posterior draws."""
        return self.weights.shape[:-1]

    @property
    def n_mixtures(self) -> int:
        """Number of mixtures in the batch; one where there are no leading dimensions."""
        return int(np.prod(self.batch_shape, dtype=int))

    # ---------------------------------------------------------------- densities

    @cached_property
    def cholesky(self) -> Floats:
        """Lower Cholesky factors of the covariances, shape (..., K, D, D)."""
        try:
            return np.asarray(np.linalg.cholesky(self.covariances))
        except np.linalg.LinAlgError:
            raise ArgumentError(name_singular(self.covariances)) from None

    @cached_property
    def whitening(self) -> Floats:
        """Inverse Cholesky factors L^-1 of the covariances, shape (..., K, D, D); L^-1 (x - mu) is white."""
        inverse = np.linalg.inv(self.cholesky)
        return np.asarray(np.tril(inverse))

    @cached_property
    def _log_normalizers(self) -> Floats:
        log_diagonal = np.log(np.diagonal(self.cholesky, axis1=-2, axis2=-1))
        with np.errstate(divide="ignore"):
            log_weights = np.log(self.weights)
        return np.asarray(log_weights - 0.5 * self.n_features * _LOG_2PI - log_diagonal.sum(axis=-1))

    @property
    def _flat_factors(self) -> tuple[Floats, Floats, Floats]:
        """Means (S, K, D), inverse Cholesky factors (S, K, D, D) and log normalisers (S, K) of the flattened batch."""
        k, d = self.n_components, self.n_features
        return (
            self.means.reshape(-1, k, d), self.whitening.reshape(-1, k, d, d), self._log_normalizers.reshape(-1, k)
        )  # fmt: skip

    def _is_for_the_pass(self, rows: Floats) -> bool:
        return is_large(self.means, len(rows)) and not np.isnan(rows).any()

    def log_joint(self, X: ArrayLike) -> Floats:
        """Compute log w_k + log N(x_i; mu_k, Sigma_k) for every row and component (math.md, 2.1).

        Parameters
        ----------
        X : array_like, shape (n, D)
            Rows, in the units of the mixture.

        Returns
        -------
        ndarray, shape (..., n, K)
            Log joint densities. For a large batch prefer `blocks`, which never holds them all.
        """
        rows = self._rows(X)
        out = np.empty((self.n_mixtures, rows.shape[0], self.n_components))
        for part, log_joint in self.blocks(rows):
            out[part] = log_joint
        return out.reshape(*self.batch_shape, rows.shape[0], self.n_components)

    def blocks(self, X: ArrayLike) -> Iterator[tuple[tuple[slice, Any], Floats]]:
        """Compute the log joint densities of a batch block by block.

        Parameters
        ----------
        X : array_like, shape (n, D)
            Rows, in the units of the mixture; NaN stands for a missing value.

        Yields
        ------
        part : tuple
            Which mixtures of the flattened batch (a slice), and which rows (a slice, or their numbers).
        log_joint : ndarray, shape (mixtures in the block, rows in the block, K)
            Their log joint densities.
        """
        rows = self._rows(X)
        if not np.isnan(rows).any():
            yield from self._complete_blocks(rows)
            return
        patterns, which = np.unique(~np.isnan(rows), axis=0, return_inverse=True)
        for number, present in enumerate(patterns):
            members = np.flatnonzero(which.ravel() == number)
            if not present.any():
                yield (slice(None), members), self._log_weights_of(len(members))
                continue
            marginal = self.marginal([name for name, is_there in zip(self.features, present, strict=True) if is_there])
            for (batch, part), log_joint in marginal.blocks(rows[np.ix_(members, present)]):
                yield (batch, members[part]), log_joint

    def _complete_blocks(self, rows: Floats) -> Iterator[tuple[tuple[slice, slice], Floats]]:
        n, k, d = rows.shape[0], self.n_components, self.n_features
        row_step = max(1, min(n, BLOCK // (k * d)))
        batch_step = max(1, BLOCK // (row_step * k * d))
        means, whitening, log_normalizers = self._flat_factors
        for b in range(0, self.n_mixtures, batch_step):
            batch = slice(b, b + batch_step)
            for i in range(0, n, row_step):
                part = slice(i, i + row_step)
                squares = _squared_distances(rows[part], means[batch], whitening[batch])
                yield (batch, part), log_normalizers[batch, None, :] - 0.5 * squares

    def _log_weights_of(self, n: int) -> Floats:
        """Return the log joint densities of rows of which nothing is known."""
        with np.errstate(divide="ignore"):
            log_weights = np.log(self.weights.reshape(-1, 1, self.n_components))
        return np.repeat(log_weights, n, axis=1)

    def log_density(self, X: ArrayLike) -> Floats:
        """Compute log p(x) = log sum_k w_k N(x; mu_k, Sigma_k) (math.md, 2.1).

        Parameters
        ----------
        X : array_like, shape (n, D)
            Rows, in the units of the mixture.

        Returns
        -------
        ndarray, shape (..., n)
            Log densities, one for each mixture of the batch and each row.
        """
        rows = self._rows(X)
        if self._is_for_the_pass(rows):
            out = log_densities(rows, *self._flat_factors)
        else:
            out = np.empty((self.n_mixtures, rows.shape[0]))
            for part, log_joint in self.blocks(rows):
                out[part] = log_sum_exp(log_joint)
        return out.reshape(*self.batch_shape, rows.shape[0])

    def responsibilities(self, X: ArrayLike) -> Floats:
        """Compute p(z = k | x) for every row and component (math.md, 2.2).

        Parameters
        ----------
        X : array_like, shape (n, D)
            Rows, in the units of the mixture.

        Returns
        -------
        ndarray, shape (..., n, K)
            Responsibilities; they sum to one over the components. A row so far away that every density underflows goes
            to the component whose density is largest in logs.
        """
        rows = self._rows(X)
        if not self._is_for_the_pass(rows):
            return softmax(self.log_joint(rows))
        shares = responsibilities(rows, *self._flat_factors)
        return shares.reshape(*self.batch_shape, rows.shape[0], self.n_components)

    # ---------------------------------------------------------------- moments and sampling

    @property
    def mean(self) -> Floats:
        """Mean of the whole mixture, shape (..., D)."""
        return np.asarray(np.einsum("...k,...kd->...d", self.weights, self.means))

    @property
    def covariance(self) -> Floats:
        """Covariance of the whole mixture, within plus between components, shape (..., D, D)."""
        offsets = self.means - self.mean[..., None, :]
        within = np.einsum("...k,...kde->...de", self.weights, self.covariances)
        return np.asarray(within + np.einsum("...k,...kd,...ke->...de", self.weights, offsets, offsets))

    def sample(self, n: int, seed: Any = None) -> tuple[Floats, NDArray[np.intp]]:
        """Draw rows from the mixture; from a batch, each row from a mixture of the batch chosen at random.

        Parameters
        ----------
        n : int
            Number of rows.
        seed : int, Generator or SeedSequence, optional
            Anything that `numpy.random.default_rng` takes.

        Returns
        -------
        X : ndarray, shape (n, D)
            Rows, in the units of the mixture.
        labels : ndarray of int, shape (n,)
            The component that each row came from.

        Raises
        ------
        ArgumentError
            When `n` is not a positive whole number, or `seed` is no seed.
        """
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise ArgumentError(f"n={n!r} rows cannot be drawn; n must be a whole number, at least 1")
        rng = seed if isinstance(seed, np.random.Generator) else np.random.default_rng(recorded_seed(seed))
        k, d = self.n_components, self.n_features
        which = rng.integers(self.n_mixtures, size=n)
        cumulative = np.cumsum(self.weights.reshape(-1, k), axis=-1)[which]
        labels = np.minimum((rng.random((n, 1)) * cumulative[:, -1:] >= cumulative).sum(axis=1), k - 1)
        X = rng.standard_normal((n, d))
        means, chols = self.means.reshape(-1, k, d), self.cholesky.reshape(-1, k, d, d)
        step = max(1, BLOCK // (d * d))
        for part in (slice(i, i + step) for i in range(0, n, step)):
            origin = which[part], labels[part]
            X[part] = means[origin] + np.einsum("nde,ne->nd", chols[origin], X[part])
        return X, labels

    # ---------------------------------------------------------------- mixtures from mixtures

    def __getitem__(self, index: Any) -> "Mixture":
        """Select mixtures by an index into the leading dimensions."""
        if not self.batch_shape:
            raise ArgumentError("this is a single mixture; there are no leading dimensions to index")
        chosen = index if isinstance(index, tuple) else (index,)
        if Ellipsis in [item for item in chosen if not isinstance(item, np.ndarray)] or len(chosen) > len(
            self.batch_shape
        ):
            raise ArgumentError(f"the index must select from the leading dimensions {self.batch_shape}")
        return replace(self, weights=self.weights[index], means=self.means[index], covariances=self.covariances[index])

    def flatten(self) -> "Mixture":
        """Return the same mixtures with all leading dimensions merged into one.

        Returns
        -------
        Mixture
            Leading dimension (S,), with S = `n_mixtures`.
        """
        k, d = self.n_components, self.n_features
        return replace(
            self,
            weights=self.weights.reshape(-1, k),
            means=self.means.reshape(-1, k, d),
            covariances=self.covariances.reshape(-1, k, d, d),
        )

    def pooled(self) -> "Mixture":
        """Return one mixture of all components of all mixtures of the batch, each mixture with the same weight.

        Returns
        -------
        Mixture
            A single mixture of S K components: the posterior predictive, where the batch are draws.
        """
        if not self.batch_shape:
            return self
        d = self.n_features
        return replace(
            self,
            weights=self.weights.reshape(-1) / self.n_mixtures,
            means=self.means.reshape(-1, d),
            covariances=self.covariances.reshape(-1, d, d),
        )

    def permute(self, permutations: ArrayLike) -> "Mixture":
        """Reorder components: component j of the result is component ``permutations[..., j]`` of this one.

        Parameters
        ----------
        permutations : array_like of int, shape (..., K) or (K,)
            One permutation for each mixture of the batch, or one for all.

        Returns
        -------
        Mixture
            The same mixtures, components reordered.
        """
        refused = f"each row of permutations must hold every number from 0 to {self.n_components - 1} once"
        try:
            order = np.broadcast_to(np.asarray(permutations, dtype=np.intp), self.weights.shape)
        except (TypeError, ValueError):
            raise ArgumentError(refused) from None
        if not np.array_equal(np.sort(order, axis=-1), np.broadcast_to(np.arange(self.n_components), order.shape)):
            raise ArgumentError(refused)
        return replace(
            self,
            weights=np.take_along_axis(self.weights, order, axis=-1),
            means=np.take_along_axis(self.means, order[..., None], axis=-2),
            covariances=np.take_along_axis(self.covariances, order[..., None, None], axis=-3),
        )

    def sorted_by_weight(self) -> "Mixture":
        """Order the components of each mixture by decreasing weight.

        Returns
        -------
        Mixture
            The same mixtures, components reordered.
        """
        return self.permute(np.argsort(-self.weights, axis=-1, kind="stable"))

    def affine(self, scale: ArrayLike, shift: ArrayLike) -> "Mixture":
        """Return the mixture of ``scale * x + shift``, column by column.

        Parameters
        ----------
        scale, shift : array_like, shape (D,)
            Positive factors and offsets of the columns; a single number serves all columns.

        Returns
        -------
        Mixture
            The mixture in the new units.
        """
        scale, shift = self._for_columns("scale", scale), self._for_columns("shift", shift)
        if np.any(scale <= 0):
            raise ArgumentError(f"scale must be positive; the smallest is {scale.min():g}")
        return replace(
            self,
            means=self.means * scale + shift,
            covariances=self.covariances * scale[:, None] * scale[None, :],
        )

    def marginal(self, features: Sequence[str]) -> "Mixture":
        """Return the mixture of some of the columns.

        Parameters
        ----------
        features : sequence of str
            Names of the columns to keep, in the order wanted.

        Returns
        -------
        Mixture
            The marginal mixture; its columns are `features`.
        """
        keep = self._feature_positions(features)
        if not keep:
            raise ArgumentError("a marginal needs at least one column")
        covariances = self.covariances[..., keep, :][..., keep]
        return Mixture(self.weights, self.means[..., keep], covariances, tuple(self.features[j] for j in keep))

    def conditional(self, given: Mapping[str, float]) -> "Mixture":
        """Return the mixture of the other columns, given values of some (math.md, 2.5).

        Parameters
        ----------
        given : mapping of str to float
            Column names and the values they are fixed at, in the units of the mixture.

        Returns
        -------
        Mixture
            Mixture of the remaining columns; the weights are p(z = k | given).
        """
        if not isinstance(given, Mapping):
            raise ArgumentError(f"given={given!r} must name columns and their values, as {{{self.features[0]!r}: 0.0}}")
        fixed = self._feature_positions(list(given))
        free = [j for j in range(self.n_features) if j not in fixed]
        if not fixed or not free:
            raise ArgumentError(f"condition on at least one and not on all of the columns {', '.join(self.features)}")
        values = np.array([[finite_number(name, given[name]) for name in given]])
        weights = self.marginal([self.features[j] for j in fixed]).responsibilities(values)[..., 0, :]
        cross = self.covariances[..., free, :][..., fixed]
        slopes = np.swapaxes(
            np.linalg.solve(self.covariances[..., fixed, :][..., fixed], np.swapaxes(cross, -1, -2)), -1, -2
        )
        offsets = values[0] - self.means[..., fixed]
        means = self.means[..., free] + np.einsum("...fg,...g->...f", slopes, offsets)
        covariances = self.covariances[..., free, :][..., free] - slopes @ np.swapaxes(cross, -1, -2)
        covariances = 0.5 * (covariances + np.swapaxes(covariances, -1, -2))
        return Mixture(weights, means, covariances, tuple(self.features[j] for j in free))

    # ---------------------------------------------------------------- xarray

    def to_dataset(self) -> "xr.Dataset":
        """Convert to xarray: variables ``weights``, ``means``, ``covariances`` with named dimensions.

        A single mixture becomes one chain with one draw; a batch must be (chain, draw).

        Returns
        -------
        xarray.Dataset
            Dimensions ``chain``, ``draw``, ``component``, ``feature``, ``feature_bis``.
        """
        import xarray as xr

        if len(self.batch_shape) not in (0, 2):
            raise ArgumentError(f"leading dimensions must be () or (chain, draw), not {self.batch_shape}")
        chain, draw = self.batch_shape or (1, 1)
        k, d = self.n_components, self.n_features
        dims = ("chain", "draw", "component")
        return xr.Dataset(
            {
                "weights": (dims, self.weights.reshape(chain, draw, k)),
                "means": ((*dims, "feature"), self.means.reshape(chain, draw, k, d)),
                "covariances": ((*dims, "feature", "feature_bis"), self.covariances.reshape(chain, draw, k, d, d)),
            },
            coords={
                "chain": np.arange(chain),
                "draw": np.arange(draw),
                "component": np.arange(k),
                "feature": list(self.features),
                "feature_bis": list(self.features),
            },
        )

    @classmethod
    def from_dataset(cls, dataset: "xr.Dataset") -> "Mixture":
        """Convert from xarray, the inverse of `to_dataset`.

        Parameters
        ----------
        dataset : xarray.Dataset
            With the variables and dimensions that `to_dataset` gives.

        Returns
        -------
        Mixture
            Leading dimensions (chain, draw).
        """
        dims = ("chain", "draw", "component", "feature", "feature_bis")
        return cls(
            dataset["weights"].transpose(*dims[:3]).values,
            dataset["means"].transpose(*dims[:4]).values,
            dataset["covariances"].transpose(*dims).values,
            tuple(str(name) for name in dataset["feature"].values),
        )

    # ---------------------------------------------------------------- inner

    def _rows(self, X: ArrayLike) -> Floats:
        rows = real_rows(X, self.features)
        if rows.ndim != 2 or rows.shape[1] != self.n_features:
            raise ArgumentError(f"X has shape {rows.shape}; this mixture needs (n, {self.n_features}): {self.features}")
        return rows

    def _for_columns(self, name: str, values: ArrayLike) -> Floats:
        array = np.asarray(values, dtype=np.float64)
        if array.shape not in {(), (self.n_features,)} or not np.all(np.isfinite(array)):
            raise ArgumentError(f"{name} must be {self.n_features} finite numbers, one for each of {self.features}")
        return np.broadcast_to(array, (self.n_features,))

    def _feature_positions(self, names: Sequence[str]) -> list[int]:
        wanted = list(names) if isinstance(names, Iterable) and not isinstance(names, str) else [names]
        unknown = [name for name in wanted if name not in self.features]
        if unknown:
            raise ArgumentError(f"no column named {unknown[0]!r}; the mixture has {', '.join(self.features)}")
        return [self.features.index(name) for name in wanted]

    def __repr__(self) -> str:
        batch = f", batch {self.batch_shape}" if self.batch_shape else ""
        columns = name_some(self.features)
        return f"Mixture({self.n_components} components, {self.n_features} features: {columns}{batch})"


def simulate(mixture: Mixture, n: int, seed: Any = None) -> tuple[Floats, NDArray[np.intp]]:
    """Generate data from a mixture.

    Parameters
    ----------
    mixture : Mixture
        What to draw from. From a batch, each row comes from one of its mixtures chosen at random.
    n : int
        Number of rows.
    seed : int, Generator or SeedSequence, optional
        Anything that `numpy.random.default_rng` takes.

    Returns
    -------
    X : ndarray, shape (n, D)
        Rows, in the units of the mixture.
    labels : ndarray of int, shape (n,)
        The component that each row came from.

    Examples
    --------
    >>> mixture = Mixture([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> X, labels = simulate(mixture, 100, seed=1)
    >>> X.shape, labels.shape
    ((100, 1), (100,))
    """
    if not callable(getattr(mixture, "sample", None)):
        raise ArgumentError(f"mixture must be a Mixture, not {type(mixture).__name__}")
    return mixture.sample(n, seed)


def _squared_distances(rows: Floats, means: Floats, whitening: Floats) -> Floats:
    """Return squared Mahalanobis distances, shape (batch, n, K), by whitening centred rows."""
    out = np.empty((means.shape[0], rows.shape[0], means.shape[1]))
    for k in range(means.shape[1]):
        centred = rows - means[:, k, None, :]
        white = centred @ np.swapaxes(whitening[:, k], -1, -2)
        out[:, :, k] = np.einsum("bnd,bnd->bn", white, white)
    return np.minimum(out, _LARGEST_SQUARE, out=out)
