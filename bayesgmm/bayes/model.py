"""The PyMC model of a Gaussian mixture, in standardised units.

`build_model` gives an ordinary `pm.Model` with named dimensions: weights, means and precisions with their priors,
covariances as a deterministic, and the marginal likelihood of the rows as one observed variable (the labels are summed
out, decision 5 of the architecture). A user may add to it or change it, and hand it to ``fit_bayes(model=...)``.

Data and the numbers of the prior enter as `pm.Data`, so that the compiled form of the model does not depend on them.
"""

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray

from bayesgmm.bayes.likelihood import mixture_log_likelihood
from bayesgmm.bayes.precisions import matrix_precisions, scalar_precisions
from bayesgmm.bayes.priors import Priors, ResolvedPriors
from bayesgmm.data import PreparedData, Scaling, prepare
from bayesgmm.errors import ArgumentError
from bayesgmm.structure import CovarianceStructure, as_structure

__all__ = ["MODELLED", "build_model", "start_values"]

#: Codes of the structures that have a prior: those whose precisions are free matrices or free numbers.
MODELLED = ("EII", "VII", "EEI", "VVI", "EEE", "VVV")

# A weight of zero is at infinity in unconstrained coordinates.
_LEAST_START_WEIGHT = 1e-3


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
        Rows; see `prepare`.
    n_components : int
        Number of components, K.
    structure : str or CovarianceStructure, default "full"
        Covariance structure; one of full, tied, diag, spherical, EEI, EII.
    priors : Priors, optional
        Default `Priors()`.

    Returns
    -------
    pymc.Model
        Variables ``weights`` (component), ``means`` (component, feature), ``precisions``, the deterministic
        ``covariances`` (component, feature, feature_bis), and ``x``, the observed rows (row, feature). Standardised
        units: ``prepared.scaling(structure)`` leads back.

    Raises
    ------
    ArgumentError
        When the structure has no model, or a prior is illegal.

    Notes
    -----
    The densities are math.md, 4.1 to 4.5.
    """
    prepared = prepare(data)
    prepared.check_components(n_components)
    prepared.check_complete("sampling")
    chosen = as_structure(structure, prepared.n_features)
    if chosen.code not in MODELLED:
        raise ArgumentError(f"structure {chosen} has no PyMC model; use one of {', '.join(MODELLED)}")
    resolved = (priors or Priors()).resolve(prepared, chosen, n_components)
    scaling = prepared.scaling(chosen)
    with pm.Model(coords=_coords(prepared, n_components)) as model:
        hyper = _hyperparameters(resolved, scaling, chosen, n_components)
        weights = _weights(hyper["concentration"], n_components)
        means = pm.Normal("means", hyper["mean_location"], hyper["mean_sd"], dims=("component", "feature"))
        chols, covariances = _precisions(chosen, hyper, n_components, prepared.n_features)
        pm.Deterministic("covariances", covariances, dims=("component", "feature", "feature_bis"))
        _observe(prepared, scaling, weights, means, chols)
    return model


def _coords(prepared: PreparedData, n_components: int) -> dict[str, Any]:
    names = list(prepared.features)
    return {"component": np.arange(n_components), "feature": names, "feature_bis": names, "row": prepared.rows}


def _hyperparameters(
    priors: ResolvedPriors, scaling: Scaling, structure: CovarianceStructure, n_components: int
) -> dict[str, Any]:
    within = (priors.within_sd / scaling.scale) ** 2
    copies = 1 if structure.is_shared else n_components
    blocks = within.mean(keepdims=True) if structure.is_spherical else within
    # E[Sigma] = nu0 S / (nu - p - 1), so that S^-1 follows from the expected variances.
    p = 1 if structure.is_diagonal else len(within)
    rate = priors.scale_dof / ((priors.dof - p - 1) * blocks)
    values = {
        "concentration": priors.concentration,
        "mean_location": (priors.mean_location - scaling.shift) / scaling.scale,
        "mean_sd": priors.mean_sd / scaling.scale,
        "precision_dof": np.full(copies, priors.dof),
        "scale_dof": np.asarray(priors.scale_dof),
        "scale_rate": rate if structure.is_diagonal else np.diag(rate),
        "scale_guard": blocks * priors.smallest_sd**2,
    }
    return {name: pm.Data(name, value) for name, value in values.items()}


def _weights(concentration: Any, n_components: int) -> Any:
    if n_components == 1:
        return pm.Deterministic("weights", pt.ones(1), dims="component")
    return pm.Dirichlet("weights", concentration, dims="component")


def _precisions(structure: CovarianceStructure, hyper: dict[str, Any], k: int, d: int) -> tuple[Any, Any]:
    """Make the precisions that the structure asks for; return their Cholesky factors and inverses, both (K, D, D)."""
    arguments = (hyper["precision_dof"], hyper["scale_dof"], hyper["scale_rate"], hyper["scale_guard"])
    copy_of = np.zeros(k, dtype=int) if structure.is_shared else np.arange(k)
    if not structure.is_diagonal:
        matrices = matrix_precisions("precisions", d, *arguments)
        chols, covariances = pt.linalg.cholesky(matrices), pt.linalg.inv(matrices)
        return (chols[copy_of], covariances[copy_of]) if structure.is_shared else (chols, covariances)
    block_of = np.zeros(d, dtype=int) if structure.is_spherical else np.arange(d)
    numbers = scalar_precisions("precisions", *arguments)[copy_of][:, block_of][..., None]
    return pt.sqrt(numbers) * np.eye(d), np.eye(d) / numbers


def _observe(prepared: PreparedData, scaling: Scaling, weights: Any, means: Any, chols: Any) -> None:
    row_weights = np.ones(prepared.n_rows) if prepared.sample_weight is None else prepared.sample_weight
    pm.CustomDist(
        "x", pm.Data("row_weights", row_weights, dims="row"), weights, means, chols,
        logp=_rows_logp, random=_rows_random, signature="(n),(k),(k,d),(k,d,d)->(n,d)",
        observed=pm.Data("rows", scaling.standardize(prepared.values), dims=("row", "feature")),
        dims=("row", "feature"),
    )  # fmt: skip


def _rows_logp(rows: Any, row_weights: Any, weights: Any, means: Any, chols: Any) -> Any:
    return mixture_log_likelihood(rows, row_weights, pt.log(weights), means, chols)


def _rows_random(
    row_weights: Any, weights: Any, means: Any, chols: Any, rng: Any = None, size: Any = None
) -> NDArray[np.float64]:
    labels = rng.choice(len(weights), p=weights / weights.sum(), size=len(row_weights))
    # x = mu + L^-T e has the precision L L'.
    roots = np.swapaxes(np.linalg.inv(chols), -1, -2)
    noise = rng.standard_normal((len(labels), means.shape[1]))
    return np.asarray(means[labels] + np.einsum("nde,ne->nd", roots[labels], noise))


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
        Values of those of ``weights``, ``means`` and ``precisions`` that are free variables of the model.
    """
    precisions = np.linalg.inv(mixture.covariances)
    if structure.is_diagonal:
        precisions = np.diagonal(precisions, axis1=-2, axis2=-1)
        precisions = precisions[:, :1] if structure.is_spherical else precisions
    if structure.is_shared:
        precisions = precisions[:1]
    weights = np.maximum(mixture.weights, _LEAST_START_WEIGHT)
    values = {"weights": weights / weights.sum(), "means": mixture.means, "precisions": precisions}
    free = {variable.name for variable in model.free_RVs}
    return {name: value for name, value in values.items() if name in free}
