"""One input pipeline whose batch size may change between the epochs of one `model.fit`."""

import math
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from lbkeras.data.keras_adapter import DataAdapter
from lbkeras.data.order import epoch_order, step_seeds
from lbkeras.errors import UserError

_STREAM_SHUFFLE_BUFFER = 16_384  # examples; of encoded ImageNet about 1.8 GB


class Pipeline(DataAdapter):
    """Batches of a data set for `model.fit`, `evaluate` and `predict`, given as their `x`.

    The order of epoch e is a pure function of (seed, e). With `shuffle=True` (training) every batch
    has the same static shape and the `num_examples % batch_size` examples left over are dropped, a
    different set each epoch; with `shuffle=False` (evaluation) the order is the source's and the
    last, smaller batch is kept. Used alone it is an ordinary data set of known length; with
    `lbkeras.callbacks.BatchSizeScheduler` its batch size follows the schedule.

    Keras does not hand `fit(class_weight=...)` or `fit(sample_weight=...)` to such an object: give
    weights as the source's third part, `(x, y, class_weights[y])`.

    Args:
        source: `(x, y)` or `(x, y, sample_weight)`, each an array (or a dict or tuple of arrays)
            with one row an example, kept in memory (for training with up to two copies more, in
            the orders of this epoch and the next); or an unbatched `tf.data.Dataset` of such
            examples with known cardinality, which is shuffled through a buffer of 16,384 examples.
        batch_size: global batch size in examples, 1 to `num_examples`. Set it between epochs.
        shuffle: True for training, False for evaluation.
        augment: `(x, seed) -> x` on a whole batch, inside tf.data; `seed` is an int32 tensor of
            shape (2,), a pure function of (seed, epoch, step). None: the data as they are.
        decode: for a `tf.data.Dataset` source, `(example, seed) -> example` before batching; `seed`
            is an int32 tensor of shape (2,), a pure function of (seed, epoch, place in the epoch).
        seed: integer that orders and augments the data.

    Attributes:
        num_examples: examples in the source.
        epoch: the epoch whose order the next pass takes; each pass adds one.
        start_step: steps that the next pass leaves out at its beginning (to resume inside an
            epoch; costs nothing for data in memory); back to 0 after that pass.

    Raises:
        UserError: no examples, parts of different lengths, a batch size out of range, a data set
            that is batched or of unknown cardinality.

    >>> x = np.arange(20, dtype="float32").reshape(10, 2)
    >>> train = Pipeline((x, np.arange(10)), batch_size=4, seed=1)
    >>> train.steps_per_epoch, [tuple(x.shape) for x, y in train.dataset(epoch=0)]
    (2, [(4, 2), (4, 2)])
    """

    def __init__(
        self,
        source,
        batch_size: int,
        *,
        shuffle: bool = True,
        augment: Callable | None = None,
        decode: Callable | None = None,
        seed: int = 0,
    ):
        self._source = source if isinstance(source, tf.data.Dataset) else _tensors(source)
        self.num_examples = _count(self._source)
        self.shuffle = shuffle
        self.seed = int(seed)
        self.epoch = 0
        self.start_step = 0
        self._augment = augment
        self._decode = decode
        self._standing = {}  # batch size -> tf.data.Dataset, of evaluation and streams
        self._pass = (0, 0)  # epoch and first step of the running pass
        self._preparing = False  # Keras is setting up: what it takes now is not an epoch
        self._scheduled = False
        self._announced = False  # by the callback that ends the epoch
        self._strategy = None
        self.batch_size = batch_size

    @property
    def batch_size(self) -> int:
        return self._batch_size

    @batch_size.setter
    def batch_size(self, value: int):
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise UserError(f"batch_size: expected an integer, received {value!r}")
        if not 1 <= value <= self.num_examples:
            raise UserError(
                f"batch_size: expected 1 to {self.num_examples} (the number of examples), "
                f"received {value}"
            )
        self._batch_size = int(value)

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch at the present batch size: the remainder dropped if shuffled."""
        batches = self.num_examples / self._batch_size
        return math.floor(batches) if self.shuffle else math.ceil(batches)

    @property
    def steps_in_pass(self) -> int:
        """Batches in the running pass: `steps_per_epoch` less what a resumed epoch leaves out."""
        return self.steps_per_epoch - self._pass[1]

    def highest_label(self) -> int | None:
        """The highest integer label of data in memory; None for a stream or other targets."""
        labels = None if isinstance(self._source, tf.data.Dataset) else self._source[1]
        if not isinstance(labels, tf.Tensor) or not labels.dtype.is_integer:
            return None
        return int(tf.reduce_max(labels))

    @property
    def element_spec(self):
        """The shapes and types of a batch."""
        return self._standing_dataset().element_spec

    def dataset(self, epoch: int = 0, start_step: int = 0) -> tf.data.Dataset:
        """The batches of one epoch at the present batch size, as a `tf.data.Dataset`."""
        if isinstance(self._source, tf.data.Dataset):
            batches = self._stream_batches(lambda: (epoch, start_step))
        elif self.shuffle:
            batches = self._shuffled_batches(epoch, start_step)
        else:
            batches = self._batches_in_order().skip(start_step)
        steps = self.steps_per_epoch - start_step
        return _finished(batches.apply(tf.data.experimental.assert_cardinality(steps)))

    def follow_schedule(self, strategy: tf.distribute.Strategy | None = None) -> None:
        """Lets a callback own the batch size and the end of each epoch (BatchSizeScheduler does).

        Args:
            strategy: the model's strategy, once it is known; it then distributes each batch.
        """
        self._scheduled = True
        if strategy is not None:
            self._strategy = strategy

    def begin_epoch(self, epoch: int, batch_size: int) -> None:
        """Announces the next pass: a callback that follows a schedule calls this each epoch."""
        self.batch_size = batch_size
        self.epoch = epoch
        self._announced = True

    # What Keras asks of a DataAdapter.

    @property
    def num_batches(self) -> int | None:
        return None if self._scheduled else self.steps_per_epoch

    @property
    def has_partial_batch(self) -> bool:
        return not self.shuffle and self.num_examples % self._batch_size > 0

    @property
    def partial_batch_size(self) -> int | None:
        return self.num_examples % self._batch_size if self.has_partial_batch else None

    def on_epoch_begin(self):
        self._pass = (self.epoch, self.start_step)
        if not self._preparing:
            self.epoch, self.start_step = self.epoch + 1, 0

    def on_epoch_end(self):
        self._preparing = False

    def get_tf_dataset(self):
        # Keras calls this once a `fit`, may then take a batch to build the model, and calls
        # `on_epoch_end` before the first epoch.
        self._preparing = True
        return _BatchesOfEachEpoch(self) if self._scheduled else self._standing_dataset()

    def get_numpy_iterator(self):
        return self._pass_dataset().as_numpy_iterator()

    def get_jax_iterator(self):
        return self.get_numpy_iterator()

    # How a pass is made.

    def _pass_dataset(self):
        """The batches of the running pass, distributed to the replicas if there are some."""
        lasting = isinstance(self._source, tf.data.Dataset) or not self.shuffle
        if lasting and self._pass[1] == 0:
            batches = self._standing_dataset()
        else:
            batches = self.dataset(*self._pass)
        if self._preparing or self._strategy is None:
            return batches
        return self._strategy.experimental_distribute_dataset(batches)

    def _standing_dataset(self) -> tf.data.Dataset:
        """A data set for every pass at this batch size: it asks for its order when it starts."""
        if self._batch_size not in self._standing:
            if isinstance(self._source, tf.data.Dataset):
                batches = self._stream_batches(lambda: self._pass)
            elif self.shuffle:
                batches = self._reshuffled_batches()
            else:
                batches = self._batches_in_order()
            steps = self.steps_per_epoch
            batches = batches.apply(tf.data.experimental.assert_cardinality(steps))
            self._standing[self._batch_size] = _finished(batches)
        return self._standing[self._batch_size]

    def _shuffled_batches(self, epoch: int, start: int) -> tf.data.Dataset:
        """Slices of a copy of the data in this epoch's order.

        One gather for the whole epoch, and a data set without functions, start faster than one that
        gathers each batch: 5 ms to the first batch of 1,437 examples instead of 33, each epoch.
        """
        batches = tf.data.Dataset.from_tensor_slices(self._arranged(epoch, start))
        return self._augmented_batches(batches)

    def _reshuffled_batches(self) -> tf.data.Dataset:
        """`_shuffled_batches` of the pass that is running whenever an iteration starts."""

        def specification(part):
            return tf.TensorSpec((None, self._batch_size, *part.shape[1:]), part.dtype)

        signature = tf.nest.map_structure(specification, self._source)
        if self._augment is not None:
            signature = signature, tf.TensorSpec((None, 2), tf.int32)
        batches = tf.data.Dataset.from_generator(
            lambda: iter([self._arranged(*self._pass)]), output_signature=signature
        ).flat_map(lambda *epoch: tf.data.Dataset.from_tensor_slices(epoch))
        return self._augmented_batches(batches)

    def _arranged(self, epoch: int, start: int):
        """The data as (steps, batch size, ...) in the epoch's order; to augment, with seeds."""
        order = epoch_order(self.num_examples, self.seed, epoch)
        steps = self.steps_per_epoch
        seeds = step_seeds(self.seed, epoch, steps)[start:]
        order = order[start * self._batch_size : steps * self._batch_size]

        def arrange(part):
            taken = tf.gather(part, order)
            return tf.reshape(taken, (len(seeds), self._batch_size, *part.shape[1:]))

        with tf.device("CPU:0"):
            arranged = tf.nest.map_structure(arrange, self._source)
        return arranged if self._augment is None else (arranged, seeds)

    def _augmented_batches(self, batches) -> tf.data.Dataset:
        if self._augment is None:
            return batches
        return batches.map(self._augmented, num_parallel_calls=os.cpu_count(), deterministic=True)

    def _batches_in_order(self) -> tf.data.Dataset:
        """Every example once in the source's order, the last batch as large as it comes."""
        full = self.num_examples // self._batch_size * self._batch_size

        def rows(part):
            return tf.reshape(part[:full], (-1, self._batch_size, *part.shape[1:]))

        with tf.device("CPU:0"):
            batches = tf.data.Dataset.from_tensor_slices(tf.nest.map_structure(rows, self._source))
            if full < self.num_examples:
                rest = tf.nest.map_structure(lambda part: part[full:], self._source)
                rest = tf.data.Dataset.from_tensors(rest)
                batches = batches.concatenate(rest) if full else rest
        if self._augment is not None:
            seeds = step_seeds(self.seed, 0, self.steps_per_epoch)
            batches = tf.data.Dataset.zip(batches, tf.data.Dataset.from_tensor_slices(seeds))
        return self._augmented_batches(batches)

    def _stream_batches(self, epoch_and_start) -> tf.data.Dataset:
        """Examples shuffled through a buffer, decoded one by one, then batched."""
        batch_size = self._batch_size
        buffer = min(self.num_examples, _STREAM_SHUFFLE_BUFFER)

        def epoch_seed_and_start():
            epoch, start = epoch_and_start()
            seed = step_seeds(self.seed, epoch, 1)[0, 0]
            yield np.int64(seed), np.int64(start)

        def one_pass(seed, start):
            examples = self._source
            if self.shuffle:
                tf.random.set_seed(1)  # of this graph: otherwise the global seed has a say
                examples = examples.shuffle(buffer, seed=seed, reshuffle_each_iteration=False)
            examples = examples.enumerate().skip(start * batch_size)
            return tf.data.Dataset.zip(tf.data.Dataset.from_tensors(seed).repeat(), examples)

        def decoded(seed, numbered):
            number, example = numbered
            if self._decode is not None:
                pair = tf.cast(tf.stack([seed, number]), tf.int32)
                example = self._decode(example, pair)
            return tf.cast(seed, tf.int32), tf.cast(number // batch_size, tf.int32), example

        def augmented(seeds, steps, batch):
            return self._augmented(batch, tf.stack([seeds[0], steps[0]]))

        parallel = dict(num_parallel_calls=os.cpu_count(), deterministic=True)
        return (
            tf.data.Dataset.from_generator(
                epoch_seed_and_start,
                output_signature=(tf.TensorSpec((), tf.int64), tf.TensorSpec((), tf.int64)),
            )
            .flat_map(one_pass)
            .map(decoded, **parallel)
            .batch(batch_size, drop_remainder=self.shuffle)
            .map(augmented, **parallel)
        )

    def _augmented(self, batch, seed):
        if self._augment is None:
            return batch
        return (self._augment(batch[0], seed), *batch[1:])


class _BatchesOfEachEpoch(tf.distribute.DistributedDataset):
    """What Keras iterates, anew each epoch: the batches at the batch size of that moment."""

    def __init__(self, pipeline: Pipeline):
        self._pipeline = pipeline

    def __iter__(self):
        pipeline = self._pipeline
        if not (pipeline._preparing or pipeline._announced):
            # Its length is unknown to Keras, which would run one step too many and count it.
            raise UserError(
                "pipeline: expected its BatchSizeScheduler among the callbacks, which ends each "
                "epoch, received none; to evaluate, make another Pipeline(..., shuffle=False)"
            )
        pipeline._announced = False
        return iter(pipeline._pass_dataset())

    @property
    def element_spec(self):
        return self._pipeline.element_spec


def _finished(batches: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.autotune.enabled = False  # stalls `fit` when an iterator is released
    options.deterministic = True
    options.experimental_optimization.apply_default_optimizations = False  # 2 ms an iteration
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return batches.prefetch(4).with_options(options)


def _tensors(source):
    if not isinstance(source, tuple) or not 2 <= len(source) <= 3:
        received = f"{type(source).__name__}"
        if isinstance(source, tuple):
            received += f" of length {len(source)}"
        raise UserError(
            "source: expected (x, y) or (x, y, sample_weight) arrays or an unbatched "
            f"tf.data.Dataset, received a {received}"
        )
    with tf.device("CPU:0"):
        return tf.nest.map_structure(tf.convert_to_tensor, source)


def _count(source) -> int:
    if isinstance(source, tf.data.Dataset):
        count = int(source.cardinality())
        if count < 0:
            raise UserError(
                "source: expected a tf.data.Dataset of known, finite cardinality, received one of "
                f"{'infinite' if count == -1 else 'unknown'} cardinality; "
                "apply tf.data.experimental.assert_cardinality(number_of_examples)"
            )
        if not isinstance(source.element_spec, tuple) or not 2 <= len(source.element_spec) <= 3:
            raise UserError(
                "source: expected a tf.data.Dataset of (x, y) or (x, y, sample_weight) examples, "
                f"received elements {source.element_spec}"
            )
        shapes = [spec.shape for spec in tf.nest.flatten(source.element_spec)]
        if all(shape.rank and shape[0] is None for shape in shapes):
            raise UserError(
                "source: expected an unbatched tf.data.Dataset, received batches "
                f"{source.element_spec}; apply .unbatch()"
            )
    else:
        if any(part.shape.rank == 0 for part in tf.nest.flatten(source)):
            raise UserError("source: expected arrays with one row an example, received a scalar")
        counts = {len(part) for part in tf.nest.flatten(source)}
        if len(counts) > 1:
            raise UserError(
                "source: expected parts with the same number of examples, received "
                + " and ".join(str(count) for count in sorted(counts))
            )
        count = counts.pop()
    if count == 0:
        raise UserError("source: expected at least one example, received none (an empty split?)")
    return count
