"""A small convolutional network for digits and MNIST."""

from collections.abc import Sequence

import keras

from lbkeras.models import parts


def small_cnn(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    width: int = 16,
    weight_decay: float = 0.0,
    batch_normalization: bool = False,
    *,
    fixed_classifier: str | bool | None = None,
    mean: float | Sequence[float] | None = None,
    standard_deviation: float | Sequence[float] | None = None,
) -> keras.Model:
    """Returns a small convolutional network, by default without batch normalization.

    Two stages of 3x3 convolution, ReLU and 2x2 max pooling with `width` and `2 * width` filters,
    then Dense with `4 * width` units, ReLU and logits.

    Args:
        input_shape: `(height, width, channels)` of the uint8 images, at least 4 by 4.
        num_classes: number of logits.
        width: filters of the first convolution.
        weight_decay: coupled L2 on kernels: adds `weight_decay / 2 * |kernel|^2` to the loss.
        batch_normalization: whether to normalize before each convolution's ReLU.
        fixed_classifier: replaces the last Dense layer by one that is not learned: "hadamard" (or
            True), a `lbkeras.layers.HadamardClassifier`, or "orthonormal", an
            `lbkeras.layers.OrthonormalClassifier`; weight decay then applies to its scale. Default
            None: a learned Dense layer.
        mean: mean of the pixels, a number or one per channel. Default: that of digits, MNIST or
            CIFAR-10 for images of their shape, otherwise ImageNet's for 3 channels, and 127.5 (with
            a deviation of 64) for other numbers of channels.
        standard_deviation: of the pixels, in the same form and with the same default.

    Returns:
        An uncompiled `keras.Model` from `(batch, height, width, channels)` uint8 images to
        `(batch, num_classes)` float32 logits; use a loss with `from_logits=True`.

    Raises:
        UserError: an unknown `fixed_classifier`, an `input_shape` without three entries,
            `num_classes` below 1, a negative `weight_decay`, or a `mean` or `standard_deviation`
            that is not a number or one per channel.

    Example:

    >>> model = small_cnn((8, 8, 1), num_classes=10)
    >>> model.count_params()
    13706
    """
    inputs, x = parts.normalized_input(input_shape, mean, standard_deviation)
    regularizer = parts.kernel_l2(weight_decay)
    for i, filters in enumerate((width, 2 * width)):
        x = keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            use_bias=not batch_normalization,
            kernel_initializer="he_normal",
            kernel_regularizer=regularizer,
            name=f"convolution_{i + 1}",
        )(x)
        if batch_normalization:
            x = parts.batch_normalization()(x)
        x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(
        4 * width,
        activation="relu",
        kernel_initializer="he_normal",
        kernel_regularizer=regularizer,
        name="hidden",
    )(x)
    outputs = parts.logits(x, num_classes, weight_decay, fixed=fixed_classifier)
    return keras.Model(inputs, outputs, name="small_cnn")
