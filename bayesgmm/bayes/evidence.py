"""The evidence log p(X | K): how probable the rows are under a model as a whole, prior included.

Three ways. Laplace with importance sampling is exact up to its own Monte Carlo error wherever its k-hat is good. Bridge
sampling takes the draws of NUTS and a normal distribution fitted to them, and needs the posterior to be connected, not
normal. Sequential Monte Carlo starts from the prior and needs neither. The first two see one copy of the posterior and
count the others (symmetry.py): numberings of the components, orders and directions of axes. The mass that the guard
against spikes leaves to the prior, which the log density does not know, is divided out (prior_mass.py).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
from numpy.typing import ArrayLike, NDArray

from bayesgmm.bayes.bridge import bridge_sampling
from bayesgmm.bayes.density import UnconstrainedDensity, unconstrained_density
from bayesgmm.bayes.laplace import importance_sample, laplace_at, largest_khat
from bayesgmm.bayes.model import build_model, check_model, start_values
from bayesgmm.bayes.nutpie_chains import sample_vectors
from bayesgmm.bayes.prior_mass import log_prior_mass
from bayesgmm.bayes.priors import Priors
from bayesgmm.bayes.smc import sample_smc
from bayesgmm.bayes.symmetry import n_copies
from bayesgmm.data import PreparedData, prepare
from bayesgmm.em.fit import fit_em
from bayesgmm.em.result import log_jacobian
from bayesgmm.errors import ArgumentError, FitError
from bayesgmm.fit import MixtureFit, check_estimate
from bayesgmm.mixture import Mixture
from bayesgmm.progress import working
from bayesgmm.seeding import as_generator, recorded_seed
from bayesgmm.showing import Shown
from bayesgmm.structure import CovarianceStructure, as_structure

__all__ = ["Evidence", "evidence_offset", "log_evidence", "model_log_evidence"]

Floats = NDArray[np.float64]

_PROPOSALS = 8000
_BRIDGE = {"draws": 1000, "tune": 500, "chains": 4}


@dataclass(frozen=True)
class Evidence(Shown):
    """A log evidence and how sure it is.

    Parameters
    ----------
    value : float
        log p(X | K), natural logarithm.
    mcse : float
        Its Monte Carlo standard error; NaN where a single population of "smc" leaves it unknown.
    method : str
        "laplace", "bridge" or "smc".
    khat : float or None
        Pareto k-hat of the importance weights, for "laplace".
    n_copies : int
        Numberings of the components, times descriptions of the covariances by axes, counted for one that was seen.
    """

    value: float
    mcse: float
    method: str
    khat: float | None = None
    n_copies: int = 1

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        khat = "" if self.khat is None else f", k-hat {self.khat:.2f}"
        error = "unknown" if np.isnan(self.mcse) else f"{self.mcse:.3f}"
        return f"Evidence({self.value:.3f}, MCSE {error}, {self.method}{khat})"


def log_evidence(
    data: Any,
    n_components: int | None = None,
    *,
    structure: str | CovarianceStructure = "full",
    priors: Priors | None = None,
    method: str = "laplace",
    model: pm.Model | None = None,
    em: MixtureFit | None = None,
    seed: Any = None,
    sample_weight: ArrayLike | None = None,
    missing: str = "error",
    progress: bool = False,
    **options: Any,
) -> Evidence:
    """Compute the evidence of a mixture model, log p(X | K).

    Parameters
    ----------
    data : table, PreparedData or MixtureFit
        Rows and columns; see `prepare`. From a fit its rows, structure, number of components and priors are taken.
    n_components : int, optional
        Number of components, K; not with a fit.
    structure : str or CovarianceStructure, default "full"
        Covariance structure; not with a fit.
    priors : Priors, optional
        Default those of the fit, or `Priors()`.
    method : {"laplace", "bridge", "smc"}, default "laplace"
        Laplace's approximation corrected by importance sampling; bridge sampling of NUTS draws (Meng & Wong 1996);
        sequential Monte Carlo from the prior.
    model : pymc.Model, optional
        Made by `build_model` from the same data and changed as you like.
    em : MixtureFit, optional
        An EM fit of the same rows, where the search for the mode or the chains start. Default: `fit_em` is called.
    seed : int, Generator or RandomState, optional
        Seed.
    sample_weight : array_like, shape (n,), optional
        Weights of the rows: a power likelihood, whose evidence compares models of the same weighted rows only.
    missing : {"error", "drop", "marginalize"}, default "error"
        See `prepare`.
    progress : bool, default False
        Whether to show on the error stream what is done and the time left; only in a terminal or a notebook.
    **options
        For "bridge": ``draws``, ``tune``, ``chains``; for "smc": ``draws``, ``chains``.

    Returns
    -------
    Evidence
        The log evidence in the user's units, with its Monte Carlo standard error.

    Raises
    ------
    FitError
        When method "laplace" meets a posterior that is too far from normal: k-hat above 0.7, or above 0.5 for
        structures whose axes are sampled (EVE, VVE, EEV, VEV).
    ArgumentError
        When an argument is not what it should be, or one mode does not stand for the others.

    Notes
    -----
    math.md, 11.1 to 11.3, 11.5 and 11.8. A difference of evidences is a log Bayes factor; unlike a likelihood it
    depends on the width of the priors.
    """
    number = recorded_seed(seed)
    if isinstance(data, MixtureFit):
        prepared, n_components, chosen = data.prepared, data.n_components, data.structure
        priors = _priors_of(data) if priors is None else priors
        em = data if em is None and not data.has_draws else em
    else:
        if n_components is None:
            raise ArgumentError("n_components is needed: how many components has the model?")
        prepared = prepare(data, sample_weight=sample_weight, missing=missing)
        prepared.check_components(n_components)
        chosen = as_structure(structure, prepared.n_features)
    if em is not None:
        check_estimate(em, n_components, prepared.features)
    built = build_model(prepared, n_components, chosen, priors) if model is None else check_model(model)
    reference = fit_em(prepared, n_components, structure=chosen, seed=number) if em is None else em
    start = prepared.scaling(chosen).mixture_to_standard(reference.mixture)
    found = model_log_evidence(built, start, structure=chosen, method=method, seed=number, progress=progress, **options)
    return Evidence(
        found.value + log_jacobian(prepared, prepared.scaling(chosen)),
        found.mcse,
        found.method,
        found.khat,
        found.n_copies,
    )


def _priors_of(fit: MixtureFit) -> Priors | None:
    if fit.info.settings.get("priors_in_words") and fit.info.settings.get("priors") is None:
        raise ArgumentError("the fit's model was given by hand; pass that model, with the rows, instead of the fit")
    stored = fit.info.settings.get("priors")
    return None if stored is None else Priors(**stored)


def model_log_evidence(
    model: pm.Model,
    start: Mixture,
    *,
    structure: CovarianceStructure | None = None,
    method: str = "laplace",
    seed: int = 0,
    progress: bool = False,
    **options: Any,
) -> Evidence:
    """Compute the evidence of a PyMC model of a mixture, in the model's own units.

    Parameters
    ----------
    model : pymc.Model
        Any model with variables ``weights``, ``means`` and ``covariances``.
    start : Mixture
        Near a mode; the model's units.
    structure : CovarianceStructure, optional
        The structure that `build_model` made the model for. Without it only ``weights`` and ``means`` are started.
    method : {"laplace", "bridge", "smc"}, default "laplace"
        How.
    seed : int, default 0
        Seed.
    progress : bool, default False
        Whether to show progress.
    **options
        See `log_evidence`.

    Returns
    -------
    Evidence
        The log evidence.

    Raises
    ------
    ArgumentError
        When the method or an option is unknown, or one mode does not stand for the others.
    FitError
        When the posterior is too far from normal for "laplace".
    """
    if method == "smc":
        return _by_smc(model, start, structure, seed, options, progress=progress)
    if method not in ("laplace", "bridge"):
        raise ArgumentError(f"method={method!r} is not known; use 'laplace', 'bridge' or 'smc'")
    rng = as_generator(seed, purpose=2)
    with working("compiling the model", progress=progress):
        density = unconstrained_density(model, _start_of(model, start, structure))
        copies = n_copies(model, density, structure)
    if method == "laplace":
        value, mcse, khat = _by_laplace(density, largest_khat(model), rng, options, progress=progress)
    else:
        (value, mcse), khat = _by_bridge(density, rng, options, progress=progress), None
    log_mass, mass_mcse = log_prior_mass(model)
    mcse = float(np.hypot(mcse, mass_mcse))
    return Evidence(float(value + np.log(copies) - log_mass), mcse, method, khat, copies)


def evidence_offset(
    model: pm.Model, density: UnconstrainedDensity, prepared: PreparedData, structure: CovarianceStructure
) -> float:
    """Return what turns the log mass of one copy into a log evidence in the user's units.

    Parameters
    ----------
    model : pymc.Model
        Made by `build_model`, possibly changed.
    density : UnconstrainedDensity
        Its density.
    prepared : PreparedData
        The rows.
    structure : CovarianceStructure
        The structure it was made for.

    Returns
    -------
    float
        Copies, the prior's mass and the change of units (math.md, 11.2 and 11.5).
    """
    copies = n_copies(model, density, structure)
    return float(np.log(copies)) - log_prior_mass(model)[0] + log_jacobian(prepared, prepared.scaling(structure))


def _start_of(model: pm.Model, start: Mixture, structure: CovarianceStructure | None) -> dict[str, Floats]:
    if structure is not None:
        return start_values(model, structure, start)
    free = {variable.name for variable in model.free_RVs}
    values = {"weights": start.weights, "means": start.means}
    return {name: np.reshape(value, model.eval_rv_shapes()[name]) for name, value in values.items() if name in free}


# -------------------------------------------------------------------- the three ways


def _by_laplace(
    density: UnconstrainedDensity, limit: float, rng: np.random.Generator, options: dict[str, Any], *, progress: bool
) -> tuple[float, float, float]:
    _refuse(options, "laplace", ())
    with working("drawing around the mode", progress=progress):
        found = importance_sample(density, laplace_at(density, density.start), _PROPOSALS, rng)
    if not found.khat <= limit:
        raise FitError(
            f"the posterior is too far from normal for method='laplace' (Pareto k-hat {found.khat:.2f}, above "
            f"{limit}); use method='bridge' or 'smc'"
        )
    return found.log_evidence, found.mcse, found.khat


def _by_bridge(
    density: UnconstrainedDensity, rng: np.random.Generator, options: dict[str, Any], *, progress: bool
) -> tuple[float, float]:
    _refuse(options, "bridge", tuple(_BRIDGE))
    plan = _BRIDGE | options
    starts = np.tile(density.start, (plan["chains"], 1))
    seed = int(rng.integers(2**31))
    draws, _ = sample_vectors(density, starts, plan["draws"], plan["tune"], seed, progress=progress, options={})
    with working("building the bridge", progress=progress):
        return bridge_sampling(density, draws, rng)


def _by_smc(
    model: pm.Model, start: Mixture, structure: CovarianceStructure | None, seed: int, options: dict[str, Any], *,
    progress: bool,
) -> Evidence:  # fmt: skip
    _refuse(options, "smc", ("draws", "chains"))
    plan = {"draws": 2000, "chains": 4} | options
    stats = sample_smc(model, structure=structure, start=start, tune=0, seed=seed, progress=progress, **plan)[
        "sample_stats"
    ]
    return Evidence(float(stats.attrs["log_evidence"]), float(stats.attrs["log_evidence_mcse"]), "smc")


def _refuse(options: dict[str, Any], method: str, known: tuple[str, ...]) -> None:
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ArgumentError(f"method={method!r} has no option {unknown[0]!r}")
