"""The conjugate prior: mclust's modes, SciPy's densities, stationary M steps of every structure, and no spikes."""

import numpy as np
import pytest
from scipy import stats
from scipy.linalg import expm

from bayesgmm.data import load_dataset
from bayesgmm.em.conjugate import ConjugatePrior
from bayesgmm.em.fit import fit_em
from bayesgmm.em.knowledge import Knowledge
from bayesgmm.em.m_step import m_step
from bayesgmm.em.starts import moments_of_labels, moments_of_responsibilities
from bayesgmm.em.statistics import Parameters
from bayesgmm.em.tangent import tangent_space
from bayesgmm.errors import ArgumentError
from bayesgmm.mixture import Mixture
from bayesgmm.structure import STRUCTURES
from tests.tolerances import ALGEBRA, EXACT, OPTIMUM, assert_close

IRIS = load_dataset("iris").to_numpy()
FAITHFUL = load_dataset("faithful").to_numpy()
ACIDITY = load_dataset("acidity").to_numpy()
SPECIES = np.repeat([0, 1, 2], 50)
STARTS = {
    "iris": (IRIS, SPECIES), "faithful": (FAITHFUL, (FAITHFUL[:, 0] > 3).astype(int)),
    "acidity": (ACIDITY, (ACIDITY[:, 0] > 5.5).astype(int)),
}  # fmt: skip

# R's mclust 6.0.0: M and E steps with priorControl() in turn, until no responsibility moves by more than 1e-14, from
# the partitions above. Log-likelihood, weights, means, and of every covariance the first row.
MCLUST = {
    ("iris", "VVV"): (
        -192.695283864805,
        [0.333333333326, 0.313808799249, 0.352857867425],
        [
            [5.00616743319138, 3.42792588151565, 1.46245910818201, 0.246190628539754],
            [5.93687966725143, 2.76266796603803, 4.23012602308881, 1.30882169985168],
            [6.55098946894527, 2.96930509185087, 5.50665870244935, 2.00237205221224],
        ],
        [
            [0.104695083917385, 0.0779677035581419, 0.0251023820830658, 0.0131008065403343],
            [0.222994097853982, 0.0715512010993171, 0.163453304742445, 0.0509540647953522],
            [0.33452865032923, 0.0716821358172485, 0.264497694042893, 0.0542980018734555],
        ],
    ),
    ("iris", "EEE"): (
        -257.739376608992,
        [0.333333333337, 0.347992909789, 0.318673756875],
        [
            [5.00616743319007, 3.4279258814835, 1.46245910821087, 0.246190628555129],
            [5.96005682412158, 2.75511753331103, 4.31526948477465, 1.33004140672303],
            [6.59154210991276, 2.99971135995265, 5.55058829532675, 2.05358199777187],
        ],
        [[0.244135016762838, 0.079703083793131, 0.164514809339353, 0.036354960169101]] * 3,
    ),
    ("iris", "VII"): (
        -384.478676216156,
        [0.333333333861, 0.415437569812, 0.251229096327],
        [
            [5.00616743332846, 3.42792588002085, 1.46245911061335, 0.246190629892926],
            [5.90676166585102, 2.74928394884317, 4.404385288055, 1.4333663077706],
            [6.84914563839966, 3.07500282758256, 5.73478425705182, 2.07692905102032],
        ],
        [[0.074911441338859, 0, 0, 0], [0.158540512356764, 0, 0, 0], [0.154091566242096, 0, 0, 0]],
    ),
    ("faithful", "VVV"): (
        -1130.50926367121,
        [0.356075729483, 0.643924270517],
        [[2.03703413778932, 54.4852650311136], [4.29005185750459, 79.9728328251548]],
        [[0.0706689210840953, 0.474768639576132], [0.165608532037772, 0.931411206209476]],
    ),
    ("acidity", "VII"): (
        -184.80048968863, [0.599017844651, 0.400982155349], [[4.33357233182018], [6.25759690754285]],
        [[0.135019718264785], [0.242222463767213]],
    ),
}  # fmt: skip
# mclust's BIC with priorControl() from its own starts, where it comes to the mode that we come to; it stops early.
BIC = [
    ("iris", 2, "VVV", -592.512834873), ("iris", 2, "EEE", -689.590487672), ("iris", 2, "VII", -1012.348656119),
    ("faithful", 2, "VVV", -2322.68611937), ("faithful", 2, "EEE", -2325.36830626),
]  # fmt: skip
EARLY_STOP = 0.05


def log_posterior(mixture, rows):
    """Compute log-likelihood plus log prior with SciPy, full or tied covariances, defaults of Fraley & Raftery."""
    k, d = mixture.means.shape
    scale = np.cov(rows.T).reshape(d, d) / k ** (2 / d)
    centre = rows.mean(axis=0)
    is_tied = np.allclose(mixture.covariances, mixture.covariances[0])
    covariances = mixture.covariances[:1] if is_tied else mixture.covariances
    found = mixture.log_density(rows).sum()
    found += stats.invwishart(d + 2, scale).logpdf(covariances.transpose(1, 2, 0)).sum()
    for mean, covariance in zip(mixture.means, mixture.covariances, strict=True):
        found += stats.multivariate_normal(centre, covariance / 0.01).logpdf(mean)
    return found


