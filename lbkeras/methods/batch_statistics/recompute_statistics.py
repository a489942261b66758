"""Recomputes batch-norm statistics for the final weights, in a pass over data."""

import contextlib
from typing import Any

import keras
import numpy as np

from lbkeras.errors import UserError
from lbkeras.keras_internals.model import layers as nested_layers
from lbkeras.keras_internals.training_pass import training_pass


def recompute_statistics(model: keras.Model, batches: Any, steps: int | None = None) -> int:
    """Replaces the moving statistics of a model's batch norms by averages over a pass of data.

    With the current weights, the mean of each batch norm (and likewise its variance) becomes

        moving_mean = sum_b n_b · mean_b / sum_b n_b

    over the batches b of n_b examples. Moving averages mix in statistics of older weights, which
    hurts after few, large steps, and the statistics of a single batch are noisy. The variance is
    the mean of the variances within batches, by which training normalizes; it leaves out the
    variance between batches.

    To recompute before each evaluation in `fit`, use
    `keras.callbacks.LambdaCallback(on_test_begin=lambda _: recompute_statistics(model, batches))`.

    Args:
        model: any built `keras.Model`. Recomputes all trainable layers of class
            `keras.layers.BatchNormalization` and its subclasses (with ghost batch norm each ghost
            counts), also inside other layers. The model runs in training mode, including dropout,
            so that deeper layers get the inputs that they get in training. Its weights and all
            other states stay as they are.
        batches: an `lbkeras.data.Pipeline`, a batched `tf.data.Dataset`, or any iterable of
            `x`, `(x, y)` or `(x, y, sample_weight)` batches. Use the batch size of training.
        steps: number of batches to use. Default: all.

    Returns:
        The number of examples used.

    Raises:
        UserError: `model` has no trainable batch norm, or `batches` no batch.

    Cost: a forward pass over the batches on one device, also for a model under a strategy, and one
    tracing for each batch shape. A batch norm that the model calls several times in a pass gets the
    statistics of its last call.

    Differs from the paper: Akiba et al. use only the last batch and average over its workers.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization()])
    >>> recompute_statistics(model, [np.array([[1.0], [3.0]]), np.array([[6.0], [8.0]])])
    4
    >>> model.layers[0].moving_mean.numpy(), model.layers[0].moving_variance.numpy()
    (array([4.5], dtype=float32), array([1.], dtype=float32))

    Reference: Akiba, Suzuki, Fukuda, arXiv:1711.04325, section 3; averages over many batches: Wu,
    Johnson, "Rethinking 'batch' in BatchNorm", arXiv:2105.07576, section 3 (PreciseBN).
    """
    layers = [
        layer
        for layer in nested_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable and layer.built
    ]
    if not layers:
        raise UserError(
            "model: expected a built model with trainable batch normalization, "
            f"received {model.name!r} without"
        )
    statistics = [v for layer in layers for v in (layer.moving_mean, layer.moving_variance)]
    states = [variable for variable in model.variables if not variable.trainable]
    before = [keras.ops.convert_to_numpy(variable) for variable in states]
    sums, examples = [0.0] * len(statistics), 0
    try:
        with contextlib.ExitStack() as stack:
            for layer in layers:
                stack.enter_context(_only_this_batch(layer))
            forward = training_pass(model)
            # A Pipeline is not iterable; it makes an iterable for one epoch.
            for step, batch in enumerate(batches.dataset() if _is_pipeline(batches) else batches):
                if steps is not None and step >= steps:
                    break
                x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
                forward(x)
                size = int(keras.tree.flatten(x)[0].shape[0])
                examples += size
                new = (keras.ops.convert_to_numpy(variable) for variable in statistics)
                sums = [a + size * b.astype(np.float64) for a, b in zip(sums, new, strict=True)]
    finally:
        for variable, value in zip(states, before, strict=True):
            variable.assign(value)
    if not examples:
        raise UserError("batches: expected at least one batch, received none")
    for variable, total in zip(statistics, sums, strict=True):
        variable.assign(total / examples)
    return examples


def _is_pipeline(batches) -> bool:
    return not hasattr(batches, "__iter__") and hasattr(batches, "dataset")


@contextlib.contextmanager
def _only_this_batch(layer):
    """Makes the variables of a batch norm hold the statistics of the last batch only."""
    changes = {"momentum": 0.0}
    if hasattr(layer, "moving_statistics"):  # ghosts: their mean, not the last ghost's
        changes["moving_statistics"] = "mean"
    before = {name: getattr(layer, name) for name in changes}
    for name, value in changes.items():
        setattr(layer, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(layer, name, value)
