"""The prior predictive check: mixtures, and data, as the prior alone would have them.

What a prior says is seen from the data it makes, long before a posterior is. The draws come from the model that would
be fitted; the factor that forbids spikes (math.md, 4.4) is met exactly, by rejection.
"""

from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.bayes.model import build_model
from bayesgmm.bayes.priors import Priors
from bayesgmm.data import prepare
from bayesgmm.errors import ArgumentError, FitError
from bayesgmm.mixture import Mixture
from bayesgmm.seeding import as_generator, recorded_seed
from bayesgmm.structure import CovarianceStructure, as_structure

__all__ = ["prior_predictive"]

_NAMES = ("weights", "means", "covariances", "x")
# Rounds of drawing before it is said that the guard refuses nearly everything.
_MOST_ROUNDS = 50


def prior_predictive(
    data: Any,
    n_components: int,
    *,
    structure: str | CovarianceStructure = "full",
    priors: Priors | None = None,
    draws: int = 200,
    seed: Any = None,
) -> xr.DataTree:
    """Draw mixtures from the prior and a data set from each.

    Parameters
    ----------
    data : table or PreparedData
        The rows whose ranges set the defaults of the priors; nothing else of them is used.
    n_components : int
        Number of components, K.
    structure : str or CovarianceStructure, default "full"
        Covariance structure.
    priors : Priors, optional
        Default `Priors()`.
    draws : int, default 200
        Number of draws.
    seed : int, Generator or RandomState, optional
        Source of the draws.

    Returns
    -------
    xarray.DataTree
        Groups ``prior`` (weights, means, covariances), ``prior_predictive`` (x, as many complete rows as the data
        have) and ``observed_data`` (x), all in the user's units, for ArviZ.

    Raises
    ------
    ArgumentError
        When an argument or a prior is illegal.
    FitError
        When nearly every draw is refused by the factor that forbids spikes.

    Examples
    --------
    >>> tree = prior_predictive([[1.0], [2.0], [4.0], [8.0]], 2, draws=10, seed=0)
    >>> tree["prior_predictive"]["x"].shape
    (1, 10, 4, 1)
    """
    if isinstance(draws, bool) or not isinstance(draws, int | np.integer) or draws < 1:
        raise ArgumentError(f"draws={draws!r} must be a whole number, at least 1")
    prepared = prepare(data)
    chosen = as_structure(structure, prepared.n_features)
    rng = as_generator(recorded_seed(seed))
    found = _drawn(build_model(prepared, n_components, chosen, priors), int(draws), rng)
    scaling = prepared.scaling(chosen)
    covariances = 0.5 * (found["covariances"] + np.swapaxes(found["covariances"], -1, -2))
    standard = Mixture(found["weights"], found["means"], covariances, prepared.features)
    coords = {"row": prepared.rows, "feature": list(prepared.features)}
    rows = (found["x"] * scaling.scale + scaling.shift)[None]
    return xr.DataTree.from_dict(
        {
            "prior": scaling.mixture_to_user(standard)[None].to_dataset(),
            "prior_predictive": xr.Dataset({"x": (("chain", "draw", "row", "feature"), rows)}, coords=coords),
            "observed_data": xr.Dataset({"x": (("row", "feature"), prepared.values)}, coords=coords),
        }
    )


def _drawn(model: pm.Model, draws: int, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Draw from the prior of a model, thinned by its potentials, which must not be positive."""
    variables = [*(model[name] for name in _NAMES), *(potential.sum() for potential in model.potentials)]
    kept: dict[str, list[NDArray[np.float64]]] = {name: [] for name in _NAMES}
    n_kept = 0
    for _ in range(_MOST_ROUNDS):
        drawn = pm.draw(variables, draws, random_seed=rng, mode="FAST_COMPILE")
        log_chance = np.sum([np.zeros(draws), *(np.reshape(part, draws) for part in drawn[len(_NAMES) :])], axis=0)
        is_kept = np.log(rng.random(draws)) < log_chance
        n_kept += int(is_kept.sum())
        for name, values in zip(_NAMES, drawn, strict=False):
            # A single draw comes without its dimension.
            kept[name].append(np.reshape(values, (draws, *np.shape(values)[draws > 1 :]))[is_kept])
        if n_kept >= draws:
            return {name: np.concatenate(parts)[:draws] for name, parts in kept.items()}
    raise FitError("the prior contradicts itself: nearly all of it lies below smallest_sd; lower smallest_sd")
