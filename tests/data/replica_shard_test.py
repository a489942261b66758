"""The parts of all replicas of all workers together are one device's batches."""

import types

import numpy as np
import pytest
import tensorflow as tf

from lbkeras.data import Pipeline
from lbkeras.data.replica_shard import ReplicaShard
from lbkeras.errors import UserError
from tests.data.examples import Items

N = 50
CLUSTERS = [(1, 2), (3, 1), (2, 2), (1, 4)]  # workers, replicas of each


def arrays(count=N):
    numbers = np.arange(count)
    return numbers.astype(np.float32).reshape(-1, 1), numbers


def stream(count=N):
    return tf.data.Dataset.from_tensor_slices(arrays(count))


def items(count=N):
    return Items(*arrays(count))


def noise(x, seed):
    return x + tf.random.stateless_uniform(tf.shape(x), seed)


def noise_of_one(example, seed):
    return noise(example[0], seed), example[1]


class Strategy:
    """Makes the data of each worker, as tf.distribute does in one process per worker."""

    def __init__(self, workers, replicas):
        self.workers, self.replicas = workers, replicas

    def distribute_datasets_from_function(self, function):
        return [
            function(
                types.SimpleNamespace(
                    num_replicas_in_sync=self.workers * self.replicas,
                    num_input_pipelines=self.workers,
                    input_pipeline_id=index,
                )
            )
            for index in range(self.workers)
        ]


def shares(pipeline, workers, replicas):
    """`[step][worker][replica]` -> (x, y) of the pipeline's running pass."""
    pipeline.use_strategy(Strategy(workers, replicas))
    pipeline.on_epoch_begin()
    datasets = pipeline._passes._distributed(pipeline._passes._pass_dataset)
    read = [list(dataset.as_numpy_iterator()) for dataset in datasets]
    assert {len(parts) for parts in read} == {len(datasets[0])}
    steps = len(read[0]) // replicas
    return [
        [parts[step * replicas : (step + 1) * replicas] for parts in read] for step in range(steps)
    ]


def joined(step, interleaved=False):
    """Joins the parts of a step in the order of the rows."""
    order = [part for parts in zip(*step, strict=True) for part in parts] if interleaved else [
        part for parts in step for part in parts
    ]  # fmt: skip
    return tuple(np.concatenate(each) for each in zip(*order, strict=True))


def assert_same(parts, batches, interleaved=False):
    assert len(parts) == len(batches)
    for step, (x, y) in zip(parts, batches, strict=True):
        joined_x, joined_y = joined(step, interleaved)
        np.testing.assert_array_equal(joined_y, y)
        np.testing.assert_array_equal(joined_x, x)


