"""Checks a stream by its first examples and by the specification of its elements."""

import math
import warnings

import numpy as np
import tensorflow as tf

from lbkeras.data.labels import is_integer
from lbkeras.data.reading import user_error
from lbkeras.errors import UserError
from lbkeras.keras_internals.tf_data import steps_of, varies


def is_ragged(dataset: tf.data.Dataset) -> bool:
    """Whether examples have rows of variable length, which a batch pads with zeros to the longest.

    Images of unknown height and width do not count: they must all have the same size.
    """
    shapes = [spec.shape for spec in tf.nest.flatten(dataset.element_spec)]
    return any(shape.rank and shape[0] is None and None not in shape[1:] for shape in shapes)


class FirstExamples:
    """The first examples of a stream, read when a Pipeline is made, to find errors early.

    Attributes:
        bytes_each: mean host memory that an example takes in a shuffle buffer.

    Raises:
        UserError: the examples cannot be read, or are batches.
    """

    def __init__(self, dataset: tf.data.Dataset):
        options = tf.data.Options()
        options.autotune.enabled = False
        first = dataset.take(MOST_FIRST).with_options(options)
        try:
            self._examples = [tf.nest.flatten(each) for each in first.as_numpy_iterator()]
        except tf.errors.OpError as error:
            raise user_error("source", error) from error
        _check_unbatched(dataset, self._examples)
        sizes = [bytes_of(part) for each in self._examples for part in each]
        self.bytes_each = math.ceil(sum(sizes) / len(self._examples))
        self._specification = dataset.element_spec

    def labels(self) -> np.ndarray | None:
        """Returns their targets in one array if these are integers, else None."""
        spec = self._specification
        if not isinstance(spec, tuple) or len(spec) < 2 or not is_integer(spec[1]):
            return None
        place = len(tf.nest.flatten(spec[0]))
        return np.concatenate([np.ravel(each[place]) for each in self._examples])

    def label_range(self) -> tuple[int, int] | None:
        """Returns the lowest and the highest of `labels()`."""
        labels = self.labels()
        return None if labels is None or not len(labels) else (int(labels.min()), int(labels.max()))


MOST_FIRST = 32  # examples
_BYTES_OF_A_TENSOR = 256  # overhead of a tensor beside its numbers; measured: 234


def bytes_of(part) -> int:
    """Returns the host memory that a part of an example takes as a tensor."""
    if isinstance(part, bytes):
        return _BYTES_OF_A_TENSOR + len(part)
    part = np.asarray(part)
    size = sum(map(len, part.flat)) if part.dtype == object else part.nbytes
    return _BYTES_OF_A_TENSOR + size


def warn_of_own_order(dataset: tf.data.Dataset) -> None:
    """Warns if a stream differs from pass to pass and from process to process."""
    found = varies(dataset)
    if found:
        instead = {
            "shuffles itself": "Leave .shuffle() out (image_dataset_from_directory: "
            "shuffle=False); Pipeline shuffles the stream itself",
            "is not deterministic": "Leave deterministic=False out",
            "draws random numbers itself": "Draw them in Pipeline(augment=...) or decode, from the "
            "seed that these get",
        }[found]
        warnings.warn(
            f"source: the stream {found}, so it differs in each pass and process: an "
            "epoch that is resumed in its middle skips some examples and repeats others, or "
            f"changes them. {instead}",
            stacklevel=3,
        )


def warn_of_one_class(
    first: FirstExamples, buffer: int, num_examples: int, by_shards: bool = False
) -> None:
    """Warns if data seem sorted by class and the shuffle buffer does not hold them all.

    Args:
        first: the first examples of the data.
        buffer: how many examples the shuffle buffer holds.
        num_examples: in all.
        by_shards: whether the buffer is filled with pieces of files.
    """
    labels = first.labels()
    if labels is None or buffer >= num_examples or len(labels) < MOST_FIRST:
        return
    if len(set(labels.tolist())) == 1:
        sorted_by_class = (
            "sorted by class, a batch has the classes of about 64 pieces only. Use shuffle=True"
            if by_shards
            else "sorted by class, so are the batches. Raise shuffle_bytes"
        )
        warnings.warn(
            f"source: the first {len(labels)} examples all have the label {labels[0]}, and the "
            f"shuffle buffer holds {buffer:,} of {num_examples:,}: if they are {sorted_by_class}, "
            "or store the examples in another order",
            stacklevel=3,
        )


_MAKE_EXAMPLES = ("flatmap", "interleave", "tensorslice", "window")


def check_last_steps(dataset: tf.data.Dataset) -> bool:
    """Whether the dataset's last steps are known to make examples; refuses steps that make batches.

    Raises:
        UserError: the elements are batches.
    """
    for step in steps_of(dataset):
        if "unbatch" in step:
            return True
        if any(each in step for each in _MAKE_EXAMPLES):
            return False
        if "batch" in step:
            raise _batched(dataset)
    return False


def _check_unbatched(dataset: tf.data.Dataset, examples: list) -> None:
    if check_last_steps(dataset):
        return
    shapes = [spec.shape for spec in tf.nest.flatten(dataset.element_spec)]
    if not all(shape.rank and shape[0] is None for shape in shapes):
        return
    # Either batches or rows of variable length: all parts of a batch have the same length, and so
    # do nearly all batches.
    lengths = [{len(part) for part in example} for example in examples[:2]]
    if len(lengths[0]) == 1 and lengths[0] == lengths[-1]:
        raise _batched(dataset)


def _batched(dataset: tf.data.Dataset) -> UserError:
    return UserError(
        "source: expected an unbatched tf.data.Dataset, received batches "
        f"{dataset.element_spec}; apply .unbatch()"
    )
