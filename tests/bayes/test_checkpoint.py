"""Checkpoints: a run that ended early goes on, and is the run that it would have been; another run is refused."""

import shutil
from functools import partial

import arviz as az
import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr

import bayesgmm as bg
from bayesgmm.bayes import chain_threads, conjugate_rows, gibbs, nutpie_chains
from bayesgmm.bayes import checkpoint as checkpoints
from bayesgmm.bayes.checkpoint import longest_block
from bayesgmm.bayes.density import UnconstrainedDensity
from bayesgmm.bayes.kept import Kept
from bayesgmm.cli import Interrupted, main
from bayesgmm.storage import CHECKPOINT, read_tree, write_tree
from tests.bayes import interruptions
from tests.bayes.densities import normal
from tests.tolerances import assert_within_errors

TABLE = bg.load_dataset("faithful")
# In chains so short much is amiss, and said.
pytestmark = pytest.mark.filterwarnings("ignore::bayesgmm.BayesGMMWarning")


@pytest.fixture(scope="module")
def em():
    return bg.fit_em(TABLE, 2, seed=0)


@pytest.fixture
def fit(em):
    return partial(bg.fit_bayes, TABLE, 2, em=em, sampler="gibbs", seed=1, draws=60, tune=40, chains=3, cores=1)


@pytest.fixture(scope="module")
def uninterrupted(em):
    return bg.fit_bayes(TABLE, 2, em=em, sampler="gibbs", seed=1, draws=60, tune=40, chains=3)


