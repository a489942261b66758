"""An LSTM over the rows of an image."""

from collections.abc import Sequence

import keras

from lbkeras.models import parts


def row_lstm(
    input_shape: tuple[int | None, ...] = (28, 28, 1),
    num_classes: int = 10,
    units: int = 128,
    weight_decay: float = 0.0,
    *,
    projection: int | None = 128,
    mean: float | Sequence[float] | None = None,
    standard_deviation: float | Sequence[float] | None = None,
) -> keras.Model:
    """Returns an LSTM over an image's rows from top to bottom, one row per time step.

    Each row of `width * channels` normalized pixels first passes a linear layer with `projection`
    units. The logits come from the last time step.

    Args:
        input_shape: `(height, width, channels)` of the uint8 images; `height` time steps.
        num_classes: number of logits.
        units: size of the LSTM's state. Default 128.
        weight_decay: coupled L2 on kernels and the recurrent kernel: adds
            `weight_decay / 2 * |kernel|^2` to the loss.
        projection: units of the linear layer, 0 for none. Default 128: the LSTM's two kernels
            together then have the paper's shape, 256 by 512.
        mean: mean of the pixels, a number or one per channel. Default: that of digits, MNIST or
            CIFAR-10 for images of their shape, otherwise ImageNet's for 3 channels, and 127.5 (with
            a deviation of 64) for other numbers of channels.
        standard_deviation: of the pixels, in the same form and with the same default.

    Returns:
        An uncompiled `keras.Model` from `(batch, height, width, channels)` uint8 images to
        `(batch, num_classes)` float32 logits; use a loss with `from_logits=True`.

    Raises:
        UserError: an `input_shape` without three entries, `num_classes` below 1, a negative
            `weight_decay`, or a `mean` or `standard_deviation` that is not a number or one per
            channel.

    Differs from the paper: no known difference. The paper does not state the initialization; here
    it is Keras' (Glorot, orthogonal recurrent kernel, forget gate's bias 1).

    Example:

    >>> model = row_lstm()
    >>> model.count_params()
    136586

    Reference: You et al., "Large-Batch Training for LSTM and Beyond", arXiv:1901.08256, the MNIST
    application.
    """
    inputs, x = parts.normalized_input(input_shape, mean, standard_deviation)
    x = keras.layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]), name="rows")(x)
    regularizer = parts.kernel_l2(weight_decay)
    if projection:
        x = keras.layers.Dense(projection, kernel_regularizer=regularizer, name="projection")(x)
    x = keras.layers.LSTM(
        units, kernel_regularizer=regularizer, recurrent_regularizer=regularizer, name="lstm"
    )(x)
    return keras.Model(inputs, parts.logits(x, num_classes, weight_decay), name="row_lstm")
