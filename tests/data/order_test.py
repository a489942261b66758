import itertools

import numpy as np
import pytest

from lbkeras.data import order


@pytest.mark.parametrize("seed", [0, 1, -3, 2**63, 2**70])
@pytest.mark.parametrize("epoch", [0, 7, 10**6])
def test_order_is_a_permutation_and_pure(seed, epoch):
    first = order.epoch_order(101, seed, epoch)
    assert first.dtype == np.int32
    np.testing.assert_array_equal(np.sort(first), np.arange(101))
    order.epoch_order(101, seed + 1, epoch)  # a call in between changes nothing
    np.testing.assert_array_equal(first, order.epoch_order(101, seed, epoch))


def test_orders_of_all_seeds_and_epochs_differ():
    orders = {
        tuple(order.epoch_order(40, seed, epoch)) for seed in range(20) for epoch in range(20)
    }
    assert len(orders) == 400


def test_every_place_is_equally_likely():
    """Where example 0 lands in 4,000 epochs, chi-squared over 10 places (99.9 %: 27.9)."""
    places = [np.flatnonzero(order.epoch_order(10, 5, epoch) == 0)[0] for epoch in range(4000)]
    counts = np.bincount(places, minlength=10)
    assert np.sum((counts - 400) ** 2 / 400) < 27.9


def test_step_seeds_are_pure_and_differ():
    seeds = order.step_seeds(3, 2, 50)
    assert seeds.shape == (50, 2) and seeds.dtype == np.int32
    np.testing.assert_array_equal(seeds[:, 1], np.arange(50))
    np.testing.assert_array_equal(seeds[:7], order.step_seeds(3, 2, 7))
    firsts = {int(order.step_seeds(s, e, 1)[0, 0]) for s in range(10) for e in range(10)}
    assert len(firsts) == 100


def test_step_seeds_share_no_random_numbers_with_the_order():
    """The generators share no key, or an epoch's augmentation would depend on its order."""

    def first_number(seed, epoch):  # of the generator that shuffles the epoch
        generator = np.random.Generator(np.random.Philox(key=np.array([seed, epoch], np.uint64)))
        return int(generator.integers(np.iinfo(np.int32).max, dtype=np.int32))

    shuffles = {first_number(seed, epoch) for seed in range(10) for epoch in range(50)}
    seeds = {int(order.step_seeds(s, e, 1)[0, 0]) for s in range(10) for e in range(50)}
    assert len(shuffles) == len(seeds) == 500 and not shuffles & seeds


IMAGENET = 1_281_167
FULL = pytest.param(1, marks=pytest.mark.release)


