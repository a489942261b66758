"""Checks whether a model has an output for each integer label of a source."""

import keras
import numpy as np

from lbkeras.errors import UserError


def is_integer(part) -> bool:
    """Whether this is a single array, or specification, of integers."""
    dtype = getattr(part, "dtype", None)
    name = getattr(dtype, "name", None)  # NumPy's or TensorFlow's
    return isinstance(name, str) and name.startswith(("int", "uint"))


def range_of_labels(source: tuple) -> tuple[int, int] | None:
    """Returns the lowest and highest target of data in memory, or None if not integers."""
    if len(source) == 1 or not is_integer(source[1]) or 0 in source[1].shape:
        return None
    labels = np.asarray(source[1])
    return int(labels.min()), int(labels.max())


def check_labels(model, labels: tuple[int, int]) -> None:
    """Refuses labels for which a model has no output.

    TensorFlow refuses them on a CPU only; on a GPU the loss becomes NaN. They are checked only if
    the loss is a single `SparseCategoricalCrossentropy` of one output, without `ignore_class`.

    Args:
        model: the compiled model of the running `fit` or `evaluate`.
        labels: the lowest and the highest label.

    Raises:
        UserError: the model has no output for one of them.
    """
    loss, shape = model.loss, getattr(model, "output_shape", None)
    loss = loss[0] if isinstance(loss, list) and len(loss) == 1 else loss
    sparse = isinstance(loss, keras.losses.SparseCategoricalCrossentropy)
    sparse = sparse and loss.get_config().get("ignore_class") is None
    sparse = sparse or loss in (
        "sparse_categorical_crossentropy",
        keras.losses.sparse_categorical_crossentropy,
    )
    if not sparse or not isinstance(shape, tuple) or not isinstance(shape[-1], int):
        return
    if labels[0] < 0 or labels[1] >= shape[-1]:
        raise UserError(
            f"source: expected labels from 0 to {shape[-1] - 1} (the model has {shape[-1]} "
            f"outputs), received {labels[0]} to {labels[1]}"
        )
