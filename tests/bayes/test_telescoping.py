"""The number of components: Richardson and Green's galaxies, Geweke's joint test, enumeration of partitions."""

import re

import numpy as np
import pytest
from scipy import stats

import bayesgmm as bg
from bayesgmm.bayes import chain_threads, telescope
from bayesgmm.bayes.conjugate_rows import make_table
from bayesgmm.bayes.gibbs import random_streams
from bayesgmm.bayes.likelihood import Patterns
from bayesgmm.bayes.number_priors import number_belief
from bayesgmm.bayes.random_components import number_of_components
from bayesgmm.kernels.conditionals import Parameters
from bayesgmm.kernels.telescope import DYNAMIC, PROCESS, STATIC, Number, run_telescope
from bayesgmm.structure import as_structure
from tests.bayes import geweke
from tests.tolerances import ALGEBRA, EXACT, assert_close, assert_within_errors

GALAXIES = bg.prepare(bg.load_dataset("galaxies"))
PLAN = {"seed": 7, "draws": 1000, "tune": 200, "thin": 30}
FEW = {"draws": 60, "tune": 25, "chains": 2, "thin": 2, "seed": 1}


def belief_of(method, k_max=None, k_prior=None, concentration=None):
    return number_belief(method, k_max=k_max, k_prior=k_prior, concentration=concentration)


def richardson_and_green(table):
    """mu ~ N(midrange, R^2); sigma^-2 ~ Gamma(2, beta) with beta ~ Gamma(0.2, 10 / R^2), that is, with C = 2 beta."""
    spread = float(np.ptp(table.values))
    return bg.Priors(mean_sd=[spread], dof=4.0, scale_dof=0.4, within_sd=[spread * np.sqrt(0.02)], smallest_sd=1e-9)


# -------------------------------------------------------------------- the literature


def test_galaxies_have_the_posterior_of_richardson_and_green():
    """Richardson & Green (1997), table 2: p(K = 3..9) for the galaxies, K uniform on 1 to 30, Dirichlet(1) weights."""
    found = number_of_components(
        GALAXIES, k_max=30, k_prior="uniform", concentration=1.0, priors=richardson_and_green(GALAXIES), seed=1,
        thin=60,
    )  # fmt: skip
    published = [0.061, 0.128, 0.182, 0.199, 0.160, 0.109, 0.071]
    np.testing.assert_allclose(found.table.loc[3:9, "p_components"], published, atol=0.02)
    assert found.diagnostics["max_r_hat"] < 1.01


# -------------------------------------------------------------------- priors


def test_the_default_prior_of_k_is_beta_negative_binomial():
    """p(K) = Gamma(K) B(5, K + 2) / (Gamma(K) B(4, 3)) for BNB(1, 4, 3)."""
    from scipy.special import beta

    k = np.arange(1, 51)
    masses = beta(5, k + 2) / beta(4, 3)
    assert_close(belief_of("mfm").probabilities[1:], masses / masses.sum(), EXACT)


def partitions(n):
    """Yield the block sizes of every partition of n rows, by restricted growth."""

    def grow(labels):
        if len(labels) == n:
            yield np.bincount(labels)
            return
        for label in range(max(labels) + 2):
            yield from grow([*labels, label])

    yield from grow([0])


def log_partition_mass(sizes, k, gamma):
    """log p(partition | K): K! / (K - K+)! Gamma(K g) / Gamma(K g + n) prod Gamma(n_k + g) / Gamma(g)."""
    from scipy.special import gammaln

    filled, n = len(sizes), sizes.sum()
    if filled > k:
        return -np.inf
    arrangements = gammaln(k + 1) - gammaln(k - filled + 1)
    return arrangements + gammaln(k * gamma) - gammaln(k * gamma + n) + (gammaln(sizes + gamma) - gammaln(gamma)).sum()


@pytest.mark.parametrize(("method", "concentration"), [("mfm", 0.7), ("sparse", 0.3)])
def test_the_prior_of_filled_components_is_that_of_all_partitions(method, concentration):
    n, belief = 6, belief_of(method, k_max=8, concentration=concentration)
    expected = np.zeros(9)
    for sizes in partitions(n):
        for k in range(1, 9):
            expected[len(sizes)] += belief.probabilities[k] * np.exp(log_partition_mass(sizes, k, concentration))
    assert_close(belief.filled(n), expected, ALGEBRA)


