"""Missing values filled in: their conditional means under a mixture, how uncertain these are, and draws of them.

Given what was observed of a row, what is missing follows a mixture again (math.md, 2.5 and 2.7): the mean is what a
regression would say, its variance has a part within components, one between them and, for a posterior, one between
draws. Means are the best single guesses and too even for anything else; an analysis that is to know of the uncertainty
takes several draws of the whole table (Rubin 1987). Rows that lack the same columns go together.

Fitted rows have had their say in the posterior already, so its draws count alike for them. For a new row the draws
count in proportion to the density that they give to what was observed of it, as in `regress`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bayesgmm.data.prepare import read_rows
from bayesgmm.errors import ArgumentError
from bayesgmm.fit import MixtureFit, mixture_of
from bayesgmm.mixture import BLOCK, Mixture, softmax
from bayesgmm.seeding import as_generator, recorded_seed

if TYPE_CHECKING:
    import pandas as pd
from bayesgmm.showing import Shown

__all__ = ["Imputation", "impute"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Imputation(Shown):
    """A table whose missing values are filled in; made by `impute`.

    Parameters
    ----------
    values : ndarray, shape (n, D)
        The rows, user's units; conditional means where values were missing.
    sd : ndarray, shape (n, D)
        Standard deviations of what is filled in, user's units; zero where a value was observed.
    draws : ndarray, shape (m, n, D)
        The table m times, each with the missing values drawn; observed ones are the same in all.
    features : tuple of str
        Names of the columns.
    rows : ndarray, shape (n,)
        Labels of the rows.
    """

    values: Floats
    sd: Floats
    draws: Floats
    features: tuple[str, ...]
    rows: NDArray[Any]

    @property
    def n_filled(self) -> int:
        """Number of values that were missing."""
        return int(np.count_nonzero(self.sd))

    @property
    def table(self) -> "pd.DataFrame":
        """The completed rows, with their labels and column names."""
        import pandas as pd

        return pd.DataFrame(self.values, index=pd.Index(self.rows, name="row"), columns=list(self.features))

    def __repr__(self) -> str:
        n, d = self.values.shape
        drawn = f", {len(self.draws)} draws" if len(self.draws) else ""
        return f"Imputation({n} rows x {d} columns, {self.n_filled} values filled in{drawn})"


def impute(model: Mixture | MixtureFit, X: Any = None, *, draws: int = 0, seed: Any = None) -> Imputation:
    """Fill in missing values from what was observed of their rows.

    Parameters
    ----------
    model : Mixture or MixtureFit
        A mixture, or a fit; posterior draws are averaged over.
    X : array_like or DataFrame, shape (n, D), optional
        Rows with missing values (NaN), user's units. Default the fitted rows.
    draws : int, default 0
        Number of tables to draw. From a posterior each table of fitted rows has parameters of its own, as multiple
        imputation wants it; from an estimate all have the same, and are too much alike by what is not known of it.
    seed : int, Generator or RandomState, optional
        Source of the draws.

    Returns
    -------
    Imputation
        Completed values, their standard deviations, and the draws.

    Raises
    ------
    ArgumentError
        When there are no rows to fill in, `draws` is negative, or `model` is neither a mixture nor a fit.
    DataError
        When the table does not have the columns of the fit, or has infinite values.

    Notes
    -----
    math.md, 2.7. Cost O(n S K D^2) for S posterior draws, and O(S K D^3) for each pattern of missing values.

    References
    ----------
    Ghahramani & Jordan (1994), NIPS 6, 120-127. Rubin (1987), Multiple Imputation for Nonresponse in Surveys.

    Examples
    --------
    >>> mixture = Mixture([1.0], [[0.0, 1.0]], [[[1.0, 0.5], [0.5, 1.0]]], ["x", "y"])
    >>> filled = impute(mixture, [[2.0, np.nan], [0.0, 3.0]])
    >>> filled.values
    array([[2., 2.],
           [0., 3.]])
    >>> filled.sd.round(3)
    array([[0.   , 0.866],
           [0.   , 0.   ]])
    """
    if isinstance(draws, bool) or not isinstance(draws, int | np.integer) or draws < 0:
        raise ArgumentError(f"draws={draws!r} must be a whole number, zero or positive")
    mixture = mixture_of(model)
    table = read_rows(_given_rows(model, X), mixture.features, allow_missing=True)
    batch = mixture.flatten()
    rng = as_generator(recorded_seed(seed))
    # A fitted row has weighed the draws already; one of them serves a whole table.
    parents = _parents(batch.n_mixtures, int(draws), rng) if X is None else None
    values, sd = table.values.copy(), np.zeros(table.values.shape)
    filled = np.repeat(values[None], int(draws), axis=0)
    patterns, which = np.unique(np.isnan(values), axis=0, return_inverse=True)
    for number, is_missing in enumerate(patterns):
        if not is_missing.any():
            continue
        conditional = _Conditional(batch, is_missing, is_fitted=X is None)
        members = np.flatnonzero(which.ravel() == number)
        for part in np.array_split(members, conditional.n_blocks(len(members))):
            rows = table.values[np.ix_(part, ~is_missing)]
            shares, each = conditional.components(rows)
            cells = np.ix_(part, is_missing)
            values[cells], sd[cells] = conditional.moments(shares, each)
            for one in range(int(draws)):
                parent = None if parents is None else int(parents[one])
                filled[one][cells] = conditional.sample(shares, each, parent, rng)
    return Imputation(values, sd, filled, mixture.features, table.rows)


def _given_rows(model: Mixture | MixtureFit, X: Any) -> Any:
    if X is not None:
        return X
    if not isinstance(model, MixtureFit):
        raise ArgumentError("a mixture has no rows of its own; pass X, the rows to fill in")
    return model.prepared


def _parents(n_mixtures: int, n_draws: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Choose the posterior draw of each table, none twice where there are enough."""
    return np.asarray(rng.choice(n_mixtures, size=n_draws, replace=n_draws > n_mixtures), dtype=np.intp)


