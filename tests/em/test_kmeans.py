"""k-means as a mixture: against scikit-learn's own result, by identities, and as the limit of EM."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans

from bayesgmm.comparison import compare
from bayesgmm.data.datasets import load_dataset
from bayesgmm.data.prepare import prepare
from bayesgmm.em.fit import fit_em
from bayesgmm.em.kmeans import fit_kmeans
from bayesgmm.errors import ArgumentError, ConvergenceWarning, DataError
from bayesgmm.mixture import Mixture
from bayesgmm.storage import load
from tests.conftest import build_fit
from tests.tolerances import ALGEBRA, EXACT, assert_close


@pytest.fixture(scope="module")
def rows():
    return load_dataset("faithful").to_numpy()


@pytest.fixture(scope="module")
def fit(rows):
    return fit_kmeans(rows, 3, seed=0)


def sum_of_squares(rows, fit):
    return (cdist(rows, fit.mixture.means) ** 2).min(axis=1).sum()


# ---------------------------------------------------------------- against scikit-learn


def test_the_partition_and_the_objective_are_scikit_learns(rows, fit):
    reference = KMeans(3, n_init=50, tol=0.0, random_state=1).fit(rows)
    assert_close(fit.info.diagnostics["inertia"], reference.inertia_, ALGEBRA)
    order = np.argsort(-np.bincount(reference.labels_), kind="stable")
    assert_close(fit.mixture.means, reference.cluster_centers_[order], ALGEBRA)
    np.testing.assert_array_equal(order[fit.predict()], reference.labels_)


# ---------------------------------------------------------------- what the mixture says


def test_predict_is_the_nearest_centroid_for_new_rows_too(rows, fit):
    new = np.random.default_rng(0).uniform(rows.min(axis=0) - 5.0, rows.max(axis=0) + 5.0, size=(2000, 2))
    np.testing.assert_array_equal(fit.predict(new), cdist(new, fit.mixture.means).argmin(axis=1))


def test_the_search_ends_only_when_no_row_changes_its_cluster():
    rows = np.random.default_rng(0).uniform(size=(1000, 2))
    fit = fit_kmeans(rows, 7, seed=0, n_starts=1)
    labels = fit.predict()
    assert_close(fit.mixture.means, [rows[labels == k].mean(axis=0) for k in range(7)], EXACT)


def test_parameters_are_those_of_the_clusters_by_size(rows, fit):
    labels = fit.predict()
    shares = np.bincount(labels) / len(rows)
    assert np.all(np.diff(shares) <= 0.0)
    assert_close(fit.info.diagnostics["shares"], shares, EXACT)
    assert_close(fit.mixture.weights, np.full(3, 1.0 / 3.0), EXACT)
    assert_close(fit.mixture.means, [rows[labels == k].mean(axis=0) for k in range(3)], EXACT)
    assert_close(fit.info.diagnostics["inertia"], sum_of_squares(rows, fit), ALGEBRA)
    variance = sum_of_squares(rows, fit) / rows.size
    assert_close(fit.mixture.covariances, np.stack([variance * np.eye(2)] * 3), ALGEBRA)


def test_the_variance_maximises_the_classification_likelihood(rows, fit):
    squares = (cdist(rows, fit.mixture.means) ** 2).min(axis=1).sum()
    variance = fit.mixture.covariances[0, 0, 0]

    def log_likelihood(v):
        return -0.5 * rows.size * np.log(2 * np.pi * v) - 0.5 * squares / v

    assert log_likelihood(variance) > max(log_likelihood(0.999 * variance), log_likelihood(1.001 * variance))


# ---------------------------------------------------------------- the limit of EM


def em_step(mixture, rows, variance):
    """Return the mixture after an EM step for the means alone: equal weights, one spherical variance, both fixed."""
    r = mixture.responsibilities(rows)
    means = r.T @ rows / r.sum(axis=0)[:, None]
    return spheres(means, variance)


def spheres(means, variance):
    k, d = np.shape(means)
    return Mixture(np.full(k, 1.0 / k), means, np.broadcast_to(variance * np.eye(d), (k, d, d)))


def test_em_with_a_vanishing_variance_is_k_means(rows):
    start = rows[[0, 1, 5]]
    lloyd = KMeans(3, init=start, n_init=1, tol=0.0).fit(rows)
    mixture = spheres(start, 1e-4)
    for _ in range(lloyd.n_iter_ + 1):
        mixture = em_step(mixture, rows, 1e-4)
    assert_close(mixture.means, lloyd.cluster_centers_, ALGEBRA)
    np.testing.assert_array_equal(mixture.responsibilities(rows).argmax(axis=1), lloyd.labels_)


def test_a_fit_stays_where_it_is_under_em_with_a_vanishing_variance(rows, fit):
    assert_close(em_step(spheres(fit.mixture.means, 1e-4), rows, 1e-4).means, fit.mixture.means, ALGEBRA)


def test_the_log_likelihood_becomes_the_objective_as_the_variance_vanishes(rows, fit):
    n, d = rows.shape
    gaps = []
    for variance in (100.0, 10.0, 1.0, 1e-3):
        log_likelihood = spheres(fit.mixture.means, variance).log_density(rows).sum()
        limit = -2.0 * variance * (log_likelihood + n * (0.5 * d * np.log(2 * np.pi * variance) + np.log(3)))
        gaps.append(abs(limit - fit.info.diagnostics["inertia"]))
    assert np.all(np.diff(gaps) < 0.0)
    assert gaps[-1] < ALGEBRA * fit.info.diagnostics["inertia"]


def test_em_of_the_same_structure_is_at_least_as_likely(rows, fit):
    em = fit_em(rows, 3, structure="EII", start=fit)
    assert em.log_likelihood > fit.log_likelihood


# ---------------------------------------------------------------- units, weights, seeds


def test_the_units_do_not_matter(rows, fit):
    moved = fit_kmeans(1e-6 * rows + 1e3, 3, seed=0)
    np.testing.assert_array_equal(moved.predict(), fit.predict())
    assert_close(moved.info.diagnostics["inertia"], 1e-12 * fit.info.diagnostics["inertia"], ALGEBRA)


def test_a_scale_for_each_column_is_k_means_on_standardised_rows(rows):
    fit = fit_kmeans(prepare(rows, scale="feature"), 2, seed=0)
    Z = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    by_hand = fit_kmeans(Z, 2, seed=0)
    np.testing.assert_array_equal(fit.predict(), by_hand.predict())
    assert_close(fit.mixture.covariances[0], by_hand.mixture.covariances[0] * rows.std(axis=0) ** 2, ALGEBRA)


def test_a_weight_of_two_is_a_row_that_occurs_twice(rows):
    weights = np.random.default_rng(0).integers(0, 3, size=len(rows))
    weighted = fit_kmeans(rows, 2, seed=0, sample_weight=weights)
    repeated = fit_kmeans(np.repeat(rows, weights, axis=0), 2, seed=1)
    assert_close(weighted.mixture.means, repeated.mixture.means, ALGEBRA)
    assert_close(weighted.mixture.covariances, repeated.mixture.covariances, ALGEBRA)
    assert_close(weighted.info.diagnostics["shares"], repeated.info.diagnostics["shares"], EXACT)


@pytest.mark.parametrize("seed", [3, np.int64(3), 2**40])
def test_a_seed_settles_everything(rows, seed):
    one, two = (fit_kmeans(rows, 6, seed=seed, n_starts=1) for _ in range(2))
    np.testing.assert_array_equal(one.mixture.means, two.mixture.means)
    again = fit_kmeans(rows, 6, seed=one.info.seed, n_starts=1)
    np.testing.assert_array_equal(one.mixture.means, again.mixture.means)


def test_more_starts_are_never_worse(rows):
    few, many = (fit_kmeans(rows, 8, seed=0, n_starts=n).info.diagnostics["inertia"] for n in (1, 30))
    assert many <= few


# ---------------------------------------------------------------- a member of the family


def test_it_is_saved_and_loaded_like_any_fit(fit, tmp_path):
    assert repr(fit).startswith("MixtureFit(kmeans: 3 components, EII, one estimate")
    assert load(fit.save(tmp_path / "fit.nc")).info == fit.info
    with pytest.raises(ArgumentError, match="kmeans"):
        _ = fit.optima


def test_it_is_compared_with_a_posterior_of_its_structure(faithful):
    fit = fit_kmeans(faithful, 2, seed=0)
    rng = np.random.default_rng(0)
    means = fit.mixture.means + 0.1 * rng.normal(size=(2, 40, 2, 2))
    variances = fit.mixture.covariances * rng.chisquare(272, size=(2, 40, 1, 1, 1)) / 272
    weights = rng.dirichlet([172.0, 100.0], size=(2, 40))
    posterior = build_fit(Mixture(weights, means, variances, faithful.features), faithful, structure="EII")
    check = compare(fit, posterior)
    np.testing.assert_array_equal(check.em.mixture.means, fit.mixture.means)


def test_one_column_is_enough():
    fit = fit_kmeans(load_dataset("galaxies"), 3, seed=0)
    assert fit.mixture.means.shape == (3, 1)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("arguments", [{"n_starts": 0}, {"n_starts": 1.5}, {"max_iter": 0}, {"max_iter": True}])
def test_illegal_counts_are_named(rows, arguments):
    with pytest.raises(ArgumentError, match=f"{next(iter(arguments))}=.* must be a positive whole number"):
        fit_kmeans(rows, 2, **arguments)


def test_fewer_distinct_rows_than_clusters_are_refused():
    with pytest.raises(DataError, match="2 distinct rows"):
        fit_kmeans([[0.0], [0.0], [1.0], [1.0]], 3)


def test_missing_values_are_refused_or_dropped(rows):
    holed = np.vstack([rows, [[np.nan, 70.0]]])
    for data in (holed, prepare(holed, missing="marginalize")):
        with pytest.raises(DataError, match="missing"):
            fit_kmeans(data, 2)
    dropped = fit_kmeans(holed, 2, seed=0, missing="drop")
    np.testing.assert_array_equal(dropped.mixture.means, fit_kmeans(rows, 2, seed=0).mixture.means)


def test_stopping_early_is_said(rows):
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        fit_kmeans(rows, 5, seed=0, n_starts=1, max_iter=1)
