"""Fits to rows that are read chunk by chunk: the fit in memory is what they must equal, at a fraction of its memory."""

import os
import subprocess
import sys
import textwrap
import tracemalloc

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pytest

import bayesgmm as bg
from bayesgmm.data import chunks as chunks_module
from bayesgmm.data.chunks import Workers
from bayesgmm.data.streams import open_stream
from bayesgmm.data.survey import survey
from bayesgmm.em.conjugate import ConjugatePrior
from bayesgmm.em.fit import fit_em
from bayesgmm.em.rows import StandardRows, has_missing, pack
from bayesgmm.em.statistics import Parameters, Pass
from bayesgmm.em.stream_fit import fit_stream
from bayesgmm.em.streamed import StreamSource
from bayesgmm.errors import ArgumentError, ConvergenceWarning, DataError, DegenerateFitWarning, FitError
from bayesgmm.kernels import em as kernels
from bayesgmm.mixture import Mixture, simulate
from bayesgmm.structure import STRUCTURES
from tests.conftest import build_fit, jitter
from tests.examples import random_mixture
from tests.tolerances import ALGEBRA, EXACT, assert_close

N, D, K = 6000, 3, 3
NAMES = ["a", "b", "c"]
TRUTH = Mixture(
    [0.5, 0.3, 0.2],
    [[0.0, 0.0, 1e4], [5.0, 1.0, 1e4], [0.0, 6.0, 1e4 + 3.0]],
    [np.eye(3), [[2.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 0.5]], 0.5 * np.eye(3)],
)
UNITS = np.array([1.0, 100.0, 0.01])
ROWS = simulate(TRUTH, N, 1)[0] * UNITS
WEIGHTS = np.random.default_rng(2).gamma(2.0, size=N)
WEIGHTS[::7] = 0.0
START = Mixture(TRUTH.weights, TRUTH.means + 0.3, TRUTH.covariances).affine(UNITS, np.zeros(D))
# So little that neither the rows nor the packed blocks fit, and so much that the blocks do.
READ_AGAIN, KEPT = 1e4, 6e5
EQUAL = 1e-10


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    """Chunks of 512 rows."""
    monkeypatch.setattr(chunks_module, "_ROWS_PER_STEP", 512)
    monkeypatch.setattr(chunks_module, "_CHUNK_BYTES", 1)


def as_map(path, array):
    mapped = np.memmap(path, dtype=array.dtype, mode="w+", shape=array.shape)
    mapped[:] = array
    mapped.flush()
    return np.memmap(path, dtype=array.dtype, mode="r", shape=array.shape)


@pytest.fixture
def mapped(tmp_path):
    return as_map(tmp_path / "rows.dat", ROWS)


def sources(folder):
    """Give data of every make with weights in the form that goes with it."""
    frame = pd.DataFrame(ROWS, columns=NAMES).assign(w=WEIGHTS)
    path = folder / "rows.parquet"
    frame.to_parquet(path, row_group_size=1700)
    return {
        "map": (as_map(folder / "rows.dat", ROWS), WEIGHTS),
        "parquet": (path, "w"),
        "dataset": (ds.dataset(path), "w"),
        "dask array": (da.from_array(ROWS, chunks=(1300, 2)), da.from_array(WEIGHTS, chunks=1000)),
        "dask dataframe": (dd.from_pandas(frame, npartitions=5), "w"),
    }


def assert_same_fit(found, expected, tolerance=EQUAL):
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(
            getattr(found.mixture, name), getattr(expected.mixture, name), rtol=tolerance,
            atol=tolerance * np.abs(getattr(expected.mixture, name)).min() if name == "means" else tolerance,
        )  # fmt: skip
    for name in ("log_likelihood", "bic", "aic", "icl"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=tolerance)


