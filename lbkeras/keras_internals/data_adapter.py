"""Keras' class for data that `fit` accepts as `x`.

Keras passes any `DataAdapter` directly to the training loop
(`keras/src/trainers/data_adapters/__init__.py`, `get_data_adapter`) and asks it for a new iterator
in each epoch. This makes it possible to change the batch size inside one `fit`.
"""

import inspect

import numpy as np

from lbkeras.keras_internals.names import missing, private, private_module

try:
    from keras.src.trainers.data_adapters.data_adapter import DataAdapter
except ImportError:

    class DataAdapter:  # type: ignore[no-redef]
        """Replaces Keras' class if this Keras has none; creating an instance raises an error."""

        def __new__(cls, *arguments, **keywords):
            raise missing("DataAdapter")


def takes_stacks() -> bool:
    """Whether Keras' JAX trainer asks for stacks of batches, which it does since Keras 3.16."""
    return "super_batch" in inspect.signature(DataAdapter.get_jax_iterator).parameters


def super_batches(batches, steps: int, stack=np.stack):
    """Stacks batches by `steps`, as Keras' JAX trainer scans them since Keras 3.16.

    Args:
        batches: an iterator over `(x, y)` or `(x, y, sample_weight)`.
        steps: batches per stack, `steps_per_execution`; those that are left over, or whose sizes
            differ, come as a list.
        stack: function that stacks a sequence of arrays.
    """
    module = "keras.src.trainers.data_adapters.data_adapter_utils"
    return private(private_module(module), "super_batch_iterator")(batches, steps, stack)


__all__ = ["DataAdapter", "super_batches", "takes_stacks"]
