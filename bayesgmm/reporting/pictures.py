"""Pictures for a page: drawn with matplotlib's own defaults, whatever the user's are, and held as data URIs."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import cast

from matplotlib import pyplot as plt
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesgmm.progress import follow
from bayesgmm.reporting.html import Html, data_uri, element, join

__all__ = ["Picture", "hang"]

_DPI = 150


@dataclass(frozen=True)
class Picture:
    """A picture of a page, before it is drawn.

    Parameters
    ----------
    draw : callable
        Returns a new matplotlib figure, or axes on one; it is closed afterwards.
    caption : str
        What the picture shows and how to read it.
    alternative : str
        What stands for the picture where it cannot be seen.
    """

    draw: Callable[[], Figure | Axes]
    caption: str
    alternative: str

    def to_html(self) -> Html:
        """Draw it and return it with its caption: a figure element that needs no other file."""
        with style.context("default"), warnings.catch_warnings():
            # Column names may hold letters that matplotlib's font has not; boxes in a picture are no reason to warn.
            warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
            drawn = self.draw()
            figure = cast("Figure", drawn.get_figure(root=True))
            png = BytesIO()
            figure.savefig(png, format="png", dpi=_DPI)
            plt.close(figure)
        image = element("img", src=data_uri(png.getvalue()), alt=self.alternative)
        return element("figure", image, element("figcaption", self.caption))


def hang(beside: Sequence[Picture], wide: Sequence[Picture] = (), *, progress: bool = False) -> Html:
    """Draw pictures.

    Parameters
    ----------
    beside : sequence of Picture
        Those that stand side by side where the page is wide enough.
    wide : sequence of Picture, optional
        Those that follow, one below the other.
    progress : bool, default False
        Whether to show on the error stream how many are drawn and the time left, where somebody can see it.

    Returns
    -------
    Html
        All of them.
    """
    pictures = [*beside, *wide]
    made = (picture.to_html() for picture in pictures)
    drawn = follow(made, "drawing pictures", total=len(pictures), progress=progress)
    return element("div", *drawn[: len(beside)], class_="beside") + join(drawn[len(beside) :])
