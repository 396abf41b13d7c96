"""`bootstrap_lrt`: whether K components are enough or one more is needed.

Twice the gain in log-likelihood from K to K + 1 components is not chi-squared, because under K components the
parameters of one more are not determined. Its distribution is simulated instead: rows are drawn from the fit with K,
and both numbers are fitted to them (McLachlan 1987; math.md, 9.9).

The test is right only if the maximum is searched for with the same effort in the data and in every replicate, so both
go through one function. K + 1 components start from own starts and from the fit with K, each of its components cut in
two; so the gain can hardly be negative.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesgmm.data import prepare
from bayesgmm.em.arguments import positive, whole
from bayesgmm.em.bootstrap import in_parallel
from bayesgmm.em.maximise import EMSolution, maximise
from bayesgmm.errors import FitError
from bayesgmm.mixture import Mixture
from bayesgmm.seeding import as_generator, recorded_seed
from bayesgmm.showing import Shown
from bayesgmm.structure import CovarianceStructure, as_structure

__all__ = ["BootstrapLRT", "bootstrap_lrt"]

Floats = NDArray[np.float64]

# Halves of a normal distribution cut at its mean: distance of their means from it, and their variance, in its units.
_HALF_MEAN = float(np.sqrt(2.0 / np.pi))
_HALF_VARIANCE = 1.0 - 2.0 / np.pi
_MAX_FAILED = 0.2


@dataclass(frozen=True, eq=False)
class BootstrapLRT(Shown):
    """A bootstrap likelihood-ratio test of K components against K + 1.

    Parameters
    ----------
    n_components : int
        Number of components under the null hypothesis, K.
    structure : CovarianceStructure
        The covariance structure of both.
    statistic : float
        Twice the gain in log-likelihood from K to K + 1, dimensionless.
    p_value : float
        Share of replicates (the data among them) whose statistic is as large.
    p_value_se : float
        Monte Carlo standard error of the p-value.
    replicates : ndarray, shape (replicates,)
        The statistic under the null hypothesis, in increasing order.
    n_failed : int
        Replicates left out because no sound fit was found.
    seed : int
        Seed of starts and replicates.
    """

    n_components: int
    structure: CovarianceStructure
    statistic: float
    p_value: float
    p_value_se: float
    replicates: Floats
    n_failed: int
    seed: int

    def __repr__(self) -> str:
        return (
            f"BootstrapLRT({self.n_components} against {self.n_components + 1} components, {self.structure}: "
            f"2 log ratio {self.statistic:.2f}, p = {self.p_value:.3g} +- {self.p_value_se:.1g}, "
            f"{len(self.replicates)} replicates)"
        )


def bootstrap_lrt(
    data: Any,
    n_components: int,
    *,
    structure: str | CovarianceStructure = "full",
    n_boot: int = 99,
    seed: Any = None,
    n_starts: int = 8,
    max_iter: int = 1000,
    tol: float = 1e-8,
    reg_covar: float = 0.0,
    sample_weight: ArrayLike | None = None,
    n_threads: int | None = None,
    progress: bool = False,
) -> BootstrapLRT:
    """Test K components against K + 1 by the parametric bootstrap.

    Parameters
    ----------
    data : table or PreparedData
        Rows and columns; see `prepare`.
    n_components : int
        Number of components under the null hypothesis, K.
    structure : str or CovarianceStructure, default "full"
        Covariance structure of both.
    n_boot : int, default 99
        Number of replicates; 99 are enough to test at 5 %.
    seed : int, Generator or RandomState, optional
        Source of starts and replicates. Without one a seed is drawn, and recorded in ``.seed``.
    n_starts : int, default 8
        Own starts of every fit, to the data and to each replicate alike.
    max_iter : int, default 1000
        Largest number of passes of a run.
    tol : float, default 1e-8
        Converged when the estimate of the log-likelihood per row that is left to gain is below it.
    reg_covar : float, default 0.0
        As in `fit_em`, for every fit.
    sample_weight : array_like, shape (n,), optional
        Frequencies of the rows; replicates have as many rows as their sum.
    n_threads : int, optional
        Threads that share the replicates; no influence on the result. Default: all cores.
    progress : bool, default False
        Whether to show progress.

    Returns
    -------
    BootstrapLRT
        Statistic, p-value with its Monte Carlo error, replicates.

    Raises
    ------
    DataError
        When the table cannot be used.
    ArgumentError
        When an argument is illegal.
    FitError
        When no sound fit is found: to the data, or to a fifth of the replicates.

    References
    ----------
    McLachlan (1987), Appl. Stat. 36, 318-324.

    Examples
    --------
    >>> from bayesgmm import load_dataset
    >>> test = bootstrap_lrt(load_dataset("faithful"), 1, n_boot=4, n_starts=1, seed=0)
    >>> round(test.statistic, 1), test.p_value
    (319.1, 0.2)
    """
    n_boot, n_starts = whole("n_boot", n_boot), whole("n_starts", n_starts)
    limits = {
        "max_iter": whole("max_iter", max_iter), "tol": positive("tol", tol),
        "reg_covar": positive("reg_covar", reg_covar, or_zero=True),
    }  # fmt: skip
    prepared = prepare(data) if sample_weight is None else prepare(data, sample_weight=sample_weight)
    prepared.check_components(n_components)
    prepared.check_components(n_components + 1)
    chosen = as_structure(structure, prepared.n_features)
    number = recorded_seed(seed)
    search = _Search(n_components, chosen, n_starts, limits)
    Z, weights = prepared.scaling(chosen).standardize(prepared.values), prepared.sample_weight
    observed = search.run(Z, weights, as_generator(number))
    if observed is None:
        raise FitError(
            f"no sound fit of {n_components} and of {n_components + 1} components was found: use fewer components, a "
            "simpler structure, or reg_covar=1e-3"
        )
    statistic, null = observed
    size = max(1, round(prepared.effective_rows))

    def work(rng: np.random.Generator) -> float:
        """Return the statistic of rows drawn from the fit with K; NaN when a fit to them is not sound."""
        found = search.run(null.sample(size, rng)[0], None, rng)
        return np.nan if found is None else found[0] * prepared.effective_rows / size

    streams = as_generator(number, purpose=1).spawn(n_boot)
    values = np.array(in_parallel(work, streams, n_threads=n_threads, progress=progress))
    return _tested(search, statistic, values, number)


@dataclass(frozen=True, eq=False)
class _Search:
    """How the maximum is searched for with K and with K + 1 components."""

    n_components: int
    structure: CovarianceStructure
    n_starts: int
    settings: dict[str, Any]

    def run(self, Z: Floats, weights: Floats | None, rng: np.random.Generator) -> tuple[float, Mixture] | None:
        """Return the statistic and the fit with K components; None when one of the fits is not sound."""
        null = self._fit(Z, weights, self.n_components, n_starts=self.n_starts, rng=rng)
        if null is None:
            return None
        larger = self.n_components + 1
        fits = [self._fit(Z, weights, larger, n_starts=self.n_starts, rng=rng)]
        fits += [
            self._fit(Z, weights, larger, start=_cut_in_two(null.mixture, component))
            for component in range(self.n_components)
        ]
        best = max((fit.log_likelihood for fit in fits if fit is not None), default=None)
        return None if best is None else (2.0 * (best - null.log_likelihood), null.mixture)

    def _fit(self, Z: Floats, weights: Floats | None, k: int, **start: Any) -> EMSolution | None:
        try:
            found = maximise(
                Z, k, structure=self.structure, sample_weight=weights, n_threads=1, **self.settings, **start
            )
        except (FitError, np.linalg.LinAlgError):
            return None
        return None if found.degenerate_components else found


def _cut_in_two(mixture: Mixture, component: int) -> Mixture:
    """Return the mixture with one component cut through its mean, across its longest axis."""
    variances, axes = np.linalg.eigh(mixture.covariances[component])
    axis = axes[:, -1] * np.sqrt(variances[-1])
    half = mixture.covariances[component] - (1.0 - _HALF_VARIANCE) * np.outer(axis, axis)
    weights = np.append(mixture.weights, 0.5 * mixture.weights[component])
    weights[component] *= 0.5
    means = np.concatenate([mixture.means, [mixture.means[component] + _HALF_MEAN * axis]])
    means[component] -= _HALF_MEAN * axis
    covariances = np.concatenate([mixture.covariances, [half]])
    covariances[component] = half
    return Mixture(weights, means, covariances, mixture.features)


def _tested(search: _Search, statistic: float, values: Floats, seed: int) -> BootstrapLRT:
    replicates = np.sort(values[np.isfinite(values)])
    n_failed = len(values) - len(replicates)
    if n_failed > _MAX_FAILED * len(values):
        raise FitError(
            f"no sound fit was found in {n_failed} of {len(values)} replicates; use a simpler structure or "
            "reg_covar=1e-3"
        )
    cases = len(replicates) + 1
    p_value = (1 + np.count_nonzero(replicates >= statistic)) / cases
    return BootstrapLRT(
        n_components=search.n_components,
        structure=search.structure,
        statistic=statistic,
        p_value=float(p_value),
        p_value_se=float(np.sqrt(p_value * (1.0 - p_value) / cases)),
        replicates=replicates,
        n_failed=n_failed,
        seed=seed,
    )
