"""Files: a fit saved and loaded, and every file that the package writes, written whole or not at all.

A saved fit is its tree in NetCDF or Zarr, without pickle, so that other programs can read it as well. What can go wrong
with such files without anyone noticing was tried: a writer that is killed leaves a file of the right shape full of NaN;
a flipped byte in uncompressed NetCDF, and a lost chunk in Zarr, load without a word; another program's file opens as an
empty tree. Hence: a temporary file beside the target that replaces it when it is complete and on the disk; compression
with checksums for NetCDF, a list of checksums for Zarr; a format marker with a version; loading all of it at once.

A writer that is killed leaves its temporary file. It bears the number of the process, and where that counts, so that
the next writer of the same file can tell what nobody is writing any more, and removes that.

A file is replaced in one step. A folder cannot be: the old one steps aside under a name that is known, and is read from
there when a writer was killed before the new one took its place. Of Zarr's codecs only those are read that xarray
writes: others can run code, or need packages that are not here.

A checkpoint of a run (bayes/checkpoint.py) is a saved fit with a group more, which `load` reads like any other.
"""

import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayesgmm.errors import ArgumentError, FileFormatError
from bayesgmm.fit import FitInfo, MixtureFit, assemble

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "CHECKPOINT",
    "FORMAT_VERSION",
    "as_path",
    "load",
    "read_tree",
    "remove_leftovers",
    "replacing",
    "save",
    "write_tree",
]

#: Version of the layout of saved fits. A reader refuses files with a larger number.
FORMAT_VERSION = 1

#: Group of a tree that makes it a checkpoint: what a sampler needs to go on.
CHECKPOINT = "checkpoint"

_FORMAT = "bayesgmm mixture fit"
_SUFFIXES = (".nc", ".zarr")
_CHECKSUMS = "bayesgmm_format_checksums"
_TEMPORARY = r"(?:(?P<place>[0-9a-f]{8})-(?P<process>\d+)-)?[0-9a-f]{8}"
_ZARR_ROOT = "zarr.json"
_CODECS = {"blosc", "bytes", "crc32c", "gzip", "transpose", "vlen-utf8", "zstd"}
_VARIABLES = {
    "posterior": ("weights", "means", "covariances"),
    "observed_data": ("x",),
    "constant_data": ("shift", "scale"),
}


def save(fit: MixtureFit, path: str | Path) -> Path:
    """Save a fit to a file.

    Parameters
    ----------
    fit : MixtureFit
        What to save. Its PyMC model is not saved.
    path : str or Path
        Where to. ``.nc`` writes NetCDF, ``.zarr`` a Zarr store (which needs the package zarr). A fit that is there
        already is replaced, once the new one is complete.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    ArgumentError
        When `path` is no path, the name has another ending, or zarr is not installed.
    FileFormatError
        When a Zarr store would replace a folder that is not a saved fit.
    OSError
        When the file cannot be written.
    """
    return write_tree(fit.tree, as_path(path))


def load(path: str | Path) -> MixtureFit:
    """Load a saved fit.

    Parameters
    ----------
    path : str or Path
        What `save` wrote, or the checkpoint of a run that has not ended: its draws so far are then the fit.

    Returns
    -------
    MixtureFit
        The fit, in memory; it can do all that the saved one could, but has no PyMC model.

    Raises
    ------
    FileNotFoundError
        When there is nothing of that name.
    ArgumentError
        When `path` is no path, the name ends neither in ``.nc`` nor in ``.zarr``, or zarr is not installed.
    FileFormatError
        When it is not a saved fit, is damaged, or was written by a newer version.
    """
    source = as_path(path)
    tree = read_tree(source)
    if CHECKPOINT in tree.children and "posterior" not in tree.children:
        raise FileFormatError(f"{str(source)!r} is the checkpoint of a run that has made too few draws for a fit yet")
    _check_contents(tree, source)
    return _draws_so_far(tree) if CHECKPOINT in tree.children else MixtureFit(tree)


def as_path(path: Any, name: str = "path") -> Path:
    """Return the path that was given; refuse what is none.

    Parameters
    ----------
    path : str or Path
        What was given.
    name : str, default "path"
        The argument.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    ArgumentError
        When it is neither a string nor a path.
    """
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(f"{name}={path!r} must be the name of a file: a string or a Path")
    return Path(path)


def _draws_so_far(tree: "xr.DataTree") -> MixtureFit:
    """Make a fit of a checkpoint, which leaves out what can be computed again."""
    partial, own = MixtureFit(tree), (CHECKPOINT, "observed_data", "constant_data")
    groups = {name: node.to_dataset() for name, node in tree.children.items() if name not in own}
    groups["posterior"] = groups["posterior"].drop_vars(_VARIABLES["posterior"])
    return assemble(partial.mixture, partial.prepared, partial.info, partial.scaling, groups=groups)


