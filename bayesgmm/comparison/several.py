"""Several fits side by side: what each says of itself, and how far their groups agree.

Fits of different size and structure, by EM, by k-means or as posteriors, have no parameters in common that could be
compared; they have the same rows. So the table holds criteria of fit and prediction, and a second table how alike the
groups of rows are. What it means for the choice of a model is said with care: BIC and the expected log density answer
different questions.
"""

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayesgmm.comparison.partition import adjusted_rand_index
from bayesgmm.comparison.prediction import PARETO_K_LIMIT, elpd_differences, leave_one_out
from bayesgmm.errors import ComparisonError
from bayesgmm.fit import MixtureFit, check_fit
from bayesgmm.progress import follow

__all__ = ["FitTable", "check_same_rows", "tabulate"]

_METHODS = {"em": "EM", "kmeans": "k-means"}


@dataclass(frozen=True, eq=False, repr=False)
class FitTable:
    """Several fits of the same rows, side by side; made by `compare`.

    Parameters
    ----------
    table : DataFrame
        One row for each fit: ``method``, ``n_components``, ``structure``, ``n_parameters``, ``log_likelihood`` (for
        draws the mean), ``aic``, ``bic``, ``icl`` (EM only; smaller is better), ``elpd_loo``, ``elpd_se``, ``p_loo``,
        ``pareto_k_bad``, ``elpd_difference`` to the best and its standard error ``difference_se`` (draws only).
    agreement : DataFrame
        Adjusted Rand index between the groups of every pair of fits.
    verdict : str
        What the table says, in a paragraph.
    """

    table: pd.DataFrame
    agreement: pd.DataFrame
    verdict: str

    def __repr__(self) -> str:
        shown = self._shown()
        # Fits side by side: a terminal is not as wide as there are criteria.
        parts = [shown.T.to_string(), "Agreement of the groups (adjusted Rand index)", self.agreement.to_string()]
        return "\n\n".join([*parts, textwrap.fill(self.verdict, 100)])

    def _repr_html_(self) -> str:
        from html import escape

        parts = [self._shown().to_html(border=0), "<p>Agreement of the groups (adjusted Rand index)</p>"]
        return "\n".join([*parts, self.agreement.to_html(border=0), f"<p>{escape(self.verdict)}</p>"])

    def _shown(self) -> pd.DataFrame:
        """Return the table as text, what does not apply left blank, empty columns left out."""
        kept = self.table.dropna(axis="columns", how="all")
        return kept.map(_write)


def _write(value: Any) -> str:
    if pd.isna(value):
        return ""
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def tabulate(*fits: MixtureFit, progress: bool = False) -> FitTable:
    """Put fits of the same rows and columns side by side.

    Parameters
    ----------
    *fits : MixtureFit
        Estimates and posteriors, in any mixture.
    progress : bool, default False
        Whether to show progress.

    Returns
    -------
    FitTable
        The table.

    Raises
    ------
    ArgumentError
        When one of them is no fit, or holds a sample of its rows only.
    ComparisonError
        When they saw different rows or columns.
    """
    for position, fit in enumerate(fits):
        check_fit(fit, f"fit {position + 1}")
        fit.check_holds_all_rows("a comparison")
    for fit in fits[1:]:
        if fit.features != fits[0].features:
            raise ComparisonError(f"the fits differ in their columns: {fits[0].features} and {fit.features}")
        check_same_rows(fits[0], fit)
    names = _names(fits)
    scored = (leave_one_out(fit) if fit.has_draws else None for fit in fits)
    pointwise = follow(scored, "fits", total=len(fits), progress=progress)
    index = pd.Index(names, name="fit")
    table = pd.DataFrame([_row(fit, loo) for fit, loo in zip(fits, pointwise, strict=True)], index=index)
    table = table.join(pd.DataFrame(_differences(pointwise), index=index)).astype({"pareto_k_bad": "Int64"})
    return FitTable(table, _agreements(fits, index), _say(table))


