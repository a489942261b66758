"""What a Pipeline reads: arrays in memory, or a stream of examples."""

import numbers
import warnings

import keras
import numpy as np
import tensorflow as tf

from lbkeras.errors import UserError
from lbkeras.keras_internals.tf_data import steps_of


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
                "apply tf.data.experimental.assert_cardinality(number_of_examples)"
            )
        spec = source.element_spec
        if isinstance(spec, tuple) and not 1 <= len(spec) <= 3:
            raise UserError(
                "source: expected a tf.data.Dataset of (x, y) or (x, y, sample_weight) examples, "
                f"received elements {source.element_spec}"
            )
        _check_unbatched(source)
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


def warn_of_own_order(dataset: tf.data.Dataset) -> None:
    """Says that a stream which shuffles itself has another order in each pass and process."""
    if any("shuffle" in step for step in steps_of(dataset)):
        warnings.warn(
            "source: the stream shuffles itself, so its order is another one in each process: an "
            "epoch that is resumed in its middle leaves examples out and repeats others. Leave "
            ".shuffle() out, Pipeline shuffles the stream itself",
            stacklevel=3,
        )


_MAKE_EXAMPLES = ("unbatch", "flatmap", "interleave", "tensorslice", "window")


def _check_unbatched(dataset: tf.data.Dataset) -> None:
    for step in steps_of(dataset):
        if any(each in step for each in _MAKE_EXAMPLES):
            break
        if "batch" in step:
            raise _batched(dataset)
    shapes = [spec.shape for spec in tf.nest.flatten(dataset.element_spec)]
    if not all(shape.rank and shape[0] is None for shape in shapes):
        return
    # Either batches or rows of variable length; batches have one length in all parts and mostly.
    lengths = [{len(part) for part in tf.nest.flatten(element)} for element in dataset.take(2)]
    if len(lengths[0]) == 1 and lengths[0] == lengths[-1]:
        raise _batched(dataset)


def _batched(dataset: tf.data.Dataset) -> UserError:
    return UserError(
        "source: expected an unbatched tf.data.Dataset, received batches "
        f"{dataset.element_spec}; apply .unbatch()"
    )
