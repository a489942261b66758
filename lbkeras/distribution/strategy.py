"""The tf.distribute strategy by its name on the command line."""

import functools

import tensorflow as tf

from lbkeras.errors import UserError, unknown_name

STRATEGIES = ("auto", "one", "mirrored")


def strategy(name: str = "auto") -> tf.distribute.Strategy:
    """Returns the strategy under whose scope the model is made.

    Args:
        name: "one": one device, "mirrored": all GPUs of this machine (or all logical CPUs if there
            is none), "auto": mirrored where there are several GPUs, otherwise one.

    Raises:
        UserError: another name.
    """
    if name not in STRATEGIES:
        raise UserError(unknown_name("strategy", name, STRATEGIES))
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        devices = gpus or tf.config.list_logical_devices("CPU")
        return _mirrored(tuple(device.name for device in devices))
    return tf.distribute.get_strategy()


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.MirroredStrategy:
    """One object a process: a second one on the same logical CPUs breaks."""
    return tf.distribute.MirroredStrategy(list(devices))