@pytest.mark.parametrize(("name", "code"), MCLUST)
def test_the_mode_is_that_of_mclust(name, code):
    rows, labels = STARTS[name]
    log_likelihood, weights, means, first_rows = MCLUST[name, code]
    fit = fit_em(rows, len(weights), structure=code, start=labels, prior="default", tol=1e-13)
    order = np.argsort(-np.array(weights))
    assert fit.log_likelihood == pytest.approx(log_likelihood, abs=1e-5)
    assert_close(fit.mixture.weights, np.array(weights)[order], 1e-6)
    assert_close(fit.mixture.means, np.array(means)[order], 1e-6)
    assert_close(fit.mixture.covariances[:, 0], np.array(first_rows)[order], 1e-6)


def test_a_likelihood_that_falls_on_the_way_to_the_mode_is_no_rest():
    """The log-likelihood sinks for fifty iterations here while the log posterior rises."""
    fit = fit_em(IRIS, 3, structure="EEE", start=SPECIES, prior="default")
    assert fit.em_trace[-1] < fit.em_trace[20]
    assert fit.log_likelihood == pytest.approx(MCLUST["iris", "EEE"][0], abs=1e-3)


@pytest.mark.parametrize(("name", "k", "code", "expected"), BIC)
def test_bic_is_minus_that_of_mclust(name, k, code, expected):
    fit = fit_em(STARTS[name][0], k, structure=code, seed=0, n_starts=8, prior="default")
    assert fit.bic == pytest.approx(-expected, abs=EARLY_STOP)


@pytest.mark.parametrize("code", ["VVV", "EEE"])
def test_the_log_posterior_is_that_of_scipy(code):
    found = [
        fit_em(IRIS, 3, structure=code, prior="default", start=SPECIES, max_iter=limit, tol=1e-13)
        for limit in (2000, 2001)
    ]
    own = fit_em(IRIS, 3, structure=code, prior="default", seed=0, n_starts=8)
    # Up to a constant: the same for both fits.
    constants = [fit.info.diagnostics["log_posterior"] - log_posterior(fit.mixture, IRIS) for fit in (found[0], own)]
    assert constants[0] == pytest.approx(constants[1], abs=1e-6)
    assert own.info.diagnostics["log_posterior"] >= found[0].info.diagnostics["log_posterior"] - 1e-6
    best = log_posterior(found[0].mixture, IRIS)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        means = found[0].mixture.means + 1e-3 * rng.normal(size=(3, 4))
        covariances = found[0].mixture.covariances * np.exp(1e-3 * rng.normal(size=(3 if code == "VVV" else 1, 1, 1)))
        assert log_posterior(Mixture(found[0].mixture.weights, means, covariances), IRIS) < best


@pytest.mark.parametrize("code", STRUCTURES)
def test_the_log_posterior_never_falls(code):
    fit = fit_em(IRIS, 3, structure=code, prior="default", start=SPECIES, max_iter=5000)
    trace = fit.tree["optimization"]["log_posterior"].values
    assert fit.info.diagnostics["converged"]
    assert np.all(np.diff(trace) >= -EXACT * abs(trace[-1]))
    assert trace[-1] == pytest.approx(fit.info.diagnostics["log_posterior"], rel=EXACT)
    assert fit.em_trace[-1] == pytest.approx(fit.log_likelihood, rel=EXACT)


@pytest.mark.parametrize("code", STRUCTURES)
def test_no_direction_of_a_structure_leads_up_from_an_m_step(code):
    """The expected complete log-likelihood plus log prior is flat along every mean and covariance coordinate."""
    structure, rng = STRUCTURES[code], np.random.default_rng(0)
    Z = (IRIS - IRIS.mean(axis=0)) / IRIS.std()
    moments = moments_of_responsibilities(Z, rng.dirichlet(np.full(3, 0.3), size=len(Z)), None)
    total = moments_of_labels(Z, np.zeros(len(Z), dtype=int), 1, None)
    terms = ConjugatePrior(mean=np.full(4, 0.5), kappa=3.0, dof=7.0).terms(structure, 3, total)
    best = m_step(moments, structure, knowledge=Knowledge(prior=terms))

    def value(means, covariances):
        offsets = moments.means - means
        scatters = moments.scatters + moments.counts[:, None, None] * offsets[:, :, None] * offsets[:, None, :]
        traces = np.trace(np.linalg.solve(covariances, scatters), axis1=1, axis2=2)
        found = -0.5 * (moments.counts * np.linalg.slogdet(covariances)[1] + traces).sum()
        return found + terms.log_density(Parameters(best.weights, means, covariances))

    space, step = tangent_space(Mixture(*best), structure), 1e-4
    top = value(best.means, best.covariances)
    for j in range(12):
        moved = [value(best.means + sign * step * np.eye(12)[j].reshape(3, 4), best.covariances) for sign in (-1, 1)]
        assert abs(moved[1] - moved[0]) < 1e-5 * (2 * top - sum(moved)) / step
    for j in range(space.n_covariance):
        moved = []
        for sign in (-1, 1):
            changes = np.zeros((3, 4, 4))
            for k, directions in enumerate(space.directions):
                changes[k] += sign * step * directions.changes[directions.columns == j].sum(axis=0)
            exponents = np.stack([expm(change) for change in changes])
            moved.append(value(best.means, space.roots @ exponents @ space.roots.transpose(0, 2, 1)))
        assert abs(moved[1] - moved[0]) / (2 * step) < 1e-3


