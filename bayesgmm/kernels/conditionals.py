"""Weights, scale, precisions and means drawn given what the labels have counted (math.md, 10.3)."""

import math
from typing import NamedTuple

import numba
import numpy as np

from bayesgmm.kernels.conjugate import (
    add_matrix,
    add_square,
    copy,
    copy_matrix,
    log_determinant,
    sum_of,
    upper_cholesky,
    wishart,
)
from bayesgmm.kernels.random_numbers import log_gamma, normal, uniform

__all__ = ["Parameters", "Prior", "draw_components", "draw_mean", "draw_means", "draw_parameters", "draw_precision",
           "is_accepted", "normalise"]  # fmt: skip

_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})


class Prior(NamedTuple):
    """The prior and the structure, standardised units; for diagonal structures the matrices hold a diagonal only."""

    location: np.ndarray  # (D,)
    mean_precision: np.ndarray  # (D, D)
    dof: float
    scale_dof: float
    scale_rate: np.ndarray  # (p, p), the inverse of S; for spheres p = 1
    guard: np.ndarray  # (p,)
    guard_is_normalised: bool
    is_diagonal: bool
    is_spherical: bool
    is_shared: bool


class Parameters(NamedTuple):
    """The parameters of a chain, changed in place."""

    log_weights: np.ndarray  # (K,)
    means: np.ndarray  # (K, D)
    factors: np.ndarray  # (K, D, D), lower triangles L with precision L L'
    scale: np.ndarray  # (p, p), the shared scale matrix C


@_jit
def _draw_scale(prior, copies, parameters, state):
    """Draw C given the precisions of the leading `copies` components (math.md, 10.3)."""
    p = prior.scale_rate.shape[0]
    dof = prior.scale_dof + copies * prior.dof
    if prior.is_diagonal:
        for j in range(p):
            rate = prior.scale_rate[j, j]
            for k in range(copies):
                rate += parameters.factors[k, j, j] ** 2
            proposal = 2.0 * math.exp(log_gamma(0.5 * dof, state)) / rate
            current, guard = parameters.scale[j, j], prior.guard[j]
            log_ratio = math.log1p(guard / proposal) - math.log1p(guard / current)
            if not prior.guard_is_normalised or is_accepted(0.5 * copies * prior.dof * log_ratio, state):
                parameters.scale[j, j] = proposal
        return
    rate, factor, proposal = np.empty((p, p)), np.zeros((p, p)), np.zeros((p, p))
    copy_matrix(prior.scale_rate, rate)
    for k in range(copies):
        add_square(parameters.factors[k], rate)
    wishart(dof, rate, state, factor)
    add_square(factor, proposal)
    if prior.guard_is_normalised:
        log_ratio = _guard_gap(proposal, prior.guard) - _guard_gap(parameters.scale, prior.guard)
        if not is_accepted(0.5 * copies * prior.dof * log_ratio, state):
            return
    copy_matrix(proposal, parameters.scale)


@_jit
def _guard_gap(scale, guard):
    """Return log |C + G| - log |C|."""
    guarded = np.empty_like(scale)
    copy_matrix(scale, guarded)
    for j in range(guard.shape[0]):
        guarded[j, j] += guard[j]
    return log_determinant(guarded) - log_determinant(scale)


@_jit
def is_accepted(log_ratio, state):
    """Decide on a proposal by the rule of Metropolis and Hastings."""
    return log_ratio >= 0.0 or math.log(uniform(state)) < log_ratio


@_jit
def draw_precision(prior, scale, count, s2, state, factor):
    """Draw a precision given C, the means and `count` rows with squares s2, a lower triangle."""
    d, p = factor.shape[0], prior.scale_rate.shape[0]
    if prior.is_diagonal:
        shape = 0.5 * (prior.dof + count * (d if prior.is_spherical else 1))
        for block in range(p):
            rate = scale[block, block] + prior.guard[block]
            for j in range(0 if prior.is_spherical else block, d if prior.is_spherical else block + 1):
                rate += s2[j, j]
            root = math.sqrt(2.0 * math.exp(log_gamma(shape, state)) / rate)
            for j in range(0 if prior.is_spherical else block, d if prior.is_spherical else block + 1):
                factor[j, j] = root
        return
    rate = np.empty_like(scale)
    copy_matrix(scale, rate)
    for i in range(d):
        rate[i, i] += prior.guard[i]
        for j in range(i + 1):
            rate[i, j] += s2[i, j]
            if i != j:
                rate[j, i] += s2[i, j]
    wishart(prior.dof + count, rate, state, factor)


