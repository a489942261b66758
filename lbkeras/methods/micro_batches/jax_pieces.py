"""Division of a batch into micro-batches on JAX."""

from typing import Any

import jax
import keras
from jax import numpy as jnp

from lbkeras.errors import UserError
from lbkeras.keras_internals.backend import count_devices


def described(state: Any, data: Any) -> tuple[Any, Any]:
    """Returns the shapes, dtypes and shardings of a step's arguments, for the compiler.

    Args:
        state: the model's state, replicated on every device of Keras' distribution.
        data: the batch, of which each device has its own rows.
    """
    distribution = keras.distribution.distribution()

    def of_state(part):
        if distribution is None:
            return jax.ShapeDtypeStruct(part.shape, part.dtype)
        mesh = distribution.device_mesh.backend_mesh
        everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        return jax.ShapeDtypeStruct(part.shape, part.dtype, sharding=everywhere)

    def of_data(part):
        if distribution is None:
            return jax.ShapeDtypeStruct(part.shape, part.dtype)
        layout = distribution.get_data_layout(part.shape).backend_layout
        return jax.ShapeDtypeStruct(part.shape, part.dtype, sharding=layout)

    return jax.tree.map(of_state, state), jax.tree.map(of_data, data)


def examples_of(data: Any) -> int:
    """Returns the number of examples in a batch or micro-batch, on all devices together."""
    return jax.tree.leaves(data)[0].shape[0]


def stacked_and_rest(data: Any, size: int) -> tuple[Any, Any]:
    """Divides a batch into equal micro-batches, stacked on a new first axis, and a smaller rest.

    With several devices, each has an equal number of consecutive rows of the batch, and each
    micro-batch has rows of every device.

    Args:
        data: arrays, or None in place of one, in any structure.
        size: examples per micro-batch, on all devices together.

    Returns:
        Arrays of shape (micro-batches, size, ...), and the arrays of the rest, or None if there is
        no rest.

    Raises:
        UserError: the data is sparse.
    """
    for part in jax.tree.leaves(data):
        if not hasattr(part, "reshape") or not hasattr(part, "shape"):
            kind = type(part).__name__
            raise UserError(f"micro_batch_size: expected dense data, received a {kind}")
    whole, devices = examples_of(data), count_devices()
    full = whole // size * size

    def divided(part):
        rows = jnp.reshape(part, (devices, whole // devices, *part.shape[1:]))
        first, rest = rows[:, : full // devices], rows[:, full // devices :]
        first = first.reshape(devices, full // size, size // devices, *part.shape[1:])
        first = jnp.swapaxes(first, 0, 1).reshape(full // size, size, *part.shape[1:])
        return first, rest.reshape(whole - full, *part.shape[1:])

    parts, structure = jax.tree.flatten(data)
    stacked, rest = zip(*(divided(part) for part in parts), strict=True)
    stacked, rest = structure.unflatten(stacked), structure.unflatten(rest)
    return stacked, rest if full < whole else None
