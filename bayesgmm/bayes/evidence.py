"""The evidence log p(X | K): how probable the rows are under a model as a whole, prior included.

Three ways. Laplace with importance sampling is exact up to its own Monte Carlo error wherever its k-hat is good. Bridge
sampling takes the draws of NUTS and a normal distribution fitted to them, and needs the posterior to be connected, not
normal. Sequential Monte Carlo starts from the prior and needs neither. The first two see one numbering of the
components and count the K! others (symmetry.py); the prior's normalising constant, which the log density leaves out
where the guard against spikes has none in closed form, is put back here.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, wishart

from bayesgmm.bayes.density import UnconstrainedDensity, unconstrained_density
from bayesgmm.bayes.laplace import LARGEST_KHAT, importance_sample, laplace_at
from bayesgmm.bayes.model import build_model, check_model, start_values
from bayesgmm.bayes.nutpie_chains import sample_vectors
from bayesgmm.bayes.priors import Priors
from bayesgmm.bayes.smc import sample_smc
from bayesgmm.bayes.symmetry import in_region, n_label_copies
from bayesgmm.data import PreparedData, prepare
from bayesgmm.em.fit import fit_em
from bayesgmm.errors import ArgumentError, FitError
from bayesgmm.fit import MixtureFit, check_estimate
from bayesgmm.mixture import Mixture
from bayesgmm.progress import working
from bayesgmm.seeding import as_generator, recorded_seed
from bayesgmm.showing import Shown
from bayesgmm.structure import CovarianceStructure, as_structure

__all__ = ["Evidence", "bridge_sampling", "evidence_offset", "log_evidence", "log_prior_mass", "model_log_evidence"]

Floats = NDArray[np.float64]

_PROPOSALS = 8000
_BRIDGE = {"draws": 1000, "tune": 500, "chains": 4}
_MAX_ROUNDS = 1000
# Draws from the prior, for its mass under the guard.
_PRIOR_DRAWS = 20_000
_POTENTIAL_DRAWS = 5000


@dataclass(frozen=True)
class Evidence(Shown):
    """A log evidence and how sure it is.

    Parameters
    ----------
    value : float
        log p(X | K), natural logarithm.
    mcse : float
        Its Monte Carlo standard error.
    method : str
        "laplace", "bridge" or "smc".
    khat : float or None
        Pareto k-hat of the importance weights, for "laplace".
    n_copies : int
        Numberings of the components that were counted for one that was seen.
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
        return f"Evidence({self.value:.3f}, MCSE {self.mcse:.3f}, {self.method}{khat})"


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
        When method "laplace" meets a posterior that is too far from normal (k-hat above 0.7).
    ArgumentError
        When an argument is not what it should be, or one mode does not stand for the others.

    Notes
    -----
    math.md, 11.1 to 11.5. A difference of evidences is a log Bayes factor; unlike a likelihood it depends on the width
    of the priors.
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
    return Evidence(found.value + _log_jacobian(prepared, chosen), found.mcse, found.method, found.khat, found.n_copies)


def _priors_of(fit: MixtureFit) -> Priors | None:
    if fit.info.settings.get("priors_in_words") and fit.info.settings.get("priors") is None:
        raise ArgumentError("the fit's model was given by hand; pass that model, with the rows, instead of the fit")
    stored = fit.info.settings.get("priors")
    return None if stored is None else Priors(**stored)


def _log_jacobian(prepared: PreparedData, structure: CovarianceStructure) -> float:
    """Return what a log density gains in the user's units: a term for each observed value (math.md, 5.2)."""
    weights = np.ones(prepared.n_rows) if prepared.sample_weight is None else prepared.sample_weight
    return -float(weights @ ~np.isnan(prepared.values) @ np.log(prepared.scaling(structure).scale))


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
        n_copies = n_label_copies(model, density, structure)
    if method == "laplace":
        value, mcse, khat = _by_laplace(density, rng, options, progress=progress)
    else:
        (value, mcse), khat = _by_bridge(density, rng, options, progress=progress), None
    log_mass, mass_mcse = log_prior_mass(model)
    mcse = float(np.hypot(mcse, mass_mcse))
    return Evidence(float(value + np.log(n_copies) - log_mass), mcse, method, khat, n_copies)


def evidence_offset(
    model: pm.Model, density: UnconstrainedDensity, prepared: PreparedData, structure: CovarianceStructure
) -> float:
    """Return what turns the log mass of one numbering into a log evidence in the user's units.

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
        Numberings, the prior's mass and the change of units (math.md, 11.5).
    """
    copies = n_label_copies(model, density, structure)
    return float(np.log(copies)) - log_prior_mass(model)[0] + _log_jacobian(prepared, structure)


def _start_of(model: pm.Model, start: Mixture, structure: CovarianceStructure | None) -> dict[str, Floats]:
    if structure is not None:
        return start_values(model, structure, start)
    free = {variable.name for variable in model.free_RVs}
    values = {"weights": start.weights, "means": start.means}
    return {name: np.reshape(value, model.eval_rv_shapes()[name]) for name, value in values.items() if name in free}


# -------------------------------------------------------------------- the three ways


