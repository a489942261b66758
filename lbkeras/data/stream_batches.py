"""Makes batches of a stream."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from lbkeras.data.batching import Batching
from lbkeras.data.decoded_batches import DecodedBatches
from lbkeras.keras_internals.tf_data import has_checked_cardinality


class StreamBatches(DecodedBatches):
    """Makes one worker's batches of an unbatched `tf.data.Dataset`, shuffled through a buffer.

    Args:
        stream: a data set of known cardinality.
        batching: how its examples become batches.
        decode: the Pipeline's.
        buffer: size of the shuffle buffer in examples.
    """

    def __init__(
        self, stream: tf.data.Dataset, batching: Batching, decode: Callable | None, buffer: int
    ):
        super().__init__(batching, decode)
        self._stream = stream
        self._buffer = buffer

    def _numbered(self, position) -> tf.data.Dataset:
        batching, own = self._batching, self._own
        batch_size, steps = batching.batch_size, batching.steps

        def epoch_seed_and_start():
            epoch, start = position()
            yield self._epoch_seed(epoch), np.int64(start)

        def is_own(number, example):
            size = tf.where(number // batch_size < steps - 1, batch_size, batching.last_size)
            return own.contains(number % batch_size, tf.cast(size, tf.int64))

        def one_pass(seed, start):
            examples = self._stream
            if batching.shuffle:
                tf.random.set_seed(1)  # of this graph; otherwise the global seed affects the order
                examples = examples.shuffle(self._buffer, seed=seed, reshuffle_each_iteration=False)
            examples = examples.enumerate().skip(start * batch_size)
            if batching.shuffle:
                examples = examples.take(steps * batch_size)
            if own.num_workers > 1:
                examples = examples.filter(is_own)
            return tf.data.Dataset.zip(tf.data.Dataset.from_tensors(seed).repeat(), examples)

        passes = tf.data.Dataset.from_generator(
            epoch_seed_and_start,
            output_signature=(tf.TensorSpec((), tf.int64), tf.TensorSpec((), tf.int64)),
        )
        return passes.flat_map(one_pass).map(lambda seed, numbered: (seed, *numbered))

    def _checked_end(self, batches: tf.data.Dataset, is_last) -> tf.data.Dataset:
        """Returns the same batches, but yields the last one only after reading on past it.

        If the source has more examples than it says, it then raises its error, which would
        otherwise go unnoticed.
        """
        if self._batching.shuffle or not has_checked_cardinality(self._stream):
            return batches
        return batches.group_by_window(
            lambda *batch: tf.cast(is_last(*batch), tf.int64),
            lambda _, group: group.take(1),
            window_size_func=lambda last: last + 1,
        )
