"""What a user tells `fit_em` besides the data, checked, and in the units and the order that the engine works in.

A start, labels, fixed parameters, a prior and a bound come in the user's units, in many forms, and with one entry for
each row of the table as it was before rows with missing values were left out. Whatever does not fit is refused here,
in the words of the argument that it came with.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesgmm.data import PreparedData, Scaling, read_table
from bayesgmm.data.tables import as_floats
from bayesgmm.em.conjugate import ConjugatePrior
from bayesgmm.em.constraint import BOUNDED
from bayesgmm.em.fixed import Fixed
from bayesgmm.em.m_step import m_step
from bayesgmm.em.statistics import Moments
from bayesgmm.errors import ArgumentError
from bayesgmm.fit import MixtureFit
from bayesgmm.mixture import Mixture, default_features
from bayesgmm.structure import STRUCTURES, CovarianceStructure

__all__ = [
    "KnownLabels",
    "check_bound",
    "positive",
    "read_fixed",
    "read_labels",
    "read_prior",
    "standard_start",
    "whole",
]

Floats = NDArray[np.float64]

_GROUPS = ("weights", "means", "covariances")
# A fixed covariance is of the structure when the nearest that is differs by no more than this, in standard deviations.
_SAME_STRUCTURE = 1e-6
_IDENTICAL = 1e-10


def whole(name: str, value: Any) -> int:
    """Check a number that is written into the fit, which holds plain numbers only."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ArgumentError(f"{name}={value!r} must be a positive whole number")
    return int(value)


def positive(name: str, value: Any, *, or_zero: bool = False) -> float:
    """Check a finite number that is above zero, or zero where that is allowed."""
    is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < 0 or (value == 0 and not or_zero):
        raise ArgumentError(f"{name}={value!r} must be {'zero or ' if or_zero else ''}a positive number")
    return float(value)


def _for_fitted_rows(given: NDArray[Any], name: str, data: Any, prepared: PreparedData, missing: str) -> NDArray[Any]:
    """Return the entries of the rows that are fitted, where there is one for each row of the table as it came."""
    if len(given) == prepared.n_rows:
        return given
    n_before = prepared.n_rows + prepared.n_dropped
    if len(given) != n_before or isinstance(data, PreparedData):
        dropped = f" ({n_before} before rows with missing values were left out)" if prepared.n_dropped else ""
        what = "label or K responsibilities" if name == "start" else "entry"
        raise ArgumentError(
            f"{name} has shape {given.shape}; it needs one {what} for each of {prepared.n_rows} rows{dropped}"
        )
    absent = np.isnan(read_table(data).values)
    return given[~(absent.all(axis=1) if missing == "marginalize" else absent.any(axis=1))]


# ---------------------------------------------------------------- a start


def standard_start(
    start: Any, scaling: Scaling, data: Any, prepared: PreparedData, k: int, missing: str
) -> Mixture | NDArray[Any] | None:
    """Convert a start to standardised units and to the order of the columns; labels to 0 .. K-1.

    Parameters
    ----------
    start : Mixture, MixtureFit, labels (n,), responsibilities (n, K) or None
        As it came; user's units.
    scaling : Scaling
        The change of units under which the fit runs.
    data : table or PreparedData
        As it came.
    prepared : PreparedData
        The rows that are fitted.
    k : int
        Number of components, K.
    missing : str
        What was done with missing values.

    Returns
    -------
    Mixture, ndarray or None
        What `maximise` takes.

    Raises
    ------
    ArgumentError
        When the start does not fit the data, or has components that EM cannot tell apart.
    """
    if start is None:
        return None
    if isinstance(start, MixtureFit | Mixture):
        mixture = start.mixture if isinstance(start, MixtureFit) else start
        return _distinct(scaling.mixture_to_standard(_fitting_start(mixture, prepared, k)))
    found = np.asarray(start)
    if found.ndim not in (1, 2):
        raise ArgumentError(f"start has shape {found.shape}; it needs one label or K responsibilities for each of "
                            f"{prepared.n_rows} rows")  # fmt: skip
    found = _for_fitted_rows(found, "start", data, prepared, missing)
    if found.ndim == 2:
        responsibilities = as_floats(found, "start")
        are_equal = responsibilities.shape[1] == k > 1 and np.all(np.ptp(responsibilities, axis=0) < _IDENTICAL)
        if are_equal and responsibilities.min() >= 0.0 and np.allclose(responsibilities.sum(axis=1), 1.0):
            raise ArgumentError(
                "start gives every row the same responsibilities, so that all components are alike and EM cannot tell "
                "them apart; give labels, or leave start out"
            )
        return responsibilities
    names, labels = np.unique(found, return_inverse=True)
    if len(names) != k:
        raise ArgumentError(f"start has {len(names)} different labels; it needs n_components={k}")
    return labels.astype(np.intp)


