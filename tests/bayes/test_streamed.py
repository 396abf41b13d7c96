"""Posteriors of rows that are read chunk by chunk: the posterior in memory is what they must equal."""

import os
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import bayesgmm as bg
from bayesgmm.bayes import laplace, stream_fit
from bayesgmm.bayes.density import unconstrained_density
from bayesgmm.bayes.model import build_model, start_values
from bayesgmm.bayes.streamed_density import streamed_density
from bayesgmm.bayes.streamed_rows import StreamedRows, prior_rows, row_numbers
from bayesgmm.data import chunks as chunks_module
from bayesgmm.data.chunks import Workers
from bayesgmm.data.streams import open_stream
from bayesgmm.data.survey import survey
from bayesgmm.mixture import Mixture, simulate
from bayesgmm.structure import as_structure
from tests.tolerances import ALGEBRA, assert_close

N, D, K = 5000, 3, 3
NAMES = ["a", "b", "c"]
TRUTH = Mixture(
    [0.5, 0.3, 0.2],
    [[0.0, 0.0, 1e4], [5.0, 1.0, 1e4], [0.0, 6.0, 1e4 + 3.0]],
    [np.eye(3), [[2.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 0.5]], 0.5 * np.eye(3)],
)
UNITS = np.array([1.0, 100.0, 0.01])
ROWS = simulate(TRUTH, N, 1)[0] * UNITS
COPIES = np.random.default_rng(2).integers(0, 4, size=N).astype(float)
# In memory, the defaults of the priors look at the range of all rows.
COPIES[[*ROWS.argmin(axis=0), *ROWS.argmax(axis=0)]] = 1.0
START = TRUTH.affine(UNITS, np.zeros(D))
# So little that standardised rows do not fit, and so much that they do, while the fit in memory does not.
READ_AGAIN, KEPT = 1e4, 4e5
PLAN = {"seed": 3, "draws": 6, "tune": 2, "chains": 2}
EQUAL = 1e-10
# In chains so short much is amiss, and said.
pytestmark = pytest.mark.filterwarnings("ignore::bayesgmm.BayesGMMWarning")


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    """Chunks of 512 rows, and fits that carry 1000."""
    monkeypatch.setattr(stream_fit, "_ROWS_TO_SHOW", 1000)
    monkeypatch.setattr(chunks_module, "_ROWS_PER_STEP", 512)
    monkeypatch.setattr(chunks_module, "_CHUNK_BYTES", 1)


def as_map(path, array):
    mapped = np.memmap(path, dtype=array.dtype, mode="w+", shape=array.shape)
    mapped[:] = array
    mapped.flush()
    return np.memmap(path, dtype=array.dtype, mode="r", shape=array.shape)


@pytest.fixture(scope="module")
def em():
    return bg.fit_em(ROWS, K, start=START, seed=0)


@pytest.fixture(scope="module")
def in_memory(em):
    """The same draws from rows in memory, without weights and with."""
    return [bg.fit_bayes(ROWS, K, em=em, sampler="gibbs", sample_weight=w, **PLAN) for w in (None, COPIES)]


@pytest.fixture
def mapped(tmp_path):
    return as_map(tmp_path / "rows.dat", ROWS)


def source(make, folder):
    """Give rows of a make, with weights in the form that goes with it."""
    if make == "map":
        return as_map(folder / "rows.dat", ROWS), COPIES
    if make == "dask array":
        return da.from_array(ROWS, chunks=(1300, 2)), da.from_array(COPIES, chunks=1000)
    frame = pd.DataFrame(ROWS, columns=NAMES).assign(w=COPIES)
    if make == "dask dataframe":
        return dd.from_pandas(frame, npartitions=5), "w"
    frame.to_parquet(folder / "rows.parquet", row_group_size=1700)
    return folder / "rows.parquet", "w"


def assert_same_draws(found, expected, tolerance=EQUAL):
    for name in ("weights", "means", "covariances"):
        mine, theirs = getattr(found.mixture, name), getattr(expected.mixture, name)
        size = np.abs(theirs).max() if name != "means" else np.abs(theirs).max(axis=(0, 1, 2))
        assert np.all(np.abs(mine - theirs) <= tolerance * size), name
    totals = found.tree["all_rows"]["log_likelihood"].values
    np.testing.assert_allclose(totals, expected.log_likelihood, rtol=tolerance)


