"""The data that ship with the package are the published ones: sizes, sums and extremes."""

import numpy as np
import pytest
from sklearn.datasets import load_iris

from bayesgmm.data import DATASETS, load_dataset, prepare
from bayesgmm.errors import ArgumentError
from tests.tolerances import EXACT

# Of R's datasets::faithful and iris; of Roeder's (1990) galaxies, corrected; of Crawford's (1994) lakes.
FACTS = {
    "faithful": {"eruptions": (272, 948.677, 1.6, 5.1), "waiting": (272, 19284.0, 43.0, 96.0)},
    "iris": {
        "sepal_length": (150, 876.5, 4.3, 7.9),
        "sepal_width": (150, 458.6, 2.0, 4.4),
        "petal_length": (150, 563.7, 1.0, 6.9),
        "petal_width": (150, 179.9, 0.1, 2.5),
    },
    "galaxies": {"velocity": (82, 1708.18, 9.172, 34.279)},
    "acidity": {"acidity": (155, 791.289947, 2.928524, 7.105130)},
}


@pytest.mark.parametrize("name", DATASETS)
def test_columns_sizes_sums_and_extremes(name):
    table = load_dataset(name)
    found = {column: (len(x), x.sum(), x.min(), x.max()) for column, x in table.items()}
    assert found.keys() == FACTS[name].keys()
    for column, facts in FACTS[name].items():
        assert found[column] == pytest.approx(facts, rel=EXACT)


@pytest.mark.parametrize("name", DATASETS)
def test_can_be_prepared_as_they_are_and_are_described(name):
    assert prepare(load_dataset(name)).n_rows == len(load_dataset(name))
    assert DATASETS[name].startswith(str(len(load_dataset(name))))


def test_galaxies_come_corrected_or_as_in_mass():
    corrected, misprinted = load_dataset("galaxies"), load_dataset("galaxies", corrected=False)
    differing = np.flatnonzero(corrected["velocity"] != misprinted["velocity"])
    assert differing.tolist() == [77]
    assert (corrected["velocity"][77], misprinted["velocity"][77]) == (26.96, 26.69)
    assert misprinted["velocity"].sum() == pytest.approx(1707.91, rel=EXACT)


def test_iris_may_have_its_species():
    table = load_dataset("iris", with_classes=True)
    assert table["species"].value_counts().to_dict() == {"setosa": 50, "versicolor": 50, "virginica": 50}
    np.testing.assert_array_equal(table.drop(columns="species"), load_iris().data)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ArgumentError, match="no data set named 'geyser'; there are faithful, iris, galaxies, acidity"):
        load_dataset("geyser")


def test_each_caller_gets_a_table_of_their_own():
    table = load_dataset("faithful")
    table["waiting"] = 0.0
    assert load_dataset("faithful")["waiting"].sum() == 19284.0
