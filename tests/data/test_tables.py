"""Tables of every make hold the same numbers under the same names; what is no table of numbers is refused in words."""

import datetime as dt
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
import xarray as xr

from bayesgmm.data.tables import column_names, read_table
from bayesgmm.errors import ArgumentError, DataError

NUMBERS = np.array([[1.0, -2.0], [3.5, 5.0], [2.0, 0.25], [-4.0, 7.0], [0.5, 8.0]])
N, D = NUMBERS.shape
NAMES = ("height", "width")
FRAME = pd.DataFrame(NUMBERS, columns=NAMES)


def read_only(array):
    array = array.copy()
    array.setflags(write=False)
    return array


def multi_columns(frame):
    return frame.set_axis(pd.MultiIndex.from_tuples([("size", "up"), ("size", "across")]), axis=1)


UNNAMED = {
    "C order": NUMBERS,
    "Fortran order": np.asfortranarray(NUMBERS),
    "strided": np.repeat(NUMBERS, 2, axis=0)[::2],
    "read-only": read_only(NUMBERS),
    "float32": NUMBERS.astype(np.float32),
    "float16": NUMBERS.astype(np.float16),
    "longdouble": NUMBERS.astype(np.longdouble),
    "big-endian": NUMBERS.astype(">f8"),
    "objects": NUMBERS.astype(object),
    "mixed objects": np.array([[Fraction(x), Decimal(str(y))] for x, y in NUMBERS], dtype=object),
    "nothing masked": np.ma.MaskedArray(NUMBERS),
    "lists": NUMBERS.tolist(),
    "tuples": tuple(map(tuple, NUMBERS.tolist())),
    "DataArray": xr.DataArray(NUMBERS),
}
NAMED = {
    "pandas": FRAME,
    "pandas float32": FRAME.astype("float32"),
    "pandas Float64": FRAME.astype("Float64"),
    "pandas pyarrow": FRAME.convert_dtypes(dtype_backend="pyarrow"),
    "polars": pl.from_pandas(FRAME),
    "polars decimal": pl.from_pandas(FRAME).cast(pl.Decimal(scale=3)),
    "pyarrow": pa.Table.from_pandas(FRAME),
    "pyarrow chunks": pa.concat_tables([pa.Table.from_pandas(FRAME[:2]), pa.Table.from_pandas(FRAME[2:])]),
    "DataArray": xr.DataArray(NUMBERS, dims=("row", "column"), coords={"column": list(NAMES)}),
    "Dataset": xr.Dataset({name: ("row", column) for name, column in zip(NAMES, NUMBERS.T, strict=True)}),
}
WHOLE = np.array([[1, 2], [3, 5], [2, 2]])
WHOLE_TABLES = {
    "int8": WHOLE.astype(np.int8),
    "uint64": WHOLE.astype(np.uint64),
    "int objects": WHOLE.astype(object),
    "lists": WHOLE.tolist(),
    "range": [range(1, 3), range(3, 7, 2), (2, 2)],
    "pandas": pd.DataFrame(WHOLE, columns=NAMES),
    "pandas Int64": pd.DataFrame(WHOLE, columns=NAMES, dtype="Int64"),
    "polars": pl.DataFrame(WHOLE, schema=list(NAMES)),
    "pyarrow": pa.table(dict(zip(NAMES, WHOLE.T, strict=True))),
    "DataArray": xr.DataArray(WHOLE),
    "Dataset": xr.Dataset({name: ("row", column) for name, column in zip(NAMES, WHOLE.T, strict=True)}),
}
GAP = (1, 0)  # the one entry that is missing in the tables below
WITH_GAP = {
    "NaN": np.where(np.arange(6).reshape(3, 2) == 2, np.nan, WHOLE),
    "None": [[1, 2], [None, 5], [2, 2]],
    "pandas NA as object": np.array([[1, 2], [pd.NA, 5], [2, 2]], dtype=object),
    "masked": np.ma.MaskedArray(WHOLE, mask=np.arange(6).reshape(3, 2) == 2),
    "masked, infinite beneath": np.ma.MaskedArray([[1, 2], [np.inf, 5], [2, 2]], mask=[[0, 0], [1, 0], [0, 0]]),
    "pandas NaN": pd.DataFrame({"height": [1, None, 2], "width": [2, 5, 2]}),
    "pandas Int64": pd.DataFrame({"height": pd.array([1, None, 2], dtype="Int64"), "width": [2, 5, 2]}),
    "pandas Float64": pd.DataFrame({"height": pd.array([1, None, 2], dtype="Float64"), "width": [2, 5, 2]}),
    "pandas pyarrow": pd.DataFrame({"height": [1, None, 2], "width": [2, 5, 2]}).convert_dtypes(
        dtype_backend="pyarrow"
    ),
    "polars null": pl.DataFrame({"height": [1, None, 2], "width": [2, 5, 2]}),
    "polars NaN": pl.DataFrame({"height": [1.0, float("nan"), 2.0], "width": [2, 5, 2]}),
    "pyarrow": pa.table({"height": [1, None, 2], "width": [2, 5, 2]}),
    "DataArray": xr.DataArray([[1, 2], [np.nan, 5], [2, 2]]),
}
ONE_COLUMN = {
    "array": (NUMBERS[:, 0], "x0"),
    "list": (NUMBERS[:, 0].tolist(), "x0"),
    "pandas": (FRAME["height"], "height"),
    "pandas without name": (FRAME["height"].rename(None), "x0"),
    "pandas, number for name": (FRAME["height"].rename(5), "5"),
    "pandas, zero for name": (FRAME["height"].rename(0), "0"),
    "pandas, levels for name": (multi_columns(FRAME).iloc[:, 0], "size up"),
    "polars": (pl.from_pandas(FRAME)["height"], "height"),
    "polars without name": (pl.Series(NUMBERS[:, 0]), "x0"),
    "pyarrow array": (pa.array(NUMBERS[:, 0]), "x0"),
    "pyarrow chunks": (pa.chunked_array([NUMBERS[:2, 0], NUMBERS[2:, 0]]), "x0"),
    "DataArray": (xr.DataArray(NUMBERS[:, 0], name="height"), "height"),
    "DataArray without name": (xr.DataArray(NUMBERS[:, 0], dims="feature"), "x0"),
}


