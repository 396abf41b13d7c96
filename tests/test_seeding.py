"""Seeds of every kind become one number, and that number repeats what was done with it."""

import numpy as np
import pytest

from bayesgmm.errors import ArgumentError
from bayesgmm.seeding import as_generator, recorded_seed


@pytest.mark.parametrize("seed", [0, 7, 2**40, np.int64(7), np.uint8(3)])
def test_a_whole_number_is_kept(seed):
    found = recorded_seed(seed)
    assert type(found) is int
    assert found == seed


@pytest.mark.parametrize("make", [np.random.default_rng, np.random.RandomState, np.random.SeedSequence])
def test_a_generator_gives_a_number_that_depends_on_its_state(make):
    found = recorded_seed(make(1))
    assert type(found) is int
    assert found >= 0
    assert found == recorded_seed(make(1))
    assert found != recorded_seed(make(2))


@pytest.mark.parametrize("make", [np.random.default_rng, np.random.RandomState])
def test_a_generator_moves_on(make):
    generator = make(1)
    assert recorded_seed(generator) != recorded_seed(generator)


def test_without_a_seed_each_is_new():
    found = {recorded_seed() for _ in range(5)}
    assert len(found) == 5
    assert min(found) >= 0


def test_the_global_state_is_neither_read_nor_changed():
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    recorded_seed()
    recorded_seed(3)
    as_generator(3).random(5)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@pytest.mark.parametrize("seed", [-1, 1.5, "7", True, [1, 2], np.nan, object])
def test_anything_else_is_refused(seed):
    with pytest.raises(ArgumentError, match="seed="):
        recorded_seed(seed)


def test_the_same_number_gives_the_same_stream():
    np.testing.assert_array_equal(as_generator(5).random(10), as_generator(5).random(10))


def test_purposes_have_streams_of_their_own():
    streams = [as_generator(5, purpose).random(10) for purpose in (0, 1, 2)] + [as_generator(6).random(10)]
    for i, one in enumerate(streams):
        assert not any(np.array_equal(one, other) for other in streams[:i])
