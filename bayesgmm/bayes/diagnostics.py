"""What the draws say about themselves: chains that disagree, divergences, too few effective draws, doubtful labels.

R-hat and effective sample sizes are ArviZ's, computed after relabelling, on the parameters that can vary. What a
sampler knows of its own (k-hat, evidence, an interruption) comes as attributes of its ``sample_stats`` and is kept with
the rest. Warnings are in the order in which they must be read: first whatever makes the others meaningless.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from bayesgmm.bayes.laplace import LEAST_EFFICIENCY
from bayesgmm.errors import LabelWarning, SamplingWarning
from bayesgmm.posterior.parameters import parameter_draws
from bayesgmm.posterior.relabel import Relabelling
from bayesgmm.structure import CovarianceStructure

__all__ = ["diagnose", "warn"]

_BAD_R_HAT = 1.01
#: Draws that tails and R-hat need (Vehtari et al. 2021: 100 effective draws for each of four chains).
_FEW_DRAWS = 400


def diagnose(matched: Relabelling, groups: Mapping[str, xr.Dataset], structure: CovarianceStructure) -> dict[str, Any]:
    """Compute the numbers by which draws are judged.

    Parameters
    ----------
    matched : Relabelling
        Relabelled draws, user's units.
    groups : mapping of str to Dataset
        What the sampler returned.
    structure : CovarianceStructure
        The covariance structure; it says which parameters vary.

    Returns
    -------
    dict
        Plain JSON values: ``divergences``, ``max_r_hat``, ``min_ess``, ``ambiguous_share``, ... and the attributes of
        ``sample_stats``.
    """
    import arviz as az

    names, values = parameter_draws(matched.mixture, structure)
    draws = xr.Dataset({"parameter": (("chain", "draw", "name"), values)}, coords={"name": names})
    # Chains that do not move give 0 / 0.
    with np.errstate(divide="ignore", invalid="ignore"):
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
        "draws": int(values.shape[1]),
        "ambiguous_share": quality.ambiguous_share,
        "changed_share": quality.changed_share,
        "labels_are_doubtful": quality.labels_are_doubtful,
        "is_approximate": bool(stats.attrs.get("is_approximate", False)),
        **_own_numbers(stats),
    }


def _own_numbers(stats: xr.Dataset) -> dict[str, Any]:
    """Return the numbers among the attributes that a sampler left; those of other libraries are words or settings."""
    found = {str(name): value for name, value in stats.attrs.items() if name in _OF_SAMPLERS}
    return {name: int(value) if isinstance(value, int | np.integer) else float(value) for name, value in found.items()}


#: Attributes of ``sample_stats`` that the samplers of this room leave.
_OF_SAMPLERS = (
    "khat",
    "efficiency",
    "log_evidence",
    "log_evidence_mcse",
    "elbo",
    "interrupted_after",
    "acceptance_rate",
)


def warn(diagnostics: Mapping[str, Any], stacklevel: int = 3) -> None:
    """Say in warnings what a reader of the draws must know.

    Parameters
    ----------
    diagnostics : mapping
        What `diagnose` returned, possibly with ``modes_in_words`` and ``mixing_in_words``, which say it better.
    stacklevel : int, default 3
        Which caller the warnings point to.
    """
    for message in _sampling_messages(diagnostics):
        warnings.warn(message, SamplingWarning, stacklevel=stacklevel)
    if diagnostics["labels_are_doubtful"]:
        message = (
            f"components cannot be told apart in {diagnostics['ambiguous_share']:.0%} of the draws; do not read "
            "component by component: use densities and memberships, or fewer components"
        )
        warnings.warn(message, LabelWarning, stacklevel=stacklevel)


def _sampling_messages(diagnostics: Mapping[str, Any]) -> list[str]:
    found = [diagnostics["modes_in_words"]] if diagnostics.get("modes_in_words") else []
    if "interrupted_after" in diagnostics:
        found.append(
            f"sampling was interrupted: {diagnostics['chains']} chains of {diagnostics['draws']} draws are kept"
        )
    if diagnostics.get("mixing_in_words"):
        found.append(diagnostics["mixing_in_words"])
    elif diagnostics["chains"] > 1 and not diagnostics["max_r_hat"] <= _BAD_R_HAT:
        found.append(
            f"the chains disagree: the largest R-hat is {diagnostics['max_r_hat']:.3f}; sample longer (tune, draws)"
        )
    elif diagnostics["min_ess"] < _FEW_DRAWS:
        found.append(f"only {diagnostics['min_ess']:.0f} effective draws of one parameter; sample longer (draws)")
    if diagnostics.get("efficiency", 1.0) < LEAST_EFFICIENCY:
        found.append(
            "importance weights cannot correct this approximation "
            f"({diagnostics['efficiency']:.1%} of the proposals count, at least {LEAST_EFFICIENCY:.0%} should; "
            f"Pareto k-hat {diagnostics['khat']:.2f}); use sampler='nuts'"
        )
    if diagnostics["divergences"]:
        found.append(
            f"{diagnostics['divergences']} divergences: parts of the posterior were not explored; raise target_accept"
        )
    return found
