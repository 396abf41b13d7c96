"""Operations on stacks of small matrices, against NumPy and PyTensor's own operations and derivatives."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.graph.replace import vectorize_graph
from scipy.linalg import expm, expm_frechet, polar
from scipy.stats import special_ortho_group

from bayesgmm.bayes.matrices import (
    cholesky_factor,
    exponential,
    general_inverse,
    gram,
    log_determinant,
    placed,
    polar_factor,
    positive_inverse,
    precisions_of_coordinates,
    product,
    total,
)
from tests.tolerances import ALGEBRA, assert_close


def _positive(rng, *shape):
    factors = rng.normal(size=shape)
    return factors @ np.swapaxes(factors, -1, -2) + 0.1 * np.eye(shape[-1])


def _by_coordinates(coordinates):
    """Do with PyTensor's own operations what `precisions_of_coordinates` does."""
    p = 3
    rows, columns = np.tril_indices(p)
    is_diagonal = rows == columns
    chol = pt.zeros((*coordinates.shape[:-1], p, p))
    chol = chol[..., rows, columns].set(pt.where(is_diagonal, pt.exp(coordinates), coordinates))
    return chol @ chol.mT


def _turned(matrices):
    """Return the polar factors G (G'G)^(-1/2), the root by PyTensor's eigenvectors."""
    values, vectors = pt.linalg.eigh(matrices.mT @ matrices)
    return matrices @ (vectors / pt.sqrt(values)[:, None, :]) @ vectors.mT


def _exponentials(matrices):
    values, vectors = pt.linalg.eigh(0.5 * (matrices + matrices.mT))
    return (vectors * pt.exp(values)[:, None, :]) @ vectors.mT


def _with_logs(rotations, logs):
    """Return something that depends on both."""
    return logs[:, None, None] * rotations


# The operation, the same by PyTensor's own, and what kind of argument it takes.
_PAIRS = {
    "cholesky_factor": (cholesky_factor, pt.linalg.cholesky, "positive"),
    "exponential": (exponential, _exponentials, "positive"),
    "polar_factor": (lambda a: polar_factor(a)[0], _turned, "turned"),
    "polar_log": (lambda a: polar_factor(a)[1], lambda a: pt.linalg.slogdet(a)[1], "turned"),
    "polar_both": (
        lambda a: _with_logs(*polar_factor(a)),
        lambda a: _with_logs(_turned(a), pt.linalg.slogdet(a)[1]),
        "turned",
    ),
    "general_inverse": (lambda a: general_inverse(a)[1], pt.linalg.inv, "any"),
    "general_log": (lambda a: general_inverse(a)[0], lambda a: pt.linalg.slogdet(a)[1], "any"),
    "general_both": (
        lambda a: general_inverse(a)[0][:, None, None] * general_inverse(a)[1],
        lambda a: pt.linalg.slogdet(a)[1][:, None, None] * pt.linalg.inv(a),
        "any",
    ),
    "gram": (gram, lambda a: a @ a.mT, "oblong"),
    "log_determinant": (log_determinant, lambda a: pt.linalg.slogdet(a)[1], "positive"),
    "log_determinant_and_inverse": (
        lambda a: log_determinant(a)[:, None, None] * positive_inverse(a),
        lambda a: pt.linalg.slogdet(a)[1][:, None, None] * pt.linalg.inv(a),
        "positive",
    ),
    "placed": (
        lambda a: placed(a[:, 0], np.arange(36.0).reshape(3, 3, 4)),
        lambda a: pt.tensordot(a[:, 0], np.arange(36.0).reshape(3, 3, 4), axes=1),
        "any",
    ),
    "positive_inverse": (positive_inverse, pt.linalg.inv, "positive"),
    "precisions_of_coordinates": (precisions_of_coordinates, _by_coordinates, "vectors"),
    "product": (lambda a: product(a, a.mT), lambda a: a @ a.mT, "oblong"),
    "total": (total, lambda a: a.sum(axis=0, keepdims=True), "oblong"),
}


def _argument(kind):
    rng = np.random.default_rng(3)
    if kind == "positive":
        return _positive(rng, 4, 3, 3)
    if kind == "turned":
        return special_ortho_group(3, seed=rng).rvs(4) @ _positive(rng, 4, 3, 3)
    return rng.normal(size={"any": (4, 3, 3), "oblong": (4, 3, 2), "vectors": (4, 6)}[kind])


def _symmetrised(gradient, kind):
    """Leave what a derivative by a symmetric matrix means: the two routes share it out differently."""
    return 0.5 * (gradient + np.swapaxes(gradient, -1, -2)) if kind == "positive" else gradient


@pytest.mark.parametrize("name", sorted(_PAIRS))
@pytest.mark.parametrize("mode", ["FAST_COMPILE", pytest.param("NUMBA", marks=pytest.mark.slow)])
def test_values_and_derivatives_are_those_of_pytensors_own_operations(name, mode):
    ours, theirs, kind = _PAIRS[name]
    given = _argument(kind)
    place = pt.tensor(shape=given.shape, dtype="float64")
    weights = np.random.default_rng(5)
    found = []
    for operation in (ours, theirs):
        out = operation(place)
        value = pytensor.function([place], out, mode="FAST_COMPILE")(given)
        weight = weights.normal(size=value.shape)
        weights = np.random.default_rng(5)
        slope = pt.grad((weight * out).sum(), place)
        function_mode = mode if operation is ours else "FAST_COMPILE"
        found.append(pytensor.function([place], [out, slope], mode=function_mode)(given))
    assert_close(found[0][0], found[1][0], ALGEBRA)
    assert_close(*(_symmetrised(slope, kind) for _, slope in found), ALGEBRA)


