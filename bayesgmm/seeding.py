"""Seeds: whatever a user calls a seed, one generator and one recorded number come of it.

NumPy's new generators, scikit-learn's RandomState and plain integers are all accepted and converted once. Without a
seed one is drawn and recorded, so that every fit can be repeated.
"""

from typing import Any

import numpy as np

from bayesgmm.errors import ArgumentError

__all__ = ["as_generator", "recorded_seed"]


def recorded_seed(seed: Any = None) -> int:
    """Return a seed as an integer that reproduces what is done with it.

    Parameters
    ----------
    seed : int, Generator, RandomState, SeedSequence or None
        An integer is returned as it is; from a generator an integer is drawn; None stands for fresh entropy.

    Returns
    -------
    int
        A seed, zero or positive.

    Raises
    ------
    ArgumentError
        When it is none of these, or a negative number.
    """
    if seed is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(seed, int | np.integer) and not isinstance(seed, bool):
        if seed < 0:
            raise ArgumentError(f"seed={seed} must not be negative")
        return int(seed)
    if isinstance(seed, np.random.SeedSequence):
        return int(seed.generate_state(1)[0])
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(2**32))
    if isinstance(seed, np.random.RandomState):
        return int(seed.randint(2**31))
    raise ArgumentError(f"seed={seed!r} must be an integer, a NumPy generator or None")


def as_generator(seed: int, purpose: int = 0) -> np.random.Generator:
    """Return a generator for a recorded seed; different purposes get independent streams."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose,)))
