"""Gibbs sampling, proved: against enumeration of all labels, Geweke's joint test, PyMC's density, and NUTS."""

import itertools

import arviz as az
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import stats
from scipy.special import gammaln

import bayesgmm as bg
from bayesgmm.bayes import chain_threads, gibbs
from bayesgmm.bayes.conjugate_model import read_prior
from bayesgmm.bayes.conjugate_rows import make_table
from bayesgmm.bayes.model import build_model, start_values
from bayesgmm.bayes.nuts import sample_nuts
from bayesgmm.kernels.conditionals import Parameters
from bayesgmm.kernels.gibbs import run_chain
from bayesgmm.kernels.labels import allocate, label_key
from bayesgmm.mixture import Mixture
from bayesgmm.structure import as_structure
from tests.bayes import geweke
from tests.tolerances import ALGEBRA, assert_within_errors

FAITHFUL = bg.prepare(bg.load_dataset("faithful"))
PLAN = {"draws": 50, "tune": 10, "chains": 2, "seed": 3, "progress": False}


def standard_start(prepared, k, structure):
    em = bg.fit_em(prepared, k, structure=structure, seed=0)
    return prepared.scaling(as_structure(structure)).mixture_to_standard(em.mixture)


@pytest.fixture(scope="session")
def start():
    return standard_start(FAITHFUL, 2, "full")


@pytest.fixture(scope="session")
def model():
    return build_model(FAITHFUL, 2)


def sample(model, start, structure="full", **options):
    return gibbs.sample_gibbs(model, structure=as_structure(structure), start=start, **(PLAN | options))


# -------------------------------------------------------------------- exact


def column_moments(column, is_member, prior, j, grid):
    """For each precision: log density of the members with their mean integrated out; mean and precision of the mean."""
    count, total, square = is_member.sum(), is_member @ column, is_member @ column**2
    tau, location = prior.mean_precision[j, j], prior.location[j]
    precision = tau + count * grid
    centre = (tau * location + grid * total) / precision
    log_density = 0.5 * (count * np.log(grid / (2 * np.pi)) + np.log(tau / precision))
    return log_density - 0.5 * (grid * square + tau * location**2 - precision * centre**2), centre, precision


def given_labels(rows, is_second, prior, concentration, at):
    """Log mass of a labelling of two diagonal components, and expectations given it, by quadrature over precisions."""
    logs = np.linspace(-9.0, 9.0, 181)
    grid = np.exp(logs)
    first, second = np.meshgrid(grid, grid, indexing="ij")
    members = (1.0 - is_second, is_second)
    posterior = concentration + np.array([part.sum() for part in members])
    log_mass, mean, log_precision, density = gammaln(posterior).sum(), 0.0, 0.0, np.ones((2, len(at)))
    for j in range(rows.shape[1]):
        moments = [column_moments(rows[:, j], part, prior, j, grid) for part in members]
        table = 0.5 * prior.dof * np.log(first * second) - 0.5 * prior.guard[j] * (first + second)
        table -= 0.5 * (prior.scale_dof + 2 * prior.dof) * np.log(prior.scale_rate[j, j] + first + second)
        table += moments[0][0][:, None] + moments[1][0]
        log_mass += np.log(np.exp(table - table.max()).sum()) + table.max()
        share = np.exp(table - table.max()) / np.exp(table - table.max()).sum()
        for k, margin in enumerate((share.sum(axis=1), share.sum(axis=0))):
            _, centre, precision = moments[k]
            mean += margin @ centre
            log_precision += margin @ logs
            density[k] *= stats.norm(centre, np.sqrt(1 / precision + 1 / grid)).pdf(at[:, [j]]) @ margin
    total = posterior.sum()
    return log_mass, {
        "filled": float(sum(part.any() for part in members)),
        "squares": (posterior * (posterior + 1)).sum() / (total * (total + 1)),
        "mean": mean,
        "log_precision": log_precision,
        "first_density": (posterior / total @ density)[0],
        "second_density": (posterior / total @ density)[1],
    }


def enumerate_labels(rows, prior, concentration, at):
    labellings = itertools.product((0.0, 1.0), repeat=len(rows))
    parts = [given_labels(rows, np.array(labels), prior, concentration, at) for labels in labellings]
    mass = np.exp([log_mass - max(part[0] for part in parts) for log_mass, _ in parts])
    return {name: mass @ [part[1][name] for part in parts] / mass.sum() for name in parts[0][1]}


@pytest.mark.parametrize(
    ("rows", "copies", "structure"),
    [
        ([[0.0], [0.4], [1.1], [3.0], [3.3], [4.0]], [1, 1, 1, 1, 1, 1], "spherical"),
        ([[0.0], [0.4], [3.0], [4.1]], [2, 1, 3, 0], "spherical"),
        ([[0.0, 1.0], [0.7, 0.2], [2.5, 3.0], [3.0, 2.0], [1.5, 1.0]], [1, 1, 1, 2, 1], "diag"),
    ],
)
def test_the_posterior_is_that_of_all_labellings_enumerated(rows, copies, structure):
    prepared = bg.prepare(np.array(rows), sample_weight=copies)
    chosen = as_structure(structure, prepared.n_features)
    priors = bg.Priors(concentration=[1.5, 1.5], smallest_sd=0.2)
    model = build_model(prepared, 2, chosen, priors)
    standard = prepared.scaling(chosen).standardize(prepared.values)
    at = standard[[0, 2]]
    exact = enumerate_labels(
        np.repeat(standard, copies, axis=0), read_prior(model, chosen), np.full(2, 1.5), at
    )  # fmt: skip

    d = prepared.n_features
    start = Mixture([0.5, 0.5], standard[[0, 2]], np.stack([np.eye(d)] * 2))
    groups = sample(model, start, structure=chosen, draws=10_000, tune=100, chains=4)
    post = groups["posterior"]
    densities = np.exp(Mixture.from_dataset(post).log_density(at))
    variances = np.diagonal(post["covariances"], axis1=-2, axis2=-1)
    found = {
        "filled": groups["sample_stats"]["n_filled"].values.astype(float),
        "squares": (post["weights"].values ** 2).sum(axis=-1),
        "mean": post["means"].values.sum(axis=(-1, -2)),
        "log_precision": -np.log(variances).sum(axis=(-1, -2)),
        "first_density": densities[..., 0],
        "second_density": densities[..., 1],
    }
    for name, values in found.items():
        ess = az.ess(values, method="mean")
        assert ess > geweke.LEAST_ESS, name
        assert abs(values.mean() - exact[name]) < 4.5 * values.std() / np.sqrt(ess), name


# -------------------------------------------------------------------- Geweke


def simulate_jointly(prior, k, n, concentration, rng, size=40_000):
    d = len(prior.location)
    scales, factors = geweke.draw_covariances(prior, k, d, size, rng)
    weights = rng.dirichlet(np.full(k, concentration), size=len(scales))
    means = geweke.draw_means(prior, (len(scales), k), rng)
    return geweke.collect(
        [
            geweke.label_free(geweke.draw_rows(n, w, m, f, rng)[0], w, m, f, s)
            for w, m, f, s in zip(weights, means, factors, scales, strict=True)
        ]
    )