@pytest.mark.parametrize("name", ["gram", "log_determinant", "positive_inverse", "precisions_of_coordinates"])
def test_a_graph_takes_further_leading_dimensions(name):
    operation, _, kind = _PAIRS[name]
    given = _argument(kind)
    many = np.stack([given, 2.0 * given])
    place, batched = (pt.tensor(shape=value.shape, dtype="float64") for value in (given, many))
    together = vectorize_graph(operation(place), {place: batched})
    one_by_one = [operation(place).eval({place: value}) for value in many]
    assert_close(pytensor.function([batched], together, mode="FAST_COMPILE")(many), one_by_one, ALGEBRA)


def test_a_single_matrix_has_a_log_determinant():
    matrix = _positive(np.random.default_rng(0), 3, 3)
    assert_close(log_determinant(matrix).eval(), np.linalg.slogdet(matrix)[1], ALGEBRA)


def test_what_is_not_positive_definite_is_nan_and_no_exception():
    matrices = np.array([[[1.0, 2.0], [2.0, 1.0]], [[2.0, 0.0], [0.0, 2.0]]])
    found = log_determinant(pt.as_tensor_variable(matrices)).eval()
    assert np.isnan(found[0])
    assert_close(found[1], np.log(4.0), ALGEBRA)
    assert np.isnan(positive_inverse(pt.as_tensor_variable(matrices)).eval()[0]).any()


def test_elimination_needs_its_pivots():
    matrix = np.array([[[0.0, 1.0, 0.0], [1e-9, 1.0, 2.0], [3.0, 0.0, 1.0]]])
    logs, inverses = (part.eval() for part in general_inverse(matrix))
    assert_close(logs, np.linalg.slogdet(matrix)[1], ALGEBRA)
    assert_close(inverses, np.linalg.inv(matrix), ALGEBRA)


@pytest.mark.parametrize("d", [1, 2, 6])
def test_polar_factors_and_exponentials_are_those_of_scipy(d):
    rng = np.random.default_rng(d)
    given = rng.normal(size=(5, d, d)) * np.array([1e-3, 1.0, 1.0, 1.0, 1e3])[:, None, None]
    given[np.linalg.det(given) < 0.0, 0] *= -1.0
    # One that is nearly singular.
    given[1, :, 0] *= 1e-6
    rotations, logs = (part.eval() for part in polar_factor(given))
    assert_close(rotations, [polar(one)[0] for one in given], ALGEBRA)
    assert_close(logs, np.linalg.slogdet(given)[1], ALGEBRA)
    symmetric = rng.normal(size=(4, d, d)) * np.array([0.0, 1e-9, 1.0, 5.0])[:, None, None]
    symmetric += np.swapaxes(symmetric, 1, 2)
    for found, expected in zip(exponential(symmetric).eval(), map(expm, symmetric), strict=True):
        assert_close(found, expected, ALGEBRA)


def test_the_derivative_of_an_exponential_is_smooth_where_eigenvalues_tie():
    """SciPy's derivative by a direction, at a matrix of which two eigenvalues are equal and two nearly so."""
    axes = special_ortho_group(4, seed=0).rvs()
    given = (axes * [1.0, 1.0, -1.0, -1.0 + 1e-7]) @ axes.T
    direction, weight = np.random.default_rng(1).normal(size=(2, 4, 4))
    direction = direction + direction.T
    place = pt.tensor3("place")
    slope = pt.grad((weight * exponential(place)[0]).sum(), place)
    slope = pytensor.function([place], slope, mode="FAST_COMPILE")(given[None])[0]
    expected = (weight * expm_frechet(given, direction, compute_expm=False)).sum()
    assert (slope * direction).sum() == pytest.approx(expected, rel=ALGEBRA)


def test_reflections_have_no_nearest_rotation():
    given = np.stack([np.diag([1.0, -1.0]), np.eye(2), np.zeros((2, 2))])
    rotations, logs = (part.eval() for part in polar_factor(given))
    assert np.isnan(rotations[[0, 2]]).all()
    assert np.isnan(logs[[0, 2]]).all()
    assert_close(rotations[1], np.eye(2), ALGEBRA)


def test_stacks_with_different_leading_dimensions_are_refused():
    with pytest.raises(TypeError, match="wants stacks"):
        product(pt.tensor3("a"), pt.tensor4("b"))


def test_stacks_of_different_length_are_an_error_and_no_reading_beyond_the_end():
    first, second = np.ones((3, 2, 2)), np.eye(2)[None]
    places = [pt.tensor(shape=(None,) * 3, dtype="float64") for _ in range(2)]
    for mode in ("FAST_COMPILE", "NUMBA"):
        with pytest.raises(ValueError, match="length"):
            pytensor.function(places, product(*places), mode=mode)(first, second)
    with pytest.raises(ValueError, match="have no product"):
        pytensor.function(places, product(*places), mode="FAST_COMPILE")(first, np.ones((3, 3, 2)))


def test_a_batch_may_be_of_one_factor_only():
    first, second = np.random.default_rng(1).normal(size=(2, 4, 3, 3))
    places = [pt.tensor(shape=(None,) * 3, dtype="float64") for _ in range(2)]
    many = pt.tensor(shape=(None,) * 4, dtype="float64")
    together = vectorize_graph(product(*places), {places[0]: many})
    found = pytensor.function([many, places[1]], together, mode="FAST_COMPILE")(np.stack([first, 2 * first]), second)
    assert_close(found, np.stack([first @ second, 2 * first @ second]), ALGEBRA)
