"""Comparison: an EM fit and a posterior of the same mixture, joined in one object.

The estimate's components are matched with the posterior's once, and everything below (parameters, memberships,
prediction, words) follows that match. Tables are computed when they are first asked for.
"""

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bayesgmm.comparison.tables import (
    component_table,
    leave_one_out,
    membership_table,
    parameter_table,
    prediction_table,
)
from bayesgmm.comparison.text import notebook_html, rounded, rounded_parameters, terminal_text
from bayesgmm.comparison.verdict import Finding, advise, find, summarize_findings
from bayesgmm.errors import ArgumentError, ComparisonError
from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import Mixture

__all__ = ["Comparison", "compare"]


class Comparison:
    """An EM estimate put to the test by a posterior; made by `compare`.

    Parameters
    ----------
    em : MixtureFit
        The estimate.
    bayes : MixtureFit
        The draws.
    interval_prob : float
        Probability of the intervals.
    interval_kind : {"eti", "hdi"}
        Equal-tailed or highest-density intervals of the parameters.
    """

    def __init__(self, em: MixtureFit, bayes: MixtureFit, interval_prob: float, interval_kind: str) -> None:
        self.em = em
        self.bayes = bayes
        self.interval_prob = interval_prob
        self.interval_kind = interval_kind

    @cached_property
    def components(self) -> pd.DataFrame:
        """Components matched; see `component_table`."""
        return component_table(self.em, self.bayes)

    @cached_property
    def matched_em(self) -> Mixture:
        """The estimate with its components in the posterior's order."""
        return self.em.mixture.permute(np.argsort(self.components["match"].to_numpy()))

    @cached_property
    def parameters(self) -> pd.DataFrame:
        """One row for each parameter; see `parameter_table`."""
        return parameter_table(self.matched_em, self.bayes, self.interval_prob, self.interval_kind)

    @cached_property
    def loo(self) -> Any:
        """ArviZ's leave-one-out cross-validation; None where the log-likelihood was too large to keep."""
        return leave_one_out(self.bayes)

    @cached_property
    def prediction(self) -> pd.DataFrame:
        """Criteria of EM beside leave-one-out of the posterior; see `prediction_table`."""
        return prediction_table(self.em, self.bayes, self.loo)

    @cached_property
    def memberships(self) -> pd.DataFrame:
        """One row for each row of the data; see `membership_table`."""
        return membership_table(self.matched_em, self.bayes, self.loo, self.interval_prob)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What was found, topic by topic."""
        tables = {
            "components": self.components, "parameters": self.parameters, "prediction": self.prediction,
            "memberships": self.memberships,
        }  # fmt: skip
        return find(tables, self.bayes.info.diagnostics, self.interval_prob)

    @cached_property
    def verdict(self) -> str:
        """Where the estimate can be trusted, in a paragraph."""
        return summarize_findings(self.findings)

    @cached_property
    def advice(self) -> tuple[str, ...]:
        """What to do; empty where nothing need be done."""
        return advise(self.findings)

    @property
    def header(self) -> str:
        """What is compared, in a line."""
        em, bayes = self.em, self.bayes
        sizes = bayes.tree["posterior"].sizes
        return (
            f"EM against the posterior: {em.n_components} components, {em.structure}, {em.n_rows} rows x "
            f"{len(em.features)} columns; {sizes['chain']} chains x {sizes['draw']} draws ({bayes.method})"
        )

    @property
    def shown_tables(self) -> dict[str, pd.DataFrame]:
        """The tables that are printed, by title, their numbers rounded to what they can bear."""
        return {
            f"Parameters ({self.interval_prob:.0%} {self.interval_kind.upper()})": rounded_parameters(self.parameters),
            "Components": rounded(
                self.components, {"em_weight": 3, "posterior_weight": 3, "hellinger": 3, "margin": 3}
            ),
            "Prediction": rounded(
                self.prediction, dict.fromkeys(self.prediction.columns, 2) | {"n_parameters": 0, "pareto_k_bad": 0}
            ),
        }

    def __repr__(self) -> str:
        return terminal_text(self.header, self.shown_tables, self.verdict, self.advice)

    def _repr_html_(self) -> str:
        return notebook_html(self.header, self.shown_tables, self.verdict, self.advice)


def compare(
    em: MixtureFit, bayes: MixtureFit, *, ci_prob: float | None = None, ci_kind: str | None = None
) -> Comparison:
    """Compare a maximum-likelihood estimate with a posterior of the same mixture.

    Parameters
    ----------
    em : MixtureFit
        A point estimate, from `fit_em`.
    bayes : MixtureFit
        Draws, from `fit_bayes`, of the same rows and columns with the same number of components and structure.
    ci_prob : float, optional
        Probability of the intervals. Default ``az.rcParams["stats.ci_prob"]``.
    ci_kind : {"eti", "hdi"}, optional
        Kind of the parameters' intervals. Default ``az.rcParams["stats.ci_kind"]``.

    Returns
    -------
    Comparison
        Tables ``components``, ``parameters``, ``prediction``, ``memberships``; ``findings``, ``verdict``, ``advice``.

    Raises
    ------
    ComparisonError
        When the two do not describe the same rows, columns, components or structure.
    ArgumentError
        When one of them is not what it should be, or an argument is illegal.

    Examples
    --------
    >>> import bayesgmm as bg
    >>> table = bg.load_dataset("faithful")
    >>> em = bg.fit_em(table, 2, seed=0)
    >>> post = bg.fit_bayes(table, 2, seed=0, em=em)  # doctest: +SKIP
    >>> bg.compare(em, post)  # doctest: +SKIP
    """
    import arviz as az

    prob = az.rcParams["stats.ci_prob"] if ci_prob is None else ci_prob
    kind = az.rcParams["stats.ci_kind"] if ci_kind is None else ci_kind
    if not 0 < prob < 1:
        raise ArgumentError(f"ci_prob={prob!r} must lie between 0 and 1")
    if kind not in ("eti", "hdi"):
        raise ArgumentError(f"ci_kind={kind!r} must be 'eti' or 'hdi'")
    _check_pair(em, bayes)
    return Comparison(em, bayes, float(prob), kind)


def _check_pair(em: Any, bayes: Any) -> None:
    for name, fit, drawn in (("em", em, False), ("bayes", bayes, True)):
        if not isinstance(fit, MixtureFit):
            raise ArgumentError(f"{name} must be a MixtureFit, not {type(fit).__name__}")
        if fit.has_draws != drawn:
            expected = "draws, from fit_bayes" if drawn else "a point estimate, from fit_em"
            raise ArgumentError(f"{name}={fit!r} must be {expected}")
    for what, one, other in (
        ("columns", em.features, bayes.features),
        ("number of components", em.n_components, bayes.n_components),
        ("structure", str(em.structure), str(bayes.structure)),
        ("number of rows", em.n_rows, bayes.n_rows),
    ):
        if one != other:
            raise ComparisonError(f"the fits differ in their {what}: {one} and {other}")
    if not np.array_equal(em.prepared.values, bayes.prepared.values, equal_nan=True):
        rows = np.flatnonzero((em.prepared.values != bayes.prepared.values).any(axis=1))
        raise ComparisonError(
            f"the fits saw different values in {len(rows)} rows, the first is {em.prepared.rows[rows[0]]}"
        )
