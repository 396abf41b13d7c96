"""What users hand in: the cases of test_input.py, of which docs/guide/what-goes-in.md says what happens.

A case says in words what is handed in. The page has these words in one of its tables and beside them what becomes of
it: an error to the letter ("..." stands for what another library says), or how it is read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import xarray as xr
from scipy import sparse

import bayesgmm as bg

RNG = np.random.default_rng(0)
ROWS = np.concatenate([RNG.normal(size=(30, 2)), RNG.normal(size=(30, 2)) + 5.0])
TABLE = pd.DataFrame(ROWS, columns=["a", "b"])
HOLES = TABLE.mask(TABLE > 6.5)


@dataclass(frozen=True)
class Case:
    """One thing that is handed in.

    Parameters
    ----------
    words : str
        What it is; it stands in the page.
    given : object
        The thing, or a function that does what the words say.
    tolerance : float
        How far numbers may be from those of the plain table, where the numbers that came were rounded.
    """

    words: str
    given: Any
    tolerance: float = 0.0


def read_only(array: np.ndarray) -> np.ndarray:
    frozen = array.copy()
    frozen.setflags(write=False)
    return frozen


def with_value(value: Any, row: int = 0) -> pd.DataFrame:
    table = TABLE.copy()
    table.loc[row, "a"] = value
    return table


def as_text(value: Any, row: int = 16) -> pd.DataFrame:
    """Return the table with a column of text: every number but one."""
    table = TABLE.astype({"a": str})
    table.loc[row, "a"] = value
    return table


# ------------------------------------------------------------------------------------------------ tables that work

TABLES = [
    Case("NumPy array, rows and columns", ROWS),
    Case("float32", ROWS.astype(np.float32), 1e-5),
    Case("float16", ROWS.astype(np.float16), 1e-2),
    Case("long double", ROWS.astype(np.longdouble)),
    Case("big-endian numbers", ROWS.astype(">f8")),
    Case("objects that are numbers, such as `Fraction` and `Decimal`",
         np.array([[Fraction(value) for value in row] for row in ROWS])),
    Case("Fortran order", np.asfortranarray(ROWS)),
    Case("every other column of a wider array", np.repeat(ROWS, 2, axis=1)[:, ::2]),
    Case("a read-only array", read_only(ROWS)),
    Case("masked array with nothing masked", np.ma.array(ROWS)),
    Case("lists of numbers", ROWS.tolist()),
    Case("`numpy.matrix`", ROWS.view(np.matrix)),
    Case("pandas DataFrame", TABLE),
    Case("pandas, nullable types", TABLE.convert_dtypes()),
    Case("pandas, Arrow types", TABLE.convert_dtypes(dtype_backend="pyarrow")),
    Case("pandas, MultiIndex of columns", TABLE.set_axis(pd.MultiIndex.from_product([["x"], ["a", "b"]]), axis=1)),
    Case("pandas, MultiIndex of rows", TABLE.set_axis(pd.MultiIndex.from_product([range(6), range(10)]))),
    Case("polars DataFrame", pl.DataFrame({"a": ROWS[:, 0], "b": ROWS[:, 1]})),
    Case("pyarrow Table", pa.table({"a": ROWS[:, 0], "b": ROWS[:, 1]})),
    Case("xarray DataArray", xr.DataArray(ROWS, dims=("row", "column"))),
    Case("xarray Dataset of one-dimensional variables",
         xr.Dataset({"a": ("row", ROWS[:, 0]), "b": ("row", ROWS[:, 1])})),
    Case("what `prepare` returned", bg.prepare(TABLE)),
]  # fmt: skip

# Of another scale or place: means differ by just that, labels by nothing.
UNITS = [
    Case("numbers around 1e9", (1.0, 1e9)),
    Case("numbers of the size 1e-12", (1e-12, 0.0)),
    Case("numbers of the size 1e100", (1e100, 0.0)),
    Case("one column of the size 1e-12, another of 1e12", (np.array([1e-12, 1e12]), 0.0)),
]

# ------------------------------------------------------------------------------------------------ tables that do not

REFUSED_TABLES = [
    Case("missing values", HOLES),
    Case("missing values, pandas' `NA`", HOLES.convert_dtypes()),
    Case("masked values", np.ma.masked_greater(ROWS, 6.5)),
    Case("an infinite value", with_value(np.inf)),
    Case("a column without any value", TABLE.assign(c=np.nan)),
    Case("a constant column", TABLE.assign(c=1.0)),
    Case("a column that is constant but for rounding", TABLE.assign(c=np.nextafter(0.1, [0, 1] * 30))),
    Case("all rows equal", np.ones((50, 2))),
    Case("two columns of one name", pd.concat([TABLE, TABLE["a"]], axis=1)),
    Case("booleans", ROWS > 1),
    Case("a column of booleans", TABLE.assign(c=TABLE["a"] > 1)),
    Case("a column of words", TABLE.assign(c="x")),
    Case("numbers as text", TABLE.astype(str)),
    Case("text among numbers, such as a formula that was not computed", as_text("=A1+A2")),
    Case("categories", TABLE.assign(c=pd.Categorical(["x", "y"] * 30))),
    Case("dates", TABLE.assign(c=pd.date_range("2020", periods=60))),
    Case("an array of dates", np.arange(120).reshape(60, 2).astype("M8[D]")),
    Case("an array of text", ROWS.astype(str)),
    Case("an array of objects that are not all numbers", np.where(ROWS > 6.9, "x", ROWS.astype(object))),
    Case("complex numbers", ROWS + 1j),
    Case("a column of complex numbers", TABLE.assign(c=TABLE["a"] + 1j)),
    Case("a whole number beyond double precision", [[10**400, 1.0], [2.0, 3.0], [4.0, 5.0]]),
    Case("SciPy sparse matrix", sparse.csr_matrix(ROWS)),
    Case("pandas, sparse columns", TABLE.astype(pd.SparseDtype(float))),
    Case("an array of three dimensions", ROWS.reshape(30, 2, 2)),
    Case("a number", 3.0),
    Case("nothing", None),
    Case("a dict", {"a": [1.0, 2.0]}),
    Case("a string that is no file of rows", "faithful.csv"),
    Case("records", np.zeros(5, dtype=[("a", float), ("b", float)])),
    Case("rows of different lengths", [[1.0, 2.0], [3.0]]),
    Case("polars LazyFrame", pl.DataFrame({"a": [1.0, 2.0]}).lazy()),
    Case("xarray DataArray of three dimensions", xr.DataArray(ROWS.reshape(30, 2, 2))),
    Case("xarray Dataset whose variables have different dimensions",
         xr.Dataset({"a": ("p", ROWS[:, 0]), "b": ("q", ROWS[:, 1])})),
    Case("no rows", np.empty((0, 2))),
    Case("no columns", np.empty((5, 0))),
    Case("one row", ROWS[:1]),
    Case("numbers whose squares vanish", 1e-200 * ROWS),
    Case("numbers whose squares overflow", 1e200 * ROWS),
    Case("a million columns", np.broadcast_to(np.arange(3.0)[:, None], (3, 10**6))),
]  # fmt: skip

# ------------------------------------------------------------------------------------------------ rows, columns, K

COLLINEAR = TABLE.assign(c=2.0 * TABLE["a"] - TABLE["b"])
TWICE = TABLE.assign(c=TABLE["a"])
WIDE = np.random.default_rng(1).normal(size=(5, 6))


def _em(table: Any, n_components: Any = 2, **options: Any) -> Callable[..., Any]:
    return lambda: bg.fit_em(table, n_components, **{"seed": 0, "n_starts": 8} | options)


REFUSED_SIZES = [
    Case("K = 0", _em(TABLE, 0)),
    Case("K = -1", _em(TABLE, -1)),
    Case("K = 1.5", _em(TABLE, 1.5)),
    Case("K = '2'", _em(TABLE, "2")),
    Case("K = True", _em(TABLE, True)),
    Case("K = None", _em(TABLE, None)),
    Case("K = n", _em(TABLE, 60)),
    Case("K > n", _em(TABLE, 1000)),
    Case("more components than distinct rows", _em(np.repeat(ROWS[:3], 20, axis=0), 5)),
    Case("not more rows than columns (n <= D), full covariances", _em(WIDE, 1)),
    Case("not more rows than columns (n <= D), tied covariances", _em(WIDE, 2, structure="tied")),
    Case("collinear columns, full covariances", _em(COLLINEAR)),
    Case("the same column twice under two names", _em(TWICE)),
    Case("an unknown structure", _em(TABLE, structure="round")),
    Case("a seed below zero", _em(TABLE, seed=-1)),
    Case("a seed of 1.5", _em(TABLE, seed=1.5)),
    Case("a seed of text", _em(TABLE, seed="x")),
    Case("several seeds", _em(TABLE, seed=[1, 2])),
    Case("a truth value for a seed", _em(TABLE, seed=True)),
    Case("no starts", _em(TABLE, n_starts=0)),
    Case("a negative tolerance", _em(TABLE, tol=-1.0)),
    Case("`reg_covar` below zero", _em(TABLE, reg_covar=-1.0)),
    Case("a start with the wrong number of labels", _em(TABLE, start=np.zeros(3, dtype=int))),
    Case("a start with other columns", _em(TABLE, start=bg.Mixture([1.0], [[0.0]], [[[1.0]]]))),
]  # fmt: skip

# ------------------------------------------------------------------------------------------------ weights

REFUSED_WEIGHTS = [
    Case("negative weights", -np.ones(60)),
    Case("a weight that is NaN", np.r_[np.nan, np.ones(59)]),
    Case("a weight that is infinite", np.r_[np.inf, np.ones(59)]),
    Case("weights that are all zero", np.zeros(60)),
    Case("weights for other rows", np.ones(3)),
    Case("weights in a column", np.ones((60, 1))),
    Case("one weight for all", 1.0),
    Case("weights of text", ["heavy"] * 60),
    Case("complex weights", np.full(60, 1j)),
    Case("weights of different lengths", [[1.0, 2.0], [3.0]] * 30),
    Case("weights whose sum overflows", np.full(60, 1e308)),
    Case("weights that leave one row", np.r_[1.0, np.zeros(59)]),
]

# ------------------------------------------------------------------------------------------------ new rows

REFUSED_NEW_ROWS = [
    Case("a column of the fit is not there", TABLE[["a"]]),
    Case("columns of other names", TABLE.set_axis(["p", "q"], axis=1)),
    Case("too few columns without names", ROWS[:, :1]),
    Case("too many columns without names", np.ones((4, 3))),
    Case("one row as a list of numbers", ROWS[0]),
    Case("a missing value", HOLES),
    Case("an infinite value", with_value(np.inf)),
    Case("a column of words", TABLE.assign(b="x")),
    Case("an array of three dimensions", ROWS.reshape(30, 2, 2)),
    Case("nothing but a number", 3.0),
    Case("complex numbers", ROWS + 1j),
    Case("SciPy sparse matrix", sparse.csr_matrix(ROWS)),
]

# ------------------------------------------------------------------------------------------------ priors


def _priors(**given: Any) -> Callable[..., Any]:
    return lambda: bg.Priors(**given).describe(TABLE, 2)


REFUSED_PRIORS = [
    Case("`concentration=0`", _priors(concentration=0.0)),
    Case("`concentration=-1`", _priors(concentration=-1.0)),
    Case("`concentration` for three of two components", _priors(concentration=[1.0, 1.0, 1.0])),
    Case("`concentration='flat'`", _priors(concentration="flat")),
    Case("`mean_location` for one of two columns", _priors(mean_location=[1.0])),
    Case("`mean_location` with NaN", _priors(mean_location=[np.nan, 1.0])),
    Case("`mean_sd` with a negative number", _priors(mean_sd=[-1.0, 1.0])),
    Case("`mean_sd` of text", _priors(mean_sd=["a", "b"])),
    Case("`within_sd` with a zero", _priors(within_sd=[0.0, 1.0])),
    Case("`mean_cov` of the wrong shape", _priors(mean_cov=np.eye(3))),
    Case("`mean_cov` that is not symmetric", _priors(mean_cov=[[1.0, 0.5], [0.0, 1.0]])),
    Case("`mean_cov` that is not positive definite", _priors(mean_cov=[[1.0, 2.0], [2.0, 1.0]])),
    Case("`mean_cov` and `mean_sd`", _priors(mean_cov=np.eye(2), mean_sd=[1.0, 1.0])),
    Case("`dof` too small", _priors(dof=3.0)),
    Case("`dof` of text", _priors(dof="many")),
    Case("`dof=nan`", _priors(dof=np.nan)),
    Case("`scale_dof` too small", _priors(scale_dof=1.0)),
    Case("`smallest_sd=0`", _priors(smallest_sd=0.0)),
    Case("`eta=0`", _priors(covariance="lkj", eta=0.0)),
    Case("an unknown family", _priors(covariance="normal")),
    Case("an unknown `sd_prior`", _priors(covariance="lkj", sd_prior="cauchy")),
]

# ------------------------------------------------------------------------------------------------ mixtures by hand

EYE = [np.eye(2), np.eye(2)]
MEANS = [[0.0, 0.0], [5.0, 5.0]]


def _mixture(weights: Any = (0.5, 0.5), means: Any = MEANS, covariances: Any = EYE, **rest: Any) -> bg.Mixture:
    return bg.Mixture(weights, means, covariances, **rest)


REFUSED_MIXTURES = [
    Case("a negative weight", lambda: _mixture([-0.5, 1.5])),
    Case("weights that do not sum to one", lambda: _mixture([0.5, 0.6])),
    Case("weights with NaN", lambda: _mixture([np.nan, 1.0])),
    Case("shapes that do not belong together", lambda: _mixture([1.0])),
    Case("means of text", lambda: _mixture(means=[["a", "b"], ["c", "d"]])),
    Case("means of rows of different lengths", lambda: _mixture(means=[[1.0], [1.0, 2.0]])),
    Case("a covariance that is not symmetric", lambda: _mixture(covariances=[[[1.0, 0.5], [0.0, 1.0]], np.eye(2)])),
    Case("a covariance that is not positive definite",
         lambda: _mixture(covariances=[[[1.0, 2.0], [2.0, 1.0]], np.eye(2)]).log_density(ROWS)),
    Case("two columns of one name", lambda: _mixture(features=("a", "a"))),
    Case("rows of the wrong width", lambda: _mixture().log_density(ROWS[:, :1])),
    Case("rows of text", lambda: _mixture().log_density([["a", "b"]])),
    Case("complex rows", lambda: _mixture().log_density([[1j, 0.0]])),
    Case("a dataframe with other columns", lambda: _mixture(features=("p", "q")).log_density(TABLE)),
    Case("a negative number of rows to draw", lambda: _mixture().sample(-1)),
    Case("a seed of text to draw with", lambda: _mixture().sample(2, seed="x")),
    Case("a column that is not there", lambda: _mixture().marginal(["height"])),
    Case("no columns: `marginal(None)`", lambda: _mixture().marginal(None)),
    Case("no values: `conditional(None)`", lambda: _mixture().conditional(None)),
    Case("names of columns that are a number", lambda: _mixture(features=3)),
    Case("a permutation of text", lambda: _mixture().permute("text")),
    Case("`simulate(None, 5)`", lambda: bg.simulate(None, 5)),
]  # fmt: skip

# ------------------------------------------------------------------------------------------------ what works besides


def _means(table: Any, n_components: int = 2, **options: Any) -> np.ndarray:
    return bg.fit_em(table, n_components, **{"seed": 0, "n_starts": 8} | options).mixture.means


def _mapped() -> Any:
    with TemporaryDirectory() as folder:
        np.save(f"{folder}/rows.npy", ROWS)
        return _means(np.load(f"{folder}/rows.npy", mmap_mode="r"))


def _labels(rows: Any) -> np.ndarray:
    return bg.fit_em(TABLE, 2, seed=0, n_starts=8).predict(rows)


def _seeded(make: Callable[[int], Any]) -> Callable[[], tuple[Any, Any]]:
    return lambda: (_means(TABLE, 3, seed=make(5), n_starts=4), _means(TABLE, 3, seed=make(5), n_starts=4))


_COUNTS = np.arange(60) % 3
_SHUFFLED = np.random.default_rng(2).permutation(60)

#: Each returns what is found and what is expected.
WORKS = [
    Case("an array of one dimension, or a list of numbers", lambda: (_means(ROWS[:, 0]), _means(ROWS[:, :1]))),
    Case("a pandas or polars Series", lambda: (_means(TABLE["a"]), _means(ROWS[:, :1]))),
    Case("a memory map", lambda: (_mapped(), _means(ROWS))),
    Case("rows that occur several times",
         lambda: (_means(np.repeat(ROWS, 2, axis=0)), _means(ROWS, sample_weight=np.full(60, 2)))),
    Case("rows in another order", lambda: (_means(ROWS[_SHUFFLED]), _means(ROWS))),
    Case("missing values, `missing='drop'`", lambda: (_means(HOLES, missing="drop"), _means(HOLES.dropna()))),
    Case("missing values, `missing='marginalize'`",
         lambda: (_means(HOLES, 1, missing="marginalize", structure="diag")[0], HOLES.mean())),
    Case("collinear columns, diagonal covariances",
         lambda: (_means(COLLINEAR, structure="diag")[:, :2].shape, (2, 2))),
    Case("not more rows than columns, diagonal covariances",
         lambda: (_means(WIDE, 1, structure="diag")[0], WIDE.mean(axis=0))),
    Case("weights that are whole numbers",
         lambda: (_means(ROWS, sample_weight=_COUNTS), _means(np.repeat(ROWS, _COUNTS, axis=0)))),
    Case("a mask for weights", lambda: (_means(ROWS, sample_weight=_COUNTS > 0), _means(ROWS[_COUNTS > 0]))),
    Case("weights as a list or a Series of any index",
         lambda: (_means(ROWS, sample_weight=pd.Series(_COUNTS, index=_SHUFFLED)),
                  _means(ROWS, sample_weight=_COUNTS.tolist()))),
    Case("new rows with columns in another order, and others besides",
         lambda: (_labels(TABLE[["b", "a"]].assign(other="x")), _labels(TABLE))),
    Case("new rows without names", lambda: (_labels(ROWS), _labels(TABLE))),
    Case("no new rows", lambda: (_labels(TABLE[:0]).shape, (0,))),
    Case("a seed: int", _seeded(int)),
    Case("a seed: NumPy integer", _seeded(np.int64)),
    Case("a seed: `Generator`", _seeded(np.random.default_rng)),
    Case("a seed: `RandomState`", _seeded(np.random.RandomState)),
    Case("a seed: `SeedSequence`", _seeded(np.random.SeedSequence)),
    Case("missing values under a mixture made by hand",
         lambda: (_mixture().log_density([[np.nan, 1.0]]), _mixture().marginal(["x1"]).log_density([[1.0]]))),
    Case("a prior as one number for all columns",
         lambda: (bg.Priors(mean_sd=2.0).describe(TABLE), bg.Priors(mean_sd=[2.0, 2.0]).describe(TABLE))),
]  # fmt: skip
