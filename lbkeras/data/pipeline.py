"""An input pipeline whose batch size can change between the epochs of one `model.fit`."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from lbkeras import checks
from lbkeras.data.keras_adapter import KerasAdapter
from lbkeras.data.order import SHARDS, count_steps
from lbkeras.errors import UserError
from lbkeras.fingerprint import describe
from lbkeras.keras_internals.backend import on_jax
from lbkeras.keras_internals.running_call import running_call


class Pipeline(KerasAdapter):
    """Feeds the batches of a data set to `model.fit`, `evaluate` and `predict` as their `x`.

    The order of epoch e is a pure function of (seed, e). With `shuffle=True` (training) every batch
    has the same static shape, and the `num_examples % batch_size` examples left over are dropped: a
    different set each epoch, or, for a stream that does not fit in the shuffle buffer, some of
    those near its end. With `shuffle=False` (evaluation) the order is the source's, and the last,
    smaller batch is kept. Used alone, a Pipeline is an ordinary data set of known length; with
    `lbkeras.callbacks.BatchSizeScheduler` its batch size follows the schedule.

    Data in memory and data that can be read in any order (prepared sets on disk, your own object)
    have the same order: each epoch is a uniform permutation of all examples, whatever the batch
    size, so the same set gives the same batches either way. A stream is shuffled less thoroughly:
    an example can come at most one buffer length early, and examples that are near each other in
    one epoch mostly stay so in the next.

    `shuffle="shards"` is a compromise for storage that reads single examples slowly: pieces of
    files are read in a permuted order, and the examples of about 64 pieces at a time are permuted
    in memory (`lbkeras.data.order.order_of_shards`). Batches change from epoch to epoch nearly as
    much as in a uniform permutation, but if the set is sorted by class, a batch has at most the
    classes of about 64 pieces. A resume inside an epoch first reads up to half of `shuffle_bytes`,
    and the order depends on the number of workers.

    Under a strategy each replica gets its part of every global batch: the same examples that one
    device would get in that step. With several workers, data in memory are augmented as whole
    batches, so the result is the same as on one device. Of other data each worker decodes only its
    own rows, and `augment` gets these rows with a seed of their own. Each worker reads only its own
    rows if the data can be read in any order, but reads a stream completely. The last batch of an
    evaluation counts each of its examples once, however few there are. All of this requires a
    strategy from `lbkeras.distribution.strategy`, or `lbkeras.distribution.patch_keras()`.

    Keras' JAX backend needs TensorFlow for streams only. Arrays that take at most a quarter of the
    device's memory are copied there once; each step then sends only its row numbers and a seed.
    Other data are read in threads. The devices of a `keras.distribution` divide each batch.

    With an `x` like this, Keras would ignore the arguments `class_weight`, `sample_weight`, `y` and
    `batch_size`, so a Pipeline refuses them. Give weights as the source's third part:
    `(x, y, class_weights[y])`.

    Args:
        source: one of these:

            - `(x, y)`, `(x, y, sample_weight)` or x alone, not as a tuple. Each is an array, a list
              of numbers, or a dict, list or tuple of them, with one row per example. They are kept
              in memory (when training, with up to two reordered copies: this epoch's and the
              next one's).
            - An object with `len(source)` and `source[i]`, which returns an example as arrays or
              numbers, the same whenever it is read; `source.__getitems__([i, ...])` is used if it
              exists. Examples: a PyTorch or Grain data set, `tfds.data_source(...)`. The data stay
              where they are; one thread at a time reads them.
            - A stream: an unbatched `tf.data.Dataset` of such examples, shuffled through a buffer.
              Rows of variable length are padded with zeros to the longest of their batch.
            - What Keras takes in batches, whose examples become such a stream: a `PyDataset`, which
              one thread reads without calling its `on_epoch_end`, or a function without arguments
              that makes a generator. A generator itself can be read only once, so it is read to its
              end, into memory.
        batch_size: global batch size in examples, 1 to `num_examples` (with `shuffle=False` it may
            be larger). Set it between calls of `fit`; inside one, use a `BatchSizeScheduler`.
        shuffle: True for training, False for evaluation; or "shards", to train on data that can be
            read in any order by reading pieces of files instead of single examples.
        augment: `(x, seed) -> x` on a whole batch, inside tf.data or, on Keras' JAX backend, jitted
            on the device; `seed` is an int32 tensor of shape (2,), a pure function of (seed, epoch,
            step). None: no augmentation.
        decode: for a source that is not in memory, `(example, seed) -> example` before batching,
            inside tf.data or, on Keras' JAX backend, on NumPy arrays; `seed` is an int32 tensor of
            shape (2,), a pure function of (seed, epoch, place in the epoch).
        seed: integer of at least 0 from which the order and the augmentation are drawn.
        num_examples: how many examples one pass over the source has, if the source cannot tell: a
            generator, a function that makes one, or a `tf.data.Dataset` of unknown cardinality. If
            the number is wrong, the pass ends with an error.
        shuffle_bytes: host memory, in bytes, for the buffer that a stream is shuffled through, at
            least 0. Default 1 GiB. The buffer holds as many examples as fit, by the mean size of
            the first 32, and each batch is drawn from it: a stream sorted by class needs a buffer
            that holds all examples, or at least several classes. The order depends on this size.
            With `shuffle="shards"` the buffer holds the examples that are permuted together, and
            the next ones. Other data do not need it.

    Attributes:
        num_examples: examples in the source.
        epoch: the epoch whose order the next pass takes. Each pass adds one, except those of
            `evaluate` and `predict`. `fit` begins with its `initial_epoch`, or where
            BackupAndRestore resumes.
        start_step: steps that the next pass skips at its beginning, to resume inside an epoch. A
            stream reads them, "shards" reads a few of them; with other data skipping costs nothing.
            Back to 0 after that pass.

    Raises:
        UserError: no examples, parts of different lengths, a batch size out of range, a data set
            that is batched or of unknown cardinality, first examples that cannot be read or
            decoded, an `augment` that fails or returns a different number of rows. In `fit`: the
            same Pipeline as validation_data, or an assignment of `batch_size`. In `fit` and
            `evaluate`: `class_weight` and the like, and labels for which the model has no output
            (all labels of data in memory are checked, otherwise those of the first examples). If
            reading the disk fails later, TensorFlow raises an error of its own, with the cause in
            its text.

    >>> x = np.arange(20, dtype="float32").reshape(10, 2)
    >>> train = Pipeline((x, np.arange(10)), batch_size=4, seed=1)
    >>> train.steps_per_epoch, [tuple(x.shape) for x, y in train.dataset(epoch=0)]
    (2, [(4, 2), (4, 2)])
    """

    def __init__(
        self,
        source: Any,
        batch_size: int,
        *,
        shuffle: bool | str = True,
        augment: Callable | None = None,
        decode: Callable | None = None,
        seed: int = 0,
        num_examples: int | None = None,
        shuffle_bytes: int = 1 << 30,
    ):
        super().__init__()
        whole = functools.partial(checks.integer, any_size=True)
        self.seed = whole("seed", seed, minimum=0)
        shuffle_bytes = whole("shuffle_bytes", shuffle_bytes, minimum=0)
        if num_examples is not None:
            num_examples = whole("num_examples", num_examples, minimum=1)
        shuffle = bool(shuffle) if isinstance(shuffle, np.bool_) else shuffle
        self._by_shards = isinstance(shuffle, str) and shuffle == SHARDS
        if not self._by_shards and not isinstance(shuffle, bool):
            raise UserError(f"shuffle: expected True, False or {SHARDS!r}, received {shuffle!r}")
        self.shuffle = bool(shuffle)
        for name, function in (("augment", augment), ("decode", decode)):
            if function is not None and not callable(function):
                raise UserError(f"{name}: expected a function or None, received {function!r}")
        self._reader = _reader_of(source, decode, num_examples, self._by_shards, shuffle_bytes)
        self._passes = self._reader.passes(self)
        self.num_examples: int = self._reader.num_rows
        self.augment = augment
        self._decode = decode
        self.node_parts = None
        self.batch_size = batch_size
        self._reader.try_first(self.shuffle, augment, self._batch_size)

    @property
    def batch_size(self) -> int:
        return self._batch_size

    @batch_size.setter
    def batch_size(self, value: int) -> None:
        call, arguments = running_call()
        if call == "fit" and arguments["x"] is self:
            # Keras has counted its steps, and the graph has its shapes.
            raise UserError(
                "batch_size: expected a callback that changes it inside fit, such as "
                "BatchSizeScheduler(pipeline, function), received an assignment of "
                f"{value!r}"
            )
        self._batch_size = self._own_batch_size = self._checked(value)

    def _checked(self, batch_size: int) -> int:
        size = checks.as_integer(batch_size)
        if size is None:
            raise UserError(f"batch_size: expected an integer, received {batch_size!r}")
        if size < 1 or self.shuffle and size > self.num_examples:
            raise UserError(
                f"batch_size: expected 1 to {self.num_examples} (the number of examples), "
                f"received {size}"
            )
        return size

    @property
    def steps_per_epoch(self) -> int:
        """Batches per epoch at the current batch size; if shuffled, a partial batch is dropped."""
        return count_steps(self.num_examples, self._batch_size, self.shuffle)

    def set_node_shards(self, parts: np.ndarray) -> None:
        """Assigns the rows `parts[i]` to node i of n; `lbkeras.data.shard_by_label` makes `parts`.

        In every batch of B examples, rows [i B / n, (i + 1) B / n) then come from node i's part, in
        a different order each epoch. `num_examples` counts the rows of all parts.

        Args:
            parts: integers, `(num_nodes, examples per node)`.

        Raises:
            UserError: the data are not in memory or not shuffled, or a part has a row that the data
                do not have.
        """
        if not self._reader.in_memory or not self.shuffle:
            raise UserError("parts: expected shuffled data in memory, received other data")
        parts = np.asarray(parts)
        rows = self._reader.num_rows
        if parts.ndim != 2 or not parts.size or parts.min() < 0 or parts.max() >= rows:
            raise UserError(
                f"parts: expected rows below {rows} of shape (nodes, examples per node), "
                f"received an array of shape {parts.shape}"
            )
        self.node_parts = parts
        self._passes = self._reader.passes(self)
        self.num_examples = parts.size
        self.batch_size = self._batch_size

    def in_order(self, batch_size: int, examples: int | None = None) -> "Pipeline":
        """Returns the same data for evaluation: each example once, in the source's order.

        They are not augmented. `decode` still applies, with the same seeds in each pass.

        Args:
            batch_size: in examples; reduced to `examples` if larger.
            examples: how many to take from the beginning; None: all.

        Raises:
            UserError: `examples` is below 1 or above the number of examples.
        """
        most = self._reader.num_rows
        examples = most if examples is None else examples
        if not 1 <= examples <= most:
            raise UserError(f"examples: expected 1 to {most}, received {examples!r}")
        source, size = self._reader.first_rows(examples), min(batch_size, examples)
        return Pipeline(source, size, shuffle=False, decode=self._decode, seed=self.seed)

    def copy(self, batch_size: int | None = None, seed: int | None = None) -> "Pipeline":
        """Returns an independent Pipeline of the same data, which begins at epoch 0.

        Args:
            batch_size: global batch size in examples; None: the current one.
            seed: for the order and the augmentation; None: this Pipeline's.

        Raises:
            UserError: `batch_size` or `seed` is out of range.
        """
        made = copy.copy(self)
        KerasAdapter.__init__(made)  # no pass, epoch or strategy is copied
        made._passes = self._reader.passes(made)
        if seed is not None:
            made.seed = checks.integer("seed", seed, minimum=0, any_size=True)
        made.batch_size = self.batch_size if batch_size is None else batch_size
        return made

    def fingerprint(self) -> dict:
        """Returns plain data by which a later process recognizes the data: form, number, hash.

        The hash covers all bytes of data in memory. Of other data it covers the first examples, if
        these are the same in each pass.
        """
        elements = keras.tree.map_structure(
            lambda part: f"{part.dtype.name} {part.shape[1:]}", self.element_spec
        )
        return {
            "num_examples": self.num_examples,
            "elements": str(elements),
            "hash": self._reader.hash,
            "shuffle_buffer": self._reader.buffer,  # 0: none
            "augment": describe(self.augment),
            "decode": describe(self._decode),
        }

    def contents(self) -> tuple[str, str]:
        """Returns what the hash covers, "all" bytes or the "first" examples, and the hash.

        The hash is empty if the first examples differ from pass to pass.
        """
        return "all" if self._reader.in_memory else "first", self._reader.hash

    def labels(self) -> np.ndarray:
        """Returns the targets of data in memory, in the source's order.

        Raises:
            UserError: the data are not in memory, or their targets are not one array.
        """
        if not self._reader.in_memory:
            received = "a source that is not in memory"
        elif (labels := self._reader.labels()) is None:
            received = "x alone"
        elif isinstance(labels, np.ndarray):
            return labels
        else:
            received = f"a {type(labels).__name__} as y"
        raise UserError(f"labels: expected (x, y) in memory with one array y, received {received}")

    def label_range(self) -> tuple[int, int] | None:
        """Returns the lowest and the highest integer label, or None without integer labels.

        Covers all labels of data in memory, otherwise those of the first examples.
        """
        return self._reader.label_range

    def order(self, workers: int = 1) -> str:
        """Describes an epoch's order; a checkpoint from inside an epoch resumes only in the same.

        Args:
            workers: how many train together.
        """
        if not self.shuffle:
            return "the source's"
        if self._by_shards:
            pieces = f"pieces of files, {self._reader.buffer:,} examples at a time"
            return f"{pieces}, files: {self._reader.shards:,}, workers: {workers}"
        buffer = self._reader.buffer
        return f"a buffer of {buffer:,} examples" if buffer else "a permutation"

    def resumes_in(self, order: str | None, workers: int = 1) -> bool:
        """Whether epochs with this number of workers have a checkpoint's `order`.

        None means a checkpoint from an lbkeras that did not record the order and shuffled sets
        on disk through a buffer.
        """
        if order is None:
            return not (self.shuffle and self._reader.can_be_read_in_any_order)
        return order == self.order(workers)

    @property
    def begins_anywhere(self) -> bool:
        """Whether a pass can begin at a later step without reading all that precedes it."""
        return not self._reader.is_stream

    @property
    def element_spec(self) -> Any:
        """The shapes and dtypes of a batch."""
        return self._passes.element_spec

    def dataset(self, epoch: int = 0, start_step: int = 0) -> Any:
        """Returns the batches of one epoch at the current batch size, as a `tf.data.Dataset`.

        For data that JAX reads, an object with `iter`, `len`, `take` and `as_numpy_iterator`.
        """
        return self._passes.dataset(epoch, start_step)


def _reader_of(source, *settings):
    """Returns the source's reader: on Keras' JAX backend without tf.data, except for streams."""
    if on_jax():
        from lbkeras.data.jax_reader import JaxReader, reads

        if reads(source):
            return JaxReader(source, *settings)
    from lbkeras.data.tensorflow_reader import TensorFlowReader

    return TensorFlowReader(source, *settings)
