"""Real data sets that ship with the package, as pandas tables.

``faithful``: eruptions of the Old Faithful geyser, Azzalini & Bowman (1990), as in R. ``galaxies``: velocities of 82
galaxies in the Corona Borealis region, Postman et al. (1986), Roeder (1990). ``acidity``: acid neutralising capacity of
155 lakes on the log scale, Crawford (1994). ``iris``: Fisher (1936), from scikit-learn.
"""

from importlib import resources
from typing import TYPE_CHECKING

from bayesgmm.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DATASETS", "load_dataset"]

#: The data sets by name, and what they are, in a line each.
DATASETS = {
    "faithful": "272 eruptions of the Old Faithful geyser: duration and waiting time to the next, in minutes",
    "iris": "150 irises of three species: length and width of sepals and petals, in cm",
    "galaxies": "82 galaxies of the Corona Borealis region: velocity, in 1000 km/s",
    "acidity": "155 lakes in Wisconsin: acid neutralising capacity, on the log scale",
}

_MISPRINTED_GALAXY = 77
_MISPRINTED_VELOCITY = 26.69


def load_dataset(name: str, *, corrected: bool = True, with_classes: bool = False) -> "pd.DataFrame":
    """Load a data set that ships with the package.

    Parameters
    ----------
    name : {"faithful", "iris", "galaxies", "acidity"}
        Which one; `bayesgmm.DATASETS` says what they are.
    corrected : bool, default True
        For ``galaxies``: R's MASS has 26690 km/s as its 78th value where Roeder (1990) has 26960. False gives the
        misprinted copy, for comparing with results that were computed from it.
    with_classes : bool, default False
        For ``iris``: add the column ``species``, which is text and not part of a fit.

    Returns
    -------
    pandas.DataFrame
        One row for each observation.

    Raises
    ------
    ArgumentError
        When there is no data set of that name.

    Examples
    --------
    >>> load_dataset("faithful").shape
    (272, 2)
    """
    if not isinstance(name, str) or name not in DATASETS:
        raise ArgumentError(f"no data set named {name!r}; there are {', '.join(DATASETS)}")
    if name == "iris":
        return _load_iris(with_classes)
    import pandas as pd

    with resources.files("bayesgmm.data").joinpath(f"{name}.csv").open() as file:
        table = pd.read_csv(file)
    if name == "galaxies" and not corrected:
        table.loc[_MISPRINTED_GALAXY, "velocity"] = _MISPRINTED_VELOCITY
    return table


def _load_iris(with_classes: bool) -> "pd.DataFrame":
    from sklearn.datasets import load_iris

    bunch = load_iris(as_frame=True)
    table = bunch.data.rename(columns=lambda name: name.removesuffix(" (cm)").replace(" ", "_"))
    return table.assign(species=bunch.target_names[bunch.target]) if with_classes else table
