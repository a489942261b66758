"""The memory that tensors take on the first device, and an estimate for larger trials."""

import contextlib

SMALL_TRIALS = (8, 32)  # examples per replica


def has_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_logical_devices("GPU"))


def reset_peak_memory() -> None:
    """Resets the peak, if TensorFlow counts it."""
    import tensorflow as tf

    with contextlib.suppress(ValueError, tf.errors.OpError):  # this allocator keeps no statistics
        tf.config.experimental.reset_memory_stats(_first_device())


def peak_memory_mb() -> float | None:
    """Returns the tensors' peak since the reset, in MB of 2^20 bytes; None if it is not counted."""
    import tensorflow as tf

    try:
        return tf.config.experimental.get_memory_info(_first_device())["peak"] / 2**20
    except (ValueError, tf.errors.OpError):
        return None


def memory_line(needed_mb: dict[int, float]):
    """Returns `(examples) -> MB`, the line through the memory of two small trials.

    >>> memory_line({8: 100.0, 32: 340.0})(64)
    660.0
    """
    (x0, y0), (x1, y1) = needed_mb.items()
    return lambda size: y0 + (y1 - y0) / (x1 - x0) * (size - x0)


def _first_device() -> str:
    return "GPU:0" if has_gpu() else "CPU:0"
