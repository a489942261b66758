"""Which backend of Keras runs, and on which something works."""

import keras

from lbkeras.errors import UserError

_NAMES = {"jax": "JAX", "tensorflow": "TensorFlow"}


def check_backend(what: str, *expected: str) -> None:
    """Refuses a backend on which something does not work.

    Args:
        what: the public name or the argument, for the message.
        expected: backends as `keras.backend.backend()` names them; none: "tensorflow".

    Raises:
        UserError: another one runs.
    """
    expected = expected or ("tensorflow",)
    received = keras.backend.backend()
    if received not in expected:
        names = " or ".join(_NAMES[each] for each in expected)
        raise UserError(f"{what}: expected Keras' {names} backend, received {received}")


def on_jax() -> bool:
    """Whether Keras' backend is JAX."""
    return keras.backend.backend() == "jax"


def count_devices() -> int:
    """Devices that have a part of each batch on JAX: those of Keras' distribution, or one."""
    distribution = keras.distribution.distribution() if on_jax() else None
    if distribution is None:
        return 1
    mesh = distribution.device_mesh
    return int(mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)])


def num_replicas() -> int:
    """The replicas of `tf.distribute` that run the code being traced together; 1 on JAX."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync
