"""What the command says while it works and when it fails: progress, warnings, one sentence for an error, Ctrl-C."""

import re
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from bayesgmm.errors import BayesGMMError, BayesGMMWarning

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = [
    "Interrupted",
    "Steps",
    "complain",
    "describe_defect",
    "in_options",
    "interruptible",
    "progress",
    "sentence",
    "shorten_warnings",
]


# Arguments of Python by their options, the usual spelling first.
_OPTIONS = {
    "n_components": ("--components", "-k"),
    "sampler": ("--sampler", "--method"),
    "n_survivors": ("--survivors",),
    "reg_covar": ("--reg-covar",),
    **{
        name: (f"--{name}",)
        for name in ("missing", "checkpoint", "seed", "draws", "tune", "chains", "structure", "structures", "criterion")
    },
}
# A remedy for which there is no option.
_PYTHON_ONLY = " or prior='default'"


class Interrupted(BaseException):
    """Ctrl-C; not a KeyboardInterrupt, which a sampler would take as a wish for fewer draws."""


class Steps:
    """Says what is being done, and for how long.

    Parameters
    ----------
    shown : rich.progress.Progress or None
        Where it is said; None says nothing.
    """

    def __init__(self, shown: "Progress | None") -> None:
        self._shown = shown
        self._task = None if shown is None else shown.add_task("starting", total=None)

    def __call__(self, text: str, *, hands_over: bool = False) -> bool:
        """Say what is done next.

        Parameters
        ----------
        text : str
            What it is.
        hands_over : bool, default False
            Whether it can show its own progress, with the time left.

        Returns
        -------
        bool
            Whether it should: only one thing can be shown at a time.
        """
        if self._shown is None or self._task is None:
            return False
        # A sampler may show its progress on the output, which must not go into a file of results.
        if hands_over and sys.stdout.isatty():
            self._shown.stop()
            complain(f"{text}:")
            return True
        self._shown.reset(self._task, description=text)
        self._shown.start()
        return False


@contextmanager
def progress(*, quiet: bool) -> Iterator[Steps]:
    """Show what is being done on the error stream, where that is a terminal; give what says it."""
    if quiet:
        _silence_warnings()
    if quiet or not sys.stderr.isatty():
        yield Steps(None)
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        yield Steps(shown)


def shorten_warnings(given: Sequence[str]) -> None:
    """Show bayesgmm's own warnings in a line each, and nobody else's: what they mean to a user we say ourselves."""
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", BayesGMMWarning)
    warnings.showwarning = lambda message, *_rest: complain(f"Warning: {in_options(str(message), given)}.")


def _silence_warnings() -> None:
    warnings.simplefilter("ignore")


def complain(text: str) -> None:
    """Write a line on the error stream."""
    click.echo(text, err=True)


def sentence(error: Exception, given: Sequence[str]) -> str:
    """Say in a sentence what is wrong, in the words of the command line that was given."""
    if isinstance(error, OSError) and error.strerror and not isinstance(error, BayesGMMError):
        where = f" {str(error.filename)!r}" if error.filename is not None else ""
        return f"cannot read or write{where}: {error.strerror}."
    text = in_options(str(error), given)
    return text if text.endswith(".") else f"{text}."


def in_options(text: str, given: Sequence[str]) -> str:
    """Write the arguments of Python that a message names as options, spelt as in the command that was given."""
    for name, spellings in _OPTIONS.items():
        typed = (spelling for spelling in spellings if any(word.startswith(spelling) for word in given))
        option = next(typed, spellings[0])
        text = re.sub(rf"(?<!')\b{name}=(?:'(\w+)'|(?=['\w-]))", rf"{option} \1", text)
    return text.replace("columns=", "--columns").replace(_PYTHON_ONLY, "")


def describe_defect(error: Exception) -> str:
    """Say that an error was not foreseen: a defect of the package, not of what it was asked."""
    first = next(iter(str(error).splitlines()), "").rstrip(".")
    what = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return f"something went wrong that should not ({what}). Please report it, with the command and its data."


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
        # None stands for a handler that was not set from Python.
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
