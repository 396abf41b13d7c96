"""What is calibrated: a model for each structure, with a prior that knows nothing of the data, and draws from it.

All numbers of the prior are given, so that none is taken from the rows; they are tight enough, and the rows few enough,
for a wrong prior to show. Truths and rows are drawn by the model itself: density and random generator of each of its
distributions are thereby held against each other.
"""

import functools
from typing import NamedTuple

import numpy as np
import pymc as pm
from numpy.typing import NDArray

from bayesgmm.bayes.model import build_model
from bayesgmm.bayes.prior_predictive import prior_predictive
from bayesgmm.bayes.priors import Priors
from bayesgmm.data import PreparedData, prepare
from bayesgmm.mixture import Mixture
from bayesgmm.structure import CovarianceStructure, as_structure

__all__ = ["N_COMPONENTS", "N_ROWS", "STRUCTURES", "Problem", "Truths", "draw_truths", "problem_of"]

Floats = NDArray[np.float64]

#: The structures: three whose precisions are matrices or numbers per component, one shared, one with axes of its own.
STRUCTURES = ("full", "tied", "diag", "spherical", "VEV")
N_COMPONENTS, N_ROWS = 2, 12

_PRIORS = Priors(
    concentration=2.0, mean_location=[0.0, 0.0], mean_sd=[2.0, 1.5], within_sd=[1.0, 0.8], smallest_sd=0.1, dof=7.0,
    scale_dof=5.0,
)  # fmt: skip


class Problem(NamedTuple):
    """A model whose rows can be exchanged, and where its chains start."""

    structure: CovarianceStructure
    model: pm.Model
    start: Mixture


class Truths(NamedTuple):
    """Parameters drawn from the prior, and the rows drawn from each."""

    mixtures: Mixture  # (R,)
    rows: Floats  # (R, n, D)


def _placeholder() -> PreparedData:
    """Rows with the mean zero, which are not scaled: the model's units are those of the prior."""
    half = np.random.default_rng(0).normal(size=(N_ROWS // 2, 2))
    return prepare(np.concatenate([half, -half]), scale="none")


@functools.cache
def problem_of(structure: str) -> Problem:
    """Build the model of a structure, once in a process."""
    chosen = as_structure(structure, 2)
    # Not the truth: a chain that started there would be right without having moved.
    spread = np.eye(2) if chosen.is_spherical else np.diag([1.2, 0.8])
    start = Mixture([0.5, 0.5], [[-1.0, -0.5], [1.0, 0.5]], np.stack([spread] * 2))
    return Problem(chosen, build_model(_placeholder(), N_COMPONENTS, chosen, _PRIORS), start)


def draw_truths(structure: str, size: int, seed: int) -> Truths:
    """Draw parameters from the prior of the model, and rows from them."""
    tree = prior_predictive(
        _placeholder(), N_COMPONENTS, structure=structure, priors=_PRIORS, draws=size, seed=seed
    )  # fmt: skip
    rows = tree["prior_predictive"]["x"].values[0]
    return Truths(Mixture.from_dataset(tree["prior"].to_dataset()).flatten(), rows)
