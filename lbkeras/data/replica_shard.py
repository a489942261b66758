"""Selects the rows of each global batch that the replicas of one worker get."""

import dataclasses

import numpy as np
import tensorflow as tf

from lbkeras.errors import UserError


@dataclasses.dataclass(frozen=True)
class ReplicaShard:
    """One worker's rows of each global batch, and how its replicas divide them.

    The rows are cut, in order, into one part per replica of all workers. If they do not divide
    evenly, the first parts are one row longer. Worker w with R replicas gets parts w R to
    w R + R - 1 or, if interleaved, parts w, w + W, ...: the order in which Keras' `predict`
    combines the workers' results.

    Args:
        num_replicas: number of replicas of all workers.
        num_workers: W, which divides `num_replicas`.
        worker_index: w, from 0.
        interleaved: whether the workers take turns in getting a part.
    """

    num_replicas: int = 1
    num_workers: int = 1
    worker_index: int = 0
    interleaved: bool = False

    @property
    def local_replicas(self) -> int:
        """R, the number of replicas of this worker."""
        return self.num_replicas // self.num_workers

    @property
    def parts(self) -> range:
        """The numbers of this worker's parts, in the order of its replicas."""
        if self.interleaved:
            return range(self.worker_index, self.num_replicas, self.num_workers)
        first = self.worker_index * self.local_replicas
        return range(first, first + self.local_replicas)

    def num_rows(self, size: int) -> int:
        """Returns how many rows of a batch of `size` this worker gets."""
        return sum(size // self.num_replicas + (p < size % self.num_replicas) for p in self.parts)

    def rows(self, size: int) -> np.ndarray:
        """Returns the places of this worker's rows in a batch of `size`, ascending."""
        parts = np.array_split(np.arange(size), self.num_replicas)
        return np.concatenate([parts[part] for part in self.parts])

    def contains(self, place, size):
        """Whether this worker gets row `place` of a batch of `size`; both are integer tensors."""
        short, longer_parts = size // self.num_replicas, size % self.num_replicas
        in_longer_parts = longer_parts * (short + 1)
        part = tf.where(
            place < in_longer_parts,
            place // (short + 1),
            longer_parts + (place - in_longer_parts) // tf.maximum(short, 1),
        )
        return tf.reduce_any(part == tf.constant(list(self.parts), part.dtype))

    def check(self, batch_size: int) -> None:
        """Raises a UserError unless the parts are equal, since their gradients are averaged."""
        if batch_size % self.num_replicas:
            raise UserError(
                f"batch_size: expected a multiple of the {self.num_replicas} replicas for "
                f"training, received {batch_size}"
            )

    def divide(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """Replaces each global batch by its parts for this worker's replicas, one after the other.

        The parts have static sizes if the batches do and the parts are equal.
        """
        if self.num_replicas == 1:
            return batches
        size = tf.nest.flatten(batches.element_spec)[0].shape[0]
        if size is not None and size % self.num_replicas == 0:
            return self._divide_evenly(batches, size // self.num_replicas)

        def part_of(batch, part):
            size = tf.shape(tf.nest.flatten(batch)[0])[0]
            short, longer_parts = size // self.num_replicas, size % self.num_replicas
            first = part * short + tf.minimum(part, longer_parts)
            last = first + short + tf.cast(part < longer_parts, tf.int32)
            return tf.nest.map_structure(lambda rows: rows[first:last], batch)

        parts = tf.data.Dataset.from_tensor_slices(tf.constant(list(self.parts), tf.int32))
        return batches.flat_map(lambda *batch: parts.map(lambda part: part_of(batch, part)))

    def _divide_evenly(self, batches: tf.data.Dataset, part_size: int) -> tf.data.Dataset:
        def parts_of(*batch):
            def cut(rows):
                rows = tf.reshape(rows, (self.num_replicas, part_size, *rows.shape[1:]))
                return rows[self.parts.start : self.parts.stop : self.parts.step]

            return tf.nest.map_structure(cut, batch)

        return batches.map(parts_of).unbatch()


ALL_ROWS = ReplicaShard()  # of one device


def shard_of(context: tf.distribute.InputContext, interleaved: bool) -> ReplicaShard:
    """Returns the shard of the input pipeline that tf.distribute asks for."""
    return ReplicaShard(
        context.num_replicas_in_sync,
        context.num_input_pipelines,
        context.input_pipeline_id,
        interleaved,
    )
