"""Where results go: folders and pages, refused before minutes are spent on what goes into them."""

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from bayesgmm.errors import ArgumentError

__all__ = ["check_page", "folder_for", "name_files", "write_report"]


def _make_folder(out: Path, option: str) -> None:
    """Make the folder before minutes are spent on what goes into it."""
    if out.exists() and not out.is_dir():
        raise ArgumentError(f"{option} {str(out)!r} is a file; name a folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ArgumentError(f"{option} {str(out)!r} cannot be written to: {error.strerror}") from None


@contextmanager
def folder_for(out: Path | None) -> Iterator[None]:
    """Make the folder of --out, and take it away at the end if it is new and nothing came to stand in it."""
    if out is None:
        yield
        return
    was_there = out.exists()
    _make_folder(out, "--out")
    try:
        yield
    finally:
        if not was_there and not any(out.iterdir()):
            out.rmdir()


def check_page(page: Path | None) -> None:
    """Refuse a page that could not be written before minutes are spent on what goes into it."""
    if page is None:
        return
    if page.suffix.lower() not in (".html", ".htm"):
        raise ArgumentError(f"--report {str(page)!r} does not end in .html")
    _make_folder(page.parent, "--report")


def write_report(subject: Any, page: Path, file: str, context: click.Context, *, progress: bool) -> Path:
    """Write a page that says where the data came from and which command makes it again."""
    from bayesgmm.data import DATASETS
    from bayesgmm.reporting import report

    source = f"{file}: {DATASETS[file]}" if file in DATASETS else file
    return report(subject, page, source=source, command=shlex.join(["bayesgmm", *context.obj]), progress=progress)


def name_files(written: Sequence[Path]) -> None:
    """Say what has been written."""
    if written:
        click.echo("\nWritten:")
    for path in written:
        click.echo(f"  {path}")
