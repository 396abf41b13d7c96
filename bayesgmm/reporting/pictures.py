"""Pictures for a page: drawn with matplotlib's own defaults, whatever the user's are, and held as data URIs."""

import warnings
from collections.abc import Callable
from io import BytesIO
from typing import cast

from matplotlib import pyplot as plt
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesgmm.reporting.html import Html, data_uri, element

__all__ = ["picture"]

_DPI = 150


def picture(draw: Callable[[], Figure | Axes], caption: str, *, alternative: str) -> Html:
    """Draw a figure and return it with its caption.

    Parameters
    ----------
    draw : callable
        Returns a new matplotlib figure, or axes on one; it is closed afterwards.
    caption : str
        What the picture shows and how to read it.
    alternative : str
        What stands for the picture where it cannot be seen.

    Returns
    -------
    Html
        A figure element that needs no other file.
    """
    with style.context("default"), warnings.catch_warnings():
        # Column names may hold letters that matplotlib's font has not; boxes in a picture are no reason for a warning.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        drawn = draw()
        figure = cast("Figure", drawn.get_figure(root=True))
        png = BytesIO()
        figure.savefig(png, format="png", dpi=_DPI)
        plt.close(figure)
    image = element("img", src=data_uri(png.getvalue()), alt=alternative)
    return element("figure", image, element("figcaption", caption))
