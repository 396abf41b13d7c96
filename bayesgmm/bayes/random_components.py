"""How many components there are, as a posterior: the telescoping sampler.

`number_of_components` lets the number of components be random, in one of three ways: a mixture of finite mixtures, with
a prior on K (Fruehwirth-Schnatter, Malsiner-Walli & Gruen 2021); a sparse finite mixture, with more components than
needed and weights that let them empty themselves (Malsiner-Walli, Fruehwirth-Schnatter & Gruen 2016); a Dirichlet
process. One kernel serves the three; they differ in the step that draws K and the weights (math.md, 10.4 to 10.6).

The answer is label-free: the posterior of K and of K+, the number of components that rows came from, each beside its
prior, and the allocations, which partitions are made of. For the parameters of a given K there is `fit_bayes`.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.bayes.conjugate_model import read_prior
from bayesgmm.bayes.gibbs import BATCH, batches, check_count, chunk_bounds, random_streams, run_in_threads
from bayesgmm.bayes.model import build_model
from bayesgmm.bayes.number_priors import NumberBelief, number_belief
from bayesgmm.bayes.priors import Priors
from bayesgmm.data import PreparedData, prepare
from bayesgmm.errors import ArgumentError, SamplingWarning
from bayesgmm.kernels.gibbs import Parameters, Prior, run_telescope
from bayesgmm.seeding import recorded_seed
from bayesgmm.structure import CovarianceStructure, as_structure

if TYPE_CHECKING:
    import pandas as pd
from bayesgmm.showing import Shown

__all__ = ["ComponentNumber", "number_of_components"]

Floats = NDArray[np.float64]

_BAD_R_HAT = 1.01
_FEW_DRAWS = 400
# Labels that are kept, at two bytes each; beyond it the allocations are thinned.
_MAX_LABELS = 10**8
# Rows that a chain visits by default, over all of its sweeps.
_ROW_VISITS = 4 * 10**7
# Chains start from different numbers of components, up to this one.
_LARGEST_START = 10
# Share of the posterior at k_max above which k_max is said to decide the answer.
_MUCH_AT_K_MAX = 0.01


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

    def notes(self) -> list[str]:
        """Say what a reader must know before believing the table.

        Returns
        -------
        list of str
            One paragraph each; trouble first.
        """
        said = list(_trouble(self.belief, self.diagnostics))
        if self.belief.method == "dp":
            said.append(
                "A Dirichlet process has infinitely many components. Its number of filled ones grows with the number "
                "of rows and does not settle on the number of components of the truth, however many rows there are "
                "(Miller & Harrison 2014); for that number use method='mfm'."
            )
        if self.belief.method == "sparse":
            said.append(f"K is fixed at {self.belief.k_max}; the answer is the number of filled components.")
        return said


def number_of_components(
    data: Any,
    *,
    method: str = "mfm",
    structure: str | CovarianceStructure = "full",
    k_max: int | None = None,
    k_prior: str | Sequence[float] | None = None,
    concentration: float | None = None,
    priors: Priors | None = None,
    seed: Any = None,
    draws: int = 2000,
    tune: int = 1000,
    chains: int = 4,
    thin: int | None = None,
    cores: int | None = None,
    missing: str = "error",
    progress: bool = False,
) -> ComponentNumber:
    """Compute the posterior of the number of components.

    Parameters
    ----------
    data : table or PreparedData
        Rows and columns; see `prepare`.
    method : {"mfm", "sparse", "dp"}, default "mfm"
        "mfm": mixture of finite mixtures, a prior on K. "sparse": K = `k_max` components and a small concentration, so
        that components empty themselves. "dp": Dirichlet process, truncated at `k_max`.
    structure : str or CovarianceStructure, default "full"
        Covariance structure: "full", "tied", "diag", "spherical", "EEI" or "EII".
    k_max : int, optional
        Largest number of components. Default 50; 10 for "sparse".
    k_prior : {"bnb", "poisson", "uniform"} or sequence of k_max floats, optional
        Prior of K, cut at `k_max`, for "mfm". "bnb", the default: K - 1 is beta-negative-binomial (1, 4, 3). "poisson":
        K - 1 is Poisson(1).
    concentration : float, optional
        Of the weights. For "mfm" Dirichlet(concentration); by default Dirichlet(alpha / K) with alpha ~ F(6, 3). For
        "sparse" Dirichlet(concentration), default 0.01. For "dp" alpha; by default alpha ~ Gamma(2, rate 4).
    priors : Priors, optional
        On means and covariances, scaled to the data; its own concentration is not used and must be left at its default.
    seed : int, Generator or RandomState, optional
        Without one a seed is drawn, and recorded in ``settings``.
    draws, tune, chains : int
        Draws kept in each chain (default 2000), draws before them (1000), number of chains (4). Chains start from
        different numbers of components.
    thin : int, optional
        Sweeps for each draw: the number of components moves slowly, and sweeps are cheap. Default 50 for few rows and
        fewer for many: (draws + tune) x thin x rows is about 4e7, some seconds.
    cores : int, optional
        Chains that run at the same time; it has no influence on the draws. Default: as many as there are cores.
    missing : {"error", "drop"}, default "error"
        See `prepare`.
    progress : bool, default False
        Whether to show progress.

    Returns
    -------
    ComponentNumber
        Posterior and prior of K and of K+, allocations and diagnostics; it prints itself.

    Raises
    ------
    DataError
        When the table cannot be used.
    ArgumentError
        When an argument is illegal, or rows have weights.
    KeyboardInterrupt
        When it is interrupted.

    Warns
    -----
    SamplingWarning
        R-hat above 1.01, fewer than 400 effective draws, or an answer that `k_max` has decided.

    Notes
    -----
    The models and the sampler are math.md, 10.4 to 10.6. A sweep costs O(n K D^2).
    """
    _check_settings(draws, tune, chains)
    belief = number_belief(method, k_max=k_max, k_prior=k_prior, concentration=concentration)
    prepared = prepare(data, missing=missing)
    _check_data(prepared, priors)
    chosen = as_structure(structure, prepared.n_features)
    model = build_model(prepared, 1, chosen, priors)
    prior = read_prior(model, chosen, guard_is_normalised=True)
    rows = np.ascontiguousarray(model["rows"].get_value(), dtype=float)
    number = recorded_seed(seed)
    sweeps = _default_thin(draws + tune, prepared.n_rows) if thin is None else check_count("thin", thin)
    plan = _Plan(prior, belief, rows, number, draws, tune, sweeps, -(-chains * draws * len(rows) // _MAX_LABELS))

    def run(chain: int, advance: Callable[[int], bool]) -> tuple[Floats, NDArray[np.int16]]:
        """Run a chain from a start of its own."""
        return _run_chain(plan, _start_number(chain, chains, belief), chain, advance)

    total = chains * (tune + draws)
    results, is_interrupted = run_in_threads(run, chains, cores=cores, total=total, progress=progress)
    if is_interrupted:
        raise KeyboardInterrupt("sampling was interrupted")
    out, labels = np.stack([result[0] for result in results]), np.stack([result[1] for result in results])
    found = _dataset(out, belief, prepared.n_rows * prepared.scaling(chosen).log_jacobian)
    diagnostics = _diagnose(found, out, belief)
    coords = {"draw": np.arange(0, draws, plan.keep), "row": prepared.rows}
    settings = {"seed": number, "draws": draws, "tune": tune, "chains": chains, "thin": sweeps, "k_max": belief.k_max,
                "priors": (priors or Priors()).to_dict()}  # fmt: skip
    for sentence in _trouble(belief, diagnostics):
        warnings.warn(sentence, SamplingWarning, stacklevel=2)
    return ComponentNumber(
        belief, chosen, _table(found, belief, prepared.n_rows), found,
        xr.DataArray(labels, dims=("chain", "draw", "row"), coords=coords, name="allocations"), diagnostics, settings,
    )  # fmt: skip


# -------------------------------------------------------------------- before


def _check_settings(draws: int, tune: int, chains: int) -> None:
    check_count("draws", draws)
    check_count("chains", chains)
    if isinstance(tune, bool) or not isinstance(tune, int | np.integer) or tune < 0:
        raise ArgumentError(f"tune={tune!r} must be a whole number, at least 0")


def _default_thin(draws: int, n: int) -> int:
    return int(np.clip(_ROW_VISITS // (draws * n), 1, 50))


def _check_data(prepared: PreparedData, priors: Priors | None) -> None:
    prepared.check_components(1)
    prepared.check_complete("the number of components")
    if prepared.sample_weight is not None:
        raise ArgumentError("the number of components is defined for rows that count once; leave sample_weight out")
    if priors is not None and priors.concentration != Priors().concentration:
        raise ArgumentError(
            f"priors.concentration={priors.concentration!r} has no use here; pass concentration to number_of_components"
        )


def _start_number(chain: int, chains: int, belief: NumberBelief) -> int:
    """Return the number of components that a chain starts from: one that the prior allows, spread over the chains."""
    allowed = np.flatnonzero(belief.probabilities)
    wanted = 1 + round((min(_LARGEST_START, belief.k_max) - 1) * chain / max(1, chains - 1))
    return int(allowed[min(int(np.searchsorted(allowed, wanted)), len(allowed) - 1)])


def _start_parameters(prior: Prior, rows: Floats, k: int, k_max: int, rng: np.random.Generator) -> Parameters:
    """Put equal components on rows that are chosen at random."""
    d = rows.shape[1]
    typical = (prior.dof / prior.scale_dof) * prior.scale_rate
    factor = np.linalg.cholesky(typical * np.eye(d) if prior.is_spherical else typical)
    means = np.zeros((k_max, d))
    means[:k] = rows[rng.integers(len(rows), size=k)]
    scale = prior.scale_dof * np.linalg.inv(prior.scale_rate)
    return Parameters(np.full(k_max, -np.log(k)), means, np.stack([factor] * k_max), np.ascontiguousarray(scale))


class _Plan(NamedTuple):
    """What every chain is asked for."""

    prior: Prior
    belief: NumberBelief
    rows: Floats
    seed: int
    draws: int
    tune: int
    thin: int
    keep: int


def _run_chain(
    plan: _Plan, k: int, chain: int, advance: Callable[[int], bool]
) -> tuple[Floats, NDArray[np.int16]]:  # fmt: skip
    """Run a chain in batches; what it did not come to is not a number, and is not used."""
    n, k_max = len(plan.rows), plan.belief.k_max
    bounds = chunk_bounds(n)
    streams = random_streams(plan.seed, chain)
    rng = np.random.default_rng(np.random.SeedSequence(plan.seed, spawn_key=(chain, len(bounds))))
    parameters = _start_parameters(plan.prior, plan.rows, k, k_max, rng)
    number, alpha = plan.belief.for_kernel(), plan.belief.alpha
    out = np.full((plan.tune + plan.draws, 5), np.nan)
    labels = np.empty((-(-plan.draws // plan.keep), n), dtype=np.int16)
    unused = np.empty((1, n), dtype=np.int16)
    # A batch begins with a draw that leaves its labels.
    size, made = plan.keep * max(1, BATCH // (plan.thin * n * min(k_max, 10) * plan.keep)), 0
    for part in [*batches(plan.tune, size), *batches(plan.draws, size)]:
        is_warm = made < plan.tune
        kept = unused if is_warm else labels[(made - plan.tune) // plan.keep :]
        k, alpha = run_telescope(
            plan.prior, number, plan.rows, bounds, k, alpha, parameters, streams, plan.thin,
            part if is_warm else plan.keep, kept, out[made : made + part],
        )  # fmt: skip
        made += part
        if not advance(part):
            break
    return out[plan.tune :], labels


# -------------------------------------------------------------------- after


def _dataset(out: Floats, belief: NumberBelief, log_jacobian: float) -> xr.Dataset:
    dims = ("chain", "draw")
    values: dict[str, Any] = {
        "n_filled": (dims, out[..., 1].astype(np.int64)),
        "log_likelihood": (dims, out[..., 2] + log_jacobian),
        "alpha": (dims, out[..., 3]),
    }
    if belief.has_random_number:
        values["n_components"] = (dims, out[..., 0].astype(np.int64))
    return xr.Dataset(values, coords={"chain": np.arange(out.shape[0]), "draw": np.arange(out.shape[1])})


def _table(found: xr.Dataset, belief: NumberBelief, n: int) -> "pd.DataFrame":
    import pandas as pd

    columns = {"filled": (found["n_filled"], belief.filled(n)[1:])}
    if belief.has_random_number:
        columns["components"] = (found["n_components"], belief.probabilities[1:])
    table = pd.DataFrame(index=pd.RangeIndex(1, belief.k_max + 1, name="number"))
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


def _diagnose(found: xr.Dataset, out: Floats, belief: NumberBelief) -> dict[str, Any]:
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
    at_top = found["n_filled"] == belief.k_max
    left_out = out[..., 4].max() if belief.method == "dp" else -np.inf
    return {
        "chains": found.sizes["chain"],
        "n_draws": found.sizes["chain"] * found.sizes["draw"],
        "max_r_hat": float(np.max(r_hats)),
        "min_ess": float(np.min(effective)),
        "share_at_k_max": float(at_top.mean()),
        "largest_weight_left_out": float(np.exp(left_out)),
    }


def _trouble(belief: NumberBelief, diagnostics: Mapping[str, Any]) -> list[str]:
    """Say in words, with the numbers, why the answer cannot be trusted."""
    said = []
    if diagnostics["chains"] > 1 and not diagnostics["max_r_hat"] <= _BAD_R_HAT:
        said.append(
            f"the chains disagree about the number of components: the largest R-hat is {diagnostics['max_r_hat']:.3f}; "
            "sample longer (thin, draws)"
        )
    elif not diagnostics["min_ess"] >= _FEW_DRAWS:
        said.append(
            f"{diagnostics['n_draws']} draws are worth {diagnostics['min_ess']:.0f} independent ones; sample longer "
            "(thin, draws)"
        )
    if diagnostics["share_at_k_max"] > _MUCH_AT_K_MAX:
        said.append(
            f"{diagnostics['share_at_k_max']:.0%} of the draws fill as many components as k_max={belief.k_max} allows; "
            "raise k_max"
        )
    return said
