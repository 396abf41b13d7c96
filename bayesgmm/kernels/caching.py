"""A cache of machine code that knows which kernels call each other.

numba keeps a compiled function on disk together with a hash of its own source file, and with the machine code of
whatever it calls inlined. So a kernel whose own file has not changed would keep the old version of a kernel in another
file, even after an upgrade of the package. Here the hash is that of all files of this folder: when one of them changes,
every kernel is compiled anew. `VERSION` says the same to PyTensor, whose compiled graphs have kernels inlined.
"""

import hashlib
from pathlib import Path
from typing import Any

from numba.core.caching import CacheImpl

__all__ = ["VERSION", "keep_together"]

_FOLDER = Path(__file__).parent


def _stamp() -> bytes:
    """Return a hash of all files of this folder."""
    digest = hashlib.sha256()
    for path in sorted(_FOLDER.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.digest()


_STAMP = _stamp()

#: Another number for every change of a kernel.
VERSION = int.from_bytes(_STAMP[:6])


class _Together:
    """What a locator of numba's becomes for functions of this folder."""

    def get_source_stamp(self) -> bytes:
        """Return what must not have changed since a function was compiled."""
        return _STAMP

    @classmethod
    def from_function(cls, py_func, py_file):
        """Return a locator, or None for functions from elsewhere."""
        return super().from_function(py_func, py_file) if Path(py_file).parent == _FOLDER else None


def keep_together() -> None:
    """Let numba's cache look at all files of this folder for each function of it; done once."""
    locators = CacheImpl._locator_classes  # noqa: SLF001 (PyTensor registers its own locator there too)
    if not any(issubclass(locator, _Together) for locator in locators):
        own: list[Any] = [type(locator.__name__, (_Together, locator), {}) for locator in locators]
        locators[:0] = own