def test_the_prior_of_a_dirichlet_process_is_the_chinese_restaurant():
    """p(K+ = k) = |s(n, k)| alpha^k Gamma(alpha) / Gamma(alpha + n), with Stirling numbers of the first kind."""
    stirling = np.array([0, 120, 274, 225, 85, 15, 1])
    alpha = 1.3
    masses = stirling * alpha ** np.arange(7)
    assert_close(belief_of("dp", k_max=10, concentration=alpha).filled(6)[:7], masses / masses.sum(), ALGEBRA)


@pytest.mark.parametrize("method", ["mfm", "dp"])
def test_an_unknown_concentration_is_averaged_over(method):
    rng = np.random.default_rng(0)
    n, draws, belief = 30, 20_000, belief_of(method, k_max=20)
    if method == "mfm":
        alpha = stats.f(6, 3).rvs(draws, random_state=rng)
        k = rng.choice(21, p=belief.probabilities, size=draws)
        filled = [
            len(np.unique(rng.choice(m, p=rng.dirichlet(np.full(m, a / m)), size=n)))
            for a, m in zip(alpha, k, strict=True)
        ]
    else:
        alpha = stats.gamma(2, scale=1 / 4).rvs(draws, random_state=rng)
        filled = (rng.random((draws, n)) < alpha[:, None] / (alpha[:, None] + np.arange(n))).sum(axis=1)
    shares = np.bincount(filled, minlength=21)[:21] / draws
    expected = belief.filled(n)
    assert_within_errors(shares[1:8], expected[1:8], np.sqrt(expected[1:8] / draws) + 1e-3)
    assert expected.sum() == pytest.approx(1.0)


# -------------------------------------------------------------------- Geweke


def number_of(kind, k_max=6):
    concentration = 0.8 if kind == STATIC else None
    if kind == PROCESS:
        return belief_of("dp", k_max=60)
    return belief_of("mfm", k_max=k_max, k_prior="poisson", concentration=concentration)


def draw_weights(belief, rng):
    """Draw K, alpha and weights from their prior."""
    if belief.kind == PROCESS:
        alpha = rng.gamma(2.0, 0.25)
        sticks = rng.beta(1.0, alpha, size=belief.k_max)
        sticks[-1] = 1.0
        return belief.k_max, alpha, sticks * np.cumprod(np.r_[1.0, 1.0 - sticks[:-1]])
    k = rng.choice(belief.k_max + 1, p=belief.probabilities)
    alpha = (rng.chisquare(6) / 6) / (rng.chisquare(3) / 3) if belief.kind == DYNAMIC else belief.alpha
    return k, alpha, rng.dirichlet(np.full(k, alpha / k if belief.kind == DYNAMIC else alpha))


def quantities(rows, weights, means, factors, scale, k, filled, alpha):
    found = geweke.label_free(rows, weights, means, factors, scale)
    several = {"filled": filled, "squared_filled": filled**2, "log_alpha": np.log(alpha)}
    return found | several | {"k": k, "one_filled": filled == 1}


def simulate_jointly(prior, belief, n, rng, size=12_000):
    d, records = len(prior.location), []
    scales, factors = geweke.draw_covariances(prior, belief.k_max, d, size, rng)
    for scale, factor in zip(scales, factors, strict=True):
        k, alpha, weights = draw_weights(belief, rng)
        means = geweke.draw_means(prior, (k,), rng)
        rows, labels = geweke.draw_rows(n, weights, means, factor[:k], rng)
        shown = 0 if belief.kind == PROCESS else k
        records.append(quantities(rows, weights, means, factor[:k], scale, shown, len(np.unique(labels)), alpha))
    return geweke.collect(records)


