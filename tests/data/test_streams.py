"""Streams of every make give the same rows; the first pass finds what `prepare` finds, and draws a fair sample."""

import resource

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from bayesgmm.data import chunks as chunks_module
from bayesgmm.data.chunks import Workers, chunk_rows
from bayesgmm.data.memory import available_memory, memory_for_rows
from bayesgmm.data.prepare import PreparedData, prepare, prepare_or_open
from bayesgmm.data.streams import is_stream, open_stream
from bayesgmm.data.survey import survey
from bayesgmm.errors import ArgumentError, DataError
from bayesgmm.structure import STRUCTURES
from tests.tolerances import ALGEBRA, EXACT, assert_close

RNG = np.random.default_rng(4)
N, D = 1000, 3
ROWS = RNG.normal(size=(N, D)) * [1.0, 10.0, 0.1] + [1e6, 5.0, -3.0]
WEIGHTS = RNG.gamma(2.0, size=N)
WEIGHTS[::9] = 0.0
NAMES = ["a", "b", "c"]
MAKES = ["map", "parquet", "folder", "dataset", "dask array", "dask array of unknown sizes", "dask dataframe"]
HERE = Workers()


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    """Chunks of 64 rows."""
    monkeypatch.setattr(chunks_module, "_ROWS_PER_STEP", 64)
    monkeypatch.setattr(chunks_module, "_CHUNK_BYTES", 64 * 8 * D)


def as_map(path, array):
    mapped = np.memmap(path, dtype=array.dtype, mode="w+", shape=array.shape)
    mapped[:] = array
    mapped.flush()
    return np.memmap(path, dtype=array.dtype, mode="r", shape=array.shape)


def make(kind, folder, rows=ROWS, weights=None):
    """Return data of a kind, and weights in the form that go with it."""
    frame = pd.DataFrame(rows, columns=NAMES)
    table = frame if weights is None else frame.assign(w=weights)
    if kind == "map":
        return as_map(folder / "rows.dat", rows), weights
    if kind == "dask array":
        return da.from_array(rows, chunks=(300, 2)), weights
    if kind == "dask array of unknown sizes":
        parts = dd.from_pandas(frame, npartitions=4)
        unknown = None if weights is None else dd.from_pandas(pd.Series(weights), npartitions=4).to_dask_array()
        return parts.to_dask_array(), unknown
    name = None if weights is None else "w"
    if kind == "dask dataframe":
        return dd.from_pandas(table, npartitions=4), name
    if kind == "folder":
        for number, part in enumerate(np.array_split(np.arange(len(table)), 3)):
            (folder / "parts").mkdir(exist_ok=True)
            table.iloc[part].reset_index(drop=True).to_parquet(folder / "parts" / f"{number}.parquet")
        return str(folder / "parts"), name
    path = folder / "rows.parquet"
    table.to_parquet(path, row_group_size=150)
    return (ds.dataset(path) if kind == "dataset" else path), name


def opened(kind, folder, rows=ROWS, weights=None, **options):
    data, with_weights = make(kind, folder, rows, weights)
    return open_stream(data, sample_weight=with_weights, **options)


def surveyed(stream, n_sample=100, seed=0, workers=HERE):
    return survey(stream, n_sample, seed, workers)