class TestGibbsEqualsTheChainsInMemory:
    @pytest.mark.parametrize("memory", [READ_AGAIN, KEPT], ids=["read again", "kept"])
    @pytest.mark.parametrize("make", ["map", "parquet", "dask array", "dask dataframe"])
    def test_from_every_source(self, make, memory, em, in_memory, tmp_path):
        data, weights = source(make, tmp_path)
        plain = data if make in ("map", "dask array") else open_stream(data, NAMES)
        em = em if make in ("map", "dask array") else bg.fit_em(pd.DataFrame(ROWS, columns=NAMES), K, start=START)
        for sample_weight, expected in ((None, in_memory[0]), (weights, in_memory[1])):
            rows = plain if sample_weight is None else data
            found = bg.fit_bayes(
                rows, K, em=em, sampler="gibbs", sample_weight=sample_weight, max_memory=memory, **PLAN
            )  # fmt: skip
            assert_same_draws(found, expected)
            np.testing.assert_array_equal(
                found.tree["sample_stats"]["n_filled"], expected.tree["sample_stats"]["n_filled"]
            )
            assert_close(found.tree["sample_stats"]["lp"], expected.tree["sample_stats"]["lp"], EQUAL)
            assert found.info.settings["priors_in_words"].splitlines()[2:] == (
                expected.info.settings["priors_in_words"].splitlines()[2:]
            ) or make in ("parquet", "dask dataframe")

    @pytest.mark.parametrize("structure", ["tied", "diag", "EII"])
    def test_with_other_covariances(self, structure, mapped):
        em = bg.fit_em(ROWS, K, structure=structure, start=START, seed=0)
        given = {"em": em, "structure": structure, "sampler": "gibbs", "thin": 2, **PLAN}
        assert_same_draws(bg.fit_bayes(mapped, K, max_memory=READ_AGAIN, **given), bg.fit_bayes(ROWS, K, **given))

    def test_the_same_chunks_give_the_same_bits(self, em, mapped):
        """Seven chunks are added up in the same order by both."""
        rows, given = ROWS[: 7 * 512], {"em": em, "sampler": "gibbs", "max_memory": READ_AGAIN, **PLAN}
        whole = as_map(f"{mapped.filename}.part", rows)
        fits = [bg.fit_bayes(whole, K, cores=cores, **given) for cores in (1, 3)]
        fits += [bg.fit_bayes(da.from_array(rows, chunks=(512, D)), K, **given)]
        for found in fits[1:]:
            np.testing.assert_array_equal(found.mixture.means, fits[0].mixture.means)
            np.testing.assert_array_equal(found.mixture.covariances, fits[0].mixture.covariances)

    def test_rows_with_gaps_count_in_the_numbers_only(self, em, tmp_path):
        """With the rows that are left out at the end, all others have the numbers that they have in memory."""
        rows = np.concatenate([ROWS, np.full((700, D), np.nan)])
        given = {"em": em, "sampler": "gibbs", **PLAN}
        found = bg.fit_bayes(as_map(tmp_path / "x", rows), K, missing="drop", max_memory=READ_AGAIN, **given)
        assert_same_draws(found, bg.fit_bayes(ROWS, K, **given))
        assert (found.n_rows, found.prepared.n_dropped) == (N, 700)

    def test_an_interruption_keeps_the_draws_made_so_far(self, em, mapped, monkeypatch):
        fold, left = StreamedRows.fold, [5]

        def interrupted(rows, function, combine):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return fold(rows, function, combine)

        monkeypatch.setattr(StreamedRows, "fold", interrupted)
        given = {"em": em, "sampler": "gibbs", "max_memory": READ_AGAIN, **PLAN}
        found = bg.fit_bayes(mapped, K, **given)
        assert found.mixture.batch_shape == (2, 3)
        assert found.info.diagnostics["interrupted_after"] == 3
        with pytest.raises(KeyboardInterrupt, match="before the first draw"):
            bg.fit_bayes(mapped, K, **given)


# -------------------------------------------------------------------- Laplace


def densities(structure, weights, stream):
    """Return the log posterior from a stream and from memory."""
    chosen = as_structure(structure)
    found = survey(stream, 10, 0, Workers())
    scaling = found.scaling("auto", chosen)
    start = scaling.mixture_to_standard(Mixture(START.weights, START.means, np.stack([START.covariances[0]] * K)))
    models = [
        build_model(data, K, chosen) for data in (prior_rows(found, stream), bg.prepare(ROWS, sample_weight=weights))
    ]
    rows = StreamedRows(stream, found, scaling, Workers(), 0)
    values = [start_values(model, chosen, start) for model in models]
    return streamed_density(rows, models[0], values[0]), unconstrained_density(models[1], values[1])


