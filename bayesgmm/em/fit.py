"""`fit_em`: maximum likelihood from a user's table to a MixtureFit.

Prepares the data, runs the engine on standardised rows (maximise.py), converts to the user's units, orders components
by decreasing weight, and says in warnings what a reader of the result must know.
"""

import time
from collections.abc import Mapping
from typing import Any

from numpy.typing import ArrayLike

from bayesgmm.data import Stream, prepare_or_open
from bayesgmm.em.arguments import (
    check_bound,
    positive,
    read_fixed,
    read_labels,
    read_prior,
    standard_start,
    whole,
)
from bayesgmm.em.conjugate import ConjugatePrior
from bayesgmm.em.loop import passes_shown
from bayesgmm.em.maximise import maximise
from bayesgmm.em.result import Told, log_jacobian, point_fit
from bayesgmm.em.rows import StandardRows
from bayesgmm.errors import ArgumentError
from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import Mixture
from bayesgmm.seeding import as_generator, recorded_seed
from bayesgmm.structure import CovarianceStructure, as_structure

__all__ = ["fit_em"]


def fit_em(
    data: Any,
    n_components: int,
    *,
    structure: str | CovarianceStructure = "full",
    seed: Any = None,
    start: Mixture | MixtureFit | ArrayLike | None = None,
    n_starts: int = 32,
    max_iter: int = 1000,
    tol: float = 1e-10,
    reg_covar: float = 0.0,
    sample_weight: ArrayLike | None = None,
    missing: str = "error",
    labels: Any = None,
    fix: Mapping[str, ArrayLike] | None = None,
    prior: ConjugatePrior | str | None = None,
    max_eigenvalue_ratio: float | None = None,
    n_threads: int | None = None,
    max_memory: float | None = None,
    progress: bool = False,
) -> MixtureFit:
    """Fit a Gaussian mixture by maximum likelihood, or to the mode of a posterior.

    Parameters
    ----------
    data : table or PreparedData
        Rows and columns; see `prepare`.
    n_components : int
        Number of components, K.
    structure : str or CovarianceStructure, default "full"
        Covariance structure: "full", "tied", "diag", "spherical", or one of mclust's codes ("VVV", ...).
    seed : int, Generator or RandomState, optional
        Source of the starts. Without one a seed is drawn, and recorded in ``fit.info.seed``.
    start : Mixture, MixtureFit, labels (n,) or responsibilities (n, K), optional
        Where to start: parameters in the user's units, a partition, or a soft one. Then this is the only start.
    n_starts : int, default 32
        Number of own starts; all get a few passes, the better ones more, the best are run to convergence.
    max_iter : int, default 1000
        Largest number of passes over the data of a run.
    tol : float, default 1e-10
        Converged when the estimate of what is left to gain, in log-likelihood per row, is below it.
    reg_covar : float, default 0.0
        Added to the variances, in units of the variance of the scaled data (dimensionless, so that a fit does not
        depend on the units).
    sample_weight : array_like, shape (n,), optional
        Non-negative weights of the rows.
    missing : {"error", "drop", "marginalize"}, default "error"
        Rows with missing values: refuse them, leave them out, or use what was observed of them, exactly (math.md, 3.9).
    labels : array_like, shape (n,), optional
        Rows whose component is known (math.md, 3.8): a component number from 0 to K - 1 or a name for each row; -1, NaN
        or None where it is not known. Names in their order are the components 0, 1, ...; there may be fewer than K.
        The log-likelihood is then that of the rows and the known labels together.
    fix : dict, optional
        Parameters that are held as they are: some of ``weights`` (K,), ``means`` (K, D) and ``covariances`` (K, D, D),
        user's units; the others are fitted given these (math.md, 3.10).
    prior : ConjugatePrior or "default", optional
        A conjugate prior (math.md, 3.11): the mode of likelihood times prior instead of the maximum of the likelihood.
        It keeps components from collapsing.
    max_eigenvalue_ratio : float, optional
        Largest ratio of two variances, in any direction, within and between components, of the scaled data (math.md,
        3.12): the likelihood is bounded then. For full, tied, diag, spherical, EEI and EII.
    n_threads : int, optional
        Threads; no influence on the result. Default: all cores where the data are large.
    max_memory : float, optional
        Bytes that rows may take in memory; what needs more is read chunk by chunk. Default half of what is available.
    progress : bool, default False
        Whether to show how many passes over the data the best runs have made.

    Returns
    -------
    MixtureFit
        The estimate, user's units. Components come by decreasing weight; those that `labels` or `fix` name come in
        that order. ``fit.optima`` lists every optimum found.

    Raises
    ------
    DataError
        When the table cannot be used.
    ArgumentError
        When an argument is illegal.
    FitError
        When no start led to positive definite covariances: columns are collinear, or rows tie.

    Warns
    -----
    ConvergenceWarning
        When the best run stopped at `max_iter`.
    DegenerateFitWarning
        When every optimum found has a collapsed or an empty component, or only a wide bound keeps one from collapsing.

    References
    ----------
    Dempster, Laird & Rubin (1977), J. R. Stat. Soc. B 39, 1-38. Celeux & Govaert (1995), Pattern Recognition 28,
    781-793. Fraley & Raftery (2007), J. Classif. 24, 155-181. Fritz, Garcia-Escudero & Mayo-Iscar (2013), Comput.
    Stat. Data Anal. 61, 124-136.

    Examples
    --------
    >>> from bayesgmm import load_dataset
    >>> fit = fit_em(load_dataset("faithful"), 2, seed=0)
    >>> round(fit.log_likelihood, 3)
    -1130.264
    """
    limits: dict[str, Any] = {
        "n_starts": whole("n_starts", n_starts), "max_iter": whole("max_iter", max_iter),
        "tol": positive("tol", tol), "reg_covar": positive("reg_covar", reg_covar, or_zero=True),
    }  # fmt: skip
    n_threads = None if n_threads is None else whole("n_threads", n_threads)
    prepared = prepare_or_open(data, sample_weight=sample_weight, missing=missing, max_memory=max_memory)
    if isinstance(prepared, Stream):
        # It builds on this module.
        from bayesgmm.em.stream_fit import fit_stream

        if labels is not None:
            raise ArgumentError("labels needs all rows in memory, and these are read chunk by chunk; leave it out")
        return fit_stream(
            prepared, n_components, structure=structure, seed=seed, start=start, fix=fix, prior=prior,
            max_eigenvalue_ratio=max_eigenvalue_ratio, n_threads=n_threads, max_memory=max_memory,
            progress=progress, **limits,
        )  # fmt: skip
    prepared.check_components(n_components)
    chosen = as_structure(structure, prepared.n_features)
    scaling = prepared.scaling(chosen)
    known = read_labels(labels, n_components, data, prepared, missing)
    fixed = read_fixed(fix, chosen, scaling, n_components)
    bound = check_bound(max_eigenvalue_ratio, chosen, fixed)
    number = recorded_seed(seed)
    begun = time.perf_counter()
    with passes_shown(progress=progress) as tell:
        solution = maximise(
            StandardRows(prepared.values, scaling),
            n_components,
            structure=chosen,
            sample_weight=prepared.sample_weight,
            start=standard_start(start, scaling, data, prepared, n_components, missing),
            labels=None if known is None else known.components,
            fixed=fixed.to_standard(scaling),
            prior=read_prior(prior, scaling, limits["reg_covar"], fixed),
            max_eigenvalue_ratio=bound,
            rng=as_generator(number),
            n_threads=n_threads,
            features=prepared.features,
            progress=tell,
            **limits,
        )
    settings = limits | {"scale": prepared.scale, "n_dropped": prepared.n_dropped}
    settings |= {"start": "own"} if start is None else {"start": "given", "n_starts": 1}
    return point_fit(
        solution, prepared, scaling, chosen, told=Told(fixed, bound, known), seed=number, settings=settings,
        begun=begun, offset=log_jacobian(prepared, scaling),
    )  # fmt: skip
