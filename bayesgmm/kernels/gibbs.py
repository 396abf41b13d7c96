"""The Gibbs sampler for a given number of components: labels (table.py), then parameters (conditionals.py).

Where weights have fractional parts a sweep is a proposal: it is then run forwards and backwards, so that it is
reversible, and taken or left by the rule of Metropolis and Hastings (math.md, 10.9).
"""

import numba
import numpy as np

from bayesgmm.kernels.conditionals import Parameters, draw_means, draw_parameters, is_accepted
from bayesgmm.kernels.conjugate import copy, copy_matrix
from bayesgmm.kernels.fractions import log_excess
from bayesgmm.kernels.table import allocate_all

__all__ = ["run_chain"]

_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})


@_jit
def _keep(source, k, target, draw):
    """Write the leading components of a chain's parameters to a place among its draws."""
    for component in range(k):
        target.log_weights[draw, component] = source.log_weights[component]
        copy(source.means[component], target.means[draw, component])
        copy_matrix(source.factors[component], target.factors[draw, component])


@_jit
def _copy_parameters(source, target):
    copy(source.log_weights, target.log_weights)
    copy_matrix(source.means, target.means)
    copy_matrix(source.scale, target.scale)
    for component in range(source.means.shape[0]):
        copy_matrix(source.factors[component], target.factors[component])


@_jit
def _move(prior, concentration, fractions, excess, s0, s1, s2, parameters, before, state):
    """Propose parameters by a reversible sweep and take them or not; return whether they were taken."""
    k = s0.shape[0]
    _copy_parameters(parameters, before)
    draw_means(prior, k, s0, s1, s2, parameters, state)
    draw_parameters(prior, concentration, s0, s1, s2, parameters, state)
    proposed = log_excess(fractions, k, prior.is_diagonal, parameters)
    is_taken = is_accepted(proposed - excess, state)
    if not is_taken:
        _copy_parameters(before, parameters)
    return is_taken


@_jit
def run_chain(prior, concentration, table, parameters, streams, thin, draws, log_likelihoods, n_filled, acceptance):
    """Make sweeps and keep every `thin`-th (math.md, 10.1 to 10.3, 10.8 and 10.9).

    What is kept are the parameters before the labels are drawn from them, with their log-likelihood and the number of
    components that these labels fill.

    Parameters
    ----------
    prior : Prior
        The prior.
    concentration : ndarray of float64, shape (K,)
        Of the Dirichlet prior on the weights.
    table : Table
        The rows.
    parameters : Parameters
        Where the chain stands; moved.
    streams : ndarray of uint64, shape (2, 4)
        Random numbers: of the labels, and of the parameters; advanced.
    thin : int
        Sweeps for each draw that is kept.
    draws : Parameters
        Written in place: one more leading dimension, the draws to make. The scale is not kept.
    log_likelihoods : ndarray of float64, shape (draws,)
        Written in place.
    n_filled : ndarray of int64, shape (draws,)
        Written in place.
    acceptance : ndarray of float64, shape (draws,)
        Written in place: the share of the `thin` sweeps that were taken; ones where no weight is fractional.
    """
    k, d = parameters.means.shape
    s0, s1, s2 = np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))
    labels = np.empty(table.rows.shape[0], dtype=np.int16)
    before = Parameters(
        np.empty_like(parameters.log_weights), np.empty_like(parameters.means), np.empty_like(parameters.factors),
        np.empty_like(parameters.scale),
    )  # fmt: skip
    for draw in range(log_likelihoods.shape[0]):
        _keep(parameters, k, draws, draw)
        taken = 0
        for sweep in range(thin):
            value, excess = allocate_all(
                table, k, prior.is_diagonal, parameters, streams[0], labels, s0, s1, s2
            )  # fmt: skip
            if sweep == 0:
                log_likelihoods[draw] = value
                n_filled[draw] = 0
                for component in range(k):
                    n_filled[draw] += s0[component] > 0.0
            if table.fractions.shares.shape[0] == 0:
                draw_parameters(prior, concentration, s0, s1, s2, parameters, streams[1])
                taken += 1
            else:
                taken += _move(
                    prior, concentration, table.fractions, excess, s0, s1, s2, parameters, before, streams[1]
                )
        acceptance[draw] = taken / thin
