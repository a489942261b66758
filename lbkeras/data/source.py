"""Makes tensors of arrays in memory; counts and hashes the examples of a source."""

import keras
import tensorflow as tf

from lbkeras.data.arrays import NOT_DENSE, arrays, count_rows, no_examples
from lbkeras.errors import UserError
from lbkeras.fingerprint import digest_of


def tensors(source) -> tuple:
    """Returns `(x,)`, `(x, y)` or `(x, y, sample_weight)` as tensors in host memory."""

    def tensor(part):
        part = tf.convert_to_tensor(part)
        return tf.cast(part, keras.config.floatx()) if part.dtype.is_floating else part  # as Keras

    with tf.device("CPU:0"):
        return tf.nest.map_structure(tensor, arrays(source))


def count(source) -> int:
    """Returns the number of examples of a source; refuses what a Pipeline cannot read."""
    if isinstance(source, tuple):
        return count_rows(source)
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
            raise UserError(NOT_DENSE.format(f"a stream of {kind}s"))
    if number == 0:
        raise no_examples()
    return number


_EXAMPLES_OF_A_STREAM = 8


def hash_of(source) -> str:
    """Returns a hash of tensors, or of a stream's first examples; "" if these vary."""
    if isinstance(source, tuple):
        return digest_of([part.numpy() for part in tf.nest.flatten(source)])
    first, again = (
        digest_of([tf.nest.flatten(each) for each in taken.as_numpy_iterator()])
        for taken in [source.take(_EXAMPLES_OF_A_STREAM)] * 2
    )
    return first if first == again else ""
