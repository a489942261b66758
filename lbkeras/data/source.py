"""What a Pipeline reads: arrays in memory, or a stream of examples."""

import math
import numbers
import warnings

import keras
import numpy as np
import tensorflow as tf

from lbkeras.data.labels import is_integer
from lbkeras.data.reading import reason, user_error
from lbkeras.errors import UserError
from lbkeras.keras_internals.tf_data import steps_of, varies


def tensors(source) -> tuple:
    """`(x,)`, `(x, y)` or `(x, y, sample_weight)` as tensors in host memory.

    Lists of arrays become tuples, as in Keras; nested lists of numbers or strings one array.
    """
    if not isinstance(source, tuple):
        if isinstance(source, list) and not _is_one_array(source):
            raise UserError(
                "source: expected (x, y) or (x, y, sample_weight) as a tuple, received a list; "
                "several inputs are a list inside of it: ([a, b], y)"
            )
        source = (source,)
    while len(source) > 1 and source[-1] is None:  # Keras' habit: (x, y, None)
        source = source[:-1]
    if not 1 <= len(source) <= 3:
        raise UserError(
            "source: expected (x, y) or (x, y, sample_weight) arrays or an unbatched "
            f"tf.data.Dataset, received a tuple of length {len(source)}"
        )
    with tf.device("CPU:0"):
        return tuple(_as_tensors(part) for part in source)


def _as_tensors(part):
    """A structure of arrays as a structure of tensors."""
    if isinstance(part, dict):
        return {name: _as_tensors(value) for name, value in part.items()}
    if isinstance(part, list | tuple) and not _is_one_array(part):
        return tuple(_as_tensors(each) for each in part)
    kind = type(part).__name__
    if isinstance(part, tf.RaggedTensor):
        raise UserError(_NOT_DENSE.format("a RaggedTensor; apply .to_tensor(), which pads it"))
    if isinstance(part, tf.SparseTensor):
        raise UserError(_NOT_DENSE.format("a SparseTensor; apply tf.sparse.to_dense"))
    if type(part).__module__.startswith("scipy.sparse"):
        raise UserError(_NOT_DENSE.format(f"a {kind}; apply .toarray()"))
    if not tf.is_tensor(part):
        try:
            part = np.asarray(part)
        except ValueError:  # NumPy says it in many words
            raise UserError(
                _NOT_DENSE.format("rows of different lengths; pad them to one length")
            ) from None
        if part.dtype == object and not all(isinstance(each, str | bytes) for each in part.flat):
            raise UserError(_NOT_DENSE.format("an array of Python objects"))
    part = tf.convert_to_tensor(part)
    return tf.cast(part, keras.config.floatx()) if part.dtype.is_floating else part  # as Keras does


_NOT_DENSE = "source: expected dense arrays of numbers or strings, received {}"


def _is_one_array(values: list | tuple) -> bool:
    """Whether these are nested lists of numbers or strings, as `np.array` takes them."""
    return all(
        _is_one_array(each)
        if isinstance(each, list | tuple)
        else isinstance(each, numbers.Number | str | bytes)
        for each in values
    )


def count(source) -> int:
    """How many examples the source has; refuses what a Pipeline cannot read."""
    if isinstance(source, tf.data.Dataset):
        number = int(source.cardinality())
        if number < 0:
            raise UserError(
                "source: expected a tf.data.Dataset of known, finite cardinality, received one of "
                f"{'infinite' if number == -1 else 'unknown'} cardinality; "
                "give its num_examples"
            )
        spec = source.element_spec
        if isinstance(spec, tuple) and not 1 <= len(spec) <= 3:
            raise UserError(
                "source: expected a tf.data.Dataset of (x, y) or (x, y, sample_weight) examples, "
                f"received elements {source.element_spec}"
            )
        for each in tf.nest.flatten(spec):
            if not isinstance(each, tf.TensorSpec):
                kind = type(each).__name__.removesuffix("Spec")
                raise UserError(_NOT_DENSE.format(f"a stream of {kind}s"))
    else:
        if any(part.shape.rank == 0 for part in tf.nest.flatten(source)):
            raise UserError("source: expected arrays with one row an example, received a scalar")
        counts = {len(part) for part in tf.nest.flatten(source)}
        if len(counts) > 1:
            raise UserError(
                "source: expected parts with the same number of examples, received "
                + " and ".join(str(each) for each in sorted(counts))
            )
        number = counts.pop()
    if number == 0:
        raise UserError("source: expected at least one example, received none (an empty split?)")
    return number


def is_ragged(dataset: tf.data.Dataset) -> bool:
    """Whether examples have rows of variable length, which a batch pads with zeros to the longest.

    Images whose height and width are not known are not among them: they have to be of one size.
    """
    shapes = [spec.shape for spec in tf.nest.flatten(dataset.element_spec)]
    return any(shape.rank and shape[0] is None and None not in shape[1:] for shape in shapes)


