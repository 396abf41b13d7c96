"""The bootstrap likelihood-ratio test: its statistic by R's mclust, its p-value by counting."""

import numpy as np
import pytest

from bayesgmm.em import likelihood_ratio
from bayesgmm.em.likelihood_ratio import bootstrap_lrt
from bayesgmm.em.maximise import maximise
from bayesgmm.errors import ArgumentError, DataError, FitError
from bayesgmm.mixture import Mixture
from tests.tolerances import ALGEBRA, OPTIMUM, STANDARD_ERRORS, assert_close


@pytest.fixture(scope="module")
def two_groups():
    mixture = Mixture([0.5, 0.5], [[0.0], [6.0]], [[[1.0]], [[1.0]]])
    return mixture.sample(60, 0)[0]


def test_statistic_is_mclusts(faithful):
    # mclustBootstrapLRT of R's mclust 6.0.0 on faithful: VVV, and EEE, whose loop stops at 1e-5.
    full = bootstrap_lrt(faithful, 1, n_boot=1, n_starts=4, seed=0)
    assert full.statistic == pytest.approx(319.065354, rel=OPTIMUM)
    tied = bootstrap_lrt(faithful, 1, structure="tied", n_boot=1, n_starts=4, seed=0)
    assert tied.statistic == pytest.approx(299.21996945, rel=OPTIMUM)


def test_two_groups_are_two(two_groups):
    found = bootstrap_lrt(two_groups, 1, structure="tied", n_boot=9, n_starts=1, seed=0)
    assert found.p_value == 1 / 10
    assert found.p_value_se == pytest.approx(np.sqrt(0.1 * 0.9 / 10))
    assert np.all(np.diff(found.replicates) >= 0)
    assert repr(found).startswith("BootstrapLRT(1 against 2 components, ")


def test_two_groups_are_not_three(two_groups):
    found = bootstrap_lrt(two_groups, 2, structure="tied", n_boot=9, n_starts=1, seed=0)
    assert found.p_value > 0.1
    assert found.p_value == (1 + np.sum(found.replicates >= found.statistic)) / 10
    # One more component never fits worse.
    assert found.replicates.min() > -ALGEBRA
    assert found.statistic > -ALGEBRA


def test_replicates_are_samples_of_the_smaller_fit(two_groups, monkeypatch):
    seen = {}

    def recorded(Z, n_components, **settings):
        found = maximise(Z, n_components, **settings)
        seen.setdefault(n_components, []).append((Z, found.mixture))
        return found

    monkeypatch.setattr(likelihood_ratio, "maximise", recorded)
    counts = np.tile([4.0, 1.0, 0.0], 20)
    bootstrap_lrt(two_groups, 1, structure="tied", sample_weight=counts, n_boot=2, n_starts=1, seed=0, n_threads=1)
    (_, null), *replicates = seen[1]
    assert [len(Z) for Z, _ in replicates] == [100, 100]
    spread = np.sqrt(null.covariances[0, 0, 0])
    assert np.abs((replicates[0][0] - null.means[0]) / spread).max() < STANDARD_ERRORS


def test_units_do_not_matter():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 1))
    near = bootstrap_lrt(x, 1, structure="tied", n_boot=5, n_starts=2, seed=1)
    far = bootstrap_lrt(1e3 * x - 7e5, 1, structure="tied", n_boot=5, n_starts=2, seed=1)
    assert_close(far.replicates, near.replicates, 1e-4)
    assert far.statistic == pytest.approx(near.statistic, rel=1e-4)


def test_threads_change_nothing(two_groups):
    one, three = (bootstrap_lrt(two_groups, 1, n_boot=5, n_starts=2, seed=3, n_threads=t) for t in (1, 3))
    np.testing.assert_array_equal(one.replicates, three.replicates)


def test_a_weight_of_two_is_a_row_twice(two_groups):
    counts = np.tile([2.0, 1.0, 0.0], 20)
    weighted = bootstrap_lrt(two_groups, 1, structure="tied", sample_weight=counts, n_boot=2, seed=0)
    repeated = bootstrap_lrt(np.repeat(two_groups, counts.astype(int), axis=0), 1, structure="tied", n_boot=2, seed=0)
    assert weighted.statistic == pytest.approx(repeated.statistic, rel=OPTIMUM)


def test_a_component_is_cut_at_its_mean():
    mixture = Mixture([0.3, 0.7], [[1.0, 2.0], [5.0, 5.0]], [[[4.0, 1.0], [1.0, 2.0]], np.eye(2)])
    cut = likelihood_ratio._cut_in_two(mixture, 0)
    # The halves have together the mean and the covariance of the whole.
    np.testing.assert_allclose(cut.mean, mixture.mean)
    np.testing.assert_allclose(cut.covariance, mixture.covariance)
    np.testing.assert_allclose(cut.weights, [0.15, 0.7, 0.15])


def test_illegal_arguments_are_refused(two_groups):
    with pytest.raises(ArgumentError, match="n_boot=0"):
        bootstrap_lrt(two_groups, 1, n_boot=0)
    with pytest.raises(ArgumentError, match="n_components=0"):
        bootstrap_lrt(two_groups, 0)
    with pytest.raises(DataError, match="cannot support n_components=4"):
        bootstrap_lrt([[0.0], [1.0], [2.5], [3.0]], 3)


def test_unsound_fits_are_refused(two_groups, monkeypatch):
    run = likelihood_ratio._Search.run
    monkeypatch.setattr(likelihood_ratio._Search, "run", lambda self, Z, w, rng: None)
    with pytest.raises(FitError, match="no sound fit of 1 and of 2 components"):
        bootstrap_lrt(two_groups, 1, n_boot=2, seed=0)
    numbers = iter(range(100))
    monkeypatch.setattr(likelihood_ratio._Search, "run", lambda *given: None if next(numbers) % 5 == 1 else run(*given))
    found = bootstrap_lrt(two_groups, 1, structure="tied", n_boot=10, n_starts=1, seed=0, n_threads=1)
    assert (found.n_failed, len(found.replicates)) == (2, 8)
    numbers = iter(range(100))
    monkeypatch.setattr(likelihood_ratio._Search, "run", lambda *given: run(*given) if next(numbers) == 0 else None)
    with pytest.raises(FitError, match="in 3 of 3 replicates"):
        bootstrap_lrt(two_groups, 1, structure="tied", n_boot=3, n_starts=1, seed=0, n_threads=1)
