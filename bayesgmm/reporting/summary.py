"""A fit in a table: how it was made, one row for each parameter, and what stands against believing it.

The same three parts for the terminal and for a notebook. For draws the columns are those of ``az.summary``, with
ArviZ's names, on the parameters that can vary (posterior/parameters.py).
"""

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesgmm.data.columns import list_names
from bayesgmm.fit import MixtureFit
from bayesgmm.posterior.checks import check_prob
from bayesgmm.posterior.parameters import parameter_draws
from bayesgmm.reporting.advice import INDEPENDENT, advise
from bayesgmm.reporting.html import Html, element, list_of, paragraphs, table
from bayesgmm.reporting.numbers import NONE, write_count, write_number, write_r_hat
from bayesgmm.reporting.sampling import describe_label_free, label_free_table
from bayesgmm.reporting.told import describe_prior, describe_told

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Summary", "summarize"]

#: Rows of the table that are shown in a terminal or a notebook: a screen of them. The table itself has all.
MAX_ROWS = 40
_STATISTICS = ("mean", "sd")
_DIAGNOSTICS = ("ess_bulk", "ess_tail", "r_hat")
_WIDTH, _NAME_WIDTH = 100, 49


@dataclass(frozen=True, eq=False, repr=False)
class Summary:
    """A fit in words and numbers; shows itself in a terminal and in a notebook.

    Parameters
    ----------
    header : tuple of str
        How the fit was made, line by line.
    table : DataFrame
        One row for each parameter, user's units. An estimate has the column ``estimate``; draws have those of
        ``az.summary``.
    notes : tuple of str
        What the rows and columns mean where their names do not say it.
    advice : tuple of str
        What stands against believing the fit; empty where nothing does.
    """

    header: tuple[str, ...]
    table: pd.DataFrame
    notes: tuple[str, ...]
    advice: tuple[str, ...]

    def __repr__(self) -> str:
        formats: dict[str, Callable[[float], str]] = {name: _writer(str(name)) for name in self.table.columns}
        shown = self.table.head(MAX_ROWS).rename_axis(None).rename(index=_in_short)
        rows = shown.to_string(formatters=formats, justify="right", na_rep=NONE)
        cut = [self._what_is_shown(MAX_ROWS)] if len(self.table) > MAX_ROWS else []
        said = [textwrap.fill(sentence, _WIDTH) for sentence in (*cut, *self.notes)]
        warned = [textwrap.fill(f"! {sentence}", _WIDTH, subsequent_indent="  ") for sentence in self.advice]
        return "\n".join(
            [*(textwrap.fill(line, _WIDTH) for line in self.header), "", rows, "", *said, *warned]
        ).rstrip()

    def _repr_html_(self) -> str:
        return element(
            "div", paragraphs(*self.header), self.to_html(MAX_ROWS), paragraphs(*self.notes), list_of(self.advice)
        )

    def to_html(self, limit: int | None = None) -> Html:
        """Return the table as HTML.

        Parameters
        ----------
        limit : int, optional
            At most how many rows; below them stands how many there are. Default all.

        Returns
        -------
        Html
            The table.
        """
        head = ["parameter", *self.table.columns]
        rows = [
            [name, *(_writer(str(column))(value) for column, value in row.items())]
            for name, row in self.table.head(limit or len(self.table)).iterrows()
        ]
        cut = limit is not None and len(self.table) > limit
        return table(head, rows) + (paragraphs(self._what_is_shown(limit)) if cut else Html(""))

    def _what_is_shown(self, limit: int | None) -> str:
        return f"The first {limit} of {len(self.table):,} rows; all are in fit.summary().table."


def summarize(fit: MixtureFit, prob: float | None = None) -> Summary:
    """Summarise a fit.

    Parameters
    ----------
    fit : MixtureFit
        An estimate or draws.
    prob : float, optional
        Probability that the intervals hold. Default ArviZ's ``stats.ci_prob``; its ``stats.ci_kind`` says which kind.

    Returns
    -------
    Summary
        Header, table, notes and advice.

    Raises
    ------
    ArgumentError
        When `prob` is not between 0 and 1.
    """
    prob = None if prob is None else check_prob(prob)
    parameters = _draws_table(fit, prob) if fit.has_draws else _estimate_table(fit)
    return Summary(_header(fit), parameters, _notes(fit), advise(fit, parameters.dropna(how="all")))


def _in_short(name: str) -> str:
    """Take the middle out of a name that would push the numbers off the screen."""
    half = (_NAME_WIDTH - 3) // 2
    return name if len(name) <= _NAME_WIDTH else f"{name[:half]}...{name[-half:]}"


