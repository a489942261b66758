"""The strategy by its name on the command line, on the backend that Keras has."""

from typing import Any

from lbkeras.errors import UserError, unknown_name
from lbkeras.keras_internals.backend_start import load_backend

STRATEGIES = ("auto", "one", "mirrored", "multi_worker", "tpu")


def strategy(name: str = "auto") -> Any:
    """Returns the strategy under whose scope the model is made, and patches Keras for it.

    On TensorFlow it is a `tf.distribute.Strategy`. What Keras 3 gets wrong under one is fixed
    where the fault is there (`patch_keras`), so that the same `model.fit`, `evaluate` and `predict`
    work under each of them. Of each strategy there is one object a process. On JAX it is
    `Devices`, which sets Keras' `DataParallel` for the process where there are several.

    Args:
        name: "one": one device. "mirrored": all GPUs of this machine, or all logical CPUs if there
            is none. "multi_worker": several processes, each with its own GPUs or its CPU, as
            TF_CONFIG says; make it before any other TensorFlow operation, tensor or variable.
            "tpu": all cores of a TPU; not run by us. "auto": multi_worker where TF_CONFIG names
            several workers, tpu where one is configured, mirrored where there are several GPUs,
            otherwise one. On JAX "mirrored" is all devices of this machine, "auto" too unless they
            are CPUs; "multi_worker" and "tpu" are refused (a TPU's cores are devices there).

    Raises:
        UserError: another name; for "multi_worker" a TF_CONFIG that is missing or malformed, or
            TensorFlow has already started; for "tpu" none is found; on JAX several processes.

    >>> describe(strategy("one"))
    'one device (CPU)'
    """
    if name not in STRATEGIES:
        raise UserError(unknown_name("strategy", name, STRATEGIES))
    return _of_the_backend().strategy(name)


def describe(strategy: Any) -> str:
    """One line on what a strategy runs on: "mirrored over 2 CPUs"."""
    return _of_the_backend().describe(strategy)


def _of_the_backend():
    if load_backend() == "jax":
        from lbkeras.distribution import jax_strategy

        return jax_strategy
    from lbkeras.distribution import tensorflow_strategy

    return tensorflow_strategy
