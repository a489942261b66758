"""What batches of streams and random access have in common: examples are decoded one by one."""

import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from lbkeras.data.batching import Batching
from lbkeras.data.first_examples import is_ragged
from lbkeras.data.order import step_seeds
from lbkeras.data.replica_shard import ALL_ROWS, ReplicaShard


class DecodedBatches:
    """Makes one worker's batches; a subclass says where the examples come from.

    A worker decodes its own rows only, unless a batch has fewer rows than there are replicas.

    Args:
        batching: how examples become batches.
        decode: `(example, seed) -> example`, or None.
    """

    def __init__(self, batching: Batching, decode: Callable | None):
        if batching.shuffle:
            batching.shard.check(batching.batch_size)
        self._batching = batching
        self._decode = decode
        several = batching.batch_size >= batching.shard.num_replicas
        self._own = batching.shard if several else ALL_ROWS

    def of_pass(self, epoch: int, start_step: int) -> tf.data.Dataset:
        """Returns the batches of one epoch from `start_step` on."""
        batches = self._batches(lambda: (epoch, start_step))
        return self._batching.finished(batches, start_step)

    def of_each_pass(self, position: Callable[[], tuple[int, int]]) -> tf.data.Dataset:
        """Returns a data set for every pass; each one asks for its epoch and first step."""
        return self._batching.finished(self._batches(position))

    def _numbered(self, position: Callable[[], tuple[int, int]]) -> tf.data.Dataset:
        """Returns this worker's `(epoch's seed, place in the epoch, example)`; two int64 scalars.

        Args:
            position: returns the epoch and first step of a pass when it starts.
        """
        raise NotImplementedError

    def _epoch_seed(self, epoch: int) -> np.int64:
        return np.int64(step_seeds(self._batching.seed, epoch, 1)[0, 0])

    def _checked_end(self, batches: tf.data.Dataset, is_last) -> tf.data.Dataset:
        """Returns `batches`; for streams, made to fail if the source has too many examples."""
        return batches

    def _batches(self, position) -> tf.data.Dataset:
        batching, own, steps = self._batching, self._own, self._batching.steps
        batch_size = batching.batch_size

        def decoded(seed, number, example):
            pair = tf.cast(tf.stack([seed, number]), tf.int32)
            return seed, number, self._decode(example, pair)

        def augmented(seeds, numbers, batch):
            step = numbers[0] // batch_size * own.num_workers + own.worker_index
            return batching.augmented(batch, tf.cast(tf.stack([seeds[0], step]), tf.int32))

        batches = self._numbered(position)
        if self._decode is not None:
            batches = batches.map(decoded, num_parallel_calls=os.cpu_count(), deterministic=True)
        size = own.num_rows(batch_size)
        if is_ragged(batches):
            batches = batches.padded_batch(size, drop_remainder=batching.shuffle)
        else:
            batches = batches.batch(size, drop_remainder=batching.shuffle)
        batches = self._checked_end(
            batches, lambda _, numbers, __: numbers[0] // batch_size >= steps - 1
        )
        batches = batching.map_batches(batches, augmented)
        if not own.num_rows(batching.last_size):
            batches = batches.concatenate(_empty(batches.element_spec))
        shard = batching.shard
        return (ReplicaShard(shard.local_replicas) if own is shard else shard).divide(batches)


def _empty(specification) -> tf.data.Dataset:
    """Returns one batch without examples."""

    def no_rows(spec):
        return tf.zeros([0] + [length or 0 for length in spec.shape[1:]], spec.dtype)

    return tf.data.Dataset.from_tensors(tf.nest.map_structure(no_rows, specification))
