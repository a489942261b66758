"""A multilayer perceptron."""

from collections.abc import Sequence

import keras

from lbkeras.models import parts


def mlp(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    hidden_sizes: Sequence[int] = (512,),
    weight_decay: float = 0.0,
    batch_normalization: bool = False,
    *,
    mean: float | Sequence[float] | None = None,
    standard_deviation: float | Sequence[float] | None = None,
) -> keras.Model:
    """Returns a multilayer perceptron, by default without batch normalization.

    The input is normalized and flattened, then Dense and ReLU for each hidden size; logits.

    Args:
        input_shape: `(height, width, channels)` of the uint8 images.
        num_classes: number of logits.
        hidden_sizes: units of each hidden layer; `()` is multinomial logistic regression.
        weight_decay: coupled L2 on kernels: adds `weight_decay / 2 * |kernel|^2` to the loss.
        batch_normalization: whether to normalize before each ReLU; those Dense layers then have no
            bias.
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

    Example:

    >>> model = mlp((28, 28, 1), num_classes=10)
    >>> model.count_params()
    407050
    """
    inputs, x = parts.normalized_input(input_shape, mean, standard_deviation)
    x = keras.layers.Flatten()(x)
    for i, units in enumerate(hidden_sizes):
        x = keras.layers.Dense(
            units,
            activation=None if batch_normalization else "relu",
            use_bias=not batch_normalization,
            kernel_initializer="he_normal",
            kernel_regularizer=parts.kernel_l2(weight_decay),
            name=f"hidden_{i + 1}",
        )(x)
        if batch_normalization:
            x = keras.layers.ReLU()(parts.batch_normalization()(x))
    return keras.Model(inputs, parts.logits(x, num_classes, weight_decay), name="mlp")
