"""Batches of a stream."""

import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from lbkeras.data.batching import Batching
from lbkeras.data.first_examples import is_ragged
from lbkeras.data.order import step_seeds
from lbkeras.data.replica_shard import ALL_ROWS, ReplicaShard
from lbkeras.keras_internals.tf_data import has_checked_cardinality


class StreamBatches:
    """One worker's batches of an unbatched `tf.data.Dataset`.

    Args:
        stream: of known cardinality.
        batching: how its examples become batches.
        decode: of a Pipeline.
        buffer: how many examples it is shuffled through.
    """

    def __init__(
        self, stream: tf.data.Dataset, batching: Batching, decode: Callable | None, buffer: int
    ):
        self._stream = stream
        self._batching = batching
        self._decode = decode
        self._buffer = buffer

    def of_pass(self, epoch: int, start_step: int) -> tf.data.Dataset:
        """The batches of one epoch from a step on."""
        batches = self._batches(lambda: (epoch, start_step))
        return self._batching.finished(batches, start_step)

    def of_each_pass(self, position: Callable[[], tuple[int, int]]) -> tf.data.Dataset:
        """A data set for every pass: it asks for the epoch and first step when it starts."""
        return self._batching.finished(self._batches(position))

    def _batches(self, epoch_and_start) -> tf.data.Dataset:
        """Examples shuffled through a buffer, decoded one by one, then batched.

        A worker decodes its own rows only, unless a batch has fewer than there are replicas.
        """
        batching, shard = self._batching, self._batching.shard
        batch_size, steps = batching.batch_size, batching.steps
        if batching.shuffle:
            shard.check(batch_size)
        own = shard if batch_size >= shard.num_replicas else ALL_ROWS
        last_size = (
            batch_size if batching.shuffle else batching.num_examples - (steps - 1) * batch_size
        )

        def epoch_seed_and_start():
            epoch, start = epoch_and_start()
            seed = step_seeds(batching.seed, epoch, 1)[0, 0]
            yield np.int64(seed), np.int64(start)

        def is_own(number, example):
            size = tf.where(number // batch_size < steps - 1, batch_size, last_size)
            return own.contains(number % batch_size, tf.cast(size, tf.int64))

        def one_pass(seed, start):
            examples = self._stream
            if batching.shuffle:
                tf.random.set_seed(1)  # of this graph: otherwise the global seed has a say
                examples = examples.shuffle(self._buffer, seed=seed, reshuffle_each_iteration=False)
            examples = examples.enumerate().skip(start * batch_size)
            if batching.shuffle:
                examples = examples.take(steps * batch_size)
            if own.num_workers > 1:
                examples = examples.filter(is_own)
            return tf.data.Dataset.zip(tf.data.Dataset.from_tensors(seed).repeat(), examples)

        def decoded(seed, numbered):
            number, example = numbered
            if self._decode is not None:
                pair = tf.cast(tf.stack([seed, number]), tf.int32)
                example = self._decode(example, pair)
            step = number // batch_size * own.num_workers + own.worker_index
            return tf.cast(seed, tf.int32), tf.cast(step, tf.int32), example

        def augmented(seeds, steps, batch):
            return batching.augmented(batch, tf.stack([seeds[0], steps[0]]))

        parallel = dict(num_parallel_calls=os.cpu_count(), deterministic=True)
        batches = (
            tf.data.Dataset.from_generator(
                epoch_seed_and_start,
                output_signature=(tf.TensorSpec((), tf.int64), tf.TensorSpec((), tf.int64)),
            )
            .flat_map(one_pass)
            .map(decoded, **parallel)
        )
        size = own.num_rows(batch_size)
        if is_ragged(batches):
            batches = batches.padded_batch(size, drop_remainder=batching.shuffle)
        else:
            batches = batches.batch(size, drop_remainder=batching.shuffle)
        if not batching.shuffle and has_checked_cardinality(self._stream):
            batches = _with_the_end_read(
                batches, lambda _, step, __: step[0] // own.num_workers >= steps - 1
            )
        batches = batches.map(augmented, **parallel)
        if not own.num_rows(last_size):
            batches = batches.concatenate(_empty(batches.element_spec))
        local = ReplicaShard(shard.local_replicas) if own is shard else shard
        return local.divide(batches)


def _with_the_end_read(batches: tf.data.Dataset, is_last) -> tf.data.Dataset:
    """The same batches, the last one only when the next has been asked for.

    What comes after it, of a source that has more examples than it says, is an error of the source,
    which nothing would see otherwise.
    """
    return batches.group_by_window(
        lambda *batch: tf.cast(is_last(*batch), tf.int64),
        lambda _, group: group.take(1),
        window_size_func=lambda last: last + 1,
    )


def _empty(specification) -> tf.data.Dataset:
    """One batch without examples."""

    def no_rows(spec):
        return tf.zeros([0] + [length or 0 for length in spec.shape[1:]], spec.dtype)

    return tf.data.Dataset.from_tensors(tf.nest.map_structure(no_rows, specification))
