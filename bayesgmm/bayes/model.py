"""The PyMC model of a Gaussian mixture, in standardised units.

`build_model` gives an ordinary `pm.Model` with named dimensions: weights, means and the variables that make up the
covariances with their priors, covariances as a deterministic, and the marginal likelihood of the rows as one observed
variable (the labels are summed out, decision 5 of the architecture). A user may add to it or change it, and hand it to
``fit_bayes(model=...)``.

Data and the numbers of the prior enter as `pm.Data`, so that the compiled form of the model does not depend on them.
The families of covariance priors have a module each: precisions.py, factorised.py, correlations.py.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.configdefaults import config

from bayesgmm.bayes.compiled import mark_form
from bayesgmm.bayes.correlations import lkj_components, lkj_hyperparameters, lkj_start
from bayesgmm.bayes.factorised import factorised_components, factorised_hyperparameters, factorised_start
from bayesgmm.bayes.likelihood import Components, Patterns, mixture_log_likelihood, observed_log_likelihood
from bayesgmm.bayes.precisions import wishart_components, wishart_hyperparameters, wishart_start
from bayesgmm.bayes.priors import Priors, ResolvedPriors, as_priors
from bayesgmm.data import PreparedData, Scaling, prepare
from bayesgmm.errors import ArgumentError
from bayesgmm.structure import STRUCTURES, CovarianceStructure, as_structure

__all__ = ["COORDINATES", "MODELLED", "build_model", "check_model", "start_values"]

#: Codes of the structures that have a posterior: all of them.
MODELLED = tuple(STRUCTURES)

# A weight of zero is at infinity in unconstrained coordinates.
_LEAST_START_WEIGHT = 1e-3


class _Family(NamedTuple):
    """A family of priors on covariances: its variables, its numbers, how to make them, and where to start."""

    variables: tuple[str, ...]
    hyperparameters: Callable[..., dict[str, Any]]
    components: Callable[..., Components]
    start: Callable[..., dict[str, NDArray[np.float64]]]


_FAMILIES = {
    "wishart": _Family(("precisions",), wishart_hyperparameters, wishart_components, wishart_start),
    "factorised": _Family(
        ("volume_scores", "shape_scores", "axes"), factorised_hyperparameters, factorised_components, factorised_start
    ),
    "lkj": _Family(("sds", "correlations"), lkj_hyperparameters, lkj_components, lkj_start),
}

#: Names of the variables, standardised units, that the covariances are made of.
COORDINATES = tuple(name for family in _FAMILIES.values() for name in family.variables)


def build_model(
    data: Any,
    n_components: int,
    structure: str | CovarianceStructure = "full",
    priors: Priors | None = None,
) -> pm.Model:
    """Build the PyMC model of a Gaussian mixture.

    Parameters
    ----------
    data : PreparedData or table
        Rows; see `prepare`. Rows with missing values count with the density of what was observed.
    n_components : int
        Number of components, K.
    structure : str or CovarianceStructure, default "full"
        Covariance structure, any of the fourteen.
    priors : Priors, optional
        Default `Priors()`.

    Returns
    -------
    pymc.Model
        Variables ``weights`` (component), ``means`` (component, feature), those that make up the covariances
        (`COORDINATES`, by the family of the prior), the
        deterministic ``covariances`` (component, feature, feature_bis), and ``x``, the observed rows (row, feature),
        with zeros for what is missing. Standardised units: ``prepared.scaling(structure)`` leads back.

    Raises
    ------
    ArgumentError
        When there is no such structure, a prior is illegal, or PyTensor is set to single precision.

    Notes
    -----
    The densities are math.md, 4.1 to 4.5 and 4.8 to 4.10.
    """
    if config.floatX != "float64":
        raise ArgumentError(f"pytensor.config.floatX={config.floatX!r} is too short for a mixture; set it to 'float64'")
    prepared = prepare(data)
    prepared.check_components(n_components)
    chosen = as_structure(structure, prepared.n_features)
    resolved = as_priors(priors).resolve(prepared, chosen, n_components)
    family = _FAMILIES[resolved.covariance]
    scaling = prepared.scaling(chosen)
    numbers = {
        **_mean_hyperparameters(resolved, scaling),
        **family.hyperparameters(resolved, scaling, chosen, n_components),
    }
    with pm.Model(coords=_coords(prepared, n_components)) as model:
        hyper = {name: pm.Data(name, value) for name, value in numbers.items()}
        weights = _weights(hyper["concentration"], n_components)
        means = _means(hyper, n_components)
        components = family.components(chosen, hyper, n_components, prepared.n_features)
        pm.Deterministic("covariances", components.covariances, dims=("component", "feature", "feature_bis"))
        _observe(prepared, scaling, weights, means, components)
    # Of everything else the names of its data tell.
    mark_form(model, (chosen, n_components, prepared.n_features))
    return model


def _coords(prepared: PreparedData, n_components: int) -> dict[str, Any]:
    names = list(prepared.features)
    return {"component": np.arange(n_components), "feature": names, "feature_bis": names, "row": prepared.rows}


def _mean_hyperparameters(priors: ResolvedPriors, scaling: Scaling) -> dict[str, Any]:
    location = (priors.mean_location - scaling.shift) / scaling.scale
    common = {"concentration": priors.concentration, "mean_location": location}
    if priors.mean_cov is None:
        return common | {"mean_sd": priors.mean_sd / scaling.scale}
    return common | {"mean_chol": np.linalg.cholesky(priors.mean_cov / np.outer(scaling.scale, scaling.scale))}


def _weights(concentration: Any, n_components: int) -> Any:
    if n_components == 1:
        return pm.Deterministic("weights", pt.ones(1), dims="component")
    return pm.Dirichlet("weights", concentration, dims="component")


def _means(hyper: dict[str, Any], n_components: int) -> Any:
    dims = ("component", "feature")
    if "mean_sd" in hyper:
        return pm.Normal("means", hyper["mean_location"], hyper["mean_sd"], dims=dims)
    location = pt.zeros((n_components, 1)) + hyper["mean_location"]
    return pm.MvNormal("means", location, chol=hyper["mean_chol"], dims=dims)


# -------------------------------------------------------------------- the rows


def _observe(prepared: PreparedData, scaling: Scaling, weights: Any, means: Any, components: Components) -> None:
    rows = scaling.standardize(prepared.values)
    row_weights = np.ones(prepared.n_rows) if prepared.sample_weight is None else prepared.sample_weight
    # PyMC would impute what is NaN; the likelihood does not look at what stands in its place.
    observed = pm.Data("rows", np.where(np.isnan(rows), 0.0, rows), dims=("row", "feature"))
    given = pm.Data("row_weights", row_weights, dims="row")
    if components.chols is not None and not prepared.has_missing:
        pm.CustomDist(
            "x", given, weights, means, components.chols,
            logp=_rows_logp, random=_rows_random, signature="(n),(k),(k,d),(k,d,d)->(n,d)",
            observed=observed, dims=("row", "feature"),
        )  # fmt: skip
        return
    patterns = [pm.Data(f"pattern_{name}", value) for name, value in Patterns.of(rows)._asdict().items()]
    pm.CustomDist(
        "x", given, *patterns, weights, means, components.precisions,
        logp=_observed_logp, random=_observed_random,
        signature="(n),(n),(b),(p,d),(p),(k),(k,d),(k,d,d)->(n,d)",
        observed=observed, dims=("row", "feature"),
    )  # fmt: skip


def _rows_logp(rows: Any, row_weights: Any, weights: Any, means: Any, chols: Any) -> Any:
    return mixture_log_likelihood(rows, row_weights, pt.log(weights), means, chols)


def _observed_logp(rows: Any, row_weights: Any, *rest: Any) -> Any:
    *patterns, weights, means, precisions = rest
    return observed_log_likelihood(rows, row_weights, patterns, pt.log(weights), means, precisions)


def _rows_random(
    row_weights: Any, weights: Any, means: Any, chols: Any, rng: Any = None, size: Any = None
) -> NDArray[np.float64]:
    labels = rng.choice(len(weights), p=weights / weights.sum(), size=len(row_weights))
    # x = mu + L^-T e has the precision L L'.
    roots = np.swapaxes(np.linalg.inv(chols), -1, -2)
    noise = rng.standard_normal((len(labels), means.shape[1]))
    return np.asarray(means[labels] + np.einsum("nde,ne->nd", roots[labels], noise))


def _observed_random(row_weights: Any, *rest: Any, rng: Any = None, size: Any = None) -> NDArray[np.float64]:
    """Draw complete rows: what is missing in the data is not missing in a replicate."""
    weights, means, precisions = rest[-3:]
    return _rows_random(row_weights, weights, means, np.linalg.cholesky(precisions), rng=rng)


def check_model(model: Any) -> pm.Model:
    """Return the model that was given; refuse what is none.

    Parameters
    ----------
    model : pymc.Model
        What was given.

    Returns
    -------
    pymc.Model
        The model.

    Raises
    ------
    ArgumentError
        When it is anything else.
    """
    if not isinstance(model, pm.Model):
        raise ArgumentError(f"model={model!r} must be a pymc.Model, made by build_model, or None")
    return model


# -------------------------------------------------------------------- where chains start


def start_values(model: pm.Model, structure: CovarianceStructure, mixture: Any) -> dict[str, NDArray[np.float64]]:
    """Return values of the model's variables at a mixture in standardised units.

    Parameters
    ----------
    model : pymc.Model
        Made by `build_model`, possibly changed by the user.
    structure : CovarianceStructure
        The structure it was built for.
    mixture : Mixture
        A single mixture, standardised units.

    Returns
    -------
    dict of str to ndarray
        Values of those of ``weights``, ``means`` and the covariances' variables that are free variables of the model.
    """
    free = {variable.name for variable in model.free_RVs}
    weights = np.maximum(mixture.weights, _LEAST_START_WEIGHT)
    values = {"weights": weights / weights.sum(), "means": mixture.means}
    for family in _FAMILIES.values():
        if free.issuperset(family.variables[:1]):
            values |= family.start(structure, mixture.covariances, _numbers(model))
    return {name: value for name, value in values.items() if name in free}


def _numbers(model: pm.Model) -> dict[str, NDArray[np.float64]]:
    """Return the current values of the model's data."""
    return {variable.name: variable.get_value() for variable in model.data_vars}
