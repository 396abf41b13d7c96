"""Priors as data: defaults, checks and words."""

import json

import numpy as np
import pytest

from bayesgmm.bayes.priors import Priors
from bayesgmm.data import prepare
from bayesgmm.errors import ArgumentError
from bayesgmm.structure import as_structure

TABLE = prepare(np.array([[0.0, 10.0], [1.0, 30.0], [4.0, 20.0]]))


def resolve(structure="full", k=2, **arguments):
    return Priors(**arguments).resolve(TABLE, as_structure(structure, 2), k)


def test_defaults_follow_the_range_of_each_column():
    priors = resolve()
    np.testing.assert_allclose(priors.mean_location, [2.0, 20.0])
    np.testing.assert_allclose(priors.mean_sd, [4.0, 20.0])
    np.testing.assert_allclose(priors.within_sd, np.sqrt(6 / 300) * np.array([4.0, 20.0]))
    assert (priors.dof, priors.scale_dof) == (6.0, 2.0)


def test_defaults_of_diagonal_structures_are_those_of_one_dimension():
    priors = resolve("diag")
    assert (priors.dof, priors.scale_dof) == (5.0, 1.0)


def test_defaults_change_units_with_the_data():
    moved = prepare(TABLE.values * [1e-3, 60.0] + [7.0, -1e6])
    here, there = resolve(), Priors().resolve(moved, as_structure("full", 2), 2)
    np.testing.assert_allclose(there.mean_location, here.mean_location * [1e-3, 60.0] + [7.0, -1e6])
    np.testing.assert_allclose(there.within_sd, here.within_sd * [1e-3, 60.0], rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"concentration": 0.0}, "concentration must be positive"),
        ({"concentration": [1.0, 1.0, 1.0]}, "concentration must be 2 finite numbers"),
        ({"mean_location": [1.0]}, "mean_location must be 2 finite numbers"),
        ({"mean_sd": [1.0, -1.0]}, "mean_sd must be positive"),
        ({"within_sd": [1.0, np.nan]}, "within_sd must be 2 finite numbers"),
        ({"dof": 3.0}, "dof=3.0 must be a number above 3"),
        ({"scale_dof": 1.0}, "scale_dof=1.0 must be a number above 1"),
        ({"smallest_sd": 0.0}, "smallest_sd=0.0 must be a number above 0"),
        ({"covariance": "wishart", "structure": "VEV"}, "structure VEV has covariance='factorised'"),
        ({"covariance": "inverse"}, "covariance='inverse' is not known; use one of 'wishart', 'factorised', 'lkj'"),
        ({"sd_prior": "cauchy"}, "sd_prior='cauchy' is not known"),
        ({"sd_spread": -1.0}, "sd_spread=-1.0 must be a number above 0"),
        ({"eta": 0.0}, "eta=0.0 must be a number above 0"),
        ({"dof": 2.0, "structure": "EVE"}, "dof=2.0 must be a number above 2"),
        ({"mean_cov": np.eye(3)}, "mean_cov must be a matrix of 2 x 2 finite numbers, found shape \\(3, 3\\)"),
        ({"mean_cov": [[1.0, 2.0], [2.0, 1.0]]}, "mean_cov must be positive definite; its smallest eigenvalue is -1"),
        ({"mean_cov": [[1.0, 0.5], [0.0, 1.0]]}, "mean_cov must be symmetric"),
        ({"mean_cov": np.eye(2), "mean_sd": [1.0, 1.0]}, "pass mean_sd or mean_cov, not both"),
    ],
)
def test_an_illegal_prior_is_named_with_its_range(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        resolve(**arguments)


def test_priors_survive_a_dictionary():
    priors = Priors(concentration=[1.0, 2.0], mean_sd=np.array([3.0, 4.0]), dof=7)
    again = Priors(**priors.to_dict())
    assert again.to_dict() == priors.to_dict()


def test_the_description_speaks_of_the_columns_in_their_units():
    words = resolve().describe()
    assert "weights ~ Dirichlet(1)" in words
    assert "x1: component means ~ Normal(20, sd 20)" in words


def test_priors_describe_themselves_with_and_without_data():
    assert "Dirichlet(4.0)" in Priors(concentration=4.0).describe()
    assert "the range of each column" in Priors().describe()
    assert Priors().describe(TABLE) == resolve().describe()


@pytest.mark.parametrize(
    "priors",
    [
        Priors(covariance="factorised", dof=9.0),
        Priors(covariance="lkj", sd_prior="gamma", eta=2.0),
        Priors(mean_cov=np.array([[1.0, 0.5], [0.5, 2.0]])),
    ],
)
def test_every_family_survives_json(priors):
    again = Priors(**json.loads(json.dumps(priors.to_dict())))
    assert again.to_dict() == priors.to_dict()
    assert again.describe(TABLE) == priors.describe(TABLE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "inverse Wishart, 6 degrees of freedom"),
        ({"structure": "VEV"}, "axes uniform over the rotations"),
        ({"structure": "VEE"}, "volumes, and shapes with their axes, lognormal"),
        ({"structure": "VEI"}, "volumes and shapes lognormal"),
        ({"covariance": "lkj"}, "correlations ~ LKJ(1), standard deviations lognormal with log sd 1"),
        ({"covariance": "lkj", "structure": "diag"}, "covariances: standard deviations lognormal"),
        ({"mean_cov": [[4.0, 1.0], [1.0, 1.0]]}, "component means are correlated, by rows: 0.5"),
    ],
)
def test_every_family_is_described(arguments, words):
    assert words in resolve(**arguments).describe()
    structure = arguments.pop("structure", "full")
    assert Priors(**arguments).describe(structure=structure)


def test_missing_values_do_not_spoil_the_defaults():
    holes = TABLE.values.copy()
    holes[1, 0] = np.nan
    found = Priors().resolve(prepare(holes, missing="marginalize"), as_structure("full", 2), 2)
    np.testing.assert_allclose(found.mean_sd, [4.0, 20.0])
