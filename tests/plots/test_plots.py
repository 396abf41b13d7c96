"""What the pictures show, read back from the artists."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib import colors as mcolors
from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection
from scipy import stats

from bayesgmm.comparison import compare
from bayesgmm.data.prepare import prepare
from bayesgmm.em.fit import fit_em
from bayesgmm.errors import ArgumentError
from bayesgmm.fit import FitInfo, MixtureFit, assemble
from bayesgmm.mixture import Mixture, simulate
from bayesgmm.plots import (
    plot_comparison,
    plot_components,
    plot_density,
    plot_em_trace,
    plot_entropy,
    plot_memberships,
    plot_pairs,
    plot_parameters,
    plot_projection,
    plot_trace,
)
from bayesgmm.plots.components import ellipses
from bayesgmm.plots.density import highest_density_thresholds
from bayesgmm.plots.projection import separating_directions
from bayesgmm.plots.style import (
    EM_COLOR,
    blend,
    component_color,
    component_hatch,
    component_line,
    component_marker,
    ink,
    literal,
    paper,
)
from bayesgmm.plots.subject import read_subject
from bayesgmm.posterior.parameters import parameter_names

ON_AXES = [plot_density, plot_components, plot_memberships, plot_entropy]


def labels_of(handles):
    return [text.get_text() for text in handles.get_texts()]


class TestEveryPicture:
    @pytest.mark.parametrize("draw", ON_AXES)
    @pytest.mark.parametrize("name", ["faithful_em", "faithful_draws", "faithful_check", "galaxies_draws"])
    def test_draws_on_the_axes_it_is_given(self, draw, name, request):
        figure, ax = plt.subplots()
        assert draw(request.getfixturevalue(name), ax=ax) is ax
        figure.canvas.draw()

    @pytest.mark.parametrize("draw", ON_AXES)
    def test_makes_its_own_figure(self, draw, faithful_check):
        assert draw(faithful_check).figure is plt.gcf()

    @pytest.mark.parametrize("draw", [plot_comparison, plot_parameters, plot_pairs])
    @pytest.mark.parametrize("name", ["faithful_check", "iris_check"])
    def test_figures(self, draw, name, request):
        draw(request.getfixturevalue(name)).canvas.draw()

    @pytest.mark.parametrize("draw", [*ON_AXES, plot_comparison, plot_parameters, plot_pairs, plot_trace])
    def test_refuses_what_is_no_fit(self, draw):
        with pytest.raises(ArgumentError, match="fit"):
            draw("faithful")

    @pytest.mark.parametrize("draw", [plot_density, plot_memberships, plot_parameters])
    @pytest.mark.parametrize("prob", [0.0, 1.0, 95])
    def test_refuses_impossible_intervals(self, draw, prob, faithful_draws):
        with pytest.raises(ArgumentError, match="between 0 and 1"):
            draw(faithful_draws, prob=prob)

    def test_what_is_too_long_keeps_its_end(self):
        assert literal("Length of the sepal at noon (cm)", 20) == "Length of the\N{HORIZONTAL ELLIPSIS}n (cm)"
        assert literal("a\nb $") == r"a b \$"

    def test_a_long_legend_stands_beside_the_axes(self, twelve):
        legend = plot_components(twelve).get_legend()
        legend.figure.canvas.draw()
        assert legend.get_window_extent().x0 >= legend.axes.get_window_extent().x1 - 1

    def test_names_are_not_mathematics(self, faithful_em):
        names = ("cost of $x_$", "a" * 60)
        prepared = replace(faithful_em.prepared, features=names)
        mixture = replace(faithful_em.mixture, features=names)
        fit = assemble(mixture, prepared, faithful_em.info, faithful_em.scaling)
        for ax in (plot_components(fit), plot_density(fit)):
            ax.figure.canvas.draw()
            assert ax.get_xlabel() == literal(names[0])
            assert len(ax.get_ylabel()) == 40

    @pytest.mark.parametrize("draw", ON_AXES)
    def test_ink_is_light_on_a_dark_ground(self, draw, faithful_check):
        with plt.style.context("dark_background"):
            ax = draw(faithful_check)
            assert ink(ax) == "#f2f2f2"
            inks = {mcolors.to_hex(line.get_color()) for line in ax.lines} | {
                mcolors.to_hex(line.get_markeredgecolor()) for line in ax.lines
            }
            assert "#f2f2f2" in inks
            assert EM_COLOR not in inks
            ax.figure.canvas.draw()

    def test_ink_follows_axes_and_labels(self):
        ax = plt.subplots()[1]
        assert ink(ax) == EM_COLOR
        ax.set_facecolor("none")
        ax.figure.set_facecolor("#101010")
        assert ink(ax) == "#f2f2f2"
        ax.figure.set_facecolor("none")
        assert (ink(ax), paper(ax)) == (EM_COLOR, (1.0, 1.0, 1.0))
        ax.xaxis.label.set_color("white")
        assert (ink(ax), paper(ax)) == ("#f2f2f2", (0.0, 0.0, 0.0))

    @pytest.mark.parametrize("draw", [plot_comparison, plot_parameters, plot_pairs])
    def test_figures_and_subfigures_that_are_given(self, draw, iris_check):
        figure = plt.figure(figsize=(16, 9), layout="constrained")
        left, right = figure.subfigures(1, 2)
        assert draw(iris_check, figure=left) is left
        assert right.axes == []
        figure.canvas.draw()
        whole = plt.figure(layout="constrained")
        assert draw(iris_check, figure=whole) is whole


@pytest.fixture(scope="module")
def twelve():
    rng = np.random.default_rng(0)
    mixture = Mixture(
        np.full(12, 1 / 12), 8 * rng.normal(size=(12, 2)), np.tile(np.eye(2), (12, 1, 1)), ["east", "north"]
    )
    prepared = prepare(pd.DataFrame(simulate(mixture, 300, 1)[0], columns=["east", "north"]))
    return assemble(mixture, prepared, FitInfo("em", "VVV", 12), read_scaling(prepared))


class TestManyComponents:
    def test_no_two_look_alike(self):
        looks = {(component_color(k), component_marker(k)) for k in range(72)}
        assert len(looks) == 72
        assert len({(component_color(k), component_line(k), component_hatch(k)) for k in range(24)}) == 24

    def test_they_are_numbered(self, twelve, faithful_em):
        assert [text.get_text() for text in plot_components(twelve).texts] == [str(k) for k in range(12)]
        assert not plot_components(faithful_em).texts

    def test_bars_whose_colour_comes_again_are_hatched(self, twelve):
        ax = plot_memberships(twelve, n_rows=300)
        assert {bar.get_hatch() or "" for bar in ax.patches} == {"", "////"}
        ax.figure.canvas.draw()


@pytest.fixture(scope="module")
def streamed(tmp_path_factory, faithful_em):
    rows = simulate(faithful_em.mixture, 4000, 0)[0]
    mapped = np.memmap(tmp_path_factory.mktemp("rows") / "rows.bin", rows.dtype, "w+", shape=rows.shape)
    mapped[:] = rows
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("bayesgmm.data.chunks._ROWS_PER_STEP", 512)
        patched.setattr("bayesgmm.data.chunks._CHUNK_BYTES", 1)
        patched.setattr("bayesgmm.em.stream_fit._ROWS_TO_SHOW", 300)
        fit = fit_em(mapped, 2, seed=0, max_memory=1e4)
    assert not fit.holds_all_rows
    return fit


class TestStreamed:
    """A fit to more rows than memory holds is drawn from the sample of rows that it carries."""

    def test_rows_are_those_of_the_sample(self, streamed):
        subject = read_subject(streamed)
        assert len(subject.shown_rows) == min(streamed.prepared.n_rows, 5000) < streamed.n_rows
        assert subject.shown_shares.shape == (len(subject.shown_rows), 2)
        ax = plot_components(streamed)
        assert sum(len(c.get_offsets()) for c in ax.collections) == len(subject.shown_rows)

    @pytest.mark.parametrize("draw", [*ON_AXES, plot_projection, plot_em_trace])
    def test_every_picture(self, draw, streamed):
        draw(streamed).figure.canvas.draw()


class TestDensity:
    def test_regions_of_a_normal_are_its_known_ellipses(self):
        axis = np.linspace(-6, 6, 601)
        points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        density = np.exp(-0.5 * (points**2).sum(axis=1)) / (2 * np.pi)
        found = highest_density_thresholds(density[None], (0.5, 0.9))[0]
        # The region of share p ends where the density is (1 - p) times its peak.
        np.testing.assert_allclose(found, np.array([0.5, 0.1]) / (2 * np.pi), rtol=2e-3)

    def test_curves_integrate_to_one_and_lie_in_their_band(self, galaxies_draws):
        ax = plot_density(galaxies_draws)
        line = next(line for line in ax.lines if line.get_label() == "posterior mean")
        x, y = line.get_data()
        assert np.trapezoid(y, x) == pytest.approx(1.0, abs=5e-3)
        (band,) = (c for c in ax.collections if c.get_label() == "89% band")
        outline = band.get_paths()[0].vertices
        assert np.interp(20.0, x, y) < outline[:, 1].max()
        assert sum(p.get_height() * p.get_width() for p in ax.patches) == pytest.approx(1.0)

    def test_em_is_drawn_over_the_posterior(self, faithful_check):
        assert labels_of(plot_density(faithful_check).get_legend())[-1] == "EM: 50% and 90% regions"

    def test_a_marginal_of_many_columns(self, iris_draws):
        ax = plot_density(iris_draws, features=["petal_length"])
        assert ax.get_xlabel() == "petal_length"

    def test_refuses_many_columns(self, iris_draws):
        with pytest.raises(ArgumentError, match=r"4 columns cannot be drawn.*plot_pairs"):
            plot_density(iris_draws)


class TestComponents:
    def test_ellipses_hold_their_share(self):
        rng = np.random.default_rng(0)
        root = rng.normal(size=(3, 2, 2))
        covariances = root @ np.swapaxes(root, -1, -2)
        means = rng.normal(size=(3, 2))
        outlines = ellipses(means, covariances, 0.8) - means[:, None]
        squares = np.einsum("kni,kij,knj->kn", outlines, np.linalg.inv(covariances), outlines)
        np.testing.assert_allclose(squares, stats.chi2.ppf(0.8, 2))

    def test_a_bundle_for_each_component_of_the_posterior_and_a_line_for_em(self, faithful_check):
        ax = plot_components(faithful_check)
        bundles = [c for c in ax.collections if isinstance(c, LineCollection)]
        assert [mcolors.to_hex(c.get_color()[0]).upper() for c in bundles] == [component_color(0), component_color(1)]
        outlines = [line for line in ax.lines if len(line.get_xdata()) > 2]
        assert len(outlines) == 2
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("eruptions", "waiting")

    def test_em_has_no_bundle(self, faithful_em):
        assert not [c for c in plot_components(faithful_em).collections if isinstance(c, LineCollection)]

    def test_chooses_the_columns_that_separate(self, iris_draws):
        ax = plot_components(iris_draws)
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("petal_length", "petal_width")

    def test_takes_the_columns_that_are_named(self, iris_draws):
        ax = plot_components(iris_draws, features=["sepal_width", "petal_length"])
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("sepal_width", "petal_length")

    def test_refuses_three_columns_and_unknown_ones(self, iris_draws):
        with pytest.raises(ArgumentError, match="not 3; use plot_pairs"):
            plot_components(iris_draws, features=["sepal_width", "petal_length", "petal_width"])
        with pytest.raises(ArgumentError, match="no column named 'weight'"):
            plot_components(iris_draws, features="weight")

    def test_every_row_is_drawn_once(self, faithful_em):
        ax = plot_components(faithful_em)
        assert sum(len(c.get_offsets()) for c in ax.collections) == faithful_em.n_rows

    def test_colours_are_mixed_by_membership(self):
        shares = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
        first, second, middle = blend(shares)
        np.testing.assert_allclose(first, mcolors.to_rgb(component_color(0)))
        np.testing.assert_allclose(middle, (first + second) / 2)


class TestMemberships:
    def test_bars_add_up_to_one(self, iris_check):
        ax = plot_memberships(iris_check, n_rows=25)
        heights = np.zeros(25)
        for bar in ax.patches:
            heights[round(bar.get_x() + bar.get_width() / 2)] += bar.get_height()
        np.testing.assert_allclose(heights, 1.0)

    def test_says_what_is_true_of_the_others(self, iris_draws):
        largest = np.sort(iris_draws.memberships()["mean"].max("component").values)
        text = plot_memberships(iris_draws, n_rows=15).get_xlabel()
        assert "the 15 least certain; each of the other 135" in text
        said = float(text.rsplit(" ", 1)[1].rstrip("%")) / 100
        assert largest[15] - 0.001 < said <= largest[15]

    def test_em_marks_are_the_responsibilities_of_em(self, faithful_check):
        ax = plot_memberships(faithful_check)
        (marks,) = (line for line in ax.lines if line.get_marker() == "D")
        rows = [int(label.get_text()) for label in ax.get_xticklabels()]
        expected = faithful_check.memberships.loc[rows, "em_responsibility"]
        np.testing.assert_allclose(marks.get_ydata(), expected)

    def test_few_rows_that_are_certain(self, faithful_em):
        ax = plot_memberships(faithful_em, n_rows=10_000)
        assert 12 <= len(ax.get_xticks()) < 40

    def test_refuses_no_rows(self, faithful_em):
        with pytest.raises(ArgumentError, match="n_rows=0"):
            plot_memberships(faithful_em, n_rows=0)


class TestParameters:
    def test_every_parameter_has_a_line_and_em_its_place(self, faithful_check):
        figure = plot_parameters(faithful_check)
        ticks = [label.get_text() for ax in figure.axes for label in ax.get_yticklabels()]
        assert len(ticks) == len(parameter_names("full", 2, ["eruptions", "waiting"]))
        marks = [line.get_xdata()[0] for ax in figure.axes for line in ax.lines if line.get_marker() in "D<>"]
        np.testing.assert_allclose(marks, faithful_check.parameters["z"].clip(-4, 4))

    def test_intervals_are_those_of_the_comparison(self, faithful_em, faithful_draws):
        for kind in ("eti", "hdi"):
            check = compare(faithful_em, faithful_draws, ci_prob=0.5, ci_kind=kind)
            lines = plot_parameters(check).axes[0].collections[0].get_segments()
            table = check.parameters.iloc[:2]
            expected = (table["lower"] - table["mean"]) / table["sd"]
            np.testing.assert_allclose([line[0, 0] for line in lines], expected)

    def test_a_single_component_has_no_weight(self, faithful):
        rng = np.random.default_rng(0)
        means = faithful.values.mean(axis=0) + rng.normal(size=(2, 30, 1, 2))
        covariances = np.cov(faithful.values.T) * rng.uniform(0.9, 1.1, size=(2, 30, 1, 1, 1))
        mixture = Mixture(np.ones((2, 30, 1)), means, covariances, faithful.features)
        fit = assemble(mixture, faithful, FitInfo("nuts", "VVV", 1), read_scaling(faithful))
        assert [ax.get_title(loc="left") for ax in plot_parameters(fit).axes] == ["means", "covariances"]

    def test_refuses_an_estimate(self, faithful_em):
        with pytest.raises(ArgumentError, match="single estimate"):
            plot_parameters(faithful_em)

    def test_of_many_those_furthest_from_the_estimate(self, iris_check):
        figure = plot_parameters(iris_check, n_parameters=10)
        ticks = [label.get_text() for ax in figure.axes for label in ax.get_yticklabels()]
        assert len(ticks) == 10
        marks = [line.get_xdata()[0] for ax in figure.axes for line in ax.lines if line.get_marker() in "D<>"]
        expected = np.sort(iris_check.parameters["z"].abs())[-10:]
        np.testing.assert_allclose(np.sort(np.abs(marks)), expected.clip(max=4.0))
        assert figure.axes[-1].get_xlabel().endswith("10 of 45 parameters: those that differ most from EM's estimate")

    def test_of_many_the_first_where_there_is_no_estimate(self, iris_draws):
        figure = plot_parameters(iris_draws, n_parameters=5)
        assert [ax.get_title(loc="left") for ax in figure.axes] == ["weights", "means"]
        assert figure.axes[-1].get_xlabel().endswith("5 of 45 parameters")

    def test_refuses_no_parameters(self, iris_draws):
        with pytest.raises(ArgumentError, match="n_parameters=0"):
            plot_parameters(iris_draws, n_parameters=0)


def read_scaling(prepared):
    from bayesgmm.structure import as_structure

    return prepared.scaling(as_structure("full"))


class TestTraceAndPairs:
    def test_trace_has_a_row_for_each_column_and_moment(self, faithful_draws):
        collection = plot_trace(faithful_draws)
        assert set(collection.viz["plot"].data_vars) == {
            "weights", "mean: eruptions", "sd: eruptions", "mean: waiting", "sd: waiting",
        }  # fmt: skip

    def test_ranks(self, faithful_draws):
        figure = plot_trace(faithful_draws, kind="rank").viz["figure"].item()
        figure.canvas.draw()
        assert sum(ax.get_xlabel() == "Fractional ranks" for ax in figure.axes) == 5

    def test_a_column_with_a_slash(self, galaxies_draws):
        mixture = replace(galaxies_draws.mixture, features=("km/s",))
        prepared = replace(galaxies_draws.prepared, features=("km/s",))
        fit = assemble(mixture, prepared, galaxies_draws.info, galaxies_draws.scaling)
        assert "mean: km\N{DIVISION SLASH}s" in plot_trace(fit).viz["plot"].data_vars

    def test_trace_of_columns(self, iris_draws):
        collection = plot_trace(iris_draws, features="petal_length")
        assert set(collection.viz["plot"].data_vars) == {"weights", "mean: petal_length", "sd: petal_length"}
        with pytest.raises(ArgumentError, match="kind='ranks'"):
            plot_trace(iris_draws, kind="ranks")

    def test_trace_refuses_an_estimate(self, faithful_em):
        with pytest.raises(ArgumentError, match="needs draws"):
            plot_trace(faithful_em)

    def test_pairs_fill_the_lower_triangle(self, iris_check):
        figure = plot_pairs(iris_check)
        assert sum(ax.get_visible() for ax in figure.axes) == 4 * 5 / 2

    def test_pairs_refuse_one_column(self, galaxies_draws):
        with pytest.raises(ArgumentError, match="2 to 8 columns, not 1"):
            plot_pairs(galaxies_draws)


class TestSubject:
    def test_a_comparison_is_drawn_in_the_posteriors_order(self, faithful_em, faithful_draws, faithful_check):
        swapped = assemble(
            faithful_em.mixture.permute([1, 0]), faithful_em.prepared, faithful_em.info, faithful_em.scaling
        )
        subject = read_subject(compare(swapped, faithful_draws))
        np.testing.assert_array_equal(subject.estimate.weights, faithful_check.matched_em.weights)

    def test_weighted_rows_count_in_the_histogram(self):
        values = np.r_[np.linspace(0, 1, 20), np.linspace(9, 10, 20)][:, None]
        prepared = prepare(values, sample_weight=np.r_[np.full(20, 3.0), np.ones(20)])
        mixture = Mixture([0.75, 0.25], [[0.5], [9.5]], [[[0.1]], [[0.1]]], prepared.features)
        ax = plot_density(assemble(mixture, prepared, FitInfo("em", "VII", 2), read_scaling(prepared)))
        left = sum(p.get_height() * p.get_width() for p in ax.patches if p.get_x() < 5)
        assert left == pytest.approx(0.75)


class TestEntropy:
    def test_bars_are_the_entropies_and_marks_are_those_of_em(self, faithful_check):
        ax = plot_entropy(faithful_check, n_rows=10)
        table = faithful_check.memberships.sort_values("entropy", ascending=False, kind="stable").head(10)
        heights = np.zeros(10)
        for bar in ax.patches:
            heights[round(bar.get_x() + bar.get_width() / 2)] += bar.get_height()
        np.testing.assert_allclose(heights, table["entropy"], atol=1e-12)
        (marks,) = (line for line in ax.lines if line.get_marker() == "D")
        np.testing.assert_allclose(marks.get_ydata(), table["em_entropy"], atol=1e-12)

    def test_rows_without_a_bar_to_see_are_left_out(self, faithful_check):
        assert len(plot_entropy(faithful_check, n_rows=200).get_xticks()) == 12

    def test_an_estimate_has_one_part_only(self, faithful_em):
        assert labels_of(plot_entropy(faithful_em).get_legend()) == ["components overlap (aleatoric)"]

    def test_refuses_no_rows(self, faithful_em):
        with pytest.raises(ArgumentError, match="n_rows=0"):
            plot_entropy(faithful_em, n_rows=0)


class TestEMTrace:
    def test_shows_the_climb_and_every_optimum(self, faithful):
        em = fit_em(faithful, 3, seed=0)
        ax = plot_em_trace(em)
        climb = next(line for line in ax.lines if line.get_label() == "the run that won")
        np.testing.assert_array_equal(climb.get_ydata(), em.em_trace)
        others = next(line for line in ax.lines if line.get_label() == "other runs")
        runs = em.tree["runs"]["log_likelihood"].values[1:]
        drawn = np.asarray(others.get_ydata())
        np.testing.assert_array_equal(drawn[~np.isnan(drawn)], runs[~np.isnan(runs)])
        levels = [line.get_ydata()[0] for line in ax.lines if line not in (climb, others)]
        np.testing.assert_allclose(levels, em.optima["log_likelihood"].head(12))
        assert [text.get_text().split()[0] for text in ax.texts] == [
            str(count) for count in em.optima["times_reached"].head(12)
        ]

    def test_a_climb_that_is_over_at_once_is_not_magnified(self, faithful):
        ax = plot_em_trace(fit_em(faithful, 1, seed=0))
        assert np.ptp(ax.get_ylim()) > 1
        ax.figure.canvas.draw()
        assert ax.yaxis.get_offset_text().get_text() == ""

    @pytest.mark.parametrize("name", ["faithful_draws", "faithful_em"])
    def test_refuses_what_has_no_trace(self, name, request):
        with pytest.raises(ArgumentError, match="pass what fit_em returned"):
            plot_em_trace(request.getfixturevalue(name))


class TestProjection:
    def test_two_groups_apart_in_a_known_direction(self):
        """Equal covariances: the first direction is Fisher's discriminant."""
        rng = np.random.default_rng(0)
        root = rng.normal(size=(5, 5))
        within = root @ root.T + np.eye(5)
        means = rng.normal(size=(2, 5))
        mixture = Mixture([0.3, 0.7], means, [within, within])
        basis = separating_directions(mixture)
        fisher = np.linalg.solve(within, means[1] - means[0])
        cosine = fisher @ basis[:, 0] / np.linalg.norm(fisher) / np.linalg.norm(basis[:, 0])
        assert abs(cosine) == pytest.approx(1.0)
        np.testing.assert_allclose(basis.T @ mixture.covariance @ basis, np.eye(2), atol=1e-10)

    def test_it_does_not_depend_on_units(self, iris_em):
        scale = np.array([1.0, 10.0, 0.1, 1000.0])
        plain = separating_directions(iris_em.mixture)
        scaled = separating_directions(iris_em.mixture.affine(scale, 0.0))
        np.testing.assert_allclose(scaled * scale[:, None], plain, rtol=1e-6)

    def test_groups_are_apart_in_the_picture(self, iris_check):
        ax = plot_projection(iris_check)
        ax.figure.canvas.draw()
        assert "petal" in ax.get_xlabel()
        assert sum(len(c.get_offsets()) for c in ax.collections if not isinstance(c, LineCollection)) == 150
        bundles = [c for c in ax.collections if isinstance(c, LineCollection)]
        assert len(bundles) == 3

    def test_refuses_one_column(self, galaxies_draws):
        with pytest.raises(ArgumentError, match="one column"):
            plot_projection(galaxies_draws)


class TestDoubtfulLabels:
    @pytest.mark.parametrize("draw", [plot_components, plot_memberships, plot_entropy, plot_projection])
    def test_pictures_of_components_say_so(self, draw, doubtful):
        assert draw(doubtful).get_xlabel().endswith("components cannot be told apart in 40% of the draws")

    def test_figures_of_components_say_so(self, doubtful):
        note = "components cannot be told apart in 40% of the draws"
        assert plot_parameters(doubtful).axes[-1].get_xlabel().endswith(note)
        assert plot_pairs(doubtful).get_supxlabel() == note
        assert plot_trace(doubtful).viz["figure"].item().get_supxlabel() == note

    def test_pictures_without_components_do_not(self, doubtful):
        assert plot_density(doubtful).get_xlabel() == "eruptions"


@pytest.fixture(scope="module")
def doubtful(faithful_draws):
    tree = faithful_draws.tree.copy()
    diagnostics = {"labels_are_doubtful": True, "ambiguous_share": 0.4}
    tree.attrs = {"bayesgmm_info": replace(faithful_draws.info, diagnostics=diagnostics).to_json()}
    return MixtureFit(tree)
