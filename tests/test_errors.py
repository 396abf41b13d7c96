"""The tree of exceptions: caught as ours, and as the built-in that a caller would expect."""

import inspect

import pytest

import bayesgmm
from bayesgmm import errors

BUILT_IN = {
    "ArgumentError": ValueError,
    "BayesGMMError": Exception,
    "ComparisonError": ValueError,
    "DataError": ValueError,
    "FileFormatError": OSError,
    "FitError": RuntimeError,
}
OURS = {name: getattr(errors, name) for name in errors.__all__}
WARNINGS = {name for name in OURS if name.endswith("Warning")}


def test_the_module_exports_all_that_it_defines():
    defined = {name for name, member in vars(errors).items() if inspect.isclass(member)}
    assert set(errors.__all__) == defined == set(BUILT_IN) | WARNINGS


@pytest.mark.parametrize(("name", "built_in"), BUILT_IN.items())
def test_an_error_is_caught_as_ours_and_as_the_built_in(name, built_in):
    for caught_as in (errors.BayesGMMError, built_in):
        with pytest.raises(caught_as, match="said in words"):
            raise OURS[name]("said in words")
    assert not issubclass(OURS[name], Warning)


@pytest.mark.parametrize("name", sorted(WARNINGS))
def test_a_warning_is_ours_and_no_error(name):
    assert issubclass(OURS[name], errors.BayesGMMWarning)
    assert issubclass(OURS[name], UserWarning)
    assert not issubclass(OURS[name], errors.BayesGMMError)


def test_the_package_offers_every_one():
    assert {name: getattr(bayesgmm, name) for name in OURS} == OURS
    assert set(OURS) <= set(bayesgmm.__all__)
