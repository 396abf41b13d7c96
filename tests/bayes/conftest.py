"""Where only values are looked at, graphs are interpreted: compiling fourteen models would take most of the suite."""

import pytensor
import pytest

INTERPRETED = {
    "test_correlations", "test_factorised", "test_likelihood", "test_model", "test_precisions", "test_prior_predictive",
    "test_priors",
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _interpreted(request):
    if request.path.stem not in INTERPRETED:
        yield
        return
    with pytensor.config.change_flags(linker="py"):
        yield
