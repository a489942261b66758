"""What all batches of a pass have in common, from memory and from a stream."""

import dataclasses
import os
from collections.abc import Callable

import tensorflow as tf

from lbkeras.data.order import count_steps
from lbkeras.data.replica_shard import ReplicaShard

_MOST_WAITING = 1 << 30  # bytes of batches that are ready before they are asked for


@dataclasses.dataclass(frozen=True)
class Batching:
    """How the examples of a pass become one worker's batches.

    Args:
        num_examples: of a pass.
        batch_size: global, in examples.
        shuffle: whether the remainder is dropped, as in training.
        seed: of the order, of `augment` and of `decode`.
        shard: the worker's.
        augment: of a Pipeline.
    """

    num_examples: int
    batch_size: int
    shuffle: bool
    seed: int
    shard: ReplicaShard
    augment: Callable | None = dataclasses.field(compare=False)

    @property
    def steps(self) -> int:
        return count_steps(self.num_examples, self.batch_size, self.shuffle)

    @property
    def last_size(self) -> int:
        """Examples in the last batch of a pass."""
        if self.shuffle:
            return self.batch_size
        return self.num_examples - (self.steps - 1) * self.batch_size

    def augmented(self, batch, seed):
        if self.augment is None:
            return batch
        x, *others = batch if isinstance(batch, tuple) else (batch,)
        rows = tf.nest.flatten(x)[0].shape[:1]

        def with_rows(part):
            return tf.ensure_shape(part, rows.concatenate([None] * (part.shape.rank - 1)))

        x = tf.nest.map_structure(with_rows, self.augment(x, seed))
        return (x, *others) if isinstance(batch, tuple) else x

    def map_batches(self, batches: tf.data.Dataset, function: Callable) -> tf.data.Dataset:
        """`function` of each batch, as many at once as there are processors and `_waiting` lets."""
        at_once = min(os.cpu_count() or 1, self._waiting(batches.element_spec))
        return batches.map(function, num_parallel_calls=at_once, deterministic=True)

    def _waiting(self, specification) -> int:
        """How many batches of this form may wait in memory, at least one."""
        sizes = []
        for spec in tf.nest.flatten(specification):
            if spec.shape.rank:
                rows = spec.shape[0] or self.batch_size
                sides = spec.shape[1:].num_elements() or 1
                sizes.append(rows * sides * spec.dtype.size)
        return max(1, _MOST_WAITING // max(1, sum(sizes)))

    def finished(self, batches: tf.data.Dataset, start_step: int = 0) -> tf.data.Dataset:
        """The batches from `start_step` on, as their number and the options of all say."""
        options = tf.data.Options()
        options.autotune.enabled = False  # stalls `fit` when an iterator is released
        options.deterministic = True
        options.experimental_optimization.apply_default_optimizations = False  # 2 ms an iteration
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        parts = (self.steps - start_step) * self.shard.local_replicas
        batches = batches.apply(tf.data.experimental.assert_cardinality(parts))
        replicas = self.shard.local_replicas
        ahead = max(replicas, min(4 * replicas, self._waiting(batches.element_spec)))
        return batches.prefetch(ahead).with_options(options)
