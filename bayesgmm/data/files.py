"""Files to tables: CSV and Parquet, read so that a wrong guess is noticed.

Pandas reads nearly everything without complaint. A semicolon file with decimal commas becomes one column of garbage;
one field too many in every row turns the first column into row labels; a file without a header loses its first row to
the names; row numbers that another program wrote become data. Each of these gives a fit that nobody asked for, and is
refused here or read rightly: the separator is the one that splits the first lines alike, rows are counted, names that
are numbers are no names, and a first column without a name holds row labels.
"""

import csv
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from bayesgmm.errors import DataError, DataWarning

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SUFFIXES", "read_file"]

#: Endings of the files that can be read.
SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq")

# A column of which so many fields are numbers was meant to be one of numbers.
_MOSTLY = 0.5

# The comma comes last: it also stands in numbers and in names.
_SEPARATORS = "\t;|,"
_UNCLOSED = "a quotation mark is opened and never closed"
_NO_MARKS = str.maketrans("", "", ".,")
#: Rows in which the decimal mark is looked for.
_ROWS_FOR_DECIMAL = 1000
# One covariance matrix of so many columns takes 80 GB.
_MOST_COLUMNS = 100_000
# A name may have line breaks in it; a quotation mark that is never closed must not read the whole file.
_LINES_OF_A_HEADER = 20


def read_file(path: str | Path) -> "pd.DataFrame":
    """Read a table from a CSV or Parquet file.

    Parameters
    ----------
    path : str or Path
        A file whose name ends in ``.csv``, ``.tsv``, ``.txt`` (fields separated by comma, semicolon, tab or bar; the
        first line names the columns; UTF-8), or ``.parquet``, ``.pq``.

    Returns
    -------
    pandas.DataFrame
        The table, with every column that the file has. A first column without a name, which is how pandas and R write
        row labels, is the index.

    Raises
    ------
    DataError
        When there is no such file, or it cannot be read as a table; the message says why.

    Warns
    -----
    DataWarning
        When a column of a CSV file is mostly numbers and yet text.
    """
    source = Path(path)
    if source.is_dir():
        raise DataError(f"{str(source)!r} is a folder; name a file")
    if not source.exists():
        raise DataError(f"there is no file {str(source)!r}")
    if source.suffix.lower() not in SUFFIXES:
        raise DataError(f"{source.name!r} does not end in {', '.join(SUFFIXES)}; these are what can be read")
    try:
        if source.stat().st_size == 0:
            raise DataError(f"{source.name!r} is empty")
        table = _read_parquet(source) if source.suffix.lower() in (".parquet", ".pq") else _read_csv(source)
    except OSError as error:
        raise DataError(f"{str(source)!r} cannot be read: {error.strerror or error}") from None
    if table.empty:
        raise DataError(f"{source.name!r} has column names but no rows")
    return table


# -------------------------------------------------------------------- parquet


