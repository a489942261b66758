"""Reads a Pipeline's source through tf.data: tensors in memory, random access, streams."""

import atexit
import functools

import tensorflow as tf

from lbkeras.data.batching import Batching
from lbkeras.data.decoded_batches import DecodedBatches
from lbkeras.data.first_examples import (
    MOST_FIRST,
    FirstExamples,
    warn_of_one_class,
    warn_of_own_order,
)
from lbkeras.data.given_functions import check_augment, decoded_specification
from lbkeras.data.given_source import as_source
from lbkeras.data.indexed_batches import IndexedBatches
from lbkeras.data.labels import range_of_labels
from lbkeras.data.memory_batches import MemoryBatches
from lbkeras.data.random_access import RandomAccess
from lbkeras.data.shard_batches import ShardBatches, check_shards, window_of
from lbkeras.data.source import count, hash_of
from lbkeras.data.stream_batches import StreamBatches
from lbkeras.data.tensorflow_passes import TensorFlowPasses
from lbkeras.keras_internals.tf_data import end_all_iterations, keep_data_until_iterators_end

keep_data_until_iterators_end()
atexit.register(end_all_iterations)  # an iteration that reads in Python could hang at exit


class TensorFlowReader:
    """Reads a Pipeline's source, without changing it, through tf.data.

    Args:
        source, decode, num_examples, shuffle_bytes: as for a Pipeline.
        by_shards: whether the Pipeline has shuffle="shards".

    Attributes:
        num_rows: examples in the source.
        in_memory: whether the source is arrays.
        is_stream: whether the source can be read only from its beginning.
        can_be_read_in_any_order: whether the source is a set on disk or a user's object.
        shards: number of files with shuffle="shards", else 0.
        buffer: how many examples are permuted together; 0: all.
        label_range: the lowest and the highest integer label, or None.
    """

    def __init__(self, source, decode, num_examples, by_shards: bool, shuffle_bytes: int):
        self._source = as_source(source, num_examples)
        self._decode = decode
        self._by_shards = by_shards
        self._shuffle_bytes = shuffle_bytes
        if by_shards:
            check_shards(self._source)
        self.num_rows = count(self._source)
        self.in_memory = isinstance(self._source, tuple)
        self.is_stream = isinstance(self._source, tf.data.Dataset)
        self.can_be_read_in_any_order = isinstance(self._source, RandomAccess)
        self.shards = len(self._source.shards) if by_shards else 0
        self.buffer = 0
        self.label_range: tuple[int, int] | None = None

    def try_first(self, shuffle: bool, augment, batch_size: int) -> None:
        """Checks the first examples and `augment`; sets the label range and the buffer's size."""
        if self.in_memory:
            specification = tf.nest.map_structure(
                lambda part: tf.TensorSpec(part.shape[1:], part.dtype), self._source
            )
            self.label_range = range_of_labels(self._source)
        else:
            specification = self._look_at_first(shuffle)
        if augment is not None:
            x = specification[0] if isinstance(specification, tuple) else specification
            check_augment(augment, x, batch_size)

    def _look_at_first(self, shuffle: bool):
        stream = self._as_stream()
        if self.is_stream:
            warn_of_own_order(stream)
        first = FirstExamples(stream)
        self.label_range = first.label_range()
        if self.is_stream:
            self.buffer = max(1, min(self.num_rows, self._shuffle_bytes // first.bytes_each))
            if shuffle:
                warn_of_one_class(first, self.buffer, self.num_rows)
        elif self._by_shards:
            self.buffer = window_of(self._source, self._shuffle_bytes)
            warn_of_one_class(first, self.buffer, self.num_rows, by_shards=True)
        return decoded_specification(stream, self._decode)

    def _as_stream(self) -> tf.data.Dataset:
        """Returns an unbatched stream: the source, or its first examples if it is random-access."""
        if self.can_be_read_in_any_order:
            return self._source.first(MOST_FIRST)
        return self._source

    def passes(self, pipeline) -> TensorFlowPasses:
        """Returns the passes over a Pipeline that uses this reader."""
        return TensorFlowPasses(pipeline, self)

    def batches(self, batching: Batching, parts) -> MemoryBatches | DecodedBatches:
        """Returns what makes batches from the source.

        Args:
            batching: the batches' size and order.
            parts: the rows that each node owns, or None.
        """
        if self.in_memory:
            return MemoryBatches(self._source, batching, parts)
        if self._by_shards:
            return ShardBatches(self._source, batching, self._decode, self.buffer)
        if self.can_be_read_in_any_order:
            return IndexedBatches(self._source, batching, self._decode)
        return StreamBatches(self._source, batching, self._decode, self.buffer)

    def first_rows(self, examples: int):
        """Returns a source of the first `examples` examples."""
        if not self.in_memory:
            return self._source.take(examples)
        if examples == self.num_rows:
            return self._source
        return tf.nest.map_structure(lambda part: part[:examples], self._source)

    def labels(self):
        """Returns the targets of data in memory as NumPy arrays, or None without targets."""
        if len(self._source) == 1:
            return None
        return tf.nest.map_structure(lambda part: part.numpy(), self._source[1])

    @functools.cached_property
    def hash(self) -> str:
        """Hash of all bytes in memory, otherwise of the first examples; "" if these vary."""
        return hash_of(self._source if self.in_memory else self._as_stream())
