"""What all batches of a pass have in common, from memory and from a stream."""

import dataclasses
import math
from collections.abc import Callable

import tensorflow as tf

from lbkeras.data.replica_shard import ReplicaShard


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

    def augmented(self, batch, seed):
        if self.augment is None:
            return batch
        x, *others = batch if isinstance(batch, tuple) else (batch,)
        rows = tf.nest.flatten(x)[0].shape[:1]

        def with_rows(part):
            return tf.ensure_shape(part, rows.concatenate([None] * (part.shape.rank - 1)))

        x = tf.nest.map_structure(with_rows, self.augment(x, seed))
        return (x, *others) if isinstance(batch, tuple) else x

    def finished(self, batches: tf.data.Dataset, start_step: int = 0) -> tf.data.Dataset:
        """The batches from `start_step` on, as their number and the options of all say."""
        options = tf.data.Options()
        options.autotune.enabled = False  # stalls `fit` when an iterator is released
        options.deterministic = True
        options.experimental_optimization.apply_default_optimizations = False  # 2 ms an iteration
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        parts = (self.steps - start_step) * self.shard.local_replicas
        batches = batches.apply(tf.data.experimental.assert_cardinality(parts))
        return batches.prefetch(4 * self.shard.local_replicas).with_options(options)


def count_steps(num_examples: int, batch_size: int, shuffle: bool) -> int:
    """Batches a pass: the remainder dropped if shuffled."""
    batches = num_examples / batch_size
    return math.floor(batches) if shuffle else math.ceil(batches)