@pytest.fixture(scope="module")
def finished(em, tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "run.zarr"
    bg.fit_bayes(TABLE, 2, em=em, sampler="gibbs", seed=1, draws=60, tune=40, chains=3, checkpoint=path)
    return path


@pytest.fixture
def short_batches(monkeypatch):
    """Ten sweeps at a time."""
    monkeypatch.setattr(gibbs, "BATCH", 10 * 272 * 2)


@pytest.fixture
def stop_after(monkeypatch):
    """Return a function that arranges for an interruption after so many batches of all chains."""
    return partial(interruptions.stop_after, monkeypatch)


def assert_same_draws(found, expected):
    for group in ("posterior", "sample_stats", "log_likelihood"):
        assert found.tree[group].to_dataset().identical(expected.tree[group].to_dataset()), group


class TestGibbs:
    @pytest.mark.parametrize("batches", [1, 6, 17, 29])
    def test_what_was_interrupted_becomes_what_it_would_have_been(
        self, batches, fit, uninterrupted, short_batches, stop_after, monkeypatch, tmp_path
    ):
        """In the warm-up of the first chain, in its draws, in later chains."""
        stop_after(batches)
        path = tmp_path / "run.zarr"
        if batches <= 4:
            with pytest.raises(KeyboardInterrupt):
                fit(checkpoint=path)
        else:
            partial_fit = fit(checkpoint=path)
            kept = partial_fit.tree["posterior"].sizes
            assert partial_fit.info.diagnostics["interrupted_after"] == kept["draw"]
            assert_same_draws(bg.load(path), partial_fit)
            np.testing.assert_array_equal(
                partial_fit.mixture.means, uninterrupted.mixture.means[: kept["chain"], : kept["draw"]]
            )
        monkeypatch.undo()
        resumed = fit(checkpoint=path)
        assert_same_draws(resumed, uninterrupted)
        assert "resumed_after" not in resumed.info.settings

    def test_a_checkpoint_changes_nothing(self, fit, uninterrupted, tmp_path, monkeypatch):
        monkeypatch.setattr(chain_threads, "_NAP", 0.001)
        assert_same_draws(fit(checkpoint=tmp_path / "run.zarr", checkpoint_seconds=0), uninterrupted)
        assert [found.name for found in tmp_path.iterdir()] == ["run.zarr"]

    def test_a_run_that_has_ended_is_read(self, fit, uninterrupted, finished, monkeypatch):
        monkeypatch.setattr(gibbs, "run_chain", None)
        assert_same_draws(fit(checkpoint=finished), uninterrupted)

    def test_draws_may_grow(self, fit, finished, tmp_path):
        path = shutil.copytree(finished, tmp_path / "run.zarr")
        assert_same_draws(fit(checkpoint=path, draws=100), fit(draws=100))

    def test_one_from_before_acceptance_was_recorded_is_taken(self, fit, finished, tmp_path):
        tree = read_tree(finished)
        tree[CHECKPOINT] = xr.DataTree(tree[CHECKPOINT].to_dataset().drop_vars("acceptance"))
        path = write_tree(tree, tmp_path / "run.zarr")
        assert_same_draws(fit(checkpoint=path, draws=100), fit(draws=100))
        assert (read_tree(path)[CHECKPOINT]["acceptance"] == 1.0).all()

    def test_without_a_seed_that_of_the_checkpoint_is_taken(self, fit, finished, uninterrupted):
        found = fit(checkpoint=finished, seed=None)
        assert found.info.seed == 1
        assert_same_draws(found, uninterrupted)

    def test_whatever_ends_it_leaves_a_checkpoint(self, fit, short_batches, stop_after, tmp_path):
        class Interrupted(BaseException):
            pass

        stop_after(8, Interrupted)
        with pytest.raises(Interrupted):
            fit(checkpoint=tmp_path / "run.zarr")
        assert bg.load(tmp_path / "run.zarr").mixture.batch_shape == (1, 40)

    def test_several_chunks_have_streams_of_their_own(self, short_batches, stop_after, monkeypatch, tmp_path):
        fit = partial(bg.fit_bayes, TABLE, 2, sampler="gibbs", seed=1, draws=40, tune=20, chains=1, structure="diag")
        monkeypatch.setattr(conjugate_rows, "CHUNK", 50)
        stop_after(4)
        fit(checkpoint=tmp_path / "run.zarr")
        monkeypatch.undo()
        monkeypatch.setattr(conjugate_rows, "CHUNK", 50)
        resumed, expected = fit(checkpoint=tmp_path / "run.zarr"), fit()
        assert_same_draws(resumed, expected)


class TestReading:
    def test_a_checkpoint_is_a_fit(self, finished, uninterrupted):
        found = bg.load(finished)
        assert_same_draws(found, uninterrupted)
        assert CHECKPOINT not in found.tree.children
        ours, theirs = found.info.diagnostics, uninterrupted.info.diagnostics
        assert {name for name in ours if ours[name] != theirs[name]} == {"seconds"}
        assert "60 draws" in str(found.summary())

    def test_other_programs_read_it_too(self, finished, uninterrupted):
        with xr.open_datatree(finished, engine="zarr", consolidated=False) as tree:
            np.testing.assert_array_equal(tree["posterior"]["means"], uninterrupted.mixture.means)

    def test_a_run_without_draws_says_so(self, fit, short_batches, stop_after, tmp_path):
        stop_after(2)
        with pytest.raises(KeyboardInterrupt):
            fit(checkpoint=tmp_path / "run.zarr")
        with pytest.raises(bg.FileFormatError, match="has made too few draws"):
            bg.load(tmp_path / "run.zarr")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_components": 3, "em": None}, "n_components=2, and this call has n_components=3"),
        ({"structure": "diag", "em": None}, "structure='VVV', and this call has structure='VVI'"),
        ({"priors": bg.Priors(concentration=3.0)}, "another priors"),
        ({"seed": 2}, "seed=1, and this call has seed=2"),
        ({"tune": 41}, "tune=40, and this call has tune=41"),
        ({"chains": 4}, "chains=3, and this call has chains=4"),
        ({"draws": 59}, "60 draws in a chain, and this call has draws=59"),
        ({"thin": 2}, "thin=None, and this call has thin=2"),
        ({"sampler": "nuts"}, "sampler='gibbs', and this call has sampler='nuts'"),
        ({"data": TABLE * 1.0001}, "other rows, columns or weights"),
        ({"data": TABLE.rename(columns={"waiting": "pause"}), "em": None}, "other rows, columns or weights"),
        ({"sample_weight": np.r_[2.0, np.ones(271)]}, "other rows, columns or weights"),
    ],
)
def test_another_run_is_refused(change, message, em, finished):
    call = {"data": TABLE, "n_components": 2, "em": em, "sampler": "gibbs", "seed": 1, "draws": 60, "tune": 40}
    with pytest.raises(bg.ArgumentError, match=message):
        bg.fit_bayes(**(call | {"chains": 3} | change), checkpoint=finished)


