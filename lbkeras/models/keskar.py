"""The networks on which Keskar et al. (2016) measured sharp minima: F1, C1, C2, C3, C4.

C3 and C4 are C1 and C2 for 100 classes. F2, for speech (TIMIT), is not here.
"""

from collections.abc import Sequence

import keras

from lbkeras.models import parts


def keskar_f1(
    input_shape: tuple[int | None, ...] = (28, 28, 1),
    num_classes: int = 10,
    weight_decay: float = 0.0,
    *,
    mean: float | Sequence[float] | None = None,
    standard_deviation: float | Sequence[float] | None = None,
) -> keras.Model:
    """Returns F1, for MNIST: five hidden layers of 512 units with batch norm and ReLU; logits.

    Args:
        input_shape: `(height, width, channels)` of the uint8 images.
        num_classes: number of logits.
        weight_decay: coupled L2 on kernels: adds `weight_decay / 2 * |kernel|^2` to the loss; the
            paper uses none.
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

    Differs from the paper: Dense layers before batch norm have no bias, which would have no effect.

    Example:

    >>> model = keskar_f1()
    >>> sum(v.shape.num_elements() for v in model.trainable_variables)
    1460234

    Reference: Keskar, Mudigere, Nocedal, Smelyanskiy, Tang, "On Large-Batch Training for Deep
    Learning: Generalization Gap and Sharp Minima", arXiv:1609.04836, appendix B.
    """
    inputs, x = parts.normalized_input(input_shape, mean, standard_deviation)
    x = keras.layers.Flatten()(x)
    for _ in range(5):
        x = _dense(x, 512, weight_decay)
    return keras.Model(inputs, parts.logits(x, num_classes, weight_decay), name="keskar_f1")


def keskar_c1(
    input_shape: tuple[int | None, ...] = (32, 32, 3),
    num_classes: int = 10,
    weight_decay: float = 0.0,
    *,
    mean: float | Sequence[float] | None = None,
    standard_deviation: float | Sequence[float] | None = None,
) -> keras.Model:
    """Returns C1, for CIFAR-10, shallow like AlexNet; with `num_classes=100` it is C3.

    Two stages of 5x5 convolution with 64 filters, batch norm, ReLU, 3x3 max pooling with stride 2;
    Dense with 384 and with 192 units, each with batch norm, ReLU and dropout 0.5; logits.

    Args, returns and differences: as `keskar_f1`, also for convolutions.

    Example:

    >>> model = keskar_c1()
    >>> sum(v.shape.num_elements() for v in model.trainable_variables)
    1757130

    Reference: as `keskar_f1`; layers as in keskarnitish/large-batch-training, network_zoo.py.
    """
    inputs, x = parts.normalized_input(input_shape, mean, standard_deviation)
    for _ in range(2):
        x = _convolution(x, 64, 5, weight_decay)
        x = keras.layers.MaxPooling2D(3, strides=2, padding="same")(x)
    x = keras.layers.Flatten()(x)
    for units in (384, 192):
        x = keras.layers.Dropout(0.5)(_dense(x, units, weight_decay))
    name = "keskar_c3" if num_classes == 100 else "keskar_c1"
    return keras.Model(inputs, parts.logits(x, num_classes, weight_decay), name=name)


def keskar_c2(
    input_shape: tuple[int | None, ...] = (32, 32, 3),
    num_classes: int = 10,
    weight_decay: float = 0.0,
    *,
    mean: float | Sequence[float] | None = None,
    standard_deviation: float | Sequence[float] | None = None,
) -> keras.Model:
    """Returns C2, for CIFAR-10, deep like VGG; with `num_classes=100` it is C4.

    Thirteen 3x3 convolutions with batch norm and ReLU, in five groups: two with 64 filters, two
    with 128, three with 256, three with 512 and three with 512. Dropout between the convolutions of
    a group (0.3 in the first group, then 0.4), 2x2 max pooling after each group. Then dropout 0.5,
    Dense with 512 units, batch norm, ReLU, dropout 0.5; logits.

    Args, returns and differences: as `keskar_f1`, also for convolutions.

    Example:

    >>> model = keskar_c2()
    >>> sum(v.shape.num_elements() for v in model.trainable_variables)
    14987210

    Reference: as `keskar_f1`; layers as in keskarnitish/large-batch-training, network_zoo.py.
    """
    inputs, x = parts.normalized_input(input_shape, mean, standard_deviation)
    for filters, count, dropout in (
        (64, 2, 0.3),
        (128, 2, 0.4),
        (256, 3, 0.4),
        (512, 3, 0.4),
        (512, 3, 0.4),
    ):
        for i in range(count):
            x = keras.layers.Dropout(dropout)(x) if i else x
            x = _convolution(x, filters, 3, weight_decay)
        x = keras.layers.MaxPooling2D(2, padding="same")(x)
    x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(x))
    x = keras.layers.Dropout(0.5)(_dense(x, 512, weight_decay))
    name = "keskar_c4" if num_classes == 100 else "keskar_c2"
    return keras.Model(inputs, parts.logits(x, num_classes, weight_decay), name=name)


def keskar_c3(
    input_shape: tuple[int | None, ...] = (32, 32, 3),
    num_classes: int = 100,
    weight_decay: float = 0.0,
    *,
    mean: float | Sequence[float] | None = None,
    standard_deviation: float | Sequence[float] | None = None,
) -> keras.Model:
    """Returns C3, for CIFAR-100: `keskar_c1` with 100 classes.

    Args, returns and differences: as for `keskar_c1`.
    """
    return keskar_c1(
        input_shape, num_classes, weight_decay, mean=mean, standard_deviation=standard_deviation
    )


def keskar_c4(
    input_shape: tuple[int | None, ...] = (32, 32, 3),
    num_classes: int = 100,
    weight_decay: float = 0.0,
    *,
    mean: float | Sequence[float] | None = None,
    standard_deviation: float | Sequence[float] | None = None,
) -> keras.Model:
    """Returns C4, for CIFAR-100: `keskar_c2` with 100 classes.

    Args, returns and differences: as for `keskar_c2`.
    """
    return keskar_c2(
        input_shape, num_classes, weight_decay, mean=mean, standard_deviation=standard_deviation
    )


def _dense(x, units, weight_decay):
    x = keras.layers.Dense(units, use_bias=False, kernel_regularizer=parts.kernel_l2(weight_decay))(
        x
    )
    return keras.layers.ReLU()(parts.batch_normalization()(x))


def _convolution(x, filters, kernel_size, weight_decay):
    x = keras.layers.Conv2D(
        filters,
        kernel_size,
        padding="same",
        use_bias=False,
        kernel_regularizer=parts.kernel_l2(weight_decay),
    )(x)
    return keras.layers.ReLU()(parts.batch_normalization()(x))