def _by_laplace(
    density: UnconstrainedDensity, rng: np.random.Generator, options: dict[str, Any], *, progress: bool
) -> tuple[float, float, float]:
    _refuse(options, "laplace", ())
    with working("drawing around the mode", progress=progress):
        found = importance_sample(density, laplace_at(density, density.start), _PROPOSALS, rng)
    if not found.khat <= LARGEST_KHAT:
        raise FitError(
            f"the posterior is too far from normal for method='laplace' (Pareto k-hat {found.khat:.2f}, above "
            f"{LARGEST_KHAT}); use method='bridge' or 'smc'"
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


def bridge_sampling(density: UnconstrainedDensity, draws: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """Estimate the log mass of the region that draws come from, by a bridge to a normal distribution.

    Parameters
    ----------
    density : UnconstrainedDensity
        Log posterior, not normalised.
    draws : ndarray, shape (chains, draws, size)
        Unconstrained draws. Those numbered unlike most are left out (symmetry.py).
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    log_mass : float
        Log mass of one numbering of the components.
    mcse : float
        Its approximate standard error (Fruehwirth-Schnatter 2004).

    Notes
    -----
    math.md, 11.3. The first half of every chain fits the normal distribution, the second half makes the bridge.
    """
    import arviz as az

    half = draws.shape[1] // 2
    reference = _densest(density, draws[:, :half].reshape(-1, density.size))
    fitted = _of_region(density, reference, draws[:, :half].reshape(-1, density.size))
    proposal = multivariate_normal(fitted.mean(axis=0), np.cov(fitted.T).reshape(density.size, density.size))
    posterior = _of_region(density, reference, draws[:, half:].reshape(-1, density.size))
    proposed = np.reshape(proposal.rvs(len(posterior), random_state=rng), (-1, density.size))
    at_draws = _heights(density, posterior) - proposal.logpdf(posterior)
    at_proposed = _heights(density, proposed) - proposal.logpdf(proposed)
    at_proposed[~in_region(density, reference, proposed)] = -np.inf
    # Draws of a chain are worth fewer than they are; the bridge gives them the weight of the effective ones.
    lengths = draws.shape[0], draws.shape[1] - half
    worth = float(az.ess(_heights(density, draws[:, half:].reshape(-1, density.size)).reshape(lengths)))
    return _bridge(at_draws, at_proposed, min(worth, len(posterior)))


def _bridge(at_draws: Floats, at_proposed: Floats, n_effective: float) -> tuple[float, float]:
    """Iterate Meng & Wong's optimal bridge between log ratios at draws and at proposals."""
    share = n_effective / (n_effective + len(at_proposed))
    log_mass = float(np.median(at_draws))
    for _ in range(_MAX_ROUNDS):
        above = at_proposed - np.logaddexp(np.log(share) + at_proposed, np.log1p(-share) + log_mass)
        below = -np.logaddexp(np.log(share) + at_draws, np.log1p(-share) + log_mass)
        change = logsumexp(above) - np.log(len(above)) - logsumexp(below) + np.log(len(below)) - log_mass
        log_mass += float(change)
        if abs(change) < 1e-10:
            break
    else:
        raise FitError("bridge sampling does not settle: the draws and their normal fit do not overlap; use 'smc'")
    parts = ((above, len(above)), (below, n_effective))
    squares = [np.expm1(logsumexp(2 * part) - 2 * logsumexp(part) + np.log(len(part))) / n for part, n in parts]
    return log_mass, float(np.sqrt(sum(squares)))


def _heights(density: UnconstrainedDensity, vectors: Floats) -> Floats:
    values = np.array([density.evaluate(vector)[0] for vector in vectors])
    return np.where(np.isnan(values), -np.inf, values)


def _densest(density: UnconstrainedDensity, vectors: Floats) -> Floats:
    return vectors[np.argmax(_heights(density, vectors))]


def _of_region(density: UnconstrainedDensity, reference: Floats, vectors: Floats) -> Floats:
    kept = vectors[in_region(density, reference, vectors)]
    if len(kept) <= 2 * density.size:
        raise FitError(f"{len(kept)} draws are too few for bridge sampling in {density.size} dimensions; raise draws")
    return kept


# -------------------------------------------------------------------- the prior's mass


def log_prior_mass(model: pm.Model) -> tuple[float, float]:
    """Return the log of the mass that the guard against spikes leaves to the prior (math.md, 11.5).

    Parameters
    ----------
    model : pymc.Model
        A model; without a guard the mass is one.

    Returns
    -------
    log_mass : float
        Zero or a little less.
    mcse : float
        Its Monte Carlo standard error.

    Notes
    -----
    Under the prior of precisions.py the expectation of the guard, given the shared scale matrix C, is a ratio of
    determinants, and C is averaged over draws. Where the guard is a potential, it is averaged itself.
    """
    guards = [potential for potential in model.potentials if potential.name == "guard"]
    if guards:
        return _log_mean(np.asarray(pm.draw(guards[0], draws=_POTENTIAL_DRAWS, random_seed=0)))
    names = ("precision_dof", "scale_dof", "scale_rate", "scale_guard")
    if any(name not in model.named_vars for name in names):
        return 0.0, 0.0
    dof, scale_dof, rate, guard = (np.asarray(model[name].get_value(), dtype=float) for name in names)
    rng = np.random.default_rng(0)
    if rate.ndim == 1:
        scales = rng.chisquare(scale_dof, size=(_PRIOR_DRAWS, len(rate))) / rate
        return _log_mean(-0.5 * dof.sum() * np.log1p(guard / scales).sum(axis=1))
    scales = np.reshape(wishart.rvs(float(scale_dof), np.linalg.inv(rate), _PRIOR_DRAWS, rng), (-1, *rate.shape))
    guarded = np.linalg.slogdet(scales + np.diag(guard))[1]
    return _log_mean(0.5 * dof.sum() * (np.linalg.slogdet(scales)[1] - guarded))


def _log_mean(logs: Floats) -> tuple[float, float]:
    """Return the log of a mean of factors that are given by their logs, and its standard error."""
    log_mean = float(logsumexp(logs) - np.log(len(logs)))
    return log_mean, float(np.std(np.exp(logs - log_mean)) / np.sqrt(len(logs)))
