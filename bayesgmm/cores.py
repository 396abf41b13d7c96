"""How many cores this process may use: what every room that runs threads asks, and nobody decides for another."""

import os

__all__ = ["available_cores"]


def available_cores() -> int:
    """Return the number of cores that this process may use.

    Returns
    -------
    int
        Those that it is bound to, where the system tells (Linux); else those of the machine.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
