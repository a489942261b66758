"""One step of the fast gradient sign method on a batch's inputs."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from lbkeras.errors import UserError


def perturbed(x: Any, epsilon: float, loss_of: Callable[[Any], Any]) -> Any:
    """Returns inputs moved by `epsilon` in the direction in which the loss rises.

        x + epsilon · sign(∇_x loss)

    This is the projection of one step of that length, or of a longer one, on |x' - x| <= epsilon.
    A coordinate whose gradient is 0 or NaN, such as after an overflow in float16, does not move.
    Nothing is clipped to the range of pixels.

    Args:
        x: a tensor, or a structure of tensors. Floating-point and uint8 tensors are moved, uint8 as
            float32; others, such as word indices, stay.
        epsilon: in the unit of `x`.
        loss_of: function from such inputs to the loss. Only the sign of the gradient matters, so
            the loss may have any positive factor.

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
            "x: expected inputs for which the loss has a gradient (floating-point numbers or uint8 "
            f"images), to make adversarial copies of them, received {received}"
        )
    for i, gradient in zip(moved, gradients, strict=True):
        if gradient is not None:
            sign = tf.where(tf.math.is_nan(gradient), tf.zeros_like(gradient), tf.sign(gradient))
            parts[i] += tf.cast(epsilon, parts[i].dtype) * sign
    return tf.nest.pack_sequence_as(x, parts)


def _as_floats(part):
    return tf.cast(part, tf.float32) if part is not None and part.dtype == tf.uint8 else part