class TestEqualsTheFitInMemory:
    @pytest.mark.parametrize("memory", [READ_AGAIN, KEPT], ids=["read again", "kept"])
    @pytest.mark.parametrize("make", ["map", "parquet", "dataset", "dask array", "dask dataframe"])
    def test_from_the_same_start(self, make, memory, tmp_path):
        data, weights = sources(tmp_path)[make]
        plain = data if make in ("map", "dask array") else open_stream(data, NAMES)
        for row_weights, stream in (
            (None, open_stream(plain)),
            (WEIGHTS, open_stream(data, sample_weight=weights)),
        ):
            found = fit_stream(stream, K, start=START, seed=0, max_memory=memory)
            expected = fit_em(ROWS, K, start=START, seed=0, sample_weight=row_weights)
            assert_same_fit(found, expected)
            assert found.effective_rows == pytest.approx(expected.effective_rows, rel=EXACT)
            assert found.n_rows == N
            assert not found.holds_all_rows
            np.testing.assert_allclose(found.em_trace, expected.em_trace, rtol=EQUAL)

    @pytest.mark.parametrize("code", ["EEE", "VVI", "VII", "EEI", "VEV", "EVE"])
    def test_with_every_kind_of_covariance(self, code, mapped):
        found = fit_stream(open_stream(mapped), K, structure=code, start=START, seed=0, max_memory=READ_AGAIN)
        assert_same_fit(found, fit_em(ROWS, K, structure=code, start=START, seed=0))

    def test_own_starts_lead_to_the_same_optimum(self, mapped):
        found = fit_stream(open_stream(mapped), K, seed=0, n_starts=8, max_memory=READ_AGAIN)
        expected = fit_em(ROWS, K, seed=0, n_starts=8)
        assert found.log_likelihood == pytest.approx(expected.log_likelihood, abs=1e-4)
        assert found.optima["log_likelihood"].is_monotonic_decreasing
        assert found.optima["log_likelihood"].iloc[0] == pytest.approx(found.log_likelihood, rel=EXACT)

    def test_rows_with_gaps_are_dropped(self, tmp_path):
        rows = ROWS.copy()
        rows[np.random.default_rng(0).random(N) < 0.2, 1] = np.nan
        stream = open_stream(as_map(tmp_path / "x", rows), missing="drop")
        found = fit_stream(stream, K, start=START, seed=0, max_memory=READ_AGAIN)
        expected = fit_em(rows, K, start=START, seed=0, missing="drop")
        assert_same_fit(found, expected)
        assert (found.n_rows, found.prepared.n_dropped) == (expected.n_rows, expected.prepared.n_dropped)

    @pytest.mark.parametrize(
        "told",
        [
            {"reg_covar": 0.01},
            {"prior": ConjugatePrior()},
            {"fix": {"means": START.means}},
            {"max_eigenvalue_ratio": 20.0},
        ],
        ids=["reg_covar", "prior", "fix", "bound"],
    )
    def test_with_what_em_is_told(self, told, mapped):
        found = fit_stream(open_stream(mapped), K, start=START, seed=0, max_memory=READ_AGAIN, **told)
        assert_same_fit(found, fit_em(ROWS, K, start=START, seed=0, **told))

    def test_single_precision(self, tmp_path):
        single = ROWS.astype(np.float32)
        found = fit_stream(open_stream(as_map(tmp_path / "x", single)), K, start=START, seed=0, max_memory=READ_AGAIN)
        assert_same_fit(found, fit_em(single.astype(np.float64), K, start=START, seed=0))

    def test_few_rows_give_an_ordinary_fit(self, mapped):
        stream = open_stream(dd.from_pandas(pd.DataFrame(ROWS, columns=NAMES), npartitions=3))
        found, expected = fit_stream(stream, K, seed=0, n_starts=2), fit_em(ROWS, K, seed=0, n_starts=2)
        assert found.holds_all_rows
        assert found.log_likelihood == pytest.approx(expected.log_likelihood, rel=EXACT)
        np.testing.assert_array_equal(found.prepared.values, ROWS)

    def test_threads_do_not_change_a_bit(self, mapped):
        fits = [
            fit_stream(open_stream(mapped), K, seed=3, n_starts=2, max_memory=READ_AGAIN, n_threads=n) for n in (1, 3)
        ]
        assert fits[0].log_likelihood == fits[1].log_likelihood
        np.testing.assert_array_equal(fits[0].mixture.covariances, fits[1].mixture.covariances)