def write_tree(tree: "xr.DataTree", target: Path) -> Path:
    """Write the tree of a fit, marked as one; what is there already is replaced once the new one is complete.

    Parameters
    ----------
    tree : xarray.DataTree
        What to write.
    target : Path
        Where to; its ending says in which format.

    Returns
    -------
    Path
        The path.
    """
    suffix = _suffix(target)
    marked = tree.copy()
    marked.attrs = {**tree.attrs, "bayesgmm_format": _FORMAT, "bayesgmm_format_version": FORMAT_VERSION}
    if suffix == ".zarr":
        _refuse_foreign_folder(target)
    with replacing(target) as temporary:
        if suffix == ".nc":
            marked.to_netcdf(temporary, engine="netcdf4", encoding=_compression(marked))
        else:
            _write_zarr(marked, temporary)
    return target


def read_tree(source: Path) -> "xr.DataTree":
    """Read what `write_tree` wrote, into memory and without its marks.

    Parameters
    ----------
    source : Path
        Where it is.

    Returns
    -------
    xarray.DataTree
        The tree.

    Raises
    ------
    FileNotFoundError
        When there is nothing of that name.
    FileFormatError
        When it is not the tree of a fit, is damaged, or was written by a newer version.
    """
    suffix = _suffix(source)
    there = source if source.exists() else _aside(source)
    if not there.exists():
        raise FileNotFoundError(f"there is no file {str(source)!r}")
    tree = _read(there, suffix)
    _check_format(tree, there)
    tree.attrs = {name: value for name, value in tree.attrs.items() if not str(name).startswith("bayesgmm_format")}
    return tree


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; what is written there replaces `target` when the block ends well.

    Parameters
    ----------
    target : Path
        The file or folder that is to be there in the end; its folder must exist.

    Yields
    ------
    Path
        Where to write. After an error it is removed, and `target` is as it was.

    Raises
    ------
    FileNotFoundError
        When the folder of `target` does not exist.
    """
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(target.parent)!r} to write {target.name!r} to")
    remove_leftovers(target, is_alone=False)
    temporary = target.with_name(f".{target.name}.{_place()}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield temporary
        for file in [temporary, *temporary.rglob("*")]:
            if file.is_file():
                _sync(file)
        _move(temporary, target)
    finally:
        _remove(temporary)


# -------------------------------------------------------------------- replacing


def _sync(file: Path) -> None:
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def remove_leftovers(target: Path, *, is_alone: bool = True) -> None:
    """Remove what writers of a file left beside it when they were killed.

    Parameters
    ----------
    target : Path
        The file.
    is_alone : bool, default True
        Whether nobody can be writing to it. Otherwise only what writers left that are known to be no more.
    """
    for found in target.parent.glob(f".{escape(target.name)}.*"):
        written = re.fullmatch(_TEMPORARY, found.name.removeprefix(f".{target.name}."))
        if written and (is_alone or (written["place"] == _place() and not _is_running(int(written["process"])))):
            # Another process may be removing it too.
            with suppress(FileNotFoundError):
                _remove(found)


@cache
def _place() -> str:
    """Return a tag of where numbers of processes count: a machine and, on Linux, a container."""
    try:
        inside = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        inside = ""
    return hashlib.sha256(f"{platform.node()} {uuid.getnode()} {inside}".encode()).hexdigest()[:8]


def _is_running(process: int) -> bool:
    """Say whether there may be a process of a number; where asking is not harmless, there may."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _aside(target: Path) -> Path:
    """Where a folder waits while another takes its place; `read_tree` looks there for what a killed writer left."""
    return target.with_name(f".{target.name}.before")


def _move(temporary: Path, target: Path) -> None:
    """Put a complete file in its place; a folder cannot be replaced in one step, so the old one steps aside first."""
    if not temporary.is_dir() or target.is_file():
        temporary.replace(target)
        return
    if target.exists():
        _remove(_aside(target))  # the writer before was killed when it only had to tidy up
        target.rename(_aside(target))
    temporary.rename(target)
    _remove(_aside(target))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise ArgumentError(f"a saved fit ends in .nc (NetCDF) or .zarr; {str(path)!r} does not")
    if suffix == ".zarr":
        _require_zarr()
    return suffix


def _require_zarr() -> None:
    try:
        import zarr  # noqa: F401
    except ImportError:
        raise ArgumentError("Zarr needs the package zarr: pip install zarr, or save to a .nc file") from None


