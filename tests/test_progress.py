"""Progress: what takes long says how far it is, where somebody can see it, and nowhere else."""

from types import SimpleNamespace

import numpy as np
import pytest

import bayesgmm as bg
from bayesgmm.bayes import evidence, modes
from bayesgmm.comparison import prediction
from bayesgmm.progress import follow, track, working
from tests.conftest import build_fit


def run_working(progress):
    with working("compiling", progress=progress):
        pass


def run_partition(progress):
    bg.partition(np.random.default_rng(0).integers(3, size=(20, 30)), n_runs=2, progress=progress)


def run_em(progress):
    bg.fit_em(bg.load_dataset("faithful"), 2, seed=0, progress=progress)


SHORT = {
    "track": (lambda progress: list(track("ab", "letters", total=2, progress=progress)), ["letters"]),
    "follow": (lambda progress: follow("ab", "letters", total=2, progress=progress), ["letters"]),
    "working": (run_working, ["compiling"]),
    "fit_em": (run_em, ["passes over the data"]),
    "partition": (run_partition, ["blocks of the similarity matrix", "descents", "partitions broken up"]),
}


@pytest.fixture(params=["1", "0"], ids=["on a terminal", "in a file"])
def is_terminal(request, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("TTY_COMPATIBLE", request.param)
    monkeypatch.setenv("COLUMNS", "200")
    return request.param == "1"


@pytest.fixture
def assert_shown(is_terminal, capsys):
    """Assert that something shows each of some words on the error stream when it is asked to, and nothing otherwise."""

    def check(run, words):
        capsys.readouterr()
        run(progress=False)
        assert capsys.readouterr() == ("", "")
        run(progress=True)
        out, err = capsys.readouterr()
        assert out == ""
        assert [word for word in words if word in err] == (words if is_terminal else [])
        assert is_terminal or not err

    return check


@pytest.mark.parametrize("name", SHORT)
def test_what_is_asked_is_shown_on_a_terminal_only(name, assert_shown):
    assert_shown(*SHORT[name])


def test_items_are_handed_on_one_by_one():
    made = []
    items = track((made.append(i) or i for i in range(3)), "numbers", total=3, progress=False)
    assert (next(items), made) == (0, [0])
    assert list(items) == [1, 2]


def test_the_partition_of_a_fit(faithful_draws, assert_shown):
    shown = ["draws of labels", "blocks of the similarity matrix", "descents"]
    assert_shown(lambda progress: faithful_draws.partition(n_runs=2, progress=progress), shown)


def test_a_comparison(faithful_em, faithful_draws, assert_shown):
    assert_shown(
        lambda progress: bg.compare(faithful_em, faithful_draws, n_boot=2, progress=progress).verdict,
        ["replicates", "levels compared"],
    )


def test_several_fits(faithful_em, faithful_draws, assert_shown):
    assert_shown(lambda progress: bg.compare(faithful_em, faithful_em, faithful_draws, progress=progress), ["fits"])


def test_folds(faithful_em, faithful_draws, assert_shown, monkeypatch):
    priors = {"settings": {"priors": bg.Priors().to_dict(), "sampler": "nuts"}}
    remembered = build_fit(faithful_draws.mixture, faithful_draws.prepared, **priors)
    monkeypatch.setattr(prediction, "_fit_posterior", lambda *_arguments: faithful_draws)
    monkeypatch.setattr(prediction, "fit_em", lambda *_arguments, **_options: faithful_em)
    check = bg.compare(faithful_em, remembered)
    assert_shown(lambda progress: check.kfold(2, seed=0, progress=progress), ["folds"])


def test_intervals_of_memberships(faithful_em, assert_shown):
    def run(progress):
        from bayesgmm.em.membership_intervals import membership_intervals

        membership_intervals(faithful_em, [[3.0, 67.0]], "bootstrap", n_boot=2, seed=0, progress=progress)

    assert_shown(run, ["replicates"])


@pytest.fixture
def quick_density(monkeypatch):
    """Stand in for what is compiled and what is drawn."""
    sampled = SimpleNamespace(khat=0.1, log_evidence=-3.0, mcse=0.1)
    climb = SimpleNamespace(log_density=0.0, log_evidence=-3.0)
    density = SimpleNamespace(start=np.zeros(1))
    for room in (evidence, modes):
        monkeypatch.setattr(room, "importance_sample", lambda *_arguments: sampled)
        monkeypatch.setattr(room, "laplace_at", lambda *_arguments: climb)
        monkeypatch.setattr(room, "build_model", lambda *_arguments: None)
        monkeypatch.setattr(room, "largest_khat", lambda _model: 0.7)
    monkeypatch.setattr(evidence, "unconstrained_density", lambda *_arguments: density)
    monkeypatch.setattr(evidence, "_start_of", lambda *_arguments: {})
    monkeypatch.setattr(evidence, "n_copies", lambda *_arguments: 2)
    monkeypatch.setattr(evidence, "log_prior_mass", lambda *_arguments: (0.0, 0.0))
    monkeypatch.setattr(evidence, "bridge_sampling", lambda *_arguments: (-3.0, 0.1))
    monkeypatch.setattr(modes, "evidence_offset", lambda *_arguments: 0.0)
    monkeypatch.setattr(modes, "_vectors", lambda *_arguments: (density, [np.zeros(1)]))


@pytest.mark.usefixtures("quick_density")
class TestEvidence:
    def test_by_laplace(self, faithful_em, assert_shown):
        shown = ["compiling the model", "drawing around the mode"]
        assert_shown(lambda progress: bg.log_evidence(faithful_em, seed=0, progress=progress), shown)

    def test_by_a_bridge(self, faithful_em, assert_shown, monkeypatch):
        asked = []

        def sample(*_arguments, progress, **_options):
            asked.append(progress)
            return np.zeros((4, 10, 1)), None

        monkeypatch.setattr(evidence, "sample_vectors", sample)
        shown = ["compiling the model", "building the bridge"]
        assert_shown(lambda progress: bg.log_evidence(faithful_em, method="bridge", seed=0, progress=progress), shown)
        assert asked == [False, True]

    def test_by_sequential_monte_carlo_the_sampler_shows_its_own(self, faithful_em, monkeypatch):
        asked = []

        def sample(*_arguments, progress, **_options):
            asked.append(progress)
            return {"sample_stats": SimpleNamespace(attrs={"log_evidence": -3.0, "log_evidence_mcse": 0.1})}

        monkeypatch.setattr(evidence, "sample_smc", sample)
        bg.log_evidence(faithful_em, method="smc", seed=0, progress=True)
        assert asked == [True]

    def test_masses_of_optima(self, faithful_em, assert_shown):
        shown = ["compiling the model", "modes", "masses"]
        assert_shown(lambda progress: bg.optimum_masses(faithful_em, progress=progress), shown)