@pytest.mark.parametrize("structure", ["full", pytest.param("VEV", marks=pytest.mark.slow)])
def test_the_log_posterior_and_its_gradient_are_those_in_memory(structure, mapped):
    weights = np.random.default_rng(5).gamma(2.0, size=N)
    mine, theirs = densities(structure, weights, open_stream(mapped, sample_weight=weights))
    points = mine.start + 0.1 * np.random.default_rng(0).normal(size=(3, mine.size))
    expected = [theirs.evaluate(point) for point in points]
    values, gradients = mine.gradients(points)
    assert_close(values, [value for value, _ in expected], EQUAL)
    assert_close(mine.values(points), values, EQUAL)
    assert_close(gradients, [gradient for _, gradient in expected], ALGEBRA)
    assert_close(mine.evaluate(points[0])[1], gradients[0], EQUAL)
    points[1, -1] = np.nan
    assert list(np.isnan(mine.values(points))) == [False, True, False]


def test_laplace_equals_laplace_in_memory(em, mapped):
    given = {"em": em, "sampler": "laplace", "seed": 3, "draws": 300, "chains": 2}
    found, expected = bg.fit_bayes(mapped, K, max_memory=READ_AGAIN, **given), bg.fit_bayes(ROWS, K, **given)
    # The modes agree as far as the search for them goes.
    assert_same_draws(found, expected, 1e-6)
    for name in ("khat", "efficiency"):
        assert found.info.diagnostics[name] == pytest.approx(expected.info.diagnostics[name], rel=1e-3)


class TestAdviceCanBeFollowed:
    """NUTS needs all rows, so it is not advised but for a sample of them, which every fit of a stream carries."""

    FEW = {"draws": 4, "tune": 4, "chains": 1, "seed": 0, "starts": "em"}

    def test_where_the_posterior_is_far_from_normal(self, mapped, em, monkeypatch):
        monkeypatch.setattr(laplace, "LARGEST_KHAT", -1.0)
        given = {"em": em, "sampler": "laplace", "draws": 50, "chains": 1, "seed": 0}
        with pytest.raises(bg.FitError, match=r"should\); use sampler='nuts'$"):
            bg.fit_bayes(ROWS, K, **given)
        with pytest.raises(bg.FitError, match="use sampler='gibbs', or sampler='nuts' on a sample of the rows"):
            bg.fit_bayes(mapped, K, max_memory=READ_AGAIN, **given)

    def test_where_hardly_a_draw_is_legal(self):
        with pytest.raises(bg.FitError, match=r"the approximation; do this$"):
            laplace.weigh(np.zeros((9, 2)), np.full(9, -np.inf), remedy="do this")

    def test_the_sample_that_is_named_can_be_sampled_by_nuts(self, mapped, fit):
        of_em = bg.fit_em(mapped, K, start=START, seed=0, max_memory=READ_AGAIN)
        for carrier in (of_em, fit):
            found = bg.fit_bayes(carrier.prepared, K, **self.FEW)
            assert found.holds_all_rows
            assert found.n_rows == carrier.prepared.n_rows < N + 1


# -------------------------------------------------------------------- what comes out, and what is refused


@pytest.fixture(scope="module")
def fit(em, tmp_path_factory):
    mapped = as_map(tmp_path_factory.mktemp("rows") / "x", np.tile(ROWS, (2, 1)))
    return bg.fit_bayes(mapped, K, em=em, sampler="gibbs", max_memory=READ_AGAIN, **PLAN)


class TestTheFit:
    def test_says_that_it_holds_a_sample(self, fit):
        assert repr(fit) == (
            "MixtureFit(gibbs: 3 components, full (VVV), 2 chains x 6 draws, 10000 rows x 3 columns, "
            "holding a sample of 4096)"
        )
        assert (fit.n_rows, fit.effective_rows, fit.holds_all_rows) == (2 * N, 2.0 * N, False)
        np.testing.assert_array_equal(fit.prepared.values, np.tile(ROWS, (2, 1))[fit.prepared.rows])
        assert "log_likelihood" not in fit.tree.children
        assert "log_prior" in fit.tree.children
        assert fit.info.settings["rows"] == "a memory map"

    def test_goes_to_a_file_and_back(self, fit, tmp_path):
        loaded = bg.load(fit.save(tmp_path / "fit.nc"))
        assert repr(loaded) == repr(fit)
        np.testing.assert_array_equal(
            loaded.tree["all_rows"]["log_likelihood"], fit.tree["all_rows"]["log_likelihood"]
        )  # fmt: skip

    def test_can_be_summarised_and_asked_about_rows(self, fit):
        assert "10,000 rows x 3 columns" in repr(fit.summary())
        assert fit.predict(ROWS[:5]).shape == (5,)
        with pytest.raises(bg.ArgumentError, match=r"needs every row, .* has a sample of 4,096 of 10,000"):
            fit.predict()

    def test_few_rows_give_an_ordinary_fit(self, em):
        rows, given = ROWS[:900], {"em": em, "sampler": "gibbs", **PLAN}
        found = bg.fit_bayes(da.from_array(rows, chunks=(700, D)), K, **given)
        assert found.holds_all_rows
        np.testing.assert_array_equal(found.mixture.means, bg.fit_bayes(rows, K, **given).mixture.means)


