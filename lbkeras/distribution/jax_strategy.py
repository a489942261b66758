"""The strategy on Keras' JAX backend: one device, or Keras' DataParallel."""

import contextlib

import jax
import keras

from lbkeras.errors import UserError


class Devices:
    """Devices of JAX, with the parts of `tf.distribute.Strategy` that runs use.

    A batch is divided among the devices, and each holds all variables. The compiler partitions a
    single computation, so batch statistics, losses and metrics are those of the whole batch.

    Args:
        devices: at least one JAX device.
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
        """Returns a context that does nothing, as Keras' distribution is set for the process."""
        return contextlib.nullcontext()


def strategy(name: str) -> Devices:
    """Makes the strategy for `lbkeras.distribution.strategy`, which has checked the name."""
    devices = jax.devices()
    if name not in ("auto", "one", "mirrored"):
        raise UserError(
            f"strategy: expected auto, one or mirrored on Keras' JAX backend, received {name!r}"
        )
    if jax.process_count() > 1:
        raise UserError(
            "strategy: expected JAX in one process (several hosts have not been tested), received "
            f"{jax.process_count()} processes"
        )
    several = name == "mirrored" or name == "auto" and devices[0].platform != "cpu"
    return Devices(devices if several else devices[:1])


def describe(strategy: Devices) -> str:
    """Returns the devices of a strategy as text: "one device (NVIDIA H100 80GB HBM3)"."""
    device, number = strategy.devices[0], len(strategy.devices)
    kind = "CPU" if device.platform == "cpu" else device.device_kind
    return f"one device ({kind})" if number == 1 else f"mirrored over {number} {kind}s"
