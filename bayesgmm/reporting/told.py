"""What EM was told besides the rows, in words and as arguments: labels, held parameters, a prior, a bound on variances.

A fit remembers the names of labelled components, not the rows' labels; held parameters are in its mixture, and its
prior as numbers, also where these were left to the data.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bayesgmm.em.conjugate import ConjugatePrior
from bayesgmm.em.statistics import Moments
from bayesgmm.fit import MixtureFit

__all__ = ["describe_prior", "describe_told", "told_arguments"]

# Held parameters with more numbers are not written out.
_MOST_NUMBERS = 24
_SAME = 1e-6


def describe_prior(prior: Mapping[str, Any]) -> str:
    """Name a conjugate prior of EM in a line.

    Parameters
    ----------
    prior : mapping
        As in ``fit.info.settings["prior"]``.

    Returns
    -------
    str
        Its two strengths; where it is centred stands in ``python_lines``.
    """
    return f"conjugate prior with kappa {prior['kappa']:g} for the means and dof {prior['dof']:g} for the covariances"


def describe_told(fit: MixtureFit) -> list[str]:
    """Say which labels, held parameters and bound an EM fit was given.

    Parameters
    ----------
    fit : MixtureFit
        The fit.

    Returns
    -------
    list of str
        Sentences; none where there was nothing.
    """
    settings = fit.info.settings
    said = []
    if "n_labelled" in settings:
        names = ", ".join(f"{name} is component {k}" for name, k in settings.get("label_names", {}).items())
        given = f"The components of {settings['n_labelled']:,} of {fit.n_rows:,} rows were given"
        said.append(f"{given}: {names}." if names else f"{given}.")
    if settings.get("fixed") and fit.method == "em":
        said.append(f"Held as they were given, not estimated: {', '.join(settings['fixed'])}.")
    if "max_eigenvalue_ratio" in settings:
        said.append(
            f"Variances of the scaled data differ by a factor of at most {settings['max_eigenvalue_ratio']:g} "
            "(max_eigenvalue_ratio)."
        )
    return said


def told_arguments(fit: MixtureFit) -> list[str]:
    """Write what an EM fit was told as arguments of `fit_em`.

    Parameters
    ----------
    fit : MixtureFit
        The fit.

    Returns
    -------
    list of str
        Arguments; labels are named, but cannot be written down.
    """
    settings = fit.info.settings
    said = ["labels=..."] if "n_labelled" in settings else []
    if settings.get("fixed") and fit.method == "em":
        held = ", ".join(f'"{name}": {_numbers(getattr(fit.mixture, name))}' for name in settings["fixed"])
        said.append(f"fix={{{held}}}")
    if settings.get("prior"):
        said.append(f"prior={_prior_argument(fit)}")
    if "max_eigenvalue_ratio" in settings:
        said.append(f"max_eigenvalue_ratio={settings['max_eigenvalue_ratio']!r}")
    return said


def _numbers(values: Any) -> str:
    return repr(values.tolist()) if values.size <= _MOST_NUMBERS else "..."


def _prior_argument(fit: MixtureFit) -> str:
    prior = fit.info.settings["prior"]
    if _is_default(fit, prior):
        return '"default"'
    return f"bg.ConjugatePrior({', '.join(f'{name}={value!r}' for name, value in prior.items())})"


def _is_default(fit: MixtureFit, prior: Mapping[str, Any]) -> bool:
    """Whether a prior is the one that the data give; not asked where the fit does not hold all of them, complete."""
    prepared = fit.prepared
    if not fit.holds_all_rows or prepared.has_missing:
        return False
    weights = np.ones(prepared.n_rows) if prepared.sample_weight is None else prepared.sample_weight
    mean = weights @ prepared.values / weights.sum()
    centred = prepared.values - mean
    scatter = centred.T @ (weights[:, None] * centred)
    total = Moments(np.nan, weights.sum()[None], mean[None], scatter[None])
    usual = ConjugatePrior().terms(fit.structure, fit.n_components, total).to_settings()
    sds = np.sqrt(np.diagonal(scatter) / weights.sum())
    units = {"mean": sds, "kappa": 1.0, "dof": 1.0, "scale": np.outer(sds, sds)}
    return all(np.abs((np.asarray(prior[name]) - usual[name]) / unit).max() < _SAME for name, unit in units.items())