class TestMakes:
    @pytest.mark.parametrize("kind", MAKES)
    def test_gives_the_rows_in_chunks(self, kind, tmp_path):
        stream = opened(kind, tmp_path)
        found = stream.fold(lambda chunk: [chunk], lambda first, second: first + second, HERE)
        assert len(found) > 10
        assert max(len(chunk.values) for chunk in found) <= chunk_rows(D)
        assert len({chunk.number for chunk in found}) == len(found)
        np.testing.assert_array_equal(np.concatenate([chunk.values for chunk in found]), ROWS)
        assert stream.features == (("x0", "x1", "x2") if "map" in kind or "array" in kind else tuple(NAMES))

    @pytest.mark.parametrize("kind", MAKES)
    def test_weights_go_with_their_rows(self, kind, tmp_path):
        stream = opened(kind, tmp_path, weights=WEIGHTS)
        np.testing.assert_array_equal(stream.read_weights(), WEIGHTS)
        np.testing.assert_array_equal(stream.read().values, ROWS)

    @pytest.mark.parametrize("kind", MAKES)
    def test_columns_are_picked(self, kind, tmp_path):
        names = [2, 0] if "map" in kind or "array" in kind else ["c", "a"]
        stream = open_stream(make(kind, tmp_path)[0], names)
        np.testing.assert_array_equal(stream.read().values, ROWS[:, [2, 0]])

    @pytest.mark.parametrize("kind", MAKES)
    def test_is_a_stream_and_can_be_read_whole(self, kind, tmp_path):
        data, weights = make(kind, tmp_path, weights=WEIGHTS)
        assert is_stream(data)
        prepared = prepare(data, sample_weight=weights)
        np.testing.assert_array_equal(prepared.values, ROWS)
        np.testing.assert_array_equal(prepared.sample_weight, WEIGHTS)

    @pytest.mark.parametrize("other", [ROWS, ROWS.tolist(), pd.DataFrame(ROWS), pa.table({"a": [1.0]}), "a.csv", None])
    def test_what_is_no_stream(self, other):
        assert not is_stream(other)
        with pytest.raises(DataError, match=r"chunk by chunk; pass a numpy.memmap, the path of a Parquet file"):
            open_stream(other)

    @pytest.mark.parametrize("dtype", ["float32", ">f8", "int16", "float16"])
    def test_maps_of_other_numbers(self, dtype, tmp_path):
        rows = np.arange(600).reshape(200, 3).astype(dtype)
        values = open_stream(as_map(tmp_path / "x", rows)).read().values
        assert values.dtype == (np.float32 if dtype in ("float32", "float16") else np.float64)
        np.testing.assert_array_equal(values, rows)

    def test_one_column_without_a_second_dimension(self, tmp_path):
        assert open_stream(as_map(tmp_path / "x", ROWS[:, 0])).features == ("x0",)
        assert open_stream(da.from_array(ROWS[:, 0], chunks=100)).features == ("x0",)
        assert open_stream(dd.from_pandas(pd.Series(ROWS[:, 0], name="a"), npartitions=2)).features == ("a",)

    def test_single_precision_in_parquet_stays_so(self, tmp_path):
        pd.DataFrame(ROWS.astype(np.float32), columns=NAMES).to_parquet(tmp_path / "x.parquet")
        assert open_stream(tmp_path / "x.parquet").read().values.dtype == np.float32

    def test_row_labels_of_pandas_are_no_column(self, tmp_path):
        pd.DataFrame(ROWS, columns=NAMES, index=np.arange(N) + 7).to_parquet(tmp_path / "x.parquet")
        assert open_stream(tmp_path / "x.parquet").features == tuple(NAMES)

    def test_whole_numbers_with_gaps_and_decimals(self, tmp_path):
        table = pa.table({"a": pa.array([1, None, 3]), "b": pa.array(["1.5", "2.5", "3"]).cast(pa.decimal128(4, 1))})
        pq.write_table(table, tmp_path / "x.parquet")
        found = open_stream(tmp_path / "x.parquet").read().values
        np.testing.assert_array_equal(found, [[1.0, 1.5], [np.nan, 2.5], [3.0, 3.0]])

    def test_an_open_stream_is_returned_as_it_is(self, tmp_path):
        stream = opened("map", tmp_path)
        assert open_stream(stream) is stream
        with pytest.raises(ArgumentError, match="the stream is open already"):
            open_stream(stream, missing="drop")

    def test_repr(self, tmp_path):
        assert repr(opened("map", tmp_path)) == "a memory map: 1000 rows x 3 columns: x0, x1, x2"
        expected = "a Dask dataframe: an unknown number of rows x 3 columns: a, b, c"
        assert repr(opened("dask dataframe", tmp_path)) == expected

    def test_pages_of_a_private_map_keep_their_changes(self, tmp_path, monkeypatch):
        monkeypatch.setattr("bayesgmm.data.streams._RELEASE_EVERY", 1)
        as_map(tmp_path / "x", ROWS)
        private = np.memmap(tmp_path / "x", dtype=float, mode="c", shape=ROWS.shape)
        private[5] = 7.0
        open_stream(private).read()
        assert np.all(private[5] == 7.0)


