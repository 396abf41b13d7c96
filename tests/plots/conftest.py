"""Pictures are drawn without a window and closed after each test."""

import pytest
from matplotlib import pyplot as plt


@pytest.fixture(autouse=True)
def _no_windows():
    plt.switch_backend("Agg")
    before = dict(plt.rcParams)
    yield
    plt.close("all")
    assert dict(plt.rcParams) == before, "a picture changed matplotlib's settings"