@pytest.mark.parametrize("workers, replicas", CLUSTERS)
@pytest.mark.parametrize(
    "source, arguments",
    [
        (arrays, {}),
        (arrays, {"augment": noise}),
        (stream, {}),
        (stream, {"decode": noise_of_one}),
        pytest.param(items, {"decode": noise_of_one}, marks=pytest.mark.release),
    ],
    ids=["memory", "augmented", "stream", "decoded", "items"],
)
def test_training(workers, replicas, source, arguments):
    """The global batch in worker order, augmented and decoded as on one device; equal parts."""
    pipeline = Pipeline(source(), 12, seed=3, **arguments)
    for epoch, start in ((0, 0), (1, 2)):
        expected = list(pipeline.dataset(epoch, start).as_numpy_iterator())
        pipeline.epoch, pipeline.start_step = epoch, start
        parts = shares(pipeline, workers, replicas)
        assert_same(parts, expected)
        sizes = {len(y) for step in parts for worker in step for _, y in worker}
        assert sizes == {12 // (workers * replicas)}


@pytest.mark.parametrize("workers, replicas", [(1, 2), (3, 1), (2, 2)])
@pytest.mark.parametrize("source", [arrays, stream, pytest.param(items, marks=pytest.mark.release)])
@pytest.mark.parametrize(
    "count, batch_size",
    [
        (23, 7),
        *(
            pytest.param(*each, marks=pytest.mark.release)
            for each in [(N, 12), (49, 8), (5, 3), (1, 1)]
        ),
    ],
)
def test_evaluation(workers, replicas, source, count, batch_size):
    """Every example comes once, in the order that `predict` expects, however few are left."""
    pipeline = Pipeline(source(count), batch_size, shuffle=False)
    expected = list(pipeline.dataset().as_numpy_iterator())
    assert_same(shares(pipeline, workers, replicas), expected, interleaved=True)


def test_a_worker_decodes_its_own_rows_only():
    decoded = []

    def decode(example, seed):
        def note(number):
            decoded.append(int(number))
            return number

        x, y = example
        return x, tf.ensure_shape(tf.py_function(note, [y], y.dtype), y.shape)

    pipeline = Pipeline(stream(), 12, decode=decode)
    decoded.clear()  # the first example, which is decoded as a test
    pipeline.on_epoch_begin()
    own = [y for _, y in pipeline._passes._pass_dataset(ReplicaShard(2, 2, 1)).as_numpy_iterator()]
    assert sorted(decoded) == sorted(np.concatenate(own).tolist()) and len(decoded) == 24


@pytest.mark.parametrize("workers", [pytest.param(2, marks=pytest.mark.release), 3])
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_worker_reads_its_own_rows_only(workers, shuffle):
    """In a resumed epoch the rows that are left; together they are the batches of one device."""
    source = items()
    pipeline = Pipeline(source, 12, shuffle=shuffle, seed=3)
    expected = [y.tolist() for _, y in pipeline.dataset(1, 2).as_numpy_iterator()]
    read = []
    for worker in range(workers):
        pipeline.epoch, pipeline.start_step = 1, 2
        pipeline.on_epoch_begin()
        source.read.clear()
        shard = ReplicaShard(workers, workers, worker, interleaved=not shuffle)
        own = [y.tolist() for _, y in pipeline._passes._pass_dataset(shard).as_numpy_iterator()]
        assert sorted(source.read) == sorted(sum(own, []))
        read.append(own)
    for batch, *parts in zip(expected, *read, strict=True):
        assert batch == sum(parts, [])


def test_workers_augment_a_stream_differently():
    """Each worker has seeds of its own; a single worker has those of one device."""

    def seeds(x, seed):
        return tf.cast(seed[1], tf.float32) + 0 * x

    pipeline = Pipeline(stream(), 12, augment=seeds)
    pipeline.on_epoch_begin()
    found = [
        [int(x[0, 0]) for x, _ in pipeline._passes._pass_dataset(shard).as_numpy_iterator()]
        for shard in (ReplicaShard(), ReplicaShard(2, 2, 0), ReplicaShard(2, 2, 1))
    ]
    assert found == [[0, 1, 2, 3], [0, 2, 4, 6], [1, 3, 5, 7]]


@pytest.mark.parametrize("replicas", [1, 2, 3, 5])
@pytest.mark.parametrize("size", range(12))
def test_parts(size, replicas):
    """Sizes differ by at most one, and each row belongs to one worker."""
    workers = [ReplicaShard(replicas, replicas, index) for index in range(replicas)]
    sizes = [shard.num_rows(size) for shard in workers]
    assert sum(sizes) == size and max(sizes) - min(sizes) <= 1
    for place in range(size):
        owners = [bool(shard.contains(tf.constant(place), tf.constant(size))) for shard in workers]
        assert owners.index(True) == np.searchsorted(np.cumsum(sizes), place, side="right")
        assert sum(owners) == 1
        assert [place in shard.rows(size) for shard in workers] == owners


@pytest.mark.parametrize("source", [arrays, stream, items])
def test_a_batch_that_the_replicas_do_not_divide(source):
    pipeline = Pipeline(source(), 9)
    with pytest.raises(UserError, match="batch_size: expected a multiple of the 2 replicas .* 9"):
        shares(pipeline, 1, 2)
