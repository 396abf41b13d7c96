"""Simulation-based calibration: its harness, and a small run of it (`make sbc` is the large one)."""

import numpy as np
import pytest

from bayesgmm.bayes.density import unconstrained_density
from bayesgmm.bayes.model import start_values
from benchmarks.sbc.calibration import Cell, cells, p_values, run_chunk
from benchmarks.sbc.engines import PLANS, compiled_once, posterior_draws
from benchmarks.sbc.page import ALARM, as_numbers, draw_pictures, table
from benchmarks.sbc.problems import STRUCTURES, draw_truths, problem_of
from benchmarks.sbc.ranks import QUANTITIES, pit_values, quantities, thinned_by_worth
from tests.examples import random_mixture, random_rows
from tests.tolerances import ALGEBRA, assert_close


def simulated_pit(sd, replications=300):
    """Truths from a standard normal distribution, among draws of one with another spread."""
    rng = np.random.default_rng(0)
    truths = rng.normal(size=(replications, 3))
    return np.stack([pit_values(truth, sd * rng.normal(size=(200, 3)), rng) for truth in truths])


def test_draws_from_the_right_distribution_are_calibrated_and_narrow_ones_are_not():
    assert p_values(simulated_pit(1.0)).min() > 0.05
    assert p_values(simulated_pit(0.6)).max() < 1e-3


def test_ties_are_spread_over_their_interval():
    values = [pit_values(np.zeros(1), np.zeros((99, 1)), np.random.default_rng(seed))[0] for seed in range(400)]
    assert min(values) < 0.02
    assert max(values) > 0.98


def test_copies_are_thinned_until_draws_are_worth_as_many_as_they_are():
    rng = np.random.default_rng(1)
    copied = np.repeat(rng.normal(size=(80, 2)), 10, axis=0)
    assert 40 <= len(thinned_by_worth(copied)) <= 160
    # The quantity that is worst off decides.
    assert len(thinned_by_worth(np.column_stack([rng.normal(size=800), copied[:, 0]]))) <= 160
    assert len(thinned_by_worth(rng.normal(size=(800, 1)))) >= 400


def test_quantities_do_not_depend_on_how_components_are_numbered():
    mixture, rows = random_mixture(k=2, batch=(5,)), random_rows(12)
    found = quantities(mixture, rows)
    assert found.shape == (5, len(QUANTITIES))
    assert_close(quantities(mixture.permute([1, 0]), rows), found, ALGEBRA)


@pytest.mark.slow
@pytest.mark.parametrize("structure", STRUCTURES)
def test_no_quantity_is_the_same_for_every_mixture(structure):
    truths = draw_truths(structure, 30, seed=1)
    found = np.stack([quantities(truths.mixtures[j : j + 1], truths.rows[j])[0] for j in range(30)])
    assert np.all(found.std(axis=0) > 0.01)


def test_gibbs_is_asked_for_conjugate_structures_and_an_approximation_once():
    assert cells(["full", "VEV"], ["advi", "pathfinder"]) == [("full", "advi"), ("full", "pathfinder")]
    assert cells(["full", "VEV"], ["gibbs", "nuts"]) == [("full", "gibbs"), ("full", "nuts"), ("VEV", "nuts")]
    with pytest.raises(ValueError, match="no engine 'magic'"):
        cells(["full"], ["magic"])


def test_the_table_says_which_cell_is_not_calibrated():
    good, bad = (np.random.default_rng(2).random((100, len(QUANTITIES))) ** power for power in (1, 2))
    shown = [
        as_numbers(Cell("full", engine, pit, np.full(len(pit), 150.0), 200, 3))
        for engine, pit in (("gibbs", good), ("nuts", bad), ("advi", bad))
    ]
    text = table(shown)
    assert "| full | gibbs | 100 | 3 | 200 (150) |" in text
    assert f"{ALARM:g}/{2 * len(QUANTITIES)}" in text
    assert text.endswith("not calibrated: full by nuts.")
    assert "| full | advi, approximate | 100 |" in text
    assert "conclude" in table(shown[2:])
    assert all(sum(counts) == 100 for counts in shown[0]["counts"].values())


def test_cells_with_fewer_replications_and_with_refusals_have_pictures_of_their_own(tmp_path):
    rng = np.random.default_rng(3)
    shown = [
        Cell("full", engine, rng.random((n, len(QUANTITIES))), np.full(n, 150.0), 200, refused)
        for engine, n, refused in (("nuts", 100, 0), ("smc", 60, 0), ("laplace", 70, 30), ("advi", 20, 0))
    ]
    lines = draw_pictures(shown, tmp_path / "images")
    assert [line.split(",")[1].split()[0] for line in lines] == ["100", "60", "70"]
    assert len(list((tmp_path / "images").iterdir())) == 3


@pytest.mark.slow
def test_sequential_monte_carlo_begins_anew_with_the_rows_that_the_model_has_now():
    problem, one, other = problem_of("spherical"), random_rows(12, seed=1), random_rows(12, seed=2) + 2.0
    first, moved, again = (posterior_draws(problem, rows, "smc", 5) for rows in (one, other, one))
    np.testing.assert_array_equal(first.means, again.means)
    assert moved.mean.mean() > first.mean.mean() + 1.0
    assert first.batch_shape == (1, PLANS["smc"].draws)


@pytest.mark.slow
def test_a_compiled_density_reads_the_rows_that_the_model_has_now():
    problem = problem_of("full")
    values = start_values(problem.model, problem.structure, problem.start)
    from benchmarks.sbc import engines

    with compiled_once():
        for seed in range(3):
            problem.model["rows"].set_value(random_rows(12, seed=seed))
            kept = engines.nuts.unconstrained_density(problem.model, values)
            fresh = unconstrained_density(problem.model, values)
            point = fresh.start + 0.1
            assert kept.evaluate(point)[0] == fresh.evaluate(point)[0]
            np.testing.assert_array_equal(kept.evaluate(point)[1], fresh.evaluate(point)[1])


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["gibbs", "nuts"])
def test_the_truth_has_a_uniform_rank(engine):
    pit, worth, n_draws = run_chunk("full", engine, draw_truths("full", 60, seed=3), seed=4)
    assert n_draws >= 100
    assert np.median(worth) > 60
    assert p_values(pit).min() > ALARM / len(QUANTITIES)