def test_a_model_that_was_changed_is_another(em, tmp_path):
    call = partial(bg.fit_bayes, TABLE, 2, em=em, sampler="gibbs", seed=1, draws=10, tune=0, chains=1)
    path = tmp_path / "run.zarr"
    call(model=bg.build_model(TABLE, 2), checkpoint=path)
    again = call(model=bg.build_model(TABLE, 2), checkpoint=path)
    assert_same_draws(again, call())
    with pytest.raises(bg.ArgumentError, match="another model"):
        call(model=bg.build_model(TABLE, 2, priors=bg.Priors(concentration=2.0)), checkpoint=path)
    with pytest.raises(bg.ArgumentError, match="another model"):
        call(checkpoint=path)


def test_another_version_is_refused_where_it_is_ours_and_said_where_it_is_not(fit, finished, tmp_path, monkeypatch):
    def other_version(name):
        return "99.0" if name == changed else real(name)

    real = checkpoints.version
    monkeypatch.setattr(checkpoints, "version", other_version)
    changed = "bayesgmm"
    with pytest.raises(bg.ArgumentError, match=r"with bayesgmm \S+, and this is 99.0; name another checkpoint"):
        fit(checkpoint=finished)
    changed = "numba"
    path = shutil.copytree(finished, tmp_path / "run.zarr")
    with pytest.warns(bg.SamplingWarning, match="another version of numba; the draws to come may differ in rounding"):
        fit(checkpoint=path)


@pytest.mark.parametrize("sampler", ["laplace", "smc", "advi", lambda model, **_: None])
def test_samplers_with_nothing_to_go_on_from_are_refused(fit, sampler, tmp_path):
    with pytest.raises(bg.ArgumentError, match="goes with sampler='nuts' or 'gibbs'"):
        fit(sampler=sampler, checkpoint=tmp_path / "run.zarr")