def _writer(column: str) -> "Callable[[float], str]":
    """Return how the numbers of a column are written."""
    if column.startswith("ess"):
        return write_count
    return write_r_hat if column == "r_hat" else write_number


def _estimate_table(fit: MixtureFit) -> pd.DataFrame:
    names, values = parameter_draws(fit.mixture, fit.structure)
    return pd.DataFrame({"estimate": values}, index=pd.Index(names, name="parameter"))


def _draws_table(fit: MixtureFit, prob: float | None) -> pd.DataFrame:
    """Summarise draws; where components cannot be told apart their rows are empty and the whole mixture comes first."""
    own = _summarize_draws(*parameter_draws(fit.mixture, fit.structure), prob)
    if not fit.info.diagnostics.get("labels_are_doubtful"):
        return own
    from bayesgmm.comparison.parameters import whole_mixture

    return pd.concat([_summarize_draws(*whole_mixture(fit), prob), own.assign(**dict.fromkeys(own.columns, np.nan))])


def _summarize_draws(names: list[str], values: NDArray[np.float64], prob: float | None) -> pd.DataFrame:
    import arviz as az
    import xarray as xr

    draws = xr.Dataset({"parameter": (("chain", "draw", "name"), values)}, coords={"name": names})
    # Rows come in the order of the draws' last axis, so names can be put back without ArviZ's own labels.
    # Chains that do not move give 0 / 0, which ArviZ turns into NaN and `advise` into a sentence.
    with np.errstate(divide="ignore", invalid="ignore"):
        every = az.summary(draws, kind="all", ci_prob=prob, round_to="none")
    every = every.set_axis(pd.Index(names, name="parameter"))
    bounds = [name for name in every.columns if name.endswith(("_lb", "_ub"))]
    return every[[*_STATISTICS, *bounds, *_DIAGNOSTICS]].astype(float)


def _header(fit: MixtureFit) -> tuple[str, ...]:
    info = fit.info
    size = f"{fit.n_components} component{'s' * (fit.n_components > 1)}"
    columns = list_names(fit.features)
    rows = f"{fit.n_rows:,} rows x {len(fit.features)} column{'s' * (len(fit.features) > 1)}: {columns}"
    held = "" if fit.holds_all_rows else f"; holding a random sample of {fit.prepared.n_rows:,} of them"
    lines = [f"Gaussian mixture, {_kind(fit)} ({info.method}): {size}, covariances {fit.structure}", rows + held]
    if info.settings.get("prior"):
        lines.append(describe_prior(info.settings["prior"]))
    made = [f"seed {info.seed}"] if info.seed is not None else []
    sizes = fit.tree["posterior"].sizes
    if fit.has_draws:
        made.append(f"{sizes['chain']} chains x {sizes['draw']} draws")
        joins = info.settings.get("resumed_after", ())
        made += [f"resumed after {' and '.join(f'{n:,}' for n in joins)} draws"] if joins else []
    if "seconds" in info.diagnostics:
        made.append(f"{info.diagnostics['seconds']:.1f} s")
    return (*lines, ", ".join(made)) if made else tuple(lines)


def _kind(fit: MixtureFit) -> str:
    """Say what kind of thing the parameters are."""
    if fit.has_draws:
        approximate = fit.info.diagnostics.get("is_approximate")
        return "draws from an approximation of the posterior" if approximate else "posterior draws"
    if fit.method == "kmeans":
        return "centroids of k-means"
    return "maximum a posteriori" if fit.info.settings.get("prior") else "maximum likelihood"


def _notes(fit: MixtureFit) -> tuple[str, ...]:
    notes = describe_told(fit)
    if fit.structure.is_shared and fit.n_components > 1:
        notes.append("All components share one covariance; it is listed under component 0.")
    if fit.structure.is_spherical and len(fit.features) > 1:
        notes.append(f"A component's variance is the same in every column; it is listed under {fit.features[0]}.")
    if fit.has_draws and fit.info.diagnostics.get("labels_are_doubtful"):
        notes += _notes_without_names(fit)
    if not fit.has_draws:
        notes.append(
            f"log-likelihood {fit.log_likelihood:,.3f}, {fit.n_parameters} free parameters, AIC {fit.aic:,.2f}, "
            f"BIC {fit.bic:,.2f}, ICL {fit.icl:,.2f}"
        )
    return tuple(notes)


def _notes_without_names(fit: MixtureFit) -> list[str]:
    """Say why rows are empty, and whether it is the sampling or only the numbering that is in doubt."""
    empty = (
        "Rows of single components are left empty: their names mean nothing. The first rows are of the whole mixture."
    )
    found = None if fit.method in INDEPENDENT else label_free_table(fit)
    return [empty] if found is None else [empty, describe_label_free(found)]
