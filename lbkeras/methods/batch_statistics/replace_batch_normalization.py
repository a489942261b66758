"""Replaces a model's batch normalization by ghost batch normalization."""

import keras

from lbkeras.errors import UserError
from lbkeras.keras_internals.model import layers as nested_layers
from lbkeras.methods.batch_statistics.ghost_batch_normalization import GhostBatchNormalization


def with_ghost_batch_normalization(
    model: keras.Model, ghost_batch_size: int, synchronized: bool = False
) -> keras.Model:
    """Returns a copy of a model with ghost batch norms in place of its batch norms.

    Every `keras.layers.BatchNormalization` becomes a `lbkeras.layers.GhostBatchNormalization` with
    the same name and settings, in nested models too. Layers that the model calls several times
    stay shared. All weights and states are copied, so `predict` returns the same as before.

    Args:
        model: a built functional or sequential `keras.Model`, for example one of
            `keras.applications`.
        ghost_batch_size: number of examples that are normalized together, at least 1.
        synchronized: whether replicas under `tf.distribute` share ghosts that are larger than
            their part of the batch, and keep the same moving statistics. Default False. Layers
            that are already synchronized stay so.

    Returns:
        A new model, compiled with new optimizer state if `model` is compiled. Ghost batch norms
        that are already there keep their own settings. Call this under the strategy's scope if
        there is one.

    Raises:
        UserError: `ghost_batch_size` is not an integer of at least 1; the model is neither
            functional nor sequential, is not built, or has no batch norm; a batch norm has
            `renorm=True` or is inside another layer or a subclassed model, where it cannot be
            replaced; for `synchronized=True` without TensorFlow.

    Example:

    >>> layers = [keras.Input((2,)), keras.layers.BatchNormalization(name="norm")]
    >>> ghost = with_ghost_batch_normalization(keras.Sequential(layers), 32)
    >>> type(ghost.get_layer("norm")).__name__, ghost.get_layer("norm").ghost_batch_size
    ('GhostBatchNormalization', 32)

    Reference: Hoffer, Hubara, Soudry, arXiv:1705.08741, algorithm 1.
    """
    GhostBatchNormalization(ghost_batch_size, synchronized=synchronized)  # refuses wrong arguments
    if not _is_graph(model):
        raise UserError(
            "model: expected a functional or sequential keras.Model, whose layers can be replaced, "
            f"received a {type(model).__name__}"
        )
    if not model.built:
        raise UserError(
            f"model: expected a built model, received {model.name!r} without input shape; add a "
            "keras.Input or call build()"
        )
    if not any(_to_replace(layer) for layer in nested_layers(model)):
        raise UserError(
            f"model: expected one with batch normalization, received {model.name!r} without"
        )

    pairs = []

    def clone(layer):
        if not isinstance(layer, keras.Layer):
            return layer  # an operation of keras.ops: no state, called again on the new tensors
        pairs.append((layer, _ghost(layer, ghost_batch_size, synchronized)))
        return pairs[-1][1]

    copy = keras.models.clone_model(model, clone_function=clone, recursive=True)
    if type(copy) is not type(model):
        raise UserError(
            "model: expected a functional or sequential keras.Model, "
            f"received {type(model).__name__}, which cannot be rebuilt from inputs and outputs"
        )
    for old, new in pairs:
        for part, new_part in zip(nested_layers(old), nested_layers(new), strict=True):
            variables = {}
            part.save_own_variables(variables)
            new_part.load_own_variables(variables)
    return copy


def _ghost(layer, ghost_batch_size, synchronized):
    """Returns the layer that replaces `layer`: a ghost batch norm, or a copy of `layer`."""
    if _to_replace(layer):
        if getattr(layer, "renorm", False):  # in Keras since 3.14
            raise UserError(
                f"model: expected batch normalization without renorm, received {layer.name!r} with"
            )
        config = keras.layers.BatchNormalization.get_config(layer)
        config["synchronized"] = layer.synchronized or synchronized
        return GhostBatchNormalization.from_config({**config, "ghost_batch_size": ghost_batch_size})
    inside = [x.name for x in nested_layers(layer, include_self=False) if _to_replace(x)]
    if inside:
        raise UserError(
            "model: expected batch normalization directly in functional or sequential models, "
            f"received {inside[0]!r} inside {layer.name!r}, a {type(layer).__name__}"
        )
    if isinstance(layer, keras.layers.Lambda):
        return layer  # has no weights, and Keras refuses to deserialize a Python lambda
    return type(layer).from_config(layer.get_config())


def _is_graph(model) -> bool:
    """Whether a model's layers are known: it is sequential, or functional and so has outputs."""
    return isinstance(model, keras.Model) and (
        isinstance(model, keras.Sequential) or getattr(model, "outputs", None) is not None
    )


def _to_replace(layer) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization) and not isinstance(
        layer, GhostBatchNormalization
    )
