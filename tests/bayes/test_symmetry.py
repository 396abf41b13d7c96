"""How many copies a posterior has, by its structure, and which vectors are in the region of a reference."""

import numpy as np
import pymc as pm
import pytensor
import pytest

import bayesgmm as bg
from bayesgmm.bayes.axis_copies import axis_changes
from bayesgmm.bayes.compiled import vector_of
from bayesgmm.bayes.density import unconstrained_density
from bayesgmm.bayes.model import build_model, start_values
from bayesgmm.bayes.symmetry import in_region, n_axis_copies, n_copies, n_label_copies
from bayesgmm.mixture import Mixture
from bayesgmm.structure import as_structure
from tests.examples import random_covariances, random_rows
from tests.tolerances import ALGEBRA, assert_close


@pytest.fixture(autouse=True, scope="module")
def _interpreted():
    """Compiling a dozen models would take longer than all else here."""
    with pytensor.config.change_flags(linker="py"):
        yield


def model_and_density(code, k, d, change=None):
    rows = bg.prepare(random_rows(40, d))
    structure = as_structure(code)
    model = build_model(rows, k, structure)
    if change is not None:
        with model:
            change(model)
    means = np.arange(k * d, dtype=float).reshape(k, d)
    mixture = Mixture(np.full(k, 1 / k), means, random_covariances(code, k, d, seed=1))
    return model, unconstrained_density(model, start_values(model, structure, mixture))


@pytest.mark.parametrize(
    ("code", "k", "d", "copies"),
    [
        # K! numberings, D! orders of the axes, and 2^(D - 1) signs for each rotation.
        ("EEV", 1, 2, 1 * 2 * 2), ("EEV", 3, 2, 6 * 2 * 8), ("VEV", 2, 3, 2 * 6 * 16), ("EVE", 2, 2, 2 * 2 * 2),
        ("VVE", 2, 3, 2 * 6 * 4),
        # These have no axes: one matrix for each covariance.
        ("VEE", 2, 2, 2), ("EVV", 3, 2, 6), ("VVV", 2, 2, 2),
    ],
)  # fmt: skip
def test_copies_are_counted(code, k, d, copies):
    model, density = model_and_density(code, k, d)
    assert n_copies(model, density, as_structure(code)) == copies


def test_a_prior_that_excludes_some_orders_of_axes_is_refused():
    """Not the first change, so that a NaN comes after numbers."""
    _, free = model_and_density("EVE", 2, 3)
    sign = np.sign(free.expand(free.start[None])["axes"][0, 0, 2, 2])
    model, density = model_and_density(
        "EVE", 2, 3, lambda model: pm.Potential("half", pm.math.log(sign * model["axes"][0, 2, 2]))
    )
    with pytest.raises(bg.ArgumentError, match="change the log posterior by nan"):
        n_axis_copies(model, density)


def test_a_prior_that_sees_the_order_of_axes_is_refused():
    model, density = model_and_density("EVE", 2, 2, lambda model: pm.Potential("tilt", 0.3 * model["axes"][0, 0, 0]))
    assert n_label_copies(model, density, as_structure("EVE")) == 2
    with pytest.raises(bg.ArgumentError, match="turned by half a turn or put in another order, they change the log"):
        n_axis_copies(model, density)


def test_a_prior_that_sees_the_shape_along_axes_is_refused():
    model, density = model_and_density("VEV", 2, 2, lambda model: pm.Potential("tilt", model["shape_scores"].sum()))
    with pytest.raises(bg.ArgumentError, match="axes of the model's covariances are not exchangeable"):
        n_copies(model, density, as_structure("VEV"))


@pytest.mark.parametrize("code", ["VEV", "VVE"])
def test_one_description_of_a_covariance_is_in_the_region_and_changed_ones_are_not(code):
    model, density = model_and_density(code, 2, 3)
    values = {name: value[0] for name, value in density.expand(density.start[None]).items()}
    free = [variable.name for variable in model.free_RVs]
    changed = [
        vector_of(model, {name: change.get(name, values[name]) for name in free}) for change in axis_changes(values)
    ]
    assert in_region(density, density.start, density.start[None]).all()
    assert not in_region(density, density.start, np.array(changed)).any()
    for covariances in density.expand(np.array(changed))["covariances"]:
        assert_close(covariances, values["covariances"], ALGEBRA)