def sample_in_turn(prior, k, n, concentration, rng, size=30_000):
    d, p = len(prior.location), len(prior.guard)
    streams = gibbs.random_streams(5, 0)
    here = Parameters(np.full(k, -np.log(k)), np.zeros((k, d)), np.stack([np.eye(d)] * k), np.eye(p))
    kept = Parameters(np.empty((1, k)), np.empty((1, k, d)), np.empty((1, k, d, d)), np.empty((0, 0, 0)))
    records = []
    for _ in range(size):
        rows, _ = geweke.draw_rows(n, np.exp(here.log_weights), here.means, here.factors, rng)
        table = make_table(rows)._replace(bounds=np.array([0, n // 2, n]))
        run_chain(
            prior, np.full(k, concentration), table, here, streams, 1, kept, np.empty(1),
            np.empty(1, dtype=np.int64), np.empty(1),
        )  # fmt: skip
        records.append(
            geweke.label_free(rows, np.exp(here.log_weights), here.means, here.factors, here.scale)
        )  # fmt: skip
    return geweke.collect(records)


@pytest.mark.parametrize(
    "code", ["EII", "VVI", "VVV", *(pytest.param(code, marks=pytest.mark.slow) for code in ("VII", "EEI", "EEE"))]
)
def test_parameters_and_data_drawn_in_turn_have_their_joint_prior(code):
    rng = np.random.default_rng(11)
    prior = geweke.make_prior(as_structure(code), 2, guard=0.5)
    simulated = simulate_jointly(prior, 2, 4, 1.5, rng)
    sampled = sample_in_turn(prior, 2, 4, 1.5, rng)
    z = geweke.z_scores(simulated, sampled)
    assert max(map(abs, z.values())) < 4.5, z


# -------------------------------------------------------------------- labels


def equal_components(k):
    """Rows that tell nothing, and components that do not differ: a label is the leading bits of a random number."""
    return Parameters(np.full(k, -np.log(k)), np.zeros((k, 1)), np.ones((k, 1, 1)), np.eye(1))


def draw_labels(stream, n, *, k=16, number=0, copies=1):
    labels = np.empty(n, dtype=np.int16)
    sums = np.zeros(k), np.zeros((k, 1)), np.zeros((k, 1, 1))
    key = np.uint64(label_key(stream))
    counts = np.full(n, copies, dtype=np.int64)
    allocate(np.zeros((n, 1)), counts, 0, n, number, k, False, equal_components(k), key, labels, *sums)
    return labels, sums[0]


def test_labels_do_not_depend_on_the_cut():
    whole, counts = draw_labels(gibbs.random_streams(1, 0)[0], 1000)
    parts = [draw_labels(gibbs.random_streams(1, 0)[0], 250, number=250 * part) for part in range(4)]
    np.testing.assert_array_equal(np.concatenate([labels for labels, _ in parts]), whole)
    np.testing.assert_array_equal(np.sum([counted for _, counted in parts], axis=0), counts)


@pytest.mark.parametrize("what", ["rows", "distant rows", "sweeps", "copies", "chains", "seeds"])
def test_labels_are_as_if_drawn_independently(what):
    """Pairs of labels of neighbours are uniform over 256 pairs."""
    n, stream = 200_000, gibbs.random_streams(1, 0)[0]
    one, two = draw_labels(stream.copy(), n)[0], None
    if what in ("rows", "distant rows"):
        lag = 1 if what == "rows" else 2**16
        one, two = one[:-lag], one[lag:]
    elif what == "sweeps":
        label_key(stream)
        two = draw_labels(stream, n)[0]
    elif what == "copies":
        two = draw_labels(stream, n, copies=2)[0]
    else:
        two = draw_labels(gibbs.random_streams(*((1, 1) if what == "chains" else (2, 0)))[0], n)[0]
    assert stats.chisquare(np.bincount(16 * one.astype(int) + two, minlength=256)).pvalue > 1e-4


# -------------------------------------------------------------------- against PyMC


def with_gaps():
    table = bg.load_dataset("faithful")
    return bg.prepare(table.mask(np.random.default_rng(1).random(table.shape) < 0.2), missing="marginalize")


def with_fractions():
    return bg.prepare(bg.load_dataset("faithful"), sample_weight=np.random.default_rng(1).uniform(0.0, 2.5, size=272))


@pytest.mark.parametrize(
    ("prepared", "structure"),
    [
        *((FAITHFUL, name) for name in ("full", "tied", "diag", "EII")),
        *((prepared, name) for prepared in (with_gaps(), with_fractions()) for name in ("full", "diag")),
    ],
)
def test_lp_is_the_log_density_of_the_model_but_for_a_constant(prepared, structure):
    chosen = as_structure(structure)
    model = build_model(prepared, 2, chosen, bg.Priors(concentration=[2.0, 3.0]))
    groups = sample(model, standard_start(prepared, 2, structure), structure, draws=4)
    with model:
        density = model.compile_fn(
            model.logp(jacobian=False), inputs=model.value_vars, point_fn=False, mode="FAST_COMPILE"
        )
    draws, gaps = Mixture.from_dataset(groups["posterior"]), []
    for chain, draw in ((0, 0), (0, 3), (1, 1), (1, 2)):
        values = start_values(model, chosen, draws[chain, draw])
        point = []
        for variable in model.free_RVs:
            transform, value = model.rvs_to_transforms[variable], pt.as_tensor_variable(values[variable.name])
            moved = value if transform is None else transform.forward(value, *variable.owner.inputs)
            point.append(moved.eval(mode="FAST_COMPILE"))
        gaps.append(float(density(*point)) - float(groups["sample_stats"]["lp"][chain, draw]))
    np.testing.assert_allclose(gaps, gaps[0], atol=ALGEBRA * 1e3)


def separated(d=2):
    rng = np.random.default_rng(4)
    return bg.prepare(np.concatenate([rng.normal(size=(40, d)), [5.0] + 1.5 * rng.normal(size=(60, d))]))


@pytest.mark.parametrize(
    ("prepared", "structure"),
    [
        (FAITHFUL, "full"),
        *(pytest.param(separated(), name, marks=pytest.mark.slow) for name in ("tied", "diag", "spherical", "EII")),
        pytest.param(with_gaps(), "full", marks=pytest.mark.slow),
        *(pytest.param(with_fractions(), name, marks=pytest.mark.slow) for name in ("full", "tied", "diag")),
    ],
)
def test_gibbs_and_nuts_agree(prepared, structure):
    """Components are far apart, so that no draw needs another name."""
    chosen = as_structure(structure)
    model, mixture = build_model(prepared, 2, chosen), standard_start(prepared, 2, structure)
    by_gibbs = sample(model, mixture, structure, draws=2000, chains=4)["posterior"]
    plan = {"draws": 1000, "tune": 400, "chains": 4, "seed": 1, "progress": False}
    by_nuts = sample_nuts(model, structure=chosen, start=mixture, **plan)["posterior"]
    at = prepared.scaling(chosen).standardize(prepared.values[::25])
    for name in ("weights", "means", "covariances", "density"):
        sides = [
            np.exp(Mixture.from_dataset(post).log_density(at)) if name == "density" else post[name].values
            for post in (by_gibbs, by_nuts)
        ]
        sides = [np.moveaxis(side.reshape(*side.shape[:2], -1), -1, 0) for side in sides]
        for one, other in zip(*sides, strict=True):
            if np.ptp(one) < 1e-12:  # the zeros of a diagonal covariance
                assert np.ptp(other) < 1e-12
                continue
            error = np.hypot(*(side.std() / np.sqrt(az.ess(side, method="mean")) for side in (one, other)))
            assert_within_errors(one.mean(), other.mean(), error)


# -------------------------------------------------------------------- behaviour


def test_the_groups_are_those_of_every_sampler(model, start):
    groups = sample(model, start)
    post, stats_group = groups["posterior"], groups["sample_stats"]
    assert dict(post.sizes) == {"chain": 2, "draw": 50, "component": 2, "feature": 2, "feature_bis": 2}
    assert list(post["feature"].values) == ["eruptions", "waiting"]
    assert set(stats_group) == {"lp", "n_filled"}
    assert np.isfinite(stats_group["lp"]).all()
    assert (stats_group["n_filled"] == 2).all()


def test_the_same_seed_gives_the_same_draws_whatever_the_cores(model, start):
    one, same, other = (sample(model, start, **options) for options in ({"cores": 1}, {"cores": 2}, {"seed": 4}))
    np.testing.assert_array_equal(one["posterior"]["means"], same["posterior"]["means"])
    assert not np.array_equal(one["posterior"]["means"], other["posterior"]["means"])
    assert not np.array_equal(one["posterior"]["means"][0], one["posterior"]["means"][1])


def test_batches_do_not_show(model, start, monkeypatch):
    whole = sample(model, start)
    monkeypatch.setattr(gibbs, "BATCH", 2 * 272 * 7)
    np.testing.assert_array_equal(sample(model, start)["posterior"]["means"], whole["posterior"]["means"])


def test_thinned_draws_are_some_of_all(model, start):
    every = sample(model, start, tune=0, draws=30)["posterior"]["means"]
    third = sample(model, start, tune=0, draws=10, thin=3)["posterior"]["means"]
    np.testing.assert_array_equal(third, every[:, ::3])


def test_one_component_is_a_mixture_too():
    model = build_model(FAITHFUL, 1)
    post = sample(model, standard_start(FAITHFUL, 1, "full"), draws=2000)["posterior"]
    assert_within_errors(post["means"].mean(), 0.0, 1 / np.sqrt(2 * 4000 * 272) + 1e-3)


@pytest.mark.parametrize(("structure", "message"), [("VEV", "structure VEV; use sampler='nuts'")])
def test_structures_without_conjugate_conditionals_are_refused(model, start, structure, message):
    with pytest.raises(bg.ArgumentError, match=message):
        sample(model, start, structure)


def test_covariances_without_conjugate_conditionals_are_refused(start):
    model = build_model(FAITHFUL, 2, priors=bg.Priors(covariance="factorised"))
    with pytest.raises(bg.ArgumentError, match=r"inverse Wishart covariances only; use Priors\(covariance='wishart'\)"):
        sample(model, start)


def test_an_interruption_keeps_the_draws_made_so_far(model, start, monkeypatch):
    monkeypatch.setattr(gibbs, "BATCH", 2 * 272 * 10)

    def interrupted(futures, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(chain_threads, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sample(model, start, tune=100_000, draws=1)
    groups = sample(model, start, tune=0, draws=100_000)
    kept = groups["posterior"].sizes["draw"]
    assert 0 < kept < 100_000
    assert kept == groups["sample_stats"].attrs["interrupted_after"] == groups["sample_stats"].sizes["draw"]


@pytest.mark.parametrize("failing", [0, 2])
def test_where_a_chain_fails_the_others_stop(failing):
    stopped = []

    def run(chain, advance):
        if chain == failing:
            raise ZeroDivisionError("in a chain")
        stopped.append(not all(advance(1) for _ in range(300_000)))

    with pytest.raises(ZeroDivisionError, match="in a chain"):
        chain_threads.run_in_threads(run, 3, cores=3, total=100, progress=False)
    assert stopped == [True, True]


def test_a_model_that_was_changed_is_refused(start):
    def potential(model):
        pm.Potential("nudge", -(model["means"][0, 0] ** 2))

    def deterministic(model):
        pm.Deterministic("gap", model["means"][0, 1] - model["means"][1, 1])

    for change, name in ((potential, "nudge"), (deterministic, "gap")):
        with build_model(FAITHFUL, 2) as changed:
            change(changed)
        with pytest.raises(bg.ArgumentError, match=rf"was changed \({name}\); use sampler='nuts'"):
            sample(changed, start)


@pytest.mark.parametrize("options", [{"thin": 0}, {"cores": 0}, {"thin": 1.5}])
def test_illegal_options_are_named(model, start, options):
    ((name, value),) = options.items()
    with pytest.raises(bg.ArgumentError, match=f"{name}={value}"):
        sample(model, start, **options)


def test_poor_mixing_is_said_with_its_numbers_and_the_remedy():
    said = gibbs.describe_mixing(max_r_hat=1.234, min_ess=40.0, n_draws=4000)
    assert "largest R-hat is 1.234" in said
    assert "4000 draws are worth 40 independent ones (1.0%)" in said
    assert "sampler='nuts'" in said
    assert "R-hat" not in gibbs.describe_mixing(max_r_hat=1.005, min_ess=40.0, n_draws=4000)
    streamed = gibbs.describe_mixing(max_r_hat=1.234, min_ess=40.0, n_draws=4000, is_streamed=True)
    assert streamed.startswith(said.split("; ")[0])
    assert "use sampler='nuts'" not in streamed
    assert "sampler='nuts' can be run on the sample of the rows" in streamed
    assert gibbs.describe_mixing(max_r_hat=1.005, min_ess=401.0, n_draws=4000) == ""


def test_overlapping_components_do_not_mix():
    """The case that the warning is there for: two components where one would do."""
    rows = bg.prepare(np.random.default_rng(0).normal(size=(500, 1)))
    near = Mixture([0.5, 0.5], [[-0.2], [0.2]], [[[1.0]], [[1.0]]])
    post = sample(build_model(rows, 2), near, "spherical", draws=1000, chains=4)["posterior"]
    means = post["means"].values[..., 0]
    said = gibbs.describe_mixing(
        max_r_hat=float(az.rhat(means[..., 0])), min_ess=float(az.ess(means[..., 0])), n_draws=4000
    )
    assert said.startswith("Gibbs has not mixed")