class TestSurvey:
    @pytest.mark.parametrize("kind", MAKES)
    @pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
    def test_moments_are_those_of_the_whole(self, kind, weights, tmp_path):
        stream = opened(kind, tmp_path, weights=weights)
        found = surveyed(stream)
        found.check(stream)
        prepared = prepare(ROWS, sample_weight=weights)
        for code in ("VVV", "VII"):
            scaling, expected = found.scaling("auto", STRUCTURES[code]), prepared.scaling(STRUCTURES[code])
            np.testing.assert_allclose(scaling.shift, expected.shift, rtol=EXACT)
            np.testing.assert_allclose(scaling.scale, expected.scale, rtol=ALGEBRA)
        assert_close(found.moments.scatter, np.cov(ROWS.T, aweights=weights, bias=True) * found.total_weight, ALGEBRA)
        assert_close(found.total_weight, prepared.effective_rows, EXACT)
        assert found.n_rows == (N if weights is None else np.count_nonzero(WEIGHTS))

    @pytest.mark.parametrize("kind", MAKES)
    def test_missing_values_are_refused_as_prepare_does(self, kind, tmp_path):
        rows = ROWS.copy()
        rows[[2, 700, *range(800, 810)], 1] = np.nan
        rows[4, 2] = np.nan
        stream = opened(kind, tmp_path, rows)
        b, c = stream.features[1:]
        with pytest.raises(DataError) as caught:
            surveyed(stream).check(stream)
        assert str(caught.value) == (
            f"column {b!r} has 12 missing values (rows 2, 700, 800, 801, 802, ...); column {c!r} has 1 missing value "
            "(row 4); pass missing='drop' to leave these rows out, or fill them"
        )

    def test_missing_values_are_dropped(self, tmp_path):
        rows = ROWS.copy()
        rows[RNG.random(N) < 0.3, 1] = np.nan
        stream = opened("map", tmp_path, rows, missing="drop")
        found = surveyed(stream)
        found.check(stream)
        expected = prepare(rows, missing="drop")
        assert (found.n_rows, found.n_incomplete) == (expected.n_rows, expected.n_dropped)
        np.testing.assert_allclose(
            found.scaling("auto", STRUCTURES["VVV"]).scale, expected.scaling(STRUCTURES["VVV"]).scale, rtol=ALGEBRA
        )

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda rows, _: rows.__setitem__((900, 1), np.inf), r"column 'x1' has 1 infinite value \(row 900\); repl"),
            (lambda rows, _: rows[:, 2].fill(3.5), r"column 'x2' is constant \(every value is 3.5\)"),
            (lambda rows, _: rows.fill(np.nan), "every row has a missing value"),
            (lambda _, w: w.__setitem__(3, -2.5), "must not be negative; the smallest is -2.5"),
            (lambda _, w: w.__setitem__([3, 9], np.nan), "sample_weight has 2 values that are NaN or infinite"),
            (lambda _, w: w.fill(0.0), "every sample_weight is zero"),
            (lambda _, w: w.fill(1e308), "the sum of sample_weight overflows"),
        ],
    )
    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    def test_what_cannot_be_fitted_is_refused(self, change, message, tmp_path):
        rows, weights = ROWS.copy(), WEIGHTS.copy()
        change(rows, weights)
        stream = opened("map", tmp_path, rows, weights, missing="drop")
        with pytest.raises(DataError, match=message):
            surveyed(stream).check(stream)

    def test_no_rows(self, tmp_path):
        pd.DataFrame(ROWS[:0], columns=NAMES).to_parquet(tmp_path / "x.parquet")
        empty = dd.from_pandas(pd.DataFrame(ROWS, columns=NAMES), npartitions=3)
        for data in (tmp_path / "x.parquet", empty[empty["a"] > 1e9]):
            with pytest.raises(DataError, match="the table has no rows"):
                surveyed(open_stream(data))

    def test_parts_without_rows_are_passed_over(self):
        frame = dd.from_pandas(pd.DataFrame(ROWS, columns=NAMES), npartitions=5)
        assert surveyed(open_stream(frame[frame["a"] > 1e6])).n_rows == np.sum(ROWS[:, 0] > 1e6)


class TestSample:
    def test_holds_rows_with_their_numbers_and_weights(self, tmp_path):
        stream = opened("map", tmp_path, weights=WEIGHTS)
        sample = surveyed(stream, 100).sampled(stream)
        assert sample.n_rows == 100
        assert np.all(np.diff(sample.rows) > 0)
        np.testing.assert_array_equal(sample.values, ROWS[sample.rows])
        np.testing.assert_array_equal(sample.sample_weight, WEIGHTS[sample.rows])
        part = surveyed(stream, 100).sampled(stream, 10)
        assert set(part.rows) < set(sample.rows)

    def test_holds_all_rows_where_they_are_few(self, tmp_path):
        stream = opened("map", tmp_path)
        np.testing.assert_array_equal(surveyed(stream, N).sampled(stream).values, ROWS)

    def test_is_fair(self, tmp_path):
        stream = opened("map", tmp_path)
        times = np.zeros(N)
        for seed in range(200):
            times[surveyed(stream, 50, seed).sampled(stream).rows] += 1
        # Every row is drawn 10 times of 200 on average; sums over a tenth of the rows lie within 4 standard errors.
        sums = times.reshape(10, -1).sum(axis=1)
        assert np.all(np.abs(sums - 1000) < 4 * np.sqrt(1000 * 0.95))
        assert times.min() > 0

    def test_does_not_depend_on_threads(self, tmp_path):
        from concurrent.futures import ThreadPoolExecutor

        stream = opened("map", tmp_path)
        with ThreadPoolExecutor(3) as pool:
            shared = surveyed(stream, workers=Workers(pool, 3))
        alone = surveyed(stream)
        np.testing.assert_array_equal(shared.sampled(stream).values, alone.sampled(stream).values)
        np.testing.assert_array_equal(shared.moments.scatter, alone.moments.scatter)


