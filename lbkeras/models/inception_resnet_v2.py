"""Inception-ResNet-v2, optionally with ghost batch normalization."""

from collections.abc import Sequence

import keras

from lbkeras.errors import UserError
from lbkeras.methods.batch_statistics.replace_batch_normalization import (
    with_ghost_batch_normalization,
)
from lbkeras.models import parts


def inception_resnet_v2(
    input_shape: tuple[int | None, ...] = (299, 299, 3),
    num_classes: int = 1000,
    weight_decay: float = 0.0,
    dropout: float = 0.2,
    *,
    ghost_batch_size: int | None = None,
    mean: float | Sequence[float] | None = 127.5,
    standard_deviation: float | Sequence[float] | None = 127.5,
) -> keras.Model:
    """Returns `keras.applications`' Inception-ResNet-v2 without weights, to train from scratch.

    Additions: the uint8 input and its normalization; dropout and float32 logits after the global
    average pooling; L2 on kernels; batch norm with momentum 0.9 (Keras' 0.99 lags behind when large
    batches leave few updates); optional ghost batch normalization.

    Args:
        input_shape: `(height, width, channels)` of the uint8 images, at least 75 by 75.
        num_classes: number of logits. With 1,000 it has 55,813,192 trainable parameters.
        weight_decay: coupled L2 on kernels: adds `weight_decay / 2 * |kernel|^2` to the loss.
        dropout: rate before the logits, 0 to 1. Default 0.2, the paper's.
        ghost_batch_size: number of examples normalized together in training; Smith et al. use 32
            and 64. Default None: plain batch normalization.
        mean: mean of the pixels, a number or one per channel. By default pixels are scaled to -1 to
            1, as in the paper's code.
        standard_deviation: of the pixels, in the same form.

    Returns:
        An uncompiled `keras.Model` from `(batch, height, width, channels)` uint8 images to
        `(batch, num_classes)` float32 logits; use a loss with `from_logits=True`.

    Raises:
        UserError: images smaller than 75 by 75, a ghost batch size below 1, an `input_shape`
            without three entries, `num_classes` below 1, a negative `weight_decay`, or a `mean` or
            `standard_deviation` that is not a number or one per channel.

    Differs from the paper: as in `keras.applications`, batch norm has no gamma, and kernels have
    Glorot's initialization.

    Example:

    >>> model = inception_resnet_v2((75, 75, 3), num_classes=10, weight_decay=1e-4)
    >>> len(model.losses)
    245

    Reference: Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of
    Residual Connections on Learning", arXiv:1602.07261, section 3.2; trained with large batches by
    Smith et al., arXiv:1711.00489, section 5.3.
    """
    inputs, x = parts.normalized_input(input_shape, mean, standard_deviation)
    if min(inputs.shape[1:3]) < 75:
        raise UserError(
            "input_shape: expected a height and width of at least 75 for Inception-ResNet-v2, "
            f"received {tuple(input_shape)}."
        )
    body = keras.applications.InceptionResNetV2(
        include_top=False,
        weights=None,
        input_tensor=x,
        input_shape=tuple(input_shape),
        pooling="avg",
    )
    for layer in body.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9
        elif isinstance(layer, keras.layers.Conv2D) and weight_decay:
            # A saved model keeps the layer's attribute; the loss uses the variable's.
            layer.kernel_regularizer = layer.kernel.regularizer = parts.kernel_l2(weight_decay)
    x = body.outputs[0]
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    outputs = parts.logits(x, num_classes, weight_decay)
    model = keras.Model(inputs, outputs, name="inception_resnet_v2")
    if ghost_batch_size is None:
        return model
    return with_ghost_batch_normalization(model, ghost_batch_size)
