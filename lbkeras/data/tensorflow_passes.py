"""Makes the passes over a Pipeline with tf.data, for one device or a strategy."""

from typing import TYPE_CHECKING

import tensorflow as tf

from lbkeras.data.batching import Batching
from lbkeras.data.replica_shard import ALL_ROWS, ReplicaShard, shard_of
from lbkeras.keras_internals.data_adapter import super_batches

if TYPE_CHECKING:
    from lbkeras.data.pipeline import Pipeline
    from lbkeras.data.tensorflow_reader import TensorFlowReader


class TensorFlowPasses:
    """Gives Keras the passes over a Pipeline that tf.data reads.

    Args:
        pipeline: knows which pass is running and how large its batches are.
        reader: the reader of its source.
    """

    places_its_batches = False

    def __init__(self, pipeline: "Pipeline", reader: "TensorFlowReader"):
        self._pipeline = pipeline
        self._reader = reader
        self._of_all_passes: dict[Batching, tf.data.Dataset] = {}

    def of_all_passes(self):
        """Returns a data set for every pass at this batch size, distributed under a strategy."""
        return self._distributed(self._dataset_of_all_passes)

    def of_each_epoch(self) -> "_BatchesOfEachEpoch":
        """Returns an object that makes each pass anew, at the batch size of that moment."""
        return _BatchesOfEachEpoch(self)

    def arrays(self):
        """Returns the batches of the running pass as NumPy arrays."""
        return self._pass_dataset(ALL_ROWS).as_numpy_iterator()

    def for_jax(self, super_batch: int | None):
        """Returns the same for Keras' JAX trainer; since Keras 3.16 in stacks of `super_batch`."""
        return super_batches(self.arrays(), super_batch) if super_batch else self.arrays()

    def dataset(self, epoch: int, start_step: int) -> tf.data.Dataset:
        """Returns the batches of one epoch from `start_step` on."""
        return self._epoch_dataset(epoch, start_step, ALL_ROWS)

    @property
    def element_spec(self):
        """The shapes and dtypes of a batch."""
        return self._dataset_of_all_passes().element_spec

    def running(self):
        """Returns the running pass; while Keras builds the model, undivided batches."""
        if self._pipeline.is_preparing:
            return iter(self._pass_dataset(ALL_ROWS))
        return iter(self._distributed(self._pass_dataset))

    def _distributed(self, make):
        """Returns `make(shard)` for each worker of the strategy, or for one device."""
        strategy = self._pipeline.strategy
        if strategy is None:
            return make(ALL_ROWS)
        return strategy.distribute_datasets_from_function(
            lambda context: make(shard_of(context, interleaved=not self._pipeline.shuffle))
        )

    def _pass_dataset(self, shard: ReplicaShard) -> tf.data.Dataset:
        epoch, start_step = self._pipeline.position
        lasting = not (self._reader.in_memory and self._pipeline.shuffle)
        if lasting and start_step == 0:
            return self._dataset_of_all_passes(shard)
        return self._epoch_dataset(epoch, start_step, shard)

    def _epoch_dataset(self, epoch: int, start_step: int, shard: ReplicaShard) -> tf.data.Dataset:
        return self._batches(self._batching(shard)).of_pass(epoch, start_step)

    def _dataset_of_all_passes(self, shard: ReplicaShard = ALL_ROWS) -> tf.data.Dataset:
        """Returns a data set for every pass at this batch size; each asks for its order."""
        batching = self._batching(shard)
        if batching not in self._of_all_passes:
            batches = self._batches(batching)
            self._of_all_passes[batching] = batches.of_each_pass(lambda: self._pipeline.position)
        return self._of_all_passes[batching]

    def _batches(self, batching: Batching):
        return self._reader.batches(batching, self._pipeline.node_parts)

    def _batching(self, shard: ReplicaShard) -> Batching:
        of = self._pipeline
        return Batching(of.num_examples, of.batch_size, of.shuffle, of.seed, shard, of.augment)


class _BatchesOfEachEpoch(tf.distribute.DistributedDataset):
    """The batches that Keras iterates anew each epoch, at the batch size of that moment."""

    def __init__(self, passes: TensorFlowPasses):
        self._passes = passes

    def __iter__(self):
        return self._passes.running()

    @property
    def element_spec(self):
        return self._passes.element_spec