class TestRefusals:
    def test_columns_that_are_no_numbers(self, tmp_path):
        frame = pd.DataFrame(ROWS, columns=NAMES).assign(kind="x")
        frame.to_parquet(tmp_path / "x.parquet")
        for data in (tmp_path / "x.parquet", dd.from_pandas(frame, npartitions=2)):
            with pytest.raises(DataError, match="column 'kind' is not numeric"):
                open_stream(data)
            assert open_stream(data, NAMES).features == tuple(NAMES)

    def test_files_that_are_not_there_or_no_parquet(self, tmp_path):
        with pytest.raises(DataError, match="there is no file"):
            open_stream(tmp_path / "x.parquet")
        (tmp_path / "y.parquet").write_text("a,b\n1,2\n")
        with pytest.raises(DataError, match=r"'y.parquet' is not a Parquet file, or is damaged"):
            open_stream(tmp_path / "y.parquet")
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match="is a folder without Parquet files"):
            open_stream(tmp_path / "empty")

    def test_files_of_a_folder_must_agree(self, tmp_path):
        pd.DataFrame(ROWS, columns=NAMES).to_parquet(tmp_path / "a.parquet")
        pd.DataFrame(ROWS, columns=["a", "b", "d"]).to_parquet(tmp_path / "b.parquet")
        with pytest.raises(DataError, match=r"'b.parquet' has other columns than 'a.parquet'"):
            open_stream(tmp_path)

    def test_arrays_of_wrong_shape(self, tmp_path):
        cube = np.zeros((4, 2, 2))
        for data in (as_map(tmp_path / "x", cube), da.from_array(cube)):
            with pytest.raises(DataError, match="has 3 dimensions, shape"):
                open_stream(data)

    def test_types_that_are_no_numbers(self, tmp_path):
        flags = ROWS > 0
        for data in (as_map(tmp_path / "x", flags), da.from_array(flags)):
            with pytest.raises(DataError, match="holds boolean values"):
                open_stream(data)

    @pytest.mark.parametrize("kind", MAKES)
    def test_missing_values_cannot_be_marginalised(self, kind, tmp_path):
        with pytest.raises(ArgumentError, match="missing='marginalize' needs all rows in memory"):
            opened(kind, tmp_path, missing="marginalize")

    @pytest.mark.parametrize(("argument", "value"), [("scale", "all"), ("missing", "ignore")])
    def test_unknown_choices(self, argument, value, tmp_path):
        with pytest.raises(ArgumentError, match=f"{argument}='{value}' is not known"):
            opened("map", tmp_path, **{argument: value})

    def test_weights_that_do_not_fit(self, tmp_path):
        for kind in ("map", "parquet", "dask array"):
            with pytest.raises(DataError, match=r"one weight for each of the 1000 rows"):
                open_stream(make(kind, tmp_path)[0], sample_weight=np.ones(7))
        for kind in ("map", "dask array"):
            with pytest.raises(ArgumentError, match="has no named columns; pass an array"):
                open_stream(make(kind, tmp_path)[0], sample_weight="w")
        with pytest.raises(ArgumentError, match="the name of a column"):
            open_stream(make("dask dataframe", tmp_path)[0], sample_weight=np.ones(N))
        with pytest.raises(ArgumentError, match="unknown sizes"):
            open_stream(make("dask array of unknown sizes", tmp_path)[0], sample_weight=np.ones(N))
        with pytest.raises(DataError, match="no column named 'w'"):
            open_stream(make("parquet", tmp_path)[0], sample_weight="w")


class TestMemory:
    def test_what_fits_is_read_and_what_does_not_is_opened(self, tmp_path):
        mapped = make("map", tmp_path)[0]
        assert isinstance(prepare_or_open(mapped), PreparedData)
        found = prepare_or_open(mapped, missing="drop", max_memory=20_000)
        assert is_stream(found)
        assert found.about.missing == "drop"
        assert isinstance(prepare_or_open(ROWS, max_memory=20_000), PreparedData)
        assert is_stream(prepare_or_open(make("dask array", tmp_path)[0]))
        assert isinstance(prepare_or_open(open_stream(mapped)), PreparedData)

    @pytest.mark.parametrize("wrong", [0, -5, "1GB", True, np.nan])
    def test_a_size_is_a_positive_number(self, wrong):
        with pytest.raises(ArgumentError, match=r"max_memory=.* must be a positive number of bytes"):
            memory_for_rows(wrong)

    @pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_DATA"])
    def test_limits_of_the_process_count(self, name, monkeypatch):
        before, real = available_memory(), resource.getrlimit
        assert before > 0
        limited = getattr(resource, name)
        # So little that whatever the process has taken already is more than that.
        monkeypatch.setattr(resource, "getrlimit", lambda what: (2**20, 2**20) if what == limited else real(what))
        assert available_memory() == 0