@_jit
def draw_mean(prior, count, s1, factor, state, mean):
    """Draw a mean given its precision and `count` rows, whose offsets from the current mean have the sums s1."""
    d = mean.shape[0]
    precision, v, shift = np.zeros((d, d)), np.empty((d, d)), np.empty(d)
    add_square(factor, precision)
    for i in range(d):
        shift[i] = 0.0
        for j in range(d):
            shift[i] += precision[i, j] * s1[j] + prior.mean_precision[i, j] * (prior.location[j] - mean[j])
    for i in range(d):
        for j in range(d):
            precision[i, j] = count * precision[i, j] + prior.mean_precision[i, j]
    upper_cholesky(precision, v)
    for i in range(d - 1, -1, -1):
        for j in range(i + 1, d):
            shift[i] -= v[i, j] * shift[j]
        shift[i] /= v[i, i]
    for i in range(d):
        shift[i] += normal(state)
    for i in range(d):
        for j in range(i):
            shift[i] -= v[j, i] * shift[j]
        shift[i] /= v[i, i]
        mean[i] += shift[i]


@_jit
def draw_means(prior, k, s0, s1, s2, parameters, state):
    """Draw the means of the leading `k` components given their precisions; the sums are then around the new ones."""
    d = parameters.means.shape[1]
    shift = np.empty(d)
    for component in range(k):
        mean, count = parameters.means[component], s0[component]
        copy(mean, shift)
        draw_mean(prior, count, s1[component], parameters.factors[component], state, mean)
        for i in range(d):
            shift[i] = mean[i] - shift[i]
        for i in range(d):
            for j in range(i + 1):
                crossed = s1[component, i] * shift[j] + s1[component, j] * shift[i]
                s2[component, i, j] += count * shift[i] * shift[j] - crossed
        for i in range(d):
            s1[component, i] -= count * shift[i]


@_jit
def draw_components(prior, k, s0, s1, s2, parameters, state):
    """Draw scale, precisions and means of the leading `k` components."""
    _draw_scale(prior, 1 if prior.is_shared else k, parameters, state)
    if prior.is_shared:
        squares = np.zeros(s2.shape[1:])
        for component in range(k):
            add_matrix(s2[component], squares)
        draw_precision(prior, parameters.scale, sum_of(s0, k), squares, state, parameters.factors[0])
        for component in range(1, parameters.factors.shape[0]):
            copy_matrix(parameters.factors[0], parameters.factors[component])
    for component in range(k):
        factor = parameters.factors[component]
        if not prior.is_shared:
            draw_precision(prior, parameters.scale, s0[component], s2[component], state, factor)
        draw_mean(prior, s0[component], s1[component], factor, state, parameters.means[component])


@_jit
def normalise(log_weights, k):
    """Subtract from the leading `k` numbers the logarithm of the sum of their exponentials."""
    top = log_weights[0]
    for component in range(1, k):
        top = max(top, log_weights[component])
    total = 0.0
    for component in range(k):
        total += math.exp(log_weights[component] - top)
    for component in range(k):
        log_weights[component] -= top + math.log(total)


@_jit
def draw_parameters(prior, concentration, s0, s1, s2, parameters, state):
    """Draw weights, scale, precisions and means given what the labels have counted (math.md, 10.3).

    Parameters
    ----------
    prior : Prior
        The prior.
    concentration : ndarray of float64, shape (K,)
        Of the Dirichlet prior on the weights.
    s0, s1, s2 : ndarray
        From `allocate`, around the means in `parameters`.
    parameters : Parameters
        Current parameters, replaced by the draw.
    state : ndarray of uint64, shape (4,)
        Stream of random numbers, advanced.
    """
    k = s0.shape[0]
    draw_components(prior, k, s0, s1, s2, parameters, state)
    for component in range(k):
        parameters.log_weights[component] = log_gamma(concentration[component] + s0[component], state)
    normalise(parameters.log_weights, k)
