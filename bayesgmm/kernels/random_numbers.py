"""Random numbers for kernels: from a state that the kernel carries, or as functions of a key and a number.

The former come from xoshiro256++ (Blackman & Vigna 2021). The latter are outputs of SplitMix64 (Steele, Lea & Flood
2014) at a counter: what belongs to a row can so be drawn anywhere, and again.
"""

import math

import numba
import numpy as np

__all__ = ["GOLDEN", "log_gamma", "mix", "normal", "normal_of", "uniform", "unit"]

_jit = numba.njit(cache=True, nogil=True, error_model="numpy")

#: The increment of SplitMix64.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_UNIT = 1.1102230246251565e-16  # 2^-53


@_jit
def mix(x):
    """Return the output of SplitMix64 at a counter."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@_jit
def unit(bits):
    """Return the number in the open interval (0, 1) of 64 random bits, a multiple of 2^-53 plus half of that."""
    return (np.float64(np.int64(bits >> np.uint64(11))) + 0.5) * _UNIT


@_jit
def normal_of(key, number):
    """Return the standard normal number of a key and a number from 0 (Box & Muller 1958)."""
    first = key + GOLDEN * np.uint64(2 * number + 1)
    radius = math.sqrt(-2.0 * math.log(unit(mix(first))))
    return radius * math.cos(2.0 * math.pi * unit(mix(first + GOLDEN)))


@_jit
def _rotate(x, count):
    return (x << np.uint64(count)) | (x >> np.uint64(64 - count))


@_jit
def uniform(state):
    """Return a number in the open interval (0, 1)."""
    first, second = state[0], state[1]
    result = _rotate(first + state[3], 23) + first
    state[2] ^= first
    state[3] ^= second
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= second << np.uint64(17)
    state[3] = _rotate(state[3], 45)
    return unit(result)


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