def assert_table(found, values, names):
    assert found.features == tuple(names)
    assert found.values.dtype == np.float64
    np.testing.assert_array_equal(found.values, values)
    assert found.rows.shape == (len(values),)


class TestEveryMake:
    @pytest.mark.parametrize("make", UNNAMED)
    def test_without_names(self, make):
        found = read_table(UNNAMED[make])
        assert_table(found, NUMBERS, ("x0", "x1"))
        assert not found.has_names
        assert column_names(UNNAMED[make]) == ()

    @pytest.mark.parametrize("make", NAMED)
    def test_with_names(self, make):
        found = read_table(NAMED[make])
        assert_table(found, NUMBERS, NAMES)
        assert found.has_names
        assert column_names(NAMED[make]) == NAMES

    @pytest.mark.parametrize("make", WHOLE_TABLES)
    def test_whole_numbers(self, make):
        found = read_table(WHOLE_TABLES[make])
        assert_table(found, WHOLE, NAMES if found.has_names else ("x0", "x1"))

    @pytest.mark.parametrize("make", WITH_GAP)
    def test_what_is_missing_is_nan(self, make):
        expected = WHOLE.astype(float)
        expected[GAP] = np.nan
        np.testing.assert_array_equal(read_table(WITH_GAP[make]).values, expected)

    @pytest.mark.parametrize("make", ONE_COLUMN)
    def test_one_column(self, make):
        table, name = ONE_COLUMN[make]
        found = read_table(table)
        assert_table(found, NUMBERS[:, :1], (name,))
        assert column_names(table) == ((name,) if found.has_names else ())
        assert found.has_names == ("without" not in make and name != "x0")

    @pytest.mark.parametrize("make", ["C order", "Fortran order", "read-only", "DataArray"])
    def test_the_values_are_a_copy_that_the_caller_does_not_share(self, make):
        found = read_table(UNNAMED[make])
        assert found.values.flags.writeable
        assert not np.shares_memory(found.values, np.asarray(UNNAMED[make]))

    def test_the_caller_s_frame_keeps_its_names(self):
        frame = pd.DataFrame(NUMBERS, columns=[1, 0])
        read_table(frame)
        assert list(frame.columns) == [1, 0]