def _read_parquet(source: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        return pd.read_parquet(source)
    except ImportError:
        raise DataError("Parquet needs the package pyarrow: pip install pyarrow, or save the table as CSV") from None
    except ValueError as error:
        # What pyarrow raises on a file of another kind, or a damaged one, is a ValueError.
        raise DataError(f"{source.name!r} is not a Parquet file, or is damaged ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0].rstrip(". ")


# -------------------------------------------------------------------- csv


def _read_csv(source: Path) -> "pd.DataFrame":
    import pandas as pd

    separator, names, decimal = _examine(source)
    try:
        table = pd.read_csv(source, sep=separator, decimal=decimal, encoding="utf-8-sig", skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = _UNCLOSED if "EOF inside string" in str(error) else _first_line(error)
        raise DataError(f"{source.name!r} cannot be read as a table: {reason}") from None
    table = table.set_axis(names, axis=1)
    _warn_of_stray_text(table, source)
    return table if names[0] else table.set_index(names[0]).rename_axis(None)


def _warn_of_stray_text(table: "pd.DataFrame", source: Path) -> None:
    """Name a column that is text only because of some of its fields: a formula, a unit, a word for what is missing."""
    import pandas as pd

    for name in table.select_dtypes(["object", "string"]).columns:
        text = table[name].dropna()
        is_number = pd.to_numeric(text, errors="coerce").notna()
        if len(text) and is_number.mean() >= _MOSTLY:
            row = int(is_number.to_numpy().argmin())
            stray, label = text.iloc[row], text.index[row]
            warnings.warn(
                f"column {name!r} of {source.name!r} is read as text, since {stray!r} in row {label} is no number",
                DataWarning,
                stacklevel=4,
            )


def _examine(source: Path) -> tuple[str, list[str], str]:
    """Read a CSV file once for its separator, its names and its decimal mark, and refuse what pandas would misread."""
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            first, second = _read_record(file), _read_record(file)
            _check_first_line(first, source)
            separator = _find_separator(first, second)
            file.seek(0)
            rows = csv.reader(file, delimiter=separator, skipinitialspace=True)
            names = [" ".join(name.split()) for name in next(rows)]
            _check_names(names, source)
            decimal = _check_rows(rows, names, separator, source)
    except UnicodeDecodeError:
        raise DataError(f"{source.name!r} is not text in UTF-8; save it as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{source.name!r} cannot be read as a table: {error}") from None
    return separator, names, decimal


def _read_record(file: TextIO) -> str:
    """Read a line, and those after it that a line break within quotation marks makes part of it."""
    record = file.readline()
    for _ in range(_LINES_OF_A_HEADER):
        if record.count('"') % 2 == 0:
            break
        record += file.readline()
    return record


def _find_separator(first: str, second: str) -> str:
    """Return the mark that splits two lines into as many fields; failing that, the one that splits the first most."""
    counts = {mark: (_count_fields(first, mark), _count_fields(second, mark)) for mark in _SEPARATORS}
    agreeing = [mark for mark, (one, other) in counts.items() if one == other > 1]
    return agreeing[0] if agreeing else max(reversed(_SEPARATORS), key=lambda mark: counts[mark][0])


def _count_fields(record: str, separator: str) -> int:
    try:
        return len(next(csv.reader(record.splitlines(keepends=True), delimiter=separator, skipinitialspace=True), []))
    except csv.Error:
        # A line without this mark may be longer than any field may be.
        return 1


def _check_first_line(line: str, source: Path) -> None:
    if "\0" in line:
        raise DataError(f"{source.name!r} is not text; it cannot be read as CSV")
    if not line.strip():
        raise DataError(f"the first line of {source.name!r} is blank; it must name the columns")


def _check_names(names: list[str], source: Path) -> None:
    numbers = [name for name in names if _is_number(name.replace(",", "."))]
    # Years make good names; fractions do not, even beside a word: 5.1,3.5,setosa is a row.
    fractions = [name for name in numbers if "." in name or "," in name]
    if fractions or (numbers and len(numbers) == len([name for name in names if name])):
        raise DataError(
            f"the first line of {source.name!r} holds numbers ({', '.join(numbers[:3])}), not names of columns; "
            "add a line with the names"
        )
    if len(names) > _MOST_COLUMNS:
        raise DataError(
            f"{source.name!r} has {len(names):,} columns, and at most {_MOST_COLUMNS:,} can be read; keep those "
            "that are to be fitted"
        )
    seen: set[str] = set()
    for position, name in enumerate(names, start=1):
        if not name and position > 1:
            raise DataError(f"column {position} of {source.name!r} has no name in the first line; name it")
        if name in seen:
            raise DataError(f"{source.name!r} has two columns named {name!r}; rename one of them")
        seen.add(name)


def _check_rows(rows: Any, names: list[str], separator: str, source: Path) -> str:
    """Count the fields of every row against the header, and find the decimal mark."""
    commas = points = 0
    suspects = _words_among_numbers(names)
    for row in rows:
        if not any(field.strip() for field in row):
            continue
        if len(row) != len(names):
            raise DataError(_describe_ragged(len(row), len(names), separator, rows.line_num, source))
        for position, word in suspects:
            if row[position].strip() == word:
                raise DataError(
                    f"the first line of {source.name!r} is a row, not names of columns: {word!r} stands in line "
                    f"{rows.line_num} again; add a line with the names"
                )
        if rows.line_num <= _ROWS_FOR_DECIMAL:
            commas += sum("," in field and _is_number(field.replace(",", ".")) for field in row)
            points += sum("." in field and _is_number(field) for field in row)
            both = sum("." in field and "," in field and _is_number(field.translate(_NO_MARKS)) for field in row)
            commas, points = commas + both, points + both
    if commas and (points or separator == ","):
        # With a comma between fields, only a field in quotes can hold one.
        raise DataError(
            f"{source.name!r} has numbers with commas in them that may be decimal or not; write them like 1234.5"
        )
    return "," if commas else "."


def _words_among_numbers(names: list[str]) -> list[tuple[int, str]]:
    """Return the words of a first line that also has numbers: 5,3,setosa may be a row, and place,2019,2020 names."""
    words = [(position, name) for position, name in enumerate(names) if name and not _is_number(name)]
    return words if len(words) < len([name for name in names if name]) else []


def _describe_ragged(found: int, expected: int, separator: str, line: int, source: Path) -> str:
    mark = "a tab" if separator == "\t" else repr(separator)
    return (
        f"line {line} of {source.name!r} has {found} field{'s' * (found != 1)}, but the first line has {expected} "
        f"(separated by {mark}); every row needs one field for each column"
    )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
