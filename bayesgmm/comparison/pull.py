"""How far the prior pulls: the maximum of the likelihood, the mode under the prior, and the posterior mean.

From the maximum of the likelihood to the mode only the prior is new; from the mode to the mean only the averaging over
what the posterior leaves open. So a difference between EM and a posterior mean falls into two parts, and the first is
the prior's. The mode is that of the density which the sampler sees, in its unconstrained coordinates, climbed to from
EM's estimate by L-BFGS on the model's own gradient.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import optimize

from bayesgmm.comparison.parameters import in_sds
from bayesgmm.errors import ArgumentError, FitError
from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.parameters import parameter_draws
from bayesgmm.showing import Shown, in_short

__all__ = ["PriorPull", "prior_pull"]

#: What ArviZ writes where nothing is wrong.
_NO_ISSUE = "\N{CHECK MARK}"
_VARIABLES = ("weights", "means", "covariances")

#: Parameters that are printed; the table has all.
MAX_ROWS = 15


@dataclass(frozen=True, eq=False)
class PriorPull(Shown):
    """From the maximum of the likelihood over the mode of the posterior to its mean.

    Parameters
    ----------
    table : DataFrame
        Indexed by parameter: ``mle``, ``map``, ``mean``, ``sd`` (posterior), ``pull`` (map - mle in posterior standard
        deviations), ``averaging`` (mean - map, likewise); with ``psense_prior``, ``psense_likelihood`` and
        ``psense_diagnosis`` where ArviZ's power-scaling sensitivity is available.
    log_posterior : Series
        Log posterior density, up to a constant and in unconstrained coordinates, at ``mle`` and ``map``.
    rank : float
        Share of the draws whose posterior density is lower than that of the maximum of the likelihood; NaN where the
        sampler did not keep the densities in these coordinates.
    mode : Mixture
        The mode, user's units.
    """

    table: pd.DataFrame
    log_posterior: "pd.Series[float]"
    rank: float
    mode: Mixture

    def __repr__(self) -> str:
        furthest = self.table.loc[self.table["pull"].abs().nlargest(MAX_ROWS).index]
        shown = furthest.rename_axis(None).rename(index=in_short)
        header = f"PriorPull({len(self.table):,} parameters, the {len(shown)} that are pulled most)"
        return f"{header}\n{shown.to_string(float_format='{:.3g}'.format)}"


def prior_pull(em: Mixture, bayes: MixtureFit) -> PriorPull | str:
    """Climb from the estimate to the posterior mode, or say why that is withheld (math.md, 8.10).

    Parameters
    ----------
    em : Mixture
        The estimate, its components in the posterior's order, user's units.
    bayes : MixtureFit
        The draws. Their model is taken where it is at hand, otherwise built again from the priors.

    Returns
    -------
    PriorPull or str
        The three points, or a sentence.
    """
    # Loads PyMC, so only where it is needed.
    from bayesgmm.bayes.density import unconstrained_density
    from bayesgmm.bayes.model import start_values

    standard = bayes.scaling.mixture_to_standard(em)
    try:
        model = _model(bayes)
        if model is None:
            return "the fit remembers neither its model nor priors from which to build it again"
        density = unconstrained_density(model, start_values(model, bayes.structure, standard))
    except (ArgumentError, FitError) as error:
        return str(error)
    at_estimate, _ = density.evaluate(density.start)
    mode, at_mode = _climb(density)
    values = {name: rows[0] for name, rows in density.expand(mode[None]).items()}
    if not set(_VARIABLES) <= set(values):
        return "the model has no variables named weights, means and covariances"
    standard_mode = Mixture(values["weights"], values["means"], values["covariances"], bayes.features)
    mixture = bayes.scaling.mixture_to_user(standard_mode)
    return PriorPull(
        table=_table(em, mixture, bayes),
        log_posterior=pd.Series({"mle": at_estimate, "map": at_mode}, name="log_posterior"),
        rank=_rank(bayes, model, at_estimate),
        mode=mixture,
    )


def _model(bayes: MixtureFit) -> Any:
    """Return the model of the draws; of a fit from a file, the one that its priors make."""
    settings = bayes.info.settings
    if bayes.model is not None or settings.get("priors") is None:
        return bayes.model
    from bayesgmm.bayes import Priors, build_model

    return build_model(bayes.prepared, bayes.n_components, bayes.structure, Priors(**settings["priors"]))


def _climb(density: Any) -> tuple[Any, float]:
    """Return the mode nearest uphill, and the log density there."""

    def downhill(vector: Any) -> tuple[float, Any]:
        value, gradient = density.evaluate(np.ascontiguousarray(vector))
        # A step into nowhere is refused by the line search, which needs a number.
        return (-value, -np.asarray(gradient)) if np.isfinite(value) else (1e300, np.zeros_like(vector))

    options: dict[str, Any] = {"maxiter": 2000, "ftol": 1e-13, "gtol": 1e-6, "maxcor": 30}
    minimize: Any = optimize.minimize
    found = minimize(downhill, density.start, jac=True, method="L-BFGS-B", options=options)
    return found.x, -float(found.fun)


def _table(em: Mixture, mode: Mixture, bayes: MixtureFit) -> pd.DataFrame:
    names, draws = parameter_draws(bayes.mixture, bayes.structure)
    flat = draws.reshape(-1, len(names))
    mle, maximum = (parameter_draws(mixture, bayes.structure)[1] for mixture in (em, mode))
    mean, sd = flat.mean(axis=0), flat.std(axis=0, ddof=1)
    columns = {
        "mle": mle, "map": maximum, "mean": mean, "sd": sd,
        "pull": in_sds(maximum - mle, sd), "averaging": in_sds(mean - maximum, sd),
    }  # fmt: skip
    table = pd.DataFrame(columns, index=pd.Index(names, name="parameter"))
    sensitivity = _sensitivity(bayes, names, draws)
    return table if sensitivity is None else table.join(sensitivity)


def _sensitivity(bayes: MixtureFit, names: list[str], draws: Any) -> pd.DataFrame | None:
    """Return ArviZ's power-scaling sensitivity of every parameter; None where no log prior was kept."""
    if not {"log_prior", "log_likelihood"} <= set(bayes.tree.children):
        return None
    import arviz as az

    # One variable for each parameter: ArviZ cannot do with dimensions called component.
    posterior = xr.Dataset({f"p{j}": (("chain", "draw"), draws[..., j]) for j in range(len(names))})
    groups = {name: bayes.tree[name].to_dataset() for name in ("log_prior", "log_likelihood")}
    # It logs where to read about what it found; our tables and words say that themselves.
    with _quiet("arviz_stats.psense"):
        found = az.psense_summary(xr.DataTree.from_dict({"posterior": posterior, **groups}), round_to=4)
    found["diagnosis"] = found["diagnosis"].replace(_NO_ISSUE, "")
    found = found.reindex([f"p{j}" for j in range(len(names))]).set_axis(pd.Index(names, name="parameter"))
    return found[["prior", "likelihood", "diagnosis"]].add_prefix("psense_")


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep a logger from warning meanwhile."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _rank(bayes: MixtureFit, model: Any, at_estimate: float) -> float:
    from bayesgmm.bayes.density import unconstrained_density
    from bayesgmm.bayes.model import start_values

    stats = bayes.tree["sample_stats"].to_dataset() if "sample_stats" in bayes.tree.children else xr.Dataset()
    if "lp" not in stats:
        return float("nan")
    # A sampler may have kept the density in coordinates of its own, as Gibbs does; one draw shows whether it has.
    first = bayes.scaling.mixture_to_standard(bayes.mixture[0, 0])
    try:
        ours = unconstrained_density(model, start_values(model, bayes.structure, first))
    except FitError:
        return float("nan")
    kept = stats["lp"].transpose("chain", "draw").values
    if not np.isclose(kept[0, 0], ours.evaluate(ours.start)[0], rtol=1e-6, atol=1e-3):
        return float("nan")
    return float((kept < at_estimate).mean())
