"""Selection: the grid of EM fits in one table of criteria, and the posteriors of its best cells.

BIC ranks by default. It is consistent for the number of components of the density (Keribin 2000), ICL counts clusters
that stand apart, AIC is there to be compared with. Posteriors are sampled on demand, for a few cells, and never outvote
the criterion in silence: where they disagree the advice says so.
"""

import textwrap
from collections.abc import Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayesgmm.comparison.text import notebook_html, rounded, terminal_text
from bayesgmm.comparison.verdict import Finding, advise
from bayesgmm.data import PreparedData
from bayesgmm.em.likelihood_ratio import bootstrap_lrt
from bayesgmm.errors import ArgumentError, FitError
from bayesgmm.fit import MixtureFit
from bayesgmm.posterior.checks import check_prob
from bayesgmm.selection.advice import describe_cell, find, say
from bayesgmm.selection.grid import Cell, GridSettings
from bayesgmm.structure import CovarianceStructure, as_structure

if TYPE_CHECKING:
    from bayesgmm.selection.posteriors import Posteriors

__all__ = ["DECIMALS", "PREDICTION_DECIMALS", "Selection", "check_whole"]

#: Cells within this of the best criterion survive (Kass & Raftery 1995: beyond it the evidence is very strong).
SURVIVING = 10.0
#: Rows of the table that are printed.
N_SHOWN = 10
#: Structures that the header names; more are counted.
N_NAMED = 6

_WIDTH = 100
# Numbers of components beyond the grid are left out of tables where every probability is below this.
_NEGLIGIBLE = 5e-3
#: How many decimals the columns of the tables can bear.
DECIMALS = {"log_likelihood": 2, "bic": 2, "icl": 2, "aic": 2, "delta_bic": 2, "bic_weight": 3, "smallest": 1}
PREDICTION_DECIMALS = {
    "elpd": 1, "elpd_se": 1, "elpd_diff": 1, "elpd_diff_se": 1, "p_loo": 1, "max_pareto_k": 2, "n_bad_k": 0,
    "log_evidence": 1, "log_evidence_se": 2, "r_hat": 3, "ess": 0,
}  # fmt: skip


