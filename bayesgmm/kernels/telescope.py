"""The telescoping sampler, which draws the number of components too (math.md, 10.4 and 10.5).

Reference: Fruehwirth-Schnatter, Malsiner-Walli & Gruen (2021), "Generalized mixtures of finite mixtures and telescoping
sampling".
"""

import math
from typing import NamedTuple

import numba
import numpy as np

from bayesgmm.kernels.conditionals import draw_components, draw_mean, draw_precision, is_accepted, normalise
from bayesgmm.kernels.conjugate import copy, copy_matrix, sum_of
from bayesgmm.kernels.labels import clear
from bayesgmm.kernels.random_numbers import log_gamma, normal, uniform
from bayesgmm.kernels.table import allocate_all

__all__ = ["DYNAMIC", "PROCESS", "STATIC", "Number", "NumberPrior", "fill_urn", "run_telescope"]

#: Weights of a random number of components: Dirichlet(c), Dirichlet(alpha / K), or those of a Dirichlet process.
STATIC, DYNAMIC, PROCESS = 0, 1, 2

_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})

_LOWEST = -45.0  # a weight of exp(-45) is below the resolution of the uniform numbers


class NumberPrior(NamedTuple):
    """The prior on the number of components and on the concentration of the weights."""

    log_prior: np.ndarray  # (k_max + 1,), by number of components; entry 0 is not used
    kind: int  # STATIC, DYNAMIC or PROCESS
    shape: float  # alpha ~ F(shape, rate) for DYNAMIC, Gamma(shape, rate) for PROCESS; 0: alpha is fixed
    rate: float


class Number(NamedTuple):
    """Where a chain stands whose number of components is random, besides its parameters."""

    k: int  # number of components
    alpha: float  # concentration of the weights
    log_left_out: float  # logarithm of the weight that had no place among the components


@_jit
def _filled_first(k, labels, s0, s1, s2, parameters):
    """Renumber the components so that the filled ones come first, in their order; return how many they are."""
    order, rank, filled = np.empty(k, dtype=np.int64), np.empty(k, dtype=np.int16), 0
    for component in range(k):
        if s0[component] > 0.0:
            order[filled] = component
            rank[component] = filled
            filled += 1
    for new in range(filled):
        old = order[new]
        if old == new:
            continue
        s0[new] = s0[old]
        copy(s1[old], s1[new])
        copy_matrix(s2[old], s2[new])
        copy(parameters.means[old], parameters.means[new])
        copy_matrix(parameters.factors[old], parameters.factors[new])
    clear(s0, s1, s2, filled)
    for i in range(labels.shape[0]):
        labels[i] = rank[labels[i]]
    return filled


@_jit
def _draw_number(number, filled, counts, alpha, state):
    """Draw K given the partition (math.md, 10.5)."""
    k_max = number.log_prior.shape[0] - 1
    total = sum_of(counts, filled)
    log_mass, top = np.empty(k_max + 1), -np.inf
    for k in range(filled, k_max + 1):
        value = number.log_prior[k] + math.lgamma(k + 1.0) - math.lgamma(k - filled + 1.0)
        if number.kind == STATIC:
            value += math.lgamma(alpha * k) - math.lgamma(alpha * k + total)
        elif value > -np.inf:
            for component in range(filled):
                value += math.lgamma(counts[component] + alpha / k) - math.lgamma(alpha / k)
        log_mass[k] = value
        top = max(top, value)
    total = 0.0
    for k in range(filled, k_max + 1):
        total += math.exp(log_mass[k] - top)
    threshold, k = uniform(state) * total, filled
    running = math.exp(log_mass[k] - top)
    while k < k_max and running <= threshold:
        k += 1
        running += math.exp(log_mass[k] - top)
    return k


@_jit
def _log_alpha_density(number, k, filled, counts, alpha):
    """Return the log density of log(alpha) given the partition and K, but for a constant (math.md, 10.5)."""
    shape, rate = number.shape, number.rate
    value = math.lgamma(alpha) - math.lgamma(alpha + sum_of(counts, filled))
    if number.kind == PROCESS:
        return value + (shape + filled) * math.log(alpha) - rate * alpha
    value += 0.5 * (shape * math.log(alpha) - (shape + rate) * math.log1p(shape * alpha / rate))
    for component in range(filled):
        value += math.lgamma(counts[component] + alpha / k) - math.lgamma(alpha / k)
    return value


@_jit
def _draw_alpha(number, k, filled, counts, alpha, state):
    """Move alpha by a random walk on its logarithm."""
    if number.shape == 0.0:
        return alpha
    here = _log_alpha_density(number, k, filled, counts, alpha)
    for _ in range(2):
        proposal = alpha * math.exp(normal(state))
        there = _log_alpha_density(number, k, filled, counts, proposal)
        if is_accepted(there - here, state):
            alpha, here = proposal, there
    return alpha


