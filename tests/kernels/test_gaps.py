"""Rows with gaps and fractional copies in the Gibbs sweep: what they count, against the conditional distributions."""

import numpy as np
import pytest
from scipy import stats

from bayesgmm.bayes.conjugate_rows import make_table
from bayesgmm.bayes.likelihood import Patterns
from bayesgmm.kernels import labels as kernels
from bayesgmm.kernels.conditionals import Parameters
from bayesgmm.kernels.gaps import Gaps, allocate_incomplete
from bayesgmm.kernels.random_numbers import normal_of
from bayesgmm.kernels.table import allocate_all
from bayesgmm.mixture import Mixture
from tests.examples import random_mixture, random_rows
from tests.tolerances import ALGEBRA, assert_close, assert_within_errors

COPIES = 40_000


def parameters_of(mixture):
    factors = np.linalg.cholesky(np.linalg.inv(mixture.covariances))
    return Parameters(np.log(mixture.weights), mixture.means.copy(), factors, np.eye(mixture.n_features))


def room(k, d):
    return np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))


def allocate(mixture, rows, weights=None, *, is_diagonal=False, anchor=None, seed=0):
    """Return log-likelihood, excess and sums of one sweep over rows in which NaN stands for a missing value."""
    table = make_table(np.nan_to_num(rows), weights, Patterns.of(rows), anchor)
    sums, stream = room(*mixture.means.shape), np.random.SeedSequence(seed).generate_state(4, np.uint64)
    labels = np.full(len(rows), -1, dtype=np.int16)
    found = allocate_all(table, len(mixture.weights), is_diagonal, parameters_of(mixture), stream, labels, *sums)
    return *found, labels, *sums


def diagonal(mixture):
    return Mixture(mixture.weights, mixture.means, mixture.covariances * np.eye(mixture.n_features))


def with_gaps(n, d, seed=0):
    """Rows of which each has at least one value."""
    rng, rows = np.random.default_rng(seed), random_rows(n, d, seed=seed)
    gaps = rng.random((n, d)) < 0.4
    gaps[np.arange(n), rng.integers(d, size=n)] = False
    return np.where(gaps, np.nan, rows)


def completed(row, mean, cov):
    """Mean and covariance of a row given what was observed of it."""
    seen = ~np.isnan(row)
    gain = cov[:, seen] @ np.linalg.inv(cov[np.ix_(seen, seen)])
    left = (cov - gain @ cov[seen]) * np.outer(~seen, ~seen)
    return mean + gain @ (row[seen] - mean[seen]), left


# -------------------------------------------------------------------- missing values


@pytest.mark.parametrize("is_diagonal", [False, True])
@pytest.mark.parametrize("row", [[np.nan, 0.3, -0.5], [0.4, np.nan, np.nan], [0.2, np.nan, 0.1]])
def test_a_row_is_completed_from_its_conditional_distribution(row, is_diagonal):
    row, mixture = np.array(row), random_mixture(2, 3)
    mixture = diagonal(mixture) if is_diagonal else mixture
    _, _, _, s0, s1, s2 = allocate(mixture, row[None], np.array([float(COPIES)]), is_diagonal=is_diagonal)
    shares = mixture.responsibilities(row[None])[0]
    assert_within_errors(s0 / COPIES, shares, np.sqrt(shares * (1 - shares) / COPIES))
    for component in range(2):
        centre, cov = completed(row, mixture.means[component], mixture.covariances[component])
        offset, count = centre - mixture.means[component], s0[component]
        assert_within_errors(s1[component] / count, offset, np.sqrt(np.diag(cov) / count) + ALGEBRA)
        variances = np.diag(cov)
        second = cov + np.outer(offset, offset)
        spread = (
            np.outer(variances, variances) + cov**2 + np.outer(offset**2, variances) + np.outer(variances, offset**2)
        )
        spread += 2 * np.outer(offset, offset) * cov
        lower = np.eye(3) if is_diagonal else np.tril(np.ones((3, 3)))
        assert_within_errors(
            s2[component] / count, lower * second, lower * np.sqrt(np.maximum(spread, 0.0) / count) + ALGEBRA
        )


@pytest.mark.parametrize("is_diagonal", [False, True])
@pytest.mark.parametrize(("n", "d"), [(40, 2), (1500, 3)])
def test_the_log_likelihood_is_that_of_what_was_observed(n, d, is_diagonal):
    mixture, rows = random_mixture(3, d), with_gaps(n, d)
    mixture = diagonal(mixture) if is_diagonal else mixture
    weights = np.random.default_rng(1).integers(0, 4, size=n).astype(float)
    value, _, labels, s0, _, _ = allocate(mixture, rows, weights, is_diagonal=is_diagonal)
    assert value == pytest.approx(weights @ mixture.log_density(rows))
    assert s0.sum() == weights.sum()
    np.testing.assert_array_equal(labels >= 0, weights > 0)


