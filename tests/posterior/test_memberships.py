"""Memberships: averages of probabilities, their intervals, and entropies that add up."""

from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from bayesgmm.mixture import Mixture
from bayesgmm.posterior.memberships import entropy, memberships
from tests.examples import random_mixture, random_rows
from tests.tolerances import EXACT, assert_close

X = 0.5 * random_rows(25)
ROWS = np.array([f"row {i}" for i in range(25)])
DRAWS = random_mixture(3, 2, batch=(2, 30))
SHARES = DRAWS.responsibilities(X).reshape(60, 25, 3)


@pytest.fixture(scope="module")
def found():
    return memberships(DRAWS, X, ROWS, prob=0.9)


class TestEntropy:
    @settings(deadline=None, derandomize=True)
    @given(hnp.arrays(float, (4, 3), elements=st.floats(0, 1)).filter(lambda a: a.sum(axis=1).min() > 0.01))
    def test_is_that_of_scipy(self, values):
        probabilities = values / values.sum(axis=1, keepdims=True)
        assert_close(entropy(probabilities), stats.entropy(probabilities, axis=1), EXACT)

    def test_certainty_has_none_and_ignorance_the_most(self):
        np.testing.assert_array_equal(entropy(np.eye(4)), np.zeros(4))
        assert_close(entropy(np.full(4, 0.25)), np.log(4), EXACT)


class TestDraws:
    def test_mean_is_the_average_probability(self, found):
        assert_close(found["mean"], SHARES.mean(axis=0), EXACT)
        assert_close(found["mean"].sum("component"), np.ones(25), EXACT)

    def test_interval_holds_the_draws_that_it_should(self, found):
        inside = (found["lower"].values <= SHARES) & (found["upper"].values >= SHARES)
        # 60 draws: their quantiles fall between neighbours, so that three are cut off on each side.
        np.testing.assert_array_equal(inside.sum(axis=0), np.full((25, 3), 54))
        assert found.attrs["interval"] == "equal-tailed, 90%"

    @pytest.mark.parametrize(("prob", "text"), [(0.955, "95.5%"), (0.89, "89%"), (0.5, "50%")])
    def test_interval_is_of_the_probability_asked_for(self, prob, text):
        ends = np.sort(SHARES, axis=0)[:, 0, 0]
        found = memberships(DRAWS, X[:1], ROWS[:1], prob=prob)
        position = (1 - prob) / 2 * 59
        below, share = int(position), position - int(position)
        assert_close(found["lower"][0, 0], (1 - share) * ends[below] + share * ends[below + 1], EXACT)
        assert found.attrs["interval"] == f"equal-tailed, {text}"

    def test_the_most_probable_component_and_how_often_it_wins(self, found):
        best = SHARES.mean(axis=0).argmax(axis=1)
        np.testing.assert_array_equal(found["map_component"], best)
        wins = [np.mean(SHARES[:, i].argmax(axis=1) == best[i]) for i in range(25)]
        assert_close(found["map_share"], wins, EXACT)

    def test_entropies_add_up(self, found):
        assert_close(found["entropy"], stats.entropy(SHARES.mean(axis=0), axis=1), EXACT)
        assert_close(found["entropy_aleatoric"], stats.entropy(SHARES, axis=2).mean(axis=0), EXACT)
        assert_close(found["entropy_aleatoric"] + found["entropy_epistemic"], found["entropy"], EXACT)
        assert float(found["entropy_epistemic"].min()) > 0

    def test_the_epistemic_part_is_the_mean_divergence_from_the_average(self, found):
        # The mutual information of label and parameters: the average over draws of KL(p_s || mean p).
        divergences = stats.entropy(SHARES, np.broadcast_to(SHARES.mean(axis=0), SHARES.shape), axis=2)
        assert_close(found["entropy_epistemic"], divergences.mean(axis=0), EXACT)

    def test_rows_and_components_have_their_labels(self, found):
        assert found["mean"].dims == ("row", "component")
        assert found["entropy"].dims == found["map_share"].dims == ("row",)
        np.testing.assert_array_equal(found["row"], ROWS)
        np.testing.assert_array_equal(found["component"], range(3))

    @pytest.mark.parametrize("block", [1, 500])
    def test_blocks_equal_the_whole(self, found, block, monkeypatch):
        monkeypatch.setattr(import_module("bayesgmm.posterior.memberships"), "BLOCK", block)
        monkeypatch.setattr("bayesgmm.mixture.value.BLOCK", block)
        again = memberships(DRAWS, X, ROWS, prob=0.9)
        for name in found:
            assert_close(again[name], found[name], EXACT)

    def test_permuted_components_permute_the_memberships(self, found):
        permuted = memberships(DRAWS.permute([2, 0, 1]), X, ROWS, prob=0.9)
        for name in ("mean", "lower", "upper"):
            assert_close(permuted[name], found[name].values[:, [2, 0, 1]], EXACT)
        for name in ("map_share", "entropy", "entropy_aleatoric", "entropy_epistemic"):
            assert_close(permuted[name], found[name], EXACT)


class TestOneMixture:
    def test_knows_nothing_of_its_own_uncertainty(self):
        mixture = random_mixture(3, 2)
        found = memberships(mixture, X, ROWS, prob=0.95)
        shares = mixture.responsibilities(X)
        for name in ("mean", "lower", "upper"):
            assert_close(found[name], shares, EXACT)
        np.testing.assert_array_equal(found["map_component"], shares.argmax(axis=1))
        np.testing.assert_array_equal(found["map_share"], np.ones(25))
        np.testing.assert_array_equal(found["entropy_epistemic"], np.zeros(25))
        assert_close(found["entropy"], stats.entropy(shares, axis=1), EXACT)

    def test_equal_draws_are_one_mixture(self):
        mixture = random_mixture(3, 2)
        copies = Mixture(
            *(np.stack([getattr(mixture, name)] * 4)[None] for name in ("weights", "means", "covariances"))
        )
        one, four = memberships(mixture, X, ROWS, prob=0.9), memberships(copies, X, ROWS, prob=0.9)
        for name in one:
            np.testing.assert_allclose(four[name], one[name], rtol=EXACT, atol=EXACT)

    def test_a_single_component_is_certain(self):
        found = memberships(random_mixture(1, 2, batch=(2, 3)), X, ROWS, prob=0.9)
        np.testing.assert_array_equal(found["mean"], np.ones((25, 1)))
        np.testing.assert_array_equal(found["entropy"], np.zeros(25))


def test_averages_are_not_votes():
    # Two draws in three say 0.6, the third says 0: the average is 0.4, though the vote would be two to one.
    weights = np.array([[[0.6, 0.4], [0.6, 0.4], [0.0, 1.0]]])
    draws = Mixture(weights, np.zeros((1, 3, 2, 1)), np.ones((1, 3, 2, 1, 1)))
    found = memberships(draws, np.zeros((1, 1)), np.array([0]), prob=0.5)
    assert_close(found["mean"], [[0.4, 0.6]], EXACT)
    assert (int(found["map_component"][0]), float(found["map_share"][0])) == (1, pytest.approx(1 / 3))


@pytest.mark.parametrize("mixture", [random_mixture(), DRAWS], ids=["one", "draws"])
def test_no_rows_are_no_error(mixture):
    found = memberships(mixture, np.empty((0, 2)), np.arange(0), prob=0.9)
    assert found["mean"].shape == (0, 3)
    assert found["entropy"].shape == (0,)
