"""Numbers as text."""

import numpy as np
import pytest

from bayesgmm.reporting.numbers import NONE, write_count, write_number, write_r_hat, write_share


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.64411, "0.6441"), (36.0, "36.00"), (1234.4, "1234"), (123456.7, "123,457"), (0.0, "0.000"),
        (-0.00012345, "-0.0001234"), (1.5e-7, "1.500e-07"), (2.5e12, "2.500e+12"), (np.nan, NONE), (np.inf, "+inf"),
    ],
)  # fmt: skip
def test_four_digits(value, text):
    assert write_number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "50.0%"),
        (1.0, "100.0%"),
        (0.99996, ">99.9%"),
        (0.9994, "99.9%"),
        (1e-9, "<0.1%"),
        (0.0, "0.0%"),
        (np.nan, NONE),
    ],
)
def test_what_is_not_certain_is_not_written_as_certain(value, text):
    assert write_share(value) == text


def test_counts_and_r_hat():
    assert [write_count(1234.9), write_count(np.nan), write_r_hat(1.00951), write_r_hat(np.nan)] == [
        "1,234", NONE, "1.010", NONE,
    ]  # fmt: skip