class TestNames:
    def test_whole_numbers_as_names(self):
        assert read_table(pd.DataFrame(NUMBERS, columns=[10, 20])).features == ("10", "20")

    def test_levels_are_joined(self):
        assert read_table(multi_columns(FRAME)).features == ("size up", "size across")

    def test_any_text_is_a_name(self):
        names = ["Größe [cm], links", "重さ"]
        assert read_table(FRAME.set_axis(names, axis=1)).features == tuple(names)

    @pytest.mark.parametrize(
        "table",
        [
            FRAME.set_axis(["a", "a"], axis=1),
            FRAME.set_axis([1, "1"], axis=1),
            pa.table([[1, 2], [3, 4]], names=["a", "a"]),
            xr.DataArray(NUMBERS, dims=("row", "column"), coords={"column": ["a", "a"]}),
        ],
        ids=["pandas", "number and text", "pyarrow", "DataArray"],
    )
    def test_a_repeated_name_is_refused(self, table):
        with pytest.raises(DataError, match=r"^two columns are named '(a|1)'; rename one of them$"):
            read_table(table)


class TestColumns:
    @pytest.mark.parametrize("make", NAMED)
    def test_are_picked_by_name_in_the_order_given(self, make):
        assert_table(read_table(NAMED[make], ["width", "height"]), NUMBERS[:, ::-1], ("width", "height"))
        assert_table(read_table(NAMED[make], "width"), NUMBERS[:, 1:], ("width",))

    @pytest.mark.parametrize("make", ["C order", "lists", "objects", "DataArray"])
    @pytest.mark.parametrize("columns", [["x1"], "x1", [1], 1, np.array([1])])
    def test_without_names_also_by_number(self, make, columns):
        assert_table(read_table(UNNAMED[make], columns), NUMBERS[:, 1:], ("x1",))

    def test_a_number_that_is_a_name_is_the_name(self):
        frame = pd.DataFrame(NUMBERS, columns=[1, 0])
        assert_table(read_table(frame, [0]), NUMBERS[:, 1:], ("0",))
        assert_table(read_table(frame.set_axis([10, 20], axis=1), [20, 10]), NUMBERS[:, ::-1], ("20", "10"))

    def test_levels(self):
        found = read_table(multi_columns(FRAME), [("size", "across")])
        assert_table(found, NUMBERS[:, 1:], ("size across",))

    @pytest.mark.parametrize("make", ["pandas", "polars", "pyarrow"])
    def test_others_are_not_looked_at(self, make):
        frame = FRAME.assign(name="text", when=pd.Timestamp("2020-01-01"))
        table = {"pandas": frame, "polars": pl.from_pandas(frame), "pyarrow": pa.Table.from_pandas(frame)}[make]
        assert_table(read_table(table, NAMES), NUMBERS, NAMES)

    def test_others_of_a_dataset_are_not_looked_at(self):
        dataset = NAMED["Dataset"].assign(name=("row", list("abcde")), matrix=(("p", "q"), np.eye(2)))
        assert_table(read_table(dataset, NAMES), NUMBERS, NAMES)

    @pytest.mark.parametrize("make", NAMED)
    @pytest.mark.parametrize("absent", ["weight", 0])
    def test_an_absent_one_is_named_with_those_that_are_there(self, make, absent):
        with pytest.raises(DataError, match=f"^no column named {absent!r}; the table has height, width$"):
            read_table(NAMED[make], ["width", absent])

    @pytest.mark.parametrize("columns", [[2], 2, 1.5, [None]])
    def test_a_number_beyond_the_last(self, columns):
        with pytest.raises(DataError, match=r"no column named .*; the table has x0, x1"):
            read_table(NUMBERS, columns)

    @pytest.mark.parametrize("table", [FRAME, NUMBERS])
    def test_none_or_one_twice_is_refused(self, table):
        with pytest.raises(ArgumentError, match="columns is empty; name at least one column or leave it out"):
            read_table(table, [])
        name = column_names(table)[0] if column_names(table) else "x0"
        with pytest.raises(ArgumentError, match=f"columns names '{name}' more than once"):
            read_table(table, [name, name])

    def test_one_twice_under_two_names_is_refused(self):
        with pytest.raises(ArgumentError, match="columns names 'x0' more than once"):
            read_table(NUMBERS, ["x0", 0])


