"""Rows, prior and start of a posterior, the same for every system.

Rows are standardised. The prior that can be written in all systems is the LKJ one: weights Dirichlet, means normal,
standard deviations log-normal, correlations LKJ. Chains start at the estimate of EM, so that what is compared is how
fast they move, not whether they find the way.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.em.problems import Estimate, Problem, blurred, real

__all__ = ["Target", "apart", "of_problem", "overlapping_rows", "real_rows"]

Floats = NDArray[np.float64]

_ARRAYS = ("rows", "weights", "means", "covariances", "concentration", "location", "spread", "sd_median")
_NUMBERS = ("sd_spread", "eta")


@dataclass(frozen=True)
class Target:
    """A posterior: rows (n, D), where chains start, and the numbers of the LKJ prior.

    `concentration` (K,) is the Dirichlet's, `location` and `spread` (D,) are the means', `sd_median` (D,) and
    `sd_spread` the deviations', `eta` the correlations'.
    """

    name: str
    rows: Floats
    weights: Floats
    means: Floats
    covariances: Floats
    concentration: Floats
    location: Floats
    spread: Floats
    sd_median: Floats
    sd_spread: float
    eta: float

    @property
    def n_components(self) -> int:
        return len(self.weights)

    def save(self, path: Path) -> None:
        """Write the target for the processes that work on it."""
        np.savez(path, name=self.name, **{field: getattr(self, field) for field in _ARRAYS + _NUMBERS})

    @classmethod
    def load(cls, path: Path) -> "Target":
        """Read what `save` wrote."""
        with np.load(path) as file:
            arrays = {field: file[field] for field in _ARRAYS}
            return cls(str(file["name"]), **arrays, **{field: float(file[field]) for field in _NUMBERS})


def of_problem(problem: Problem, name: str | None = None, *, from_em: bool = True) -> Target:
    """Return the posterior of a problem's rows; the start is EM's estimate, or the problem's own."""
    import bayesgmm as bg
    from bayesgmm.bayes.model import build_model
    from bayesgmm.mixture import Mixture

    k = problem.n_components
    rows = (problem.X - problem.X.mean(axis=0)) / problem.X.std(axis=0)
    model = build_model(rows, k, "full", bg.Priors(covariance="lkj"))
    numbers = {variable.name: variable.get_value() for variable in model.data_vars}
    if from_em:
        start = bg.fit_em(rows, k, seed=0).mixture
    else:
        shift, scale = problem.X.mean(axis=0), problem.X.std(axis=0)
        given = problem.start
        start = Mixture(given.weights, (given.means - shift) / scale, given.covariances / np.outer(scale, scale))
    return Target(
        name or problem.name, rows, start.weights, start.means, start.covariances,
        np.broadcast_to(numbers["concentration"], k).astype(float), numbers["mean_location"], numbers["mean_sd"],
        numbers["sd_median"], float(numbers["sd_spread"]), float(numbers["eta"]),
    )  # fmt: skip


def real_rows(name: str, k: int) -> Target:
    """Return the posterior of a data set of the package."""
    return of_problem(real(name, k))


def apart(n: int) -> Target:
    """Return three components in the plane that hardly touch."""
    rng = np.random.default_rng(5)
    centres = np.array([[0.0, 0.0], [7.0, 0.0], [0.0, 7.0]])
    labels = rng.choice(3, size=n, p=[0.5, 0.3, 0.2])
    X = centres[labels] + rng.normal(size=(n, 2))
    start = Estimate(np.array([0.5, 0.3, 0.2]), centres, np.tile(np.eye(2), (3, 1, 1)))
    return of_problem(Problem("", X, start), f"well separated, D=2, K=3, n={n}")


def overlapping_rows(n: int) -> Target:
    """Return three components in the plane that overlap."""
    return of_problem(blurred(n, 2, 3), f"overlapping, D=2, K=3, n={n}")