def _distinct(mixture: Mixture) -> Mixture:
    """Refuse a mixture all of whose components are one: no step of EM leads away from it."""
    sds = np.sqrt(np.diagonal(mixture.covariances, axis1=1, axis2=2))
    has_one_mean = np.all(np.ptp(mixture.means, axis=0) < _IDENTICAL * sds)
    relative = mixture.covariances / (sds[0, :, None] * sds[0])
    if mixture.n_components > 1 and has_one_mean and np.all(np.ptp(relative, axis=0) < _IDENTICAL):
        raise ArgumentError(
            "start is a mixture whose components are all alike, and EM cannot tell them apart; move their means, or "
            "leave start out"
        )
    return mixture


def _fitting_start(mixture: Mixture, prepared: PreparedData, k: int) -> Mixture:
    """Return a mixture with the columns of the data in their order; by position where either came without names."""
    if mixture.batch_shape or mixture.n_components != k or mixture.n_features != prepared.n_features:
        raise ArgumentError(
            f"start={mixture!r} is not a single mixture of {k} components and {prepared.n_features} columns"
        )
    if default_features(prepared.n_features) in (mixture.features, prepared.features):
        return mixture
    return mixture.marginal(prepared.features)


# ---------------------------------------------------------------- labels


@dataclass(frozen=True, eq=False)
class KnownLabels:
    """The components of the rows of which they are known.

    Parameters
    ----------
    components : ndarray of int, shape (n,)
        Component of each row, -1 where it is not known.
    names : dict of str to int
        The names that the user has for components.
    """

    components: NDArray[np.intp]
    names: dict[str, int]


def read_labels(labels: Any, k: int, data: Any, prepared: PreparedData, missing: str) -> KnownLabels | None:
    """Read the known labels of rows.

    Parameters
    ----------
    labels : array_like, shape (n,), or None
        A component number or a name for each row; -1, NaN or None where it is not known.
    k : int
        Number of components, K.
    data : table or PreparedData
        As it came.
    prepared : PreparedData
        The rows that are fitted.
    missing : str
        What was done with missing values.

    Returns
    -------
    KnownLabels or None
        None where no label is known.

    Raises
    ------
    ArgumentError
        When there are more names than components, a labelled row has missing values, or all rows are labelled and a
        component has none.
    """
    if labels is None:
        return None
    found = np.asarray(labels, dtype=object)
    if found.ndim != 1:
        raise ArgumentError(f"labels has shape {found.shape}; it needs one entry for each of {prepared.n_rows} rows")
    found = _for_fitted_rows(found, "labels", data, prepared, missing)
    is_known = np.array([not _is_unknown(value) for value in found], dtype=bool)
    if not is_known.any():
        return None
    names = _component_names(set(found[is_known]), k)
    components = np.full(len(found), -1, dtype=np.intp)
    components[is_known] = [names[value] for value in found[is_known]]
    _check_labels(components, k, prepared)
    return KnownLabels(components, {str(name): number for name, number in names.items()})


def _is_unknown(value: Any) -> bool:
    """Whether an entry stands for a label that is not known: None, NaN, pandas' NA, or -1."""
    if value is None or isinstance(value, str):
        return value is None
    if not isinstance(value, Real):
        return type(value).__name__ in ("NAType", "NaTType")
    return bool(math.isnan(value) or value == -1)


def _component_names(names: set[Any], k: int) -> dict[Any, int]:
    """Return the component of each name: numbers from 0 to K - 1 name themselves, other names go by their order."""
    are_numbers = all(isinstance(name, Real) for name in names)
    if are_numbers and all(0 <= name < k and name == int(name) for name in names):
        return {name: int(name) for name in sorted(names)}
    if len(names) > k:
        raise ArgumentError(f"labels has {len(names)} different names, more than n_components={k}")
    try:
        ordered = sorted(names)
    except TypeError:
        raise ArgumentError(
            f"labels mixes kinds of names ({', '.join(sorted(map(repr, names)))}); use text or numbers throughout"
        ) from None
    return {name: number for number, name in enumerate(ordered)}


def _check_labels(components: NDArray[np.intp], k: int, prepared: PreparedData) -> None:
    is_known = components >= 0
    absent = np.isnan(prepared.values[is_known]).any(axis=1)
    if absent.any():
        row = prepared.rows[is_known][int(np.argmax(absent))]
        raise ArgumentError(
            f"{int(absent.sum())} rows with a label have missing values (the first is row {row}); give them the label "
            "-1, or use missing='drop'"
        )
    weights = np.ones(len(components)) if prepared.sample_weight is None else prepared.sample_weight
    counts = np.bincount(components[is_known], weights[is_known], minlength=k)
    if not counts.any():
        raise ArgumentError("every row with a label has sample_weight zero; leave labels out")
    if np.all(is_known[weights > 0.0]) and not counts.all():
        empty = int(np.argmin(counts))
        raise ArgumentError(f"every row has a label, and none belongs to component {empty}; use fewer components")


# ---------------------------------------------------------------- fixed parameters, prior, bound


