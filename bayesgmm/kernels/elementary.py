"""The exponential and the logarithm, as polynomials that a compiler can vectorise.

A call into the mathematical library is what stops a compiler from vectorising a loop. Both are exact to 2 units in the
last place, on the range that a mixture needs.
"""

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

__all__ = ["exponential", "logarithm"]

# The halving of the range below loses digits when its sums are put in another order.
_jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})

_LOG2_E = 1.4426950408889634
_LN2_HIGH = 6.93147180369123816490e-01  # Cody & Waite: the product with a small integer is exact
_LN2_LOW = 1.90821492927058770002e-10
_SQRT2 = 1.4142135623730951


@intrinsic
def _float_of_bits(_, bits):
    """Read 64 bits as a double."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(signature.return_type))

    return types.float64(types.int64), codegen


@intrinsic
def _bits_of_float(_, number):
    """Read a double as 64 bits."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(signature.return_type))

    return types.int64(types.float64), codegen


@_jit
def exponential(x):
    """Return exp(x) for -650 <= x <= 0, by halving the range to |r| <= log(2)/2 and the Taylor series of degree 12."""
    n = np.floor(x * _LOG2_E + 0.5)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    return p * _float_of_bits((np.int64(np.int32(n)) + 1023) << 52)


@_jit
def logarithm(x):
    """Return log(x) for a normal x >= 1, as 2 atanh((m - 1) / (m + 1)) of the mantissa m."""
    bits = _bits_of_float(x)
    exponent = np.float64(np.int32((bits >> 52) - 1023))
    m = _float_of_bits((bits & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000)
    is_large = m > _SQRT2
    m = 0.5 * m if is_large else m
    exponent = exponent + 1.0 if is_large else exponent
    s = (m - 1.0) / (m + 1.0)
    t = s * s
    p = 1.0 / 21.0
    p = p * t + 1.0 / 19.0
    p = p * t + 1.0 / 17.0
    p = p * t + 1.0 / 15.0
    p = p * t + 1.0 / 13.0
    p = p * t + 1.0 / 11.0
    p = p * t + 1.0 / 9.0
    p = p * t + 1.0 / 7.0
    p = p * t + 1.0 / 5.0
    p = p * t + 1.0 / 3.0
    p = p * t + 1.0
    return exponent * _LN2_HIGH + (2.0 * s * p + exponent * _LN2_LOW)
