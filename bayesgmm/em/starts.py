"""Where EM starts: partitions of the rows, and the parameters that an M step makes of them.

No single recipe is good on all data, so starts take turns: k-means, seeds spread as in k-means++, seeds drawn at
random, and groups split at random one after the other; each on the standardised rows and on rows whitened by the total
covariance, where long thin groups are no worse than round ones. Every such start has its own generator. Quantile slices
and Ward's hierarchy need no luck and are always among the starts.

Lloyd's algorithm is written out in a few lines: it warns of nothing and adds up in a fixed order, so that a seed gives
the same partition whatever the number of threads.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.cluster.vq import vq

from bayesgmm.em.knowledge import NOTHING, Knowledge
from bayesgmm.em.m_step import m_step
from bayesgmm.em.statistics import Moments, Parameters
from bayesgmm.errors import FitError
from bayesgmm.structure import CovarianceStructure

__all__ = [
    "SINGULAR_START",
    "fixed_labels",
    "moments_of_labels",
    "moments_of_responsibilities",
    "pure_or_shrunk",
    "random_labels",
    "start_from",
]

Floats = NDArray[np.float64]
Labels = NDArray[np.intp]

_LLOYD_STEPS = 20
_HIERARCHY_ROWS = 1000
_BETWEEN = 1e-4


# ---------------------------------------------------------------- partitions


def fixed_labels(Z: Floats, n_components: int, weights: Floats | None, rng: np.random.Generator) -> list[Labels]:
    """Compute the partitions that need no luck: slices of equal size, and Ward's hierarchy.

    Parameters
    ----------
    Z : ndarray, shape (n, D)
        Rows, standardised units.
    n_components : int
        Number of groups, K.
    weights : ndarray, shape (n,), optional
        Row weights.
    rng : numpy.random.Generator
        Draws the rows that the hierarchy is built on, where there are more than it can take.

    Returns
    -------
    list of ndarray of int, shape (n,)
        Quantile slices along the first principal axis; in several dimensions also the hierarchy of the standardised and
        of the whitened rows.
    """
    w = np.ones(len(Z)) if weights is None else weights
    white = _whitened(Z, w)
    slices = _slices(white[:, -1], n_components)
    return [slices] if Z.shape[1] == 1 else [slices, _ward(Z, n_components, rng), _ward(white, n_components, rng)]


def _slices(heights: Floats, k: int) -> Labels:
    cuts = np.quantile(heights, np.arange(1, k) / k)
    return np.asarray(np.searchsorted(cuts, heights), dtype=np.intp)


def _ward(rows: Floats, k: int, rng: np.random.Generator) -> Labels:
    """Cut Ward's hierarchy into k groups; rows that are not in it go to the nearest mean."""
    n = len(rows)
    chosen = rows if n <= _HIERARCHY_ROWS else rows[rng.choice(n, size=_HIERARCHY_ROWS, replace=False)]
    groups = np.asarray(fcluster(linkage(chosen, "ward"), k, "maxclust") - 1, dtype=np.intp)
    if len(chosen) == n:
        return groups
    centres = _group_means(chosen, groups, np.ones(len(chosen)), chosen[:k])
    return np.asarray(vq(rows, centres)[0], dtype=np.intp)


