"""The tree of a fit put together: the groups that every fit has, and what its maker adds."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesgmm.data.prepare import PreparedData
from bayesgmm.data.scaling import Scaling
from bayesgmm.fit.info import FitInfo
from bayesgmm.fit.mixture_fit import MixtureFit
from bayesgmm.mixture import Mixture

__all__ = ["assemble"]

#: Largest number of pointwise log-likelihoods that is kept in a tree (800 MB); beyond it the group is left out.
MAX_POINTWISE = 10**8
_ROWS_AT_ONCE = 65_536


def assemble(
    mixture: Mixture,
    prepared: PreparedData,
    info: FitInfo,
    scaling: Scaling,
    *,
    groups: Mapping[str, xr.Dataset] | None = None,
    model: Any = None,
    known_components: NDArray[np.intp] | None = None,
) -> MixtureFit:
    """Build a fit from a mixture in the user's units.

    Parameters
    ----------
    mixture : Mixture
        One estimate, or draws with leading dimensions (chain, draw); user's units, relabelled.
    prepared : PreparedData
        The data.
    info : FitInfo
        How it was made.
    scaling : Scaling
        The change of units under which it was made.
    groups : mapping of str to Dataset, optional
        Further groups of the tree, such as ``sample_stats``. A ``posterior`` group adds variables to the mixture's.
        With a group ``all_rows`` (n_rows, effective_rows, log_likelihood, log_certainty) the data are a sample.
    model : pymc.Model, optional
        The model that was sampled.
    known_components : ndarray of int, shape (n,), optional
        For one estimate: the component of each row that has a label, -1 for the others. A row with a label counts with
        the joint density of row and component.

    Returns
    -------
    MixtureFit
        The fit.
    """
    posterior = mixture.to_dataset()
    extra = dict(groups or {})
    if "posterior" in extra:
        posterior = posterior.merge(extra.pop("posterior"))
    contents = {"posterior": posterior, **_data_groups(prepared, scaling, known_components), **extra}
    # Of a sample, nobody shall take the sum for the log-likelihood of the data.
    pointwise = None if "all_rows" in extra else _pointwise(mixture, prepared, posterior, known_components)
    if pointwise is not None:
        contents["log_likelihood"] = pointwise
    tree = xr.DataTree.from_dict(contents)
    tree.attrs["bayesgmm_info"] = info.to_json()
    return MixtureFit(tree, model)


def _data_groups(
    prepared: PreparedData, scaling: Scaling, known_components: NDArray[np.intp] | None
) -> dict[str, xr.Dataset]:
    coords = {"row": prepared.rows, "feature": list(prepared.features)}
    constants: dict[str, Any] = {"shift": ("feature", scaling.shift), "scale": ("feature", scaling.scale)}
    if prepared.sample_weight is not None:
        constants["sample_weight"] = ("row", prepared.sample_weight)
    if known_components is not None:
        constants["known_component"] = ("row", known_components)
    return {
        "observed_data": xr.Dataset({"x": (("row", "feature"), prepared.values)}, coords=coords),
        "constant_data": xr.Dataset(constants, coords=coords),
    }


def _pointwise(
    mixture: Mixture, prepared: PreparedData, posterior: xr.Dataset, known_components: NDArray[np.intp] | None
) -> xr.Dataset | None:
    """Return the weighted pointwise log-likelihood, or None where it would not fit into memory."""
    if mixture.n_mixtures * prepared.n_rows > MAX_POINTWISE:
        return None
    shape = (posterior.sizes["chain"], posterior.sizes["draw"], prepared.n_rows)
    # Some rows at a time: what a density makes of them in passing is as large as they are, in double precision.
    starts = range(0, prepared.n_rows, _ROWS_AT_ONCE)
    parts = [mixture.log_density(prepared.values[i : i + _ROWS_AT_ONCE]) for i in starts]
    values = np.concatenate(parts, axis=-1).reshape(shape)
    if known_components is not None:
        labelled = np.flatnonzero(known_components >= 0)
        joint = mixture.log_joint(prepared.values[labelled])
        values[..., labelled] = joint[np.arange(len(labelled)), known_components[labelled]]
    if prepared.sample_weight is not None:
        values = values * prepared.sample_weight
    coords = {"chain": posterior["chain"], "draw": posterior["draw"], "row": prepared.rows}
    return xr.Dataset({"x": (("chain", "draw", "row"), values)}, coords=coords)
