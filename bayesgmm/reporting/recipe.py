"""How a fit was made and how it is made again, read from what the fit remembers."""

import inspect
from collections.abc import Mapping
from typing import Any

from bayesgmm.em.fit import fit_em
from bayesgmm.fit import MixtureFit

__all__ = ["describe_data", "describe_fit", "describe_software", "python_lines"]


def describe_data(fit: MixtureFit, source: str | None) -> dict[str, str]:
    """Say what was fitted: where from, which rows and columns, on what scale."""
    prepared = fit.prepared
    found = {} if source is None else {"source": source}
    rows = f"{fit.n_rows:,}"
    if prepared.n_dropped:
        rows += f", after {prepared.n_dropped:,} with missing values were left out"
    if prepared.sample_weight is not None:
        rows += f", with weights that add up to {prepared.effective_rows:,.6g}"
    return found | {"rows": rows, "columns": ", ".join(fit.features)}


def describe_fit(fit: MixtureFit) -> str:
    """Say how a fit was made, in a paragraph."""
    info = fit.info
    said = [f"{fit.n_components} components, covariances {fit.structure}"]
    if fit.has_draws:
        sizes = fit.tree["posterior"].sizes
        said.append(f"{info.method.upper()}, {sizes['chain']} chains x {sizes['draw']:,} draws")
        said += [f"after {info.settings['tune']:,} steps of adaptation"] if "tune" in info.settings else []
        said += [f"{info.diagnostics['divergences']} divergences"] if "divergences" in info.diagnostics else []
    else:
        said += _describe_search(fit)
    said += [] if info.seed is None else [f"seed {info.seed}"]
    said += [f"{info.diagnostics['seconds']:.1f} s"] if "seconds" in info.diagnostics else []
    return ", ".join(said)


def _describe_search(fit: MixtureFit) -> list[str]:
    settings, diagnostics = fit.info.settings, fit.info.diagnostics
    said = ["maximum likelihood"]
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
        lines.append(f"em = bg.fit_em({_arguments(em)})")
    if bayes is not None:
        reference = "" if em is None else ", em=em"
        lines.append(f"post = bg.fit_bayes({_arguments(bayes)}{reference})")
    if em is not None and bayes is not None:
        lines += ["check = bg.compare(em, post)", 'bg.report(check, "report.html")']
    else:
        lines.append(f'bg.report({"em" if em is not None else "post"}, "report.html")')
    return "\n".join(lines)


def _arguments(fit: MixtureFit) -> str:
    """Write the arguments of a call: size and seed always, the settings of EM where they are not the usual ones."""
    info = fit.info
    said = ["table", str(fit.n_components), f'structure="{fit.structure.name}"', f"seed={info.seed}"]
    settings = dict(info.settings)
    if settings.get("n_dropped"):
        said.append('missing="drop"')
    said += [f"{name}={settings[name]!r}" for name in ("draws", "tune", "chains") if name in settings]
    usual = inspect.signature(fit_em).parameters
    for name in ("n_starts", "max_iter", "tol", "reg_covar"):
        if name in settings and settings[name] != usual[name].default:
            said.append(f"{name}={settings[name]!r}")
    if settings.get("start") == "given":
        said.append("start=...")
    said += _priors_argument(settings.get("priors"))
    return ", ".join(said)


def _priors_argument(priors: Mapping[str, Any] | None) -> list[str]:
    if priors is None:
        return []
    # Loads PyMC, so only where there are priors to compare with.
    from bayesgmm.bayes import Priors

    usual = Priors().to_dict()
    own = {name: value for name, value in priors.items() if value != usual.get(name)}
    values = ", ".join(f"{name}={value!r}" for name, value in own.items())
    return [f"priors=bg.Priors({values})"] if own else []
