"""scikit-learn's own checks of what calls itself an estimator, for both classes, without an exemption."""

import os
import subprocess
import sys

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from bayesgmm.estimators.bayesian import BayesianGaussianMixture
from bayesgmm.estimators.gaussian import GaussianMixture

# Random starts are drawn row by row: repeated rows draw others than weighted ones, and may lead to another optimum.
# (What weights do from one and the same start is tested in test_gaussian.py.)
NEEDS_ONE_START = "check_sample_weight_equivalence_on_dense_data"
# It needs SCIPY_ARRAY_API=1 before SciPy is imported, and a process of its own for that.
NEEDS_ARRAY_API = "check_array_api_input"

SHORT_CHAINS = {"draws": 5, "tune": 5, "chains": 1}


def checks_of(*estimators):
    found = []
    for estimator in estimators:
        described = " ".join(repr(estimator).split())
        for _, check in estimator_checks_generator(estimator):
            name = check.func.__name__
            if name != NEEDS_ARRAY_API and (estimator.n_components == 1 or name != NEEDS_ONE_START):
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


@pytest.mark.slow
@pytest.mark.parametrize(("estimator", "check"), checks_of(BayesianGaussianMixture(**SHORT_CHAINS)))
@pytest.mark.filterwarnings("ignore::bayesgmm.errors.BayesGMMWarning")
def test_bayesian_gaussian_mixture_passes(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("GaussianMixture", {}), pytest.param("BayesianGaussianMixture", SHORT_CHAINS, marks=pytest.mark.slow)],
)
def test_the_check_of_the_array_api_passes(name, settings):
    code = (
        "from sklearn.utils.estimator_checks import check_array_api_input\n"
        f"from bayesgmm.estimators import {name}\n"
        f"check_array_api_input({name!r}, {name}(**{settings}), 'numpy', expect_only_array_outputs=False)\n"
    )
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