def test_units_are_of_no_concern():
    scale, shift = np.array([1e3, 1e-4]), np.array([-1e4, 7.0])
    for code in ("VVV", "EEE", "VVI"):
        first = fit_em(FAITHFUL, 2, structure=code, prior="default", seed=0, n_starts=4)
        second = fit_em(FAITHFUL * scale + shift, 2, structure=code, prior="default", seed=0, n_starts=4)
        assert_close(second.mixture.weights, first.mixture.weights, OPTIMUM)
        assert_close(second.mixture.covariances / np.outer(scale, scale), first.mixture.covariances, OPTIMUM)
    prior = ConjugatePrior([3.0, 70.0], 5.0, 9.0, [[1.0, 2.0], [2.0, 90.0]])
    moved = ConjugatePrior(prior.mean * scale + shift, 5.0, 9.0, np.array(prior.scale) * np.outer(scale, scale))
    first = fit_em(FAITHFUL, 2, prior=prior, seed=0, n_starts=4)
    second = fit_em(FAITHFUL * scale + shift, 2, prior=moved, seed=0, n_starts=4)
    assert_close((second.mixture.means - shift) / scale, first.mixture.means, OPTIMUM)


def test_the_settings_make_the_prior_again():
    fit = fit_em(FAITHFUL, 2, prior="default", seed=0, n_starts=4)
    settings = fit.info.settings["prior"]
    assert settings["kappa"] == 0.01
    assert settings["dof"] == 4.0
    assert_close(settings["mean"], FAITHFUL.mean(axis=0), ALGEBRA)
    assert_close(settings["scale"], np.cov(FAITHFUL.T) / 2, ALGEBRA)
    again = fit_em(FAITHFUL, 2, prior=ConjugatePrior(**settings), seed=0, n_starts=4)
    assert_close(again.mixture.covariances, fit.mixture.covariances, OPTIMUM)


def test_one_component_has_the_mode_of_the_textbook():
    n, d = FAITHFUL.shape
    fit = fit_em(FAITHFUL, 1, prior=ConjugatePrior(mean=[0.0, 0.0], kappa=2.0, dof=8.0, scale=[1.0, 4.0]))
    mean, scatter = FAITHFUL.mean(axis=0), np.cov(FAITHFUL.T, bias=True) * n
    assert_close(fit.mixture.means[0], n * mean / (n + 2.0), ALGEBRA)
    expected = (np.diag([1.0, 4.0]) + scatter + 2.0 * n / (n + 2.0) * np.outer(mean, mean)) / (n + 8.0 + d + 2.0)
    assert_close(fit.mixture.covariances[0], expected, ALGEBRA)


def test_rows_that_tie_are_no_spike():
    tied = np.r_[np.random.default_rng(0).normal(size=60), np.full(10, 50.0)]
    fit = fit_em(tied, 2, prior="default", seed=0)
    assert fit.info.diagnostics["degenerate_components"] == []
    assert fit.mixture.covariances.min() > 1e-3


def test_collinear_columns_and_more_columns_than_rows_have_a_mode():
    rows = np.random.default_rng(0).normal(size=(40, 3))
    collinear = np.c_[rows, rows[:, 0] + rows[:, 1]]
    for table, k in ((collinear, 2), (np.random.default_rng(1).normal(size=(8, 10)), 1)):
        fit = fit_em(table, k, prior="default", seed=0, n_starts=2)
        assert fit.info.diagnostics["converged"]
        assert np.linalg.eigvalsh(fit.mixture.covariances).min() > 0


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ("weak", "must be a ConjugatePrior, 'default' or None"),
        ({"mean": [1.0]}, "the mean of the prior has shape"),
        ({"scale": [[1.0]]}, "the scale of the prior has shape"),
        ({"scale": [[1.0, 2.0], [2.0, 1.0]]}, "not a symmetric positive definite"),
        ({"kappa": -1.0}, "kappa=-1.0 of the prior"),
        ({"dof": 0.5}, "dof=0.5 of the prior must be above 1"),
    ],
)
def test_what_is_no_prior_is_refused(prior, message):
    with pytest.raises(ArgumentError, match=message):
        fit_em(FAITHFUL, 2, prior=prior if isinstance(prior, str) else ConjugatePrior(**prior))


def test_one_way_to_regularise_is_enough():
    with pytest.raises(ArgumentError, match="choose one of them"):
        fit_em(FAITHFUL, 2, prior="default", reg_covar=1e-3)