def test_what_is_drawn_for_a_row_does_not_depend_on_the_others():
    mixture, rows = random_mixture(3, 3), with_gaps(1200, 3)
    rows[::5] = random_rows(240, 3)
    gaps = make_table(np.nan_to_num(rows), None, Patterns.of(rows)).gaps
    key = np.uint64(kernels.label_key(np.arange(1, 5, dtype=np.uint64)))
    whole, labels = room(3, 3), np.full(1200, -1, dtype=np.int16)
    value = allocate_incomplete(gaps, 0, 3, False, parameters_of(mixture), key, labels, *whole)
    parts, values, found = room(3, 3), 0.0, np.full(1200, -1, dtype=np.int16)
    for first in (600, 0):
        own = make_table(np.nan_to_num(rows[first : first + 600]), None, Patterns.of(rows[first : first + 600])).gaps
        part = found[first : first + 600]
        values += allocate_incomplete(own, first, 3, False, parameters_of(mixture), key, part, *parts)
    np.testing.assert_array_equal(found, labels)
    assert values == pytest.approx(value)
    for one, other in zip(parts, whole, strict=True):
        assert_close(one, other, ALGEBRA)


def test_rows_that_lack_everything_or_have_no_weight_are_left_out():
    rows = with_gaps(30, 2)
    weights = np.ones(32)
    weights[31] = 0.0
    more = make_table(np.zeros((32, 2)), weights, Patterns.of(np.concatenate([rows, [[np.nan] * 2], [[1.0, np.nan]]])))
    fewer = make_table(np.zeros((30, 2)), None, Patterns.of(rows))
    for name in Gaps._fields:
        np.testing.assert_array_equal(getattr(more.gaps, name), getattr(fewer.gaps, name))
    np.testing.assert_array_equal(more.copies[30:], 0)


def test_numbers_by_key_are_normal_and_independent():
    keys = np.random.default_rng(0).integers(2**63, size=20_000).astype(np.uint64)
    drawn = np.array([[normal_of(key, number) for number in range(3)] for key in keys])
    assert stats.kstest(drawn.ravel(), stats.norm.cdf).pvalue > 1e-3
    for numbers in (drawn, drawn**2, np.column_stack([drawn[:-1, 0], drawn[1:, 0], keys[:-1] / 2.0**63])):
        correlations = np.corrcoef(numbers.T)[np.triu_indices(3, 1)]
        assert np.abs(correlations).max() < 4 / np.sqrt(len(keys) - 1)


# -------------------------------------------------------------------- fractional weights


def test_fractional_copies_add_their_share():
    mixture, rows = random_mixture(3, 2), random_rows(900, 2)
    weights = np.random.default_rng(2).uniform(0.0, 2.5, size=900)
    value, excess, _, s0, _, _ = allocate(mixture, rows, weights, anchor=mixture)
    assert value == pytest.approx(weights @ mixture.log_density(rows))
    assert s0.sum() == pytest.approx(weights.sum())
    assert 0.0 <= excess < 30.0


def test_the_bound_is_the_sum_of_tempered_parts():
    mixture, rows = random_mixture(3, 2), random_rows(50, 2)
    shares = np.random.default_rng(3).uniform(0.1, 0.9, size=50)
    anchor = random_mixture(3, 2, seed=9)
    _, excess, *_ = allocate(mixture, rows, shares, anchor=anchor)
    joint = mixture.log_density(rows)[:, None] + np.log(mixture.responsibilities(rows))
    kept = 0.9 * anchor.responsibilities(rows) + 0.1 / 3
    bound = np.logaddexp.reduce((1 - shares[:, None]) * np.log(kept) + shares[:, None] * joint, axis=1)
    assert excess == pytest.approx(shares @ mixture.log_density(rows) - bound.sum())


def test_the_bound_touches_at_the_anchor():
    """There it has the value and the slope of the log-likelihood, but for the share of equal responsibilities."""
    anchor, rows = random_mixture(3, 2), random_rows(4000, 2)
    shares = np.full(4000, 0.5)
    moved = [
        Mixture(anchor.weights, anchor.means + step * np.array([0.3, -0.2]), anchor.covariances)
        for step in (-0.02, 0.0, 0.02)
    ]
    below, here, above = (allocate(mixture, rows, shares, anchor=anchor)[1] for mixture in moved)
    gain = 0.5 * abs(np.diff([mixture.log_density(rows).sum() for mixture in moved])).max()
    assert 0.0 <= here < 10.0
    assert abs(above - below) < 0.05 * gain


def test_fractional_labels_are_drawn_from_tempered_responsibilities():
    mixture, rows = random_mixture(3, 2), random_rows(1, 2)
    share = 0.4
    _, _, _, s0, s1, s2 = allocate(mixture, np.repeat(rows, COPIES, axis=0), np.full(COPIES, share), anchor=mixture)
    r = mixture.responsibilities(rows)[0]
    equal = 10 / COPIES
    expected = ((1 - equal) * r + equal / 3) ** (1 - share) * r**share
    expected /= expected.sum()
    assert_within_errors(s0 / (share * COPIES), expected, np.sqrt(expected * (1 - expected) / COPIES))
    offsets = rows[0] - mixture.means
    assert_close(s1, s0[:, None] * offsets, ALGEBRA)
    assert_close(s2, s0[:, None, None] * np.tril(np.einsum("ki,kj->kij", offsets, offsets)), ALGEBRA)
