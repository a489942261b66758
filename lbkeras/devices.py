"""Logical CPUs and memory limits of this process, set before TensorFlow or JAX starts."""

import os
import sys

from lbkeras.errors import UserError
from lbkeras.keras_internals.backend_start import backend_name, require_tensorflow
from lbkeras.keras_internals.tensorflow_start import load_tensorflow


def configure_devices(num_logical_devices: int = 1, memory_limit_mb: int = 0) -> None:
    """Splits the CPU into logical devices and limits memory; call it before the backend starts.

    Call it before importing TensorFlow, or before JAX first uses a device. On a machine without a
    GPU `strategy("mirrored")` then makes each logical CPU a replica, so that several replicas can
    be tried on a laptop. The memory limit is enforced: a tensor beyond it raises
    `tf.errors.ResourceExhaustedError`, as on a full GPU. On a GPU it applies to each logical
    device. On the CPU it applies to all tensors of the process together, including data in memory,
    and turns oneDNN off, because oneDNN's convolutions end the process when an allocation fails.
    Convolutions without oneDNN take about twice as long.

    Args:
        num_logical_devices: number of logical CPUs, at least 1.
        memory_limit_mb: limit in MB of 2^20 bytes; 0: no limit. TensorFlow only.

    Raises:
        UserError: a number is out of range; TensorFlow has already started, or JAX has already made
            another number of devices; or Keras' backend can do neither.
    """
    if num_logical_devices < 1:
        raise UserError(f"num_logical_devices: expected at least 1, received {num_logical_devices}")
    if memory_limit_mb < 0:
        raise UserError(f"memory_limit_mb: expected at least 0, received {memory_limit_mb}")
    if memory_limit_mb:
        require_tensorflow("memory_limit_mb")
        _limit_memory(memory_limit_mb)
    if num_logical_devices > 1:
        if backend_name() == "jax":
            _split_cpu_of_jax(num_logical_devices)
            return
        require_tensorflow("num_logical_devices")
        _split_cpu(num_logical_devices)


def count_cpu_memory() -> float:
    """Makes TensorFlow track the memory of its CPU tensors; call it before importing TensorFlow.

    Returns:
        The limit for them in MB: nine tenths of the memory that is free now. Beyond it an
        allocation fails, which can end the process (see `configure_devices`).
    """
    budget = int(0.9 * free_memory_mb())
    os.environ["TF_CPU_ALLOCATOR_USE_BFC"] = "1"
    os.environ["TF_CPU_BFC_MEM_LIMIT_IN_MB"] = str(budget)
    return budget


def free_memory_mb() -> float:
    """Returns the machine's free memory in MB of 2^20 bytes; outside Linux, half of its total."""
    try:
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) / 1024
    except (OSError, KeyError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**21


def _limit_memory(memory_limit_mb: int) -> None:
    settings = {
        "TF_CPU_ALLOCATOR_USE_BFC": "1",
        "TF_CPU_BFC_MEM_LIMIT_IN_MB": str(memory_limit_mb),
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }
    if any(os.environ.get(name) != value for name, value in settings.items()):
        if "tensorflow" in sys.modules:
            raise UserError(
                "memory_limit_mb: expected to be set before TensorFlow is imported, "
                f"received {memory_limit_mb} after it"
            )
        os.environ.update(settings)
    load_tensorflow()
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        limit = [tf.config.LogicalDeviceConfiguration(memory_limit=memory_limit_mb)]
        _set(gpu, limit, "memory_limit_mb")


def _split_cpu(number: int) -> None:
    load_tensorflow()
    import tensorflow as tf

    for cpu in tf.config.list_physical_devices("CPU"):
        _set(cpu, [tf.config.LogicalDeviceConfiguration()] * number, "num_logical_devices")


def _split_cpu_of_jax(number: int) -> None:
    import jax

    try:
        jax.config.update("jax_num_cpu_devices", number)
    except RuntimeError:  # JAX has created its devices already
        present = jax.local_device_count("cpu")
        if present != number:
            raise UserError(
                f"num_logical_devices: expected to be set before JAX uses its devices, received "
                f"{number} when {present} existed already"
            ) from None


def _set(device, configuration, argument: str) -> None:
    import tensorflow as tf

    present = tf.config.get_logical_device_configuration(device)
    if present is not None and len(present) == len(configuration):
        if [each.memory_limit for each in present] == [each.memory_limit for each in configuration]:
            return
    try:
        tf.config.set_logical_device_configuration(device, configuration)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"{argument}: expected to be set before TensorFlow uses its devices: {error}"
        ) from None
