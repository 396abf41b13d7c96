"""What can be said of draws without the names of components: a table, and a sentence for where names mean nothing.

R-hat of a component's mean doubts the numbering as much as the sampling. Where components cannot be told apart, these
quantities are what is left to judge the sampling by (math.md, 6.9). They are followed at all rows, or at evenly spaced
ones where all would take long, and not at all where rows are many.
"""

from typing import Any

import pandas as pd

from bayesgmm.fit import MixtureFit
from bayesgmm.posterior import label_free_diagnostics
from bayesgmm.reporting.advice import FEW_DRAWS, INDEPENDENT, LARGEST_KHAT, LARGEST_R_HAT
from bayesgmm.reporting.html import Html, paragraphs, table
from bayesgmm.reporting.numbers import write_count, write_number, write_r_hat, write_share

__all__ = ["describe_label_free", "label_free_table", "sampling_section"]

#: Rows above which nothing is followed.
MOST_ROWS = 20_000
# Draws x rows x components x columns that take a few tenths of a second.
_WORK = 10**7
_FEWEST_DRAWS = 4

_NAMES = {
    "log_likelihood": "log-likelihood",
    "entropy": "average entropy of the memberships",
    "filled_components": "number of components that own rows",
}


def label_free_table(fit: MixtureFit) -> pd.DataFrame | None:
    """Compute mean, sd, ESS and R-hat of quantities that do not depend on how components are numbered.

    Parameters
    ----------
    fit : MixtureFit
        Draws.

    Returns
    -------
    DataFrame or None
        What `label_free_diagnostics` returns, quantities by their names in words; its ``attrs["n_rows"]`` says at how
        many rows. None where there are too few draws, too many rows, or not all rows at hand.
    """
    if not fit.holds_all_rows or fit.n_rows > MOST_ROWS or fit.tree["posterior"].sizes["draw"] < _FEWEST_DRAWS:
        return None
    prepared, step = fit.prepared, _row_step(fit)
    weights = None if prepared.sample_weight is None else prepared.sample_weight[::step]
    if weights is not None and not weights.any():
        return None
    rows = prepared.rows[::step]
    found = label_free_diagnostics(fit.mixture, prepared.values[::step], sample_weight=weights)
    found.index = pd.Index([_name(str(name), rows) for name in found.index], name="quantity")
    found.attrs["n_rows"] = len(rows)
    return found


def _row_step(fit: MixtureFit) -> int:
    most = max(1, _WORK // (fit.mixture.n_mixtures * fit.n_components * len(fit.features)))
    return max(1, -(-fit.n_rows // most))


def _name(quantity: str, rows: Any) -> str:
    if quantity.startswith("log_density["):
        return f"log density at row {rows[int(quantity[12:-1])]}"
    return _NAMES[quantity]


def describe_label_free(found: pd.DataFrame) -> str:
    """Say whether chains agree about what does not depend on the numbering of components.

    Parameters
    ----------
    found : DataFrame
        From `label_free_table`.

    Returns
    -------
    str
        A sentence or two, with the worst numbers.
    """
    moving = found[~found["is_constant"]]
    if moving.empty:
        return "No quantity that needs no names of components changes from draw to draw: the chains do not move."
    effective = moving[["ess_bulk", "ess_tail"]].min(axis=1)
    few = f"{effective.min():,.0f} effective draws of the {effective.idxmin()}"
    # A single chain has no R-hat.
    worst = moving["r_hat"].max()
    if worst > LARGEST_R_HAT:
        return (
            f"Chains disagree even about what needs no names of components: R-hat is {worst:.3f} for the "
            f"{moving['r_hat'].idxmax()}. It is the sampling that cannot be relied on, not the numbering alone."
        )
    if effective.min() < FEW_DRAWS:
        return f"Even of what needs no names of components there are few draws: {few}."
    agreed = "there are" if pd.isna(worst) else f"R-hat is at most {worst:.3f} and there are"
    return (
        "What needs no names of components can be relied on: for log-likelihood, density, entropy and filled "
        f"components {agreed} at least {effective.min():,.0f} effective draws."
    )


def sampling_section(fit: MixtureFit) -> Html:
    """Build what a page says of the sampling itself; nothing where there is nothing to say."""
    found = label_free_table(fit)
    own = _own_words(fit)
    if found is None:
        return paragraphs(own) if own else Html("")
    said = [own] if own else []
    if fit.method not in INDEPENDENT:
        said.append(describe_label_free(found))
    head = ["does not depend on the numbering", "mean", "sd", "ESS", "ESS of tails", "R-hat"]
    rows = [
        [
            name, write_number(row["mean"]), write_number(row["sd"]), write_count(row["ess_bulk"]),
            write_count(row["ess_tail"]), write_r_hat(row["r_hat"]),
        ]
        for name, row in found.iterrows()
    ]  # fmt: skip
    n = found.attrs["n_rows"]
    where = f" Computed at {n:,} of {fit.n_rows:,} rows." if n < fit.n_rows else ""
    note = f"A quantity that is the same in every draw has neither ESS nor R-hat.{where}"
    return paragraphs(*said) + table(head, rows) + paragraphs(note)


def _own_words(fit: MixtureFit) -> str:
    """Say what a sampler that corrects or approximates knows of itself."""
    found = fit.info.diagnostics
    if "khat" not in found:
        return ""
    good = found["khat"] <= LARGEST_KHAT
    side = "below" if good else "above"
    said = f"Pareto k-hat of the importance weights is {found['khat']:.2f}, {side} the limit of {LARGEST_KHAT}"
    if "efficiency" in found:
        return f"{said}; a proposal is worth {write_share(found['efficiency'])} of a draw from the posterior."
    return f"{said}: these draws {'could' if good else 'could not'} be corrected by importance sampling."
