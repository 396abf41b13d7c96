"""Volume, shape and orientation against the exact posterior of a few rows in the plane (enumeration.py).

There a rotation is an angle, a symmetric matrix of trace zero has two coordinates, and everything that components share
is a sum over grids.
"""

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.special import polygamma

from tests.bayes import enumeration
from tests.bayes.enumeration import Grid
from tests.bayes.test_exact import LARGEST_Z, PLANE, POINTS, belief_of, sample, z_scores

BELIEF = belief_of(2)
LOG_WITHIN = 2 * np.log(BELIEF.within_sd)


def spreads(order=1):
    """Variances of what components share, and around it."""
    return [polygamma(1, (dof + order - 1) / 2) for dof in (BELIEF.scale_dof, BELIEF.dof)]


def pairs(coordinates, between, within):
    """Log density (Q, Q) of two vectors (Q, m) that are normal around a shared location, itself normal."""
    joint = np.linalg.inv(within * np.eye(2) + between)
    squares, products = (coordinates**2).sum(axis=1), coordinates @ coordinates.T
    return -0.5 * (joint[0, 0] * (squares[:, None] + squares) + 2 * joint[0, 1] * products)


def plane_of(first, second):
    return np.stack([part.ravel() for part in np.meshgrid(first, second, indexing="ij")], axis=-1)


def with_guard(covariances, log_mass):
    """Return a grid; the guard is a factor of every component, also where the mass is of one that is shared."""
    nodes = np.linalg.inv(covariances)
    guard = (BELIEF.smallest_sd * np.array(BELIEF.within_sd)) ** 2
    single = -0.5 * np.diagonal(nodes, axis1=1, axis2=2) @ guard
    return Grid(nodes, log_mass + (2 * single if log_mass.ndim == 1 else single[:, None] + single))


def of_logarithms(volumes, scores):
    """Covariances of log volumes (Q,) and of two coordinates (Q, 2) of the rest of the matrix logarithm."""
    even, off = scores.T / np.sqrt(2)
    rest = np.stack([np.stack([even, off], -1), np.stack([off, -even], -1)], -2)
    return expm(np.diag(LOG_WITHIN) + volumes[:, None, None] * np.eye(2) + rest)


def along_axes(logs, angles):
    """Covariances of log variances (Q, 2) along axes at angles (Q,)."""
    c, s = np.cos(angles), np.sin(angles)
    axes = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)
    return np.einsum("qij,qj,qkj->qik", axes, np.exp(LOG_WITHIN.mean() + logs), axes)


def along(spread, step, reach=4.0):
    return np.sqrt(spread) * np.arange(-reach, reach + 0.01, step)


def grids_of(code, step):
    """Grids of the precisions; what all components share is the number of the grid."""
    between, within = spreads()
    total, in_matrix = between + within, spreads(order=2)
    volumes, shared_volumes = along(total, 0.6 * step, 4.5), along(total, step)
    angles = np.arange(0.0, np.pi, np.pi / np.ceil(12.0 / step))
    uneven = total + LOG_WITHIN.var()
    if code == "EVV":
        scores = plane_of(*[along(sum(in_matrix), 0.6 * step, 4.2)] * 2)
        apart = pairs(scores, *in_matrix)
        return [with_guard(of_logarithms(np.full(len(scores), v), scores), apart - 0.5 * v**2 / total)
                for v in shared_volumes]  # fmt: skip
    if code == "VEE":
        apart = pairs(volumes[:, None], between, within)
        return [
            with_guard(
                of_logarithms(volumes, np.tile(one, (len(volumes), 1))), apart - 0.5 * one @ one / sum(in_matrix)
            )
            for one in plane_of(*[along(sum(in_matrix), step)] * 2)
        ]
    direction = np.array([1.0, -1.0]) / np.sqrt(2)
    if code == "EEV":
        return [
            with_guard(along_axes(np.tile(v + s * direction, (len(angles), 1)), angles),
                       np.zeros((len(angles),) * 2) - 0.5 * v**2 / total - 0.5 * s**2 / uneven)
            for v, s in plane_of(shared_volumes, along(uneven, step))
        ]  # fmt: skip
    # EVE: a quarter of all angles stands for the others, with the shapes of both signs.
    shapes = along(uneven, 0.6 * step, 4.5)
    apart = pairs(shapes[:, None], uneven - within, within)
    return [
        with_guard(along_axes(v + shapes[:, None] * direction, np.full(len(shapes), angle)), apart - 0.5 * v**2 / total)
        for v in shared_volumes
        for angle in angles
    ]


def exact_posterior(code, step=0.5):
    tables = enumeration.pair_tables(np.concatenate([PLANE, POINTS]), grids_of(code, step), BELIEF.mean_sd)
    return enumeration.expectations(tables, len(PLANE), BELIEF.concentration)


CODES = ["EVV", "VEE", "EEV", "EVE"]


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES)
def test_chains_have_the_posterior_of_all_labellings(code):
    draws, attributes = sample("nuts", PLANE, BELIEF, code, "factorised")
    z = z_scores(draws, attributes, exact_posterior(code), PLANE)
    assert max(map(abs, z.values())) < LARGEST_Z, z


@pytest.mark.slow
@pytest.mark.parametrize("code", ["EVV", "EEV"])
def test_sequential_monte_carlo_has_it_too(code):
    """The populations start with all matrices on the middle of the shell that rotations are coordinates of."""
    draws, attributes = sample("smc", PLANE, BELIEF, code, "factorised")
    z = z_scores(draws, attributes, exact_posterior(code), PLANE)
    assert max(map(abs, z.values())) < LARGEST_Z, z


@pytest.mark.parametrize(
    "code", ["VEE", *(pytest.param(code, marks=pytest.mark.slow) for code in CODES if code != "VEE")]
)
def test_the_grids_are_fine_enough(code):
    """A finer step changes nothing that the draws could see: their error is above 1e-3."""
    coarse, fine = (exact_posterior(code, step) for step in (0.5, 0.4))
    for name, value in fine.items():
        assert abs(coarse[name] - value) < 2e-4 * (1.0 + abs(value)), name