class TestSource:
    @pytest.mark.parametrize("room", [0, 10**9])
    @pytest.mark.parametrize("kind", [kernels.FULL, kernels.DIAGONAL, kernels.SPHERICAL, kernels.TIED])
    def test_moments_are_those_of_a_pass_in_memory(self, kind, room, mapped):
        stream = open_stream(mapped, sample_weight=WEIGHTS)
        found = survey(stream, 10, 0, Workers())
        scaling = found.scaling("auto", STRUCTURES["VVV"])
        data = StreamSource(stream, found, scaling, Workers(), room)
        assert data.is_kept == bool(room)
        expected = Pass(pack(scaling.standardize(ROWS), WEIGHTS))
        mixture = random_mixture(K, D)
        point = Parameters(mixture.weights, mixture.means, np.stack([mixture.covariances[0]] * K))
        for mine, theirs in ((data.total, expected.total), (data.moments(point, kind), expected.moments(point, kind))):
            assert_close(mine.log_likelihood, theirs.log_likelihood, ALGEBRA)
            assert_close(mine.counts, theirs.counts, ALGEBRA)
            assert_close(mine.means - theirs.means, 0.0, ALGEBRA)
            assert_close(mine.scatters, theirs.scatters, ALGEBRA)
        assert data.total_weight == pytest.approx(WEIGHTS.sum())

    @pytest.mark.parametrize("weights", [None, WEIGHTS])
    def test_certainty_is_that_of_the_largest_responsibilities(self, weights, mapped):
        stream = open_stream(mapped, sample_weight=weights)
        found = survey(stream, 10, 0, Workers())
        scaling = found.scaling("auto", STRUCTURES["VVV"])
        mixture = scaling.mixture_to_standard(START)
        data = StreamSource(stream, found, scaling, Workers(), 0)
        certainty = np.log(START.responsibilities(ROWS).max(axis=1))
        expected = certainty.sum() if weights is None else weights @ certainty
        point = Parameters(mixture.weights, mixture.means, mixture.covariances)
        assert data.log_certainty(point) == pytest.approx(expected, rel=ALGEBRA)


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    rows = np.tile(ROWS, (2, 1))
    stream = open_stream(as_map(tmp_path_factory.mktemp("rows") / "x", rows))
    return fit_stream(stream, K, start=START, seed=0, max_memory=READ_AGAIN)


class TestTheFit:
    def test_says_that_it_holds_a_sample(self, fit):
        assert repr(fit) == (
            "MixtureFit(em: 3 components, full (VVV), one estimate, 12000 rows x 3 columns, holding a sample of 2000)"
        )
        assert (fit.n_rows, fit.prepared.n_rows, fit.effective_rows) == (2 * N, 2000, 2.0 * N)
        np.testing.assert_array_equal(fit.prepared.values, np.tile(ROWS, (2, 1))[fit.prepared.rows])
        assert "log_likelihood" not in fit.tree.children
        assert fit.info.settings["rows"] == "a memory map"

    def test_goes_to_a_file_and_back(self, fit, tmp_path):
        loaded = bg.load(fit.save(tmp_path / "fit.nc"))
        assert repr(loaded) == repr(fit)
        for name in ("log_likelihood", "bic", "icl", "effective_rows", "n_rows"):
            assert getattr(loaded, name) == getattr(fit, name)

    def test_refuses_what_needs_every_row(self, fit):
        message = "needs every row, and this fit, made from more rows than memory holds, has a sample of 2,000 of 12"
        for call in (fit.standard_errors, fit.predict, fit.log_density, fit.responsibilities, fit.memberships):
            with pytest.raises(ArgumentError, match=message):
                call()

    def test_predicts_rows_that_it_is_given(self, fit):
        np.testing.assert_array_equal(fit.predict(ROWS), fit.mixture.responsibilities(ROWS).argmax(axis=1))

    def test_can_be_summarised(self, fit):
        assert "12,000 rows x 3 columns" in repr(fit.summary())


