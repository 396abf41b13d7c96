"""Sums of numbers that are given by their logarithms."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["log_sum_exp", "softmax"]

Floats = NDArray[np.float64]


def log_sum_exp(values: Floats, axis: int = -1) -> Floats:
    """Return log(sum(exp(values))) along `axis`, without overflow; -inf where every value is -inf."""
    peak = np.max(values, axis=axis, keepdims=True)
    finite_peak = np.where(np.isfinite(peak), peak, 0.0)
    with np.errstate(divide="ignore"):
        total = np.log(np.sum(np.exp(values - finite_peak), axis=axis))
    return np.asarray(total + np.squeeze(finite_peak, axis=axis))


def softmax(log_joint: Floats) -> Floats:
    """Return exp(log_joint) divided by its sum over the last axis; the sum is one however small the densities are."""
    # Not exp(log_joint - log_sum_exp(log_joint)): 1e8 standard deviations away that logarithm is rounded to units.
    shares = np.exp(log_joint - np.max(log_joint, axis=-1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))
