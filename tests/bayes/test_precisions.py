"""The prior on precisions, by Bayes' theorem with SciPy's Wishart; its coordinates, by numerical Jacobians."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from scipy import stats

from bayesgmm.bayes.precisions import JointLog, JointLogCholesky, matrix_precisions, scalar_precisions

DOF, SCALE_DOF = 7.0, 4.0


def spd(rng, p):
    root = rng.normal(size=(p, p))
    return root @ root.T + p * np.eye(p)


def log_density(make, value, *arguments):
    with pm.Model():
        variable = make("precisions", *arguments)
        return float(pm.logp(variable, value).eval(mode="FAST_COMPILE"))


@pytest.mark.parametrize(("p", "k"), [(1, 1), (2, 3), (3, 2)])
def test_the_joint_prior_is_what_integrating_out_the_scale_leaves(p, k):
    """log p(Lambda) = log p(Lambda | C) + log p(C) - log p(C | Lambda), for any C."""
    rng = np.random.default_rng(p)
    rate, scale = spd(rng, p), spd(rng, p)
    matrices = np.stack([spd(rng, p) for _ in range(k)])
    given = sum(stats.wishart(DOF, np.linalg.inv(scale)).logpdf(matrix) for matrix in matrices)
    prior = stats.wishart(SCALE_DOF, np.linalg.inv(rate)).logpdf(scale)
    posterior = stats.wishart(SCALE_DOF + k * DOF, np.linalg.inv(rate + matrices.sum(axis=0))).logpdf(scale)
    found = log_density(matrix_precisions, matrices, p, np.full(k, DOF), SCALE_DOF, rate, np.zeros(p))
    assert found == pytest.approx(given + prior - posterior, rel=1e-10)


def test_scalar_precisions_are_matrices_of_order_one_block_by_block():
    rng = np.random.default_rng(3)
    values, rates, guard = rng.gamma(3.0, size=(3, 2)), rng.gamma(3.0, size=2), np.array([0.1, 0.2])
    apart = [
        log_density(
            matrix_precisions, values[:, j, None, None], 1, np.full(3, DOF), SCALE_DOF, rates[[j], None], guard[[j]]
        )
        for j in range(2)
    ]
    found = log_density(scalar_precisions, values, np.full(3, DOF), SCALE_DOF, rates, guard)
    assert found == pytest.approx(sum(apart), rel=1e-10)


def test_the_guard_forbids_spikes_whatever_the_number_of_tied_rows():
    """Along a spike the likelihood of m tied rows gains m/2 log(lambda); the prior must lose more in the end."""
    arguments = (np.full(2, 5.0), 1.0, np.array([1.0]), np.array([1e-4]))
    precision = 10.0 ** np.arange(4, 13, 2)
    prior = np.array([log_density(scalar_precisions, np.array([[1.0], [value]]), *arguments) for value in precision])
    total = prior + 500 * np.log(precision)
    assert total[-1] < total[0]
    assert np.argmax(total) not in (0, len(total) - 1)


def numerical_log_jacobian(backward, size, at):
    step = 1e-6
    columns = [(backward(at + step * unit) - backward(at - step * unit)) / (2 * step) for unit in np.eye(size)]
    return np.linalg.slogdet(np.stack(columns, axis=-1))[1]


def test_the_log_cholesky_jacobian_is_that_of_the_lower_triangles():
    p, k = 3, 2
    transform = JointLogCholesky(p)
    size = p * (p + 1) // 2
    at = 0.5 * np.random.default_rng(0).normal(size=(k, size))

    vector = pt.dvector()
    matrices = transform.backward(vector.reshape((k, size)))
    triangles = pytensor.function([vector], matrices[:, *np.tril_indices(p)].ravel(), mode="FAST_COMPILE")
    found = transform.log_jac_det(at).eval(mode="FAST_COMPILE")
    assert found == pytest.approx(numerical_log_jacobian(triangles, at.size, at.ravel()), rel=1e-6)


def test_transforms_invert_themselves():
    rng = np.random.default_rng(1)
    coordinates = rng.normal(size=(2, 6))
    transform = JointLogCholesky(3)
    np.testing.assert_allclose(
        transform.forward(transform.backward(coordinates)).eval(mode="FAST_COMPILE"), coordinates, rtol=1e-9
    )
    scalars = rng.normal(size=(2, 3))
    assert JointLog().log_jac_det(scalars).eval(mode="FAST_COMPILE") == pytest.approx(scalars.sum())
    np.testing.assert_allclose(
        JointLog().forward(JointLog().backward(scalars)).eval(mode="FAST_COMPILE"), scalars, rtol=1e-12
    )


def test_prior_draws_of_a_single_precision_are_ratios_of_chi_squares():
    with pm.Model():
        variable = scalar_precisions("precisions", np.full(1, DOF), SCALE_DOF, np.array([2.0]), np.array([0.0]))
        draws = pm.draw(variable, 2000, random_seed=0, mode="FAST_COMPILE")[:, 0, 0]
    ratio = draws / 2.0 * SCALE_DOF / DOF
    assert stats.kstest(ratio, stats.f(DOF, SCALE_DOF).cdf).pvalue > 1e-3


def test_prior_draws_of_matrices_have_the_expected_inverse():
    """E Sigma = nu0 S / (nu - p - 1), and the guard thins draws with tiny variances only."""
    p, dof = 2, 12.0
    rate = np.array([[2.0, 0.5], [0.5, 1.0]])
    with pm.Model():
        variable = matrix_precisions("precisions", p, np.full(2, dof), 9.0, rate, np.full(p, 1e-6))
        draws = np.linalg.inv(pm.draw(variable, 2000, random_seed=1, mode="FAST_COMPILE").reshape(-1, p, p))
    expected = 9.0 * np.linalg.inv(rate) / (dof - p - 1)
    error = draws.std(axis=0) / np.sqrt(2000)
    assert np.all(np.abs(draws.mean(axis=0) - expected) < 4.5 * error)
