"""What a Pipeline reads: arrays in memory as tensors; how many examples a source has."""

import numbers

import keras
import numpy as np
import tensorflow as tf

from lbkeras.errors import UserError
from lbkeras.fingerprint import digest_of


def tensors(source) -> tuple:
    """`(x,)`, `(x, y)` or `(x, y, sample_weight)` as tensors in host memory."""

    def tensor(part):
        part = tf.convert_to_tensor(part)
        return tf.cast(part, keras.config.floatx()) if part.dtype.is_floating else part  # as Keras

    with tf.device("CPU:0"):
        return tf.nest.map_structure(tensor, arrays(source))


def arrays(source) -> tuple:
    """`(x,)`, `(x, y)` or `(x, y, sample_weight)` as NumPy arrays, or the tensors that they are.

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
    return tuple(_as_arrays(part) for part in source)


def _as_arrays(part):
    if isinstance(part, dict):
        return {name: _as_arrays(value) for name, value in part.items()}
    if isinstance(part, list | tuple) and not _is_one_array(part):
        return tuple(_as_arrays(each) for each in part)
    kind = type(part).__name__
    if isinstance(part, tf.RaggedTensor):
        raise UserError(_NOT_DENSE.format("a RaggedTensor; apply .to_tensor(), which pads it"))
    if isinstance(part, tf.SparseTensor):
        raise UserError(_NOT_DENSE.format("a SparseTensor; apply tf.sparse.to_dense"))
    if type(part).__module__.startswith("scipy.sparse"):
        raise UserError(_NOT_DENSE.format(f"a {kind}; apply .toarray()"))
    if tf.is_tensor(part):
        return part
    try:
        array = np.asarray(part)
    except ValueError:  # NumPy says it in many words
        raise UserError(
            _NOT_DENSE.format("rows of different lengths; pad them to one length")
        ) from None
    if array.dtype.kind in "SU":
        array = np.array(part, object)  # with the zeros that may end a string
    if array.dtype == object and not all(isinstance(each, str | bytes) for each in array.flat):
        raise UserError(_NOT_DENSE.format("an array of Python objects"))
    return array


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
    if not isinstance(source, tuple):
        is_stream = isinstance(source, tf.data.Dataset)
        number = int(source.cardinality()) if is_stream else source.num_examples
        if number < 0:
            raise UserError(
                "source: expected a tf.data.Dataset of known, finite cardinality, received one of "
                f"{'infinite' if number == -1 else 'unknown'} cardinality; "
                "give its num_examples"
            )
        spec = source.element_spec
        if isinstance(spec, tuple) and not 1 <= len(spec) <= 3:
            raise UserError(
                f"source: expected {'a tf.data.Dataset of ' * is_stream}(x, y) or (x, y, "
                f"sample_weight) examples, received elements {source.element_spec}"
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


_EXAMPLES_OF_A_STREAM = 8


def hash_of(source) -> str:
    """A hash of tensors, or of a stream's first examples; "" for one that is never the same."""
    if isinstance(source, tuple):
        return digest_of([part.numpy() for part in tf.nest.flatten(source)])
    first, again = (
        digest_of([tf.nest.flatten(each) for each in taken.as_numpy_iterator()])
        for taken in [source.take(_EXAMPLES_OF_A_STREAM)] * 2
    )
    return first if first == again else ""
