"""How numbers are written in tables: enough digits to be compared, none that mean nothing."""

import numpy as np

__all__ = ["write_count", "write_number", "write_r_hat", "write_share"]

#: Written where there is no number.
NONE = "\N{EN DASH}"


def write_number(value: float, digits: int = 4) -> str:
    """Write `digits` significant digits, trailing zeros included, whole numbers beyond that in full."""
    if not np.isfinite(value):
        return NONE if np.isnan(value) else f"{value:+}"
    if value == 0 or 1e-4 <= abs(value) < 10**digits:
        return f"{value:#.{digits}g}".rstrip(".")
    return f"{value:,.0f}" if 10**digits <= abs(value) < 1e9 else f"{value:.{digits - 1}e}"


def write_share(value: float) -> str:
    """Write a probability or a share as a percentage; what is not certain is never written as 0 % or 100 %."""
    if np.isnan(value):
        return NONE
    if 0.9995 <= value < 1:
        return ">99.9%"
    return "<0.1%" if 0 < value < 0.0005 else f"{value:.1%}"


def write_count(value: float) -> str:
    """Write a whole number, rounded down, with separated thousands."""
    return f"{int(value):,}" if np.isfinite(value) else NONE


def write_r_hat(value: float) -> str:
    """Write R-hat with three decimals, one more than its threshold of 1.01 has."""
    return f"{value:.3f}" if np.isfinite(value) else NONE
