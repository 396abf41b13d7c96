"""What the command says while it works and when it fails: progress, warnings, one sentence for an error, Ctrl-C."""

import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from bayesgmm.errors import BayesGMMError, BayesGMMWarning

__all__ = ["Interrupted", "complain", "interruptible", "progress", "sentence", "shorten_warnings"]


class Interrupted(BaseException):
    """Ctrl-C; not a KeyboardInterrupt, which a sampler would take as a wish for fewer draws."""


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Show what is being done on the error stream, where that is a terminal; give the function that says it."""
    if quiet:
        _silence_warnings()
    if quiet or not sys.stderr.isatty():
        yield lambda _text: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("starting", total=None)
        yield lambda text: shown.update(task, description=text)


def shorten_warnings() -> None:
    """Show bayesgmm's own warnings in a line each, and nobody else's: what they mean to a user we say ourselves."""
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", BayesGMMWarning)
    warnings.showwarning = lambda message, *_rest: complain(f"Warning: {message}.")


def _silence_warnings() -> None:
    warnings.simplefilter("ignore")


def complain(text: str) -> None:
    """Write a line on the error stream."""
    click.echo(text, err=True)


def sentence(error: Exception) -> str:
    """Say in a sentence what is wrong, in the words of the command line."""
    if isinstance(error, OSError) and error.strerror and not isinstance(error, BayesGMMError):
        where = f" {str(error.filename)!r}" if error.filename is not None else ""
        return f"cannot read or write{where}: {error.strerror}."
    # The remedies in messages are Python's; here they are options.
    text = re.sub(r"\b(missing|sampler)='(\w+)'", r"--\1 \2", str(error)).replace("columns=", "--columns")
    return text if text.endswith(".") else f"{text}."


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end the command at once: nutpie takes a KeyboardInterrupt as a wish to return what it has."""

    def interrupt(_number: int, _frame: Any) -> None:
        """End what is going on."""
        raise Interrupted

    try:
        before = signal.signal(signal.SIGINT, interrupt)
    except ValueError:
        # Only the main thread may set handlers.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
