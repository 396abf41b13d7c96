"""The harness of the benchmarks, without a peer and without a clock: its arithmetic, its tables, its pages."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from benchmarks import __main__ as command
from benchmarks.bayes import gradient, posterior
from benchmarks.bayes.problems import Target, of_problem
from benchmarks.bayes.serve import _processor_time, effective_sizes
from benchmarks.em import convergence, memory, optimum, per_iteration
from benchmarks.em.problems import Estimate, Problem, blurred, from_labels, hard_problem, mean_log_likelihood
from benchmarks.em.workers import FailedError, interleave
from benchmarks.tables import markdown_table, number, ratio, replace_section, slope
from tests.tolerances import ALGEBRA


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1234, "0.123"), (12.34, "12.3"), (1234.5, "1234"), (0, "0"), (1e-7, "1.0e-07"), (math.nan, "-"), (15, "15.0")],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_what_every_run_pays_once_cancels_in_the_slope():
    setup, iteration = 5.0, 0.25
    short, long = [setup + 2 * iteration] * 3, [setup + 10 * iteration, setup + 10 * iteration, 1e6]
    assert slope(short, long, 8) == pytest.approx(iteration)


def test_a_ratio_above_one_says_that_the_peer_is_slower():
    assert ratio(6.0, 2.0) == pytest.approx(3.0)
    assert math.isnan(ratio(math.nan, 2.0))
    assert math.isnan(ratio(1.0, 0.0))


def test_table_has_a_rule_below_its_header():
    assert markdown_table(["a", "b"], [["1", "2"]]).splitlines() == ["| a | b |", "| :-- | --: |", "| 1 | 2 |"]


def test_a_section_is_replaced_where_it_stands_and_appended_where_it_is_new():
    page = replace_section(replace_section("# Page\n", "one", "first"), "two", "second")
    replaced = replace_section(page, "one", r"newer \1")
    assert "first" not in replaced
    assert replaced.index(r"newer \1") < replaced.index("second")
    assert replaced.startswith("# Page\n")
    assert replace_section(replaced, "one", r"newer \1") == replaced


def test_a_call_that_fails_is_left_out_and_named():
    def fail():
        raise FailedError("no memory")

    answers, refusals = interleave({"good": lambda: {"seconds": 1.0}, "bad": fail}, 3)
    assert answers == {"good": [{"seconds": 1.0}] * 3}
    assert refusals == {"bad": "no memory"}


def test_log_likelihood_is_scipys():
    problem = hard_problem(0)
    truth = problem.start
    parts = [multivariate_normal(m, c).logpdf(problem.X) for m, c in zip(truth.means, truth.covariances, strict=True)]
    expected = logsumexp(np.array(parts) + np.log(truth.weights)[:, None], axis=0).mean()
    assert mean_log_likelihood(problem.X, truth) == pytest.approx(expected, rel=ALGEBRA)


def test_a_problem_survives_its_file(tmp_path):
    problem = blurred(50, 3, 2, "tied")
    problem.save(tmp_path / "problem.npz")
    again = Problem.load(tmp_path / "problem.npz")
    np.testing.assert_array_equal(again.X, problem.X)
    np.testing.assert_array_equal(again.start.covariances, problem.start.covariances)
    np.testing.assert_array_equal(again.start.covariances[0], again.start.covariances[1])


def test_a_component_on_one_point_is_a_spike():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    sound = from_labels(X, (X[:, 0] > 0).astype(int), 2)
    assert not optimum.is_spike(X, sound)
    thin = Estimate(sound.weights, sound.means, sound.covariances * np.array([1.0, 1e-9])[:, None, None])
    few = Estimate(np.array([0.995, 0.005]), sound.means, sound.covariances)
    assert optimum.is_spike(X, thin)
    assert optimum.is_spike(X, few)
    assert math.isfinite(judged_log_likelihood(X, sound))
    assert math.isnan(judged_log_likelihood(X, thin))


def judged_log_likelihood(X, estimate):
    parts = {part: getattr(estimate, part).tolist() for part in ("weights", "means", "covariances")}
    answer = parts | {"seconds": 1.0, "passes": 3.0}
    return optimum._judged(Problem("p", X, estimate), answer)["log_likelihood"]


# ---------------------------------------------------------------- sections as text


def row(**changes):
    seconds = {"bayesgmm": 1e-3, "scikit-learn": 12e-3, "dgemm": 0.8e-3}
    shape = {"n": 1000, "d": 32, "k": 3, "structure": "full", "threads": 1, "iterations": 5}
    rest = {"seconds": seconds, "cores": {"bayesgmm": 1.0}, "refusals": {}, "gaps": {"scikit-learn": 1e-12}}
    return shape | rest | changes


def test_per_iteration_shows_ratios_and_names_the_missing():
    text = per_iteration.render({"rows": [row()], "missing": ["daal4py"]})
    assert "| 1,000, 32, 3 | full | 1.00 | 12.0 (12x) | - | 0.800 (0.80x) |" in text
    assert "Not installed: daal4py." in text


def test_per_iteration_tells_who_did_something_else():
    text = per_iteration.render({"rows": [row(cores={"bayesgmm": 1.9}, gaps={"scikit-learn": 0.1})], "missing": []})
    assert "scikit-learn ends 0.100 standard deviations from us" in text
    assert "bayesgmm used 1.90 cores" in text


def test_second_thread_is_compared_with_the_first():
    second = row(threads=2, seconds={"bayesgmm": 0.5e-3})
    text = per_iteration.render({"rows": [row(), second], "missing": []})
    assert "2.00x |" in text


def test_memory_is_told_in_sizes_of_the_data():
    found = {"name": "p", "data": 64_000_000, "bytes": {memory.OURS: 64_000_000, "gmmx": 640_000_000}, "missing": []}
    assert "| gmmx | 640 | 10 | 10x |" in memory.render(found)


def test_convergence_says_who_stopped_short():
    ours, early = (
        {"seconds": seconds, "passes": 10.0, "log_likelihood": value} for seconds, value in [(2.0, -1.0), (1.0, -1.01)]
    )
    results = {convergence.OURS: ours, "early": early}
    text = convergence.render({"problems": [{"name": "p", "results": results, "refusals": {}}], "missing": []})
    assert "| early | 1000 | 0.50x | 10 | 1e-02 |" in text


def test_a_spike_is_a_failure_and_never_the_best():
    def found(value):
        return {"seconds": 1.0, "log_likelihood": value}

    results = {"bayesgmm, default": found(-1.0), "mclust, default": found(math.nan), "long search": found(-1.0005)}
    text = optimum.render({"problems": [{"name": "p", "results": results, "refusals": {}}], "missing": []})
    assert "| bayesgmm, default | 100 % | 100 % | 0e+00 | 0 | 1.00 |" in text
    assert "| mclust, default | 0 % | 0 % | inf | 1 | 1.00 |" in text


# ---------------------------------------------------------------- the posterior


def test_a_target_survives_its_file_and_has_the_prior_of_the_model(tmp_path):
    target = of_problem(blurred(60, 3, 2), from_em=False)
    target.save(tmp_path / "target.npz")
    again = Target.load(tmp_path / "target.npz")
    np.testing.assert_array_equal(again.rows, target.rows)
    assert (again.name, again.eta, again.sd_spread) == (target.name, target.eta, target.sd_spread)
    np.testing.assert_allclose(target.rows.std(axis=0), 1.0)
    assert target.sd_median.shape == target.spread.shape == (3,)


def test_independent_draws_are_worth_about_as_many_as_they_are_whatever_their_numbering():
    target = of_problem(blurred(80, 2, 2), from_em=False)
    rng = np.random.default_rng(0)
    weights = np.tile(target.weights, (2, 300, 1))
    means = target.means + 0.01 * rng.normal(size=(2, 300, 2, 2))
    covariances = target.covariances * np.exp(0.01 * rng.normal(size=(2, 300, 2, 1, 1)))
    weights[..., 0] += 0.01 * rng.random((2, 300))
    weights /= weights.sum(axis=-1, keepdims=True)
    swapped = rng.random((2, 300)) < 0.5
    draws = [weights, means, covariances]
    for part in draws:
        part[swapped] = part[swapped][:, ::-1]
    found = effective_sizes(target, tuple(draws))
    assert 300 < found["ess_parameters"] < 1200
    assert 300 < found["ess_density"] < 1200
    assert found["r_hat"] < 1.02


def test_the_time_of_processes_that_a_system_has_started_counts():
    program = "import time; sum(range(2_000_000)); print(time.process_time())"
    begun = _processor_time()
    theirs = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert _processor_time() - begun > 0.9 * float(theirs.stdout)


def test_gradient_shows_ratios_and_names_the_missing():
    results = {gradient.OURS: {"seconds": 1e-3, "compiled": 1.0}, "PyMC, `pm.Mixture`": {"seconds": 5e-3}}
    row = {"n": 1000, "d": 2, "k": 3, "results": results, "refusals": {"numpyro, by hand": "no memory"}}
    text = gradient.render({"rows": [row], "missing": ["numpyro"]})
    assert "| 1,000, 2, 3 | 1.00 | 5.00 (5.0x) |" in text
    assert "numpyro, by hand failed: no memory." in text
    assert "Not installed: numpyro." in text


def test_chains_that_disagree_have_no_effective_draws():
    sound = {"first": 4.0, "again": 2.0, "ess_density": 400.0, "ess_parameters": 200.0, "r_hat": 1.001}
    peer, stuck = sound | {"again": 8.0}, sound | {"r_hat": math.nan}
    results = {posterior.OURS: sound, "peer": peer, "stuck": stuck}
    problem = {"name": "p", "results": results, "refusals": {"other": "refused"}}
    plan = {"chains": 2, "draws": 10, "tune": 10}
    text = posterior.render({"problems": [problem | {"plan": plan}], "missing": [], "is_warmed": True})
    assert "| peer | 4.00 | 8.00 | 50.0 | 4.0x | 25.0 | 4.0x | 1.001 |" in text
    assert "| stuck | 4.00 | 2.00 | - | - | - | - | - |" in text
    assert "other gives no result: refused." in text


# ---------------------------------------------------------------- the command


def test_command_writes_the_page_and_the_numbers_and_keeps_other_sections(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    monkeypatch.setattr(per_iteration, "measure", lambda *, quick: {"rows": [row()], "missing": []})
    memory_found = {"name": "p", "data": 8, "bytes": {memory.OURS: 8}, "missing": []}
    monkeypatch.setattr(memory, "measure", lambda *, quick: memory_found)
    command.main(["--quick", "--only", "per-iteration", "--out", str(page)])
    command.main(["--only", "memory", "--out", str(page)])
    text = page.read_text()
    assert "12.0 (12x)" in text
    assert "make bench ARGS='--quick --only per-iteration'" in text
    assert set(json.loads(page.with_suffix(".json").read_text())) == {"per-iteration", "memory"}
    assert capsys.readouterr().out.startswith("## per-iteration")


def test_unknown_section_is_refused(capsys):
    with pytest.raises(SystemExit):
        command.main(["--only", "speed"])
    assert "invalid choice" in capsys.readouterr().err
