"""What a user may hand in has one right behaviour: it works and the result is right, or one error names the thing."""

import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import xarray as xr
from scipy import sparse

import bayesgmm as bg
from tests.tolerances import ALGEBRA, assert_close

RNG = np.random.default_rng(0)
ROWS = np.concatenate([RNG.normal(size=(30, 2)), RNG.normal(size=(30, 2)) + 5.0])
TABLE = pd.DataFrame(ROWS, columns=["a", "b"])
HOLES = TABLE.mask(TABLE > 6.5)


def fit(table, n_components=2, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return bg.fit_em(table, n_components, seed=0, n_starts=8, **options)


@pytest.fixture(scope="module")
def expected():
    return fit(ROWS)


SAME = {
    "float32": (ROWS.astype(np.float32), 1e-5),
    "float16": (ROWS.astype(np.float16), 1e-2),
    "object": (ROWS.astype(object), 0.0),
    "Fortran order": (np.asfortranarray(ROWS), 0.0),
    "every other column of a wider array": (np.repeat(ROWS, 2, axis=1)[:, ::2], 0.0),
    "masked, nothing hidden": (np.ma.array(ROWS), 0.0),
    "list": (ROWS.tolist(), 0.0),
    "pandas": (TABLE, 0.0),
    "pandas, nullable": (TABLE.convert_dtypes(), 0.0),
    "pandas, MultiIndex of columns": (TABLE.set_axis(pd.MultiIndex.from_product([["x"], ["a", "b"]]), axis=1), 0.0),
    "pandas, MultiIndex of rows": (TABLE.set_axis(pd.MultiIndex.from_product([range(6), range(10)])), 0.0),
    "polars": (pl.DataFrame({"a": ROWS[:, 0], "b": ROWS[:, 1]}), 0.0),
    "pyarrow": (pa.table({"a": ROWS[:, 0], "b": ROWS[:, 1]}), 0.0),
    "xarray": (xr.DataArray(ROWS, dims=("row", "column")), 0.0),
    "xarray Dataset": (xr.Dataset({"a": ("row", ROWS[:, 0]), "b": ("row", ROWS[:, 1])}), 0.0),
}


@pytest.mark.parametrize("name", SAME)
def test_every_kind_of_table_gives_the_same_fit(name, expected):
    table, rounding = SAME[name]
    found = fit(table)
    tolerance = max(rounding, ALGEBRA)
    assert_close(found.mixture.means, expected.mixture.means, tolerance)
    assert_close(found.log_likelihood, expected.log_likelihood, tolerance)


def test_a_read_only_array_is_left_as_it_is(expected):
    frozen = ROWS.copy()
    frozen.setflags(write=False)
    assert fit(frozen).log_likelihood == expected.log_likelihood


@pytest.mark.parametrize("scale", [1e-100, 1e-12, 1e12, 1e100, np.array([1e-12, 1e12])])
@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_neither_scale_nor_offset_matters(scale, offset, expected):
    found = fit(scale * (ROWS + offset))
    assert_close((found.mixture.means / scale) - offset, expected.mixture.means, 1e-6)
    np.testing.assert_array_equal(found.predict(), expected.predict())


REFUSED = {
    "missing": (HOLES, r"column 'a' has 3 missing values \(rows 31, 33, 37\).*missing='marginalize'"),
    "pandas NA": (HOLES.convert_dtypes(), "column 'a' has 3 missing values"),
    "masked": (np.ma.masked_greater(ROWS, 6.5), "column 'x0' has 3 missing values"),
    "infinite": (TABLE.replace(TABLE.iloc[0, 0], np.inf), r"column 'a' has 1 infinite value \(row 0\)"),
    "constant": (TABLE.assign(c=1.0), r"column 'c' is constant \(every value is 1\)"),
    "all rows equal": (np.ones((50, 2)), "column 'x0' is constant"),
    "two columns of one name": (pd.concat([TABLE, TABLE["a"]], axis=1), "two columns are named 'a'"),
    "booleans": (ROWS > 1, "boolean values"),
    "text": (TABLE.assign(c="x"), "column 'c' is not numeric"),
    "numbers as text": (TABLE.astype(str), "column 'a' is not numeric"),
    "categories": (TABLE.assign(c=pd.Categorical(["x", "y"] * 30)), "column 'c' is not numeric"),
    "dates": (TABLE.assign(c=pd.date_range("2020", periods=60)), "column 'c' is not numeric"),
    "complex": (ROWS + 1j, "complex values"),
    "sparse": (sparse.csr_matrix(ROWS), r"toarray\(\)"),
    "three dimensions": (ROWS.reshape(30, 2, 2), "3 dimensions"),
    "ragged": ([[1.0, 2.0], [3.0]], "not rectangular"),
    "no rows": (np.empty((0, 2)), "no rows"),
    "no columns": (np.empty((5, 0)), "no columns"),
    "one row": (ROWS[:1], "2 rows|single row"),
    "a number": (3.0, "expected a table of numbers, found float"),
    "nothing": (None, "expected a table of numbers, found NoneType"),
    "lazy": (pl.DataFrame({"a": [1.0, 2.0]}).lazy(), "LazyFrame"),
    "values whose squares vanish": (1e-200 * ROWS, "column 'x0' .*rescale"),
    "values whose squares overflow": (1e200 * ROWS, "column 'x0' .*rescale"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_table_is_refused_by_name(name):
    table, message = REFUSED[name]
    with pytest.raises(bg.DataError, match=message):
        fit(table, 1)


@pytest.mark.parametrize(
    ("n_components", "error"),
    [(0, bg.ArgumentError), (-1, bg.ArgumentError), (1.5, bg.ArgumentError), ("2", bg.ArgumentError),
     (True, bg.ArgumentError), (None, bg.ArgumentError), (60, bg.DataError), (1000, bg.DataError)],
)  # fmt: skip
def test_impossible_numbers_of_components(n_components, error):
    with pytest.raises(error, match=re.escape(f"n_components={n_components!r}")):
        fit(TABLE, n_components)


def test_more_components_than_distinct_rows():
    with pytest.raises(bg.DataError, match="3 distinct rows, too few for n_components=5"):
        fit(np.repeat(ROWS[:3], 20, axis=0), 5)


@pytest.mark.parametrize(
    ("weights", "message"),
    [(-np.ones(60), "negative"), (np.full(60, np.nan), "NaN"), (np.zeros(60), "zero"), (np.ones(3), r"shape \(3,\)"),
     (np.ones((60, 1)), "shape"), (["heavy"] * 60, "text"), (np.full(60, 1e308), "overflows")],
)  # fmt: skip
def test_impossible_weights(weights, message):
    with pytest.raises(bg.DataError, match=f"sample_weight.*{message}|{message}.*sample_weight"):
        fit(TABLE, sample_weight=weights)


@pytest.mark.parametrize("seed", [-1, 1.5, "x", [1, 2], True, -(2**70)])
def test_impossible_seeds(seed):
    with pytest.raises(bg.ArgumentError, match="seed="):
        bg.fit_em(TABLE, 2, seed=seed)


@pytest.mark.parametrize("make", [int, np.int64, np.random.default_rng, np.random.RandomState, np.random.SeedSequence])
def test_every_kind_of_seed_is_repeatable(make):
    first, second = (bg.fit_em(TABLE, 3, seed=make(5), n_starts=4).log_likelihood for _ in range(2))
    assert first == second


class TestNewRows:
    def test_columns_are_read_by_name(self, expected):
        named = fit(TABLE)
        np.testing.assert_array_equal(named.predict(TABLE[["b", "a"]].assign(other="x")), expected.predict())

    @pytest.mark.parametrize(
        ("rows", "message"),
        [(TABLE[["a"]], "column named 'b'"), (ROWS[:, :1], "1 columns; the fit has 2"), (HOLES, "missing values"),
         (ROWS[0], "1 columns; the fit has 2"), (TABLE.assign(b="x"), "column 'b' is not numeric")],
    )  # fmt: skip
    def test_what_does_not_fit_is_refused(self, rows, message):
        with pytest.raises(bg.DataError, match=message):
            fit(TABLE).predict(rows)

    def test_no_rows_are_no_rows(self, expected):
        assert expected.predict(ROWS[:0]).shape == (0,)
