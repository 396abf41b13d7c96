"""The similarity matrix against pairs counted one by one."""

import numpy as np
import pytest

from bayesgmm.posterior import similarity as similarity_module
from bayesgmm.posterior.similarity import label_similarity, mixture_similarity
from tests.conftest import jitter
from tests.examples import random_mixture, random_rows
from tests.tolerances import ALGEBRA, EXACT, assert_close

DRAWS = np.random.default_rng(0).integers(4, size=(30, 50)).astype(np.uint8)
MIXTURES = jitter(random_mixture(3, 2), 50, chains=2, draws=20)
X = random_rows(30)


class TestLabels:
    def test_is_the_share_of_draws_in_which_two_rows_are_together(self):
        expected = [[np.mean(a == b) for b in DRAWS] for a in DRAWS]
        assert_close(label_similarity(DRAWS), expected, EXACT)

    def test_single_precision_is_enough_for_large_tables(self, monkeypatch):
        exact = label_similarity(DRAWS)
        monkeypatch.setattr(similarity_module, "SINGLE_PRECISION_ROWS", 10)
        found = label_similarity(DRAWS)
        assert found.dtype == np.float32
        assert_close(found, exact, 1e-6)


class TestMixtures:
    def test_is_the_mean_probability_of_one_component(self):
        shares = MIXTURES.flatten().responsibilities(X)
        expected = np.einsum("sik,sjk->ij", shares, shares) / 40
        np.fill_diagonal(expected, 1.0)
        assert_close(mixture_similarity(MIXTURES, X), expected, ALGEBRA)

    def test_labels_that_are_certain_are_counted_alike(self):
        apart = MIXTURES.affine(1.0, 0.0)
        tight = type(apart)(apart.weights, 1e3 * apart.means, apart.covariances)
        rows = tight.sample(30, seed=0)[0]
        labels = tight.flatten().responsibilities(rows).argmax(axis=-1).T.astype(np.uint8)
        assert_close(mixture_similarity(tight, rows), label_similarity(labels), ALGEBRA)

    def test_numbering_does_not_matter(self):
        orders = np.random.default_rng(0).permuted(np.broadcast_to(np.arange(3), MIXTURES.weights.shape), axis=-1)
        assert_close(mixture_similarity(MIXTURES.permute(orders), X), mixture_similarity(MIXTURES, X), ALGEBRA)

    def test_one_mixture_will_do(self):
        one = random_mixture(2, 2)
        shares = one.responsibilities(X)
        apart = ~np.eye(30, dtype=bool)
        assert_close(mixture_similarity(one, X)[apart], (shares @ shares.T)[apart], EXACT)


@pytest.mark.parametrize("block", [1, 500])
def test_blocks_equal_the_whole(block, monkeypatch):
    labels, mixtures = label_similarity(DRAWS), mixture_similarity(MIXTURES, X)
    monkeypatch.setattr(similarity_module, "BLOCK", block)
    assert_close(label_similarity(DRAWS), labels, EXACT)
    assert_close(mixture_similarity(MIXTURES, X), mixtures, ALGEBRA)
