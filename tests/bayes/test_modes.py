"""Several modes: which optimum carries how much, where chains start, and what is said when they do not meet."""

import numpy as np
import pytest
import xarray as xr

import bayesgmm as bg
from bayesgmm.bayes import modes as room
from bayesgmm.bayes.evidence import log_evidence
from bayesgmm.bayes.laplace import Laplace
from bayesgmm.bayes.model import build_model
from bayesgmm.bayes.modes import chain_starts, describe_chains, optimum_masses, sound_optima
from bayesgmm.mixture import Mixture
from tests.conftest import jitter
from tests.tolerances import STANDARD_ERRORS


@pytest.fixture(scope="module")
def two_groups():
    """Three groups for two components: either pair may be joined, and the pair that is closer is joined more often."""
    rng = np.random.default_rng(0)
    groups = [rng.normal(centre, 0.5, size=(25, 2)) for centre in ([-6.0, 0.0], [0.0, 0.0], [6.3, 0.0])]
    return bg.prepare(np.concatenate(groups))


@pytest.fixture(scope="module")
def em(two_groups):
    fit = bg.fit_em(two_groups, 2, structure="spherical", seed=0)
    assert len(sound_optima(fit)[1]) >= 2
    return fit


@pytest.fixture(scope="module")
def masses(em):
    return optimum_masses(em, seed=1)


def test_masses_add_up_and_the_evidence_is_that_of_the_model(em, masses):
    assert masses["mass"].sum() == pytest.approx(1.0)
    assert masses["khat"].max() < 0.7
    assert list(masses.index) == sorted(masses.index)
    gaps = masses["log_evidence"] - masses["log_evidence"].max()
    np.testing.assert_allclose(masses["mass"], np.exp(gaps) / np.exp(gaps).sum())
    assert masses["log_evidence"].iloc[0] == pytest.approx(log_evidence(em, seed=2).value, abs=0.1)


def test_masses_do_not_depend_on_the_units(em, two_groups, masses):
    scaled = bg.fit_em(1000 * two_groups.values + 7, 2, structure="spherical", seed=0)
    found = optimum_masses(scaled, seed=1)
    np.testing.assert_allclose(found["mass"], masses["mass"], atol=0.02)
    np.testing.assert_allclose(found["log_evidence"], masses["log_evidence"] - 2 * 75 * np.log(1000), atol=0.05)


@pytest.mark.slow
def test_optima_of_covariances_with_axes_have_masses_too(two_groups):
    fit = bg.fit_em(two_groups, 2, structure="VVE", seed=0)
    found = optimum_masses(fit, seed=1)
    assert found["mass"].sum() == pytest.approx(1.0)
    # Chains that start at the best optimum stay there: the two are apart.
    bridge = log_evidence(fit, method="bridge", seed=2)
    assert bridge.n_copies == 2 * 2 * 2
    best = found.iloc[0]
    assert abs(best["log_evidence"] - bridge.value) < STANDARD_ERRORS * (bridge.mcse + 0.02)


def test_an_optimum_without_a_mode_of_its_own_has_no_mass():
    """Two climbs that end at one height and volume are one mode; the first optimum has it."""
    climbs = [Laplace(np.zeros(2), -5.0, np.eye(2)), Laplace(np.ones(2), -5.0, np.eye(2)), None]
    np.testing.assert_array_equal(room._leaders(climbs), [0, 0, 2])


def test_masses_are_withheld_where_a_mode_without_a_number_could_matter(em, monkeypatch):
    real = room.importance_sample
    calls = []

    def doubtful(*arguments):
        calls.append(arguments)
        found = real(*arguments)
        return found if len(calls) == 1 else type(found)(*list(vars(found).values())[:2], 0.9, 0.1, -1.0, 1.0)

    monkeypatch.setattr(room, "importance_sample", doubtful)
    found = optimum_masses(em, seed=1)
    assert np.isnan(found["mass"]).all()
    assert np.isnan(found["log_evidence"].iloc[1])
    assert found["khat"].iloc[1] == 0.9


def test_chains_start_at_every_optimum_that_carries_mass(em, two_groups):
    model = build_model(two_groups, 2, "spherical")
    starts, modes = chain_starts(em, model, em.structure, em.scaling, 4)
    assert starts.batch_shape == (4,)
    assert set(modes["started"].values) == set(modes["optimum"].values[modes["mass"] >= 0.01])
    assert float(modes["mass"].sum()) == pytest.approx(1.0)
    single, none = chain_starts(em, model, em.structure, em.scaling, 1)
    assert single.batch_shape == ()
    assert none is None


def test_chains_that_keep_apart_are_named_first(em):
    optima, _ = sound_optima(em)
    modes = xr.Dataset(
        {"log_likelihood": ("optimum", [-1.0, -2.0]), "mass": ("optimum", [0.7, 0.3]), "started": ("chain", [0, 1])},
        coords={"optimum": [0, 1]},
    )
    parts = [jitter(optima[j], em.n_rows, chains=1, draws=40) for j in range(2)]
    apart = Mixture(*(np.concatenate([getattr(part, name) for part in parts]) for name in (
        "weights", "means", "covariances",
    )), em.features)  # fmt: skip
    found, words = describe_chains(em, apart, modes)
    np.testing.assert_array_equal(found["ended"], [0, 1])
    np.testing.assert_allclose(found["share"].sum("optimum"), 1.0)
    assert words.startswith("chains keep to different modes: chain 0 near EM optimum 0")
    assert "chain 1 near EM optimum 1 (log-likelihood -2.0, about 30% of the posterior)" in words
    together = Mixture(*(np.concatenate([getattr(parts[0], name)] * 2) for name in (
        "weights", "means", "covariances",
    )), em.features)  # fmt: skip
    assert describe_chains(em, together, modes)[1] == ""


def test_a_fit_of_two_modes_says_so_before_anything_else_and_remembers(em, two_groups, tmp_path):
    with pytest.warns(bg.SamplingWarning) as caught:
        fit = bg.fit_bayes(two_groups, 2, structure="spherical", seed=0, em=em, draws=150, tune=150, chains=4)
    first = next(str(one.message) for one in caught if issubclass(one.category, bg.SamplingWarning))
    assert first.startswith("chains keep to different modes")
    again = bg.load(fit.save(tmp_path / "fit.nc"))
    np.testing.assert_array_equal(again.tree["modes"]["ended"], fit.tree["modes"]["started"])
    assert again.info.diagnostics["modes_in_words"] == first


def test_starts_at_the_best_optimum_only_know_of_no_other(em, two_groups, monkeypatch):
    monkeypatch.setattr("bayesgmm.bayes.fit.chain_starts", None)
    fit = bg.fit_bayes(two_groups, 2, structure="spherical", seed=0, em=em, draws=600, starts="em")
    assert "modes" not in fit.tree.children
    with pytest.raises(bg.ArgumentError, match="starts='all'"):
        bg.fit_bayes(two_groups, 2, em=em, starts="all")
