"""What a model is made under on Keras' JAX backend: one device, or Keras' DataParallel."""

import contextlib

import jax
import keras

from lbkeras.errors import UserError


class Devices:
    """Devices of JAX, with what runs ask of a `tf.distribute.Strategy`.

    A batch is divided among them; each has all variables. The compiler divides one computation, so
    that batch statistics, losses and metrics are those of the whole batch.

    Args:
        devices: at least one.
    """

    num_replicas_in_sync: int

    def __init__(self, devices: list):
        self.devices = devices
        self.num_replicas_in_sync = len(devices)
        distribution = None
        if len(devices) > 1:
            names = [f"{device.platform}:{device.id}" for device in devices]
            distribution = keras.distribution.DataParallel(devices=names)
        keras.distribution.set_distribution(distribution)

    def scope(self):
        """Nothing: Keras' distribution is set for the process, in which Keras makes variables."""
        return contextlib.nullcontext()


def strategy(name: str) -> Devices:
    """As `lbkeras.distribution.strategy`, which has checked the name."""
    devices = jax.devices()
    if name not in ("auto", "one", "mirrored"):
        raise UserError(
            f"strategy: expected auto, one or mirrored on Keras' JAX backend, received {name!r}"
        )
    if jax.process_count() > 1:
        raise UserError(
            "strategy: expected JAX in one process; several hosts have not been run, received "
            f"{jax.process_count()} processes"
        )
    several = name == "mirrored" or name == "auto" and devices[0].platform != "cpu"
    return Devices(devices if several else devices[:1])


def describe(strategy: Devices) -> str:
    """One line on what a strategy runs on: "one device (NVIDIA H100 80GB HBM3)"."""
    device, number = strategy.devices[0], len(strategy.devices)
    kind = "CPU" if device.platform == "cpu" else device.device_kind
    return f"one device ({kind})" if number == 1 else f"mirrored over {number} {kind}s"
