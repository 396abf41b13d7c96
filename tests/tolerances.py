"""How close is close: one table for all tests.

An identity that holds to rounding is EXACT. ALGEBRA has a few solves or sums of thousands of numbers in between.
OPTIMUM is where an iteration stopped. What was simulated may lie STANDARD_ERRORS away: with four, one in 16,000 numbers
does so by chance, and seeds are fixed.
"""

import numpy as np

EXACT = 1e-12
ALGEBRA = 1e-8
OPTIMUM = 1e-5
STANDARD_ERRORS = 4.0


def assert_close(found, expected, tolerance):
    """Compare relative to the largest expected number, so that a zero beside it is no obstacle."""
    expected = np.asarray(expected, dtype=float)
    finite = np.abs(expected[np.isfinite(expected)])
    size = finite.max(initial=0.0) or 1.0
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=tolerance * size)


def assert_within_errors(found, expected, standard_error):
    """Compare what was simulated with what it estimates."""
    z = (np.asarray(found) - np.asarray(expected)) / standard_error
    assert np.all(np.abs(z) < STANDARD_ERRORS), f"{np.abs(z).max():.1f} standard errors away"
