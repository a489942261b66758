"""AlexNet and AlexNet-BN, as the LARS paper trains them."""

from collections.abc import Sequence

import keras
from keras import ops

from lbkeras.errors import UserError
from lbkeras.models import parts

_SMALLEST = 67  # leaves 3 pixels for the last pooling


def alexnet(
    input_shape: tuple[int | None, ...] = (227, 227, 3),
    num_classes: int = 1000,
    weight_decay: float = 0.0,
    dropout: float = 0.5,
    *,
    batch_normalization: bool = False,
    groups: int = 2,
    mean: float | Sequence[float] | None = None,
    standard_deviation: float | Sequence[float] | None = 1.0,
) -> keras.Model:
    """Returns AlexNet in its Caffe form, with local response normalization or batch normalization.

    Five convolutions, 11x11 with stride 4 and 96 filters, 5x5 with 256, 3x3 with 384, 384 and 256,
    each with ReLU; 3x3 max pooling with stride 2 after the first, second and fifth; two Dense
    layers with 4,096 units, ReLU and dropout; logits. Local response normalization follows the ReLU
    of the first two convolutions:

        x / (1 + 1e-4 / 5 * sum of x² over 5 neighboring channels)^0.75

    AlexNet-BN has no local response normalization; its convolutions have no bias and are followed
    by batch normalization, then ReLU.

    Args:
        input_shape: `(height, width, channels)` of the uint8 images, at least 67 by 67.
        num_classes: number of logits. With 1,000 AlexNet has 60,965,224 trainable parameters.
        weight_decay: coupled L2 on kernels: adds `weight_decay / 2 * |kernel|^2` to the loss; the
            paper's is 5e-4.
        dropout: rate after the two hidden Dense layers, 0 to 1. Default 0.5.
        batch_normalization: whether to build AlexNet-BN. Default False.
        groups: 2 splits the second, fourth and fifth convolution into two halves, like the original
            on two GPUs and the authors' Caffe models; 1 connects them fully (62,378,344
            parameters). On CPUs Keras compiles grouped convolutions with XLA, which is slow.
        mean: mean of the pixels, a number or one per channel. Default: that of digits, MNIST or
            CIFAR-10 for images of their shape, otherwise ImageNet's for 3 channels, and 127.5 for
            other numbers of channels.
        standard_deviation: of the pixels, in the same form. Default: 1, so pixels keep their scale
            as in Caffe; the initialization and the constants of the normalization rely on it.

    Returns:
        An uncompiled `keras.Model` from `(batch, height, width, channels)` uint8 images to
        `(batch, num_classes)` float32 logits; use a loss with `from_logits=True`.

    Raises:
        UserError: images smaller than 67 by 67, groups other than 1 and 2, an `input_shape` without
            three entries, `num_classes` below 1, a negative `weight_decay`, or a `mean` or
            `standard_deviation` that is not a number or one per channel.

    Differs from the paper: subtracts channel means instead of a mean image; biases do not get
    Caffe's doubled learning rate; batch norm has epsilon 1e-5, not 1e-4; pooling drops the last
    pixels where its windows do not fit exactly, as with 224 by 224 (with 227 they fit).

    Example:

    >>> model = alexnet((67, 67, 3), num_classes=10, batch_normalization=True)
    >>> model.output_shape
    (None, 10)

    Reference: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional
    Neural Networks", NIPS 2012; You, Gitman, Ginsburg, "Large Batch Training of Convolutional
    Networks", arXiv:1708.03888, section 3; the Caffe models bvlc_alexnet (BVLC/caffe) and
    alexnet_bn (borisgin/nvcaffe).
    """
    if groups not in (1, 2):
        raise UserError(f"groups: expected 1 or 2, received {groups!r}.")
    inputs, x = parts.normalized_input(input_shape, mean, standard_deviation)
    if min(inputs.shape[1:3]) < _SMALLEST:
        raise UserError(
            f"input_shape: expected a height and width of at least {_SMALLEST} for AlexNet, "
            f"received {tuple(input_shape)}."
        )
    regularizer = parts.kernel_l2(weight_decay)

    def convolution(x, number, filters, kernel_size, bias=0.0, **options):
        x = keras.layers.Conv2D(
            filters,
            kernel_size,
            use_bias=not batch_normalization,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            bias_initializer=keras.initializers.Constant(bias),
            kernel_regularizer=regularizer,
            name=f"convolution_{number}",
            **options,
        )(x)
        if batch_normalization:
            x = parts.batch_normalization()(x)
        x = keras.layers.ReLU()(x)
        return x if batch_normalization or number > 2 else _local_response_normalization(x)

    def pool(x):
        return keras.layers.MaxPooling2D(3, strides=2)(x)

    x = pool(convolution(x, 1, 96, 11, strides=4))
    x = pool(convolution(x, 2, 256, 5, 0.1, padding="same", groups=groups))
    x = convolution(x, 3, 384, 3, padding="same")
    x = convolution(x, 4, 384, 3, 0.1, padding="same", groups=groups)
    x = pool(convolution(x, 5, 256, 3, 0.1, padding="same", groups=groups))
    x = keras.layers.Flatten()(x)
    for number in (6, 7):
        x = keras.layers.Dense(
            4096,
            activation="relu",
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.005),
            bias_initializer=keras.initializers.Constant(0.1),
            kernel_regularizer=regularizer,
            name=f"hidden_{number}",
        )(x)
        x = keras.layers.Dropout(dropout)(x)
    outputs = parts.logits(
        x,
        num_classes,
        weight_decay,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
    )
    return keras.Model(inputs, outputs, name="alexnet_bn" if batch_normalization else "alexnet")


def _local_response_normalization(x, size=5, alpha=1e-4, beta=0.75):
    """Computes in float32: squares overflow float16, and bfloat16 rounds the sum's term away."""
    dtype, channels = x.dtype, x.shape[-1]
    x = ops.cast(x, "float32")
    padded = ops.pad(ops.square(x), [[0, 0]] * 3 + [[size // 2, size // 2]])
    total = sum(padded[..., i : i + channels] for i in range(1, size)) + padded[..., :channels]
    return ops.cast(x * ops.power(1 + alpha / size * total, -beta), dtype)