# -------------------------------------------------------------------- writing


def _compression(tree: "xr.DataTree") -> dict[str, dict[str, Any]]:
    """Compress and checksum every numeric variable; the lowest level, since draws hardly compress at any."""
    options = {"zlib": True, "complevel": 1, "shuffle": True, "fletcher32": True}
    return {
        node.path: {
            str(name): options for name, variable in node.variables.items()
            if variable.dtype.kind in "biuf" and variable.ndim
        }
        for node in tree.subtree
    }  # fmt: skip


def _write_zarr(tree: "xr.DataTree", folder: Path) -> None:
    """Write a store whose root remembers the checksums of all its other files; Zarr has none of its own by default."""
    tree.to_zarr(folder, consolidated=False, zarr_format=3)
    root = folder / _ZARR_ROOT
    metadata = json.loads(root.read_text())
    metadata["attributes"][_CHECKSUMS] = _checksums(folder)
    root.write_text(json.dumps(metadata))


def _checksums(folder: Path) -> dict[str, str]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    found = {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    return {name: checksum for name, checksum in found.items() if name != _ZARR_ROOT}


def _root_attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of a Zarr store's root; empty where there is no such thing."""
    try:
        attributes = json.loads((folder / _ZARR_ROOT).read_text())["attributes"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return attributes if isinstance(attributes, dict) else {}


def _refuse_foreign_folder(target: Path) -> None:
    if target.exists() and _CHECKSUMS not in _root_attributes(target):
        raise FileFormatError(f"{str(target)!r} exists and is not a saved fit; choose another name or remove it")


# -------------------------------------------------------------------- reading


def _read(source: Path, suffix: str) -> "xr.DataTree":
    import xarray as xr

    options: dict[str, Any] = {"engine": "netcdf4"}
    if suffix == ".zarr":
        _check_checksums(source)
        _check_codecs(source)
        options = {"engine": "zarr", "consolidated": False, "zarr_format": 3}
    try:
        with xr.open_datatree(source, **options) as tree:
            return tree.load()
    except (OSError, RuntimeError, ValueError, KeyError, AttributeError, TypeError) as error:
        # These are what netCDF4 and xarray raise, by where in the file the damage is.
        raise FileFormatError(f"{str(source)!r} cannot be read; it is damaged, or not a saved fit ({error})") from error


def _check_checksums(source: Path) -> None:
    expected = _root_attributes(source).get(_CHECKSUMS)
    if expected is None:
        raise FileFormatError(f"{str(source)!r} is not a saved fit: it has no list of checksums")
    found = _checksums(source)
    wrong = [name for name in expected if found.get(name) != expected[name]]
    if wrong:
        raise FileFormatError(f"{str(source)!r} is damaged: {wrong[0]} is missing or was changed")


def _check_codecs(source: Path) -> None:
    """Refuse arrays in encodings that `save` does not write; what Zarr's formats allow includes pickle."""
    for file in source.rglob(".zarray"):
        raise FileFormatError(f"{str(file)!r} is of Zarr's second format, which is not read")
    for file in source.rglob(_ZARR_ROOT):
        try:
            codecs = {codec["name"] for codec in json.loads(file.read_text()).get("codecs", ())}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FileFormatError(f"{str(file)!r} cannot be read; it is damaged ({error})") from error
        if codecs - _CODECS:
            raise FileFormatError(f"{str(file)!r} has data encoded by {min(codecs - _CODECS)!r}, which is not read")


def _check_format(tree: "xr.DataTree", source: Path) -> None:
    if tree.attrs.get("bayesgmm_format") != _FORMAT:
        raise FileFormatError(f"{str(source)!r} is not a saved fit: the mark {_FORMAT!r} is missing")
    try:
        version = int(tree.attrs.get("bayesgmm_format_version", 0))
    except (TypeError, ValueError):
        raise FileFormatError(f"{str(source)!r} has no format version that can be read; it is damaged") from None
    if version > FORMAT_VERSION:
        raise FileFormatError(
            f"{str(source)!r} has format version {version}; this bayesgmm reads up to {FORMAT_VERSION}: "
            "install a newer one"
        )


def _check_contents(tree: "xr.DataTree", source: Path) -> None:
    absent = [
        f"{group}/{name}" for group, names in _VARIABLES.items() for name in names
        if group not in tree.children or name not in tree[group].variables
    ]  # fmt: skip
    if absent:
        raise FileFormatError(f"{str(source)!r} is not a complete fit: {absent[0]} is missing")
    try:
        FitInfo.from_json(tree.attrs["bayesgmm_info"])
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{str(source)!r} does not say how the fit was made ({error})") from None
