"""Division of a batch into micro-batches, and sums of their gradients."""

import tensorflow as tf

from lbkeras.errors import UserError
from lbkeras.keras_internals import compiled_loss


def as_tensor(part):
    """Converts a part of a batch to a dense tensor; None stays None."""
    if part is None or isinstance(part, tf.Tensor):
        return part
    if isinstance(part, tf.RaggedTensor | tf.SparseTensor):
        raise UserError(f"micro_batch_size: expected dense data, received a {type(part).__name__}")
    return tf.convert_to_tensor(part)


def first_tensor(data):
    """Returns the first tensor of a batch; its first axis counts the examples."""
    return next(part for part in tf.nest.flatten(data) if part is not None)


def rows_of(data, start, count: int):
    """Returns `count` examples from `start` on, of all tensors of a batch."""

    def rows(part):
        if part is None:
            return None
        others = part.shape[1:]
        sizes = [tf.shape(part)[i + 1] if n is None else n for i, n in enumerate(others)]
        return tf.slice(part, [start] + [0] * len(others), [count, *sizes])

    return tf.nest.map_structure(rows, data)


def with_size(outputs, size: int):
    """Sets the static number of examples in outputs, which layers on strings lose.

    Without it, a micro-batch of one example cannot be told from a value for the whole batch.
    """

    def known(output):
        if output.shape.rank is None or not output.shape.rank or output.shape[0] is not None:
            return output
        shaped = tf.ensure_shape(output, [size, *output.shape[1:]])
        compiled_loss.set_mask(shaped, compiled_loss.mask_of(output))
        return shaped

    return tf.nest.map_structure(known, outputs)


def accumulator_dtype(dtype):
    """Returns float32 for half precision, in which later micro-batches would be rounded away."""
    dtype = tf.as_dtype(dtype)
    return tf.float32 if dtype in (tf.float16, tf.bfloat16) else dtype


def add_gradient(total, gradient):
    """Returns the dense sum of both, in the dtype of `total`."""
    if isinstance(gradient, tf.IndexedSlices):
        values = tf.cast(gradient.values, total.dtype)
        indices = tf.expand_dims(gradient.indices, 1)
        return tf.tensor_scatter_nd_add(total, indices, values)
    return total + tf.cast(gradient, total.dtype)


def sum_of_gradients(gradient, other):
    """Returns the sum of two gradients of one weight, either of which may be None."""
    if gradient is None or other is None:
        return other if gradient is None else gradient
    return tf.convert_to_tensor(gradient) + tf.convert_to_tensor(other)
