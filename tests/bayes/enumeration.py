"""The exact posterior of two components and a few rows: all labellings enumerated, precisions by quadrature.

Given the labels and the precisions, means are integrated out in closed form. Precisions lie on grids of equal steps in
unbounded coordinates (logarithms, inverse hyperbolic tangents, angles), on which the trapezoidal rule converges faster
than any power of the step. So for every two sets of rows there is one number, the mass of the first component having
drawn the first set and the second the second; expectations are sums of these. The mean of the density at a point needs
nothing new: it is the mass of the rows with that point, divided by that of the rows.

The coordinates and the formulas of the priors (math.md, 4.3, 4.9, 4.10) are not those of the package's code.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import betainc, betaln, polygamma

ROW_TERMS = ("mass", "mean", "log_precision")


class Belief(NamedTuple):
    """The numbers of a prior, standardised units."""

    concentration: float = 1.5
    mean_sd: tuple = (2.0,)
    within_sd: tuple = (1.0,)
    smallest_sd: float = 0.2
    dof: float = 7.0
    scale_dof: float = 5.0
    eta: float = 2.0
    sd_spread: float = 0.5


class Grid(NamedTuple):
    """Places of a precision, and the log prior mass (Q, Q) of two of them, or (Q,) of one that is shared."""

    precisions: np.ndarray
    log_mass: np.ndarray


# -------------------------------------------------------------------- grids


def _log_det(matrices):
    return np.linalg.slogdet(matrices)[1]


def _matrices(first, second, t):
    """Symmetric matrices by the logarithms of their diagonal and artanh of their correlation."""
    a, b, t = (part.ravel() for part in np.meshgrid(first, second, t, indexing="ij"))
    off = np.tanh(t) * np.exp(0.5 * (a + b))
    return np.stack([np.stack([np.exp(a), off], -1), np.stack([off, np.exp(b)], -1)], -2)


def _determinants_of_sums(one, other):
    """Determinants (Q, Q) of all sums of two matrices, without holding the sums."""

    def entry(i, j):
        return one[:, None, i, j] + other[:, i, j]

    return entry(0, 0) if one.shape[-1] == 1 else entry(0, 0) * entry(1, 1) - entry(0, 1) ** 2


def _correlation(matrices):
    return matrices[:, 0, 1] / np.sqrt(matrices[:, 0, 0] * matrices[:, 1, 1])


def wishart_grid(belief, d, *, is_shared, step, copies_of=1):
    """Matrices of order d with a common scale matrix that is integrated out; `copies_of` columns share a number."""
    within = np.array(belief.within_sd[:d]) ** 2
    if copies_of > 1:
        within = within.mean(keepdims=True)
        d = 1
    # E Sigma = scale_dof S / (dof - d - 1), and the rate is the inverse of S.
    rate = np.diag(belief.scale_dof / ((belief.dof - d - 1) * within))
    logs = np.arange(-3.5, 5.5, step)
    nodes = np.exp(logs)[:, None, None] if d == 1 else _matrices(logs, logs, np.arange(-3.0, 3.01, step))
    log_det, diagonal = _log_det(nodes), np.diagonal(nodes, axis1=1, axis2=2)
    log_volume = logs if d == 1 else 1.5 * np.log(diagonal).sum(axis=1) + np.log1p(-(_correlation(nodes) ** 2))
    guard = belief.smallest_sd**2 * within
    single = 0.5 * (belief.dof - d - 1) * log_det - 0.5 * diagonal @ guard + log_volume
    if is_shared:
        log_mass = single - 0.5 * (belief.scale_dof + belief.dof) * _log_det(rate + nodes)
    else:
        log_total = np.log(_determinants_of_sums(rate + nodes, nodes))
        log_mass = single[:, None] + single - 0.5 * (belief.scale_dof + 2 * belief.dof) * log_total
    return [Grid(nodes * np.eye(copies_of) if copies_of > 1 else nodes, log_mass)]


def lkj_grid(belief, *, step):
    """Two columns: log-normal standard deviations and an LKJ correlation, apart for each component."""
    within = np.log(belief.within_sd)
    spread = belief.sd_spread * np.arange(-5.0, 5.01, 1.4 * step)
    covariances = _matrices(2 * (within[0] + spread), 2 * (within[1] + spread), np.arange(-3.0, 3.01, step))
    nodes, rho = np.linalg.inv(covariances), _correlation(covariances)
    logs = 0.5 * np.log(np.diagonal(covariances, axis1=1, axis2=2)) - within
    guard = (belief.smallest_sd * np.array(belief.within_sd)) ** 2
    single = -0.5 * ((logs / belief.sd_spread) ** 2).sum(axis=1) + belief.eta * np.log1p(-(rho**2))
    single -= 0.5 * np.diagonal(nodes, axis1=1, axis2=2) @ guard
    return [Grid(nodes, single[:, None] + single)]


def vev_grids(belief, *, step):
    """Two columns: volumes apart, one shape, axes apart; one grid for each shape."""
    log_within = 2 * np.log(belief.within_sd)
    between, apart = polygamma(1, belief.scale_dof / 2), polygamma(1, belief.dof / 2)
    volumes = np.arange(-4.5, 4.51, step)
    angles = np.arange(0.0, np.pi, np.pi / np.ceil(12.0 / step))
    # Normal with the covariance between + apart on the diagonal and between beside it.
    joint = np.linalg.inv(apart * np.eye(2) + between)
    first, second = np.meshgrid(volumes, volumes, indexing="ij")
    log_volumes = -0.5 * (joint[0, 0] * (first**2 + second**2) + 2 * joint[0, 1] * first * second)
    which, angle = (part.ravel() for part in np.meshgrid(np.arange(len(volumes)), angles, indexing="ij"))
    axes = np.stack([np.stack([np.cos(angle), -np.sin(angle)], -1), np.stack([np.sin(angle), np.cos(angle)], -1)], -2)
    guard = (belief.smallest_sd * np.array(belief.within_sd)) ** 2
    shape_sd = np.sqrt(between + apart + log_within.var())
    grids = []
    for shape in shape_sd * np.arange(-4.0, 4.01, step):
        logs = log_within.mean() + volumes[which][:, None] + shape * np.array([1.0, -1.0]) / np.sqrt(2)
        nodes = np.einsum("qij,qj,qkj->qik", axes, np.exp(-logs), axes)
        guarded = -0.5 * np.diagonal(nodes, axis1=1, axis2=2) @ guard
        log_mass = log_volumes[which][:, which] + guarded[:, None] + guarded - 0.5 * (shape / shape_sd) ** 2
        grids.append(Grid(nodes, log_mass))
    return grids


# -------------------------------------------------------------------- masses of sets of rows


def subsets(n):
    """All sets of n rows as a table (2^n, n) of zeros and ones; set number s has row i where bit i of s is set."""
    return (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(float)


def _observed(row, precisions):
    """Precisions of what was observed of a row, with zeros for what was not, and their log determinants."""
    seen = ~np.isnan(row)
    if seen.all():
        return precisions, _log_det(precisions)
    found, part = np.zeros_like(precisions), np.linalg.inv(np.linalg.inv(precisions)[:, seen][:, :, seen])
    found[:, np.ix_(seen, seen)[0], np.ix_(seen, seen)[1]] = part
    return found, _log_det(part)


def given_precisions(rows, precisions, mean_sd):
    """For each precision and set of rows: density of the rows with their mean integrated out; mean of that mean."""
    members, tau, values = subsets(len(rows)), np.diag(1.0 / np.array(mean_sd) ** 2), np.nan_to_num(rows)
    parts, log_dets = zip(*(_observed(row, precisions) for row in rows), strict=True)
    weighted = np.stack([part @ value for part, value in zip(parts, values, strict=True)])
    squares = members @ np.einsum("ni,nqi->nq", values, weighted)
    weighted = np.einsum("sn,nqi->qsi", members, weighted)
    information = tau + np.einsum("sn,nqij->qsij", members, np.stack(parts))
    centre = np.linalg.solve(information, weighted[..., None])[..., 0]
    logs = (members @ np.stack(log_dets) - (members @ (~np.isnan(rows)).sum(axis=1))[:, None] * np.log(2 * np.pi)).T
    logs += _log_det(tau) - _log_det(information) - squares.T + np.einsum("qsi,qsi->qs", weighted, centre)
    return np.exp(0.5 * logs), centre[..., 0]


def pair_tables(rows, grids, mean_sd):
    """Mass of two sets of rows, and the same with the sum of the means and of the log determinants as factors."""
    total = dict.fromkeys(ROW_TERMS, 0.0)
    top = max(grid.log_mass.max() for grid in grids)
    for precisions, log_mass in grids:
        density, centre = given_precisions(rows, precisions, mean_sd)
        prior = np.exp(log_mass - top)
        other = prior[:, None] * density if prior.ndim == 1 else prior @ density
        for name, factor in zip(ROW_TERMS, (1.0, centre, _log_det(precisions)[:, None]), strict=True):
            total[name] = total[name] + (density * factor).T @ other
    for name in ROW_TERMS[1:]:
        total[name] = total[name] + total[name].T
    return total


def by_columns(tables):
    """Join columns that are independent given the labels; the mean is that of the first column."""
    mass = np.prod([table["mass"] for table in tables], axis=0)
    shares = sum(table["log_precision"] / table["mass"] for table in tables)
    return {
        "mass": mass,
        "mean": tables[0]["mean"] * np.prod([table["mass"] for table in tables[1:]], axis=0),
        "log_precision": mass * shares,
    }


# -------------------------------------------------------------------- expectations


def _largest_weight(first, second, power):
    """E max(w, 1 - w)^power for w ~ Beta(first, second)."""

    def above_half(a, b):
        moment = np.exp(betaln(a + power, b) - betaln(a, b))
        return moment * (1.0 - betainc(a + power, b, 0.5))

    return above_half(first, second) + above_half(second, first)


def expectations(tables, n, concentration):
    """Posterior expectations of label-free quantities; the rows of the tables are n rows and two points after them."""

    def over_labellings(points, name="mass", factor=1.0):
        """Sum over all labellings of the n rows and of some of the points."""
        whole = 2**n - 1 + sum(2 ** (n + point) for point in points)
        sets = np.array([s for s in range(whole + 1) if s & ~whole == 0])
        sizes = subsets(n + 2).sum(axis=1)
        first, second = concentration + sizes[sets], concentration + sizes[whole - sets]
        terms = np.exp(betaln(first, second)) * tables[name][sets, whole - sets]
        return (terms * (factor(sets, first, second) if callable(factor) else factor)).sum()

    def expected(points=(), name="mass", factor=1.0):
        return over_labellings(points, name, factor) / over_labellings(())

    def together(sets, _first, _second):
        return (sets & 1) == (sets >> 1 & 1)

    def alone(sets, _first, _second):
        return (sets == 0) | (sets == 2**n - 1)

    return {
        "first density": expected((0,)),
        "second density": expected((1,)),
        "product of densities": expected((0, 1)),
        "rows 1 and 2 together": expected(factor=together),
        "all rows together": expected(factor=alone),
        "largest weight": expected(factor=lambda _, first, second: _largest_weight(first, second, 1)),
        "its square": expected(factor=lambda _, first, second: _largest_weight(first, second, 2)),
        "sum of means": expected(name="mean"),
        "sum of log determinants": expected(name="log_precision"),
    }


def quantities(draws, rows, points):
    """The same quantities of draws (chain, draw)."""
    densities = np.exp(draws.log_density(points))
    responsibilities = draws.responsibilities(rows)
    largest = draws.weights.max(axis=-1)
    return {
        "first density": densities[..., 0],
        "second density": densities[..., 1],
        "product of densities": densities[..., 0] * densities[..., 1],
        "rows 1 and 2 together": (responsibilities[..., 0, :] * responsibilities[..., 1, :]).sum(axis=-1),
        "all rows together": responsibilities.prod(axis=-2).sum(axis=-1),
        "largest weight": largest,
        "its square": largest**2,
        "sum of means": draws.means[..., 0].sum(axis=-1),
        "squared distance": (draws.means[..., 0, 0] - draws.means[..., 1, 0]) ** 2,
        "product of weights": draws.weights.prod(axis=-1),
        "sum of log determinants": -_log_det(draws.covariances).sum(axis=-1),
    }


# -------------------------------------------------------------------- weights that are not whole numbers


def power_expectations(rows, weights, points, belief, *, step=0.25):
    """Expectations under the power likelihood of a line with one variance: no labels, four parameters by quadrature."""
    (grid,) = wishart_grid(belief, 1, is_shared=True, step=step)
    logits, places = np.arange(-9.0, 9.01, 2 * step), belief.mean_sd[0] * np.arange(-4.5, 4.51, 0.5 * step)
    share = 1.0 / (1.0 + np.exp(-logits))[:, None, None]
    first, second = places[:, None], places[None, :]
    log_prior = belief.concentration * np.log(share * (1 - share))
    log_prior = log_prior - 0.5 * (first**2 + second**2) / belief.mean_sd[0] ** 2
    factors = {
        "sum of means": first + second,
        "squared distance": (first - second) ** 2,
        "product of weights": share * (1 - share),
    }
    total, found = 0.0, dict.fromkeys([*factors, "first density", "sum of log determinants"], 0.0)
    for precision, log_mass in zip(grid.precisions.ravel(), grid.log_mass, strict=True):

        def density(x, precision=precision):
            parts = (np.exp(-0.5 * precision * (x - place) ** 2) for place in (first, second))
            one, other = (np.sqrt(precision / (2 * np.pi)) * part for part in parts)
            return share * one + (1 - share) * other

        mass = np.exp(log_prior + log_mass - grid.log_mass.max())
        for x, weight in zip(rows.ravel(), weights, strict=True):
            mass = mass * density(x) ** weight
        total += mass.sum()
        for name, factor in factors.items():
            found[name] += (mass * factor).sum()
        found["first density"] += (mass * density(points[0, 0])).sum()
        found["sum of log determinants"] += 2 * np.log(precision) * mass.sum()
    return {name: value / total for name, value in found.items()}
