"""Makes batches of data that are read in any order."""

import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from lbkeras.data.batching import Batching
from lbkeras.data.decoded_batches import DecodedBatches
from lbkeras.data.order import epoch_order
from lbkeras.data.random_access import RandomAccess

_MOST_ROWS, _MOST_BYTES = 64, 2 << 20  # that a thread reads at once


class IndexedBatches(DecodedBatches):
    """Makes one worker's batches in the same order as arrays; reads only the worker's own rows.

    Args:
        source: the examples.
        batching: how they become batches.
        decode: the Pipeline's.
    """

    def __init__(self, source: RandomAccess, batching: Batching, decode: Callable | None):
        def parsed(row, seed):
            element = source.parse(*row)
            return element if decode is None else decode(element, seed)

        self._as_they_are = decode is None and not source.needs_parsing
        super().__init__(batching, None if self._as_they_are else parsed)
        self._source = source

    def _numbered(self, position) -> tf.data.Dataset:
        rows = int(max(1, min(_MOST_ROWS, _MOST_BYTES // max(1, self._source.bytes_each))))

        def seeds_numbers_and_places():
            epoch, start = position()
            numbers = self._own_numbers(start)
            yield (
                np.full(len(numbers), self._epoch_seed(epoch)),
                numbers,
                self._order(epoch)[numbers],
            )

        def read(seeds, numbers, places):
            return seeds, numbers, self._examples(self._source.rows(places))

        passes = tf.data.Dataset.from_generator(
            seeds_numbers_and_places, output_signature=(tf.TensorSpec((None,), tf.int64),) * 3
        )
        chunks = passes.flat_map(
            lambda *numbers: tf.data.Dataset.from_tensor_slices(numbers).batch(rows)
        )
        return chunks.map(read, num_parallel_calls=os.cpu_count(), deterministic=True).unbatch()

    def _examples(self, rows):
        """Returns the rows, as elements if they need neither parsing nor decoding."""
        return self._source.parse(*rows) if self._as_they_are else rows

    def _order(self, epoch: int) -> np.ndarray:
        batching = self._batching
        if not batching.shuffle:
            return np.arange(batching.num_examples)
        return epoch_order(batching.num_examples, batching.seed, epoch).astype(np.int64)

    def _own_numbers(self, start: int) -> np.ndarray:
        """Returns the places in the epoch of this worker's rows, from step `start` on."""
        batching, own = self._batching, self._own
        of_a_batch = own.rows(batching.batch_size)
        firsts = np.arange(start, batching.steps) * batching.batch_size
        numbers = [(firsts[:-1, None] + of_a_batch).ravel()]
        if len(firsts):
            numbers.append(firsts[-1] + own.rows(batching.last_size))
        return np.concatenate(numbers).astype(np.int64)