def read_fixed(
    fix: Mapping[str, ArrayLike] | None, structure: CovarianceStructure, scaling: Scaling, k: int
) -> Fixed:  # fmt: skip
    """Read the parameters that are held.

    Parameters
    ----------
    fix : mapping of str to array_like, or None
        Some of weights (K,), means (K, D) and covariances (K, D, D); user's units.
    structure : CovarianceStructure
        The structure, reduced to the dimension of the data; fixed covariances must have it.
    scaling : Scaling
        The change of units under which the fit runs.
    k : int
        Number of components, K.

    Returns
    -------
    Fixed
        User's units.

    Raises
    ------
    ArgumentError
        When a name, a shape or a value is wrong, the covariances are not of the structure, or nothing is left free.
    """
    if fix is None:
        return Fixed()
    if not isinstance(fix, Mapping) or not fix or any(name not in _GROUPS for name in fix):
        raise ArgumentError(f"fix={fix!r} must be a dict with some of {', '.join(map(repr, _GROUPS))}")
    if len(fix) == len(_GROUPS):
        raise ArgumentError("fix holds weights, means and covariances: nothing is left to fit; leave one of them out")
    d = len(scaling.scale)
    shapes = {"weights": (k,), "means": (k, d), "covariances": (k, d, d)}
    held = Fixed(**{name: _shaped(name, values, shapes[name]) for name, values in fix.items()})
    # A Mixture checks what its numbers must be.
    whole_mixture = held.restored(Mixture(np.full(k, 1.0 / k), np.zeros((k, d)), np.broadcast_to(np.eye(d), (k, d, d))))
    _ = whole_mixture.cholesky
    if held.weights is not None and not np.all(held.weights > 0.0):
        raise ArgumentError("fix['weights'] has a zero; leave that component out")
    if held.covariances is not None:
        _check_structure(held.to_standard(scaling).covariances, structure)
    return held


def _shaped(name: str, values: ArrayLike, shape: tuple[int, ...]) -> Floats:
    found = as_floats(np.asarray(values), f"fix[{name!r}]")
    if found.shape != shape and (shape[-1] != 1 or found.shape != shape[:1]):
        raise ArgumentError(f"fix[{name!r}] has shape {found.shape}; it needs {shape}")
    return found.reshape(shape)


def _check_structure(covariances: Floats | None, structure: CovarianceStructure) -> None:
    """Refuse covariances that an M step of the structure, given them as scatters, does not return as they are."""
    if covariances is None:
        return
    k, d = covariances.shape[:2]
    nearest = m_step(Moments(np.nan, np.ones(k), np.zeros((k, d)), covariances), structure).covariances
    sds = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    gap = np.abs((nearest - covariances) / (sds[:, :, None] * sds[:, None, :])).max()
    if gap > _SAME_STRUCTURE:
        raise ArgumentError(
            f"fix['covariances'] are not {structure}: the nearest such ones differ by {gap:.2g} of a variance; "
            "choose another structure, or covariances of this one"
        )


def read_prior(prior: ConjugatePrior | str | None, scaling: Scaling, reg_covar: float, fixed: Fixed) -> Any:
    """Read the prior; return it in standardised units, or None.

    Parameters
    ----------
    prior : ConjugatePrior, "default" or None
        User's units.
    scaling : Scaling
        The change of units under which the fit runs.
    reg_covar : float
        What was asked for besides.
    fixed : Fixed
        What is held.

    Returns
    -------
    ConjugatePrior or None
        Standardised units.

    Raises
    ------
    ArgumentError
        When it is something else, or goes with nothing that is free.
    """
    if prior is None:
        return None
    if isinstance(prior, str) and prior == "default":
        prior = ConjugatePrior()
    if not isinstance(prior, ConjugatePrior):
        raise ArgumentError(f"prior={prior!r} must be a ConjugatePrior, 'default' or None")
    if reg_covar > 0.0:
        raise ArgumentError(f"reg_covar={reg_covar:g} and prior both make covariances larger; choose one of them")
    if fixed.means is not None and fixed.covariances is not None:
        raise ArgumentError("fix holds means and covariances, of which the prior speaks; leave prior out")
    return prior.to_standard(scaling)


def check_bound(ratio: Any, structure: CovarianceStructure, fixed: Fixed) -> float | None:
    """Check the largest ratio of two eigenvalues.

    Parameters
    ----------
    ratio : float or None
        The bound.
    structure : CovarianceStructure
        The structure, reduced to the dimension of the data.
    fixed : Fixed
        What is held.

    Returns
    -------
    float or None
        The bound.

    Raises
    ------
    ArgumentError
        When it is below one, the M step under it is not known for the structure, or covariances are fixed.
    """
    if ratio is None:
        return None
    checked = positive("max_eigenvalue_ratio", ratio)
    if checked < 1.0:
        raise ArgumentError(
            f"max_eigenvalue_ratio={ratio!r} must be at least 1: no ratio of largest to smallest is less"
        )
    if structure.code not in BOUNDED:
        names = ", ".join(STRUCTURES[code].name for code in BOUNDED)
        raise ArgumentError(
            f"max_eigenvalue_ratio works with the structures {names}; with {structure} use reg_covar or prior instead"
        )
    if fixed.covariances is not None:
        raise ArgumentError("fix holds the covariances: there is nothing for max_eigenvalue_ratio to bound")
    return checked
