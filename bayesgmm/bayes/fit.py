"""`fit_bayes`: the posterior of a Gaussian mixture, from a user's table to a MixtureFit.

Prepares the data, fits by EM first (the chains start there, and it gives the components their names), samples the PyMC
model, converts the draws to the user's units, relabels them, and warns where the result cannot be trusted.
"""

import time
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import ArrayLike

from bayesgmm.bayes.model import MODELLED, build_model, start_values
from bayesgmm.bayes.nuts import sample_nuts
from bayesgmm.bayes.priors import Priors
from bayesgmm.data import PreparedData, Scaling, prepare
from bayesgmm.em.fit import fit_em
from bayesgmm.errors import ArgumentError, LabelWarning, SamplingWarning
from bayesgmm.fit import FitInfo, MixtureFit, assemble
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.parameters import parameter_draws
from bayesgmm.posterior.relabel import Relabelling, relabel
from bayesgmm.seeding import as_generator, recorded_seed
from bayesgmm.structure import CovarianceStructure, as_structure

__all__ = ["fit_bayes"]

_OWN_VARIABLES = ("weights", "means", "covariances")
_BAD_R_HAT = 1.01
#: Draws that tails and R-hat need (Vehtari et al. 2021: 100 effective draws for each of four chains).
_FEW_DRAWS = 400


def fit_bayes(
    data: Any,
    n_components: int,
    *,
    structure: str | CovarianceStructure = "full",
    priors: Priors | None = None,
    seed: Any = None,
    draws: int = 1000,
    tune: int = 500,
    chains: int = 4,
    em: MixtureFit | None = None,
    model: pm.Model | None = None,
    sampler: str | Callable[..., Any] = "nuts",
    sample_weight: ArrayLike | None = None,
    missing: str = "error",
    progress: bool = False,
    **options: Any,
) -> MixtureFit:
    """Sample the posterior of a Gaussian mixture.

    Parameters
    ----------
    data : table or PreparedData
        Rows and columns; see `prepare`.
    n_components : int
        Number of components, K.
    structure : str or CovarianceStructure, default "full"
        Covariance structure: "full", "tied", "diag", "spherical", "EEI" or "EII".
    priors : Priors, optional
        Default `Priors()`, scaled to the data.
    seed : int, Generator or RandomState, optional
        Without one a seed is drawn, and recorded in ``fit.info.seed``.
    draws, tune, chains : int
        Draws kept in each chain (default 1000), adaptation steps before them (500), number of chains (4).
    em : MixtureFit, optional
        An EM fit of the same rows: where chains start, and what components are called. Default: `fit_em` is called.
    model : pymc.Model, optional
        Made by `build_model` from the same data and changed as you like; it must keep variables named ``weights``,
        ``means`` and ``covariances``. Not together with `priors`.
    sampler : {"nuts"} or callable, default "nuts"
        "nuts": nutpie where every variable is continuous, PyMC's own NUTS otherwise. A callable is called as
        ``sampler(model, draws=, tune=, chains=, random_seed=, **options)`` and returns a DataTree with a posterior.
    sample_weight : array_like, shape (n,), optional
        Non-negative weights of the rows: a power likelihood.
    missing : {"error", "drop"}, default "error"
        See `prepare`.
    progress : bool, default False
        Whether to show progress.
    **options
        For the sampler, such as ``target_accept`` or ``cores``.

    Returns
    -------
    MixtureFit
        The draws, relabelled, user's units; ``fit.tree`` is for ArviZ.

    Raises
    ------
    DataError
        When the table cannot be used.
    ArgumentError
        When an argument is illegal.
    FitError
        When the log posterior is not finite where the chains start.

    Warns
    -----
    SamplingWarning
        Divergences, R-hat above 1.01, or fewer than 400 effective draws.
    LabelWarning
        When components cannot be told apart in too many draws.

    Notes
    -----
    The model is math.md, 4. Labels are summed out of the likelihood; draws are relabelled afterwards (math.md, 6).
    """
    _check_settings(draws, tune, chains, options)
    prepared = prepare(data, sample_weight=sample_weight, missing=missing)
    prepared.check_components(n_components)
    prepared.check_complete("sampling")
    chosen = as_structure(structure, prepared.n_features)
    if chosen.code not in MODELLED:
        raise ArgumentError(f"structure {chosen} has no PyMC model; use one of {', '.join(MODELLED)}")
    number = recorded_seed(seed)
    scaling = prepared.scaling(chosen)
    reference = _reference(em, prepared, n_components, chosen, number)
    prior_words = _describe_priors(priors, model, prepared, chosen, n_components)
    if model is None:
        model = build_model(prepared, n_components, chosen, priors)
    _check_model(model)
    begun = time.perf_counter()
    chain_seed = int(as_generator(number, purpose=1).integers(2**31))
    plan = {"draws": int(draws), "tune": int(tune), "chains": int(chains), "seed": chain_seed}
    start = start_values(model, chosen, scaling.mixture_to_standard(reference.mixture))
    groups = _sample(sampler, model, start, plan, progress, options)
    seconds = time.perf_counter() - begun
    draws_user = _to_user(groups["posterior"], scaling, prepared)
    matched = relabel(draws_user, prepared.values, reference=reference.mixture, sample_weight=prepared.sample_weight)
    groups["posterior"] = _relabelled_extras(groups["posterior"], matched)
    diagnostics = {"seconds": seconds, **_diagnose(matched, groups, chosen)}
    method = sampler if isinstance(sampler, str) else "callable"
    settings = {**plan, **prior_words, "sampler": method, "scale": prepared.scale, "n_dropped": prepared.n_dropped}
    _warn(diagnostics)
    info = FitInfo(
        method, chosen.code, int(n_components), number, settings,
        diagnostics, {name: version(name) for name in ("bayesgmm", "pymc", "arviz", "nutpie", "numpy")},
    )  # fmt: skip
    return assemble(matched.mixture, prepared, info, scaling, groups=groups, model=model)


