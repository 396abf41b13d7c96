"""A Gaussian mixture as a value: densities, sampling, marginals and conditionals, with any leading dimensions."""

from bayesgmm.mixture.checks import default_features
from bayesgmm.mixture.log_space import log_sum_exp, softmax
from bayesgmm.mixture.value import BLOCK, Mixture, simulate

__all__ = ["BLOCK", "Mixture", "default_features", "log_sum_exp", "simulate", "softmax"]
