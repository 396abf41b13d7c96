"""Missing values filled in: against conditioning one row at a time, regression, and simulation."""

import numpy as np
import pandas as pd
import pytest

from bayesgmm.data import prepare
from bayesgmm.em.fit import fit_em
from bayesgmm.errors import ArgumentError, DataError
from bayesgmm.imputation import impute
from bayesgmm.mixture import Mixture
from bayesgmm.regression import regress
from tests.conftest import build_fit
from tests.examples import random_mixture, random_rows
from tests.tolerances import ALGEBRA, EXACT, assert_close, assert_within_errors

NAMES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def mixture():
    return random_mixture(3, 4, seed=3, features=NAMES)


@pytest.fixture(scope="module")
def rows():
    """Rows with every kind of hole, the whole row among them."""
    X = random_rows(40, 4, seed=5)
    holes = np.random.default_rng(6).random(X.shape) < 0.4
    holes[0], holes[1] = True, False
    X[holes] = np.nan
    return X


def test_every_row_is_the_conditional_mixture(mixture, rows):
    found = impute(mixture, rows)
    for i, row in enumerate(rows):
        seen = {name: value for name, value in zip(NAMES, row, strict=True) if np.isfinite(value)}
        gone = [j for j, value in enumerate(row) if np.isnan(value)]
        if not gone:
            continue
        expected = mixture.conditional(seen) if seen else mixture
        assert_close(found.values[i, gone], expected.mean, ALGEBRA)
        assert_close(found.sd[i, gone] ** 2, np.diagonal(expected.covariance), ALGEBRA)


def test_what_was_observed_stays(mixture, rows):
    found = impute(mixture, rows, draws=3, seed=0)
    seen = np.isfinite(rows)
    np.testing.assert_array_equal(found.values[seen], rows[seen])
    np.testing.assert_array_equal(found.draws[:, seen], np.broadcast_to(rows[seen], (3, seen.sum())))
    assert np.all(found.sd[seen] == 0.0)
    assert np.all(found.sd[~seen] > 0.0)
    assert np.isfinite(found.draws).all()
    assert found.n_filled == np.count_nonzero(~seen)
    assert repr(found) == f"Imputation(40 rows x 4 columns, {found.n_filled} values filled in, 3 draws)"


def test_new_rows_under_draws_are_regressed(rows):
    """For new rows a posterior draw counts by the density that it gives to what was observed."""
    batch = random_mixture(2, 4, batch=(2, 3), seed=8, features=NAMES)
    X = rows.copy()
    X[:, 0], X[:, 1:] = np.nan, random_rows(40, 3, seed=2)
    found, expected = impute(batch, X), regress(batch, pd.DataFrame(X[:, 1:], columns=list(NAMES[1:])))
    assert_close(found.values[:, :1], expected.mean, ALGEBRA)
    assert_close(found.sd[:, :1], expected.sd, ALGEBRA)


def with_holes(fit, batch):
    """Return a fit of the same rows with a hole in each, and with these draws."""
    X = fit.prepared.values.copy()
    X[::2, 0], X[1::2, 1] = np.nan, np.nan
    return build_fit(batch, prepare(pd.DataFrame(X, columns=list(fit.features)), missing="marginalize"))


def test_fitted_rows_average_the_draws(faithful_em, faithful_draws):
    """For fitted rows all draws count alike: mean of the means, mean of the variances plus variance of the means."""
    few = faithful_draws.mixture[:, :5]
    fit = with_holes(faithful_em, few)
    found = impute(fit)
    parts = [impute(one, fit.prepared.values) for one in (few[c, s] for c in range(2) for s in range(5))]
    means = np.stack([part.values for part in parts])
    variances = np.stack([part.sd**2 for part in parts])
    assert_close(found.values, means.mean(axis=0), ALGEBRA)
    assert_close(found.sd**2, variances.mean(axis=0) + means.var(axis=0), ALGEBRA)


