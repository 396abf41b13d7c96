"""A cache of machine code that knows which kernels call each other.

numba keeps a compiled function on disk together with a hash of its own source file, and with the machine code of
whatever it calls inlined. So a kernel whose own file has not changed would keep the old version of a kernel in another
file, even after an upgrade of the package. Here the hash is that of all files of this folder: when one of them changes,
every kernel is compiled anew. `VERSION` says the same to PyTensor, whose compiled graphs have kernels inlined.

Where the environment names numba's locators (``NUMBA_CACHE_LOCATOR_CLASSES``), none of this applies.
"""

import hashlib
import zlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from numba.core.caching import CacheImpl

__all__ = ["VERSION", "keep_together", "version_with"]

_FOLDER = Path(__file__).parent


# None where the package is not a folder, as in a zip file: then numba goes by its own rules.
_SOURCES = sorted(_FOLDER.glob("*.py"))


def _stamp(*further: Path) -> bytes:
    """Return a hash of all files of this folder, and of some more."""
    digest = hashlib.sha256()
    for path in (*_SOURCES, *further):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.digest()


_STAMP = _stamp()

#: Another number for every change of a kernel.
VERSION = int.from_bytes(_STAMP[:6]) if _SOURCES else zlib.crc32(version("bayesgmm").encode())


def version_with(path: str) -> int:
    """Return another number for every change of a kernel or of a file that wraps kernels.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    int
        The number.
    """
    return int.from_bytes(_stamp(Path(path))[:6]) if _SOURCES else VERSION


class _Together:
    """What a locator of numba's becomes for functions of this folder."""

    def get_source_stamp(self) -> bytes:
        """Return what must not have changed since a function was compiled."""
        return _STAMP

    @classmethod
    def from_function(cls, py_func, py_file):
        """Return a locator, or None for functions from elsewhere."""
        is_ours = bool(_SOURCES) and Path(py_file).parent == _FOLDER
        return super().from_function(py_func, py_file) if is_ours else None


def keep_together() -> None:
    """Let numba's cache look at all files of this folder for each function of it; done once."""
    locators = CacheImpl._locator_classes  # noqa: SLF001 (PyTensor registers its own locator there too)
    if not any(issubclass(locator, _Together) for locator in locators):
        usual = [locator for locator in locators if locator.__module__ == CacheImpl.__module__]
        own: list[Any] = [type(locator.__name__, (_Together, locator), {}) for locator in usual]
        # After PyTensor's, whenever that was registered: what it knows by a key of its own it must find again.
        at = locators.index(usual[0])
        locators[at:at] = own