# -------------------------------------------------------------------- before


def _check_settings(draws: int, tune: int, chains: int, options: Mapping[str, Any]) -> None:
    for name, value, least in (("draws", draws, 1), ("chains", chains, 1), ("tune", tune, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ArgumentError(f"{name}={value!r} must be a whole number, at least {least}")
    accept = options.get("target_accept", 0.8)
    if not 0 < accept < 1:
        raise ArgumentError(f"target_accept={accept!r} must lie between 0 and 1")


def _describe_priors(
    priors: Priors | None, model: pm.Model | None, prepared: PreparedData, structure: CovarianceStructure, k: int
) -> dict[str, Any]:
    """Return the priors for the record: as data, and in words."""
    if model is not None:
        if priors is not None:
            raise ArgumentError("pass priors or model, not both: a model has its priors already")
        return {"priors": None, "priors_in_words": "those of the model that was given"}
    given = priors or Priors()
    return {"priors": given.to_dict(), "priors_in_words": given.resolve(prepared, structure, k).describe()}


def _check_model(model: pm.Model) -> None:
    absent = [name for name in _OWN_VARIABLES if name not in model.named_vars]
    if absent:
        raise ArgumentError(f"the model has no variable named {absent[0]!r}; keep weights, means and covariances")


def _reference(
    em: MixtureFit | None, prepared: PreparedData, n_components: int, structure: CovarianceStructure, seed: int
) -> MixtureFit:
    """Return the EM fit that gives starts and names."""
    if em is None:
        return fit_em(prepared, n_components, structure=structure, seed=seed)
    if em.has_draws or em.n_components != n_components or em.features != prepared.features:
        raise ArgumentError(
            f"em={em!r} must be a point estimate with {n_components} components and the columns "
            f"{', '.join(prepared.features)}"
        )
    return em


# -------------------------------------------------------------------- sampling


def _sample(
    sampler: str | Callable[..., Any], model: pm.Model, start: Mapping[str, Any], plan: Mapping[str, int],
    progress: bool, options: Mapping[str, Any],
) -> dict[str, xr.Dataset]:  # fmt: skip
    if sampler == "nuts":
        return sample_nuts(model, start=start, progress=progress, **plan, **options)
    if not callable(sampler):
        raise ArgumentError(f"sampler={sampler!r} is not known; use 'nuts' or a callable")
    counts = {name: plan[name] for name in ("draws", "tune", "chains")}
    with model:
        tree = sampler(model, random_seed=plan["seed"], **counts, **options)
    return {name: tree[name].to_dataset() for name in ("posterior", "sample_stats") if name in tree.children}


def _to_user(posterior: xr.Dataset, scaling: Scaling, prepared: PreparedData) -> Mixture:
    weights, means, covariances = (posterior[name].transpose("chain", "draw", ...).values for name in _OWN_VARIABLES)
    return scaling.mixture_to_user(Mixture(weights, means, covariances, prepared.features))


def _relabelled_extras(posterior: xr.Dataset, matched: Relabelling) -> xr.Dataset:
    """Keep the variables that a user has added, their components permuted like the rest."""
    extras = posterior.drop_vars([*_OWN_VARIABLES, "precisions"], errors="ignore")
    order = xr.DataArray(matched.permutations, dims=("chain", "draw", "component"))
    unused = [name for name in ("component", "feature", "feature_bis") if name not in extras.dims]
    permuted = extras.map(lambda values: values.isel(component=order) if "component" in values.dims else values)
    return permuted.drop_dims([dim for dim in permuted.dims if str(dim).startswith("precisions_")]).drop_vars(
        unused, errors="ignore"
    )


# -------------------------------------------------------------------- after


def _diagnose(matched: Relabelling, groups: Mapping[str, xr.Dataset], structure: CovarianceStructure) -> dict[str, Any]:
    import arviz as az

    names, values = parameter_draws(matched.mixture, structure)
    draws = xr.Dataset({"parameter": (("chain", "draw", "name"), values)}, coords={"name": names})
    r_hat = az.rhat(draws)["parameter"].values if values.shape[0] > 1 else np.full(len(names), np.nan)
    ess = az.ess(draws)["parameter"].values
    stats = groups.get("sample_stats", xr.Dataset())
    quality = matched.quality
    return {
        "divergences": int(stats["diverging"].sum()) if "diverging" in stats else 0,
        # A chain that does not move has no R-hat; that is a failure, not a pass.
        "max_r_hat": float(np.max(r_hat)) if np.all(np.isfinite(r_hat)) else float("nan"),
        "min_ess": float(np.min(ess)),
        "chains": int(values.shape[0]),
        "ambiguous_share": quality.ambiguous_share,
        "changed_share": quality.changed_share,
        "labels_are_doubtful": quality.labels_are_doubtful,
    }


def _warn(diagnostics: Mapping[str, Any]) -> None:
    if diagnostics["divergences"]:
        message = (
            f"{diagnostics['divergences']} divergences: parts of the posterior were not explored; raise target_accept"
        )
        warnings.warn(message, SamplingWarning, stacklevel=3)
    if diagnostics["chains"] > 1 and not diagnostics["max_r_hat"] <= _BAD_R_HAT:
        message = (
            f"the chains disagree: the largest R-hat is {diagnostics['max_r_hat']:.3f}; sample longer (tune, draws)"
        )
        warnings.warn(message, SamplingWarning, stacklevel=3)
    elif diagnostics["min_ess"] < _FEW_DRAWS:
        message = f"only {diagnostics['min_ess']:.0f} effective draws of one parameter; sample longer (draws)"
        warnings.warn(message, SamplingWarning, stacklevel=3)
    if diagnostics["labels_are_doubtful"]:
        message = (
            f"components cannot be told apart in {diagnostics['ambiguous_share']:.0%} of the draws; do not read "
            "component by component: use densities and memberships, or fewer components"
        )
        warnings.warn(message, LabelWarning, stacklevel=3)
