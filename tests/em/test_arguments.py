"""What is refused before EM runs, in words: starts that lead nowhere, columns that say the same, too few rows."""

import numpy as np
import pandas as pd
import pytest

from bayesgmm.data import load_dataset
from bayesgmm.em.degeneracy import collinear_columns
from bayesgmm.em.fit import fit_em
from bayesgmm.em.starts import moments_of_labels
from bayesgmm.errors import ArgumentError, FitError
from bayesgmm.mixture import Mixture

FAITHFUL = load_dataset("faithful")
RNG = np.random.default_rng(0)


def total_of(rows):
    return moments_of_labels(rows, np.zeros(len(rows), dtype=int), 1, None)


class TestStartsThatLeadNowhere:
    @pytest.mark.parametrize("share", [0.5, 0.3])
    def test_equal_responsibilities_are_refused(self, share):
        with pytest.raises(ArgumentError, match="EM cannot tell them apart"):
            fit_em(FAITHFUL, 2, start=np.tile([share, 1 - share], (272, 1)))

    def test_components_that_are_all_alike_are_refused(self):
        mixture = Mixture([0.3, 0.7], [[3.0, 70.0]] * 2, [np.diag([1.0, 100.0])] * 2, ("eruptions", "waiting"))
        with pytest.raises(ArgumentError, match="components are all alike"):
            fit_em(FAITHFUL, 2, start=mixture)
        other = Mixture(mixture.weights, mixture.means, mixture.covariances * np.array([1.0, 0.5])[:, None, None])
        assert fit_em(FAITHFUL, 2, start=other).log_likelihood > -1200

    def test_one_component_may_have_them(self):
        start = np.ones((272, 1))
        assert fit_em(FAITHFUL, 1, start=start).info.diagnostics["converged"]


class TestCollinearColumns:
    def test_they_are_named_and_the_others_are_not(self):
        rows = pd.DataFrame(RNG.normal(size=(60, 4)), columns=list("abcd"))
        rows["sum"] = 2 * rows["a"] - rows["c"] + 5
        with pytest.raises(FitError, match=r"the columns 'a', 'c', 'sum' are constant or linear combinations"):
            fit_em(rows, 2)

    def test_two_combinations_are_both_found(self):
        rows = RNG.normal(size=(60, 5))
        both = np.c_[rows, rows[:, 0] * 1e3, rows[:, 1] - rows[:, 2]]
        assert collinear_columns(total_of(both)) == (0, 1, 2, 5, 6)
        assert collinear_columns(total_of(rows)) == ()
        assert collinear_columns(total_of(np.c_[rows, np.full(60, 3.0)])) == (5,)

    @pytest.mark.parametrize("structure", ["full", "tied", "VEV"])
    @pytest.mark.parametrize("k", [1, 2])
    def test_fewer_rows_than_columns_is_said(self, structure, k):
        rows = RNG.normal(size=(12, 15))
        with pytest.raises(FitError, match=r"12 rows of 15 columns determine no .* use fewer columns"):
            fit_em(rows, k, structure=structure)
        for remedy in ({"reg_covar": 1e-2}, {"prior": "default"}):
            fit = fit_em(rows, 1, structure=structure, **remedy)
            assert fit.info.diagnostics["converged"]
