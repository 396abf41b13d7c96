"""Data for the estimators, and a fit that may stop early without a word."""

import warnings

import pytest
from sklearn.exceptions import ConvergenceWarning

from bayesgmm.data.datasets import load_dataset


@pytest.fixture(scope="session")
def table():
    return load_dataset("faithful")


@pytest.fixture(scope="session")
def rows(table):
    return table.to_numpy()


@pytest.fixture(scope="session")
def iris():
    return load_dataset("iris").to_numpy()


def fit_quietly(estimator, rows, **weights):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(rows, **weights)
