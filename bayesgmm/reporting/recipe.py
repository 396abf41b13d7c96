"""How a fit was made and how it is made again, read from what the fit remembers."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from bayesgmm.em.fit import fit_em
from bayesgmm.em.kmeans import fit_kmeans
from bayesgmm.fit import MixtureFit
from bayesgmm.reporting.told import describe_prior, describe_told, told_arguments

__all__ = ["describe_data", "describe_fit", "describe_software", "python_lines"]


#: How methods are called in words.
_METHODS = {
    "nuts": "NUTS",
    "gibbs": "Gibbs sampling",
    "laplace": "Laplace's approximation corrected by importance sampling",
    "smc": "sequential Monte Carlo",
    "advi": "an approximation, ADVI",
    "pathfinder": "an approximation, Pathfinder, corrected by importance sampling",
    "callable": "a sampler that was handed in",
    "kmeans": "k-means",
}
# Samplers that have steps before the draws, and what these are for.
_BEFORE_DRAWS = {"nuts": "steps of adaptation", "gibbs": "sweeps that were thrown away"}


def describe_data(fit: MixtureFit, source: str | None) -> dict[str, str]:
    """Say what was fitted: where from, which rows and columns, on what scale."""
    prepared = fit.prepared
    found = {} if source is None else {"source": source}
    rows = f"{fit.n_rows:,}"
    if prepared.n_dropped:
        rows += f", after {prepared.n_dropped:,} with missing values were left out"
    if prepared.has_missing:
        n_missing = int(np.isnan(prepared.values).sum())
        rows += f", with {n_missing:,} missing value{'s' * (n_missing > 1)}; what was observed of their rows was used"
    if prepared.sample_weight is not None:
        rows += f", with weights that add up to {fit.effective_rows:,.6g}"
    if not fit.holds_all_rows:
        rows += f", read chunk by chunk; the fit holds a random sample of {prepared.n_rows:,}"
    return found | {"rows": rows, "columns": ", ".join(fit.features)}


def describe_fit(fit: MixtureFit) -> str:
    """Say how a fit was made, in a paragraph."""
    info = fit.info
    said = [f"{fit.n_components} components, covariances {fit.structure}"]
    said += _describe_draws(fit) if fit.has_draws else _describe_search(fit)
    said += [] if info.seed is None else [f"seed {info.seed}"]
    said += [f"{info.diagnostics['seconds']:.1f} s"] if "seconds" in info.diagnostics else []
    return ". ".join([", ".join(said), *(sentence.rstrip(".") for sentence in describe_told(fit))])


def _describe_draws(fit: MixtureFit) -> list[str]:
    info, sizes = fit.info, fit.tree["posterior"].sizes
    said = [f"{_METHODS.get(info.method, info.method)}, {sizes['chain']} chains x {sizes['draw']:,} draws"]
    if "interrupted_after" in info.diagnostics:
        said.append("interrupted")
    if info.settings.get("resumed_after"):
        said.append("resumed")
    if "tune" in info.settings and info.method in _BEFORE_DRAWS:
        said.append(f"after {info.settings['tune']:,} {_BEFORE_DRAWS[info.method]}")
    if "divergences" in info.diagnostics and info.method == "nuts":
        said.append(f"{info.diagnostics['divergences']} divergences")
    return said


def _describe_search(fit: MixtureFit) -> list[str]:
    settings, diagnostics = fit.info.settings, fit.info.diagnostics
    prior = settings.get("prior")
    said = [
        f"maximum a posteriori, {describe_prior(prior)}" if prior else _METHODS.get(fit.method, "maximum likelihood")
    ]
    if settings.get("start") == "given":
        said.append("from a given start")
    elif "n_starts" in settings:
        said.append(f"{settings['n_starts']} starts")
    if "optima" in fit.tree.children:
        n_optima = fit.tree["optima"].sizes["optimum"]
        said.append(f"{n_optima} distinct {'optimum' if n_optima == 1 else 'optima'} found")
    if "converged" in diagnostics:
        said.append("converged" if diagnostics["converged"] else "not converged")
    return said


def describe_software(*fits: MixtureFit) -> str:
    """List the versions of the packages that made the fits."""
    versions = {name: number for fit in fits for name, number in fit.info.versions.items()}
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def python_lines(em: MixtureFit | None, bayes: MixtureFit | None) -> str:
    """Write the Python that makes the fits again from the same table.

    Parameters
    ----------
    em, bayes : MixtureFit or None
        The fits; one of them may be missing.

    Returns
    -------
    str
        Lines of Python. A start, a model or a sampler that the user handed in is named, but cannot be written down.
    """
    lines = ["import bayesgmm as bg", "", "table = ...  # the rows and columns above"]
    if em is not None:
        function = "fit_kmeans" if em.method == "kmeans" else "fit_em"
        lines.append(f"em = bg.{function}({_arguments(em)})")
    if bayes is not None:
        reference = "" if em is None else ", em=em"
        lines.append(f"post = bg.fit_bayes({_arguments(bayes)}{reference})")
    if em is not None and bayes is not None:
        lines += ["check = bg.compare(em, post)", 'bg.report(check, "report.html")']
    else:
        lines.append(f'bg.report({"em" if em is not None else "post"}, "report.html")')
    return "\n".join(lines)


def _arguments(fit: MixtureFit) -> str:
    """Write the arguments of a call: size and seed always, other settings where they are not the usual ones."""
    info, settings = fit.info, dict(fit.info.settings)
    structure = [] if fit.method == "kmeans" else [f'structure="{fit.structure.name}"']
    said = ["table", str(fit.n_components), *structure, f"seed={info.seed}"]
    if fit.prepared.has_missing:
        said.append('missing="marginalize"')
    elif settings.get("n_dropped"):
        said.append('missing="drop"')
    if fit.prepared.sample_weight is not None:
        said.append("sample_weight=...")
    said += [f"{name}={settings[name]!r}" for name in ("draws", "tune", "chains") if name in settings]
    signature = inspect.signature(fit_kmeans if fit.method == "kmeans" else fit_em)
    usual = {name: parameter.default for name, parameter in signature.parameters.items()}
    if settings.get("start") == "given":
        # There is one start then, whatever was asked for.
        usual["n_starts"] = 1
    for name in ("n_starts", "max_iter", "tol", "reg_covar"):
        if name in settings and settings[name] != usual[name]:
            said.append(f"{name}={settings[name]!r}")
    if settings.get("start") == "given":
        said.append("start=...")
    said += told_arguments(fit) + _sampler_arguments(settings) + _priors_argument(settings.get("priors"))
    return ", ".join(said)


def _sampler_arguments(settings: Mapping[str, Any]) -> list[str]:
    """Write the sampler, where its chains started, and a model of the user's; the sampler's own options are unknown."""
    sampler = settings.get("sampler", "nuts")
    said = [] if sampler == "nuts" else ["sampler=..." if sampler == "callable" else f'sampler="{sampler}"']
    said += [f'starts="{settings["starts"]}"'] if settings.get("starts", "optima") != "optima" else []
    return [*said, "model=..."] if "priors" in settings and settings["priors"] is None else said


def _priors_argument(priors: Mapping[str, Any] | None) -> list[str]:
    if priors is None:
        return []
    # Loads PyMC, so only where there are priors to compare with.
    from bayesgmm.bayes import Priors

    usual = Priors().to_dict()
    own = {name: value for name, value in priors.items() if value != usual.get(name)}
    values = ", ".join(f"{name}={value!r}" for name, value in own.items())
    return [f"priors=bg.Priors({values})"] if own else []