class TestRefusals:
    def test_a_start_with_an_entry_for_each_row(self, mapped):
        with pytest.raises(ArgumentError, match="start is ndarray; rows that are read chunk by chunk start from a Mix"):
            fit_stream(open_stream(mapped), K, start=np.zeros(N, int), max_memory=READ_AGAIN)

    def test_rows_that_cannot_be_used(self, tmp_path):
        rows = ROWS.copy()
        rows[77, 2] = np.nan
        with pytest.raises(DataError, match=r"column 'x2' has 1 missing value \(row 77\); pass missing='drop'"):
            fit_stream(open_stream(as_map(tmp_path / "x", rows)), K, max_memory=READ_AGAIN)

    @pytest.mark.parametrize("start", [None, START])
    def test_collinear_columns(self, start, tmp_path):
        rows = ROWS.copy()
        rows[:, 2] = rows[:, 0] + 2.0 * rows[:, 1]
        with pytest.raises(FitError, match="linear combinations"):
            fit_stream(open_stream(as_map(tmp_path / "x", rows)), K, start=start, max_memory=READ_AGAIN)

    def test_a_run_that_did_not_end(self, mapped):
        with pytest.warns(ConvergenceWarning, match="EM stopped after"):
            fit_stream(open_stream(mapped), K, start=START, max_iter=3, max_memory=READ_AGAIN)

    def test_a_spike_that_a_wide_bound_lets_through_is_named(self, tmp_path):
        rows = ROWS.copy()
        rows[:12] = rows[0] + 1e-6 * UNITS * np.random.default_rng(0).normal(size=(12, D))
        near = Mixture([0.99, 0.01], [ROWS.mean(axis=0), rows[0]], [np.cov(ROWS.T), 1e-4 * np.diag(UNITS**2)])
        stream = open_stream(as_map(tmp_path / "x", rows))
        with pytest.warns(DegenerateFitWarning, match=r"only max_eigenvalue_ratio=1e\+10 keeps component 1"):
            fit_stream(stream, 2, start=near, max_eigenvalue_ratio=1e10, max_memory=READ_AGAIN)

    def test_a_comparison_with_a_posterior_of_the_sample(self, fit):
        draws = build_fit(jitter(fit.mixture, 2000), fit.prepared)
        with pytest.raises(ArgumentError, match=r"needs every row|different rows"):
            bg.compare(fit, draws)


class TestStandardRows:
    def test_are_those_of_the_scaling(self):
        scaling = bg.prepare(ROWS).scaling(STRUCTURES["VVV"])
        for rows in (ROWS, ROWS.astype(np.float32)):
            Z = StandardRows(rows, scaling)
            expected = scaling.standardize(rows)
            assert Z.shape == rows.shape
            np.testing.assert_array_equal(Z[5:9], expected[5:9])
            np.testing.assert_array_equal(np.asarray(Z), expected)
            for weights in (None, WEIGHTS):
                lazily, at_once = pack(Z, weights), pack(expected, weights)
                np.testing.assert_array_equal(lazily.blocks, at_once.blocks)
                np.testing.assert_array_equal(lazily.weights, at_once.weights)

    def test_gaps_are_seen(self):
        rows = np.zeros((40_000, 2))
        scaling = bg.prepare(ROWS[:, :2]).scaling(STRUCTURES["VVV"])
        assert not has_missing(rows)
        rows[39_999, 1] = np.nan
        assert has_missing(rows)
        assert has_missing(StandardRows(rows, scaling))


