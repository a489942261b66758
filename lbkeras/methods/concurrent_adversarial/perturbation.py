"""One step of the fast gradient sign method on a batch's inputs."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from lbkeras.errors import UserError


def perturbed(x: Any, epsilon: float, loss_of: Callable[[Any], Any]) -> Any:
    """Inputs moved by `epsilon` to where the loss rises.

        x + epsilon · sign(∇_x loss)

    which is the projection of one step of that length, or of a longer one, on |x' - x| <= epsilon.
    A coordinate whose gradient is 0 or not a number, as where float16 overflows, stays where it is.
    Nothing is clipped to the range of pixels.

    Args:
        x: a tensor, or a structure of tensors. Those of floating-point numbers and of uint8 are
            moved, uint8 as float32; others, such as integers that stand for words, stay.
        epsilon: in the unit of `x`.
        loss_of: from such inputs to the loss; its scale and sign alone matter.

    Raises:
        UserError: no input has a gradient.
    """
    x = tf.nest.map_structure(_as_floats, x)
    parts = tf.nest.flatten(x)
    moved = [i for i, part in enumerate(parts) if part is not None and part.dtype.is_floating]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([parts[i] for i in moved])
        loss = loss_of(x)
    gradients = tape.gradient(loss, [parts[i] for i in moved])
    if all(gradient is None for gradient in gradients):
        received = ", ".join(part.dtype.name for part in parts if part is not None)
        raise UserError(
            "x: expected inputs with respect to which the loss has a gradient (floating-point "
            f"numbers or uint8 images), to make adversarial copies of, received {received}"
        )
    for i, gradient in zip(moved, gradients, strict=True):
        if gradient is not None:
            sign = tf.where(tf.math.is_nan(gradient), tf.zeros_like(gradient), tf.sign(gradient))
            parts[i] += tf.cast(epsilon, parts[i].dtype) * sign
    return tf.nest.pack_sequence_as(x, parts)


def _as_floats(part):
    return tf.cast(part, tf.float32) if part is not None and part.dtype == tf.uint8 else part
