"""Posteriors on a Dask cluster: what its workers load, and data that are ten times what one of them may hold."""

import json
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import cloudpickle
import dask.array as da
import numpy as np
import pytest

import bayesgmm as bg
from bayesgmm.bayes import stream_fit
from bayesgmm.data import dask_rows
from tests.tolerances import STANDARD_ERRORS

# In chains so short much is amiss, and said.
pytestmark = pytest.mark.filterwarnings("ignore::bayesgmm.BayesGMMWarning")

ROWS = np.concatenate(
    [np.random.default_rng(0).normal(size=(400, 2)), np.random.default_rng(1).normal(8.0, 1.0, (300, 2))]
)

WORKER = """
    import pickle, sys

    for task in pickle.load(open(sys.argv[1], "rb")):
        pickle.loads(task)
    wanted = {"bayesgmm.bayes.on_chunks", "bayesgmm.bayes.streamed_rows"}
    assert wanted <= set(sys.modules), wanted - set(sys.modules)
    print(*sorted({"pymc", "pytensor", "nutpie", "arviz", "matplotlib", "sklearn"} & set(sys.modules)))
"""


@pytest.fixture
def tasks(monkeypatch):
    """Everything that Dask is asked to run with what it is called with, pickled as for a worker."""
    found = []
    dask = dask_rows._dask()

    class Recording:
        """Dask, but for what is recorded."""

        compute, persist = dask.compute, dask.persist

        @staticmethod
        def delayed(function, **options):
            def record(*arguments):
                plain = [argument for argument in arguments if callable(argument) or isinstance(argument, int)]
                found.append(cloudpickle.dumps((function, plain)))
                return dask.delayed(function, **options)(*arguments)

            return record

    monkeypatch.setattr(dask_rows, "_dask", lambda: Recording)
    return found


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "read again"])
@pytest.mark.parametrize("sampler", ["gibbs", "laplace"])
def test_what_the_workers_run_needs_no_pymc(sampler, is_kept, tasks, tmp_path, monkeypatch):
    monkeypatch.setattr(stream_fit, "_ROWS_TO_SHOW", 300)
    em = bg.fit_em(ROWS, 2, seed=0)
    memory = 1e9 if is_kept else 1.0
    bg.fit_bayes(
        da.from_array(ROWS, chunks=(350, 2)), 2, em=em, sampler=sampler, seed=0, draws=20, tune=1, chains=1,
        max_memory=memory,
    )  # fmt: skip
    (tmp_path / "tasks").write_bytes(pickle.dumps(tasks))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WORKER), tmp_path / "tasks"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


# -------------------------------------------------------------------- ten times the memory

LARGE = """
    import json, os, sys, warnings
    import dask, dask.array as da, numpy as np
    from distributed import Client, LocalCluster
    import bayesgmm as bg

    LIMIT = 500 * 10**6
    # What Laplace does with a row takes far longer than to make it: so its rows have more columns that nobody looks at.
    COLUMNS = 32 if sys.argv[1] == "gibbs" else 256
    PART = 2**19 // COLUMNS

    def small_table():
        rng = np.random.default_rng(0)
        labels = rng.random(1024) < 0.3
        return rng.standard_normal((1024, COLUMNS)) + 8.0 * labels[:, None], labels

    def make_part(block_id):
        # Made anew: a table that came with every task would be most of what is sent, and kept.
        return np.tile(small_table()[0], (PART // 1024, 1))

    def state():
        with open("/proc/self/status") as status:
            peak = next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        return os.getpid(), peak, "pymc" in sys.modules

    def main(sampler, columns, **options):
        table, labels = small_table()
        parts = 1 + 10 * LIMIT // (8 * COLUMNS * PART)
        rows = da.map_blocks(
            make_part, dtype=float, meta=np.empty((0, 0)), chunks=((PART,) * parts, (COLUMNS,))
        )
        assert rows.nbytes >= 10 * LIMIT
        # A start that is off: of the tenth part of the small table.
        used = [int(name[1:]) for name in columns]
        em = bg.fit_em(table[:400, used], 2, seed=0)
        # What is compiled on first use is not what is measured.
        few = bg.open_stream(da.from_array(np.tile(table, (8, 1)), chunks=(4096, COLUMNS)), columns)
        bg.fit_bayes(few, 2, em=em, sampler=sampler, seed=0, max_memory=1.0, **options)
        with (
            dask.config.set({"distributed.worker.daemon": True}),
            LocalCluster(2, threads_per_worker=1, memory_limit=LIMIT, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            limits = [worker["memory_limit"] for worker in client.scheduler_info()["workers"].values()]
            before = sorted(pid for pid, _, _ in client.run(state).values())
            stream = bg.open_stream(rows, columns)
            fit = bg.fit_bayes(stream, 2, em=em, sampler=sampler, seed=0, **options)
            pids, peaks, have_pymc = zip(*client.run(state).values())
        mixture = fit.mixture
        truth = [table[labels == k][:, used] for k in (False, True)]
        counts = np.array([np.mean(labels == k) for k in (False, True)]) * len(rows)
        errors = {
            "weights": (mixture.weights - counts / len(rows)) / np.sqrt(counts.prod() / len(rows) ** 3),
            "means": (mixture.means - [part.mean(axis=0) for part in truth]) * np.sqrt(counts)[:, None],
            "covariances": (mixture.covariances - [np.cov(part.T, bias=True) for part in truth])
            * np.sqrt(counts / 2)[:, None, None],
        }
        print(json.dumps({
            "n_rows": fit.n_rows, "wanted": len(rows), "limits": limits, "limit": LIMIT,
            "same": before == sorted(pids), "peak": max(peaks), "pymc": any(have_pymc),
            "errors": {name: float(np.abs(found.mean(axis=(0, 1))).max()) for name, found in errors.items()},
        }))

    if __name__ == "__main__":
        from bayesgmm.bayes import laplace  # with PyMC, which workers, that read this file too, are not to load

        warnings.simplefilter("ignore")
        # So many draws from the approximation; each costs a density of all rows.
        laplace.FEW_PROPOSALS = 60
        # Covariances are drawn around the means before them: the second sweep is the first without the start.
        plans = {"gibbs": (["x0", "x1", "x2", "x3"], dict(draws=4, tune=2, chains=1)),
                 "laplace": (["x0", "x1"], dict(draws=15, chains=1))}
        columns, options = plans[sys.argv[1]]
        main(sys.argv[1], columns, **options)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are read from /proc")
@pytest.mark.parametrize("sampler", ["gibbs", "laplace"])
def test_ten_times_the_memory_of_a_worker(sampler, tmp_path):
    """Parts of 32 columns are made in the workers, in every pass; a few of the columns are looked at."""
    (tmp_path / "run.py").write_text(textwrap.dedent(LARGE))
    done = subprocess.run(
        [sys.executable, tmp_path / "run.py", sampler], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["n_rows"] == found["wanted"]
    assert found["limits"] == [found["limit"]] * 2
    assert found["same"], "a worker was restarted"
    assert found["peak"] < found["limit"]
    assert not found["pymc"]
    # In standard deviations of a single draw, since those of Gibbs follow one from the other.
    assert all(error < STANDARD_ERRORS for error in found["errors"].values()), found["errors"]
