"""NUTS: an interruption keeps what there is, chains may start in different places."""

import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import bayesgmm as bg
from bayesgmm.bayes import nutpie_chains, nuts
from bayesgmm.structure import as_structure
from tests.bayes.densities import normal, two_means
from tests.tolerances import assert_within_errors


class Interrupted:
    """A run of nutpie that is interrupted after so many draws in each chain."""

    def __init__(self, lengths):
        shape = (len(lengths), max([*lengths, 1]))
        reached = np.arange(shape[1]) < np.reshape(lengths, (-1, 1))
        vectors = np.where(reached[..., None], np.arange(shape[1])[:, None] + np.zeros(2), np.nan)
        self.tree = {
            "posterior": xr.Dataset({"vector": (("chain", "draw", "at"), vectors)}),
            "sample_stats": xr.Dataset({"diverging": (("chain", "draw"), ~reached)}),
        }

    def wait(self):
        raise KeyboardInterrupt

    def abort(self):
        return self.tree


def sample(monkeypatch, *runs):
    density, _ = two_means(2.0)
    left = list(runs)
    monkeypatch.setattr(nutpie_chains, "_begin", lambda *_arguments: left.pop(0))
    starts = np.repeat(np.arange(len(runs)), [len(run.tree["posterior"]["vector"]) for run in runs])
    return nutpie_chains.sample_vectors(density, starts[:, None] + np.zeros(2), 100, 50, 0, progress=False, options={})


def test_an_interruption_keeps_the_chains_that_were_running_and_their_common_draws(monkeypatch):
    vectors, stats = sample(monkeypatch, Interrupted([70, 80, 0, 3]))
    assert vectors.shape == (2, 70, 2)
    assert np.isfinite(vectors).all()
    assert stats.attrs["interrupted_after"] == 70
    assert not stats["diverging"].any()


def test_an_interruption_keeps_many_short_chains_rather_than_one_long(monkeypatch):
    assert sample(monkeypatch, Interrupted([90, 40, 41, 42]))[0].shape == (4, 40, 2)


def test_runs_from_different_starts_are_one_result(monkeypatch):
    assert sample(monkeypatch, Interrupted([20, 25]), Interrupted([30, 0]))[0].shape == (3, 20, 2)


def test_an_interruption_before_the_first_draw_is_one(monkeypatch):
    with pytest.raises(KeyboardInterrupt, match="before the first draw"):
        sample(monkeypatch, Interrupted([0, 0]))


def test_chains_start_where_they_are_told():
    """Modes so far apart that no chain leaves its own."""
    density, _ = two_means(8.0)
    starts = np.array([[-8.0, 8.0], [-8.0, 8.0], [8.0, -8.0]])
    vectors, stats = nutpie_chains.sample_vectors(density, starts, 100, 100, 0, progress=False, options={})
    np.testing.assert_array_equal(np.sign(vectors.mean(axis=1)), np.sign(starts))
    again, _ = nutpie_chains.sample_vectors(density, starts, 100, 100, 0, progress=False, options={})
    np.testing.assert_array_equal(vectors, again)
    assert "interrupted_after" not in stats.attrs


def test_whitened_chains_draw_from_the_same_density_in_fewer_steps():
    density, mean, cov = normal(6, seed=3)
    starts = np.tile(density.start, (4, 1))
    around = nuts._whitening(density, starts, "auto", 0.15)
    _, plain = nutpie_chains.sample_vectors(density, starts, 500, 150, 1, progress=False, options={})
    vectors, stats = nuts._sample_whitened(density, around, starts, 500, 150, 1, progress=False, options={})
    flat = vectors.reshape(-1, 6)
    assert_within_errors(flat.mean(axis=0), mean, np.sqrt(np.diagonal(cov) / 1000))
    np.testing.assert_allclose(np.cov(flat.T), cov, atol=0.15 * np.abs(cov).max())
    assert stats["n_steps"].mean() < plain["n_steps"].mean()


def test_coordinates_stay_plain_where_the_approximation_is_poor_or_chains_start_apart():
    density, _ = two_means(2.0)
    one = np.tile(density.start, (2, 1))
    assert nuts._whitening(density, one, "auto", 0.15) is not None
    assert nuts._whitening(density, one, "plain", 0.15) is None
    assert nuts._whitening(density, np.stack([density.start, -density.start]), "auto", 0.15) is None

    def evaluate(vector):
        # A curved ridge: normal at its top only.
        bent = vector[1] - 5 * vector[0] ** 2
        return -0.5 * vector[0] ** 2 - 50 * bent**2, np.array([-vector[0] + 1000 * bent * vector[0], -100 * bent])

    bent = replace(density, evaluate=evaluate, start=np.array([0.1, 0.1]))
    assert nuts._whitening(bent, one, "auto", 0.15) is None
    flat = replace(density, evaluate=lambda _: (0.0, np.zeros(2)))
    assert nuts._whitening(flat, one, "auto", 0.15) is None


@pytest.mark.slow
def test_ctrl_c_ends_sampling_and_not_the_fit():
    script = textwrap.dedent("""
        import os, signal, threading, warnings
        import bayesgmm as bg
        table = bg.load_dataset("faithful")
        em = bg.fit_em(table, 2, seed=0)
        from bayesgmm.bayes import nutpie_chains
        begin = nutpie_chains._begin
        def begin_and_interrupt(*arguments):
            threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGINT)).start()
            return begin(*arguments)
        nutpie_chains._begin = begin_and_interrupt
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fit = bg.fit_bayes(table, 2, em=em, seed=0, draws=10**6, tune=100, chains=2)
        print(fit.info.diagnostics["interrupted_after"], fit.mixture.batch_shape, caught[0].message)
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 100
    assert "sampling was interrupted: 2 chains of" in done.stdout


@pytest.mark.parametrize(("code", "least"), [("VVV", 0.15), ("VVE", 0.15), ("EVV", 0.15), ("EEV", 0.5), ("VEV", 0.5)])
def test_axes_of_each_component_ask_for_a_better_approximation(code, least, monkeypatch):
    class AskedError(Exception):
        pass

    def ask(_density, _starts, _geometry, least):
        raise AskedError(least)

    monkeypatch.setattr(nuts, "_whitening", ask)
    monkeypatch.setattr(nuts, "unconstrained_density", lambda *_: normal(2)[0])
    data = bg.load_dataset("faithful")
    structure = as_structure(code)
    start = bg.fit_em(data, 2, seed=0, structure=structure)
    plan = {"draws": 10, "tune": 10, "chains": 1, "seed": 0, "progress": False}
    with pytest.raises(AskedError, match=str(least)):
        nuts.sample_nuts(
            bg.build_model(data, 2, code), structure=structure, start=start.scaling.mixture_to_standard(start.mixture),
            **plan,
        )  # fmt: skip
