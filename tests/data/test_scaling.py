"""Units: there and back, and the Jacobian that densities carry."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bayesgmm.data.scaling import Scaling
from tests.examples import random_mixture, random_rows
from tests.tolerances import ALGEBRA, EXACT, assert_close

SCALING = Scaling(np.array([3.0, -100.0, 0.0]), np.array([0.5, 20.0, 1.0]))


def test_standardised_rows_are_centred_and_scaled():
    np.testing.assert_array_equal(SCALING.standardize([[3.0, -100.0, 0.0], [4.0, -80.0, 2.0]]), [[0, 0, 0], [2, 1, 2]])


@settings(deadline=None, derandomize=True, max_examples=50)
@given(
    hnp.arrays(float, 3, elements=st.floats(-1e6, 1e6)),
    hnp.arrays(float, 3, elements=st.floats(1e-6, 1e6)),
    st.integers(0, 5),
)
def test_mixtures_there_and_back(shift, scale, seed):
    scaling, mixture = Scaling(shift, scale), random_mixture(3, 3, seed=seed)
    back = scaling.mixture_to_standard(scaling.mixture_to_user(mixture))
    np.testing.assert_allclose(back.covariances, mixture.covariances, rtol=EXACT)
    # The means are rounded to the last digit of shift / scale on the way.
    rounding = 4e-16 * np.abs(shift / scale).max()
    np.testing.assert_allclose(back.means, mixture.means, rtol=1e-11, atol=EXACT + 4 * rounding)
    np.testing.assert_array_equal(back.weights, mixture.weights)


@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_log_densities_differ_by_the_jacobian(batch):
    mixture, Z = random_mixture(3, 3, batch=batch), random_rows(20, 3)
    X = SCALING.shift + SCALING.scale * Z
    user = SCALING.mixture_to_user(mixture)
    assert_close(user.log_density(X), mixture.log_density(SCALING.standardize(X)) + SCALING.log_jacobian, ALGEBRA)
    assert_close(user.responsibilities(X), mixture.responsibilities(Z), ALGEBRA)


def test_the_jacobian_is_the_logarithm_of_a_volume():
    assert SCALING.log_jacobian == pytest.approx(-np.log(0.5 * 20.0), rel=EXACT)


def test_names_are_kept():
    mixture = random_mixture(2, 3, features=("a", "b", "c"))
    assert SCALING.mixture_to_user(mixture).features == SCALING.mixture_to_standard(mixture).features == ("a", "b", "c")
