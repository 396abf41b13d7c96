"""The ball holds what it should, and its bounds are what they are called."""

import numpy as np
import pytest

from bayesgmm.posterior.partition_losses import partition_distances
from bayesgmm.posterior.partitions import partition
from tests.kernels.test_partitions import variation_of_information
from tests.posterior.test_partitions import TRUTH, noisy_draws
from tests.tolerances import ALGEBRA

DRAWS = np.concatenate(
    [noisy_draws(TRUTH, n_draws=60, noise=0.1), noisy_draws(np.minimum(TRUTH, 1), n_draws=30, noise=0.1, seed=1)]
)


@pytest.fixture(scope="module")
def found():
    return partition(DRAWS, prob=0.8)


def n_clusters(labels):
    return len(np.unique(labels))


class TestBall:
    def test_is_the_smallest_that_holds_its_share(self, found):
        distances = np.array([variation_of_information(found.labels, draw) for draw in DRAWS])
        radius = found.credible_ball.radius
        assert np.mean(distances <= radius + ALGEBRA) >= 0.8
        assert np.mean(distances < radius - ALGEBRA) < 0.8
        assert radius == pytest.approx(np.sort(distances)[71])

    def test_bounds_are_the_farthest_with_the_fewest_and_the_most_clusters(self, found):
        ball = found.credible_ball
        distances = np.array([variation_of_information(found.labels, draw) for draw in DRAWS])
        counts = np.array([n_clusters(draw) for draw in DRAWS])
        inside = distances <= ball.radius + ALGEBRA
        assert ball.horizontal.distance == pytest.approx(distances[inside].max())
        for bound, count in ((ball.upper, counts[inside].min()), (ball.lower, counts[inside].max())):
            assert bound.n_clusters == count == n_clusters(bound.labels[0])
            assert bound.distance == pytest.approx(distances[inside & (counts == count)].max())
        for bound in (ball.horizontal, ball.upper, ball.lower):
            for labels in bound.labels:
                assert variation_of_information(found.labels, labels) == pytest.approx(bound.distance)

    def test_knows_what_is_inside(self, found):
        assert found.is_inside_ball(found.labels)
        assert found.is_inside_ball(found.credible_ball.horizontal.labels[0])
        assert not found.is_inside_ball(np.arange(120))

    def test_a_larger_share_needs_a_larger_ball(self):
        radii = [partition(DRAWS, prob=prob, n_runs=1).credible_ball.radius for prob in (0.1, 0.5, 0.9, 0.99)]
        assert radii == sorted(radii)
        assert radii[0] < radii[-1]

    def test_a_share_that_is_a_whole_number_of_draws_needs_no_more(self):
        # 0.95 * 100 is a little more than 95 in floating point.
        draws = noisy_draws(TRUTH, n_draws=100)
        found = partition(draws, prob=0.95, n_runs=1)
        assert found.credible_ball.radius == np.sort(found.distances_to(found.labels))[94]

    def test_binder_has_a_ball_of_its_own(self):
        found = partition(DRAWS, "binder")
        ball = found.credible_ball
        assert ball.distance == "binder"
        np.testing.assert_array_equal(ball.distances, partition_distances(found.labels, found.draws, "binder"))
        assert ball.distances.mean() == pytest.approx(found.expected_loss)

    def test_equal_partitions_are_shown_once(self):
        draws = np.tile([[0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 1, 1]], (5, 1))
        ball = partition(draws).credible_ball
        assert ball.horizontal.labels.tolist() == [[1, 0, 0, 0]]

    def test_says_what_it_is(self, found):
        assert repr(found.credible_ball).startswith("CredibleBall(80% of the draws within ")
        assert "bits of the estimate, " in repr(found.credible_ball)
        assert repr(found.credible_ball.upper).startswith("PartitionBound(distance ")
