"""Each level of a comparison, by a second route."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import integrate, stats
from sklearn import metrics

from bayesgmm.comparison import compare, prediction
from bayesgmm.comparison.density import compare_densities
from bayesgmm.comparison.joint import JointPosition, joint_position, unconstrained
from bayesgmm.comparison.memberships import pass_over_rows
from bayesgmm.comparison.optimum import optimum_table
from bayesgmm.comparison.parameters import error_table
from bayesgmm.comparison.partition import compare_partitions
from bayesgmm.comparison.prediction import pit_table
from bayesgmm.comparison.pull import PriorPull, _sensitivity, prior_pull
from bayesgmm.data.datasets import load_dataset
from bayesgmm.data.prepare import prepare
from bayesgmm.em.fit import fit_em
from bayesgmm.em.standard_errors import standard_errors
from bayesgmm.errors import ArgumentError
from bayesgmm.fit import MixtureFit, assemble
from bayesgmm.mixture import Mixture
from bayesgmm.posterior.memberships import memberships
from bayesgmm.posterior.parameters import parameter_draws
from bayesgmm.structure import as_structure
from tests.examples import random_covariances
from tests.tolerances import ALGEBRA, EXACT, STANDARD_ERRORS, assert_close


def with_info(fit, **changes):
    """Return the same fit with another record of how it was made."""
    tree = fit.tree.copy()
    tree.attrs = {"bayesgmm_info": replace(fit.info, **changes).to_json()}
    return MixtureFit(tree)


@pytest.fixture(scope="module")
def em(faithful):
    return fit_em(faithful, 2, seed=0)


@pytest.fixture(scope="module")
def check(em, faithful_many_draws):
    return compare(em, faithful_many_draws)


class TestComponents:
    def test_both_distances_find_the_match(self, em, faithful_many_draws):
        swapped = assemble(em.mixture.permute([1, 0]), em.prepared, em.info, em.scaling)
        found = compare(swapped, faithful_many_draws, distance="wasserstein").components
        assert list(found["match"]) == [1, 0]
        assert (found["margin"] > 1).all()
        with pytest.raises(ArgumentError, match="distance='euclid'"):
            compare(em, faithful_many_draws, distance="euclid")


class TestParameters:
    def test_tail_is_two_sided_and_both_intervals_are_told(self, check):
        table = check.parameters
        np.testing.assert_allclose(table["tail"], 2 * np.minimum(table["quantile"], 1 - table["quantile"]))
        inside = (table["lower"] <= table["em"]) & (table["em"] <= table["upper"])
        assert (table["in_eti"] == inside).all()

    def test_standard_errors_follow_the_components(self, em, faithful_many_draws):
        swapped = assemble(em.mixture.permute([1, 0]), em.prepared, em.info, em.scaling)
        found = compare(swapped, faithful_many_draws).errors
        expected = standard_errors(em, "sandwich").table["se"]
        assert list(found.index) == list(expected.index)
        np.testing.assert_allclose(found["se_sandwich"], expected, rtol=ALGEBRA)
        np.testing.assert_allclose(found["ratio"], found["posterior_sd"] / found["se_information"])
        assert found["se_bootstrap"].isna().all()

    def test_shared_covariances_have_one_name(self, faithful):
        tied = fit_em(faithful, 2, structure="tied", seed=0)
        expected = standard_errors(tied).table["se"]
        found, _ = error_table(tied, np.array([1, 0]), expected, n_boot=0, seed=0)
        names = [name for name in expected.index if name.startswith("covariances")]
        np.testing.assert_allclose(found.loc[names, "se_information"], expected[names])
        assert found.loc["means[0, waiting]", "se_information"] == expected["means[1, waiting]"]

    def test_many_parameters_are_left_to_who_asks(self, em, faithful_many_draws, monkeypatch):
        monkeypatch.setattr("bayesgmm.comparison.parameters.MOST_PARAMETERS", 10)
        found = compare(em, faithful_many_draws)
        assert found.errors[["se_information", "se_sandwich", "ratio"]].isna().all(axis=None)
        assert found.notes["se_information"] == "11 parameters take long: em.standard_errors('information')"

    def test_a_bootstrap_is_made_when_asked_for(self, em, faithful_many_draws):
        found = compare(em, faithful_many_draws, n_boot=30).errors
        assert found["se_bootstrap"].between(found["posterior_sd"] / 2, 2 * found["posterior_sd"]).all()
        with pytest.raises(ArgumentError, match="n_boot=1"):
            compare(em, faithful_many_draws, n_boot=1)

    def test_what_cannot_be_computed_is_withheld_with_its_reason(self, em, faithful_many_draws):
        collapsed = with_info(em, diagnostics={"degenerate_components": [1]})
        check = compare(collapsed, faithful_many_draws)
        assert check.errors["se_information"].isna().all()
        assert "collapsed" in check.notes["se_information"]
        assert "errors" not in {finding.topic for finding in check.findings}

    def test_label_free_rows_do_not_depend_on_labels(self, em, faithful_many_draws):
        rng = np.random.default_rng(0)
        shuffle = rng.permuted(np.tile([0, 1], (4, 500, 1)), axis=-1)
        shuffled = assemble(
            faithful_many_draws.mixture.permute(shuffle), em.prepared, faithful_many_draws.info, em.scaling
        )
        one, other = (compare(em, fit).label_free for fit in (faithful_many_draws, shuffled))
        pd.testing.assert_frame_equal(one, other)
        assert one.loc["mean[waiting]", "em"] == pytest.approx(em.prepared.values[:, 1].mean(), rel=1e-6)


class TestJoint:
    def test_a_normal_posterior_has_chi_squared_distances(self, faithful_mixture, faithful_many_draws, em):
        found = joint_position(em.mixture, faithful_many_draws)
        assert found.n_coordinates == 11
        assert found.distance < found.expected
        far = joint_position(replace(faithful_mixture, means=faithful_mixture.means + 1.0), faithful_many_draws)
        assert far.tail == 0.0
        assert far.chi2_tail < 1e-6

    def test_the_distance_is_that_of_the_formula(self, em, faithful_many_draws):
        draws = unconstrained(faithful_many_draws.mixture.flatten(), em.structure)
        offset = unconstrained(em.mixture, em.structure) - draws.mean(axis=0)
        expected = np.sqrt(offset @ np.linalg.solve(np.cov(draws.T), offset))
        assert joint_position(em.mixture, faithful_many_draws).distance == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize("code", ["VVV", "EEE", "VVI", "EEI", "VII", "EII"])
    def test_as_many_coordinates_as_parameters(self, code):
        structure = as_structure(code)
        covariances = random_covariances(code, 3, 3)
        mixture = Mixture(np.full(3, 1 / 3), np.zeros((3, 3)), covariances)
        assert unconstrained(mixture, structure).shape == (structure.n_parameters(3, 3),)

    def test_coordinates_by_hand(self):
        mixture = Mixture([0.2, 0.3, 0.5], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[[4.0, 2.0], [2.0, 10.0]]] * 3)
        found = unconstrained(mixture, as_structure("EEE"))
        expected = [np.log(0.4), np.log(0.6), 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, np.log(2.0), np.log(3.0), 1.0]
        np.testing.assert_allclose(found, expected)

    def test_too_few_draws_are_said_to_be_too_few(self, em, faithful_many_draws):
        few = Mixture(*(getattr(faithful_many_draws.mixture, name)[:1, :20] for name in (
            "weights", "means", "covariances")), em.features)  # fmt: skip
        said = joint_position(em.mixture, assemble(few, em.prepared, faithful_many_draws.info, em.scaling))
        assert said == "20 draws are too few for 11 coordinates; draw at least 55"


class TestDensity:
    @pytest.fixture
    def shifted(self):
        """A standard normal estimate, and draws that all are N(0.5, 1)."""
        prepared = prepare(np.random.default_rng(0).normal(size=(50, 1)))
        draws = Mixture(np.ones((2, 20, 1)), np.full((2, 20, 1, 1), 0.5), np.ones((2, 20, 1, 1, 1)), prepared.features)
        return Mixture([1.0], [[0.0]], [[[1.0]]], prepared.features), prepared, draws

    def test_distances_of_two_normals_are_their_known_ones(self, shifted, faithful_draws):
        em, prepared, draws = shifted
        info = replace(faithful_draws.info, structure="VII", n_components=1)
        fit = assemble(draws, prepared, info, prepared.scaling(as_structure("VII")))
        table = compare_densities(em, fit, 0.9).table
        # Two normals of one variance, 0.5 standard deviations apart.
        assert table.loc["l1", "em"] == pytest.approx(2 * (2 * stats.norm.cdf(0.25) - 1), rel=1e-4)
        assert table.loc["hellinger", "em"] == pytest.approx(np.sqrt(1 - np.exp(-(0.5**2) / 8)), rel=1e-6)
        assert table.loc["kl", "em"] == pytest.approx(0.5**2 / 2, rel=1e-6)
        grid = np.linspace(-6, 6, 200_001)
        difference = np.abs(stats.norm.pdf(grid) - stats.norm.pdf(grid, 0.5))
        assert table.loc["sup", "em"] == pytest.approx(difference.max() / stats.norm.pdf(0), rel=1e-3)
        assert table.loc["outside", "em"] == pytest.approx(1.0, abs=0.01)
        np.testing.assert_allclose(table.loc[["l1", "hellinger", "kl"], "draws_median"], 0.0, atol=1e-7)

    def test_drawn_points_agree_with_the_integral(self, em, faithful_draws):
        moved = replace(em.mixture, means=em.mixture.means + np.array([0.3, 3.0]))
        found = compare_densities(moved, faithful_draws, 0.89)
        x = np.linspace(0.3, 6.7, 301), np.linspace(25, 115, 301)
        points = np.stack(np.meshgrid(*x, indexing="ij"), axis=-1).reshape(-1, 2)
        p = np.exp(faithful_draws.log_density(points)).reshape(301, 301)
        q = np.exp(moved.log_density(points)).reshape(301, 301)

        def total(values):
            return integrate.trapezoid(integrate.trapezoid(values, x[1]), x[0])

        for name, expected in (
            ("l1", total(np.abs(p - q))), ("hellinger", np.sqrt(0.5 * total((np.sqrt(p) - np.sqrt(q)) ** 2))),
            ("kl", total(p * np.log(p / q))),
        ):  # fmt: skip
            row = found.table.loc[name]
            assert abs(row["em"] - expected) < STANDARD_ERRORS * row["mc_se"] + 1e-4, name

    def test_the_order_of_components_does_not_matter(self, em, faithful_draws):
        one = compare_densities(em.mixture, faithful_draws, 0.89).table
        other = compare_densities(em.mixture.permute([1, 0]), faithful_draws, 0.89).table
        # Other points are drawn, from the same density.
        assert one.loc["l1", "em"] == pytest.approx(other.loc["l1", "em"], abs=0.02)


class TestRows:
    def test_one_pass_gives_what_memberships_gives(self, em, faithful_draws):
        component = em.predict()
        seen = pass_over_rows(faithful_draws, component, 0.8)
        held = memberships(faithful_draws.mixture, em.prepared.values, em.prepared.rows, prob=0.8)
        at = np.arange(em.n_rows), component
        assert_close(seen.mean, held["mean"].values, EXACT)
        assert_close(seen.lower, held["lower"].values[at], EXACT)
        assert_close(seen.upper, held["upper"].values[at], EXACT)
        np.testing.assert_allclose(seen.aleatoric, held["entropy_aleatoric"].values, atol=1e-10)
        assert seen.n_draws == 80

    def test_allocations_are_drawn_from_responsibilities(self, em, faithful_many_draws):
        seen = pass_over_rows(faithful_many_draws, em.predict(), 0.89)
        shares = (seen.allocations == 1).mean(axis=0)
        error = np.sqrt(seen.mean[:, 1] * (1 - seen.mean[:, 1]) / len(seen.allocations))
        assert np.all(np.abs(shares - seen.mean[:, 1]) <= STANDARD_ERRORS * error + 0.01)

    def test_overconfidence_is_the_difference_of_entropies(self, check):
        table = check.memberships
        assert check.overconfidence == pytest.approx((table["entropy"] - table["em_entropy"]).sum())
        assert check.flips == list(table.index[table["flips"]])

    def test_partitions_agree_as_scikit_learn_says(self):
        rng = np.random.default_rng(0)
        allocations = rng.integers(3, size=(40, 60))
        labels = rng.integers(4, size=60)
        found = compare_partitions({"em": labels}, allocations, 0.9).table
        expected = [metrics.adjusted_rand_score(labels, other) for other in allocations]
        assert found.loc["em", "ari_mean"] == pytest.approx(np.mean(expected))
        entropies = [
            stats.entropy(np.bincount(labels), base=2) + stats.entropy(np.bincount(other), base=2)
            - 2 * metrics.mutual_info_score(labels, other) / np.log(2)
            for other in allocations
        ]  # fmt: skip
        assert found.loc["em", "vi_mean"] == pytest.approx(np.mean(entropies))
        assert found.loc["posterior", "vi_mean"] <= found.loc["em", "vi_mean"]

    def test_em_and_kmeans_stand_side_by_side(self, check):
        table = check.partition.table
        assert list(table.index) == ["em", "kmeans", "posterior"]
        assert table.loc["em", "in_ball"]
        assert table.loc["em", "ari_mean"] > table.loc["kmeans", "ari_mean"]
        assert table.loc["posterior", "ball_distance"] == pytest.approx(0.0, abs=1e-12)

    def test_one_component_has_no_partition(self, faithful, faithful_draws):
        one = fit_em(faithful, 1, seed=0)
        rng = np.random.default_rng(0)
        means = one.mixture.means + rng.normal(size=(2, 60, 1, 2)) * 0.01
        draws = Mixture(np.ones((2, 60, 1)), means, np.tile(one.mixture.covariances, (2, 60, 1, 1, 1)), one.features)
        info = replace(faithful_draws.info, n_components=1)
        check = compare(one, assemble(draws, faithful, info, one.scaling))
        assert check.partition is None
        assert "partition" not in check.tree.children


class TestOptimum:
    def test_draws_go_to_the_optimum_they_surround(self, faithful, faithful_draws):
        em = fit_em(faithful, 3, seed=0)
        sound = em.optima[~em.optima["is_degenerate"]]
        assert len(sound) > 1
        kept = em.tree["optima"].to_dataset().isel(optimum=int(sound.index[1]))
        noise = 1 + 1e-4 * np.random.default_rng(0).normal(size=(2, 30, 3, 1))
        draws = Mixture(
            np.tile(kept["weights"].values, (2, 30, 1)), kept["means"].values * noise,
            np.tile(kept["covariances"].values, (2, 30, 1, 1, 1)), em.features,
        )  # fmt: skip
        bayes = assemble(draws, faithful, replace(faithful_draws.info, n_components=3), em.scaling)
        table = optimum_table(em, bayes)
        assert table["share"].loc[sound.index[1]] == 1.0
        assert table["gap"].loc[sound.index[0]] == 0.0
        finding = next(f for f in compare(em, bayes).findings if f.topic in ("optimum", "sampling"))
        assert finding.level in ("caution", "bad")

    def test_a_fit_without_memory_has_no_optima(self, faithful_check):
        assert faithful_check.optimum.empty
        assert faithful_check.modes.startswith("the posterior does not remember its priors")


class TestPrediction:
    def test_pit_is_the_weighted_distribution_function(self, faithful_draws):
        check_loo = prediction.leave_one_out(faithful_draws)
        table = pit_table(faithful_draws, check_loo)
        draws = faithful_draws.mixture.flatten()
        weights = np.exp(check_loo.log_weights.values.reshape(272, -1)[5])
        sds = np.sqrt(draws.covariances[:, :, 1, 1])
        below = (draws.weights * stats.norm.cdf(faithful_draws.prepared.values[5, 1], draws.means[:, :, 1], sds)).sum(1)
        assert table.loc[5, "waiting"] == pytest.approx(weights @ below / weights.sum(), rel=ALGEBRA)

    def test_pit_is_uniform_where_the_model_holds(self, check):
        for name in check.em.features:
            assert stats.kstest(check.loo_pit[name], "uniform").pvalue > 0.01

    def test_many_rows_are_sampled_and_that_is_said(self, em, faithful_many_draws, monkeypatch):
        monkeypatch.setattr(prediction, "MAX_ROWS", 100)
        monkeypatch.setattr(prediction, "SAMPLED_ROWS", 90)
        check = compare(em, faithful_many_draws)
        row = check.prediction.loc["posterior"]
        monkeypatch.undo()
        full = compare(em, faithful_many_draws)
        error = np.hypot(row["subsampling_se"], 0.5)
        assert abs(row["elpd_loo"] - full.prediction.loc["posterior", "elpd_loo"]) < STANDARD_ERRORS * error
        assert check.notes["leave-one-out"] == "computed from 90 of 272 rows"
        assert check.loo_pit is None

    def test_folds_score_every_row_once(self, em, faithful_many_draws, monkeypatch):
        def posterior(kept, bayes, point, plan):
            return bayes

        monkeypatch.setattr(prediction, "_fit_posterior", posterior)
        remembered = with_info(faithful_many_draws, settings={"priors": {}, "sampler": "nuts"})
        table = compare(em, remembered).kfold(4, seed=1, n_starts=4)
        assert table["n_rows"].sum() == 272
        assert table["posterior"].sum() == pytest.approx(faithful_many_draws.log_density().sum())
        assert table["em"].sum() < em.log_likelihood
        np.testing.assert_allclose(table["difference"], table["posterior"] - table["em"])

    def test_folds_that_cannot_be_made_are_refused(self, check, em, faithful_many_draws):
        with pytest.raises(ArgumentError, match="k=1 folds"):
            check.kfold(1)
        with pytest.raises(ArgumentError, match="a sampler of your own"):
            check.kfold(3)


class TestPull:
    def test_one_normal_is_pulled_as_its_prior_says(self, faithful):
        """One column, one component: the mode by a search of its own over mean and precision."""
        from bayesgmm.bayes import Priors, build_model

        rows = prepare(pd.DataFrame({"x": faithful.values[:30, 1]}))
        em = fit_em(rows, 1, seed=0)
        priors = Priors(mean_location=[60.0], mean_sd=[2.0])
        model = build_model(rows, 1, em.structure, priors)
        rng = np.random.default_rng(0)
        draws = Mixture(
            np.ones((2, 50, 1)), 68 + rng.normal(size=(2, 50, 1, 1)), np.full((2, 50, 1, 1, 1), 170.0), ["x"]
        )
        bayes = assemble(draws, rows, replace(em.info, method="nuts"), em.scaling, model=model)
        found = prior_pull(em.mixture, bayes)
        assert isinstance(found, PriorPull)
        assert found.log_posterior["map"] > found.log_posterior["mle"]
        mean, variance = found.mode.means[0, 0], found.mode.covariances[0, 0, 0]
        # Given the variance, the mode of the mean is the precision-weighted average.
        weights = np.array([30 / variance, 1 / 2.0**2])
        assert mean == pytest.approx(weights @ [rows.values.mean(), 60.0] / weights.sum(), rel=1e-5)
        assert found.table.loc["means[0, x]", "pull"] < 0
        assert np.isnan(found.rank)

    def test_the_rank_is_of_densities_in_the_same_coordinates(self, faithful):
        from bayesgmm.bayes import Priors, build_model
        from bayesgmm.bayes.density import unconstrained_density
        from bayesgmm.bayes.model import start_values

        rows = prepare(pd.DataFrame({"x": faithful.values[:30, 1]}))
        em = fit_em(rows, 1, seed=0)
        model = build_model(rows, 1, em.structure, Priors())
        means = em.mixture.means + np.array([0.1, -2.0, 30.0, 40.0])[:, None, None]
        draws = Mixture(np.ones((1, 4, 1)), means[None], np.tile(em.mixture.covariances, (1, 4, 1, 1, 1)), ["x"])
        standard = em.scaling.mixture_to_standard(draws)
        densities = [unconstrained_density(model, start_values(model, em.structure, standard[0, s])) for s in range(4)]
        kept = np.array([[density.evaluate(density.start)[0] for density in densities]])
        ranks = []
        for values in (kept, kept + 0.5):
            stats = {"sample_stats": xr.Dataset({"lp": (("chain", "draw"), values)})}
            found = prior_pull(em.mixture, assemble(draws, rows, em.info, em.scaling, groups=stats, model=model))
            ranks.append(found.rank)
        # The estimate lies higher than the two draws that are far off, if not than the one beside it.
        assert ranks[0] == (kept < found.log_posterior["mle"]).mean()
        assert ranks[0] >= 0.5
        assert np.isnan(ranks[1])

    def test_without_a_model_it_is_withheld(self, check):
        assert "neither its model nor priors" in check.pull


@pytest.fixture(scope="module")
def doubtful(em, faithful_many_draws):
    diagnostics = {"labels_are_doubtful": True, "ambiguous_share": 0.3, "divergences": 0}
    return compare(em, with_info(faithful_many_draws, diagnostics=diagnostics))


class TestDoubt:
    def test_tables_of_components_are_withheld(self, doubtful, em):
        assert doubtful.parameters["mean"].isna().all()
        assert set(doubtful.parameters["verdict"]) == {"withheld"}
        assert_close(np.sort(doubtful.parameters["em"].iloc[:2]), np.sort(em.mixture.weights), EXACT)
        assert doubtful.components["hellinger"].isna().all()
        assert doubtful.memberships["flips"].isna().all()
        assert doubtful.errors["ratio"].isna().all()
        assert "30%" in doubtful.joint
        assert "30%" in doubtful.pull
        assert np.isnan(doubtful.overconfidence)
        assert doubtful.flips == []

    def test_they_are_there_in_full(self, doubtful, check):
        pd.testing.assert_frame_equal(doubtful.in_full("parameters"), check.parameters)
        with pytest.raises(ArgumentError, match="name='density'"):
            doubtful.in_full("density")

    def test_only_what_needs_no_labels_is_spoken_of(self, doubtful):
        topics = {finding.topic for finding in doubtful.findings}
        assert topics == {"sampling", "labels", "density", "partition", "optimum", "prediction"}
        assert doubtful.verdict.startswith("Component by component nothing can be compared")
        text = repr(doubtful)
        assert "Whole mixture" in text
        assert "means[0, waiting]" not in text
        assert "withheld: components cannot be told apart in 30%" in " ".join(text.split())


class TestTree:
    @pytest.mark.parametrize("name", ["check", "doubtful_iris"])
    def test_everything_is_in_it_and_it_can_be_saved(self, name, request, tmp_path, iris_em, iris_draws):
        if name == "check":
            found = request.getfixturevalue("check")
        else:
            found = compare(iris_em, with_info(iris_draws, diagnostics={"labels_are_doubtful": True}))
        tree = found.tree
        tree.to_netcdf(tmp_path / "tree.nc", engine="netcdf4")
        back = xr.open_datatree(tmp_path / "tree.nc", engine="netcdf4")
        assert set(back.children) == set(found.tables)
        assert back.attrs["verdict"] == found.verdict
        for level, table in found.tables.items():
            assert set(back[level].data_vars) == set(map(str, table.columns))
        np.testing.assert_array_equal(back["parameters"]["em"], found.parameters["em"])
        back.close()

    def test_the_joint_position_is_a_table_of_its_numbers(self, check):
        assert isinstance(check.joint, JointPosition)
        assert float(check.tree["joint"]["value"].sel(quantity="distance")) == check.joint.distance


def test_a_real_table_from_end_to_end():
    """Every level on galaxies, three components, with draws around the optimum."""
    em = fit_em(load_dataset("galaxies"), 3, seed=0)
    rng = np.random.default_rng(0)
    shape = (2, 100)
    draws = Mixture(
        rng.dirichlet(82 * em.mixture.weights, size=shape), em.mixture.means + 0.3 * rng.normal(size=(*shape, 3, 1)),
        em.mixture.covariances * np.exp(0.2 * rng.normal(size=(*shape, 3, 1, 1))), em.features,
    )  # fmt: skip
    info = replace(em.info, method="nuts", diagnostics={"divergences": 0})
    check = compare(em, assemble(draws, em.prepared, info, em.scaling), ci_kind="hdi")
    assert check.verdict.startswith("The EM estimate")
    assert set(check.tables) >= {"components", "parameters", "density", "partition", "joint", "optimum"}


def test_power_scaling_is_told_where_the_log_prior_is_there(em, faithful_many_draws, caplog):
    """A prior that pulls on one parameter only is flagged there and nowhere else."""
    tree = faithful_many_draws.tree.copy()
    draws = tree["posterior"].to_dataset()["means"].values[..., 0, 1]
    log_prior = -0.5 * ((draws - 79.0) / 1.0) ** 2
    tree["log_prior"] = xr.DataTree(xr.Dataset({"means": (("chain", "draw"), log_prior)}))
    names, values = parameter_draws(faithful_many_draws.mixture, em.structure)
    found = _sensitivity(MixtureFit(tree), names, values)
    assert caplog.text == ""
    assert list(found.index) == names
    assert found["psense_prior"].idxmax() == "means[0, waiting]"
    assert found.loc["means[0, waiting]", "psense_diagnosis"] != ""
    assert found["psense_prior"].median() < 0.3 * found.loc["means[0, waiting]", "psense_prior"]
    assert _sensitivity(faithful_many_draws, names, values) is None
