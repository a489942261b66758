"""An LSTM that reads an image a row a time step."""

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
    """An LSTM that reads an image from top to bottom, a row a time step; logits from the last.

    A row of `width * channels` normalised pixels first goes through a linear layer with
    `projection` units.

    Args:
        input_shape: `(height, width, channels)` of the uint8 images; `height` time steps.
        num_classes: number of logits.
        units: size of the LSTM's state. Default 128.
        weight_decay: coupled L2 on kernels, the recurrent one too: adds
            `weight_decay / 2 * |kernel|^2` to the loss.
        projection: units of the linear layer, 0 for none. Default 128: the LSTM's two kernels
            together are the paper's 256 by 512.
        mean: of the pixels, a number or one a channel; by default that of the
            well-known data set of this shape.
        standard_deviation: likewise.

    Returns:
        An uncompiled `keras.Model`, `(batch, height, width, channels)` uint8 to
        `(batch, num_classes)` float32 logits: use `from_logits=True`.

    Raises:
        UserError: `input_shape` without channels.

    Differs from the paper: none known; it does not say how weights start: here as Keras' (Glorot,
    orthogonal recurrent kernel, forget gate's bias 1).

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
