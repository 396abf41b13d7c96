"""What counts as collapsed, and what is only small."""

import numpy as np
import pytest

from bayesgmm.em.degeneracy import conditions, degenerate_components
from bayesgmm.em.rows import pack
from bayesgmm.em.statistics import Parameters, Pass
from bayesgmm.structure import STRUCTURES

ROWS = np.random.default_rng(0).normal(size=(200, 2)) @ np.array([[1.0, 0.0], [0.9, 0.5]])
FULL = STRUCTURES["VVV"]


def collapsed(covariances, counts, *, rows=ROWS, structure=FULL):
    counts = np.asarray(counts, dtype=float)
    d = rows.shape[1]
    parameters = Parameters(counts / counts.sum(), np.zeros((len(counts), d)), np.array(covariances, dtype=float))
    with Pass.over(pack(rows), 1) as data:
        return degenerate_components(parameters, counts, data.total, structure)


def test_a_singular_covariance_has_collapsed():
    flat = [[1.0, 1.0], [1.0, 1.0]]
    assert collapsed([np.eye(2), flat, np.eye(2)], [80, 60, 60]) == (1,)
    assert collapsed([np.eye(2), np.zeros((2, 2))], [80, 60]) == (1,)


@pytest.mark.parametrize(("variance", "is_collapsed"), [(1e-24, True), (1e-18, False), (1e-8, False)])
def test_a_variance_is_zero_where_rounding_of_the_data_makes_as_much(variance, is_collapsed):
    assert collapsed([np.eye(2), variance * np.eye(2)], [150, 50]) == ((1,) if is_collapsed else ())


@pytest.mark.parametrize(
    ("count", "variance", "is_collapsed"), [(2.0, 1e-6, True), (2.0, 0.1, False), (6.0, 1e-6, False)]
)
def test_two_rows_close_together_are_a_spike(count, variance, is_collapsed):
    assert collapsed([np.eye(2), variance * np.eye(2)], [200 - count, count]) == ((1,) if is_collapsed else ())


def test_a_shared_covariance_is_no_spike_of_one_component():
    small = 1e-6 * np.eye(2)
    assert collapsed([small, small], [198.0, 2.0], structure=STRUCTURES["EEE"]) == ()


def test_an_empty_component_has_collapsed():
    assert collapsed([np.eye(2), np.eye(2)], [200.0, 1e-9]) == (1,)


def test_what_is_collinear_in_the_data_is_no_fault_of_a_component():
    rows = np.c_[ROWS[:, 0], ROWS[:, 0] + 1e-5 * ROWS[:, 1]]
    covariance = np.cov(rows.T, bias=True)
    assert collapsed([covariance, covariance], [100, 100], rows=rows) == ()


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e8])
def test_units_are_of_no_concern(unit):
    covariances = np.array([np.eye(2), 1e-6 * np.eye(2)]) * unit**2
    assert collapsed(covariances, [198.0, 2.0], rows=ROWS * unit) == (1,)
    assert collapsed(covariances, [150.0, 50.0], rows=ROWS * unit) == ()


def test_conditions_are_those_of_the_correlations():
    covariances = np.array([np.diag([1.0, 1e-8]), [[4.0, 1.8], [1.8, 1.0]]])
    found = conditions(Parameters(np.full(2, 0.5), np.zeros((2, 2)), covariances))
    np.testing.assert_allclose(found, [1.0, 0.1], rtol=1e-12)
