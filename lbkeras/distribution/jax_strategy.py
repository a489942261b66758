"""What a model is made under on Keras' JAX backend: one device."""

import contextlib

import jax

from lbkeras.errors import UserError


class OneDevice:
    """JAX' first device, with what runs ask of a `tf.distribute.Strategy`."""

    num_replicas_in_sync = 1

    def scope(self):
        """Nothing: Keras makes variables on JAX' first device by itself."""
        return contextlib.nullcontext()


_ONE = OneDevice()


def strategy(name: str) -> OneDevice:
    """As `lbkeras.distribution.strategy`, which has checked the name."""
    if name not in ("auto", "one"):
        raise UserError(f"strategy: expected auto or one on Keras' JAX backend, received {name!r}")
    return _ONE


def describe(strategy: OneDevice) -> str:
    """One line on what a strategy runs on: "one device (NVIDIA H100 80GB HBM3)"."""
    device = jax.devices()[0]
    return f"one device ({'CPU' if device.platform == 'cpu' else device.device_kind})"