class TestRows:
    @pytest.mark.parametrize(
        ("index", "expected"),
        [
            ([30, 10, 20, 50, 40], [30, 10, 20, 50, 40]),
            (list("abcde"), list("abcde")),
            ([0.5, 1.5, 2.5, 3.5, 4.5], ["0.5", "1.5", "2.5", "3.5", "4.5"]),
            (pd.MultiIndex.from_product([["a"], range(5)]), [f"('a', {i})" for i in range(5)]),
            (pd.date_range("2020-01-01", periods=5), [f"2020-01-0{i}T00:00:00.000000000" for i in range(1, 6)]),
        ],
        ids=["numbers", "text", "fractions", "levels", "dates"],
    )
    def test_pandas_index(self, index, expected):
        labels = read_table(FRAME.set_axis(index, axis=0)).rows
        assert labels.dtype.kind in "iuU"
        assert [str(label)[:19] for label in labels] == [str(label)[:19] for label in expected]
        np.testing.assert_array_equal(read_table(FRAME.set_axis(index, axis=0)["height"]).rows, labels)

    @pytest.mark.parametrize("make", ["pandas", "polars", "pyarrow", "DataArray", "Dataset"])
    def test_otherwise_they_are_numbered(self, make):
        np.testing.assert_array_equal(read_table(NAMED[make]).rows, np.arange(N))

    @pytest.mark.parametrize("labels", [list("abcde"), [5, 4, 3, 2, 1]])
    def test_xarray_coordinates(self, labels):
        for table in (NAMED["DataArray"], NAMED["Dataset"], NAMED["DataArray"][:, 0]):
            np.testing.assert_array_equal(read_table(table.assign_coords(row=labels)).rows, labels)


TEXT = np.array([["a", "b"], ["c", "d"]])
DATES = np.array([["2020-01-01", "2020-01-02"]], dtype="M8[D]")


