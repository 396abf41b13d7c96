"""How long something will still take: a bar on the error stream, where somebody can see it.

Results go to the output stream, so bars must not; and where the error stream is neither a terminal nor a notebook, a
bar is only noise in a log.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["follow", "progress_bar"]


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
    with progress_bar(progress=progress) as bar:
        return list(bar.track(items, total=total, description=what))
