"""`ComponentNumber`: the posterior of the number of components, what it says in words, and its file.

Both numbers stand beside their priors: K, the components of the mixture, and K+, those that rows came from. As a tree
it has the draws as its posterior, for ArviZ; the labels of the rows, which mean nothing from one draw to the next, are
apart from them.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.bayes.checkpoint import FEWEST_DRAWS
from bayesgmm.bayes.number_priors import NumberBelief
from bayesgmm.bayes.telescope import read_labels
from bayesgmm.errors import FileFormatError
from bayesgmm.showing import Shown
from bayesgmm.storage import CHECKPOINT, as_path, read_tree, write_tree
from bayesgmm.structure import CovarianceStructure, as_structure

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ComponentNumber", "describe_number"]

Floats = NDArray[np.float64]

_BAD_R_HAT = 1.01
_FEW_DRAWS = 400
# Share of the posterior at k_max above which k_max is said to decide the answer.
_MUCH_AT_K_MAX = 0.01
_RECORD = "bayesgmm_number_of_components"


@dataclass(frozen=True, eq=False)
class ComponentNumber(Shown):
    """The posterior of the number of components; made by `number_of_components`.

    Parameters
    ----------
    belief : NumberBelief
        The prior on the number and the weights.
    structure : CovarianceStructure
        The covariance structure.
    table : DataFrame
        One row for each number, with columns ``p_filled``, ``se_filled`` and ``prior_filled`` (K+), and for a mixture
        of finite mixtures also ``p_components``, ``se_components`` and ``prior_components`` (K). The standard errors
        are Monte Carlo's.
    draws : Dataset
        ``n_filled``, ``log_likelihood`` (user's units), ``alpha``, and for a mixture of finite mixtures
        ``n_components``, each (chain, draw).
    allocations : DataArray
        Component of each row, (chain, draw, row), filled components first; thinned where it would be too large.
        Numbers have no meaning across draws; partitions have.
    diagnostics : dict
        R-hat, effective draws, and how much of the posterior lies at k_max.
    settings : dict
        What was asked for.
    """

    belief: NumberBelief
    structure: CovarianceStructure
    table: "pd.DataFrame"
    draws: xr.Dataset
    allocations: xr.DataArray
    diagnostics: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def most_probable_filled(self) -> int:
        """The most probable number of components that rows came from, K+."""
        return 1 + int(self.table["p_filled"].to_numpy().argmax())

    @property
    def most_probable(self) -> int | None:
        """The most probable number of components, K; None where K is not random."""
        return 1 + int(self.table["p_components"].to_numpy().argmax()) if self.belief.has_random_number else None

    def __repr__(self) -> str:
        sizes = self.allocations.sizes
        header = (
            f"ComponentNumber({self.belief.words}, {self.structure}, {self.draws.sizes['chain']} chains x "
            f"{self.draws.sizes['draw']} draws, {sizes['row']} rows)"
        )
        shown = self.table[(self.table.filter(like="p_") >= 0.0005).any(axis=1)]
        return "\n\n".join([header, shown.round(3).to_string(), *self.notes()])

    # ---------------------------------------------------------------- words

    def notes(self) -> list[str]:
        """Say what a reader must know before believing the table.

        Returns
        -------
        list of str
            One paragraph each; trouble first.
        """
        said = self.trouble()
        if self.belief.method == "dp":
            said.append(
                "A Dirichlet process has infinitely many components. Its number of filled ones grows with the number "
                "of rows and does not settle on the number of components of the truth, however many rows there are "
                "(Miller & Harrison 2014); for that number use method='mfm'."
            )
        if self.belief.method == "sparse":
            said.append(f"K is fixed at {self.belief.k_max}; the answer is the number of filled components.")
        return said

    def trouble(self) -> list[str]:
        """Say why the answer cannot be trusted.

        Returns
        -------
        list of str
            Sentences with their numbers; none where nothing speaks against it.
        """
        found, said = self.diagnostics, []
        if "interrupted_after" in found:
            made = found["interrupted_after"]
            said.append(f"sampling was interrupted: {found['chains']} chains of {made} draws are kept")
        said += self._doubts()
        if found["share_at_k_max"] > _MUCH_AT_K_MAX:
            said.append(
                f"{found['share_at_k_max']:.0%} of the draws fill as many components as k_max={self.belief.k_max} "
                "allows; raise k_max"
            )
        return said

    def _doubts(self) -> list[str]:
        found, remedy = self.diagnostics, "sample longer (thin, draws)"
        if self.draws.sizes["draw"] < FEWEST_DRAWS:
            return [f"{found['n_draws']} draws are too few to be judged; {remedy}"]
        if found["chains"] > 1 and not found["max_r_hat"] <= _BAD_R_HAT:
            worst = f"the largest R-hat is {found['max_r_hat']:.3f}"
            return [f"the chains disagree about the number of components: {worst}; {remedy}"]
        if not found["min_ess"] >= _FEW_DRAWS:
            return [f"{found['n_draws']} draws are worth {found['min_ess']:.0f} independent ones; {remedy}"]
        return []

    # ---------------------------------------------------------------- files

    @property
    def tree(self) -> xr.DataTree:
        """All of it as a DataTree: ``posterior`` (the draws), ``number`` (the table), ``allocations``."""
        belief = asdict(self.belief) | {"probabilities": self.belief.probabilities.tolist()}
        record = {
            "belief": belief, "structure": self.structure.code, "columns": list(self.table.columns),
            "diagnostics": dict(self.diagnostics), "settings": dict(self.settings),
        }  # fmt: skip
        tree = xr.DataTree.from_dict(
            {
                "posterior": self.draws,
                "number": xr.Dataset.from_dataframe(self.table),
                "allocations": self.allocations.to_dataset(name="allocations"),
            }
        )
        tree.attrs[_RECORD] = json.dumps(record)
        return tree

    def save(self, path: str | Path) -> Path:
        """Save it as one file, written whole or not at all.

        Parameters
        ----------
        path : str or Path
            NetCDF (``.nc``) or Zarr (``.zarr``).

        Returns
        -------
        Path
            Where it was written; `ComponentNumber.load` reads it.
        """
        return write_tree(self.tree, as_path(path))

    @classmethod
    def load(cls, path: str | Path) -> "ComponentNumber":
        """Load what `save` wrote, or what a run has drawn so far.

        Parameters
        ----------
        path : str or Path
            The file, or the checkpoint of a run, whether it has ended, was killed or goes on.

        Returns
        -------
        ComponentNumber
            In memory.

        Raises
        ------
        FileNotFoundError
            When there is nothing of that name.
        FileFormatError
            When it is something else, is damaged, or the run has made too few draws.
        """
        tree = read_tree(as_path(path))
        if _RECORD not in tree.attrs:
            raise FileFormatError(_what_else(tree, path))
        said, draws = json.loads(tree.attrs[_RECORD]), tree["posterior"].to_dataset()
        table = tree["number"].to_dataset().to_dataframe()[said["columns"]]
        if CHECKPOINT in tree.children:
            allocations = read_labels(tree[CHECKPOINT].to_dataset(), draws)
        else:
            allocations = tree["allocations"].to_dataset()["allocations"]
        belief = NumberBelief(**said["belief"] | {"probabilities": np.array(said["belief"]["probabilities"])})
        return cls(
            belief, as_structure(said["structure"]), table.set_index(_numbers(belief)), draws, allocations,
            said["diagnostics"], said["settings"],
        )  # fmt: skip


def _what_else(tree: xr.DataTree, path: str | Path) -> str:
    if CHECKPOINT in tree.children and "posterior" not in tree.children:
        return f"{str(path)!r} is the checkpoint of a run that has made too few draws yet"
    return f"{str(path)!r} is no posterior of the number of components; read it with bayesgmm.load"


# -------------------------------------------------------------------- from draws


def describe_number(
    groups: Mapping[str, xr.Dataset],
    *,
    belief: NumberBelief,
    structure: CovarianceStructure,
    prior_filled: Floats,
    settings: Mapping[str, Any],
) -> ComponentNumber:
    """Make of draws what they say.

    Parameters
    ----------
    groups : mapping of str to Dataset
        From `groups_of_chains`.
    belief : NumberBelief
        The prior.
    structure : CovarianceStructure
        The covariance structure.
    prior_filled : ndarray, shape (k_max + 1,)
        Prior probabilities of K+, from ``belief.filled(n)``, which takes its time.
    settings : mapping
        What was asked for.

    Returns
    -------
    ComponentNumber
        The posterior.
    """
    draws, allocations = groups["posterior"], groups["allocations"]["allocations"]
    return ComponentNumber(
        belief, structure, _table(draws, belief, prior_filled), draws.drop_attrs(), allocations,
        _diagnose(draws, belief), settings,
    )  # fmt: skip


def _numbers(belief: NumberBelief) -> "pd.RangeIndex":
    import pandas as pd

    return pd.RangeIndex(1, belief.k_max + 1, name="number")


def _table(found: xr.Dataset, belief: NumberBelief, prior_filled: Floats) -> "pd.DataFrame":
    import pandas as pd

    columns = {"filled": (found["n_filled"], prior_filled[1:])}
    if belief.has_random_number:
        columns["components"] = (found["n_components"], belief.probabilities[1:])
    table = pd.DataFrame(index=_numbers(belief))
    for name, (draws, prior) in columns.items():
        table[f"p_{name}"], table[f"se_{name}"] = _shares(draws.values, belief.k_max)
        table[f"prior_{name}"] = prior
    return table


def _shares(numbers: NDArray[np.int64], k_max: int) -> tuple[Floats, Floats]:
    """Return the shares of the numbers 1 to k_max among the draws, with Monte Carlo standard errors."""
    import arviz as az

    shares, errors = np.zeros(k_max), np.full(k_max, np.nan)
    for k in range(1, k_max + 1):
        hits = (numbers == k).astype(float)
        shares[k - 1] = hits.mean()
        if 0.0 < shares[k - 1] < 1.0:
            with np.errstate(divide="ignore", invalid="ignore"):
                effective = float(az.ess(hits, method="mean"))
            errors[k - 1] = np.sqrt(shares[k - 1] * (1.0 - shares[k - 1]) / effective)
    return shares, errors


def _diagnose(found: xr.Dataset, belief: NumberBelief) -> dict[str, Any]:
    import arviz as az

    # A number that no draw departs from has no R-hat; the log-likelihood always has one.
    moving = found[[name for name in found.data_vars if float(found[name].min()) < float(found[name].max())]]
    several = found.sizes["chain"] > 1
    # Ranks of a number that is nearly constant are all ties: whole numbers are judged by their means.
    kinds = {name: ("split", "mean") if moving[name].dtype.kind == "i" else ("rank", "bulk") for name in moving}
    # Chains that do not move give 0 / 0, and a number that is not one: a failure, not a pass.
    with np.errstate(divide="ignore", invalid="ignore"):
        r_hats = [az.rhat(moving[name].values, method=of) if several else np.nan for name, (of, _) in kinds.items()]
        effective = [az.ess(moving[name].values, method=of) for name, (_, of) in kinds.items()]
    of_run = {name: int(value) for name, value in found.attrs.items() if name == "interrupted_after"}
    return {
        "chains": found.sizes["chain"],
        "n_draws": found.sizes["chain"] * found.sizes["draw"],
        "max_r_hat": float(np.max(r_hats)) if r_hats else np.nan,
        "min_ess": float(np.min(effective)) if effective else np.nan,
        "share_at_k_max": float((found["n_filled"] == belief.k_max).mean()),
        "largest_weight_left_out": float(found.attrs["largest_weight_left_out"]) if belief.method == "dp" else 0.0,
        **of_run,
    }
