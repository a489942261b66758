"""One input pipeline whose batch size may change between the epochs of one `model.fit`."""

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
    """Batches of a data set for `model.fit`, `evaluate` and `predict`, given as their `x`.

    The order of epoch e is a pure function of (seed, e). With `shuffle=True` (training) every batch
    has the same static shape and the `num_examples % batch_size` examples left over are dropped: a
    different set each epoch; of a stream that the shuffle buffer does not hold, some of those near
    its end. With `shuffle=False` (evaluation) the order is the source's and the last, smaller batch
    is kept. Used alone it is an ordinary data set of known length; with
    `lbkeras.callbacks.BatchSizeScheduler` its batch size follows the schedule.

    Data in memory and data that are read in any order (prepared sets on the disk, your own object)
    have one order: a uniform permutation of all examples in each epoch, whatever the batch size, so
    that the same set gives the same batches either way. A stream is not as well shuffled: an
    example comes at most a buffer's length before its place, and much the same ones meet in the
    next epoch. `shuffle="shards"` lies in between, for storage that is slow at single examples:
    pieces of files are read in a permuted order, and the examples of about 64 at a time permuted in
    memory (`lbkeras.data.order.order_of_shards`). Batches differ nearly as much, but a set that is
    sorted by class stays so within 64 pieces, a resume inside an epoch reads up to half of
    `shuffle_bytes` first, and the order depends on the number of workers.

    Under a strategy each replica gets its part of every global batch, the same examples that one
    device would get in that step. With several workers data in memory are augmented as one batch,
    so that the result is one device's; of other data each worker decodes its own rows only, and
    `augment` gets those, with a seed of their own. In any order it reads its own rows only; of a
    stream it reads all. The last batch of an evaluation counts each of its examples once, however
    few they are. All of it needs a strategy from `lbkeras.distribution.strategy`, or
    `lbkeras.distribution.patch_keras()`.

    On Keras' JAX backend TensorFlow is not needed, but for streams. Arrays go to the device once,
    if they take no more than a quarter of its memory; of each step only the numbers of its rows and
    a seed go there. Others are read in threads. Devices of a `keras.distribution` divide a batch.

    Keras drops `fit(class_weight=...)`, `sample_weight`, `y` and `batch_size` beside such an
    object; they are refused. Give weights as the source's third part, `(x, y, class_weights[y])`.

    Args:
        source: `(x, y)` or `(x, y, sample_weight)`, or x alone, which is no tuple: each an array, a
            list of numbers, or a dict, list or tuple of them, with one row an example, kept in
            memory (for training with up to two copies more, in the orders of this epoch and the
            next). Or an object with `len(source)` and `source[i]`, an example as arrays or numbers,
            the same whenever it is read, and where it has it `source.__getitems__([i, ...])`: a
            PyTorch or Grain data set, `tfds.data_source(...)`. It stays where it is; one thread at
            a time reads it. Or a stream, an unbatched `tf.data.Dataset` of such examples, which is
            shuffled through a buffer. Rows of variable length are padded with zeros to the longest
            of their batch. Or what Keras takes in batches, whose examples become such a stream: a
            `PyDataset`, read by one thread, its `on_epoch_end` not called, or a function without
            arguments that makes a generator. A generator itself can be read only once: it is read
            to its end, into memory.
        batch_size: global batch size in examples, 1 to `num_examples` (with `shuffle=False` it may
            be larger). Set it between fits; inside one a `BatchSizeScheduler` does.
        shuffle: True for training, False for evaluation; or "shards", which trains on what is read
            in any order without reading it so.
        augment: `(x, seed) -> x` on a whole batch, inside tf.data, on Keras' JAX backend jitted on
            the device; `seed` is an int32 tensor of shape (2,), a pure function of (seed, epoch,
            step). None: the data as they are.
        decode: for a source that is not in memory, `(example, seed) -> example` before batching,
            inside tf.data, on Keras' JAX backend of NumPy arrays; `seed` is an int32 tensor of
            shape (2,), a pure function of (seed, epoch, place in the epoch).
        seed: integer that orders and augments the data.
        num_examples: how many examples a pass over the source has, where it does not know that: a
            generator, or a `tf.data.Dataset` of unknown cardinality. If it is wrong the pass ends
            with an error.
        shuffle_bytes: host memory for the buffer that a stream is shuffled through, at least 0.
            Default 1 GiB. It holds as many examples as fit, by the mean size of the first 32, and
            each batch is drawn from it: a stream sorted by class needs one that holds it all, or
            several classes at least. The orders depend on it. With `shuffle="shards"` it holds the
            examples that are permuted together, and the next ones. Other data do not need it.

    Attributes:
        num_examples: examples in the source.
        epoch: the epoch whose order the next pass takes; each pass adds one, but for those of
            `evaluate` and `predict`; `fit` begins with its `initial_epoch` (or where
            BackupAndRestore goes on).
        start_step: steps that the next pass leaves out at its beginning (to resume inside an
            epoch; of a stream they are read, with "shards" a few of them, of other data it costs
            nothing); back to 0 after that pass.

    Raises:
        UserError: no examples, parts of different lengths, a batch size out of range, a data set
            that is batched or of unknown cardinality, first examples that cannot be read or
            decoded, an `augment` that fails or returns another number of rows; in `fit`, its own
            object as validation_data, an assignment of `batch_size`; in `fit` and `evaluate`,
            `class_weight` and the like, and labels in memory beyond the model's outputs. What the
            disk has later TensorFlow raises as an error of its own, with the cause in its text.

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
        """Batches an epoch at the present batch size: the remainder dropped if shuffled."""
        return count_steps(self.num_examples, self._batch_size, self.shuffle)

    def set_node_shards(self, parts: np.ndarray) -> None:
        """Lets node i of n own the rows `parts[i]`; `lbkeras.data.shard_by_label` makes such parts.

        Of every batch of B examples, rows [i B / n, (i + 1) B / n) then come from node i's part,
        each epoch in another order. `num_examples` counts the rows of all parts.

        Args:
            parts: integers, `(num_nodes, examples of a node)`.

        Raises:
            UserError: the data are not in memory or not shuffled, or a part has other rows.
        """
        if not self._reader.in_memory or not self.shuffle:
            raise UserError("parts: expected shuffled data in memory, received others")
        parts = np.asarray(parts)
        rows = self._reader.num_rows
        if parts.ndim != 2 or not parts.size or parts.min() < 0 or parts.max() >= rows:
            raise UserError(
                f"parts: expected rows below {rows} of shape (nodes, examples of a node), "
                f"received an array of shape {parts.shape}"
            )
        self.node_parts = parts
        self._passes = self._reader.passes(self)
        self.num_examples = parts.size
        self.batch_size = self._batch_size

    def in_order(self, batch_size: int, examples: int | None = None) -> "Pipeline":
        """The same data for evaluation: each example once, in the source's order, not augmented.

        What `decode` makes of them stays, with the same seeds in each pass.

        Args:
            batch_size: at most; in examples.
            examples: the first so many; None: all.

        Raises:
            UserError: more examples than there are, or none.
        """
        most = self._reader.num_rows
        examples = most if examples is None else examples
        if not 1 <= examples <= most:
            raise UserError(f"examples: expected 1 to {most}, received {examples!r}")
        source, size = self._reader.first_rows(examples), min(batch_size, examples)
        return Pipeline(source, size, shuffle=False, decode=self._decode, seed=self.seed)

    def copy(self, batch_size: int | None = None, seed: int | None = None) -> "Pipeline":
        """The same data in a Pipeline of its own, which begins at epoch 0.

        Args:
            batch_size: global; None: the present one.
            seed: that orders and augments; None: this one's.

        Raises:
            UserError: as the Pipeline itself.
        """
        made = copy.copy(self)
        KerasAdapter.__init__(made)  # no pass, epoch or strategy of this one's
        made._passes = self._reader.passes(made)
        if seed is not None:
            made.seed = checks.integer("seed", seed, minimum=0, any_size=True)
        made.batch_size = self.batch_size if batch_size is None else batch_size
        return made

    def fingerprint(self) -> dict:
        """Plain data by which a later process knows the same data: form, number, hash.

        Data in memory are known by all of their bytes, others by their first examples, if these are
        the same in each pass.
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
        """By what the data are known, "all" of their bytes or the "first" examples, and its hash.

        The hash is empty where the first examples are others in each pass.
        """
        return "all" if self._reader.in_memory else "first", self._reader.hash

    def labels(self) -> np.ndarray:
        """The targets of data in memory, in the source's order."""
        labels = self._reader.labels() if self._reader.in_memory else None
        if labels is None:
            received = "x alone" if self._reader.in_memory else "a source on the disk"
            raise UserError(f"labels: expected (x, y) in memory, received {received}")
        return labels

    def label_range(self) -> tuple[int, int] | None:
        """The lowest and the highest integer label: in memory of all, otherwise of the first ones.

        None: other targets, or none.
        """
        return self._reader.label_range

    def order(self, workers: int = 1) -> str:
        """How an epoch is ordered; a checkpoint inside one resumes in the same order only.

        Args:
            workers: that train together.
        """
        if not self.shuffle:
            return "the source's"
        if self._by_shards:
            pieces = f"pieces of files, {self._reader.buffer:,} examples at a time"
            return f"{pieces}, files: {self._reader.shards:,}, workers: {workers}"
        buffer = self._reader.buffer
        return f"a buffer of {buffer:,} examples" if buffer else "a permutation"

    def resumes_in(self, order: str | None, workers: int = 1) -> bool:
        """Whether the epochs of so many workers have the `order` that a checkpoint's had.

        None: an lbkeras wrote it that shuffled sets on the disk through a buffer.
        """
        if order is None:
            return not (self.shuffle and self._reader.can_be_read_in_any_order)
        return order == self.order(workers)

    @property
    def begins_anywhere(self) -> bool:
        """Whether a pass from a later step reads little of what comes before: no stream's does."""
        return not self._reader.is_stream

    @property
    def element_spec(self) -> Any:
        """The shapes and types of a batch."""
        return self._passes.element_spec

    def dataset(self, epoch: int = 0, start_step: int = 0) -> Any:
        """The batches of one epoch at the present batch size, as a `tf.data.Dataset`.

        Of data that JAX reads an object with `iter`, `len`, `take` and `as_numpy_iterator`.
        """
        return self._passes.dataset(epoch, start_step)


def _reader_of(source, *settings):
    """What reads a source: on Keras' JAX backend without tf.data, but for streams of its own."""
    if on_jax():
        from lbkeras.data.jax_reader import JaxReader, reads

        if reads(source):
            return JaxReader(source, *settings)
    from lbkeras.data.tensorflow_reader import TensorFlowReader

    return TensorFlowReader(source, *settings)
