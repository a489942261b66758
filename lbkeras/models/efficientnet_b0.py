"""EfficientNet-B0, with ghost batch normalization if asked for."""

from collections.abc import Sequence

import keras

from lbkeras.errors import UserError
from lbkeras.methods.batch_statistics.replace_batch_normalization import (
    with_ghost_batch_normalization,
)
from lbkeras.models import parts


def efficientnet_b0(
    input_shape: tuple[int | None, ...] = (224, 224, 3),
    num_classes: int = 1000,
    weight_decay: float = 0.0,
    dropout: float = 0.2,
    *,
    synchronized: bool = False,
    ghost_batch_size: int | None = None,
    mean: float | Sequence[float] | None = None,
    standard_deviation: float | Sequence[float] | None = None,
) -> keras.Model:
    """EfficientNet-B0 from `keras.applications` without weights, for training from scratch.

    What differs there: the uint8 input and its normalization in the place of Keras' own, dropout
    and float32 logits after the global average pooling, L2 on kernels, batch norm with momentum 0.9
    (Keras' 0.99 lags behind when large batches leave few updates), and ghost batch normalization.
    The residual branch of block i of 0 to 15 is dropped as a whole for an example (drop connect)
    with probability 0.2 i / 16, as published.

    Args:
        input_shape: `(height, width, channels)` of the uint8 images, at least 32 by 32 and with 3
            channels.
        num_classes: number of logits. With 1,000 it has 5,288,548 trainable parameters.
        weight_decay: coupled L2 on kernels: adds `weight_decay / 2 * |kernel|^2` to the loss.
        dropout: rate before the logits, 0 to 1. Default 0.2, the paper's.
        synchronized: batch norm over the batches of all replicas under `tf.distribute`, rather than
            each replica's own.
        ghost_batch_size: examples that are normalized together in training. Default None: plain
            batch normalization.
        mean: of the pixels, a number or one a channel; by default that of the
            well-known data set of this shape.
        standard_deviation: likewise.

    Returns:
        An uncompiled `keras.Model`, `(batch, height, width, channels)` uint8 to
        `(batch, num_classes)` float32 logits: use `from_logits=True`.

    Raises:
        UserError: images smaller than 32 by 32, or without 3 channels.

    Differs from the paper: the moving averages' momentum, which is 0.99 there; weight decay leaves
    the biases of squeeze-and-excitation out.

    Example:

    >>> model = efficientnet_b0((32, 32, 3), num_classes=10, weight_decay=1e-5)
    >>> len(model.losses)
    82

    Reference: Tan, Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
    arXiv:1905.11946, table 1; trained with large batches by Kim et al., arXiv:2107.05855.
    """
    inputs, x = parts.normalized_input(input_shape, mean, standard_deviation)
    if min(inputs.shape[1:3]) < 32 or inputs.shape[-1] != 3:
        raise UserError(
            "input_shape: expected a height and width of at least 32 and 3 channels for "
            f"EfficientNet-B0, received {tuple(input_shape)}."
        )
    body = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=tuple(input_shape), pooling="avg"
    )
    first = body.get_layer("stem_conv_pad")  # after Keras' own rescaling and normalization
    x = keras.Model(first.input, body.outputs[0]).call(x)
    for layer in body.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum, layer.synchronized = 0.9, synchronized
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D) and weight_decay:
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            # The layer's attribute goes into a saved model, the variable's into the loss.
            layer.kernel.regularizer = parts.kernel_l2(weight_decay)
            attribute = "depthwise_regularizer" if depthwise else "kernel_regularizer"
            setattr(layer, attribute, layer.kernel.regularizer)
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    outputs = parts.logits(x, num_classes, weight_decay)
    model = keras.Model(inputs, outputs, name="efficientnet_b0")
    if ghost_batch_size is None:
        return model
    return with_ghost_batch_normalization(model, ghost_batch_size)
