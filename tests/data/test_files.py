"""Files: read rightly in every dialect that was tried, or refused in a sentence."""

import numpy as np
import pandas as pd
import pytest

from bayesgmm.data.files import read_file
from bayesgmm.errors import DataError

EXPECTED = pd.DataFrame({"width": [1.5, -2.25, 3.0], "height": [10.0, 20.5, 30.0]})


@pytest.fixture
def write(tmp_path):
    def write_text(text, name="table.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
        return path

    return write_text


class TestDialects:
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("width,height\n1.5,10\n-2.25,20.5\n3,30\n", "a.csv"),
            ("width, height\n1.5, 10\n-2.25, 20.5\n3, 30", "a.csv"),
            ("\ufeffwidth,height\r\n1.5,10\r\n-2.25,20.5\r\n\r\n3,30\r\n", "a.csv"),
            ("width;height\n1,5;10\n-2,25;20,5\n3;30\n", "a.csv"),
            ("width;height\n1.5;10\n-2.25;20.5\n3;30\n", "a.CSV"),
            ("width\theight\n1.5\t10\n-2.25\t20.5\n3\t30\n", "a.tsv"),
            ('"width"|"height"\n1.5|10\n-2.25|20.5\n3|30\n', "a.txt"),
        ],
    )
    def test_separators_and_decimal_marks(self, write, text, name):
        pd.testing.assert_frame_equal(read_file(write(text, name)), EXPECTED, check_dtype=False)

    def test_a_separator_inside_quotes_is_none(self, write):
        table = read_file(write('"width, at the top";height\n1,5;2\n3,5;4\n'))
        assert list(table.columns) == ["width, at the top", "height"]
        np.testing.assert_array_equal(table.to_numpy(), [[1.5, 2], [3.5, 4]])

    def test_a_comma_in_names_is_no_separator(self, write):
        table = read_file(write("price, EUR;amount, kg\n1,5;2\n"))
        assert list(table.columns) == ["price, EUR", "amount, kg"]

    @pytest.mark.parametrize("labels", [[3, 1, 2], ["a", "b", "c"]])
    def test_row_labels_that_pandas_wrote_are_no_data(self, tmp_path, labels):
        table = EXPECTED.set_axis(labels)
        table.to_csv(tmp_path / "a.csv")
        pd.testing.assert_frame_equal(read_file(tmp_path / "a.csv"), table)

    def test_missing_values_and_words(self, write):
        table = read_file(write("a,b,word\n1,,x\nNA,2,y\n"))
        assert table["a"].isna().tolist() == [False, True]
        assert table["b"].isna().tolist() == [True, False]
        assert table["word"].tolist() == ["x", "y"]

    def test_years_may_be_names(self, write):
        assert list(read_file(write("place,2019,2020\nx,1,2\n")).columns) == ["place", "2019", "2020"]

    def test_one_column(self, write):
        assert read_file(write("a\n1\n2\n"))["a"].tolist() == [1, 2]

    def test_parquet(self, tmp_path):
        pytest.importorskip("pyarrow")
        EXPECTED.to_parquet(tmp_path / "a.parquet")
        pd.testing.assert_frame_equal(read_file(str(tmp_path / "a.parquet")), EXPECTED)


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "'table.csv' is empty"),
            ("\n1,2\n", "first line .* is blank"),
            ("a,b\n", "has column names but no rows"),
            ("a,b\n1,2\n3\n", "line 3 .* has 1 field, but the first line has 2"),
            ("a,b\n1,2,3\n4,5,6\n", "line 2 .* has 3 fields, but the first line has 2"),
            ("a\tb\n1\n", "separated by a tab"),
            ("1.5,2\n3,4\n", "holds numbers .*, not names"),
            ("5.1,3.5,setosa\n4.9,3.0,setosa\n", "holds numbers"),
            ("5,1;3,5\n4,9;3,0\n", "holds numbers"),
            ("a,a\n1,2\n", "two columns named 'a'"),
            ("a,,c\n1,2,3\n", "column 2 .* has no name"),
            ('a,b\n"1,5",2\n', "commas in them that may be decimal or not"),
            ("a;b\n1,234;2.5\n", "commas in them that may be decimal or not"),
            ("a,b\0\n1,2\n", "is not text"),
            ('a,b\n1,"2\n3,4\n', "cannot be read as a table"),
        ],
    )
    def test_csv(self, write, text, said):
        with pytest.raises(DataError, match=said):
            read_file(write(text))

    @pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
    def test_other_encodings(self, write, encoding):
        with pytest.raises(DataError, match="not text in UTF-8"):
            read_file(write("größe,b\n1,2\n", encoding=encoding))

    def test_no_file(self, tmp_path):
        with pytest.raises(DataError, match="there is no file"):
            read_file(tmp_path / "absent.csv")

    def test_a_folder(self, tmp_path):
        with pytest.raises(DataError, match="is a folder"):
            read_file(tmp_path)

    def test_other_kinds(self, write):
        with pytest.raises(DataError, match=r"does not end in \.csv"):
            read_file(write("PK", "table.xlsx"))

    @pytest.mark.parametrize("content", [b"PAR1 and no more", b"a,b\n1,2\n"])
    def test_damaged_parquet(self, write, content):
        pytest.importorskip("pyarrow")
        with pytest.raises(DataError, match="is not a Parquet file"):
            read_file(write(content, "a.parquet"))
