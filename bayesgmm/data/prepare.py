"""From a user's table to prepared data, which both fits share.

Owned here: which checks a table must pass before a mixture is fitted (they are in checks.py), and `PreparedData`, the
frozen value that carries numbers, names, weights and the choice of scale. It is accepted wherever a table is. Fits take
their standardised rows from it, and `read_rows` reads new rows with the same columns. What is too large to be prepared
is opened as a stream. Refused input is named in the user's words: the column, the count, the rows, the remedy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesgmm.data.checks import (
    SCALES,
    check_choice,
    check_room_for_covariances,
    check_total,
    check_weights,
    describe_missing,
    refuse_constant_columns,
    refuse_empty_columns,
    refuse_infinite,
)
from bayesgmm.data.chunks import Stream
from bayesgmm.data.columns import list_names
from bayesgmm.data.memory import memory_for_rows
from bayesgmm.data.moments import scaling_from_moments, weighted_moments
from bayesgmm.data.scaling import Scaling
from bayesgmm.data.streams import is_stream, open_stream
from bayesgmm.data.tables import Table, column_names, read_table, select_columns
from bayesgmm.errors import ArgumentError, DataError
from bayesgmm.mixture import default_features
from bayesgmm.showing import Shown, name_some
from bayesgmm.structure import CovarianceStructure

__all__ = ["PreparedData", "prepare", "prepare_or_open", "read_rows"]

Floats = NDArray[np.float64]

_MISSING = ("error", "drop", "marginalize")
# A fit in memory holds the rows as they came, as it keeps them, and packed; with room for what is made in passing.
_COPIES_IN_MEMORY = 4


@dataclass(frozen=True, eq=False)
class PreparedData(Shown):
    """A table that is ready to be fitted.

    Parameters
    ----------
    values : ndarray, shape (n, D)
        The rows, user's units, read-only; float32 where they came so, float64 otherwise. NaN stands for a value that
        is missing and marginalised.
    features : tuple of str
        Column names.
    rows : ndarray, shape (n,)
        Labels of the rows that are used.
    sample_weight : ndarray, shape (n,), or None
        Weights of the rows, dimensionless; None stands for ones.
    scale : {"auto", "feature", "common", "none"}
        How the fits scale the columns; see `prepare`.
    n_dropped : int
        Rows left out because of missing values.
    """

    values: Floats
    features: tuple[str, ...]
    rows: NDArray[Any]
    sample_weight: Floats | None = None
    scale: str = "auto"
    n_dropped: int = 0

    @property
    def n_rows(self) -> int:
        """Number of rows, n."""
        return int(self.values.shape[0])

    @property
    def n_features(self) -> int:
        """Number of columns, D."""
        return int(self.values.shape[1])

    @property
    def has_missing(self) -> bool:
        """Whether values are missing, to be marginalised."""
        return bool(np.isnan(self.values).any())

    @property
    def effective_rows(self) -> float:
        """Sum of the sample weights; n where there are none."""
        return float(self.n_rows if self.sample_weight is None else self.sample_weight.sum())

    def scaling(self, structure: CovarianceStructure) -> Scaling:
        """Return the change of units under which a fit runs (math.md, 5.1).

        Parameters
        ----------
        structure : CovarianceStructure
            The structure that is fitted; it decides what ``scale="auto"`` means.

        Returns
        -------
        Scaling
            Shift and scale, user's units.
        """
        return scaling_from_moments(*weighted_moments(self.values, self.sample_weight), self.scale, structure)

    def check_components(self, n_components: int) -> None:
        """Refuse a number of components that these rows cannot support.

        Parameters
        ----------
        n_components : int
            Number of components, K.

        Raises
        ------
        ArgumentError
            When `n_components` is not a positive whole number.
        DataError
            When there are not more rows, or not enough distinct rows, than components, or no memory for the
            covariances of so many columns.
        """
        if isinstance(n_components, bool) or not isinstance(n_components, int | np.integer) or n_components < 1:
            raise ArgumentError(f"n_components={n_components!r} must be a positive whole number")
        check_room_for_covariances(int(n_components), self.n_features)
        used = np.arange(self.n_rows) if self.sample_weight is None else np.flatnonzero(self.sample_weight > 0)
        if len(used) <= n_components:
            raise DataError(
                f"{len(used)} rows cannot support n_components={n_components}; "
                "use more rows or fewer components (at least one more row than components)"
            )
        # Mostly a few rows tell, without sorting a long table.
        head = self.values[used[: 100 * (n_components + 1)]]
        if n_components > 1 and len(np.unique(head, axis=0)) <= n_components:
            n_distinct = len(np.unique(self.values[used], axis=0))
        else:
            n_distinct = n_components + 1
        if n_distinct <= n_components and n_components > 1:
            raise DataError(
                f"the table has {n_distinct} distinct rows, too few for n_components={n_components}; "
                "use fewer components"
            )

    def check_complete(self, purpose: str) -> None:
        """Refuse missing values where they cannot be marginalised.

        Parameters
        ----------
        purpose : str
            What the rows are wanted for, in the user's words.

        Raises
        ------
        DataError
            When a value is missing.
        """
        if self.has_missing:
            n = int(np.isnan(self.values).any(axis=1).sum())
            raise DataError(
                f"{purpose} needs complete rows, and {n} have missing values; use missing='drop' or fill them"
            )

    def __repr__(self) -> str:
        notes = f", {self.n_dropped} rows with missing values dropped" if self.n_dropped else ""
        notes += f", {int(np.isnan(self.values).sum())} missing values" if self.has_missing else ""
        notes += ", weighted" if self.sample_weight is not None else ""
        return f"PreparedData({self.n_rows} rows x {self.n_features} columns: {name_some(self.features)}{notes})"


def prepare(
    table: Any,
    columns: Sequence[str] | str | None = None,
    *,
    scale: str = "auto",
    missing: str = "error",
    sample_weight: ArrayLike | None = None,
) -> PreparedData:
    """Check a table and prepare it for both fits.

    Parameters
    ----------
    table : array_like, DataFrame, pyarrow.Table, xarray object, Parquet path, Dask collection or PreparedData
        Rows and columns of real numbers. NumPy arrays of any order and dtype, pandas, polars and pyarrow tables, xarray
        arrays and datasets; what `open_stream` opens is read into memory, where it must fit. PreparedData is returned
        as it is when no other argument is given.
    columns : sequence of str, optional
        Which columns to use. Default all.
    scale : {"auto", "feature", "common", "none"}, default "auto"
        What the fits divide the centred columns by: each column's standard deviation ("feature"), one common number
        ("common"), or nothing ("none"). "auto" takes "feature" where the covariance structure is unchanged by it and
        "common" elsewhere, so that the fitted model does not depend on this choice.
    missing : {"error", "drop", "marginalize"}, default "error"
        What to do with rows that have missing values: refuse them, leave them out, or let them count with the density
        of what was observed, which is right where values are missing at random (`fit_em`; rows without any value are
        left out).
    sample_weight : array_like, shape (n,), optional
        Non-negative weights of the rows; a weight of 2 stands for a row that occurs twice. For Parquet and Dask
        dataframes also the name of the column that holds them.

    Returns
    -------
    PreparedData
        What `fit_em`, `fit_bayes`, `build_model` and `compare` work on.

    Raises
    ------
    DataError
        When the table cannot be used; the message names the column, the count and the remedy.
    ArgumentError
        When an argument is not one of its legal values.

    Examples
    --------
    >>> prepare([[1.0, 2.0], [3.0, 5.0], [2.0, 2.0]])
    PreparedData(3 rows x 2 columns: x0, x1)
    """
    check_choice("scale", scale, SCALES)
    check_choice("missing", missing, _MISSING)
    if isinstance(table, PreparedData):
        if columns is None and sample_weight is None and scale == "auto" and missing == "error":
            return table
        raise ArgumentError(
            "the data are prepared already; pass columns, scale, missing and weights to the first prepare()"
        )
    if is_stream(table) and not isinstance(table, np.memmap):
        found, sample_weight = _read_stream(table, columns, sample_weight)
    else:
        found = read_table(table, columns, keep_single=True)
    if found.values.shape[0] == 0:
        raise DataError("the table has no rows; a mixture needs at least two")
    weights = None if sample_weight is None else check_weights(sample_weight, found.values.shape[0])
    refuse_infinite(found)
    absent = np.isnan(found.values)
    refuse_empty_columns(absent, found.features)
    keep = ~(absent.all(axis=1) if missing == "marginalize" else absent.any(axis=1))
    if missing == "error" and not keep.all():
        raise DataError(
            f"{describe_missing(found)}; pass missing='marginalize' to use what was observed, missing='drop' to leave "
            "these rows out, or fill them"
        )
    if not keep.any():
        raise DataError(f"every row has a missing value; nothing is left with missing={missing!r}")
    values = np.ascontiguousarray(found.values if keep.all() else found.values[keep])
    weights = None if weights is None else check_total(weights[keep])
    refuse_constant_columns(values if weights is None or weights.all() else values[weights > 0], found.features)
    values.setflags(write=False)
    return PreparedData(values, found.features, found.rows[keep], weights, scale, int(np.sum(~keep)))


def prepare_or_open(
    data: Any, *, sample_weight: Any = None, missing: str = "error", max_memory: float | None = None
) -> "PreparedData | Stream":
    """Prepare what is, or fits, in memory; open what is larger, to be read chunk by chunk.

    Parameters
    ----------
    data : table, PreparedData, or anything that `open_stream` opens
        The rows.
    sample_weight : array_like, shape (n,), or str, optional
        Weights of the rows.
    missing : {"error", "drop", "marginalize"}, default "error"
        What to do with rows that have missing values.
    max_memory : float, optional
        Bytes that rows may take. Default half of what is available.

    Returns
    -------
    PreparedData or Stream
        Rows of a Dask collection stay where they are: it is a Stream, whatever its size.

    Raises
    ------
    DataError
        When the data cannot be used.
    ArgumentError
        When an argument is not one of its legal values.
    """
    room = memory_for_rows(max_memory)
    if not is_stream(data):
        return prepare(data, sample_weight=sample_weight, missing=missing)
    check_choice("missing", missing, _MISSING)
    stream = open_stream(data, sample_weight=sample_weight)
    size = stream.n_here * 8 * (len(stream.features) + 1)
    if _COPIES_IN_MEMORY * size > room:
        return stream if isinstance(data, Stream) else open_stream(data, sample_weight=sample_weight, missing=missing)
    if isinstance(data, Stream):
        return prepare(data)
    return prepare(data, sample_weight=sample_weight, missing=missing)


def _read_stream(data: Any, columns: Any, sample_weight: Any) -> tuple[Table, Floats | None]:
    """Read all rows of a stream, and their weights."""
    stream = open_stream(data, columns, sample_weight=sample_weight)
    return stream.read(), stream.read_weights()


def read_rows(table: Any, features: tuple[str, ...], *, allow_missing: bool = False) -> Table:
    """Read new rows for a fit: by column name where the table has names, by position otherwise.

    Parameters
    ----------
    table : array_like, DataFrame, pyarrow.Table or xarray object
        New rows, user's units.
    features : tuple of str
        The fit's columns.
    allow_missing : bool, default False
        Whether rows may have missing values.

    Returns
    -------
    Table
        Values of shape (n, D) in the order of `features`.

    Raises
    ------
    DataError
        When a column is missing, the number of columns is wrong, or a value is missing or infinite.
    """
    found = _pick_columns(table, features)
    n_columns = found.values.shape[1]
    if n_columns != len(features):
        hint = "; a single row is [[...]]" if found.values.shape == (len(features), 1) else ""
        raise DataError(
            f"the table has {n_columns} column{'s' * (n_columns != 1)}; the fit has {len(features)}: "
            f"{list_names(features)}{hint}"
        )
    refuse_infinite(found)
    if not allow_missing and np.isnan(found.values).any():
        raise DataError(f"{describe_missing(found)}; fill them or leave these rows out")
    return Table(found.values, features, found.rows, found.has_names)


def _pick_columns(table: Any, features: tuple[str, ...]) -> Table:
    """Read the columns of a fit by name; all columns where the table, or the data of the fit, came without names."""
    if isinstance(table, PreparedData):
        table = Table(table.values, table.features, table.rows, table.features != default_features(table.n_features))
        names = table.features if table.has_names else ()
    else:
        names = column_names(table)
    there = set(names)
    absent = [name for name in features if name not in there]
    if absent and names and features != default_features(len(features)):
        raise DataError(f"the fit needs a column named {absent[0]!r}; the table has {list_names(names)}")
    wanted = None if absent else features
    return select_columns(table, wanted) if isinstance(table, Table) else read_table(table, wanted)
