"""Strategies by their names on the command line, for Keras' TensorFlow and JAX backends."""

from typing import Any

from lbkeras.errors import UserError, unknown_name
from lbkeras.keras_internals.backend_start import load_backend

STRATEGIES = ("auto", "one", "mirrored", "multi_worker", "tpu")


def strategy(name: str = "auto") -> Any:
    """Returns the strategy to build a model under, and patches Keras for it if needed.

    On TensorFlow this is a `tf.distribute.Strategy`, one object per name and process. With several
    replicas, known faults of Keras 3 are fixed if this version has them (`patch_keras`), so that
    `model.fit`, `evaluate` and `predict` work alike under each strategy. On JAX it is `Devices`,
    which sets Keras' `DataParallel` for the process if there are several devices.

    Args:
        name: "one": one device. "mirrored": all GPUs of this machine, or all logical CPUs if it has
            no GPU. "multi_worker": the processes in TF_CONFIG, each with its own GPUs or its CPU;
            make it before any other TensorFlow operation, tensor or variable. "tpu": all cores of a
            TPU; not tested by us. "auto": multi_worker if TF_CONFIG names several workers, else tpu
            if one is configured, else mirrored if there are several GPUs, else one. On JAX
            "mirrored" means all devices of this machine, and so does "auto" unless they are CPUs;
            "multi_worker" and "tpu" are refused (there the cores of a TPU are devices).

    Raises:
        UserError: the name is unknown; for "multi_worker", TF_CONFIG is missing or malformed, or
            TensorFlow has already started; for "tpu", none is found; on JAX, there are several
            processes.

    >>> describe(strategy("one"))
    'one device (CPU)'
    """
    if name not in STRATEGIES:
        raise UserError(unknown_name("strategy", name, STRATEGIES))
    return _of_the_backend().strategy(name)


def describe(strategy: Any) -> str:
    """Returns the devices of a strategy as text: "mirrored over 2 CPUs"."""
    return _of_the_backend().describe(strategy)


def _of_the_backend():
    if load_backend() == "jax":
        from lbkeras.distribution import jax_strategy

        return jax_strategy
    from lbkeras.distribution import tensorflow_strategy

    return tensorflow_strategy