class TestPlaces:
    def test_a_saved_fit_is_no_checkpoint(self, fit, em, tmp_path):
        em.save(tmp_path / "run.zarr")
        with pytest.raises(bg.FileFormatError, match="is a saved fit, not a checkpoint; choose another name"):
            fit(checkpoint=tmp_path / "run.zarr")
        assert bg.load(tmp_path / "run.zarr").info == em.info

    def test_nor_is_a_folder_of_something_else(self, fit, tmp_path):
        (tmp_path / "run.zarr").mkdir()
        (tmp_path / "run.zarr" / "thesis.txt").write_text("years of work")
        with pytest.raises(bg.FileFormatError, match="not a saved fit"):
            fit(checkpoint=tmp_path / "run.zarr")
        assert (tmp_path / "run.zarr" / "thesis.txt").exists()

    def test_damage_is_noticed(self, fit, finished, tmp_path):
        path = shutil.copytree(finished, tmp_path / "run.zarr")
        next(file for file in (path / CHECKPOINT / "means" / "c").rglob("*") if file.is_file()).write_bytes(b"0")
        with pytest.raises(bg.FileFormatError, match="is damaged"):
            fit(checkpoint=path)

    @pytest.mark.parametrize("name", ["run.nc", "run", "run.zarr.zip"])
    def test_it_ends_in_zarr(self, fit, name):
        with pytest.raises(bg.ArgumentError, match=r"must end in \.zarr"):
            fit(checkpoint=name)

    def test_its_folder_is_there(self, fit, tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            fit(checkpoint=tmp_path / "nowhere" / "run.zarr")

    @pytest.mark.parametrize("seconds", [-1, "60", np.nan, np.inf, True])
    def test_seconds_are_a_number(self, fit, seconds, tmp_path):
        with pytest.raises(bg.ArgumentError, match="checkpoint_seconds="):
            fit(checkpoint=tmp_path / "run.zarr", checkpoint_seconds=seconds)

    def test_a_full_disk_does_not_end_the_run(self, fit, uninterrupted, tmp_path, monkeypatch):
        def full(tree, path):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(checkpoints, "write_tree", full)
        with pytest.warns(bg.SamplingWarning, match=r"could not be written \(.*No space left.*\); sampling goes on"):
            assert_same_draws(fit(checkpoint=tmp_path / "run.zarr"), uninterrupted)

    def test_draws_that_cannot_be_summarised_do_not_end_the_run(self, fit, uninterrupted, tmp_path, monkeypatch):
        def undescribed(self, *_arguments, **_options):
            init(self, *_arguments, **_options | {"describe": lambda *_draws: 1 / 0})

        init = checkpoints.Checkpoint.__init__
        monkeypatch.setattr(checkpoints.Checkpoint, "__init__", undescribed)
        path = tmp_path / "run.zarr"
        with pytest.warns(bg.SamplingWarning, match=r"holds no summary of the draws \(division by zero\)"):
            assert_same_draws(fit(checkpoint=path), uninterrupted)
        assert checkpoints.read_left(path).state["made"].values.tolist() == [60, 60, 60]

    def test_what_killed_writers_left_is_tidied_up(self, fit, finished, tmp_path):
        path = shutil.copytree(finished, tmp_path / "run.zarr")
        (tmp_path / ".run.zarr.0123abcd").mkdir()
        (tmp_path / ".run.zarr.mine").mkdir()
        fit(checkpoint=path)
        assert sorted(found.name for found in tmp_path.iterdir()) == [".run.zarr.mine", "run.zarr"]


class TestCommand:
    """`bayesgmm fit --checkpoint`; sampling itself is the same call."""

    @pytest.fixture
    def run(self, monkeypatch, tmp_path, capsys):
        monkeypatch.chdir(tmp_path)

        def run(*arguments):
            with pytest.raises(SystemExit) as ended:
                main(["fit", "faithful", *arguments])
            streams = capsys.readouterr()
            return ended.value.code, streams.out, streams.err

        return run

    def test_the_same_command_goes_on_and_another_is_refused(self, run):
        command = ["--method", "gibbs", "--draws", "60", "--tune", "40", "--checkpoint", "run.zarr", "-k"]
        first, again, other = (run(*command, k) for k in ("2", "2", "3"))
        assert (first[0], again[0], other[0]) == (0, 0, 1)
        assert bg.load("run.zarr").mixture.batch_shape == (4, 60)
        assert other[2].endswith("-k 2, and this call has -k 3; make them equal, or name another checkpoint.\n")

    @pytest.mark.parametrize(
        ("options", "status", "message"),
        [
            (["--method", "em"], 2, "--checkpoint goes with --method nuts or gibbs"),
            (["--method", "laplace"], 1, "--checkpoint 'run.zarr' goes with --method nuts or 'gibbs'"),
        ],
    )
    def test_refusals(self, run, options, status, message):
        found = run("-k", "2", "--checkpoint", "run.zarr", *options)
        assert found[0] == status
        assert message in found[2]

    def test_an_interruption_says_where_the_draws_are(self, run, monkeypatch):
        def interrupted(*_arguments, **_options):
            raise Interrupted

        monkeypatch.setattr("bayesgmm.bayes.fit_bayes", interrupted)
        status, _, err = run("-k", "2", "--method", "gibbs", "--checkpoint=run.zarr")
        assert (status, err) == (
            130,
            "Interrupted; with the draws so far in the checkpoint the same command goes on.\n",
        )


def test_little_of_the_time_goes_into_checkpoints(monkeypatch, tmp_path):
    """A write that took 10 seconds is followed by a rest of 190, though 60 were asked for."""
    clock = {"now": 0.0}

    def slow(tree, path):
        clock["now"] += 10.0

    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: clock["now"])
    monkeypatch.setattr(checkpoints, "write_tree", slow)
    place = checkpoints.Checkpoint(
        tmp_path / "run.zarr", seconds=60, identity={}, left=None, draws=1, describe=lambda *_: None
    )
    due = []
    for now in (59.0, 60.0):
        clock["now"] = now
        due.append(place.is_due())
    place.write(xr.Dataset(), {})
    for now in (259.0, 260.0):
        clock["now"] = now
        due.append(place.is_due())
    assert due == [False, True, False, True]


