"""Comparison: an EM fit and a posterior of the same mixture, joined in one object.

The estimate's components are matched with the posterior's once, and everything below (parameters, memberships,
partitions, prediction, words) follows that match. Every level is computed when it is first asked for; what takes long
(k-fold cross-validation, the mass of the modes) is no part of the verdict. Where components cannot be told apart,
tables of single components are withheld; `Comparison.in_full` has them all the same.
"""

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayesgmm.comparison.components import component_table
from bayesgmm.comparison.density import DensityComparison, compare_densities
from bayesgmm.comparison.joint import JointPosition, joint_position
from bayesgmm.comparison.memberships import RowPass, membership_table, pass_over_rows
from bayesgmm.comparison.optimum import mode_masses, optimum_table
from bayesgmm.comparison.parameters import error_table, label_free_table, parameter_table
from bayesgmm.comparison.partition import PartitionComparison, compare_partitions
from bayesgmm.comparison.prediction import cross_validate, leave_one_out, pit_table, prediction_table
from bayesgmm.comparison.pull import PriorPull, prior_pull
from bayesgmm.comparison.shown import shown_tables
from bayesgmm.comparison.text import notebook_html, terminal_text
from bayesgmm.comparison.tree import as_tree
from bayesgmm.comparison.verdict import Finding, advise, find, open_verdict, summarize_findings
from bayesgmm.comparison.withheld import DOUBTFUL, without_posterior
from bayesgmm.em.kmeans import fit_kmeans
from bayesgmm.errors import ArgumentError
from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import Mixture
from bayesgmm.progress import follow

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