# -------------------------------------------------------------------- memory


def test_memory_is_bounded(tmp_path, monkeypatch):
    """A file of 16 MB is fitted with less than a tenth of that, what Python, NumPy and the sample take included."""
    monkeypatch.setattr(chunks_module, "_ROWS_PER_STEP", 1024)
    large = np.memmap(tmp_path / "x", dtype=float, mode="w+", shape=(500_000, 4))
    rng = np.random.default_rng(0)
    for part in np.array_split(large, 50):
        part[:] = rng.normal(size=part.shape) + 4.0 * (rng.random(len(part)) < 0.3)[:, None]
    large.flush()
    stream = open_stream(np.memmap(tmp_path / "x", dtype=float, mode="r", shape=large.shape))
    tracemalloc.start()
    try:
        fit = fit_stream(stream, 2, seed=0, n_starts=2, max_memory=1e5, n_threads=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < large.nbytes / 10
    np.testing.assert_allclose(fit.mixture.means, [[0.0] * 4, [4.0] * 4], atol=0.02)


LIMITED = """
    import resource, sys
    import numpy as np
    from bayesgmm.data.streams import open_stream
    from bayesgmm.em.fit import fit_em
    from bayesgmm.em.stream_fit import fit_stream

    def data_size():
        with open("/proc/self/status") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmData"))

    path, allowed = sys.argv[1], int(sys.argv[2])
    small = np.load(path + ".small.npy", mmap_mode="r")
    # What is imported and compiled on first use is not what is measured.
    fit_stream(open_stream(small), 2, seed=0, n_threads=1, max_memory=1e5)
    limit = data_size() + allowed
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    rows = np.load(path, mmap_mode="r")
    assert rows.nbytes >= 10 * allowed
    fit = fit_stream(open_stream(rows), 2, seed=0, n_threads=1)
    print(fit.n_rows, *np.abs(fit.mixture.means.ravel()).round(1))
    try:
        fit_em(np.array(rows), 2)
    except MemoryError:
        print("limited")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory for data")
def test_a_file_ten_times_larger_than_the_memory_that_is_allowed(tmp_path):
    n, path = 7_000_000, tmp_path / "rows.npy"
    rng = np.random.default_rng(0)
    rows = np.lib.format.open_memmap(path, "w+", float, (n, 4))
    for part in np.array_split(rows, 20):
        part[:] = rng.normal(size=part.shape) + 4.0 * (rng.random(len(part)) < 0.3)[:, None]
    rows.flush()
    np.save(f"{path}.small.npy", rows[:5000])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LIMITED), str(path), str(22 * 10**6)],
        capture_output=True, text=True, check=False, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.split() == [str(n), *["0.0"] * 4, *["4.0"] * 4, "limited"], done.stderr


# -------------------------------------------------------------------- a cluster


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("share", [0.3, 0.0], ids=["kept on the workers", "read again"])
def test_a_cluster_of_two_processes(share, tmp_path, monkeypatch):
    monkeypatch.setattr("bayesgmm.data.dask_rows._SHARE_OF_WORKERS", share)
    distributed = pytest.importorskip("distributed")
    frame = pd.DataFrame(ROWS, columns=NAMES)
    frame.to_parquet(tmp_path / "rows.parquet", row_group_size=1000)
    expected = fit_em(ROWS, K, start=START, seed=0)
    with (
        dask.config.set({"distributed.worker.daemon": True}),
        distributed.LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        for data in (da.from_array(ROWS, chunks=(1000, D)), dd.read_parquet(tmp_path / "rows.parquet")):
            assert_same_fit(fit_stream(open_stream(data), K, start=START, seed=0, max_memory=READ_AGAIN), expected)