def random_labels(
    Z: Floats, n_components: int, weights: Floats | None, number: int, rng: np.random.Generator
) -> Labels:
    """Draw a partition of the rows.

    Parameters
    ----------
    Z : ndarray, shape (n, D)
        Rows, standardised units.
    n_components : int
        Number of groups, K.
    weights : ndarray, shape (n,), optional
        Row weights; rows are drawn in proportion.
    number : int
        Which start this is; the recipes take turns.
    rng : numpy.random.Generator
        The start's own generator.

    Returns
    -------
    ndarray of int, shape (n,)
        Group of every row. A group may be empty where rows are identical.
    """
    w = np.ones(len(Z)) if weights is None else weights
    recipe = _RECIPES[number % len(_RECIPES)]
    rows = _whitened(Z, w) if (number // len(_RECIPES)) % 2 else Z
    return recipe(rows, n_components, w, rng)


def _k_means(rows: Floats, k: int, w: Floats, rng: np.random.Generator) -> Labels:
    """Run Lloyd's algorithm from spread seeds."""
    centres = _spread_seeds(rows, k, w, rng)
    labels = np.asarray(vq(rows, centres)[0], dtype=np.intp)
    for _ in range(_LLOYD_STEPS):
        centres = _group_means(rows, labels, w, centres)
        following = np.asarray(vq(rows, centres)[0], dtype=np.intp)
        if np.array_equal(following, labels):
            break
        labels = following
    return labels


def _spread(rows: Floats, k: int, w: Floats, rng: np.random.Generator) -> Labels:
    return np.asarray(vq(rows, _spread_seeds(rows, k, w, rng))[0], dtype=np.intp)


def _scattered(rows: Floats, k: int, w: Floats, rng: np.random.Generator) -> Labels:
    seeds = rng.choice(len(rows), size=k, p=w / w.sum())
    return np.asarray(vq(rows, rows[seeds])[0], dtype=np.intp)


def _split(rows: Floats, k: int, w: Floats, rng: np.random.Generator) -> Labels:
    """Split groups in two until there are k: a group by its scatter, where by a random direction and a random cut."""
    labels = np.zeros(len(rows), dtype=np.intp)
    for new in range(1, k):
        centres = _group_means(rows, labels, w, np.zeros((new, rows.shape[1])))
        spread = np.bincount(labels, w * ((rows - centres[labels]) ** 2).sum(axis=1), minlength=new)
        if not spread.sum() > 0.0:
            break
        group = rng.choice(new, p=spread / spread.sum())
        members = np.flatnonzero(labels == group)
        heights = (rows[members] - centres[group]) @ rng.normal(size=rows.shape[1])
        cut = np.quantile(heights, rng.uniform(0.25, 0.75))
        labels[members[heights > cut]] = new
    return labels


_RECIPES = (_k_means, _spread, _split, _scattered)


def _spread_seeds(rows: Floats, k: int, w: Floats, rng: np.random.Generator) -> Floats:
    """Draw seeds in proportion to the squared distance from those drawn before (Arthur & Vassilvitskii 2007)."""
    seeds = [int(rng.choice(len(rows), p=w / w.sum()))]
    nearest = np.full(len(rows), np.inf)
    for _ in range(k - 1):
        nearest = np.minimum(nearest, ((rows - rows[seeds[-1]]) ** 2).sum(axis=1))
        mass = w * nearest
        total = mass.sum()
        seeds.append(int(rng.choice(len(rows), p=mass / total if total > 0.0 else w / w.sum())))
    return rows[seeds]


def _group_means(rows: Floats, labels: Labels, w: Floats, empty: Floats) -> Floats:
    """Return the weighted mean of every group; an empty one keeps its row of `empty`."""
    k = len(empty)
    counts = np.bincount(labels, w, minlength=k)
    sums = np.stack([np.bincount(labels, w * column, minlength=k) for column in rows.T], axis=1)
    return np.where(counts[:, None] > 0.0, sums / np.maximum(counts, 1e-300)[:, None], empty)


def _whitened(Z: Floats, w: Floats) -> Floats:
    """Return the rows with unit total covariance; directions without variance are left as they are."""
    centred = Z - w @ Z / w.sum()
    values, axes = np.linalg.eigh((w * centred.T) @ centred / w.sum())
    floor = 1e-10 * values[-1]
    scale = np.where(values > floor, np.sqrt(np.maximum(values, floor)), 1.0)
    return np.asarray(centred @ axes / scale)


# ---------------------------------------------------------------- from partitions to parameters


def moments_of_labels(Z: Floats, labels: Labels, n_components: int, weights: Floats | None) -> Moments:
    """Compute counts, means and scatters of groups; an empty group gets count zero and the total mean."""
    d = Z.shape[1]
    counts = np.zeros(n_components)
    means = np.tile(np.average(Z, axis=0, weights=weights), (n_components, 1))
    scatters = np.zeros((n_components, d, d))
    for group in range(n_components):
        members = labels == group
        w = np.ones(np.count_nonzero(members)) if weights is None else weights[members]
        counts[group] = w.sum()
        if counts[group] > 0.0:
            means[group] = w @ Z[members] / counts[group]
            centred = Z[members] - means[group]
            scatters[group] = (w * centred.T) @ centred
    return Moments(np.nan, np.maximum(counts, 1e-300), means, scatters)


def moments_of_responsibilities(Z: Floats, responsibilities: Floats, weights: Floats | None) -> Moments:
    """Compute counts, means and scatters that responsibilities (n, K) give."""
    r = responsibilities if weights is None else responsibilities * weights[:, None]
    counts = np.maximum(r.sum(axis=0), 1e-300)
    means = r.T @ Z / counts[:, None]
    scatters = np.stack([(r[:, k] * (Z - means[k]).T) @ (Z - means[k]) for k in range(len(counts))])
    return Moments(np.nan, counts, means, scatters)


def start_from(
    moments: Moments,
    structure: CovarianceStructure,
    *,
    prior: Floats | None,
    shrunk: bool,
    knowledge: Knowledge = NOTHING,
) -> Parameters:
    """Return the parameters that a partition starts EM with.

    Parameters
    ----------
    moments : Moments
        Moments of the partition, full scatters.
    structure : CovarianceStructure
        The structure, reduced to the dimension of the data.
    prior : ndarray, shape (D, D), optional
        See `m_step`.
    shrunk : bool
        Whether every scatter borrows d + 1 rows' worth of the pooled one, and every group counts one row more, so that
        no start is singular only because a group is small.
    knowledge : Knowledge, optional
        See `m_step`.

    Returns
    -------
    parameters : Parameters
        Weights, means and covariances.

    Raises
    ------
    numpy.linalg.LinAlgError
        When a group is too small for a covariance of its own and `shrunk` is false; when the data are collinear.
    """
    if shrunk:
        moments = _shrunk(moments)
    return m_step(moments, structure, prior=prior, knowledge=knowledge)


def pure_or_shrunk(
    moments: Moments, structure: CovarianceStructure, prior: Floats | None, knowledge: Knowledge = NOTHING
) -> Parameters:
    """Return the parameters of a partition as it is, or shrunk where a group is too small for that.

    Parameters
    ----------
    moments : Moments
        Of the partition.
    structure : CovarianceStructure
        The structure, reduced to the dimension of the data.
    prior : ndarray, shape (D, D), optional
        See `m_step`.
    knowledge : Knowledge, optional
        See `m_step`.

    Returns
    -------
    parameters : Parameters
        Weights, means and covariances.

    Raises
    ------
    FitError
        When even then a covariance is not positive definite.
    """
    for shrunk in (False, True):
        try:
            parameters = start_from(moments, structure, prior=prior, shrunk=shrunk, knowledge=knowledge)
            np.linalg.cholesky(parameters.covariances)
        except np.linalg.LinAlgError:
            continue
        return parameters
    raise FitError(SINGULAR_START)


#: What is wrong, and what to do, when not even a start has positive definite covariances.
SINGULAR_START = (
    "no start has positive definite covariances: columns are constant or linear combinations of others; drop one of "
    "them, choose a diagonal structure, or set reg_covar"
)


def _shrunk(moments: Moments) -> Moments:
    n, d = moments.counts.sum(), moments.means.shape[1]
    counts, borrowed = moments.counts + 1.0, d + 1.0
    from_centre = moments.means - moments.counts @ moments.means / n
    between = (moments.counts * from_centre.T) @ from_centre
    # A trace of the scatter between the groups: groups of identical rows have none of their own.
    pooled = (moments.scatters.sum(axis=0) + _BETWEEN * between) / n
    scatters = (moments.scatters + borrowed * pooled) * (counts / (moments.counts + borrowed))[:, None, None]
    return Moments(np.nan, counts, moments.means, scatters)
