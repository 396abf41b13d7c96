"""maximise: R's optima, from R's partitions and from our own starts, and what a caller may rely on."""

import numpy as np
import pytest

from bayesgmm.em.loop import Settings, run_em
from bayesgmm.em.maximise import maximise
from bayesgmm.em.rows import pack
from bayesgmm.em.search import _is_same
from bayesgmm.em.statistics import Parameters, Pass
from bayesgmm.errors import ArgumentError, FitError
from bayesgmm.mixture import Mixture
from bayesgmm.structure import STRUCTURES
from tests.em.references import NOT_STATIONARY, REFERENCES, labels_of, log_likelihood_of, standardised
from tests.examples import random_mixture
from tests.tolerances import EXACT, assert_close

# The references are good to 1e-9 and more; mclust's own rule stops at 1e-5 of the value.
REFERENCE = 1e-6


def cases(names, numbers):
    return [(name, code, k) for name in names for code in REFERENCES[name]["log_likelihood"] for k in numbers]


def check_from_partition(name, code, k):
    Z, structure, offset = standardised(name, code)
    expected = log_likelihood_of(name, code, k)
    found = maximise(Z, k, structure=structure, start=labels_of(name, k), n_threads=1, max_iter=5000)
    if expected is None:
        assert found.degenerate_components
    elif code not in NOT_STATIONARY:
        assert found.converged
        assert_close(found.log_likelihood - offset, expected, REFERENCE)


def check_own_starts(name, code, k):
    Z, structure, offset = standardised(name, code)
    found = maximise(Z, k, structure=structure, n_threads=1, rng=np.random.default_rng(0))
    expected = log_likelihood_of(name, code, k)
    assert found.degenerate_components == ()
    if expected is not None:
        assert found.log_likelihood - offset >= expected - REFERENCE * abs(expected)


@pytest.mark.parametrize(
    ("name", "code", "k"), cases(["faithful", "iris"], [2, 3]) + cases(["galaxies", "acidity"], [3, 6])
)
def test_from_the_partition_of_mclust_to_its_optimum(name, code, k):
    check_from_partition(name, code, k)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code", "k"), cases(REFERENCES, range(1, 10)))
def test_from_every_partition_of_mclust_to_its_optimum(name, code, k):
    check_from_partition(name, code, k)


@pytest.mark.parametrize(("name", "code", "k"), cases(["faithful", "iris"], [3]) + cases(["galaxies", "acidity"], [3]))
def test_own_starts_end_nowhere_below_mclust(name, code, k):
    check_own_starts(name, code, k)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code", "k"), cases(REFERENCES, range(1, 10)))
def test_own_starts_end_nowhere_below_any_optimum_of_mclust(name, code, k):
    check_own_starts(name, code, k)


def test_the_maximum_of_old_faithful():
    Z, _, offset = standardised("faithful", "VVV")
    found = maximise(Z, 2)
    assert_close(found.log_likelihood - offset, -1130.26396, 1e-8)
    assert_close(np.sort(found.mixture.weights), [0.35587, 0.64413], 1e-5)
    assert found.converged
    assert found.last_gain <= 1e-10
    assert found.optima[0].times_reached > 16
    assert_close(found.mixture.log_density(Z).sum(), found.log_likelihood, EXACT)
    assert_close(found.trace[-1], found.log_likelihood, EXACT)


def test_one_component_is_the_sample_covariance():
    Z, _, _ = standardised("iris", "VVV")
    found = maximise(Z, 1)
    assert_close(found.mixture.covariances[0], np.cov(Z.T, bias=True), EXACT)
    assert found.converged


def test_every_kind_of_start_leads_to_the_same_optimum():
    Z, _, _ = standardised("faithful", "VVV")
    labels = labels_of("faithful", 2)
    best = maximise(Z, 2, start=labels)
    for start in (np.eye(2)[labels], best.mixture, labels.astype(np.int8)):
        assert_close(maximise(Z, 2, start=start).log_likelihood, best.log_likelihood, 1e-9)
    assert [one.times_reached for one in best.optima] == [1]


@pytest.mark.parametrize("code", ["VVV", "EVE", "VEI"])
def test_a_mixture_of_another_structure_can_be_the_start(code):
    Z, structure, _ = standardised("iris", code)
    start = random_mixture(2, 4)
    trace = maximise(Z, 2, structure=structure, start=start).trace
    assert np.all(np.diff(trace) >= -1e-10)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (np.zeros(10, int), "start has shape"),
        (np.full(272, 2), "labels from 2 to 2"),
        (np.full((272, 2), 0.4), "responsibilities"),
        (np.zeros(272), "start has shape"),
        (random_mixture(3, 2), "3 components"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(start, message):
    Z, _, _ = standardised("faithful", "VVV")
    with pytest.raises(ArgumentError, match=message):
        maximise(Z, 2, start=start)


def test_threads_and_repetition_change_nothing():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(40_000, 4)) + 2.0 * rng.integers(0, 3, size=(40_000, 1))
    first, second = (maximise(Z, 3, n_starts=8, n_threads=n, rng=np.random.default_rng(7)) for n in (1, 2))
    np.testing.assert_array_equal(first.mixture.covariances, second.mixture.covariances)
    np.testing.assert_array_equal(first.trace, second.trace)


def test_whole_weights_are_repeated_rows():
    Z, _, _ = standardised("faithful", "VVV")
    weights = np.random.default_rng(0).integers(0, 3, size=len(Z))
    labels = labels_of("faithful", 3)
    weighted = maximise(Z, 3, sample_weight=weights.astype(float), start=labels)
    repeated = maximise(np.repeat(Z, weights, axis=0), 3, start=np.repeat(labels, weights))
    assert_close(weighted.log_likelihood, repeated.log_likelihood, 1e-9)


def test_a_row_of_weight_zero_has_no_effect():
    Z, _, _ = standardised("faithful", "VVV")
    outlier = np.r_[Z, [[1e6, -1e6]]]
    weights = np.r_[np.ones(len(Z)), 0.0]
    with_outlier = maximise(outlier, 2, sample_weight=weights, rng=np.random.default_rng(0))
    without = maximise(Z, 2, sample_weight=np.ones(len(Z)), rng=np.random.default_rng(0))
    np.testing.assert_array_equal(with_outlier.mixture.means, without.mixture.means)


def test_what_fits_the_noise_of_a_sample_does_not_win_on_all_rows():
    """The first rounds see 10,000 of 60,000 rows; two of the groups lie close together."""
    rng = np.random.default_rng(3)
    centres = np.array([[0.0, 0.0, 0.0], [2.5, 0.0, 0.0], [0.0, 6.0, 0.0], [0.0, 0.0, 6.0]])
    labels = rng.integers(0, 4, size=60_000)
    Z = centres[labels] + rng.normal(size=(60_000, 3))
    from_truth = maximise(Z, 4, start=labels)
    found = maximise(Z, 4, rng=np.random.default_rng(0))
    assert found.converged
    assert found.log_likelihood >= from_truth.log_likelihood - 1e-3


def test_a_spike_never_wins_over_a_sound_optimum():
    rng = np.random.default_rng(0)
    Z = np.concatenate([rng.normal(size=(100, 1)), rng.normal(size=(100, 1)) + 4.0, np.full((15, 1), 2.0)])
    found = maximise(Z, 3, structure="spherical")
    assert found.degenerate_components == ()
    spikes = [one for one in found.optima if one.is_degenerate]
    assert spikes
    assert max(one.log_likelihood for one in spikes) > found.log_likelihood
    assert not found.optima[0].is_degenerate


@pytest.mark.parametrize("n", [300, 30_000])
def test_every_run_over_all_rows_leaves_its_trace(n):
    Z = np.random.default_rng(0).normal(size=(n, 2)) + np.repeat([[0.0, 0.0], [2.5, 0.0], [0.0, 3.0]], n // 3, axis=0)
    found = maximise(Z, 3, n_starts=12, rng=np.random.default_rng(0))
    traces = [found.trace, *found.other_traces]
    if n == 300:  # else the first rounds see a sample
        assert len(traces) >= 12
    ends = sorted(one.log_likelihood for one in found.optima)
    for trace in traces:
        assert np.all(np.diff(trace) >= -EXACT * abs(trace[-1]))
        assert trace[-1] <= ends[-1] + EXACT * abs(ends[-1])
    assert {trace[-1] for trace in traces} >= set(ends)


def test_a_spike_is_named_when_there_is_nothing_else():
    Z = np.repeat(np.array([[0.0, 0.0], [1.0, 5.0], [4.0, 2.0]]), 20, axis=0)
    found = maximise(Z, 3)
    assert found.degenerate_components
    assert not found.converged
    assert maximise(Z, 3, reg_covar=1e-3).degenerate_components == ()


@pytest.mark.parametrize("structure", ["full", "tied", "VEV", "EVE"])
def test_collinear_columns_are_refused(structure):
    Z, _, _ = standardised("faithful", "VVV")
    collinear = np.c_[Z, Z[:, 0] - 2.0 * Z[:, 1]]
    with pytest.raises(FitError, match="linear combinations"):
        maximise(collinear, 2, structure=structure)
    assert maximise(collinear, 2, structure="diag").converged
    assert maximise(collinear, 2, structure=structure, reg_covar=1e-3).converged


def test_fewer_rows_than_components_are_refused():
    with pytest.raises(ArgumentError, match="n_components=3"):
        maximise(np.eye(2), 3)


def test_progress_is_told():
    Z, _, _ = standardised("faithful", "VVV")
    seen = []
    maximise(Z, 2, start=labels_of("faithful", 2), progress=lambda n, value: seen.append((n, value)))
    assert len(seen) > 5
    assert np.all(np.diff([n for n, _ in seen]) > 0)
    assert np.all(np.diff([value for _, value in seen]) >= -1e-9)


@pytest.mark.parametrize("code", STRUCTURES)
def test_every_optimum_is_distinct_and_its_own(code):
    Z, structure, _ = standardised("iris", code)
    found = maximise(Z, 3, structure=structure, n_starts=16)
    sound = [one.log_likelihood for one in found.optima if not one.is_degenerate]
    assert sound == sorted(sound, reverse=True)
    for one in found.optima:
        assert_close(one.mixture.log_density(Z).sum(), one.log_likelihood, 1e-9)


def test_runs_are_matched_whatever_their_labels():
    Z, _, _ = standardised("faithful", "VVV")
    best = maximise(Z, 3, start=labels_of("faithful", 3)).mixture
    turned = best.permute([2, 0, 1])
    with Pass.over(pack(Z), 1) as data:
        settings = Settings(STRUCTURES["VVV"], max_iter=3)
        first, second, other = (
            run_em(data, Parameters(one.weights, one.means, one.covariances), settings)
            for one in (best, turned, Mixture(best.weights, best.means[::-1], best.covariances))
        )
    assert _is_same(first, second, len(Z))
    assert not _is_same(first, other, len(Z))
