"""How long something will still take: a bar on the error stream, where somebody can see it.

Results go to the output stream, so bars must not; and where the error stream is neither a terminal nor a notebook, a
bar is only noise in a log.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["follow", "progress_bar", "track", "working"]


def progress_bar(*, progress: bool) -> "Progress":
    """Return a bar with the time left.

    Parameters
    ----------
    progress : bool
        Whether to show it; without a terminal or a notebook it is not shown in any case.

    Returns
    -------
    rich.progress.Progress
        To be used in a ``with`` statement; it vanishes at its end.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    is_seen = progress and (console.is_terminal or console.is_jupyter)
    return Progress(console=console, transient=True, disable=not is_seen)


def track[T](items: Iterable[T], what: str, *, total: int, progress: bool) -> Iterator[T]:
    """Hand items on as they come and show how many there are.

    Parameters
    ----------
    items : iterable
        What is being made, or what something is done with.
    what : str
        What it is called, in the plural.
    total : int
        How many there will be.
    progress : bool
        Whether to show it; see `progress_bar`.

    Yields
    ------
    object
        The items.
    """
    with progress_bar(progress=progress) as bar:
        yield from bar.track(items, total=total, description=what)


def follow[T](items: Iterable[T], what: str, *, total: int, progress: bool) -> list[T]:
    """Collect items as they come and show how many there are.

    Parameters
    ----------
    items : iterable
        What is being made.
    what : str
        What it is called, in the plural.
    total : int
        How many there will be.
    progress : bool
        Whether to show it; see `progress_bar`.

    Returns
    -------
    list
        The items.
    """
    return list(track(items, what, total=total, progress=progress))


@contextmanager
def working(what: str, *, progress: bool) -> Iterator[Callable[[str], None]]:
    """Show that something is done of which nobody knows how long it takes, such as compiling.

    Parameters
    ----------
    what : str
        What is done.
    progress : bool
        Whether to show it; see `progress_bar`.

    Yields
    ------
    callable
        Says with other words what is done by now.
    """
    if not progress:
        yield lambda _text: None
        return
    with progress_bar(progress=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda text: bar.update(task, description=text)
