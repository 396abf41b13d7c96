"""How much memory there is to use: the smallest of what the machine, its container and this process's limits leave."""

import os
from pathlib import Path

from bayesgmm.errors import ArgumentError

__all__ = ["available_memory", "memory_for_rows"]

# Where nothing can be asked, a size that any machine has.
_UNKNOWN = 2 * 2**30
# The rest is for what is not rows: copies in passing, the page cache that files are read through, other programs.
_SHARE_FOR_ROWS = 0.5


def memory_for_rows(max_memory: float | None = None) -> int:
    """Return how many bytes rows may take.

    Parameters
    ----------
    max_memory : float, optional
        What the user allows, in bytes. Default half of `available_memory`.

    Returns
    -------
    int
        Bytes.

    Raises
    ------
    ArgumentError
        When `max_memory` is not a positive number.
    """
    if max_memory is None:
        return int(_SHARE_FOR_ROWS * available_memory())
    if isinstance(max_memory, bool) or not isinstance(max_memory, int | float) or not max_memory > 0:
        raise ArgumentError(f"max_memory={max_memory!r} must be a positive number of bytes")
    return int(min(max_memory, 2.0**60))


def available_memory() -> int:
    """Return the memory that this process can still take, in bytes.

    Returns
    -------
    int
        The least of what the machine has available, what the control group allows (Linux), and what the limits of the
        process leave (``ulimit -v``, ``ulimit -d``).
    """
    found = [_machine(), *_control_group(), *_limits()]
    return max(0, min((size for size in found if size is not None), default=_UNKNOWN))


def _machine() -> int | None:
    available = _field(Path("/proc/meminfo"), "MemAvailable:")
    if available is not None:
        return available
    try:
        # Half of what is built in, where nothing says what is free.
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):
        return None


def _control_group() -> list[int]:
    """Return what version 2 or 1 of control groups leaves; page cache counts as used, which errs on the safe side."""
    root = Path("/sys/fs/cgroup")
    pairs = [
        (root / "memory.max", root / "memory.current"),
        (root / "memory/memory.limit_in_bytes", root / "memory/memory.usage_in_bytes"),
    ]
    found = [(_number(limit), _number(used)) for limit, used in pairs]
    return [limit - used for limit, used in found if limit is not None and used is not None]


def _limits() -> list[int]:
    """Return what the limits on address space and data leave."""
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return []
    status = Path("/proc/self/status")
    pairs = [
        (resource.getrlimit(resource.RLIMIT_AS)[0], _field(status, "VmSize:")),
        (resource.getrlimit(resource.RLIMIT_DATA)[0], _field(status, "VmData:")),
    ]
    return [limit - (used or 0) for limit, used in pairs if limit != resource.RLIM_INFINITY]


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _field(path: Path, name: str) -> int | None:
    """Return a field of a file in /proc, given there in kB."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(name)), None)
