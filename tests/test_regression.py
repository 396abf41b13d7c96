"""Gaussian mixture regression against conditioning one row at a time, and against ordinary least squares."""

import numpy as np
import pandas as pd
import pytest

import bayesgmm as bg
from bayesgmm.regression import regress


@pytest.fixture(scope="module")
def mixture():
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(3, 4, 4))
    return bg.Mixture(
        [0.5, 0.3, 0.2], 2 * rng.normal(size=(3, 4)), roots @ np.swapaxes(roots, 1, 2) + np.eye(4), ["a", "b", "c", "d"]
    )


def test_every_row_is_the_conditional_mixture(mixture):
    table = pd.DataFrame(np.random.default_rng(1).normal(size=(5, 2)), columns=["c", "a"])
    found = regress(mixture, table)
    assert found.targets == ("b", "d")
    for i, row in table.iterrows():
        conditional = mixture.conditional(dict(row))
        np.testing.assert_allclose(found.mean[i], conditional.mean, rtol=1e-10)
        np.testing.assert_allclose(found.covariance[i], conditional.covariance, rtol=1e-9)


def test_one_component_is_least_squares():
    rng = np.random.default_rng(2)
    x = rng.normal(size=200)
    table = pd.DataFrame({"x": x, "y": 3 + 2 * x + 0.1 * rng.normal(size=200)})
    fit = bg.fit_em(table, 1, seed=0)
    slope, intercept = np.polyfit(table["x"], table["y"], 1)
    found = regress(fit, pd.DataFrame({"x": [0.0, 1.0]}))
    np.testing.assert_allclose(found.mean[:, 0], [intercept, intercept + slope], rtol=1e-8)
    residual = table["y"] - intercept - slope * table["x"]
    np.testing.assert_allclose(found.sd[:, 0], residual.std(ddof=0), rtol=1e-8)


def test_draws_count_by_the_density_that_they_give_to_the_row(mixture):
    """Two draws: the pooled prediction is their mixture, weighted by p(x | draw)."""
    batch = bg.Mixture(
        np.stack([mixture.weights] * 2),
        np.stack([mixture.means, mixture.means + 1.0]),
        np.stack([mixture.covariances] * 2),
        mixture.features,
    )
    table = pd.DataFrame({"a": [0.3], "b": [-0.2], "c": [1.0]})
    weights = np.exp(batch.marginal(["a", "b", "c"]).log_density(table.to_numpy())[:, 0])
    means = [batch[s].conditional({"a": 0.3, "b": -0.2, "c": 1.0}).mean[0] for s in range(2)]
    assert regress(batch, table).mean[0, 0] == pytest.approx(np.average(means, weights=weights))


def test_tables_without_the_columns_are_refused(mixture):
    for table in (
        pd.DataFrame({"e": [1.0]}),
        pd.DataFrame(np.ones((1, 4)), columns=["a", "b", "c", "d"]),
        np.ones((1, 2)),
    ):
        with pytest.raises(bg.ArgumentError, match="some, and not all, of the columns a, b, c, d"):
            regress(mixture, table)