def test_the_longest_block_of_chains_of_different_lengths():
    for lengths, chains, draws in [
        ([70, 80, 0, 3], [0, 1], 70),
        ([90, 40, 41, 42], [0, 1, 2, 3], 40),
        ([0, 0], [0, 1], 0),
        ([5], [0], 5),
    ]:
        found = longest_block(np.array(lengths))
        assert (found[0].tolist(), found[1]) == (chains, draws)


# -------------------------------------------------------------------- NUTS


def kept_draws(lengths=(40, 25, 0), size=2, seed=0):
    rng = np.random.default_rng(seed)
    vectors = tuple(rng.normal(size=(length, size)) for length in lengths)
    stats = tuple({"lp": rng.normal(size=n), "diverging": rng.random(n) < 0.5} if n else {} for n in lengths)
    return Kept(vectors, stats, (7,))


class TestKept:
    def test_it_is_read_as_it_was_written(self, tmp_path):
        kept = kept_draws()
        tree = xr.DataTree()
        tree["checkpoint"] = xr.DataTree(kept.to_state())
        found = Kept.from_state(read_tree(write_tree(tree, tmp_path / "kept.zarr"))["checkpoint"].to_dataset(), 2)
        assert found.joins == (7,)
        for one, other in zip(found.vectors, kept.vectors, strict=True):
            np.testing.assert_array_equal(one, other)
        for one, other in zip(found.stats, kept.stats, strict=True):
            assert one.keys() == other.keys()
            assert all(one[name].dtype == other[name].dtype and np.array_equal(one[name], other[name]) for name in one)

    def test_chains_that_were_warming_up_have_left_nothing(self, tmp_path):
        tree = xr.DataTree()
        tree["checkpoint"] = xr.DataTree(Kept.nothing(2, 3).to_state())
        state = read_tree(write_tree(tree, tmp_path / "kept.zarr"))["checkpoint"].to_dataset()
        found = Kept.from_state(state, 3)
        assert [part.shape for part in found.vectors] == [(0, 3), (0, 3)]
        assert found.geometry() is None
        found.check_density(normal(3)[0])

    def test_further_draws_come_after_those_that_are_kept(self):
        kept = kept_draws()
        further = np.full((2, 6, 2), np.nan)
        further[0, :6], further[1, :3] = 1.0, 2.0
        found = kept.followed_by([0, 2], further, {"lp": np.ones((2, 6)), "diverging": np.zeros((2, 6), dtype=bool)})
        assert found.lengths.tolist() == [46, 25, 3]
        np.testing.assert_array_equal(found.vectors[0][:40], kept.vectors[0])
        np.testing.assert_array_equal(found.vectors[2], np.full((3, 2), 2.0))
        assert found.stats[2]["diverging"].dtype == bool
        assert found.stats[0]["lp"].shape == (46,)

    def test_the_block_says_that_it_is_a_part_and_where_it_was_joined(self):
        vectors, stats = kept_draws((40, 40, 3)).joined().block(50)
        assert vectors.shape == (2, 40, 2)
        assert stats.attrs == {"interrupted_after": 40, "resumed_after": "7 83"}
        assert kept_draws((50, 50, 3)).block(50)[1].attrs["interrupted_after"] == 50

    def test_the_geometry_is_learned_within_chains(self):
        """Two chains far apart: their distance is not a direction in which they move."""
        rng = np.random.default_rng(1)
        root = np.array([[2.0, 0.0], [1.0, 0.5]])
        vectors = tuple(rng.normal(size=(3000, 2)) @ root.T + shift for shift in (-50.0, 50.0))
        found = Kept(vectors, ({}, {})).geometry()
        np.testing.assert_allclose(found.chol @ found.chol.T, root @ root.T, rtol=0.1)
        assert Kept((vectors[0][:10],), ({},)).geometry() is None

    def test_draws_of_another_density_are_refused(self):
        density, _, _ = normal(2, seed=0)
        kept = kept_draws((5,))
        right = Kept(kept.vectors, ({"lp": np.array([density.evaluate(v)[0] for v in kept.vectors[0]])},))
        right.check_density(density)
        for other in (
            UnconstrainedDensity(2, lambda v: (density.evaluate(v)[0] + 0.5, v), None, density.start),
            normal(3, seed=0)[0],
        ):
            with pytest.raises(bg.ArgumentError, match="left by another model"):
                right.check_density(other)


