"""Single moves against the loss of every place, and the tables against counting."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from bayesgmm.kernels import partitions as kernel
from tests.tolerances import ALGEBRA, EXACT, assert_close

N, S, CAPACITY = 9, 7, 5


def random_draws(seed, n=N, s=S, width=4):
    return np.random.default_rng(seed).integers(width, size=(n, s)).astype(np.uint8)


def similarity_of(draws):
    return (draws[:, None] == draws[None]).mean(axis=-1)


def entropy_bits(labels):
    return stats.entropy(np.unique(labels, return_counts=True)[1], base=2)


def variation_of_information(a, b):
    joint = entropy_bits(np.asarray(a) * 1000 + np.asarray(b))
    return 2 * joint - entropy_bits(a) - entropy_bits(b)


def by_hand(loss, labels, draws):
    """Return the expected loss of a partition of some rows from its definition."""
    matrix = similarity_of(draws)
    together = labels[:, None] == labels[None]
    if loss == "binder":
        return np.abs(together - matrix).mean()
    if loss == "vi_lb":
        own = (matrix * together).sum(axis=1)
        return np.mean(np.log2(together.sum(axis=1)) + np.log2(matrix.sum(axis=1)) - 2 * np.log2(own))
    if loss == "vi":
        return np.mean([variation_of_information(labels, draw) for draw in draws.T])
    return np.mean([1 - metrics.adjusted_rand_score(labels, draw) for draw in draws.T])


class CountsState:
    """The tables of the search over draws."""

    def __init__(self, draws, labels, loss):
        self.draws, self.loss = draws, kernel.ARI if loss == "ari" else kernel.VI
        self.labels, self.sizes = np.array(labels), np.zeros(CAPACITY, dtype=np.int64)
        self.tables = np.zeros((draws.shape[1], int(draws.max()) + 1, CAPACITY), dtype=np.int32)
        self.totals = np.zeros((2, draws.shape[1]))
        kernel.tabulate(draws, self.labels, self.sizes, self.tables, self.totals)

    @property
    def state(self):
        return self.labels, self.sizes, self.tables, self.totals

    def place(self, rows):
        return kernel.place_by_counts(np.asarray(rows), self.draws, *self.state, self.loss)

    def remove(self, rows):
        kernel.remove_by_counts(np.asarray(rows), self.draws, *self.state, self.loss)


class SimilarityState:
    """Sizes and masses of the search by similarities."""

    def __init__(self, draws, labels, loss):
        self.matrix, self.loss = similarity_of(draws), kernel.BINDER if loss == "binder" else kernel.VI
        self.labels, self.mass = np.array(labels), np.empty(len(draws))
        self.sizes = np.bincount(self.labels[self.labels >= 0], minlength=CAPACITY)
        kernel.within_sums(self.labels, self.matrix, self.mass)

    @property
    def state(self):
        return self.labels, self.sizes, self.mass

    def place(self, rows):
        return kernel.place_by_similarity(np.asarray(rows), self.matrix, *self.state, self.loss)

    def remove(self, rows):
        kernel.remove_by_similarity(np.asarray(rows), self.matrix, *self.state)


STATES = {"vi": CountsState, "ari": CountsState, "vi_lb": SimilarityState, "binder": SimilarityState}


@pytest.mark.parametrize("loss", STATES)
class TestPlace:
    @pytest.mark.parametrize("seed", range(6))
    def test_a_row_goes_where_the_loss_is_smallest(self, loss, seed):
        draws, rng = random_draws(seed), np.random.default_rng(seed)
        state = STATES[loss](draws, rng.integers(CAPACITY, size=N), loss)
        row = rng.integers(N)
        state.place([row])
        losses = []
        for k in range(CAPACITY):
            labels = state.labels.copy()
            labels[row] = k
            losses.append(by_hand(loss, labels, draws))
        assert losses[state.labels[row]] == pytest.approx(min(losses), abs=1e-9)

    @pytest.mark.parametrize("seed", range(3))
    def test_rows_are_allocated_by_the_loss_of_those_that_are_there(self, loss, seed):
        draws = random_draws(seed)
        state = STATES[loss](draws, np.full(N, -1), loss)
        for count in range(1, N + 1):
            before = state.labels.copy()
            state.place([count - 1])
            assert np.array_equal(state.labels[count:], before[count:])
            losses = []
            for k in range(CAPACITY):
                labels = np.r_[before[: count - 1], k]
                losses.append(by_hand(loss, labels, draws[:count]))
            assert losses[state.labels[count - 1]] == pytest.approx(min(losses), abs=1e-9)

    def test_what_is_kept_is_what_counting_gives(self, loss):
        draws, rng = random_draws(0, n=30), np.random.default_rng(1)
        state = STATES[loss](draws, np.full(30, -1), loss)
        for _ in range(5):
            state.place(rng.permutation(30))
            state.remove(rng.permutation(30)[:10])
            fresh = STATES[loss](draws, state.labels, loss)
            # The totals are kept for the Rand index alone.
            for kept, counted in zip(state.state[: 3 if loss == "vi" else 4], fresh.state, strict=False):
                placed = slice(None) if kept.shape != (30,) else state.labels >= 0
                assert_close(kept[placed], counted[placed], EXACT)

    def test_a_place_that_is_no_better_is_not_taken(self, loss):
        # Two equal halves: whatever the order, nothing moves once each is a cluster.
        draws = np.repeat(np.r_[np.zeros(4), np.ones(5)].astype(np.uint8)[:, None], 3, axis=1)
        state = STATES[loss](draws, draws[:, 0].astype(int), loss)
        assert state.place(np.arange(N)) == 0

    def test_removing_what_is_nowhere_does_nothing(self, loss):
        state = STATES[loss](random_draws(0), np.full(N, -1), loss)
        state.remove([3, 3])
        assert state.sizes.sum() == 0


class TestDistances:
    def found(self, labels, draws, loss):
        out = np.empty(draws.shape[1])
        kernel.distances(labels, draws, loss, out)
        return out

    @pytest.mark.parametrize("seed", range(4))
    def test_are_those_of_scipy_and_scikit_learn(self, seed):
        draws = random_draws(seed, n=40, s=20, width=seed + 1)
        labels = np.random.default_rng(seed).integers(3, size=40)
        expected = [variation_of_information(labels, draw) for draw in draws.T]
        assert_close(self.found(labels, draws, kernel.VI), expected, ALGEBRA)
        expected = [1 - metrics.adjusted_rand_score(labels, draw) for draw in draws.T]
        assert_close(self.found(labels, draws, kernel.ARI), expected, ALGEBRA)
        pairs = [metrics.pair_confusion_matrix(labels, draw) for draw in draws.T]
        assert_close(self.found(labels, draws, kernel.BINDER), [(p[0, 1] + p[1, 0]) / 1600 for p in pairs], EXACT)

    @pytest.mark.parametrize("labels", [np.zeros(6, dtype=int), np.arange(6)])
    @pytest.mark.parametrize("loss", [kernel.VI, kernel.BINDER, kernel.ARI])
    def test_a_trivial_partition_is_at_no_distance_from_itself(self, labels, loss):
        assert self.found(labels, labels.astype(np.uint8)[:, None], loss) == [0.0]

    def test_a_single_row_has_one_partition(self):
        for loss in (kernel.VI, kernel.BINDER, kernel.ARI):
            assert self.found(np.zeros(1, dtype=int), np.zeros((1, 2), dtype=np.uint8), loss).tolist() == [0, 0]


def test_labels_are_numbered_as_they_appear():
    codes = np.array([[7, 0], [2, 0], [7, 9], [0, 0]])
    out = np.empty_like(codes)
    assert kernel.number_from_zero(codes, out) == 3
    assert out.tolist() == [[0, 0], [1, 0], [0, 1], [2, 0]]
