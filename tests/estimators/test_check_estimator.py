"""scikit-learn's own checks of what calls itself an estimator, for both classes, without an exemption."""

import os
import subprocess
import sys

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from bayesgmm.estimators.gaussian import GaussianMixture

# scikit-learn's recipes for starts draw row by row: repeated rows draw others than weighted ones, and may lead to
# another optimum. (What weights do from one and the same start is tested in test_gaussian.py.)
NEEDS_ONE_START = "check_sample_weight_equivalence_on_dense_data"
# It needs SCIPY_ARRAY_API=1 before SciPy is imported, and a process of its own for that.
NEEDS_ARRAY_API = "check_array_api_input"

# The checks are of what is around the sampler; this one needs no compilation for every shape of data.
SHORT_CHAINS = {"draws": 5, "tune": 5, "chains": 1, "sampler": "gibbs"}


def checks_of(*estimators):
    found = []
    for estimator in estimators:
        described = " ".join(repr(estimator).split())
        for _, check in estimator_checks_generator(estimator):
            name = check.func.__name__
            has_one_start = estimator.n_components == 1 or estimator.init_params == "search"
            if name != NEEDS_ARRAY_API and (has_one_start or name != NEEDS_ONE_START):
                found.append(pytest.param(estimator, check, id=f"{described}-{name}"))
    return found


@pytest.mark.parametrize(
    ("estimator", "check"),
    checks_of(
        GaussianMixture(),
        GaussianMixture(reg_covar=1e-6),
        GaussianMixture(2, warm_start=True),
        GaussianMixture(3, covariance_type="tied", init_params="k-means++"),
        GaussianMixture(3, covariance_type="spherical", init_params="random_from_data"),
        GaussianMixture(2, covariance_type="VEI", init_params="search", max_iter=5),
    ),
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::bayesgmm.errors.DegenerateFitWarning")
def test_gaussian_mixture_passes(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("GaussianMixture", {}),
        pytest.param(
            "GaussianMixture",
            {"n_components": 3, "covariance_type": "diag", "init_params": "search"},
            marks=pytest.mark.slow,
        ),
        pytest.param("BayesianGaussianMixture", SHORT_CHAINS, marks=pytest.mark.slow),
    ],
)
def test_all_checks_pass_and_none_is_skipped(name, settings):
    code = (
        "import warnings\n"
        "from sklearn.utils.estimator_checks import check_estimator\n"
        f"from bayesgmm.estimators import {name}\n"
        "warnings.simplefilter('ignore')\n"
        f"found = check_estimator({name}(**{settings}), on_fail=None, on_skip=None)\n"
        "print(len(found) > 40, *(check for check in found if check['status'] != 'passed'))\n"
    )
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert found.stdout == "True\n", found.stdout + found.stderr
