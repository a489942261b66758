"""Tries a user's `augment` and `decode` before they are needed."""

import tensorflow as tf

from lbkeras.data.frozen_draws import refuse_frozen_draws
from lbkeras.data.reading import reason
from lbkeras.errors import UserError


def decoded_specification(dataset: tf.data.Dataset, decode):
    """Returns the `element_spec` of a stream once decoded; tries `decode` on the first example."""
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
            "decode: expected a function of (example, seed) that returns an example, received one "
            f"that fails on the first example: {_last_line(error)}"
        ) from error
    return first.element_spec


def check_augment(augment, x, rows: int) -> None:
    """Refuses an `augment` that fails or does not return as many rows as it gets.

    Args:
        augment: the function given to the Pipeline.
        x: the specification of an example's first part.
        rows: number of rows in a batch.
    """
    batch = tf.nest.map_structure(lambda s: tf.TensorSpec((rows, *s.shape), s.dtype), x)
    seed = tf.TensorSpec((2,), tf.int32)
    try:
        with refuse_frozen_draws():
            function = tf.function(lambda x, seed: augment(x, seed))
            traced = function.get_concrete_function(batch, seed)
    except UserError:
        raise
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
            raise UserError(f"augment: expected {rows} rows, as in its input, received {received}")


def _last_line(error: Exception) -> str:
    if isinstance(error, tf.errors.OpError):
        return reason(error)
    return (str(error).split("\n\n")[-1].strip() or type(error).__name__).replace("\n", " ")
