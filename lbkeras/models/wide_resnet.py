"""Wide residual networks, Zagoruyko and Komodakis (2016)."""

from collections.abc import Callable, Sequence

import keras

from lbkeras.errors import UserError
from lbkeras.models import parts


def wide_resnet(
    depth: int,
    width: int,
    input_shape: tuple[int | None, ...] = (32, 32, 3),
    num_classes: int = 10,
    dropout: float = 0.0,
    weight_decay: float = 0.0,
    *,
    fixed_classifier: str | bool | None = None,
    batch_normalization: Callable[[], keras.layers.Layer] | None = None,
    mean: float | Sequence[float] | None = None,
    standard_deviation: float | Sequence[float] | None = None,
) -> keras.Model:
    """Returns the wide residual network WRN-depth-width: pre-activation blocks, `depth = 6n + 4`.

    A 3x3 convolution with 16 filters, three stages of `n` blocks with `16 * width`, `32 * width`,
    `64 * width` filters at full, half and quarter resolution, batch norm, ReLU, global average
    pooling, logits. A block is batch norm, ReLU, convolution, batch norm, ReLU, dropout,
    convolution, plus the shortcut. Where the shape changes, the shortcut is a 1x1 convolution of
    the activated input.

    Args:
        depth: `6n + 4`: 10, 16, 22, 28, 40.
        width: widening factor k. WRN-16-4 has 2.75 M parameters, WRN-28-10 36.5 M.
        input_shape: `(height, width, channels)` of the uint8 images.
        num_classes: number of logits.
        dropout: rate between the two convolutions of a block, 0 to 1.
        weight_decay: coupled L2 on kernels: adds `weight_decay / 2 * |kernel|^2` to the loss; the
            paper's is 5e-4.
        fixed_classifier: replaces the last Dense layer with one that is not learned: "hadamard" (or
            True), an `lbkeras.layers.HadamardClassifier`, or "orthonormal", an
            `lbkeras.layers.OrthonormalClassifier`; weight decay then applies to its scale. Default
            None: a learned Dense layer.
        batch_normalization: function without arguments that returns a new normalization layer, for
            example ghost batch normalization. Default: Keras' with momentum 0.9, epsilon 1e-5.
        mean: mean of the pixels, a number or one per channel. Default: that of digits, MNIST or
            CIFAR-10 for images of their shape, otherwise ImageNet's for 3 channels, and 127.5 (with
            a deviation of 64) for other numbers of channels.
        standard_deviation: of the pixels, in the same form and with the same default.

    Returns:
        An uncompiled `keras.Model` from `(batch, height, width, channels)` uint8 images to
        `(batch, num_classes)` float32 logits; use a loss with `from_logits=True`.

    Raises:
        UserError: `depth` is not `6n + 4`, an unknown `fixed_classifier`, an `input_shape` without
            three entries, `num_classes` below 1, a negative `weight_decay`, or a `mean` or
            `standard_deviation` that is not a number or one per channel.

    Differs from the paper: strided convolutions pad right and bottom, as TensorFlow's `"same"`
    does. Unlike `cifar_resnet` it has no `zero_gamma`: here a ReLU follows a block's last batch
    norm; its gradient at 0 is 0, so a gamma of 0 would never change.

    Example:

    >>> model = wide_resnet(16, 4)
    >>> sum(v.shape.num_elements() for v in model.trainable_variables)
    2748890

    Reference: Zagoruyko, Komodakis, "Wide Residual Networks", arXiv:1605.07146, table 1.
    """
    if depth < 10 or (depth - 4) % 6:
        raise UserError(f"depth: expected 6n + 4 (10, 16, 22, ...), received {depth}")
    normalize = batch_normalization or parts.batch_normalization
    regularizer = parts.kernel_l2(weight_decay)

    def convolution(x, filters, strides=1, kernel_size=3):
        return keras.layers.Conv2D(
            filters,
            kernel_size,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            kernel_regularizer=regularizer,
        )(x)

    inputs, x = parts.normalized_input(input_shape, mean, standard_deviation)
    x = convolution(x, 16)
    for stage in range(3):
        filters = 16 * width * 2**stage
        for block in range((depth - 4) // 6):
            strides = 2 if stage and not block else 1
            activated = keras.layers.ReLU()(normalize()(x))
            if strides > 1 or x.shape[-1] != filters:
                x = convolution(activated, filters, strides, kernel_size=1)
            y = convolution(activated, filters, strides)
            y = keras.layers.ReLU()(normalize()(y))
            if dropout:
                y = keras.layers.Dropout(dropout)(y)
            x = keras.layers.Add()([x, convolution(y, filters)])
    x = keras.layers.ReLU()(normalize()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = parts.logits(x, num_classes, weight_decay, fixed=fixed_classifier)
    return keras.Model(inputs, outputs, name=f"wide_resnet_{depth}_{width}")
