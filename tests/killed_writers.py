"""Run by test_faults.py in a process of its own: writers that are killed at the instants that matter, one by one.

Each is a fork that kills itself, as ``kill -9`` would, when it is about to do what the instant says. What is then on
the disk is read here and printed, as JSON, one line each.
"""

import json
import os
import shutil
import signal
import sys
import threading
import warnings
from functools import partial
from pathlib import Path

import numpy as np

import bayesgmm as bg


def die_at(instant):
    """Kill this process before the first step whose description begins with `instant`."""

    def watch(owner, name):
        real = getattr(owner, name)

        def step(subject, *arguments, **options):
            if f"{name} {getattr(subject, 'name', subject)}".startswith(instant):
                os.kill(os.getpid(), signal.SIGKILL)
            return real(subject, *arguments, **options)

        setattr(owner, name, step)

    for owner, name in ((os, "fsync"), (Path, "rename"), (Path, "replace"), (Path, "write_text"), (shutil, "rmtree")):
        watch(owner, name)


def in_a_fork(act):
    """Return whether a fork that does it was killed."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        act()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def say(**found):
    print(json.dumps(found))  # noqa: T201


def killed_saves(folder):
    old, new = (bg.fit_em(bg.load_dataset("faithful"), k, seed=0) for k in (1, 2))
    in_place = ("fsync", "replace")
    aside = ("write_text zarr.json", "fsync", "rename fit.zarr", "rename .fit.zarr.", "rmtree .fit.zarr.before")
    for name, instants in (("fit.nc", in_place), ("fit.zarr", aside)):
        for instant in instants:
            path = folder / name
            old.save(path)
            killed = in_a_fork(lambda path=path, instant=instant: (die_at(instant), new.save(path)))
            say(what=name, instant=instant, killed=killed, found=bg.load(path).n_components)
            new.save(path)
            say(what=name, instant=instant, killed=False, found=bg.load(path).n_components)
        say(what="beside", instant=name, killed=False, found=sorted(found.name for found in folder.iterdir()))


def killed_reports(folder):
    fit = bg.fit_em(bg.load_dataset("galaxies"), 1, seed=0)
    path = folder / "report.html"
    for instant in ("write_text .report.html.", "fsync", "replace"):
        path.write_text("the old page")
        killed = in_a_fork(lambda instant=instant: (die_at(instant), bg.report(fit, path)))
        say(what="report.html", instant=instant, killed=killed, found=path.read_text())


def killed_runs(folder):
    from bayesgmm.bayes import gibbs
    from bayesgmm.bayes.checkpoint import Checkpoint

    table = bg.load_dataset("faithful")
    em = bg.fit_em(table, 2, seed=0)
    fit = partial(
        bg.fit_bayes, table, 2, em=em, sampler="gibbs", seed=1, draws=80, tune=40, chains=2, cores=1,
        checkpoint_seconds=0.0,
    )  # fmt: skip

    def run(path, instant):
        """Make eight batches of ten sweeps, write a checkpoint, and die in the next."""
        sweep, is_there, write, left = gibbs.run_chain, threading.Event(), Checkpoint.write, 8

        def sweep_or_wait(*arguments):
            nonlocal left
            if left == 0:
                is_there.set()
                threading.Event().wait()
            left -= 1
            return sweep(*arguments)

        def write_or_die(self, state, groups):
            if path.exists():
                die_at(instant)
            write(self, state, groups)

        gibbs.BATCH, gibbs.run_chain = 10 * 272 * 2, sweep_or_wait
        Checkpoint.is_due, Checkpoint.write = lambda self: is_there.is_set(), write_or_die
        fit(checkpoint=path)

    for instant in ("write_text zarr.json", "fsync", "rename run.zarr", "rename .run.zarr.", "rmtree .run.zarr.before"):
        path = folder / "run.zarr"
        shutil.rmtree(path, ignore_errors=True)
        killed = in_a_fork(partial(run, path, instant))
        found = list(bg.load(path).mixture.batch_shape)
        if instant == "rename .run.zarr.":
            is_same = np.array_equal(fit(checkpoint=path).mixture.means, fit().mixture.means)
            say(what="resumed", instant=instant, killed=killed, found=is_same)
            say(what="beside", instant=instant, killed=killed, found=sorted(found.name for found in folder.iterdir()))
        say(what="run.zarr", instant=instant, killed=killed, found=found)


def killed_nuts(folder):
    from bayesgmm.bayes.checkpoint import Checkpoint

    table = bg.load_dataset("faithful")
    path = folder / "nuts.zarr"
    em = bg.fit_em(table, 2, seed=0)

    def run():
        write = Checkpoint.write

        def write_or_die(self, state, groups):
            if int(state["made"].sum()) < 40:
                return
            if path.exists():
                die_at("rename .nuts.zarr.")
            write(self, state, groups)

        Checkpoint.write = write_or_die
        bg.fit_bayes(
            table, 2, em=em, seed=1, draws=10**6, tune=100, chains=2, starts="em", checkpoint=path,
            checkpoint_seconds=0.0,
        )  # fmt: skip

    killed = in_a_fork(run)
    found = bg.load(path)
    say(what="nuts.zarr", instant="", killed=killed, found=[found.method, found.mixture.n_mixtures >= 4])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    globals()[sys.argv[1]](Path(sys.argv[2]))
