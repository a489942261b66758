"""Makes batches of data in memory."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from lbkeras.data.batching import Batching
from lbkeras.data.order import epoch_order, order_of_parts, step_seeds


class MemoryBatches:
    """Makes one worker's batches of tensors in host memory.

    Args:
        data: as `lbkeras.data.source.tensors` returns them.
        batching: how the data become batches.
        parts: the rows that each node owns, or None.
    """

    def __init__(self, data: tuple, batching: Batching, parts: np.ndarray | None):
        self._data = data
        self._batching = batching
        self._parts = parts

    def of_pass(self, epoch: int, start_step: int) -> tf.data.Dataset:
        """Returns the batches of one epoch from `start_step` on."""
        if self._batching.shuffle:
            batches = self._shuffled_batches(epoch, start_step)
        else:
            batches = self._batching.shard.divide(self._batches_in_order().skip(start_step))
        return self._batching.finished(batches, start_step)

    def of_each_pass(self, position: Callable[[], tuple[int, int]]) -> tf.data.Dataset:
        """Returns a data set for every pass; each one asks for its epoch and first step."""
        if self._batching.shuffle:
            batches = self._reshuffled_batches(position)
        else:
            batches = self._batching.shard.divide(self._batches_in_order())
        return self._batching.finished(batches)

    def _shuffled_batches(self, epoch: int, start: int) -> tf.data.Dataset:
        """Returns slices of a copy of the data in this epoch's order.

        With one gather for the whole epoch and no functions, the data set starts faster than one
        that gathers each batch: with 1,437 examples, an epoch's first batch takes 5 ms instead of
        33 ms.
        """
        batches = tf.data.Dataset.from_tensor_slices(self._arranged(epoch, start))
        return self._divided(batches)

    def _reshuffled_batches(self, position) -> tf.data.Dataset:
        """Returns a data set of the `_shuffled_batches` of whichever pass is running."""
        shard = self._batching.shard
        shard.check(self._batching.batch_size)
        divided_by = shard.num_replicas if self._batching.augment is None else 1
        size = self._batching.batch_size // divided_by

        def specification(part):
            return tf.TensorSpec((None, size, *part.shape[1:]), part.dtype)

        signature = tf.nest.map_structure(specification, self._data)
        if self._batching.augment is not None:
            signature = signature, tf.TensorSpec((None, 2), tf.int32)
        batches = tf.data.Dataset.from_generator(
            lambda: iter([self._arranged(*position())]), output_signature=signature
        ).flat_map(lambda *epoch: tf.data.Dataset.from_tensor_slices(epoch))
        return self._divided(batches)

    def _order(self, epoch: int) -> np.ndarray:
        seed = self._batching.seed
        if self._parts is None:
            return epoch_order(self._batching.num_examples, seed, epoch)
        return order_of_parts(self._parts, self._batching.batch_size, seed, epoch)

    def _arranged(self, epoch: int, start: int):
        """Returns the data as (steps, batch size, ...) in the epoch's order, and augment's seeds.

        Without `augment` there are no seeds, and the batches are already divided among replicas:
        (steps x local replicas, part, ...).
        """
        shard, size = self._batching.shard, self._batching.batch_size
        shard.check(size)
        order = self._order(epoch)
        steps = self._batching.steps
        seeds = step_seeds(self._batching.seed, epoch, steps)[start:]
        order = order[start * size : steps * size]
        order = order.reshape(len(seeds), size)
        if self._batching.augment is None:
            parts = order.reshape(len(seeds), shard.num_replicas, -1)
            order = parts[:, shard.parts].reshape(-1, parts.shape[-1])

        def arrange(part):
            taken = tf.gather(part, order.ravel())
            return tf.reshape(taken, (*order.shape, *part.shape[1:]))

        with tf.device("CPU:0"):
            arranged = tf.nest.map_structure(arrange, self._data)
        return arranged if self._batching.augment is None else (arranged, seeds)

    def _divided(self, batches) -> tf.data.Dataset:
        """Augments whole batches, then divides them; without `augment` they are already divided."""
        if self._batching.augment is None:
            return batches
        return self._batching.shard.divide(self._augmented_batches(batches))

    def _augmented_batches(self, batches) -> tf.data.Dataset:
        return self._batching.map_batches(batches, self._batching.augmented)

    def _batches_in_order(self) -> tf.data.Dataset:
        """Returns every example once, in the source's order; the last batch may be smaller."""
        num_examples, size = self._batching.num_examples, self._batching.batch_size
        full = num_examples // size * size

        def rows(part):
            return tf.reshape(part[:full], (-1, size, *part.shape[1:]))

        with tf.device("CPU:0"):
            batches = tf.data.Dataset.from_tensor_slices(tf.nest.map_structure(rows, self._data))
            if full < num_examples:
                rest = tf.nest.map_structure(lambda part: part[full:], self._data)
                rest = tf.data.Dataset.from_tensors(rest)
                batches = batches.concatenate(rest) if full else rest
        if self._batching.augment is not None:
            seeds = step_seeds(self._batching.seed, 0, self._batching.steps)
            batches = tf.data.Dataset.zip(batches, tf.data.Dataset.from_tensor_slices(seeds))
            batches = self._augmented_batches(batches)
        return batches
