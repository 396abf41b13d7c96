"""What a reader of a fit must know before believing it: one sentence each, with what to do about it.

The rules. EM: converged; no collapsed component. Draws: chains that keep to no mode of their own; of the posterior, not
of an approximation; as many as were asked for; no divergences; R-hat at most 1.01 and at least 400 effective draws for
every parameter (Vehtari et al. 2021); more than one chain; components that can be told apart. What makes the rest
meaningless comes first.
"""

import numpy as np
import pandas as pd

from bayesgmm.fit import MixtureFit

__all__ = ["FEW_DRAWS", "INDEPENDENT", "LARGEST_KHAT", "LARGEST_R_HAT", "advise"]

LARGEST_R_HAT = 1.01
FEW_DRAWS = 400
#: A heavier tail of importance weights leaves nothing to correct an approximation by (Vehtari et al. 2024).
LARGEST_KHAT = 0.7
#: Samplers whose draws are independent: chains are a matter of form, and there is nothing to adapt.
INDEPENDENT = ("laplace", "advi", "pathfinder")


def advise(fit: MixtureFit, table: pd.DataFrame) -> tuple[str, ...]:
    """Say what stands against believing a fit.

    Parameters
    ----------
    fit : MixtureFit
        The fit.
    table : DataFrame
        Its parameters; for draws with ``r_hat``, ``ess_bulk`` and ``ess_tail``.

    Returns
    -------
    tuple of str
        Sentences; empty where nothing does.
    """
    found = _advise_draws(fit, table) if fit.has_draws else _advise_estimate(fit)
    return tuple(found)


def _advise_estimate(fit: MixtureFit) -> list[str]:
    diagnostics = fit.info.diagnostics
    advice = []
    collapsed = diagnostics.get("degenerate_components") or []
    if collapsed:
        names = ", ".join(map(str, collapsed))
        advice.append(
            f"Component {names} has collapsed on a few rows: this is not a maximum of the likelihood. "
            "Use fewer components, a simpler structure, or reg_covar=1e-3."
        )
    if not diagnostics.get("converged", True):
        passes = diagnostics.get("iterations", "the allowed")
        advice.append(f"EM stopped after {passes} passes before it converged. Raise max_iter.")
    return advice


def _advise_draws(fit: MixtureFit, table: pd.DataFrame) -> list[str]:
    diagnostics = fit.info.diagnostics
    advice = [_sentence(diagnostics[name]) for name in ("modes_in_words", "mixing_in_words") if diagnostics.get(name)]
    if diagnostics.get("is_approximate"):
        advice.append(_advise_approximation(fit))
    if "interrupted_after" in diagnostics:
        advice.append(_advise_interrupted(fit))
    if diagnostics.get("divergences"):
        advice.append(
            f"{diagnostics['divergences']} divergences: parts of the posterior were not explored. "
            "Sample again with target_accept=0.95."
        )
    if not diagnostics.get("mixing_in_words"):
        advice += _advise_mixing(fit, table)
    if diagnostics.get("labels_are_doubtful"):
        share = diagnostics.get("ambiguous_share", np.nan)
        advice.append(
            f"In {share:.0%} of the draws the components cannot be told apart. Do not read this table component by "
            "component; densities and memberships of rows in groups still hold. Fewer components may do."
        )
    return advice


def _sentence(words: str) -> str:
    """Return what stands in a warning as a sentence of its own."""
    return f"{words[0].upper()}{words[1:].rstrip('.')}."


def _advise_approximation(fit: MixtureFit) -> str:
    khat = fit.info.diagnostics.get("khat", np.nan)
    far = f", and far from it (Pareto k-hat {khat:.2f}, above {LARGEST_KHAT})" if khat > LARGEST_KHAT else ""
    return f"These draws are from an approximation ({fit.method}), not the posterior{far}; check with sampler='nuts'."


def _advise_interrupted(fit: MixtureFit) -> str:
    settings, kept = fit.info.settings, fit.tree["posterior"].sizes
    asked = f" of {settings['chains']} x {settings['draws']:,}" if {"chains", "draws"} <= set(settings) else ""
    return (
        f"Sampling was interrupted: fewer draws than asked for, {kept['chain']} chains x {kept['draw']:,} draws"
        f"{asked}. Sample again to have them all."
    )


def _advise_mixing(fit: MixtureFit, table: pd.DataFrame) -> list[str]:
    is_independent = fit.method in INDEPENDENT
    if fit.tree["posterior"].sizes["chain"] < 2 and not is_independent:
        return ["There is one chain: whether another would agree is not known. Sample with chains=4."]
    # A chain that does not move has no R-hat; that is a failure, not a pass.
    worst = table["r_hat"].fillna(np.inf)
    if worst.max() > LARGEST_R_HAT and not is_independent:
        name = worst.idxmax()
        remedy = "Raise draws" if fit.method == "smc" else "Raise tune and draws"
        return [f"The chains disagree about {name} (R-hat {worst.max():.3f}, above {LARGEST_R_HAT}). {remedy}."]
    effective = table[["ess_bulk", "ess_tail"]].min(axis=1)
    if effective.min() < FEW_DRAWS:
        few = f"There are only {effective.min():.0f} effective draws of {effective.idxmin()}"
        return [f"{few}; its interval is rough below {FEW_DRAWS}. Raise draws."]
    return []
