"""Batches in the order of pieces of files: their examples, and what is read and kept."""

import numpy as np
import pytest
import tensorflow as tf

from lbkeras.data import Pipeline
from lbkeras.data.order import order_of_shards, window_ends
from lbkeras.data.random_access import RandomAccess
from lbkeras.data.replica_shard import ALL_ROWS, ReplicaShard
from lbkeras.errors import UserError

SIZES = [150, 90, 0, 260, 100]
N = sum(SIZES)
WINDOW = 96
BYTES = 2 * WINDOW * (36 + 64)  # two windows of rows of 36 bytes and Python's overhead


class Numbers(RandomAccess):
    """Example i is (i, its text); `read_places` holds the places that each call read."""

    def __init__(self):
        self.num_examples, self.shards, self.bytes_each = N, SIZES, 36
        self.element_spec = tf.TensorSpec((), tf.int64), tf.TensorSpec((), tf.string)
        self.read_places = []

    def read(self, places):
        assert np.all(np.diff(places) > 0)
        self.read_places.append(np.array(places))
        return [np.array(places), np.array([b"%d" % place for place in places], object)]


def pipeline(batch_size, seed=3, **arguments):
    """Returns a Pipeline, and a list of the places that it reads from now on."""
    source = Numbers()
    made = Pipeline(
        source, batch_size, shuffle="shards", seed=seed, shuffle_bytes=BYTES, **arguments
    )
    source.read_places.clear()
    return made, source.read_places


def places_of(batches):
    rows = [(x.numpy(), y.numpy()) for x, y in batches]
    for x, y in rows:
        assert y.tolist() == [b"%d" % place for place in x]
    return [x for x, _ in rows]


@pytest.mark.parametrize("batch_size", [7, 250])
def test_the_batches_follow_the_order_and_each_example_is_read_once(batch_size):
    data, read = pipeline(batch_size)
    order = order_of_shards(SIZES, 3, 5, WINDOW)[0]
    whole = N // batch_size * batch_size
    batches = places_of(data.dataset(epoch=5))
    np.testing.assert_array_equal(np.ravel(batches), order[:whole])
    np.testing.assert_array_equal(np.sort(np.concatenate(read)), np.sort(order[:whole]))


@pytest.mark.parametrize("start", [1, 11])
def test_a_resume_is_the_tail_and_reads_nothing_before_it(start):
    data, read = pipeline(50)
    whole = places_of(data.dataset(epoch=2))
    read.clear()
    tail = places_of(data.dataset(epoch=2, start_step=start))
    np.testing.assert_array_equal(tail, whole[start:])
    assert sum(map(len, read)) == 50 * (12 - start)


def test_no_more_than_two_windows_are_in_memory():
    data, read = pipeline(4)
    ends, handed_over = window_ends(N, WINDOW), 0
    for _, numbers, _ in data._passes._batches(data._passes._batching(ALL_ROWS))._chunks(
        epoch=0, start=0
    ):
        window = np.searchsorted(ends, handed_over, side="right")
        assert sum(map(len, read)) <= ends[min(window + 1, len(ends) - 1)]
        handed_over += len(numbers)
    assert handed_over == N and len(ends) == 7


def test_the_order_of_one_epoch_does_not_depend_on_the_batch_size():
    data, _ = pipeline(48)
    at_48 = np.ravel(places_of(data.dataset(epoch=1)))
    data.batch_size = 12
    np.testing.assert_array_equal(np.ravel(places_of(data.dataset(1)))[:576], at_48)
    of_a_copy = data.copy(batch_size=6).dataset(1, 4 * 48 // 6)
    np.testing.assert_array_equal(next(iter(of_a_copy))[0], at_48[4 * 48 : 4 * 48 + 6])


@pytest.mark.parametrize("workers, replicas", [(2, 4), (3, 3)])
def test_workers_read_their_own_pieces_which_add_up_to_the_batches(workers, replicas):
    size = 24
    of_workers, read_by = [], []
    for index in range(workers):
        data, read = pipeline(size)
        shard = ReplicaShard(replicas, workers, index)
        rows = places_of(data._passes._epoch_dataset(4, 0, shard))
        assert {len(row) for row in rows} == {size // replicas}
        of_workers.append(np.reshape(rows, (N // size, size // workers)))
        read_by.append(set(np.concatenate(read).tolist()))
        order = order_of_shards(SIZES, 3, 4, WINDOW, workers)[index]
        np.testing.assert_array_equal(of_workers[-1].ravel(), order[: N // size * size // workers])
    assert sum(map(len, read_by)) == len(set.union(*read_by)) == N // size * size


def test_decode_gets_the_place_in_the_epoch():
    def decode(example, seed):
        return example[0], seed[1]

    data, _ = pipeline(50, decode=decode)
    rows = [y.numpy() for _, y in data.dataset(1, start_step=2)]
    np.testing.assert_array_equal(np.ravel(rows), np.arange(100, 600))


class Ragged:
    """A user's object: rows of several lengths."""

    def __len__(self):
        return 70

    def __getitem__(self, i):
        return np.full(i % 5 + 1, i, np.float32), i


def test_rows_of_several_lengths():
    data = Pipeline(Ragged(), 10, shuffle="shards", shuffle_bytes=3000)
    for x, y in data.dataset():
        for row, place in zip(x.numpy(), y.numpy(), strict=True):
            assert row.tolist() == [place] * (place % 5 + 1) + [0] * (x.shape[1] - place % 5 - 1)


def test_an_error_while_reading_reaches_the_user():
    class Damaged(Numbers):
        def read(self, places):
            if 500 in places:
                raise UserError("data set 'x': expected records, received a damaged one")
            return super().read(places)

    data = Pipeline(Damaged(), 50, shuffle="shards", shuffle_bytes=BYTES)
    with pytest.raises(tf.errors.OpError, match="expected records, received a damaged one"):
        places_of(data.dataset())


@pytest.mark.parametrize(
    "source, received",
    [
        (lambda: (np.zeros((9, 2)), np.zeros(9)), "data in memory"),
        (lambda: tf.data.Dataset.range(9), "a tf.data.Dataset"),
    ],
)
def test_arrays_and_streams_are_refused(source, received):
    with pytest.raises(UserError) as e:
        Pipeline(source(), 3, shuffle="shards")
    assert str(e.value) == (
        "shuffle: expected 'shards' only for data that can be read in any order, records on disk "
        f"or an object with len() and [], received it for {received}"
    )


def test_a_checkpoint_inside_an_epoch_knows_the_windows_the_files_and_the_workers():
    data, _ = pipeline(50)
    other = Pipeline(Numbers(), 50, shuffle="shards", shuffle_bytes=2 * BYTES)
    divided = Numbers()
    divided.shards = [60] * 10
    divided = Pipeline(divided, 50, shuffle="shards", shuffle_bytes=BYTES)
    assert data.resumes_in(data.order(2), 2)
    without = Pipeline(Numbers(), 50)
    for order in (data.order(1), *(each.order(2) for each in (other, divided, without)), None):
        assert not data.resumes_in(order, 2)


class ByClass:
    """A user's object that is sorted by class."""

    def __len__(self):
        return 200

    def __getitem__(self, i):
        return np.float32(i), i // 50


def test_examples_sorted_by_class_are_warned_about():
    with pytest.warns(UserWarning, match="classes of about 64 pieces only. Use shuffle=True"):
        Pipeline(ByClass(), 10, shuffle="shards", shuffle_bytes=3000)
