"""What the batches of memory, streams and random access have in common."""

import dataclasses
import os
from collections.abc import Callable

import tensorflow as tf

from lbkeras.data.order import count_steps
from lbkeras.data.replica_shard import ReplicaShard

_MOST_WAITING = 1 << 30  # bytes of batches that are prepared ahead


@dataclasses.dataclass(frozen=True)
class Batching:
    """How the examples of a pass become one worker's batches.

    Args:
        num_examples: in one pass.
        batch_size: global, in examples.
        shuffle: whether a last, partial batch is dropped, as in training.
        seed: for the order, `augment` and `decode`.
        shard: which rows of each batch the worker gets.
        augment: the Pipeline's.
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
        """Number of examples in the last batch of a pass."""
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
        """Maps `function` over batches, in parallel on as many CPUs as `_waiting` permits."""
        at_once = min(os.cpu_count() or 1, self._waiting(batches.element_spec))
        return batches.map(function, num_parallel_calls=at_once, deterministic=True)

    def _waiting(self, specification) -> int:
        """Returns how many batches of this form may wait in memory, at least one."""
        sizes = []
        for spec in tf.nest.flatten(specification):
            if spec.shape.rank:
                rows = spec.shape[0] or self.batch_size
                sides = spec.shape[1:].num_elements() or 1
                sizes.append(rows * sides * spec.dtype.size)
        return max(1, _MOST_WAITING // max(1, sum(sizes)))

    def finished(self, batches: tf.data.Dataset, start_step: int = 0) -> tf.data.Dataset:
        """Adds the known number of batches from `start_step` on, prefetching and common options."""
        options = tf.data.Options()
        options.autotune.enabled = False  # stalls `fit` when an iterator is released
        options.deterministic = True
        options.experimental_optimization.apply_default_optimizations = False  # 2 ms per iteration
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        parts = (self.steps - start_step) * self.shard.local_replicas
        batches = batches.apply(tf.data.experimental.assert_cardinality(parts))
        replicas = self.shard.local_replicas
        ahead = max(replicas, min(4 * replicas, self._waiting(batches.element_spec)))
        return batches.prefetch(ahead).with_options(options)