class TestRefusals:
    @pytest.mark.parametrize(
        ("table", "match"),
        [
            (TEXT, "the table holds text values; it needs real numbers, so convert them"),
            (TEXT.tolist(), "holds text values"),
            (TEXT.astype("T"), "holds text values"),
            (TEXT.astype("S"), "holds bytes values"),
            ([["1", "2"]], "holds text values"),
            (np.ones((3, 2), dtype=bool), "holds boolean values"),
            (1j * NUMBERS, "holds complex values"),
            (DATES, "holds date values"),
            (DATES - DATES[0, 0], "holds time difference values"),
            (np.zeros(3, dtype=[("a", float), ("b", int)]), "holds record values"),
            (np.array([[1, "2"]], dtype=object), r"the table holds '2' \(str\); it needs real numbers"),
            (np.array([[1, True]], dtype=object), r"holds True \(bool\)"),
            (np.array([[1, np.True_]], dtype=object), r"holds np.True_ \(bool\)"),
            (np.array([[1, 2j]], dtype=object), r"holds 2j \(complex\)"),
            (np.array([[1, dt.date(2020, 1, 1)]], dtype=object), r"holds datetime.date.* \(date\)"),
            (np.array([[1, pd.NaT]], dtype=object), r"holds NaT \(NaTType\)"),
            ([{"a": 1}], r"holds {'a': 1} \(dict\)"),
            ([[1, 2], [3]], "the table is not rectangular"),
            (np.zeros((2, 2, 2)), r"this array has 3 dimensions, shape \(2, 2, 2\)"),
            (np.array(3.0), "expected a table of numbers, found ndarray"),
            (3.0, "expected a table of numbers, found float"),
            (None, "expected a table of numbers, found NoneType"),
            ("faithful.csv", "expected a table of numbers, found str; read it into a table first"),
            (Path("faithful.csv"), "expected a table of numbers, found PosixPath; read it into a table first"),
            ({"a": [1, 2]}, "expected a table of numbers, found dict"),
            ((x for x in range(3)), "expected a table of numbers, found generator"),
            (pl.LazyFrame({"a": [1.0]}), r"LazyFrame is not computed yet; pass table.collect\(\)"),
            (scipy.sparse.csr_array(NUMBERS), r"sparse matrices are not supported.*pass table.toarray\(\)"),
            (scipy.sparse.coo_matrix(NUMBERS), "sparse matrices are not supported"),
            (np.empty((3, 0)), "the table has no columns"),
            (pd.DataFrame(index=range(3)), "the table has no columns"),
            (
                xr.DataArray(np.zeros((2, 2, 2))),
                r"dimensions \(rows, columns\); this one has \('dim_0', 'dim_1', 'dim_2'\)",
            ),
            (xr.DataArray(1.0), "dimensions"),
            (xr.DataArray(TEXT), "the table holds text values"),
            (xr.Dataset({"a": ("p", [1.0]), "b": ("q", [1.0])}), "must share one dimension; found p, q"),
            (xr.Dataset({"a": (("p", "q"), [[1.0]])}), "must share one dimension; found p, q"),
            (xr.Dataset({"a": ("p", ["x"]), "b": ("p", [1.0])}), "column 'a' holds text values"),
            (xr.Dataset({"a": ("p", [1.0]), "b": ("p", [True])}), "column 'b' holds boolean values"),
        ],
    )
    def test_what_is_no_table_of_numbers(self, table, match):
        with pytest.raises(DataError, match=match):
            read_table(table)

    @pytest.mark.parametrize(
        "column",
        [
            ["a", "b", "c"],
            [True, False, True],
            [1j, 2j, 3j],
            pd.to_datetime(["2020-01-01"] * 3),
            pd.to_timedelta([1, 2, 3]),
            pd.Categorical([1, 2, 3]),
            pd.Series([1, 2.5, None], dtype=object),
            pd.array(["a", None, "b"], dtype="string"),
        ],
        ids=["text", "bool", "complex", "date", "timedelta", "categorical", "object", "string"],
    )
    def test_a_column_that_is_not_numeric_is_named_with_the_remedy(self, column):
        frame = pd.DataFrame({"height": [1.0, 2.0, 3.0], "odd": column})
        with pytest.raises(
            DataError, match=r"column 'odd' is not numeric \(it holds .*\); convert it, or name the numeric columns"
        ):
            read_table(frame)
        with pytest.raises(DataError, match=r"column 'odd' is not numeric .*; convert it$"):
            read_table(frame, ["height", "odd"])

    @pytest.mark.parametrize("column", [["a", "b"], [True, False], [dt.date(2020, 1, 1)] * 2, [[1], [2]]])
    def test_a_column_of_polars_or_arrow_likewise(self, column):
        for table in (pl.DataFrame({"odd": column}), pa.table({"odd": column})):
            with pytest.raises(DataError, match="column 'odd' is not numeric"):
                read_table(table)