class Selection:
    """A grid of EM fits with its criteria, and the posteriors of some of them; made by `select`.

    Parameters
    ----------
    prepared : PreparedData
        The rows that were fitted.
    cells : sequence of Cell
        One for each structure and number of components.
    criterion : {"bic", "icl", "aic"}
        What ranks them.
    settings : GridSettings
        How they were fitted.
    drawn : Posteriors, optional
        Draws of some of the cells.
    """

    def __init__(
        self,
        prepared: PreparedData,
        cells: Sequence[Cell],
        criterion: str,
        settings: GridSettings,
        drawn: "Posteriors | None" = None,
    ) -> None:
        self.prepared = prepared
        self.cells = {cell.key: cell for cell in cells}
        self.criterion = criterion
        self.settings = settings
        self.drawn = drawn

    # ---------------------------------------------------------------- the grid

    @cached_property
    def ranked(self) -> tuple[Cell, ...]:
        """The sound cells, the best first."""
        sound = [cell for cell in self.cells.values() if cell.is_sound]
        return tuple(sorted(sound, key=lambda cell: cell.criteria[self.criterion]))

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row for each cell, the best first and those that are not ranked last (math.md, 12.2).

        ``structure`` (code), ``n_components``, ``log_likelihood`` (user's units), ``n_parameters``, ``bic``, ``icl``,
        ``aic``, ``delta_bic`` (to the smallest), ``bic_weight``, ``smallest`` (rows that the smallest component holds),
        ``is_sound``, ``why`` (a cell is not ranked).
        """
        rows = pd.DataFrame([self._row(cell) for cell in self.cells.values()])
        delta = rows["bic"] - rows["bic"].where(rows["is_sound"]).min()
        shares = np.exp(-0.5 * delta.where(rows["is_sound"])).fillna(0.0)
        rows.insert(7, "delta_bic", delta)
        rows.insert(8, "bic_weight", shares / shares.sum())
        order = rows.sort_values(self.criterion, kind="stable").index
        unsound_last = sorted(order, key=lambda i: not rows.loc[i, "is_sound"])
        return rows.loc[unsound_last].reset_index(drop=True)

    def _row(self, cell: Cell) -> dict[str, Any]:
        fit, n = cell.fit, self.prepared.effective_rows
        return {
            "structure": cell.structure.code,
            "n_components": cell.n_components,
            "log_likelihood": np.nan if fit is None else float(fit.log_likelihood),
            "n_parameters": cell.structure.n_parameters(cell.n_components, self.prepared.n_features),
            **cell.criteria,
            "smallest": np.nan if fit is None else fit.mixture.weights.min() * n,
            "is_sound": cell.is_sound,
            "why": cell.why,
        }

    @property
    def best(self) -> MixtureFit:
        """The EM fit that the criterion ranks first."""
        return self._sound_fit(self.ranked[0])

    @property
    def fits(self) -> dict[tuple[str, int], MixtureFit]:
        """The EM fits by code of the structure and number of components; those that are not ranked among them."""
        return {key: cell.fit for key, cell in self.cells.items() if cell.fit is not None}

    @property
    def survivors(self) -> pd.DataFrame:
        """The rows of the table whose criterion is within 10 of the best."""
        sound = self.table[self.table["is_sound"]]
        return sound[sound[self.criterion] <= sound[self.criterion].iloc[0] + SURVIVING]

    @property
    def number_of_components(self) -> pd.DataFrame:
        """What is believed of the number of components (math.md, 12.3).

        ``bic_weight`` summed over the structures. With posteriors also, for the best structure that has a sampler of
        the number, ``bic_weight_within`` it and ``mfm_k``, ``mfm_filled``, ``sparse_filled``; see `number_table`.
        """
        weights = self.table.groupby("n_components")["bic_weight"].sum().to_frame()
        if self.drawn is None or not self.drawn.numbers:
            return weights
        from bayesgmm.selection.posteriors import number_table

        (code,) = {found.structure.code for found in self.drawn.numbers.values()}
        own = self.table[self.table["structure"] == code].set_index("n_components")["bic_weight"]
        weights["bic_weight_within"] = own / own.sum()
        joined = weights.join(number_table(self.drawn), how="outer").rename_axis("n_components")
        largest = max(joined.index[(joined.fillna(0.0) >= _NEGLIGIBLE).any(axis=1)].max(), weights.index.max())
        return joined.loc[:largest]

    def fit(self, structure: str | CovarianceStructure, n_components: int) -> MixtureFit:
        """Return the EM fit of a cell.

        Parameters
        ----------
        structure : str or CovarianceStructure
            Covariance structure, by its common name or its code.
        n_components : int
            Number of components, K.

        Returns
        -------
        MixtureFit
            The estimate.

        Raises
        ------
        ArgumentError
            When the grid has no such cell.
        FitError
            When the cell could not be fitted.
        """
        code = as_structure(structure, self.prepared.n_features).code
        check_whole("n_components", n_components)
        if (code, n_components) not in self.cells:
            shown = ", ".join(dict.fromkeys(code for code, _ in self.cells))
            raise ArgumentError(f"the grid has no cell {structure!r} with {n_components} components; it has {shown}")
        return self._sound_fit(self.cells[code, n_components])

    @staticmethod
    def _sound_fit(cell: Cell) -> MixtureFit:
        if cell.fit is None:
            raise FitError(f"{describe_cell(*cell.key)} could not be fitted: {cell.why}")
        return cell.fit

    # ---------------------------------------------------------------- more, on demand

    def with_posteriors(self, n_survivors: int = 3, **options: Any) -> "Selection":
        """Sample the posteriors of the best cells.

        Parameters
        ----------
        n_survivors : int, default 3
            Number of posteriors.
        **options
            For `fit_bayes`: ``draws``, ``tune``, ``chains``, ``priors``, ...

        Returns
        -------
        Selection
            The same grid, with `posteriors`, `predictions`, and the posterior in `number_of_components`.

        Raises
        ------
        ArgumentError
            When an argument is illegal.
        """
        from bayesgmm.selection.posteriors import sample_posteriors

        check_whole("n_survivors", n_survivors)
        drawn = sample_posteriors(self.ranked, n_survivors, self.settings.seed, options)
        return Selection(self.prepared, tuple(self.cells.values()), self.criterion, self.settings, drawn)

    @property
    def posteriors(self) -> dict[tuple[str, int], MixtureFit]:
        """The posteriors that were sampled, by code of the structure and number of components."""
        return {} if self.drawn is None else self.drawn.fits

    @cached_property
    def predictions(self) -> pd.DataFrame | None:
        """Leave-one-out prediction and evidence of the posteriors; None without. See `prediction_table`."""
        if self.drawn is None:
            return None
        from bayesgmm.selection.posteriors import prediction_table

        return prediction_table(self.drawn)

    def bootstrap_lrt(
        self, structure: str | CovarianceStructure | None = None, *, level: float = 0.05, **options: Any
    ) -> pd.DataFrame:
        """Test one component after the other by the bootstrap, up to the first that is not needed.

        Parameters
        ----------
        structure : str or CovarianceStructure, optional
            Covariance structure. Default the best cell's.
        level : float, default 0.05
            The tests end with the first p-value above it.
        **options
            For `bayesgmm.bootstrap_lrt`: ``n_boot``, ``n_starts``, ``n_threads``, ...

        Returns
        -------
        DataFrame
            Indexed by the number of components under the null hypothesis: ``statistic``, ``p_value``, ``p_value_se``,
            ``n_replicates``.
        """
        check_prob(level, "level")
        chosen = self.ranked[0].structure if structure is None else as_structure(structure)
        settings = {"seed": self.settings.seed, "reg_covar": self.settings.reg_covar} | options
        tests = {}
        for k in sorted({k for _, k in self.cells}):
            test = bootstrap_lrt(self.prepared, k, structure=chosen, **settings)
            tests[k] = {
                "statistic": test.statistic, "p_value": test.p_value, "p_value_se": test.p_value_se,
                "n_replicates": len(test.replicates),
            }  # fmt: skip
            if test.p_value > level:
                break
        return pd.DataFrame.from_dict(tests, orient="index").rename_axis("n_components")

    # ---------------------------------------------------------------- files

    def save(self, path: str | Path) -> Path:
        """Save the grid, and the posteriors where there are any, as one file, written whole or not at all.

        Parameters
        ----------
        path : str or Path
            NetCDF (``.nc``) or Zarr (``.zarr``).

        Returns
        -------
        Path
            Where it was written; `Selection.load` reads it. To whatever reads saved fits it is the best one.
        """
        from bayesgmm.selection.saved import save_selection

        return save_selection(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "Selection":
        """Load what `save` wrote.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        Selection
            The selection, in memory; its posteriors have no PyMC models.

        Raises
        ------
        FileNotFoundError
            When there is nothing of that name.
        FileFormatError
            When it is not a saved selection, is damaged, or was written by a newer version.
        """
        from bayesgmm.selection.saved import load_selection

        return load_selection(path)

    # ---------------------------------------------------------------- words

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What was found: the choice first, then what stands against it and for it (math.md, 12.4)."""
        return find(
            self.table, self.criterion, n_rows=self.prepared.effective_rows, n_features=self.prepared.n_features,
            predictions=self.predictions, numbers=None if self.drawn is None else self.number_of_components,
        )  # fmt: skip

    @property
    def verdict(self) -> str:
        """What to choose and how firmly, in a paragraph."""
        return say(self.findings)

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do; empty where nothing need be done."""
        return advise(self.findings)

    @property
    def header(self) -> str:
        """What was searched, in a line."""
        numbers = sorted({k for _, k in self.cells})
        codes = list(dict.fromkeys(code for code, _ in self.cells))
        named = ", ".join(codes) if len(codes) <= N_NAMED else f"{len(codes)} structures"
        grid = f"{len(self.cells)} cells ({numbers[0]} to {numbers[-1]} components, {named})"
        columns = f"{self.prepared.n_features} columns"
        if self.prepared.n_features == 1:
            columns = "1 column, for which a structure is EII (one variance) or VII (a variance each)"
        return f"Selection by {self.criterion.upper()}: {grid}, {self.prepared.n_rows} rows x {columns}"

    @property
    def shown_tables(self) -> dict[str, pd.DataFrame]:
        """The tables that are printed, by title, their numbers rounded to what they can bear."""
        sign = "smaller is better; R's mclust reports minus BIC and minus ICL"
        shown = self.table.head(N_SHOWN).drop(columns=["is_sound"])
        count = f"best {N_SHOWN} of {len(self.table)}" if len(self.table) > N_SHOWN else "best first"
        if not shown["why"].any():
            shown = shown.drop(columns=["why"])
        tables = {f"Criteria, {count} ({sign})": rounded(shown, DECIMALS).set_index("structure")}
        if self.predictions is not None:
            title = "Posteriors: prediction and evidence (larger is better; elpd must not choose K by itself)"
            shown = self.predictions.drop(columns=["ess", "divergences"])
            tables[title] = rounded(shown, PREDICTION_DECIMALS).set_index("structure")
            numbers = self.number_of_components
            tables["Number of components, as probabilities"] = rounded(numbers, dict.fromkeys(numbers.columns, 3))
        return tables

    def __repr__(self) -> str:
        said = [textwrap.fill(f"Advice: {line}", _WIDTH) for line in self.advice]
        return "\n\n".join([terminal_text(self.header, self.shown_tables, {}, self.verdict), *said])

    def _repr_html_(self) -> str:
        said = [f"<p><em>Advice: {escape(line)}</em></p>" for line in self.advice]
        return "\n".join([notebook_html(self.header, self.shown_tables, {}, self.verdict), *said])


def check_whole(name: str, value: Any) -> None:
    """Refuse what is not a positive whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ArgumentError(f"{name}={value!r} must be a positive whole number")