class TestRefusals:
    @pytest.mark.parametrize("sampler", ["nuts", "smc", "advi", lambda model, **options: None])
    def test_samplers_that_need_all_rows(self, sampler, em):
        with pytest.raises(
            bg.ArgumentError,
            match=r"needs all rows in memory, and these \(a Dask array\) .*'gibbs' or sampler='laplace'",
        ):
            bg.fit_bayes(da.from_array(ROWS, chunks=1000), K, em=em, sampler=sampler)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"model": object()}, "pass priors instead of model"),
            ({"checkpoint": "run.zarr"}, "checkpoint='run.zarr'.*leave nothing to go on from"),
            ({"target": 1}, "has no option 'target'"),
            ({"thin": 0}, "thin=0"),
            ({"missing": "marginalize"}, "needs all rows in memory"),
            ({"draws": 0}, "draws=0"),
            ({"structure": "VEV"}, "no exact conditionals for structure VEV; use sampler='laplace', or one of EII"),
            ({"priors": bg.Priors(covariance="lkj")}, r"use Priors\(covariance='wishart'\) or sampler='laplace'"),
        ],
    )
    def test_arguments(self, arguments, message, em):
        with pytest.raises(bg.ArgumentError, match=message):
            bg.fit_bayes(da.from_array(ROWS, chunks=1000), K, em=em, sampler="gibbs", **(PLAN | arguments))

    def test_weights_that_are_not_whole_numbers(self, em):
        weights = np.where(np.arange(N) % 1000 == 7, 1.5, 1.0)
        with pytest.raises(bg.ArgumentError, match=r"5 rows have weights .*the first is 1.5.*use sampler='laplace'"):
            bg.fit_bayes(da.from_array(ROWS, chunks=1000), K, em=em, sampler="gibbs", sample_weight=weights)

    def test_missing_values(self, em, tmp_path):
        rows = ROWS.copy()
        rows[77, 2] = np.nan
        with pytest.raises(bg.DataError, match=r"column 'x2' has 1 missing value \(row 77\); pass missing='drop'"):
            bg.fit_bayes(as_map(tmp_path / "x", rows), K, em=em, sampler="gibbs", max_memory=READ_AGAIN)


def test_rows_are_numbered_through(tmp_path):
    for data in (as_map(tmp_path / "x", ROWS), da.from_array(ROWS, chunks=(1300, D))):
        stream, sizes = open_stream(data), (512 if isinstance(data, np.memmap) else 1300)
        np.testing.assert_array_equal(row_numbers(stream, Workers()), np.arange(0, N, sizes))


# -------------------------------------------------------------------- memory


def two_groups(path, n, d=4):
    """Write a file of rows in two groups far apart."""
    rng, rows = np.random.default_rng(0), np.lib.format.open_memmap(path, "w+", float, (n, d))
    for part in np.array_split(rows, 20):
        part[:] = rng.normal(size=part.shape) + 8.0 * (rng.random(len(part)) < 0.3)[:, None]
    rows.flush()
    return np.load(path, mmap_mode="r")


APART = Mixture([0.7, 0.3], [[0.0] * 4, [8.0] * 4], np.stack([np.eye(4)] * 2))


def test_memory_is_bounded(tmp_path, monkeypatch):
    """A file of 29 MB is sampled with a fraction of that, most of which Python, PyMC and the draws take."""
    monkeypatch.setattr(chunks_module, "_ROWS_PER_STEP", 4096)
    rows = two_groups(tmp_path / "x.npy", 900_000)
    em = bg.fit_em(rows[:5000], 2, start=APART, seed=0)
    given = {"em": em, "sampler": "gibbs", "max_memory": 1e5, "cores": 1, "seed": 0, "draws": 3, "tune": 0, "chains": 2}
    bg.fit_bayes(rows[:10_000], 2, **given)
    tracemalloc.start()
    try:
        fit = bg.fit_bayes(rows, 2, **given)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < rows.nbytes / 5
    np.testing.assert_allclose(fit.mixture.means[:, 1:].mean(axis=(0, 1)), [[0.0] * 4, [8.0] * 4], atol=0.02)


