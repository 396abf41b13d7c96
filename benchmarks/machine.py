"""What a table was measured on: processor, cores, versions, and how busy the machine was."""

import os
import platform
from importlib import metadata
from pathlib import Path

__all__ = ["busyness", "describe", "has_avx512", "usable_cores"]

_PACKAGES = (
    "bayesgmm", "numpy", "scipy", "numba", "scikit-learn", "scikit-learn-intelex", "gmmx", "jax", "pymc", "pytensor",
    "nutpie", "numpyro", "pystan", "httpstan",
)  # fmt: skip


def usable_cores() -> list[int]:
    """Return the cores that this process may run on; their numbers mean nothing where the system cannot pin."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def describe() -> dict[str, str]:
    """Return the machine in general terms and the versions of what is installed."""
    found = {"processor": _processor(), "cores": str(len(usable_cores())), "system": platform.system()}
    found["python"] = platform.python_version()
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def has_avx512() -> bool:
    """Whether the processor says that it has AVX-512; False where it cannot be asked."""
    return "avx512f" in _cpuinfo().get("flags", "")


def busyness() -> float:
    """Return the load average of the last minute; NaN where there is none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def _cpuinfo() -> dict[str, str]:
    """Return what Linux says of the last core; nothing elsewhere."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return dict((part.strip() for part in line.split(":", 1)) for line in lines if ":" in line)


def _processor() -> str:
    fields = _cpuinfo()
    if "model name" not in fields:
        return platform.processor() or platform.machine()
    wide = " with AVX-512" if has_avx512() else ""
    return f"{fields['model name']} (family {fields.get('cpu family', '?')}){wide}"
