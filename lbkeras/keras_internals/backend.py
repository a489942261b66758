"""Keras' current backend, its devices and replicas."""

import keras

from lbkeras.errors import UserError

_NAMES = {"jax": "JAX", "tensorflow": "TensorFlow"}


def check_backend(what: str, *expected: str) -> None:
    """Refuses backends on which a feature does not work.

    Args:
        what: the feature's public name or argument, for the message.
        expected: backends as named by `keras.backend.backend()`. Default "tensorflow".

    Raises:
        UserError: the current backend is another one.
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
    """Returns how many devices share each batch on JAX: by Keras' distribution, else 1."""
    distribution = keras.distribution.distribution() if on_jax() else None
    if distribution is None:
        return 1
    mesh = distribution.device_mesh
    return int(mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)])


def num_replicas() -> int:
    """Returns how many `tf.distribute` replicas run the code being traced together; 1 on JAX."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync
