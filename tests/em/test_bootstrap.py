"""Resampling: exact cases, agreement with the information and with R's mclust; threads, matching, failures."""

import numpy as np
import pytest

from bayesgmm.data.prepare import prepare
from bayesgmm.em import bootstrap
from bayesgmm.em.bootstrap import replicate
from bayesgmm.em.fit import fit_em
from bayesgmm.em.maximise import maximise
from bayesgmm.em.standard_errors import standard_errors
from bayesgmm.errors import ArgumentError, ConvergenceWarning, DegenerateFitWarning, FitError, LabelWarning
from bayesgmm.mixture import Mixture
from bayesgmm.structure import STRUCTURES
from tests.conftest import build_fit
from tests.examples import random_covariances
from tests.tolerances import ALGEBRA, OPTIMUM, STANDARD_ERRORS, assert_close

RESAMPLING = ["bootstrap", "parametric_bootstrap", "weighted_bootstrap"]

# MclustBootstrap of R's mclust 6.0.0 on faithful, VVV, G=2: 4000 replicates, for "jk" 272. Components as here; weights,
# means by component, then variance of eruptions, covariance, variance of waiting by component.
MCLUST = {
    "bootstrap": [0.02884, 0.02884, 0.03248, 0.46286, 0.02899, 0.59478,
                  0.019897, 0.26947, 4.35726, 0.014274, 0.16733, 4.27233],
    "weighted_bootstrap": [0.02907, 0.02907, 0.03203, 0.46254, 0.02916, 0.59161,
                           0.019815, 0.26805, 4.30922, 0.014208, 0.17220, 4.31935],
    "parametric_bootstrap": [0.02892, 0.02892, 0.03108, 0.44470, 0.02702, 0.59051,
                             0.018350, 0.19856, 3.81593, 0.010191, 0.16008, 4.97490],
    "jackknife": [0.02915, 0.02915, 0.03183, 0.46033, 0.02833, 0.59952,
                  0.018601, 0.24928, 4.09541, 0.013849, 0.16714, 4.38737],
}  # fmt: skip


def one_component(weights=None, n=30, d=2):
    X = np.random.default_rng(0).normal(size=(n, d)) * [1.0, 20.0][:d]
    return fit_em(prepare(X, sample_weight=weights), 1)


# ---------------------------------------------------------------- against other routes


@pytest.mark.parametrize("method", RESAMPLING)
def test_agrees_with_mclust(faithful_em, method):
    n_boot = 200
    found = standard_errors(faithful_em, method, n_boot=n_boot, seed=1).table["se"]
    ratio = np.log(found / MCLUST[method])
    # The logarithm of a standard deviation has a standard error of 1 / sqrt(2 B), for a normal distribution.
    assert np.abs(ratio).max() < STANDARD_ERRORS * np.sqrt(1 / (2 * n_boot) + 1 / 8000)


def test_jackknife_agrees_with_mclust(faithful_em):
    # There EM stops at 1e-5, close to where it starts.
    found = standard_errors(faithful_em, "jackknife").table["se"]
    np.testing.assert_allclose(found, MCLUST["jackknife"], rtol=0.04)


def test_parametric_bootstrap_agrees_with_the_information():
    mixture = Mixture([0.6, 0.4], [[0.0, 0.0], [4.0, 3.0]], [[[1.0, 0.5], [0.5, 2.0]], [[1.5, -0.4], [-0.4, 0.8]]])
    fit = fit_em(mixture.sample(2000, 0)[0], 2, start=mixture)
    n_boot = 100
    found = standard_errors(fit, "parametric_bootstrap", n_boot=n_boot, seed=2).table["se"]
    expected = standard_errors(fit).table["se"]
    assert np.abs(np.log(found / expected)).max() < STANDARD_ERRORS / np.sqrt(2 * n_boot)


@pytest.mark.parametrize("code", STRUCTURES)
def test_every_structure_is_replicated(code):
    mixture = Mixture([0.6, 0.4], [[0.0, 0.0], [9.0, 9.0]], random_covariances(code, 2, 2, seed=3))
    fit = fit_em(mixture.sample(300, 1)[0], 2, structure=code, start=mixture)
    found = standard_errors(fit, "weighted_bootstrap", n_boot=25, seed=0).table["se"]
    ratio = np.log(found / standard_errors(fit, "sandwich").table["se"])
    assert np.abs(ratio).max() < STANDARD_ERRORS / np.sqrt(2 * 25)


# ---------------------------------------------------------------- exact cases


def test_jackknife_of_a_mean_is_its_standard_error():
    fit = one_component()
    X = fit.prepared.values
    found = standard_errors(fit, "jackknife").covariance.to_numpy()[:2, :2]
    assert_close(found, np.cov(X.T) / len(X), ALGEBRA)


def test_as_many_groups_as_rows_are_the_rows():
    fit = one_component()
    single, grouped = standard_errors(fit, "jackknife"), standard_errors(fit, "jackknife", n_boot=30, seed=5)
    assert_close(grouped.covariance.to_numpy(), single.covariance.to_numpy(), ALGEBRA)


def test_jackknife_counts_a_row_of_weight_two_twice():
    counts = np.tile([1.0, 2.0, 0.0], 10)
    weighted = one_component(counts)
    repeated = fit_em(np.repeat(weighted.prepared.values, counts.astype(int), axis=0), 1)
    for settings in ({}, {"n_boot": 30, "seed": 1}):
        found = standard_errors(weighted, "jackknife", **settings).covariance.to_numpy()
        assert_close(found, standard_errors(repeated, "jackknife").covariance.to_numpy(), ALGEBRA)


@pytest.mark.parametrize("method", RESAMPLING)
def test_bootstrap_with_row_weights_has_the_size_of_their_sum(method):
    weights = np.tile([1.0, 4.0, 0.0], 20)
    fit = one_component(weights, n=60)
    found = standard_errors(fit, method, n_boot=100, seed=3).table["se"]
    expected = standard_errors(fit, "information" if method.startswith("par") else "sandwich").table["se"]
    assert np.abs(np.log(found / expected)).max() < STANDARD_ERRORS / np.sqrt(2 * 100)


def test_table_is_made_of_the_replicates():
    found = standard_errors(one_component(), "bootstrap", n_boot=20, seed=0, prob=0.8)
    means = found.replicates.means[:, 0, 1]
    row = found.table.loc["means[0, x1]"]
    assert row["se"] == pytest.approx(means.std(ddof=1))
    np.testing.assert_allclose(row[["lower", "upper"]].to_numpy(), np.quantile(means, [0.1, 0.9]))
    assert found.replicates.batch_shape == (20,)
    assert (found.seed, found.n_failed, found.ambiguous_share, found.condition) == (0, 0, 0.0, None)
    assert repr(found).startswith("StandardErrors(bootstrap, 80% intervals, 20 replicates, 0.0% ambiguous, 0 failed)")


# ---------------------------------------------------------------- streams, units


@pytest.mark.parametrize("method", RESAMPLING)
def test_threads_change_nothing(faithful_em, method):
    one, three = (replicate(faithful_em, method, n_boot=7, seed=4, n_starts=1, n_threads=t) for t in (1, 3))
    np.testing.assert_array_equal(one.mixture.covariances, three.mixture.covariances)


def test_seeds_are_recorded_and_repeat(faithful_em):
    first = standard_errors(faithful_em, "bootstrap", n_boot=3)
    again = standard_errors(faithful_em, "bootstrap", n_boot=3, seed=first.seed)
    np.testing.assert_array_equal(first.replicates.means, again.replicates.means)
    other = standard_errors(faithful_em, "bootstrap", n_boot=3, seed=first.seed + 1)
    assert not np.array_equal(first.replicates.means, other.replicates.means)


@pytest.mark.parametrize("method", RESAMPLING)
def test_units_change_replicates_as_they_change_estimates(faithful_em, method):
    scale, shift = np.array([1e-3, 60.0]), np.array([5.0, -1e4])
    moved = prepare(faithful_em.prepared.values * scale + shift)
    plain = build_fit(Mixture(*_arrays(faithful_em.mixture)), prepare(faithful_em.prepared.values))
    other = build_fit(plain.mixture.affine(scale, shift), moved)
    found, expected = (replicate(fit, method, n_boot=3, seed=1).mixture for fit in (other, plain))
    assert_close((found.means - shift) / scale, expected.means, OPTIMUM)
    assert_close(found.covariances / (scale[:, None] * scale), expected.covariances, OPTIMUM)


def _arrays(mixture):
    return mixture.weights, mixture.means, mixture.covariances


def test_progress_is_shown_on_a_terminal_and_nowhere_else(faithful_em, capsys, monkeypatch):
    for is_terminal in ("1", ""):
        monkeypatch.setenv("FORCE_COLOR", is_terminal)
        standard_errors(faithful_em, "bootstrap", n_boot=2, seed=0, progress=True)
        shown = capsys.readouterr()
        assert ("replicates" in shown.err) == bool(is_terminal)
        assert shown.out == ""