def test_draws_have_the_moments(mixture):
    row = np.array([[0.3, np.nan, -0.5, np.nan]])
    exact = mixture.conditional({"a": 0.3, "c": -0.5})
    drawn = impute(mixture, row, draws=4000, seed=1).draws[:, 0][:, [1, 3]]
    assert_within_errors(drawn.mean(axis=0), exact.mean, drawn.std(axis=0) / np.sqrt(4000))
    spread = (drawn - exact.mean)[:, :, None] * (drawn - exact.mean)[:, None, :]
    assert_within_errors(spread.mean(axis=0), exact.covariance, spread.std(axis=0) / np.sqrt(4000))


def test_a_table_of_fitted_rows_comes_from_one_draw(faithful_em, faithful_mixture):
    """Two draws whose means lie far apart: within a drawn table all rows are of the same one."""
    shifted = np.stack([faithful_mixture.means, faithful_mixture.means + 1000.0])
    one = Mixture(
        np.stack([faithful_mixture.weights] * 2)[None], shifted[None],
        np.stack([faithful_mixture.covariances] * 2)[None], faithful_mixture.features,
    )  # fmt: skip
    fit = with_holes(faithful_em, one)
    drawn = impute(fit, draws=2, seed=3).draws
    # The holes of the even rows are in the first column.
    far = drawn[:, ::2, 0] > 100.0
    assert sorted(far.all(axis=1)) == [False, True]
    assert sorted(far.any(axis=1)) == [False, True]


def test_em_fills_in_what_it_was_fitted_to():
    """One normal distribution: the maximum of the likelihood fills in the least-squares line of the complete rows."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=60)
    y = 1.0 + 2.0 * x + 0.1 * rng.normal(size=60)
    y[40:] = np.nan
    fit = fit_em(pd.DataFrame({"x": x, "y": y}), 1, seed=0, missing="marginalize", tol=1e-14)
    slope, intercept = np.polyfit(x[:40], y[:40], 1)
    found = impute(fit)
    np.testing.assert_allclose(found.values[40:, 1], intercept + slope * x[40:], rtol=1e-6)
    residual = (y[:40] - intercept - slope * x[:40]).std()
    np.testing.assert_allclose(found.sd[40:, 1], residual, rtol=1e-5)
    assert list(found.table.columns) == ["x", "y"]
    assert found.table["y"].notna().all()


def test_units_and_order_of_columns(mixture, rows):
    scale, shift = np.array([1e3, 1.0, 1e-3, 2.0]), np.array([5.0, -1e4, 0.0, 1.0])
    near, far = impute(mixture, rows), impute(mixture.affine(scale, shift), rows * scale + shift)
    assert_close((far.values - shift) / scale, near.values, ALGEBRA)
    assert_close(far.sd / scale, near.sd, ALGEBRA)
    table = pd.DataFrame(rows, columns=list(NAMES))[["d", "b", "a", "c"]]
    np.testing.assert_array_equal(impute(mixture, table).values, near.values)


def test_blocks_change_nothing(mixture, rows, monkeypatch):
    whole = impute(mixture, rows)
    monkeypatch.setattr("bayesgmm.imputation.BLOCK", 50)
    parts = impute(mixture, rows)
    assert_close(parts.values, whole.values, EXACT)
    assert_close(parts.sd, whole.sd, EXACT)


def test_a_seed_repeats(mixture, rows):
    first, again = (impute(mixture, rows, draws=2, seed=7).draws for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])


def test_illegal_arguments_are_refused(mixture, rows):
    with pytest.raises(ArgumentError, match="draws=-1"):
        impute(mixture, rows, draws=-1)
    with pytest.raises(ArgumentError, match="pass X"):
        impute(mixture)
    with pytest.raises(DataError, match="the table has 2 columns"):
        impute(mixture, rows[:, :2])
    with pytest.raises(DataError, match="infinite"):
        impute(mixture, [[np.inf, 0.0, 0.0, 0.0]])