LIMITED = """
    import resource, sys, warnings
    import numpy as np
    import bayesgmm as bg
    from tests.bayes.test_streamed import APART

    def data_size():
        with open("/proc/self/status") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmData"))

    warnings.simplefilter("ignore")
    path, allowed = sys.argv[1], int(sys.argv[2])
    rows = np.load(path, mmap_mode="r")
    assert rows.nbytes >= 10 * allowed
    em = bg.fit_em(np.array(rows[:5000]), 2, start=APART, seed=0)
    given = dict(em=em, sampler="gibbs", seed=0, cores=1, draws=4, tune=1, chains=2)
    # What is imported and compiled on first use is not what is measured.
    bg.fit_bayes(rows[:10_000], 2, max_memory=1e5, **given)
    limit = data_size() + allowed
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    fit = bg.fit_bayes(rows, 2, **given)
    print(fit.n_rows, *np.abs(fit.mixture.means[:, 1:].mean(axis=(0, 1)).ravel()).round(1))
    try:
        np.array(rows)
    except MemoryError:
        print("limited")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory for data")
def test_a_file_ten_times_larger_than_the_memory_that_is_allowed(tmp_path):
    n, path = 8_000_000, tmp_path / "rows.npy"
    two_groups(path, n)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LIMITED), str(path), str(25 * 10**6)],
        capture_output=True, text=True, check=False,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert done.stdout.split() == [str(n), *["0.0"] * 4, *["8.0"] * 4, "limited"], done.stderr


CLUSTERED = """
    import os, signal, sys, threading
    import dask, dask.array as da, numpy as np
    from distributed import Client, LocalCluster
    import bayesgmm as bg
    from bayesgmm.bayes.streamed_rows import StreamedRows
    from tests.bayes.test_streamed import APART

    def kill_in_third_sweep(pid):
        fold, left = StreamedRows.fold, [3]

        def killing(rows, function, combine):
            left[0] -= 1
            if left[0] == 0:
                threading.Timer(0.1, os.kill, (pid, signal.SIGKILL)).start()
            return fold(rows, function, combine)

        StreamedRows.fold = killing

    def main(path, is_killed, out):
        rows = np.load(path, mmap_mode="r")
        em = bg.fit_em(np.array(rows[:5000]), 2, start=APART, seed=0)
        given = dict(em=em, sampler="gibbs", seed=0, draws=5, tune=1, chains=2)
        blocks = da.from_array(rows, chunks=(2**16, 4), name=False)
        fits = [bg.fit_bayes(rows, 2, max_memory=1e6, **given), bg.fit_bayes(blocks, 2, **given)]
        with (
            dask.config.set({"distributed.worker.daemon": True}),
            LocalCluster(2, threads_per_worker=1, memory_limit=2**30, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            pids = list(client.run(os.getpid).values())
            if is_killed:
                kill_in_third_sweep(pids[0])
            fits.append(bg.fit_bayes(blocks, 2, **given))
            is_lost = pids[0] not in client.run(os.getpid).values()
        np.savez(out, means=[fit.mixture.means for fit in fits], is_lost=is_lost)

    if __name__ == "__main__":
        main(sys.argv[1], sys.argv[2] == "killed", sys.argv[3])
"""


@pytest.mark.slow
@pytest.mark.parametrize("fate", ["alive", "killed"])
def test_a_cluster_of_two_processes(fate, tmp_path):
    """Draws are those of threads to the last bit, also where a worker is lost, and those of a memory map."""
    two_groups(tmp_path / "x.npy", 24 * 2**16)
    (tmp_path / "run.py").write_text(textwrap.dedent(CLUSTERED))
    done = subprocess.run(
        [sys.executable, tmp_path / "run.py", tmp_path / "x.npy", fate, tmp_path / "out.npz"],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "out.npz")
    mapped, threads, cluster = found["means"]
    np.testing.assert_array_equal(cluster, threads)
    assert_close(mapped, threads, EQUAL)
    assert found["is_lost"] == (fate == "killed")


def test_chains_that_have_not_mixed_are_told_what_can_be_done(fit):
    wanted = "sampler='nuts' can be run on the sample of the rows that the fit carries (fit.prepared)"
    assert wanted in fit.info.diagnostics["mixing_in_words"]
