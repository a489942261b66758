"""The tf.distribute strategy by its name on the command line."""

import difflib

import tensorflow as tf

from lbkeras.errors import UserError

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
        nearest = difflib.get_close_matches(str(name), STRATEGIES, n=1)
        hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
        raise UserError(
            f"strategy: expected one of {', '.join(STRATEGIES)}, received {name!r}{hint}"
        )
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        devices = gpus or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()