class FirstExamples:
    """The first examples of a stream, read when a Pipeline is made: what can be known of it early.

    Attributes:
        bytes_each: host memory that one takes in a shuffle buffer, their mean.

    Raises:
        UserError: they cannot be read, or are batches.
    """

    def __init__(self, dataset: tf.data.Dataset):
        options = tf.data.Options()
        options.autotune.enabled = False
        first = dataset.take(_MOST_FIRST).with_options(options)
        try:
            self._examples = [tf.nest.flatten(each) for each in first.as_numpy_iterator()]
        except tf.errors.OpError as error:
            raise user_error("source", error) from error
        _check_unbatched(dataset, self._examples)
        sizes = [_bytes_of(part) for each in self._examples for part in each]
        self.bytes_each = math.ceil(sum(sizes) / len(self._examples))
        self._specification = dataset.element_spec

    def labels(self) -> np.ndarray | None:
        """Their targets where these are integers, one after the other; None: others, or none."""
        spec = self._specification
        if not isinstance(spec, tuple) or len(spec) < 2 or not is_integer(spec[1]):
            return None
        place = len(tf.nest.flatten(spec[0]))
        return np.concatenate([np.ravel(each[place]) for each in self._examples])

    def label_range(self) -> tuple[int, int] | None:
        """The lowest and the highest of `labels()`."""
        labels = self.labels()
        return None if labels is None or not len(labels) else (int(labels.min()), int(labels.max()))


_MOST_FIRST = 32  # examples
_BYTES_OF_A_TENSOR = 256  # what TensorFlow keeps of one beside its numbers; measured: 234


def _bytes_of(part) -> int:
    if isinstance(part, bytes):
        return _BYTES_OF_A_TENSOR + len(part)
    part = np.asarray(part)
    size = sum(map(len, part.flat)) if part.dtype == object else part.nbytes
    return _BYTES_OF_A_TENSOR + size


def decoded_specification(dataset: tf.data.Dataset, decode):
    """The form of a stream's examples, decoded; the first one is decoded to see that it can be."""
    if decode is None:
        return dataset.element_spec
    seed = tf.zeros(2, tf.int32)

    def decoded(*example):
        return decode(example if isinstance(dataset.element_spec, tuple) else example[0], seed)

    try:
        first = dataset.take(1).map(decoded)
        next(iter(first))
    except Exception as error:
        raise UserError(
            f"decode: expected a function of (example, seed) that decodes the first example, "
            f"received one that fails: {_last_line(error)}"
        ) from error
    return first.element_spec


def check_augment(augment, x, rows: int) -> None:
    """Refuses a function that fails, or that does not return as many rows as it gets.

    Args:
        augment: of a Pipeline.
        x: the form of an example's first part.
        rows: of a batch.
    """
    batch = tf.nest.map_structure(lambda s: tf.TensorSpec((rows, *s.shape), s.dtype), x)
    seed = tf.TensorSpec((2,), tf.int32)
    try:
        traced = tf.function(lambda x, seed: augment(x, seed)).get_concrete_function(batch, seed)
    except Exception as error:
        raise UserError(
            "augment: expected a function of (x, seed) that returns x, received one that fails: "
            f"{_last_line(error)}"
        ) from error
    returned = tf.nest.flatten(traced.structured_outputs)
    shapes = [getattr(part, "shape", None) for part in returned]
    for shape in shapes:
        if shape is None or shape.rank == 0 or shape.rank and shape[0] not in (rows, None):
            received = "None" if shape is None else f"shape {tuple(shape)}"
            raise UserError(f"augment: expected {rows} rows as it gets, received {received}")


def _last_line(error: Exception) -> str:
    if isinstance(error, tf.errors.OpError):
        return reason(error)
    return (str(error).split("\n\n")[-1].strip() or type(error).__name__).replace("\n", " ")


def warn_of_own_order(dataset: tf.data.Dataset) -> None:
    """Says that a stream is another one in each pass and process."""
    found = varies(dataset)
    if found:
        instead = {
            "shuffles itself": "Leave .shuffle() out (image_dataset_from_directory: "
            "shuffle=False), Pipeline shuffles the stream itself",
            "is not deterministic": "Leave deterministic=False out",
            "draws random numbers itself": "Draw them in Pipeline(augment=...) or decode, by the "
            "seed that these get",
        }[found]
        warnings.warn(
            f"source: the stream {found}, so it is another one in each pass and process: an "
            "epoch that is resumed in its middle leaves examples out and repeats others, or "
            f"changes them. {instead}",
            stacklevel=3,
        )


def warn_of_one_class(first: FirstExamples, buffer: int, num_examples: int) -> None:
    """Says that a stream seems sorted by class, and the shuffle buffer does not hold it."""
    labels = first.labels()
    if labels is None or buffer >= num_examples or len(labels) < _MOST_FIRST:
        return
    if len(set(labels.tolist())) == 1:
        warnings.warn(
            f"source: the first {len(labels)} examples all have the label {labels[0]}, and the "
            f"shuffle buffer holds {buffer:,} of {num_examples:,}: if the stream is sorted by "
            "class, so are the batches. Raise shuffle_bytes, or store the examples in another "
            "order",
            stacklevel=3,
        )


_MAKE_EXAMPLES = ("flatmap", "interleave", "tensorslice", "window")


def _check_unbatched(dataset: tf.data.Dataset, examples: list) -> None:
    for step in steps_of(dataset):
        if "unbatch" in step:
            return
        if any(each in step for each in _MAKE_EXAMPLES):
            break
        if "batch" in step:
            raise _batched(dataset)
    shapes = [spec.shape for spec in tf.nest.flatten(dataset.element_spec)]
    if not all(shape.rank and shape[0] is None for shape in shapes):
        return
    # Either batches or rows of variable length; batches have one length in all parts and mostly.
    lengths = [{len(part) for part in example} for example in examples[:2]]
    if len(lengths[0]) == 1 and lengths[0] == lengths[-1]:
        raise _batched(dataset)


def _batched(dataset: tf.data.Dataset) -> UserError:
    return UserError(
        "source: expected an unbatched tf.data.Dataset, received batches "
        f"{dataset.element_spec}; apply .unbatch()"
    )
