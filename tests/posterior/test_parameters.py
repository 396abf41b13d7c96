"""Named scalars: as many as the structure has, each the entry that its name selects."""

import re

import numpy as np
import pytest

from bayesgmm.mixture import Mixture
from bayesgmm.posterior.parameters import list_parameters, parameter_draws, parameter_names
from bayesgmm.structure import STRUCTURES

FEATURES = ("a", "b", "c")


def draws_of(n_components, features, seed=0):
    rng = np.random.default_rng(seed)
    d = len(features)
    roots = rng.normal(size=(2, 5, n_components, d, d))
    covariances = roots @ np.swapaxes(roots, -1, -2) + np.eye(d)
    weights = rng.dirichlet(np.ones(n_components), size=(2, 5))
    return Mixture(weights, rng.normal(size=(2, 5, n_components, d)), covariances, features)


# These six restrict no entry by a relation with another: what is listed is what is free, but for the sum of weights.
@pytest.mark.parametrize("code", ["EII", "VII", "EEI", "VVI", "EEE", "VVV"])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_as_many_as_are_free(code, d):
    names = parameter_names(code, 4, FEATURES[:d])
    assert len(names) == STRUCTURES[code].n_parameters(4, d) + 1
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("code", STRUCTURES)
def test_a_name_selects_its_value_from_the_dataset(code):
    mixture = draws_of(2, FEATURES)
    dataset = mixture.to_dataset()
    names, values = parameter_draws(mixture, code)
    assert values.shape == (2, 5, len(names))
    for name, column in zip(names, np.moveaxis(values, -1, 0), strict=True):
        group, component, *features = re.split(r"\[|, |\]", name)[:-1]
        labels = dict(zip(("feature", "feature_bis"), features, strict=False))
        np.testing.assert_array_equal(column, dataset[group].sel(component=int(component), **labels))


def test_a_single_mixture_has_no_leading_dimensions():
    mixture = draws_of(3, FEATURES)[0, 0]
    names, values = parameter_draws(mixture, "diag")
    assert values.shape == (len(names),) == (3 + 9 + 9,)


def test_the_weight_of_a_single_component_is_no_parameter():
    assert parameter_names("spherical", 1, ["a"]) == ["means[0, a]", "covariances[0, a, a]"]


def test_groups_come_in_order():
    groups = [parameter.group for parameter in list_parameters("full", 2, FEATURES)]
    assert groups == ["weights"] * 2 + ["means"] * 6 + ["covariances"] * 12
