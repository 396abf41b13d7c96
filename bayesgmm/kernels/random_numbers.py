"""Random numbers for kernels: uniform, normal and gamma ones, from a state that the kernel carries.

The generator is xoshiro256++ (Blackman & Vigna 2021).
"""

import math

import numba
import numpy as np

__all__ = ["UNIT", "log_gamma", "normal", "uniform"]

_jit = numba.njit(cache=True, nogil=True, error_model="numpy")

#: 2^-53, what uniform numbers are multiples of.
UNIT = 1.1102230246251565e-16


@_jit
def _rotate(x, count):
    return (x << np.uint64(count)) | (x >> np.uint64(64 - count))


@_jit
def uniform(state):
    """Return a number in the open interval (0, 1), a multiple of 2^-53 plus half of that."""
    first, second = state[0], state[1]
    result = _rotate(first + state[3], 23) + first
    state[2] ^= first
    state[3] ^= second
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= second << np.uint64(17)
    state[3] = _rotate(state[3], 45)
    return (np.float64(result >> np.uint64(11)) + 0.5) * UNIT


@_jit
def normal(state):
    """Return a standard normal number (Box & Muller 1958)."""
    radius = math.sqrt(-2.0 * math.log(uniform(state)))
    return radius * math.cos(2.0 * math.pi * uniform(state))


@_jit
def log_gamma(shape, state):
    """Return the logarithm of a Gamma(shape, 1) number (Marsaglia & Tsang 2000), which cannot underflow."""
    boost = 0.0
    if shape < 1.0:
        boost = math.log(uniform(state)) / shape
        shape += 1.0
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        x = normal(state)
        v = (1.0 + c * x) ** 3
        if v > 0.0 and math.log(uniform(state)) < 0.5 * x * x + d - d * v + d * math.log(v):
            return math.log(d * v) + boost
