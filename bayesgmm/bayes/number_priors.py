"""What is believed about the number of components before the data are seen.

Two numbers are kept apart. K is how many components the mixture has; K+ is how many of them n rows came from. A prior
on K and one on the weights imply a prior on K+, which is shown beside its posterior: a number of clusters that was
believed already is no finding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bayesgmm.em.arguments import positive
from bayesgmm.errors import ArgumentError
from bayesgmm.kernels.telescope import DYNAMIC, PROCESS, STATIC, NumberPrior, fill_urn

__all__ = ["METHODS", "NumberBelief", "number_belief"]

Floats = NDArray[np.float64]

#: The ways in which the number of components can be random, and their largest number by default.
METHODS = {"mfm": 50, "sparse": 10, "dp": 50}

_WORDS = {
    "mfm": "mixture of finite mixtures",
    "sparse": "sparse finite mixture",
    "dp": "Dirichlet process mixture",
}
_SPARSE_CONCENTRATION = 0.01
# alpha ~ F(6, 3) for Dirichlet(alpha / K) (Fruehwirth-Schnatter, Malsiner-Walli & Gruen 2021); Gamma(2, rate 4) for the
# Dirichlet process (Escobar & West 1995).
_ALPHA = {DYNAMIC: (6.0, 3.0), PROCESS: (2.0, 4.0)}
# Strips of equal probability into which the prior of alpha is cut.
_STRIPS = 40


@dataclass(frozen=True, eq=False)
class NumberBelief:
    """The prior on the number of components and on the weights.

    Parameters
    ----------
    method : {"mfm", "sparse", "dp"}
        Mixture of finite mixtures, sparse finite mixture or Dirichlet process.
    kind : int
        The kernels' kind of weights: STATIC, DYNAMIC or PROCESS.
    probabilities : ndarray, shape (k_max + 1,)
        Prior probabilities of K = 0, ..., k_max; a single one for a sparse mixture.
    alpha : float
        Where the concentration is, or starts.
    alpha_is_random : bool
        Whether it has a prior.
    """

    method: str
    kind: int
    probabilities: Floats
    alpha: float
    alpha_is_random: bool

    @property
    def k_max(self) -> int:
        """Largest number of components."""
        return len(self.probabilities) - 1

    @property
    def words(self) -> str:
        """What the method is called in the literature."""
        return _WORDS[self.method]

    @property
    def has_random_number(self) -> bool:
        """Whether K itself is random; a sparse mixture has a fixed K and a Dirichlet process no finite one."""
        return self.method == "mfm"

    def for_kernel(self) -> NumberPrior:
        """Return what the kernels need of it."""
        with np.errstate(divide="ignore"):
            log_prior = np.log(self.probabilities)
        shape, rate = _ALPHA[self.kind] if self.alpha_is_random else (0.0, 0.0)
        return NumberPrior(log_prior, self.kind, shape, rate)

    def filled(self, n: int) -> Floats:
        """Compute the prior probabilities of K+ = 0, ..., k_max for `n` rows (math.md, 10.4)."""
        out, part = np.zeros(self.k_max + 1), np.zeros(self.k_max + 1)
        numbers = [self.k_max] if self.kind == PROCESS else np.flatnonzero(self.probabilities).tolist()
        for alpha in self._alphas():
            for k in numbers:
                fill_urn(n, k, self.kind, alpha, part)
                out += part * (1.0 if self.kind == PROCESS else self.probabilities[k])
        return out / len(self._alphas())

    def _alphas(self) -> list[float]:
        if not self.alpha_is_random:
            return [self.alpha]
        a, b = _ALPHA[self.kind]
        distribution = stats.f(a, b) if self.kind == DYNAMIC else stats.gamma(a, scale=1.0 / b)
        return [float(alpha) for alpha in distribution.ppf((np.arange(_STRIPS) + 0.5) / _STRIPS)]


def number_belief(
    method: str, *, k_max: int | None, k_prior: str | Sequence[float] | None, concentration: float | None
) -> NumberBelief:
    """Check the arguments of `number_of_components` that concern the number, and fill in their defaults.

    Parameters
    ----------
    method : {"mfm", "sparse", "dp"}
        See `number_of_components`.
    k_max : int or None
        Largest number of components.
    k_prior : str, sequence of float or None
        Prior of K.
    concentration : float or None
        Of the weights.

    Returns
    -------
    NumberBelief
        The prior.

    Raises
    ------
    ArgumentError
        Naming the argument, its value and what is legal.
    """
    if method not in METHODS:
        raise ArgumentError(f"method={method!r} is not known; use one of {', '.join(map(repr, METHODS))}")
    if k_prior is not None and method != "mfm":
        raise ArgumentError(f"k_prior belongs to method='mfm'; with method={method!r} K is not random")
    if concentration is not None:
        positive("concentration", concentration)
    largest = METHODS[method] if k_max is None else k_max
    if isinstance(largest, bool) or not isinstance(largest, int | np.integer) or not 1 <= largest <= 1000:
        raise ArgumentError(f"k_max={k_max!r} must be a whole number from 1 to 1000")
    given = None if concentration is None else float(concentration)
    if method == "sparse":
        only = np.zeros(largest + 1)
        only[largest] = 1.0
        return NumberBelief(method, STATIC, only, given or _SPARSE_CONCENTRATION, alpha_is_random=False)
    if method == "dp":
        return NumberBelief(method, PROCESS, np.ones(largest + 1), given or 0.5, alpha_is_random=given is None)
    kind = DYNAMIC if given is None else STATIC
    return NumberBelief(method, kind, _prior_of_k(k_prior, int(largest)), given or 1.0, alpha_is_random=given is None)


def _prior_of_k(k_prior: str | Sequence[float] | None, k_max: int) -> Floats:
    """Return probabilities of K = 0, ..., k_max that sum to one."""
    k = np.arange(1, k_max + 1)
    if k_prior is None or isinstance(k_prior, str):
        named = {
            "bnb": stats.betanbinom(1, 4, 3).pmf(k - 1),
            "poisson": stats.poisson(1.0).pmf(k - 1),
            "uniform": np.ones(k_max),
        }
        if k_prior not in (None, *named):
            raise ArgumentError(
                f"k_prior={k_prior!r} is not known; use one of {', '.join(map(repr, named))} or numbers"
            )
        masses = named[k_prior or "bnb"]
    else:
        masses = np.asarray(k_prior, dtype=float)
        if masses.shape != (k_max,) or not np.all(np.isfinite(masses)) or masses.min() < 0 or masses.sum() == 0:
            raise ArgumentError(
                f"k_prior must be {k_max} probabilities, of K = 1 to k_max={k_max}; none negative, not all zero"
            )
    return np.concatenate([[0.0], masses / masses.sum()])