__all__ = ["Comparison"]


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
    distance : {"hellinger", "wasserstein"}, default "hellinger"
        What matches the components.
    n_boot : int, default 0
        Replicates of the bootstrap standard errors.
    seed : int, default 0
        Of everything that is drawn on the way: points, allocations, replicates.
    progress : bool, default False
        Whether to show progress where something takes long.
    """

    def __init__(
        self,
        em: MixtureFit,
        bayes: MixtureFit,
        interval_prob: float,
        interval_kind: str,
        *,
        distance: str = "hellinger",
        n_boot: int = 0,
        seed: int = 0,
        progress: bool = False,
    ) -> None:
        self.em = em
        self.bayes = bayes
        self.interval_prob = interval_prob
        self.interval_kind = interval_kind
        self.distance = distance
        self.n_boot = n_boot
        self.seed = seed
        self.progress = progress

    # ---------------------------------------------------------------- components

    @property
    def labels_hold(self) -> bool:
        """Whether components keep their names from draw to draw, so that there is something to compare one by one."""
        return not self.bayes.info.diagnostics.get("labels_are_doubtful", False)

    @property
    def components(self) -> pd.DataFrame:
        """Components matched; see `component_table`. Withheld where labels are doubtful."""
        return self._or_withheld(self._components)

    @cached_property
    def _components(self) -> pd.DataFrame:
        return component_table(self.em, self.bayes, self.distance)

    @cached_property
    def matched_em(self) -> Mixture:
        """The estimate with its components in the posterior's order."""
        return self.em.mixture.permute(self._order)

    @cached_property
    def _order(self) -> "NDArray[np.intp]":
        return np.argsort(self._components["match"].to_numpy())

    @property
    def parameters(self) -> pd.DataFrame:
        """One row for each parameter; see `parameter_table`. Withheld where labels are doubtful."""
        return self._or_withheld(self._parameters)

    @cached_property
    def _parameters(self) -> pd.DataFrame:
        return parameter_table(self.matched_em, self.bayes, self.interval_prob, self.interval_kind)

    @cached_property
    def label_free(self) -> pd.DataFrame:
        """What needs no labels, as a table of the same form; see `label_free_table`."""
        return label_free_table(self.em, self.bayes, self.interval_prob, self.interval_kind)

    @property
    def errors(self) -> pd.DataFrame:
        """Standard errors of maximum likelihood beside the posterior's; see `error_table`, and `notes` for gaps."""
        return self._or_withheld(self._errors[0])

    @cached_property
    def _errors(self) -> tuple[pd.DataFrame, dict[str, str]]:
        return error_table(
            self.em, self._order, self._parameters["sd"], n_boot=self.n_boot, seed=self.seed, progress=self.progress
        )

    @cached_property
    def joint(self) -> JointPosition | str:
        """Where the estimate lies, all parameters together; a sentence where that is withheld."""
        if not self.labels_hold:
            return self._doubt("joint")
        return joint_position(self.matched_em, self.bayes)

    @cached_property
    def pull(self) -> PriorPull | str:
        """What the prior does to the maximum; a sentence where that is withheld. Compiles the model once."""
        if not self.labels_hold:
            return self._doubt("pull")
        return prior_pull(self.matched_em, self.bayes)

    # ---------------------------------------------------------------- without labels

    @cached_property
    def density(self) -> DensityComparison:
        """The plug-in density against the posterior predictive one."""
        return compare_densities(self.em.mixture, self.bayes, self.interval_prob, self.seed)

    @cached_property
    def partition(self) -> PartitionComparison | None:
        """EM's groups of rows, and those of k-means, against the draws'; None for a single component."""
        if self.em.n_components == 1:
            return None
        prepared = self.bayes.prepared
        rivals = {"em": self._shares.argmax(axis=1)}
        # k-means knows no way to do without a value.
        if self.em.method != "kmeans" and not prepared.has_missing:
            rivals["kmeans"] = fit_kmeans(prepared, self.em.n_components, seed=self.seed).predict()
        return compare_partitions(rivals, self._rows.allocations, self.interval_prob, self.seed)

    @cached_property
    def modes(self) -> pd.DataFrame | str:
        """The posterior mass around each optimum, by importance sampling at the modes; a sentence where withheld.

        Columns ``log_likelihood``, ``times_reached``, ``log_evidence``, ``khat``, ``mass``, ``mode``. Takes seconds.
        """
        return mode_masses(self.em, self.bayes, self.seed, progress=self.progress)

    @cached_property
    def optimum(self) -> pd.DataFrame:
        """The optima that EM found and the draws that are near each; see `optimum_table`."""
        return optimum_table(self.em, self.bayes)

    # ---------------------------------------------------------------- rows

    @property
    def memberships(self) -> pd.DataFrame:
        """One row for each row of the data; see `membership_table`. Withheld where labels are doubtful."""
        return self._or_withheld(self._memberships)

    @cached_property
    def _memberships(self) -> pd.DataFrame:
        return membership_table(self._shares, self._rows, self.bayes.prepared.rows, self.loo)

    @cached_property
    def _shares(self) -> "NDArray[np.float64]":
        return self.matched_em.responsibilities(self.bayes.prepared.values)

    @cached_property
    def _rows(self) -> RowPass:
        return pass_over_rows(self.bayes, self._shares.argmax(axis=1), self.interval_prob, self.seed)

    @property
    def overconfidence(self) -> float:
        """Entropy of the posterior's memberships minus that of EM's, summed over rows, nats (math.md, 8.8)."""
        table, weights = self.memberships, self.bayes.prepared.sample_weight
        excess = (table["entropy"] - table["em_entropy"]).to_numpy(dtype=float)
        return float(excess.sum() if weights is None else weights @ excess)

    @property
    def flips(self) -> list[Any]:
        """Labels of the rows whose most probable component differs; empty where labels are doubtful."""
        return list(self._memberships.index[self._memberships["flips"]]) if self.labels_hold else []

    # ---------------------------------------------------------------- prediction

    @cached_property
    def loo(self) -> Any:
        """ArviZ's leave-one-out cross-validation; None where the log-likelihood was too large to keep."""
        return leave_one_out(self.bayes)

    @cached_property
    def prediction(self) -> pd.DataFrame:
        """Criteria of EM beside leave-one-out of the posterior; see `prediction_table`."""
        return prediction_table(self.em, self.bayes, self.loo)

    @cached_property
    def loo_pit(self) -> pd.DataFrame | None:
        """Probability integral transforms of the rows left out; see `pit_table`."""
        return pit_table(self.bayes, self.loo)

    def kfold(
        self, k: int = 5, *, seed: Any = None, draws: int = 300, tune: int = 300, chains: int = 2, n_starts: int = 16,
        progress: bool = False,
    ) -> pd.DataFrame:  # fmt: skip
        """Score both fits on rows that neither has seen, fitting them again without these; takes k samplings.

        Parameters
        ----------
        k : int, default 5
            Number of folds.
        seed : int, optional
            Of the folds and the fits.
        draws, tune, chains : int
            For the posterior of each fold.
        n_starts : int, default 16
            Starts of EM in each fold.
        progress : bool, default False
            Whether to show on the error stream what is done and the time left; only in a terminal or a notebook.

        Returns
        -------
        DataFrame
            Indexed by fold: ``n_rows`` held out, ``em`` and ``posterior`` (summed log densities of these, user's
            units), ``difference`` (posterior minus EM), ``difference_squares`` (summed over rows), ``max_r_hat``.

        Raises
        ------
        ArgumentError
            When `k` is illegal, or one of the fits was made by something of your own and cannot be made again.
        """
        return cross_validate(
            self.em, self.bayes, k=k, seed=seed, draws=draws, tune=tune, chains=chains, n_starts=n_starts,
            progress=progress,
        )  # fmt: skip

    # ---------------------------------------------------------------- words

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What was found, topic by topic."""
        errors = self._errors[0]  # which shows its own progress, and only one thing can be shown at a time
        levels = {
            "components": "_components", "parameters": "_parameters", "label_free": "label_free", "joint": "joint",
            "pull": "pull", "density": "density", "memberships": "_memberships", "partition": "partition",
            "optimum": "optimum", "prediction": "prediction",
        }  # fmt: skip
        made = ((name, getattr(self, level)) for name, level in levels.items())
        tables = dict(follow(made, "levels compared", total=len(levels), progress=self.progress))
        return find(tables | {"errors": errors}, self.bayes.info.diagnostics, self.interval_prob)

    @property
    def opening(self) -> str:
        """The sum of the findings, in a sentence."""
        return open_verdict(self.findings)

    @cached_property
    def verdict(self) -> str:
        """Where the estimate can be trusted, where not, and what to do, in a paragraph."""
        return summarize_findings(self.findings)

    @cached_property
    def advice(self) -> tuple[str, ...]:
        """What to do; empty where nothing need be done."""
        return advise(self.findings)

    @property
    def notes(self) -> dict[str, str]:
        """What is withheld, or came from less than everything, and why."""
        if self.labels_hold:
            asked = (
                ("se_information", "se_sandwich", "se_bootstrap") if self.n_boot else ("se_information", "se_sandwich")
            )
            said = {name: reason for name, reason in self._errors[1].items() if name in asked}
            said |= {
                name: found for name, found in (("joint", self.joint), ("prior", self.pull)) if isinstance(found, str)
            }
        else:
            said = {"components, parameters, errors, joint, memberships": self._doubt("parameters")}
        every = self.bayes.mixture.n_mixtures
        if self._rows.n_draws < every:
            said["memberships of rows"] = f"computed from {self._rows.n_draws} of {every} draws, evenly spaced"
        if self.em.n_components > 1 and self.bayes.prepared.sample_weight is not None:
            said["partition"] = "rows count once, whatever their weight"
        if self.loo is None:
            said["leave-one-out"] = "withheld: the fit is too large to keep its pointwise log-likelihood"
        elif getattr(self.loo, "subsample_size", None):
            said["leave-one-out"] = f"computed from {self.loo.subsample_size} of {self.em.n_rows} rows"
        return said

    def in_full(self, name: str) -> pd.DataFrame:
        """Return a table with what is withheld from it where labels are doubtful.

        Parameters
        ----------
        name : {"components", "parameters", "errors", "memberships"}
            The table.

        Returns
        -------
        DataFrame
            All of it, whether it means anything or not.

        Raises
        ------
        ArgumentError
            When there is no such table.
        """
        tables = {
            "components": lambda: self._components, "parameters": lambda: self._parameters,
            "errors": lambda: self._errors[0], "memberships": lambda: self._memberships,
        }  # fmt: skip
        if not isinstance(name, str) or name not in tables:
            raise ArgumentError(f"name={name!r} is not a table that is ever withheld; use one of {', '.join(tables)}")
        return tables[name]()

    def _or_withheld(self, table: pd.DataFrame) -> pd.DataFrame:
        return table if self.labels_hold else without_posterior(table)

    def _doubt(self, name: str) -> str:
        share = float(self.bayes.info.diagnostics.get("ambiguous_share", 0.0))
        return DOUBTFUL.format(share=share, name=name)

    # ---------------------------------------------------------------- showing and saving

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table that is there, by the name of its level."""
        found = {
            "components": self.components, "parameters": self.parameters, "errors": self.errors,
            "label_free": self.label_free, "density": self.density.table, "memberships": self.memberships,
            "prediction": self.prediction, "optimum": self.optimum,
        }  # fmt: skip
        if isinstance(self.joint, JointPosition):
            rank = self.pull.rank if isinstance(self.pull, PriorPull) else np.nan
            place = vars(self.joint) | {"density_rank": rank}
            found["joint"] = pd.DataFrame({"value": place}).rename_axis("quantity")
        if self.partition is not None:
            found["partition"] = self.partition.table
        # Only if somebody has asked for them: they take seconds.
        modes = self.__dict__.get("modes")
        if isinstance(modes, pd.DataFrame):
            found["modes"] = modes
        if isinstance(self.pull, PriorPull):
            found["pull"] = self.pull.table
        words = [(f.topic, f.level, f.text, f.advice) for f in self.findings]
        found["findings"] = pd.DataFrame(words, columns=["topic", "level", "text", "advice"]).set_index("topic")
        return found

    @property
    def tree(self) -> "xr.DataTree":
        """Everything as an xarray DataTree, one group for each level; ``.to_netcdf(path)`` saves it."""
        attributes = {
            "header": self.header, "verdict": self.verdict, "interval_prob": self.interval_prob,
            "interval_kind": self.interval_kind, "distance": self.distance, "seed": self.seed,
        }  # fmt: skip
        return as_tree(self.tables, attributes)

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
        return shown_tables(self)

    def __repr__(self) -> str:
        return terminal_text(self.header, self.shown_tables, self.notes, self.verdict)

    def _repr_html_(self) -> str:
        return notebook_html(self.header, self.shown_tables, self.notes, self.verdict)
