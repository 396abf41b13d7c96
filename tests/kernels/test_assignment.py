"""The best permutation as SciPy finds it, its prices, and the second-best by forbidding pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment

from bayesgmm.kernels.assignment import assign_all
from tests.tolerances import ALGEBRA, assert_close


def found(costs):
    n, k = costs.shape[:2]
    permutations, best, margins = np.empty((n, k), dtype=np.int64), np.empty(n), np.empty(n)
    assign_all(costs, permutations, best, margins)
    return permutations, best, margins


def second_best(cost):
    """Return the cost of the best permutation that lacks a pair of the best: one of K problems, a pair forbidden."""
    rows, columns = linear_sum_assignment(cost)
    lowest = np.inf
    for j in rows:
        changed = cost.copy()
        changed[j, columns[j]] += 1.0 + np.abs(cost).sum()
        again = linear_sum_assignment(changed)
        lowest = min(lowest, cost[again].sum())
    return lowest


@pytest.mark.parametrize("k", [2, 3, 8, 15, 30])
@pytest.mark.parametrize("offset", [0.0, -5.0])
def test_is_what_scipy_finds(k, offset):
    costs = np.random.default_rng(k).normal(offset, 1.0, size=(20, k, k))
    permutations, best, margins = found(costs)
    for s, cost in enumerate(costs):
        np.testing.assert_array_equal(permutations[s], linear_sum_assignment(cost)[1])
        assert_close(best[s] + margins[s], second_best(cost), ALGEBRA)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(hnp.arrays(float, (6, 6), elements=st.sampled_from([0.0, 1.0, 2.0, 7.0])))
def test_ties_are_no_trap(cost):
    permutations, best, margins = found(cost[None])
    assert sorted(permutations[0]) == list(range(6))
    assert best[0] == cost[linear_sum_assignment(cost)].sum()
    assert margins[0] == second_best(cost) - best[0]


def test_equal_costs_leave_the_names_alone():
    permutations, best, margins = found(np.ones((1, 4, 4)))
    np.testing.assert_array_equal(permutations[0], range(4))
    assert (best[0], margins[0]) == (4.0, 0.0)


def test_huge_and_tiny_costs_side_by_side():
    costs = np.random.default_rng(0).random((10, 5, 5)) * 10.0 ** np.arange(-8, 2, 2)
    permutations, _, _ = found(costs)
    for s, cost in enumerate(costs):
        assert_close(cost[range(5), permutations[s]].sum(), cost[linear_sum_assignment(cost)].sum(), ALGEBRA)