@_jit
def _draw_weights(number, k, filled, counts, alpha, state, log_weights):
    """Draw the weights of `k` components; return the number in use and the log weight that had no place."""
    if number.kind != PROCESS:
        gamma = alpha if number.kind == STATIC else alpha / k
        for component in range(k):
            log_weights[component] = log_gamma(gamma + counts[component], state)
        normalise(log_weights, k)
        return k, -np.inf
    shares = np.empty(filled + 1)
    for component in range(filled):
        shares[component] = log_gamma(counts[component], state)
    shares[filled] = log_gamma(alpha, state)
    normalise(shares, filled + 1)
    for component in range(filled):
        log_weights[component] = shares[component]
    rest, used = shares[filled], filled
    while used < k and rest > _LOWEST:
        log_left = math.log(uniform(state)) / alpha
        log_weights[used] = rest + math.log(-math.expm1(log_left))
        rest += log_left
        used += 1
    normalise(log_weights, used)
    return used, rest


@_jit
def _draw_empty(prior, filled, k, parameters, state):
    """Draw the parameters of components without rows from their prior given C."""
    d = parameters.means.shape[1]
    nothing, no_squares = np.zeros(d), np.zeros((d, d))
    for component in range(filled, k):
        factor = parameters.factors[component]
        if not prior.is_shared:
            draw_precision(prior, parameters.scale, 0.0, no_squares, state, factor)
        draw_mean(prior, 0.0, nothing, factor, state, parameters.means[component])


@_jit
def run_telescope(prior, number, table, here, parameters, streams, thin, keep, labels, out):
    """Make sweeps of the telescoping sampler and keep every `thin`-th (math.md, 10.4 and 10.5).

    Parameters
    ----------
    prior : Prior
        The prior on means and precisions.
    number : NumberPrior
        The prior on the number of components and on the weights.
    table : Table
        The rows, each of which counts once.
    here : Number
        Number of components, concentration, and weight left out, where the chain stands.
    parameters : Parameters
        Where the chain stands, with room for the largest number of components; moved.
    streams : ndarray of uint64, shape (2, 4)
        Random numbers; advanced.
    thin : int
        Sweeps for each draw that is kept.
    keep : int
        Every `keep`-th of these draws leaves its labels too.
    labels : ndarray of int16, shape (draws / keep rounded up, n)
        Written in place: the labels, filled components first.
    out : ndarray of float64, shape (draws, 5)
        Written in place: number of components, of filled components, log-likelihood, alpha, log weight left out.

    Returns
    -------
    Number
        Where the chain stands now.
    """
    n, d = table.rows.shape
    k_max = parameters.log_weights.shape[0]
    own = np.empty(n, dtype=np.int16)
    s0, s1, s2 = np.zeros(k_max), np.zeros((k_max, d)), np.zeros((k_max, d, d))
    k, alpha, left_out = here.k, here.alpha, here.log_left_out
    state = streams[1]
    for draw in range(out.shape[0]):
        for sweep in range(thin):
            log_likelihood, _ = allocate_all(table, k, prior.is_diagonal, parameters, streams[0], own, s0, s1, s2)
            filled = _filled_first(k, own, s0, s1, s2, parameters)
            if sweep == 0:
                out[draw, 0], out[draw, 1], out[draw, 2] = k, filled, log_likelihood
                out[draw, 3], out[draw, 4] = alpha, left_out
                if draw % keep == 0:
                    copy(own, labels[draw // keep])
            draw_components(prior, filled, s0, s1, s2, parameters, state)
            k = k_max if number.kind == PROCESS else _draw_number(number, filled, s0, alpha, state)
            alpha = _draw_alpha(number, k, filled, s0, alpha, state)
            k, left_out = _draw_weights(number, k, filled, s0, alpha, state, parameters.log_weights)
            _draw_empty(prior, filled, k, parameters, state)
    return Number(k, alpha, left_out)


@_jit
def fill_urn(n, k, kind, alpha, probabilities):
    """Compute the prior of the number of filled components after `n` rows, by Polya's urn (math.md, 10.4).

    Parameters
    ----------
    n : int
        Number of rows.
    k : int
        Number of components; not used for PROCESS.
    kind : int
        STATIC, DYNAMIC or PROCESS.
    alpha : float
        Concentration.
    probabilities : ndarray of float64, shape (k_max + 1,)
        Written in place; for PROCESS the last entry stands for k_max and more.
    """
    last = probabilities.shape[0] - 1
    top = last if kind == PROCESS else min(k, last)
    each = 0.0 if kind == PROCESS else (alpha / k if kind == DYNAMIC else alpha)
    total = alpha if kind == PROCESS else each * k
    for filled in range(last + 1):
        probabilities[filled] = 0.0
    probabilities[0] = 1.0
    for i in range(n):
        for filled in range(min(i + 1, top), 0, -1):
            arriving = alpha if kind == PROCESS else each * (k - filled + 1)
            staying = total + i if filled == top else i + each * filled
            probabilities[filled] = (probabilities[filled] * staying + probabilities[filled - 1] * arriving) / (
                total + i
            )
        probabilities[0] = 0.0