def sample_in_turn(prior, belief, n, rng, size=30_000, gaps=None):
    d, p = len(prior.location), len(prior.guard)
    k, alpha, number, left_out = 3, belief.alpha, belief.for_kernel(), -np.inf
    streams = random_streams(6, 0)
    here = Parameters(
        np.full(belief.k_max, -np.log(3.0)),
        np.zeros((belief.k_max, d)),
        np.stack([np.eye(d)] * belief.k_max),
        np.eye(p),
    )
    out, labels, records = np.empty((1, 5)), np.empty((1, n), dtype=np.int16), []
    for _ in range(size):
        used = [np.ascontiguousarray(values[:k]) for values in here[:3]]
        rows, _ = geweke.draw_rows(n, np.exp(used[0]), *used[1:], rng)
        before = np.exp(used[0]), used[1].copy(), used[2].copy(), here.scale.copy()
        old_k, old_alpha = k, alpha
        patterns = None if gaps is None else Patterns.of(np.where(gaps, np.nan, rows))
        table = make_table(rows, None, patterns)._replace(bounds=np.array([0, n // 2, n]))
        k, alpha, left_out = run_telescope(
            prior, number, table, Number(k, alpha, left_out), here, streams, 1, 1, labels, out
        )
        shown = 0 if belief.kind == PROCESS else old_k
        records.append(quantities(rows, *before, shown, int(out[0, 1]), old_alpha))
    return geweke.collect(records)


@pytest.mark.parametrize(
    ("kind", "structure"),
    [
        (STATIC, "spherical"),
        (DYNAMIC, "full"),
        (PROCESS, "diag"),
        *(pytest.param(DYNAMIC, name, marks=pytest.mark.slow) for name in ("tied", "EEI", "EII", "diag")),
    ],
)
def test_parameters_number_and_data_drawn_in_turn_have_their_joint_prior(kind, structure):
    rng = np.random.default_rng(2)
    prior = geweke.make_prior(as_structure(structure), 2, guard=0.5, guard_is_normalised=True)
    belief = number_of(kind)
    z = geweke.z_scores(simulate_jointly(prior, belief, 4, rng), sample_in_turn(prior, belief, 4, rng))
    assert max(map(abs, z.values())) < 4.5, z


def test_so_they_have_where_rows_lack_values():
    rng, gaps = np.random.default_rng(2), np.array([[1, 0], [0, 0], [0, 1], [1, 0]], dtype=bool)
    prior = geweke.make_prior(as_structure("full"), 2, guard=0.5, guard_is_normalised=True)
    belief = number_of(DYNAMIC)
    z = geweke.z_scores(simulate_jointly(prior, belief, 4, rng), sample_in_turn(prior, belief, 4, rng, gaps=gaps))
    assert max(map(abs, z.values())) < 4.5, z


# -------------------------------------------------------------------- behaviour


@pytest.fixture(scope="module")
def separated():
    centres = np.repeat([[0.0, 0.0], [8.0, 0.0], [0.0, 9.0]], [60, 50, 40], axis=0)
    return centres + np.random.default_rng(3).normal(size=(150, 2))


@pytest.fixture(scope="module")
def found(separated):
    return number_of_components(separated, **PLAN)


def test_components_that_are_far_apart_are_counted(found):
    assert found.most_probable_filled == 3
    assert found.most_probable == 3
    assert found.table.loc[3, "p_filled"] > 0.9
    assert found.table["p_components"].sum() == pytest.approx(1.0)
    assert found.table["p_filled"].sum() == pytest.approx(1.0)


def test_there_are_never_more_filled_components_than_components(found):
    assert (found.draws["n_filled"] <= found.draws["n_components"]).all()
    assert (found.draws["n_components"] > found.draws["n_filled"]).any()


def test_allocations_number_the_filled_components_first(found):
    labels = found.allocations.values
    assert labels.dtype == np.int16
    np.testing.assert_array_equal(labels.max(axis=-1) + 1, found.draws["n_filled"].sel(draw=found.allocations["draw"]))
    same = np.mean(labels[..., :60, None] == labels[..., None, :60])
    assert same > 0.98
    assert np.mean(labels[..., :60, None] == labels[..., None, 60:]) < 0.01


def test_the_log_likelihood_is_in_the_units_of_the_data(separated):
    with pytest.warns(bg.SamplingWarning):
        here, there = number_of_components(separated, **FEW), number_of_components(1000.0 * separated + 5.0, **FEW)
    np.testing.assert_array_equal(there.draws["n_filled"], here.draws["n_filled"])
    gap = here.draws["log_likelihood"] - there.draws["log_likelihood"]
    np.testing.assert_allclose(gap, 300 * np.log(1000.0), rtol=1e-6)


@pytest.mark.parametrize(("method", "words"), [("sparse", "K is fixed at 10"), ("dp", "Miller & Harrison 2014")])
def test_where_k_is_not_random_it_is_not_shown(separated, method, words):
    result = number_of_components(separated, method=method, **PLAN)
    assert result.most_probable is None
    assert result.most_probable_filled == 3
    assert list(result.table.columns) == ["p_filled", "se_filled", "prior_filled"]
    assert words in repr(result)
    assert "n_components" not in result.draws


def test_the_text_shows_posterior_and_prior(found):
    text = repr(found)
    assert "mixture of finite mixtures, full (VVV), 4 chains x 1000 draws, 150 rows" in text
    assert "prior_components" in text


def test_batches_and_cores_do_not_show(separated, monkeypatch):
    with pytest.warns(bg.SamplingWarning):
        whole = number_of_components(separated, **FEW)
    monkeypatch.setattr(telescope, "BATCH", 2 * 150 * 10 * 7)
    with pytest.warns(bg.SamplingWarning):
        parts = number_of_components(separated, cores=1, **FEW)
    np.testing.assert_array_equal(parts.allocations, whole.allocations)
    np.testing.assert_array_equal(parts.draws["log_likelihood"], whole.draws["log_likelihood"])
    assert parts.settings["seed"] == FEW["seed"]


def test_allocations_are_thinned_where_they_would_be_too_large(separated, monkeypatch):
    monkeypatch.setattr(telescope, "BATCH", 2 * 150 * 10 * 7)
    with pytest.warns(bg.SamplingWarning):
        whole = number_of_components(separated, **FEW)
    monkeypatch.setattr(telescope, "_MAX_LABELS", 2 * 60 * 150 // 4)
    with pytest.warns(bg.SamplingWarning):
        some = number_of_components(separated, **FEW)
    np.testing.assert_array_equal(some.allocations, whole.allocations[:, ::4])
    np.testing.assert_array_equal(some.allocations["draw"], np.arange(0, 60, 4))


def test_an_interruption_keeps_the_draws_made_so_far(separated, monkeypatch):
    """The chains are stopped at once; what their batches have drawn by then is kept, or there is nothing to keep."""

    def interrupted(futures, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(chain_threads, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt, match="before the first draw"):
        number_of_components(separated, draws=10**6, thin=1)
    with pytest.warns(bg.SamplingWarning) as caught:
        result = number_of_components(separated, draws=10**6, tune=0, thin=1)
    assert re.match(r"sampling was interrupted: \d chains of \d+ draws are kept", str(caught[0].message))
    assert 0 < result.diagnostics["interrupted_after"] == result.draws.sizes["draw"] < 10**5
    assert "sampling was interrupted" in repr(result)
    assert result.allocations.sizes["draw"] == -(-result.draws.sizes["draw"] // 8)


def test_a_number_that_k_max_decides_is_warned_of(separated):
    with pytest.warns(bg.SamplingWarning) as caught:
        number_of_components(separated, method="sparse", k_max=2, **FEW)
    assert any("fill as many components as k_max=2 allows; raise k_max" in str(warning.message) for warning in caught)


def test_draws_that_are_too_few_to_be_judged_are_not(separated):
    with pytest.warns(bg.SamplingWarning, match="4 draws are too few to be judged; sample longer"):
        result = number_of_components(separated, draws=1, tune=0, thin=1, seed=1)
    assert np.isnan(result.diagnostics["min_ess"])


def test_too_few_draws_are_warned_of(separated):
    with pytest.warns(bg.SamplingWarning, match="sample longer"):
        number_of_components(separated, draws=20, tune=0, thin=1, seed=1)


def test_a_prior_may_be_given_as_numbers(separated):
    result = number_of_components(separated, k_max=6, k_prior=[0.0, 0.0, 1.0, 0.0, 0.0, 3.0], **PLAN)
    assert set(np.unique(result.draws["n_components"])) == {3, 6}
    np.testing.assert_allclose(result.table["prior_components"], [0.0, 0.0, 0.25, 0.0, 0.0, 0.75])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "magic"}, "method='magic'"),
        ({"k_max": 0}, "k_max=0"),
        ({"k_prior": "flat"}, "k_prior='flat'"),
        ({"k_prior": [1.0, 2.0]}, "k_prior must be 50 probabilities"),
        ({"method": "dp", "k_prior": "bnb"}, "k_prior belongs to method='mfm'"),
        ({"concentration": 0.0}, "concentration=0.0 must be a positive number"),
        ({"draws": 0}, "draws=0"),
        ({"chains": 0}, "chains=0"),
        ({"thin": 0}, "thin=0"),
        ({"tune": -1}, "tune=-1"),
        ({"structure": "VEV"}, "structure VEV"),
        ({"priors": bg.Priors(concentration=2.0)}, "priors.concentration=2.0 has no use here"),
    ],
)
def test_illegal_arguments_are_named(arguments, message):
    data = bg.load_dataset("faithful") if "structure" in arguments else GALAXIES
    with pytest.raises(bg.ArgumentError, match=message):
        number_of_components(data, **arguments)


def test_weighted_rows_are_refused():
    with pytest.raises(bg.ArgumentError, match="rows that count once"):
        number_of_components(bg.prepare([1.0, 2.0, 4.0], sample_weight=[1, 2, 1]))
