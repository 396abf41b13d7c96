"""MixtureFit: what is derived from the tree of a fit, by whatever method it was made."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bayesgmm.data.prepare import PreparedData, read_rows
from bayesgmm.data.scaling import Scaling
from bayesgmm.data.tables import Table
from bayesgmm.errors import ArgumentError
from bayesgmm.fit.info import FitInfo
from bayesgmm.mixture import BLOCK, Mixture, log_sum_exp
from bayesgmm.posterior.checks import check_prob
from bayesgmm.posterior.memberships import memberships
from bayesgmm.posterior.partitions import Partition, partition_mixture
from bayesgmm.showing import Shown
from bayesgmm.structure import CovarianceStructure, as_structure

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from bayesgmm.em.standard_errors import StandardErrors

__all__ = ["MixtureFit"]

Floats = NDArray[np.float64]


class MixtureFit(Shown):
    """A fitted Gaussian mixture: one estimate, or posterior draws.

    Made by `fit_em`, `fit_bayes` and `load`; not by hand.

    Parameters
    ----------
    tree : xarray.DataTree
        The result, in the user's units; any ``az.*`` function takes it as it is.
    model : pymc.Model, optional
        The model that was sampled, in standardised units. Not saved.
    """

    def __init__(self, tree: "xr.DataTree", model: Any = None) -> None:
        self.tree = tree
        self.model = model

    # ---------------------------------------------------------------- what it is

    @cached_property
    def info(self) -> FitInfo:
        """How the fit was made."""
        return FitInfo.from_json(self.tree.attrs["bayesgmm_info"])

    @property
    def method(self) -> str:
        """``"em"``, or the name of the sampler."""
        return self.info.method

    @property
    def has_draws(self) -> bool:
        """Whether this is a set of draws (True) or a single estimate (False)."""
        sizes = self.tree["posterior"].sizes
        return bool(sizes["chain"] * sizes["draw"] > 1)

    @cached_property
    def structure(self) -> CovarianceStructure:
        """The covariance structure."""
        return as_structure(self.info.structure)

    @property
    def n_components(self) -> int:
        """Number of components, K."""
        return self.info.n_components

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns."""
        return self.mixture.features

    @property
    def n_rows(self) -> int:
        """Number of rows that were fitted, n."""
        return int(self.tree["observed_data"].sizes["row"] if self.holds_all_rows else self._of_all_rows("n_rows"))

    @property
    def holds_all_rows(self) -> bool:
        """Whether the rows that were fitted are here, not only a sample of them."""
        return "all_rows" not in self.tree.children

    @property
    def effective_rows(self) -> float:
        """Sum of the weights of all rows that were fitted; n where there are none."""
        return self.prepared.effective_rows if self.holds_all_rows else self._of_all_rows("effective_rows")

    @cached_property
    def mixture(self) -> Mixture:
        """The parameters, user's units: no leading dimensions for an estimate, (chain, draw) for draws."""
        mixture = Mixture.from_dataset(self.tree["posterior"].to_dataset())
        return mixture if self.has_draws else mixture[0, 0]

    @cached_property
    def prepared(self) -> PreparedData:
        """The data that were fitted, or the sample of them that is held (`holds_all_rows`), user's units."""
        observed = self.tree["observed_data"].to_dataset()["x"]
        constant = self.tree["constant_data"].to_dataset()
        weights = constant["sample_weight"].values if "sample_weight" in constant else None
        return PreparedData(
            observed.values, tuple(map(str, observed["feature"].values)), observed["row"].values, weights,
            scale=self.info.settings.get("scale", "auto"), n_dropped=self.info.settings.get("n_dropped", 0),
        )  # fmt: skip

    @cached_property
    def scaling(self) -> Scaling:
        """The change of units under which the fit ran."""
        constant = self.tree["constant_data"].to_dataset()
        return Scaling(constant["shift"].values, constant["scale"].values)

    def check_holds_all_rows(self, purpose: str) -> None:
        """Refuse what a sample of the rows cannot give.

        Parameters
        ----------
        purpose : str
            What the rows are wanted for, in the user's words.

        Raises
        ------
        ArgumentError
            When the fit holds a sample only.
        """
        if not self.holds_all_rows:
            raise ArgumentError(
                f"{purpose} needs every row, and this fit, made from more rows than memory holds, has a sample of "
                f"{self.prepared.n_rows:,} of {self.n_rows:,}; pass rows, or fit a table that fits into memory"
            )

    # ---------------------------------------------------------------- likelihood and criteria

    @cached_property
    def log_likelihood(self) -> Any:
        """Log-likelihood of the fitted rows, user's units: a float for an estimate, (chain, draw) for draws."""
        if not self.holds_all_rows:
            totals = np.asarray(self.tree["all_rows"]["log_likelihood"])
            return totals if self.has_draws else float(totals)
        if "log_likelihood" in self.tree.children:
            totals = self.tree["log_likelihood"].to_dataset()["x"].sum("row").values
        else:
            totals = self._summed_log_density()
        return totals if self.has_draws else float(np.squeeze(totals))

    @property
    def n_parameters(self) -> int:
        """Number of free parameters; those that were given (``fix=``), and the weights of k-means, are not free."""
        k, d = self.n_components, len(self.features)
        counts = {
            "weights": k - 1,
            "means": k * d,
            "covariances": self.structure.n_covariance_parameters(k, d),
        }
        return sum(count for name, count in counts.items() if name not in self.info.settings.get("fixed", ()))

    @property
    def aic(self) -> float:
        """Akaike's information criterion, -2 log L + 2 p; smaller is better (math.md, 2.4)."""
        return -2.0 * self._point("aic") + 2.0 * self.n_parameters

    @property
    def bic(self) -> float:
        """Bayesian information criterion, -2 log L + p log n; smaller is better (math.md, 2.4).

        This is scikit-learn's sign; R's mclust reports minus this number. With row weights, n is their sum.
        """
        return -2.0 * self._point("bic") + self.n_parameters * float(np.log(self.effective_rows))

    @property
    def icl(self) -> float:
        """Integrated completed likelihood, BIC plus twice the uncertainty of the allocation (math.md, 2.4)."""
        self._point("icl")
        if not self.holds_all_rows:
            return self.bic - 2.0 * self._of_all_rows("log_certainty")
        prepared = self.prepared
        certainty = np.log(self.responsibilities(prepared).max(axis=1))
        known = self.tree["constant_data"].to_dataset().get("known_component")
        certainty = certainty if known is None else np.where(known.values >= 0, 0.0, certainty)
        weighted = certainty if prepared.sample_weight is None else certainty * prepared.sample_weight
        return self.bic - 2.0 * float(weighted.sum())

    # ---------------------------------------------------------------- how EM got there

    @property
    def optima(self) -> "pd.DataFrame":
        """Every distinct optimum that EM found, best first: log_likelihood, times_reached, is_degenerate."""
        found = self._em_group("optima")[["log_likelihood", "times_reached", "is_degenerate"]]
        return (
            found.drop_vars(["component", "feature", "feature_bis"], errors="ignore")
            .to_dataframe()
            .astype({"is_degenerate": bool})
        )

    @property
    def em_trace(self) -> Floats:
        """Log-likelihood after every iteration of the EM run that won, user's units, shape (iterations,)."""
        return np.asarray(self._em_group("optimization")["log_likelihood"].values)

    def standard_errors(self, method: str = "information", **options: Any) -> "StandardErrors":
        """Compute standard errors of an EM estimate (math.md, 9).

        Parameters
        ----------
        method : str, default "information"
            "information", "sandwich", "empirical", "bootstrap", "parametric_bootstrap", "weighted_bootstrap" or
            "jackknife".
        **options
            ``n_boot``, ``seed``, ``prob``, ...; see `bayesgmm.em.standard_errors.standard_errors`.

        Returns
        -------
        StandardErrors
            ``.table`` has estimate, standard error and interval of every parameter, user's units.
        """
        from bayesgmm.em.standard_errors import standard_errors

        return standard_errors(self, method, **options)

    # ---------------------------------------------------------------- new and old rows

    def log_density(self, X: Any = None) -> Floats:
        """Compute the log density of rows; for draws the log of the average density, the posterior predictive.

        Parameters
        ----------
        X : array_like or DataFrame, shape (n, D), optional
            Rows, user's units. Default the fitted rows, where all of them are held.

        Returns
        -------
        ndarray, shape (n,)
            Log densities, user's units.
        """
        rows = self._read(X)
        out = np.full(len(rows), -np.inf)
        for part in self._draws_at_a_time(len(rows)):
            out = np.logaddexp(out, log_sum_exp(part.log_density(rows), axis=0))
        return out - np.log(self.mixture.n_mixtures)

    def responsibilities(self, X: Any = None) -> Floats:
        """Compute p(z = k | x); for draws its posterior mean.

        Parameters
        ----------
        X : array_like or DataFrame, shape (n, D), optional
            Rows, user's units. Default the fitted rows, where all of them are held.

        Returns
        -------
        ndarray, shape (n, K)
            Probabilities that sum to one.
        """
        rows = self._read(X)
        out = np.zeros((len(rows), self.n_components))
        for part in self._draws_at_a_time(len(rows) * self.n_components):
            out += part.responsibilities(rows).sum(axis=0)
        return out / self.mixture.n_mixtures

    def predict(self, X: Any = None) -> NDArray[np.intp]:
        """Return the most probable component of each row.

        Parameters
        ----------
        X : array_like or DataFrame, shape (n, D), optional
            Rows, user's units. Default the fitted rows, where all of them are held.

        Returns
        -------
        ndarray of int, shape (n,)
            Component numbers; for draws those with the largest posterior mean.
        """
        return np.asarray(self.responsibilities(X).argmax(axis=1))

    def sample(self, n: int, seed: Any = None) -> tuple[Floats, NDArray[np.intp]]:
        """Generate rows from the estimate, or from the posterior predictive.

        Parameters
        ----------
        n : int
            Number of rows.
        seed : int or Generator, optional
            Anything that `numpy.random.default_rng` takes.

        Returns
        -------
        X : ndarray, shape (n, D)
            Rows, user's units.
        labels : ndarray of int, shape (n,)
            The component that each row came from.
        """
        return self.mixture.sample(n, seed)

    def memberships(
        self, X: Any = None, *, prob: float = 0.95, standard_errors: Any = None, progress: bool = False
    ) -> "xr.Dataset":
        """Compute the membership of each row with its interval and its entropies.

        Parameters
        ----------
        X : array_like or DataFrame, shape (n, D), optional
            Rows, user's units. Default the fitted rows, where all of them are held.
        prob : float, default 0.95
            Probability that the intervals hold.
        standard_errors : str or StandardErrors, optional
            For an EM fit: where the intervals come from, such as "information" or "bootstrap" (math.md, 9.10).
        progress : bool, default False
            Whether to show the progress of a bootstrap.

        Returns
        -------
        xarray.Dataset
            ``mean``, ``lower``, ``upper`` over (row, component); ``map_component``, ``map_share``, ``entropy``,
            ``entropy_aleatoric``, ``entropy_epistemic`` over (row). For a single estimate without standard errors the
            interval has no width and the epistemic part is zero: it knows nothing of its own uncertainty.
        """
        prob = check_prob(prob)
        if standard_errors is not None:
            from bayesgmm.em.membership_intervals import membership_intervals

            return membership_intervals(self, X, standard_errors, prob=prob, progress=progress)
        table = self._read_table(X)
        return memberships(self.mixture, table.values, table.rows, prob=prob)

    def partition(self, loss: str = "vi", X: Any = None, **options: Any) -> Partition:
        """Find the partition of the rows that loses least on average over the draws (math.md, 7.4 to 7.7).

        Parameters
        ----------
        loss : {"vi", "vi_lb", "binder", "ari"}, default "vi"
            Variation of information, its lower bound, Binder's loss, or one minus the adjusted Rand index.
        X : array_like or DataFrame, shape (n, D), optional
            Rows, user's units. Default the fitted rows, where all of them are held.
        **options
            ``n_runs``, ``prob``, ``seed``, ``max_clusters``, ``max_rows``, ``progress``; see `bayesgmm.partition`.

        Returns
        -------
        Partition
            Labels, expected loss, similarity matrix and credible ball. It does not depend on the names of components.
        """
        found = partition_mixture(self.mixture, self._read(X), loss, **options)
        if X is not None or self.prepared.sample_weight is None:
            return found
        return replace(found, notes=(*found.notes, "each row counts once, whatever its weight"))

    # ---------------------------------------------------------------- showing and saving

    def summary(self, *, prob: float | None = None) -> Any:
        """Summarise the fit: header, table of parameters, footer, advice.

        Parameters
        ----------
        prob : float, optional
            Probability of the intervals. Default ``az.rcParams["stats.ci_prob"]``.

        Returns
        -------
        Summary
            It prints itself in a terminal and in a notebook; ``.table`` is a DataFrame.
        """
        from bayesgmm.reporting.summary import summarize

        return summarize(self, prob=prob)

    def save(self, path: str | Path) -> Path:
        """Save the fit as one file, written whole or not at all.

        Parameters
        ----------
        path : str or Path
            NetCDF (``.nc``) or Zarr (``.zarr``).

        Returns
        -------
        Path
            Where it was written; `load` reads it.
        """
        from bayesgmm.storage import save

        return save(self, path)

    def __repr__(self) -> str:
        sizes = self.tree["posterior"].sizes
        draws = f"{sizes['chain']} chains x {sizes['draw']} draws" if self.has_draws else "one estimate"
        return (
            f"MixtureFit({self.method}: {self.n_components} components, {self.structure}, {draws}, "
            f"{self.n_rows} rows x {len(self.features)} columns"
            + (")" if self.holds_all_rows else f", holding a sample of {self.prepared.n_rows})")
        )

    # ---------------------------------------------------------------- inner

    def _summed_log_density(self) -> Floats:
        """Sum without holding draws x rows, which is too much where the tree has no pointwise log-likelihood."""
        prepared = self.prepared
        weights = np.ones(prepared.n_rows) if prepared.sample_weight is None else prepared.sample_weight
        totals = [part.log_density(prepared.values) @ weights for part in self._draws_at_a_time(prepared.n_rows)]
        return np.concatenate(totals).reshape(self.mixture.batch_shape)

    def _draws_at_a_time(self, size: int) -> Iterator[Mixture]:
        """Cut the draws so that `size` numbers for each of them are a work array."""
        draws = self.mixture.flatten()
        step = max(1, BLOCK // max(size, 1))
        for first in range(0, draws.n_mixtures, step):
            yield draws[first : first + step]

    def _read_table(self, X: Any) -> Table:
        """Read rows; they may have missing values where those of the fit had."""
        if X is None:
            self.check_holds_all_rows("what is computed for each fitted row")
        return read_rows(self.prepared if X is None else X, self.features, allow_missing=self.prepared.has_missing)

    def _read(self, X: Any) -> Floats:
        return self._read_table(X).values

    def _of_all_rows(self, name: str) -> float:
        return float(self.tree["all_rows"][name])

    def _em_group(self, name: str) -> "xr.Dataset":
        if name not in self.tree.children:
            raise ArgumentError(f"a fit by {self.method!r} has no {name}; only EM fits have")
        return self.tree[name].to_dataset()

    def _point(self, name: str) -> float:
        if self.has_draws:
            raise ArgumentError(f"{name} belongs to a point estimate; for draws use az.loo(fit.tree)")
        return float(self.log_likelihood)