@pytest.fixture(scope="module")
def by_nuts(em):
    return partial(bg.fit_bayes, TABLE, 2, em=em, seed=1, draws=500, tune=300, chains=2)


@pytest.fixture(scope="module")
def plain(by_nuts):
    return by_nuts()


class Stop:
    """Interrupts nutpie when every run has so many draws; says how many it found when it looked."""

    def __init__(self, monkeypatch, draws):
        self.draws, self.looks = draws, []
        self.real = nutpie_chains._wait
        monkeypatch.setattr(nutpie_chains, "_wait", self.wait)

    def wait(self, samplers, look):
        """Look until there is enough."""
        while True:
            vectors, _ = nutpie_chains._gather(nutpie_chains._quietly(samplers, "inspect"))
            lengths = np.sum(~np.isnan(vectors).any(axis=2), axis=1)
            self.looks.append(lengths)
            if lengths.sum() >= self.draws:
                raise KeyboardInterrupt


def test_nuts_goes_on_from_its_last_draws(by_nuts, plain, tmp_path, monkeypatch):
    path = tmp_path / "run.zarr"
    with monkeypatch.context() as patch:
        Stop(patch, 300)
        first = by_nuts(checkpoint=path, draws=10**5)
    loaded = bg.load(path)
    assert_same_draws(loaded, first)
    assert loaded.info.diagnostics["interrupted_after"] == first.tree["posterior"].sizes["draw"]
    kept = Kept.from_state(read_tree(path)[CHECKPOINT].to_dataset(), 0)
    total, draws = int(kept.lengths.sum()), int(kept.lengths.max()) + 600

    resumed = by_nuts(checkpoint=path, draws=draws)
    assert resumed.mixture.batch_shape == (2, draws)
    assert resumed.info.settings["resumed_after"] == [total]
    assert resumed.tree["sample_stats"].attrs["resumed_after"] == str(total)
    assert "interrupted_after" not in resumed.info.diagnostics
    # A chain that had hardly begun is not among the draws of the interrupted run.
    chosen, made = checkpoints.longest_block(kept.lengths)
    assert first.mixture.batch_shape == (len(chosen), made)
    np.testing.assert_array_equal(resumed.mixture.means[chosen, :made], first.mixture.means)
    assert resumed.info.diagnostics["max_r_hat"] < 1.02
    assert resumed.info.diagnostics["divergences"] == 0
    for name in ("weights", "means", "covariances"):
        sides = [fit.tree["posterior"][name].values for fit in (plain, resumed)]
        for place in np.ndindex(sides[0].shape[2:]):
            one, other = (side[(..., *place)] for side in sides)
            error = np.hypot(*(side.std() / np.sqrt(az.ess(side, method="mean")) for side in (one, other)))
            assert_within_errors(one.mean(), other.mean(), error)


def test_nuts_with_a_checkpoint_draws_what_it_draws_without(by_nuts, plain, tmp_path):
    path = tmp_path / "run.zarr"
    assert_same_draws(by_nuts(checkpoint=path, checkpoint_seconds=0), plain)
    again = by_nuts(checkpoint=path)
    assert_same_draws(again, plain)
    assert "resumed_after" not in again.info.settings


def test_discrete_variables_have_no_checkpoint(em, tmp_path):
    with bg.build_model(TABLE, 2) as model:
        pm.Poisson("count", 3.0)
    with pytest.raises(bg.ArgumentError, match="not continuous has no checkpoint"):
        bg.fit_bayes(TABLE, 2, em=em, model=model, starts="em", checkpoint=tmp_path / "run.zarr")


def test_rows_are_told_apart_by_their_values_not_by_their_labels(fit, finished, uninterrupted):
    relabelled = pd.DataFrame(TABLE.to_numpy(), columns=TABLE.columns, index=[f"r{i}" for i in range(len(TABLE))])
    call = dict(fit.keywords) | {"checkpoint": finished}
    found = bg.fit_bayes(relabelled, 2, **call)
    np.testing.assert_array_equal(found.mixture.means, uninterrupted.mixture.means)
