"""From the name of a file or data set to data that can be fitted: which columns, which labels, how much at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayesgmm.cli.talking import complain
from bayesgmm.errors import ArgumentError, DataError

if TYPE_CHECKING:
    import pandas as pd

    from bayesgmm.data import PreparedData

__all__ = ["prepare_file", "read_for_em"]

# Of the rows, while a file is read and prepared.
_COPIES = 3


def prepare_file(file: str, columns: Sequence[str], missing: str, *, quiet: bool) -> "PreparedData":
    """Read a file or a data set and prepare its columns.

    Parameters
    ----------
    file : str
        A path, or the name of a data set.
    columns : sequence of str
        What was given with ``--columns``; nothing stands for every numeric column.
    missing : str
        What to do with missing values.
    quiet : bool
        Whether to say nothing of columns that are left out.

    Returns
    -------
    PreparedData
        The data.
    """
    from bayesgmm.data import prepare

    table = _read(file)
    return prepare(table, _choose(columns, table, file, quiet=quiet), missing=missing)


def read_for_em(
    file: str, columns: Sequence[str], missing: str, labels: str | None, *, quiet: bool
) -> tuple[Any, dict[str, Any]]:
    """Read a file for EM, which also takes labels, and rows that do not fit into memory.

    Parameters
    ----------
    file : str
        A path, or the name of a data set.
    columns : sequence of str
        What was given with ``--columns``.
    missing : str
        What to do with missing values.
    labels : str or None
        The column that says to which component a row belongs, where that is known.
    quiet : bool
        Whether to say nothing of columns that are left out.

    Returns
    -------
    data : PreparedData, DataFrame or Stream
        What `fit_em` takes.
    told : dict
        Further arguments for it.
    """
    if labels is None:
        stream = _open_large(file, columns, missing, quiet=quiet)
        return (prepare_file(file, columns, missing, quiet=quiet) if stream is None else stream), {}
    table = _read(file)
    if labels not in table.columns:
        names = ", ".join(map(str, table.columns))
        raise DataError(f"--labels: there is no column named {labels!r}; the table has {names}")
    chosen = _choose(columns, table.drop(columns=labels), file, quiet=quiet)
    if labels in chosen:
        raise ArgumentError(f"column {labels!r} cannot be both among --columns and the --labels")
    # Labels go with the rows of the table as it came, so that the fit itself leaves rows out.
    return table[chosen], {"labels": table[labels], "missing": missing}


def _open_large(file: str, columns: Sequence[str], missing: str, *, quiet: bool) -> Any:
    """Open a Parquet file whose rows do not fit into memory, to be read chunk by chunk; None for any other."""
    path = Path(file)
    if path.suffix.lower() not in (".parquet", ".pq") or not path.is_file():
        return None
    try:
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as opened:
            n_rows, head = opened.metadata.num_rows, opened.schema_arrow.empty_table().to_pandas()
    except (ImportError, ValueError):
        # Reading the file as a table says what is wrong.
        return None
    from bayesgmm.data import open_stream
    from bayesgmm.data.memory import memory_for_rows

    if _COPIES * n_rows * 8 * (head.shape[1] + 1) <= memory_for_rows():
        return None
    return open_stream(path, _choose(columns, head, file, quiet=quiet), missing=missing)


def _choose(columns: Sequence[str], table: "pd.DataFrame", file: str, *, quiet: bool) -> list[str]:
    return _named(columns, table) or _numeric(table, file, quiet=quiet)


def _read(file: str) -> "pd.DataFrame":
    from bayesgmm.data import DATASETS, load_dataset
    from bayesgmm.data.files import read_file

    if file in DATASETS:
        return load_dataset(file)
    if not Path(file).suffix and not Path(file).exists():
        raise DataError(f"there is no file {file!r}, and no data set of that name ({', '.join(DATASETS)})")
    return read_file(file)


def _named(columns: Sequence[str], table: "pd.DataFrame") -> list[str]:
    """Return the names given with --columns: each a name, or names with commas between them."""
    names = [str(name) for name in table.columns]
    return [part for given in columns for part in ([given] if given in names else map(str.strip, given.split(",")))]


def _numeric(table: "pd.DataFrame", file: str, *, quiet: bool) -> list[str]:
    numbers = [str(name) for name in table.select_dtypes("number").columns]
    others = [str(name) for name in table.columns if str(name) not in numbers]
    if not numbers:
        raise DataError(f"{file!r} has no numeric column; it has {', '.join(others)}")
    if others and not quiet:
        complain(f"Left out, since not numeric: {', '.join(others)}.")
    return numbers