def check_same_rows(one: MixtureFit, other: MixtureFit) -> None:
    """Refuse fits that saw different rows, values or weights."""
    if one.n_rows != other.n_rows:
        raise ComparisonError(f"the fits differ in their number of rows: {one.n_rows} and {other.n_rows}")
    ours, theirs = one.prepared, other.prepared
    if not np.array_equal(ours.values, theirs.values, equal_nan=True):
        same = (ours.values == theirs.values) | (np.isnan(ours.values) & np.isnan(theirs.values))
        rows = np.flatnonzero(~same.all(axis=1))
        raise ComparisonError(f"the fits saw different values in {len(rows)} rows, the first is {ours.rows[rows[0]]}")
    weights = [np.ones(p.n_rows) if p.sample_weight is None else p.sample_weight for p in (ours, theirs)]
    if not np.array_equal(weights[0], weights[1]):
        raise ComparisonError("the fits gave the rows different weights; fit both with the same sample_weight")


def _names(fits: tuple[MixtureFit, ...]) -> list[str]:
    """Name the fits by method, size and structure; those that would be called the same get a number."""
    plain = [f"{_METHODS.get(fit.method, fit.method)} {fit.n_components} {fit.structure.name}" for fit in fits]
    numbered = [f"{name} ({plain[: j + 1].count(name)})" for j, name in enumerate(plain)]
    return [long if plain.count(name) > 1 else name for name, long in zip(plain, numbered, strict=True)]


def _row(fit: MixtureFit, loo: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "method": fit.method, "n_components": fit.n_components, "structure": fit.structure.code,
        "n_parameters": fit.n_parameters, "log_likelihood": float(np.mean(fit.log_likelihood)),
    }  # fmt: skip
    # k-means does not maximise the likelihood of the mixture that it is, so that penalties on it mean nothing.
    row |= {name: getattr(fit, name) if fit.method == "em" else np.nan for name in ("aic", "bic", "icl")}
    found = {"elpd_loo": np.nan, "elpd_se": np.nan, "p_loo": np.nan, "pareto_k_bad": np.nan}
    if loo is not None:
        found = {
            "elpd_loo": float(loo.elpd), "elpd_se": float(loo.se), "p_loo": float(loo.p),
            "pareto_k_bad": int(np.sum(np.asarray(loo.pareto_k) > PARETO_K_LIMIT)),
        }  # fmt: skip
    return row | found


def _differences(pointwise: list[Any]) -> dict[str, list[float]]:
    """Return differences in elpd to the best, with standard errors from the pairs of rows."""
    found = elpd_differences({position: loo for position, loo in enumerate(pointwise) if loo is not None})
    pairs = [found.get(position, (np.nan, np.nan)) for position in range(len(pointwise))]
    return {"elpd_difference": [gap for gap, _ in pairs], "difference_se": [error for _, error in pairs]}


def _agreements(fits: tuple[MixtureFit, ...], index: "pd.Index[Any]") -> pd.DataFrame:
    labels = np.stack([fit.predict() for fit in fits])
    values = np.stack([adjusted_rand_index(own, labels) for own in labels])
    return pd.DataFrame(values, index=index, columns=index.rename(None)).round(3)


def _say(table: pd.DataFrame) -> str:
    said = []
    if table["bic"].notna().sum() > 1:
        best = table["bic"].idxmin()
        margin = table["bic"].drop(best).min() - table["bic"].min()
        said.append(f"Of the EM fits, BIC prefers {best}, by {margin:.1f} over the next.")
    drawn = table["elpd_loo"].dropna()
    if len(drawn) > 1:
        best = str(drawn.idxmax())
        rest = table[drawn.notna().reindex(table.index, fill_value=False) & (table.index != best)]
        close = list(rest.index[rest["elpd_difference"].abs() <= 2 * rest["difference_se"]])
        said.append(f"Of the posteriors, {best} predicts best by leave-one-out.")
        if close:
            said.append(f"Within two standard errors of it: {', '.join(close)}, so this does not settle the choice.")
    bad = table.index[(table["pareto_k_bad"].fillna(0) > 0).to_numpy(dtype=bool)]
    if len(bad):
        said.append(
            f"Leave-one-out is not reliable in every row for {', '.join(bad)} (Pareto k above {PARETO_K_LIMIT})."
        )
    if len(drawn) or table["bic"].notna().any():
        said.append(
            "BIC and leave-one-out answer different questions: which model is more probable, and which predicts better."
        )
    return " ".join(said)