@dataclass(frozen=True, eq=False)
class _Conditional:
    """What is missing in rows of one pattern, given what was observed of them, under each of S mixtures."""

    batch: Mixture
    is_missing: NDArray[np.bool_]
    is_fitted: bool

    @cached_property
    def slopes(self) -> Floats:
        """B = Sigma_mo Sigma_oo^-1, shape (S, K, T, G)."""
        covariances = self.batch.covariances[:, :, ~self.is_missing]
        solved = np.linalg.solve(covariances[..., ~self.is_missing], covariances[..., self.is_missing])
        return np.asarray(np.swapaxes(solved, -1, -2))

    @cached_property
    def within(self) -> Floats:
        """Covariances of what is missing in each component, given what was observed, shape (S, K, T, T)."""
        covariances = self.batch.covariances[:, :, self.is_missing]
        residual = covariances[..., self.is_missing] - self.slopes @ np.swapaxes(
            covariances[..., ~self.is_missing], -1, -2
        )
        return 0.5 * (residual + np.swapaxes(residual, -1, -2))

    @cached_property
    def cholesky(self) -> Floats:
        """Lower Cholesky factors of `within`."""
        return np.asarray(np.linalg.cholesky(self.within))

    def n_blocks(self, n_rows: int) -> int:
        """Return into how many parts the rows go, so that work arrays stay small."""
        s, k, t, g = self.slopes.shape
        return max(1, -(-n_rows * s * k * (t + g) // BLOCK))

    def components(self, rows: Floats) -> tuple[Floats, Floats]:
        """Return the share of every component, shape (n, S, K), and its conditional means, shape (n, S, K, T)."""
        means = self.batch.means
        offsets = rows[:, None, None, :] - means[..., ~self.is_missing]
        each = means[..., self.is_missing] + np.einsum("sktg,nskg->nskt", self.slopes, offsets)
        log_joint = np.moveaxis(self._log_joint(rows), 0, 1)
        n, s, k = log_joint.shape
        if self.is_fitted:
            return softmax(log_joint) / s, each
        return softmax(log_joint.reshape(n, s * k)).reshape(n, s, k), each

    def _log_joint(self, rows: Floats) -> Floats:
        """Return the log joint densities of what was observed, shape (S, n, K); of nothing, the log weights."""
        if self.is_missing.all():
            with np.errstate(divide="ignore"):
                return np.repeat(np.log(self.batch.weights)[:, None, :], len(rows), axis=1)
        names = [name for name, gone in zip(self.batch.features, self.is_missing, strict=True) if not gone]
        return self.batch.marginal(names).log_joint(rows)

    def moments(self, shares: Floats, each: Floats) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of what is missing, both (n, T)."""
        mean = np.einsum("nsk,nskt->nt", shares, each)
        between = np.einsum("nsk,nskt->nt", shares, (each - mean[:, None, None, :]) ** 2)
        within = np.einsum("nsk,sktt->nt", shares, self.within)
        return mean, np.sqrt(within + between)

    def sample(self, shares: Floats, each: Floats, parent: int | None, rng: np.random.Generator) -> Floats:
        """Draw what is missing, shape (n, T); from one of the mixtures where one is named."""
        s = slice(None) if parent is None else slice(parent, parent + 1)
        shares, each, chols = shares[:, s], each[:, s], self.cholesky[s]
        n, t = len(shares), each.shape[-1]
        cumulative = np.cumsum(shares.reshape(n, -1), axis=1)
        drawn = (rng.random((n, 1)) * cumulative[:, -1:] >= cumulative).sum(axis=1)
        chosen = np.minimum(drawn, cumulative.shape[1] - 1)
        noise = np.einsum("ntu,nu->nt", chols.reshape(-1, t, t)[chosen], rng.standard_normal((n, t)))
        return np.asarray(each.reshape(n, -1, t)[np.arange(n), chosen] + noise)