def steps_of(order, batch_size, num_examples):
    """Returns the step in which each example comes; -1: in none."""
    kept = order[: len(order) // batch_size * batch_size]
    assert len(np.unique(kept)) == len(kept)  # at most once
    steps = np.full(num_examples, -1)
    steps[kept] = np.arange(len(kept)) // batch_size
    return steps


def in_the_same_step(one, other, batch_size):
    """Returns the mean share of a batch that is in the same step of the other epoch, and the share
    of its pairs that are in one batch there too.
    """
    num_steps = one.max() + 1
    both = (one >= 0) & (other >= 0)
    counts = np.bincount(one[both] * num_steps + other[both], minlength=num_steps**2)
    counts = counts.reshape(num_steps, num_steps)
    pairs = np.sum(counts * (counts - 1)) / (num_steps * batch_size * (batch_size - 1))
    return np.trace(counts) / (num_steps * batch_size), pairs


def orders_at_proportions(kind, reduced):
    """Returns 12 epochs' orders of 1 / `reduced` of ImageNet's examples, in at most 1,024 files."""
    num_examples = IMAGENET // reduced
    if kind == "random":
        return [order.epoch_order(num_examples, 3, epoch) for epoch in range(12)]
    sizes = np.diff(np.linspace(0, num_examples, 1024 // min(reduced, 32) + 1).astype(int))
    window = 4096 // reduced  # 512 MiB of ImageNet
    return [order.order_of_shards(sizes, 3, epoch, window)[0] for epoch in range(12)]


@pytest.mark.parametrize("reduced", [64, FULL])
@pytest.mark.parametrize("kind", ["random", "shards"])
def test_batches_differ_between_epochs_at_the_proportions_of_imagenet(kind, reduced):
    """All examples are seen, at most once per epoch; batches share B / N within 2 points."""
    orders = orders_at_proportions(kind, reduced)
    num_examples = len(orders[0])
    for size in (8_192, 16_384, 32_768, 65_536, 81_920):
        size //= reduced
        steps = [steps_of(each, size, num_examples) for each in orders]
        assert np.all(np.max(steps, axis=0) >= 0)
        shares = [
            in_the_same_step(one, other, size) for one, other in itertools.combinations(steps, 2)
        ]
        assert np.abs(np.mean(shares, axis=0) - size / num_examples).max() < 0.02
        left_out = [frozenset(np.flatnonzero(each < 0)) for each in steps]
        assert len(set(left_out)) == 12 if num_examples % size else left_out[0] == set()

    switched = [
        steps_of(each, (8_192, 81_920)[epoch > 5] // reduced, num_examples)
        for epoch, each in enumerate(orders)
    ]
    assert np.all(np.max(switched, axis=0) >= 0)


def order_of_a_stream(num_examples, buffer, epoch):
    """Shuffles as tf.data does: takes a random slot of the buffer, which the next example fills."""
    slots = np.random.default_rng(epoch).integers(buffer, size=num_examples)
    held, places = list(range(buffer)), []
    for following, slot in zip(range(buffer, num_examples), slots.tolist(), strict=False):
        places.append(held[slot])
        held[slot] = following
    return np.concatenate([places, np.random.default_rng(99 - epoch).permutation(held)])


@pytest.mark.parametrize("reduced", [64, FULL])
def test_a_streams_buffer_leaves_batches_alike_and_examples_unseen(reduced):
    """Checks the guide's numbers for a stream: 3 epochs, a buffer of 1 GiB, 110 kB per example."""
    num_examples, buffer = IMAGENET // reduced, (1 << 30) // 110_000 // reduced
    orders = [order_of_a_stream(num_examples, buffer, epoch) for epoch in range(3)]
    for size, alike, unseen in ((8_192, 0.197, 0.0001), (81_920, 0.790, 0.036)):
        steps = [steps_of(each, size // reduced, num_examples) for each in orders]
        pairs = itertools.combinations(steps, 2)
        found = [in_the_same_step(one, other, size // reduced)[1] for one, other in pairs]
        assert np.mean(found) == pytest.approx(alike, abs=0.004)
        assert np.mean(np.max(steps, axis=0) < 0) == pytest.approx(unseen, abs=0.0005)


SIZES = (40, 1, 100, 0, 61, 300, 0)


@pytest.mark.parametrize("seed, epoch, window", [(0, 0, 64), (1, 0, 130), (-3, 7, 500), (2, 1, 1)])
def test_order_of_shards_is_a_permutation_and_pure(seed, epoch, window):
    first = order.order_of_shards(SIZES, seed, epoch, window)
    assert first.dtype == np.int32 and first.shape == (1, 502)
    np.testing.assert_array_equal(np.sort(first[0]), np.arange(502))
    assert np.any(first != order.order_of_shards(SIZES, seed, epoch + 1, window))
    np.testing.assert_array_equal(first, order.order_of_shards(SIZES, seed, epoch, window))


@pytest.mark.parametrize("workers", [2, 3, 5])
def test_workers_have_equal_shares_of_the_order_of_shards(workers):
    own = order.order_of_shards(SIZES, 4, 1, 128, workers)
    assert own.shape == (workers, 502 // workers)
    assert len(np.unique(own)) == own.size
    left_out = {
        frozenset(range(502)) - frozenset(order.order_of_shards(SIZES, 4, e, 128, workers).ravel())
        for e in range(4)
    }
    assert len(left_out) == (4 if 502 % workers else 1)


def test_a_window_is_a_few_pieces_of_files_and_permuted():
    places = order.order_of_shards([1000] * 20, 5, 2, 640)[0]
    windows = np.array_split(places, -(-len(places) // 640))
    for window in windows:
        assert len(window) <= 640
        pieces = np.split(np.sort(window), np.flatnonzero(np.diff(np.sort(window)) > 1) + 1)
        assert len(pieces) < 64 + 6  # pieces at the ends of files are shorter
        assert np.mean(np.abs(np.diff(window)) == 1) < 0.05
    assert np.ptp(places[:640]) > 15_000  # the pieces come from all files


def test_pieces_of_files_begin_at_other_places_each_epoch():
    """Any two neighbors in a file are in different windows of some epoch."""
    apart = set()
    for epoch in range(60):
        places = order.order_of_shards([500] * 4, 1, epoch, 512)[0]
        window = np.empty(2000, int)
        window[places] = np.arange(2000) * 4 // 2000
        apart |= set(np.flatnonzero(np.diff(window)))
    assert len(apart) == 1999