# ---------------------------------------------------------------- what can go wrong


def change_solutions(monkeypatch, change):
    """Let every replicate's EM end in what `change` makes of the solution and its number."""
    count = iter(range(10**6))

    def changed(*arguments, **settings):
        return change(maximise(*arguments, **settings), next(count))

    monkeypatch.setattr(bootstrap, "maximise", changed)


def with_changes(solution, **changes):
    return type(solution)(**{name: changes.get(name, getattr(solution, name)) for name in vars(solution)})


def test_components_are_matched(faithful_em, monkeypatch):
    straight = replicate(faithful_em, "bootstrap", n_boot=6, seed=0, n_threads=1)
    change_solutions(
        monkeypatch,
        lambda one, number: with_changes(one, mixture=one.mixture.permute([1, 0])) if number % 2 else one,
    )
    crossed = replicate(faithful_em, "bootstrap", n_boot=6, seed=0, n_threads=1)
    np.testing.assert_array_equal(crossed.mixture.means, straight.mixture.means)


def test_collapsed_replicates_are_left_out_and_told(faithful_em, monkeypatch):
    change_solutions(
        monkeypatch, lambda one, number: with_changes(one, degenerate_components=() if number % 4 else (0,))
    )
    with pytest.warns(DegenerateFitWarning, match="collapsed in 2 of 8 replicates"):
        found = standard_errors(faithful_em, "bootstrap", n_boot=8, seed=0, n_threads=1)
    assert (found.n_failed, found.replicates.n_mixtures) == (2, 6)


def test_too_many_collapsed_replicates_are_refused(faithful_em, monkeypatch):
    change_solutions(monkeypatch, lambda one, number: with_changes(one, degenerate_components=(0,) if number else ()))
    with pytest.raises(FitError, match="collapsed in 7 of 8 replicates"):
        standard_errors(faithful_em, "bootstrap", n_boot=8, seed=0, n_threads=1)
    change_solutions(monkeypatch, lambda one, number: with_changes(one, degenerate_components=() if number else (0,)))
    with pytest.raises(FitError, match="collapsed in 1 of 9 replicates of the jackknife"):
        standard_errors(faithful_em, "jackknife", n_boot=9, n_threads=1)


def test_unconverged_replicates_are_told(faithful_em, monkeypatch):
    change_solutions(monkeypatch, lambda one, number: with_changes(one, converged=number != 1))
    with pytest.warns(ConvergenceWarning, match="1 of 4 replicates did not converge"):
        standard_errors(faithful_em, "bootstrap", n_boot=4, seed=0, n_threads=1)


def test_the_better_of_start_and_own_starts_wins(faithful_em, monkeypatch):
    # Calls come in pairs: from the estimate, from an own start. The own start of the second replicate finds more.
    def better(one, number):
        mixture = one.mixture.affine([1.0, 1.0], [3.0, 0.0]) if number % 2 else one.mixture
        return with_changes(one, mixture=mixture, log_likelihood=float(number == 3))

    change_solutions(monkeypatch, better)
    found = replicate(faithful_em, "bootstrap", n_boot=2, seed=0, n_starts=1, n_threads=1)
    monkeypatch.undo()
    plain = replicate(faithful_em, "bootstrap", n_boot=2, seed=0, n_threads=1)
    moved = found.mixture.means - plain.mixture.means
    expected = [0.0, 3.0 * faithful_em.scaling.scale[0]]
    np.testing.assert_allclose(moved[:, 0, 0], expected, atol=1e-3)


def test_names_that_mean_nothing_are_told(faithful_em, monkeypatch):
    def alike(one, number):
        mixture = one.mixture
        same = Mixture([0.5, 0.5], [mixture.means[0]] * 2, [mixture.covariances[0]] * 2)
        return with_changes(one, mixture=same) if number == 2 else one

    change_solutions(monkeypatch, alike)
    with pytest.warns(LabelWarning, match="20% of the replicates could as well have been labelled otherwise"):
        found = standard_errors(faithful_em, "bootstrap", n_boot=5, seed=0, n_threads=1)
    assert found.ambiguous_share == 0.2


def test_jackknife_needs_whole_rows():
    with pytest.raises(ArgumentError, match="whole numbers"):
        standard_errors(one_component(np.full(30, 0.5)), "jackknife")
    with pytest.raises(ArgumentError, match="n_boot=31 groups cannot be made of 30 rows"):
        standard_errors(one_component(), "jackknife", n_boot=31)
