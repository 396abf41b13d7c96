"""The Gibbs sampler for a given number of components: labels (labels.py), then parameters (conditionals.py)."""

import numba
import numpy as np

from bayesgmm.kernels.conditionals import draw_parameters
from bayesgmm.kernels.conjugate import copy, copy_matrix
from bayesgmm.kernels.labels import allocate_all

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
def run_chain(prior, concentration, rows, copies, bounds, parameters, streams, thin, draws, log_likelihoods, n_filled):
    """Make sweeps and keep every `thin`-th (math.md, 10.1 to 10.3).

    What is kept are the parameters before the labels are drawn from them, with their log-likelihood and the number of
    components that these labels fill.

    Parameters
    ----------
    prior : Prior
        The prior.
    concentration : ndarray of float64, shape (K,)
        Of the Dirichlet prior on the weights.
    rows : ndarray of float64, shape (n, D)
        Rows, standardised units.
    copies : ndarray of int64, shape (n,)
        How often each row occurs.
    bounds : ndarray of int64, shape (chunks + 1,)
        Where the chunks of rows begin and end.
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
    """
    k, d = parameters.means.shape
    s0, s1, s2 = np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))
    labels = np.empty(rows.shape[0], dtype=np.int16)
    for draw in range(log_likelihoods.shape[0]):
        _keep(parameters, k, draws, draw)
        for sweep in range(thin):
            value = allocate_all(
                rows, copies, bounds, k, prior.is_diagonal, parameters, streams[0], labels, s0, s1, s2
            )  # fmt: skip
            if sweep == 0:
                log_likelihoods[draw] = value
                n_filled[draw] = 0
                for component in range(k):
                    n_filled[draw] += s0[component] > 0.0
            draw_parameters(prior, concentration, s0, s1, s2, parameters, streams[1])
