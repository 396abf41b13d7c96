"""Tables with what cannot be trusted taken out.

Where components cannot be told apart, a number of a component is a number of nothing. Its place stays in the table, so
that nobody wonders where it went, and is empty.
"""

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["DOUBTFUL", "without_posterior"]

#: The sentence that stands for what is withheld.
DOUBTFUL = (
    "withheld: components cannot be told apart in {share:.0%} of the draws, so that numbers of single components mean "
    "nothing; check.in_full({name!r}) has them all the same"
)
_OF_THE_ESTIMATE = ("em", "em_weight", "em_component", "em_responsibility", "em_entropy", "pareto_k")


def without_posterior(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which only what belongs to the estimate, or to no component, is left.

    Parameters
    ----------
    table : DataFrame
        Of components, parameters or memberships.

    Returns
    -------
    DataFrame
        The same rows and columns; the words say "withheld", numbers are NaN, truth values missing.
    """
    columns: dict[Hashable, Any] = {}
    for name, column in table.items():
        if name in _OF_THE_ESTIMATE:
            columns[name] = column
        elif name == "verdict":
            columns[name] = pd.Series("withheld", index=table.index)
        elif pd.api.types.is_bool_dtype(column):
            columns[name] = pd.Series(pd.NA, index=table.index, dtype="boolean")
        else:
            columns[name] = pd.Series(np.nan, index=table.index)
    return pd.DataFrame(columns, index=table.index)
