"""Standard errors from derivatives: exact cases, a second route for every structure, units, weights, refusals."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import expm

from bayesgmm.data.prepare import prepare
from bayesgmm.em.fit import fit_em
from bayesgmm.em.information import information
from bayesgmm.em.standard_errors import standard_errors
from bayesgmm.em.tangent import tangent_space
from bayesgmm.errors import ArgumentError, ConvergenceWarning, FitError
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.parameters import list_parameters
from bayesgmm.structure import STRUCTURES, as_structure
from tests.conftest import build_fit
from tests.em.differentiation import log_density, second_slopes, slopes
from tests.examples import random_covariances
from tests.tolerances import ALGEBRA, OPTIMUM, assert_close

ANALYTIC = ["information", "sandwich", "empirical"]


def separate_mixture(code, d=3, features=()):
    """Two components of a structure that overlap a little."""
    means = np.array([np.zeros(d), np.full(d, 2.5)])
    return Mixture([0.6, 0.4], means, random_covariances(code, 2, d, seed=3), features)


def fit_of(code, n=300, d=3, **settings):
    mixture = separate_mixture(code, d)
    X, labels = mixture.sample(n, 5)
    return fit_em(X, 2, structure=code, start=labels, tol=1e-14, **settings)


# ---------------------------------------------------------------- exact cases


def test_one_component_has_the_errors_of_mean_and_wishart():
    X = np.random.default_rng(0).normal(size=(80, 3)) @ np.diag([1.0, 10.0, 0.1]) + [0.0, 5.0, -3.0]
    X[:, 2] += 0.05 * X[:, 0]
    found = standard_errors(fit_em(X, 1)).covariance.to_numpy()
    S = np.cov(X.T, ddof=0)
    pairs = [(i, j) for i in range(3) for j in range(i, 3)]
    wishart = [[S[i, a] * S[j, b] + S[i, b] * S[j, a] for a, b in pairs] for i, j in pairs]
    assert_close(found[:3, :3], S / 80, ALGEBRA)
    np.testing.assert_allclose(found[3:, 3:], np.array(wishart) / 80, rtol=ALGEBRA, atol=1e-15)
    np.testing.assert_allclose(found[:3, 3:], 0.0, atol=1e-12)


def test_sandwich_of_one_component_has_the_fourth_moment():
    x = np.random.default_rng(1).standard_exponential((60, 1))
    found = standard_errors(fit_em(x, 1), "sandwich").covariance.to_numpy()
    c = x - x.mean()
    moments = {power: np.mean(c**power) for power in (2, 3, 4)}
    expected = [[moments[2], moments[3]], [moments[3], moments[4] - moments[2] ** 2]]
    assert_close(found, np.array(expected) / 60, ALGEBRA)


def test_empirical_of_one_component_inverts_the_scores():
    x = np.random.default_rng(1).standard_exponential((60, 1))
    variance = x.var()
    scores = np.concatenate([(x - x.mean()) / variance, ((x - x.mean()) ** 2 / variance - 1) / (2 * variance)], axis=1)
    found = standard_errors(fit_em(x, 1), "empirical").covariance.to_numpy()
    assert_close(found, np.linalg.inv(scores.T @ scores), ALGEBRA)


# ---------------------------------------------------------------- a second route, at a maximum


class Decomposition:
    """Volume, shape and orientation of a fit as free numbers: coordinates that share nothing with the package's."""

    def __init__(self, code, mixture):
        self.code, (self.k, self.d) = code, mixture.means.shape
        values, self.axes = np.linalg.eigh(mixture.covariances)
        if code[2] == "I":
            self.axes = np.stack([np.eye(self.d)] * self.k)
        if code[2] == "E":
            self.axes = np.stack([self.axes[0]] * self.k)
        values = np.log(np.einsum("kia,kij,kja->ka", self.axes, mixture.covariances, self.axes))
        volumes = values.mean(axis=1)
        shapes = (values - volumes[:, None])[:, :-1]
        turns = np.zeros((self.k, self.d * (self.d - 1) // 2))
        self.sizes = [self.k - 1, self.k * self.d, *[
            {"I": 0, "E": 1, "V": self.k}[letter] * size
            for letter, size in zip(code, (1, self.d - 1, turns.shape[1]), strict=True)
        ]]  # fmt: skip
        first = np.log(mixture.weights[1:] / mixture.weights[0])
        blocks = [first, mixture.means.ravel(), volumes, shapes.ravel(), turns.ravel()]
        self.x = np.concatenate([block[:size] for block, size in zip(blocks, self.sizes, strict=True)])

    def mixture(self, x):
        logits, means, volumes, shapes, turns = np.split(x, np.cumsum(self.sizes)[:-1])
        weights = np.exp(np.concatenate([[0.0], logits]))
        logs = self.each(shapes, self.d - 1)
        logs = np.concatenate([logs, -logs.sum(axis=1, keepdims=True)], axis=1) + self.each(volumes, 1)
        skew = np.zeros((self.k, self.d, self.d), dtype=x.dtype)
        skew[:, *np.triu_indices(self.d, 1)] = self.each(turns, self.d * (self.d - 1) // 2)
        axes = self.axes @ expm(skew - skew.transpose(0, 2, 1))
        covariances = (axes * np.exp(logs)[:, None, :]) @ axes.transpose(0, 2, 1)
        return weights / weights.sum(), means.reshape(self.k, self.d), covariances

    def each(self, values, size):
        rows = values.reshape(-1, size) if len(values) else np.zeros((1, size))
        return np.broadcast_to(rows, (self.k, size))


@pytest.mark.parametrize("code", STRUCTURES)
def test_every_structure_by_other_coordinates(code):
    fit = fit_of(code)
    route = Decomposition(code, fit.mixture)
    X = fit.prepared.values
    hessian = second_slopes(lambda x: log_density(X, *route.mixture(x)).sum(), route.x)
    parameters = list_parameters(code, 2, fit.features)

    def named(x):
        arrays = dict(zip(("weights", "means", "covariances"), route.mixture(x), strict=True))
        return np.array([arrays[parameter.group][parameter.position] for parameter in parameters])

    by_free = slopes(named, route.x)
    expected = by_free @ np.linalg.inv(-hessian) @ by_free.T
    assert_close(standard_errors(fit).covariance.to_numpy(), expected, OPTIMUM)


def test_missing_information_is_the_rate_of_em(faithful, faithful_mixture):
    X, path = faithful.values, []
    current = Mixture(
        faithful_mixture.weights,
        faithful_mixture.means + np.array([[0.0, 1.0], [0.0, -1.0]]),
        faithful_mixture.covariances,
    )
    for _ in range(30):
        r = current.responsibilities(X)
        counts = r.sum(axis=0)
        means = r.T @ X / counts[:, None]
        covariances = [(r[:, k] * (X - means[k]).T) @ (X - means[k]) / counts[k] for k in range(2)]
        current = Mixture(counts / len(X), means, covariances)
        path.append(current.means)
    seventh, eighth = (np.linalg.norm(path[step] - path[-1]) for step in (7, 8))
    fit = build_fit(Mixture(current.weights, current.means, current.covariances, faithful.features), faithful)
    assert standard_errors(fit).missing_information == pytest.approx(eighth / seventh, rel=1e-4)


# ---------------------------------------------------------------- units, weights, penalties


@pytest.mark.parametrize("method", ANALYTIC)
@pytest.mark.parametrize(("code", "scale"), [("VVV", [1e-3, 7.0, 1e4]), ("VVI", [1e-3, 7.0, 1e4]), ("VEV", [50.0] * 3)])
def test_units_change_errors_as_they_change_estimates(code, scale, method):
    plain = fit_of(code)
    scale, shift = np.array(scale), np.array([1e5, 0.0, -3.0])
    moved = build_fit(
        plain.mixture.affine(scale, shift), prepare(plain.prepared.values * scale + shift), structure=code
    )
    found, expected = standard_errors(moved, method), standard_errors(plain, method)
    factors = [
        np.prod([scale[int(name[1:])] for name in parameter.features])
        for parameter in list_parameters(code, 2, plain.features)
    ]
    np.testing.assert_allclose(found.table["se"], expected.table["se"] * factors, rtol=OPTIMUM)
    assert found.condition == pytest.approx(expected.condition, rel=OPTIMUM)


@pytest.mark.parametrize("method", ANALYTIC)
def test_a_weight_of_two_is_a_row_twice(method):
    X, _ = separate_mixture("VVV").sample(150, 1)
    counts = np.random.default_rng(0).integers(0, 4, size=150)
    start = separate_mixture("VVV")
    weighted = fit_em(prepare(X, sample_weight=counts), 2, start=start, tol=1e-14)
    repeated = fit_em(np.repeat(X, counts, axis=0), 2, start=start, tol=1e-14)
    found, expected = standard_errors(weighted, method), standard_errors(repeated, method)
    assert_close(found.covariance.to_numpy(), expected.covariance.to_numpy(), OPTIMUM)


@pytest.mark.parametrize("code", ["EII", "VEI", "EEE", "EVE", "VEV", "VVV"])
def test_the_penalty_belongs_to_the_likelihood(code):
    fit = fit_of(code, reg_covar=0.03)
    space = tangent_space(fit.scaling.mixture_to_standard(fit.mixture), fit.structure)
    Z = fit.scaling.standardize(fit.prepared.values)
    found = information(space, Z, reg_covar=0.03)
    # The distance to the maximum in standard errors: what EM's tolerance is about, whatever the scale of a coordinate.
    assert np.sqrt(found.gradient @ np.linalg.solve(found.observed, found.gradient)) < OPTIMUM
    assert np.abs(information(space, Z).gradient).max() > 1.0
    assert np.all(np.isfinite(standard_errors(fit).table))


# ---------------------------------------------------------------- tables


def test_intervals_stay_where_parameters_live():
    table = standard_errors(fit_of("VVV", n=40), prob=0.999).table
    assert np.all(table["lower"] < table["estimate"])
    assert np.all(table["estimate"] < table["upper"])
    weights = table.filter(like="weights", axis=0)
    assert 0.0 < weights["lower"].min() < weights["upper"].max() < 1.0
    assert table.loc["covariances[0, x0, x0]", "lower"] > 0.0


def test_intervals_are_symmetric_on_their_scales():
    fit = fit_of("VVV")
    table = standard_errors(fit, prob=0.9).table
    z = 1.6448536269514722
    weight, variance = table.loc["weights[0]"], table.loc["covariances[1, x2, x2]"]
    odds = weight / (1 - weight)
    assert np.log(odds["upper"] / odds["lower"]) == pytest.approx(
        2 * z * weight["se"] / (weight["estimate"] * (1 - weight["estimate"]))
    )
    assert odds["estimate"] == pytest.approx(np.sqrt(odds["lower"] * odds["upper"]))
    assert np.log(variance["upper"] / variance["estimate"]) == pytest.approx(z * variance["se"] / variance["estimate"])
    assert variance["estimate"] ** 2 == pytest.approx(variance["lower"] * variance["upper"])
    mean = table.loc["means[0, x1]"]
    assert mean["upper"] - mean["estimate"] == pytest.approx(z * mean["se"])


def test_interval_of_one_components_covariance_has_the_width_of_its_sample_size():
    X = np.random.default_rng(0).multivariate_normal([0, 0], [[1.0, 1.8], [1.8, 4.0]], size=64)
    row = standard_errors(fit_em(X, 1)).table.loc["covariances[0, x0, x1]"]
    size = np.sqrt(X.var(axis=0).prod())
    steps = np.arcsinh(row[["lower", "estimate", "upper"]].to_numpy() / size)
    np.testing.assert_allclose(np.diff(steps), 1.959963984540054 / 8.0, rtol=ALGEBRA)


def test_weights_vary_against_each_other():
    found = standard_errors(fit_of("VVV")).covariance
    assert list(found.index) == list(found.columns)
    assert found.loc["weights[0]", "weights[1]"] == pytest.approx(-found.loc["weights[0]", "weights[0]"])


def test_shows_what_it_is():
    shown = repr(standard_errors(fit_of("EEE"), "sandwich"))
    assert shown.startswith("StandardErrors(sandwich, 95% intervals, condition ")
    assert "means[1, x2]" in shown


# ---------------------------------------------------------------- refusals


def test_draws_are_refused(faithful_draws):
    with pytest.raises(ArgumentError, match="posterior standard deviations"):
        standard_errors(faithful_draws)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "hessian"}, "method='hessian' is not known"),
        ({"prob": 1.0}, "prob=1.0"),
        ({"method": "bootstrap", "n_boot": 1}, "n_boot=1"),
        ({"method": "bootstrap", "n_starts": -1}, "n_starts=-1"),
    ],
)
def test_arguments_are_checked(faithful_em, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        standard_errors(faithful_em, **arguments)


def test_a_collapsed_fit_is_refused(faithful, faithful_mixture):
    fit = build_fit(faithful_mixture, faithful, diagnostics={"degenerate_components": [1]})
    with pytest.raises(FitError, match="component 1 of the fit has collapsed"):
        standard_errors(fit)


def test_missing_values_are_refused(faithful, faithful_mixture):
    values = faithful.values.copy()
    values[3, 0] = np.nan
    fit = build_fit(faithful_mixture, replace(faithful, values=values))
    with pytest.raises(ArgumentError, match="1 of 272 rows that were fitted have missing values"):
        standard_errors(fit)


@pytest.mark.parametrize("structure", ["full", "tied"])
@pytest.mark.parametrize("method", ["information", "sandwich"])
def test_two_equal_components_are_refused(faithful, structure, method):
    covariance = np.cov(faithful.values.T, ddof=0)
    same = Mixture([0.5, 0.5], [faithful.values.mean(axis=0)] * 2, [covariance] * 2, faithful.features)
    with pytest.raises(FitError, match="not positive definite"):
        standard_errors(build_fit(same, faithful, structure=structure), method)


def test_a_sphere_has_no_axes(faithful_mixture, faithful):
    spheres = Mixture(faithful_mixture.weights, faithful_mixture.means, [20.0 * np.eye(2)] * 2, faithful.features)
    with pytest.raises(FitError, match="even with known labels"):
        standard_errors(build_fit(spheres, faithful, structure="VEV"))


def test_fewer_rows_than_parameters_are_refused():
    X = np.random.default_rng(0).normal(size=(8, 3))
    with pytest.raises(FitError, match="too few rows"):
        standard_errors(fit_em(X, 1), "empirical")
    assert np.all(np.isfinite(standard_errors(fit_em(X, 1)).table))


def test_a_distance_from_the_maximum_is_told(faithful_mixture, faithful):
    away = Mixture(
        faithful_mixture.weights,
        faithful_mixture.means + np.array([0.0, 0.1]),
        faithful_mixture.covariances,
        faithful.features,
    )
    with pytest.warns(ConvergenceWarning, match=r"the fit is 0\.\d+ standard errors away"):
        standard_errors(build_fit(away, faithful))


def test_every_structure_is_reduced_to_the_dimension():
    x = np.random.default_rng(0).normal(size=(50, 1))
    assert as_structure("VEV", 1).code == "VII"
    assert list(standard_errors(fit_em(x, 1, structure="VEV")).table.index) == [
        "means[0, x0]",
        "covariances[0, x0, x0]",
    ]


def test_zero_weight_rows_do_not_matter(faithful):
    keep = np.ones(faithful.n_rows)
    keep[::7] = 0.0
    weighted = fit_em(prepare(faithful.values, sample_weight=keep), 2, seed=0)
    fewer = fit_em(faithful.values[keep > 0], 2, seed=0)
    for method in ANALYTIC:
        found, expected = standard_errors(weighted, method), standard_errors(fewer, method)
        assert_close(found.table.to_numpy(), expected.table.to_numpy(), OPTIMUM)
