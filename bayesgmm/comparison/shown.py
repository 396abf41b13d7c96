"""Which tables of a comparison are printed, and how their numbers are rounded."""

from typing import TYPE_CHECKING

import pandas as pd

from bayesgmm.comparison.joint import JointPosition
from bayesgmm.comparison.text import rounded, rounded_parameters
from bayesgmm.showing import in_short

if TYPE_CHECKING:
    from bayesgmm.comparison.comparison import Comparison

__all__ = ["rounded_errors", "shown_tables"]

#: Optima that are printed.
MAX_OPTIMA = 5
#: Parameters that are printed: those furthest from the posterior mean.
MAX_PARAMETERS = 12


def shown_tables(check: "Comparison") -> dict[str, pd.DataFrame]:
    """Return the tables that are printed, by title, their numbers rounded to what they can bear.

    Parameters
    ----------
    check : Comparison
        The comparison.

    Returns
    -------
    dict of str to DataFrame
        Tables of text. Those of single components are left out where labels are doubtful.
    """
    interval = f"({check.interval_prob:.0%} {check.interval_kind.upper()})"
    found = _of_components(check, interval) if check.labels_hold else {}
    if not check.labels_hold:
        found[f"Whole mixture {interval}"] = rounded_parameters(check.label_free)
    found["Density: distance to the posterior predictive"] = rounded(
        check.density.table, dict.fromkeys(check.density.table.columns, 3)
    )
    if check.partition is not None:
        table = check.partition.table
        found["Partition: agreement with those of the draws"] = rounded(
            table[
                ["n_groups", "ari_mean", "ari_lower", "ari_upper", "vi_mean", "ball_distance", "ball_radius", "in_ball"]
            ],
            dict.fromkeys(table.columns.drop(["n_groups", "in_ball"]), 2),
        )
    if len(check.optimum) > 1:
        found["Optima of EM"] = rounded(check.optimum.head(MAX_OPTIMA), {"log_likelihood": 2, "gap": 2, "share": 2})
    columns = check.prediction.columns
    found["Prediction"] = rounded(check.prediction, dict.fromkeys(columns, 2) | {"n_parameters": 0, "pareto_k_bad": 0})
    return {title: table.loc[:, (table != "").any()] for title, table in found.items()}


def _of_components(check: "Comparison", interval: str) -> dict[str, pd.DataFrame]:
    every = check.parameters
    furthest = every["z"].abs().fillna(0.0).nlargest(MAX_PARAMETERS).index
    listed = every[every.index.isin(furthest)]
    cut = f": the {len(listed)} of {len(every):,} that differ most" if len(listed) < len(every) else ""
    shown = _with_errors(rounded_parameters(listed), check.errors.loc[listed.index])
    found = {f"Parameters {interval}{cut}": shown.rename(index=in_short)}
    places = dict.fromkeys(("em_weight", "posterior_weight", "hellinger", "wasserstein", "margin"), 3)
    found["Components"] = rounded(check.components, places)
    if isinstance(check.joint, JointPosition):
        joint = pd.DataFrame([vars(check.joint)], index=pd.Index(["estimate"]))
        found["All parameters together"] = rounded(joint, {"distance": 2, "expected": 2, "tail": 3, "chi2_tail": 3})
    return found


def _with_errors(shown: pd.DataFrame, errors: pd.DataFrame) -> pd.DataFrame:
    """Return the printed parameters with the standard error from the information beside the posterior's."""
    position = list(shown.columns).index("sd") + 1
    shown.insert(position, "se", rounded_errors(errors)["se_information"])
    shown.insert(position + 1, "sd/se", rounded_errors(errors)["ratio"])
    return shown


def rounded_errors(errors: pd.DataFrame) -> pd.DataFrame:
    """Return the table of standard errors as text, three significant digits."""
    text = errors.map(lambda value: "" if pd.isna(value) else f"{value:#.3g}".rstrip("."))
    return text.assign(ratio=["" if pd.isna(value) else f"{value:.2f}" for value in errors["ratio"]])
