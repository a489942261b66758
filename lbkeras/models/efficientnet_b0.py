"""EfficientNet-B0, optionally with ghost batch normalization."""

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
    """Returns `keras.applications`' EfficientNet-B0 without weights, for training from scratch.

    It differs from Keras' in these points: the uint8 input and its normalization replace Keras'
    own; dropout and float32 logits follow the global average pooling; kernels have L2; batch norm
    has momentum 0.9 (Keras' 0.99 lags behind when large batches leave few updates); ghost batch
    normalization is optional.
    As published, block i of 0 to 15 drops its whole residual branch for an example (drop connect)
    with probability 0.2 i / 16.

    Args:
        input_shape: `(height, width, channels)` of the uint8 images, at least 32 by 32 and with 3
            channels.
        num_classes: number of logits. With 1,000 it has 5,288,548 trainable parameters.
        weight_decay: coupled L2 on kernels: adds `weight_decay / 2 * |kernel|^2` to the loss.
        dropout: rate before the logits, 0 to 1. Default 0.2, the paper's.
        synchronized: whether batch norm covers the batches of all replicas under `tf.distribute`,
            rather than each replica's own.
        ghost_batch_size: number of examples normalized together in training. Default None: plain
            batch normalization.
        mean: mean of the pixels, a number or one per channel. Default: CIFAR-10's for images of 32
            by 32, otherwise ImageNet's.
        standard_deviation: of the pixels, in the same form and with the same default.

    Returns:
        An uncompiled `keras.Model` from `(batch, height, width, channels)` uint8 images to
        `(batch, num_classes)` float32 logits; use a loss with `from_logits=True`.

    Raises:
        UserError: images smaller than 32 by 32 or without 3 channels, a ghost batch size below 1,
            an `input_shape` without three entries, `num_classes` below 1, a negative
            `weight_decay`, or a `mean` or `standard_deviation` that is not a number or one per
            channel.

    Differs from the paper: the moving averages' momentum is 0.99 there; here weight decay excludes
    the biases of squeeze-and-excitation.

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
            # A saved model keeps the layer's attribute; the loss uses the variable's.
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
