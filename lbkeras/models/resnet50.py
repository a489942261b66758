"""ResNet-50 for ImageNet, as large-batch papers train it."""

from collections.abc import Sequence

import keras

from lbkeras import checks
from lbkeras.models import parts


def resnet50(
    input_shape: tuple[int | None, ...] = (224, 224, 3),
    num_classes: int = 1000,
    weight_decay: float = 0.0,
    *,
    zero_gamma: bool = True,
    last_gamma: float | None = None,
    fixed_classifier: str | bool | None = None,
    mean: float | Sequence[float] | None = None,
    standard_deviation: float | Sequence[float] | None = None,
) -> keras.Model:
    """Returns ResNet-50 v1.5: 16 bottleneck blocks with the stride in the 3x3 convolution.

    A 7x7 convolution with 64 filters and stride 2, batch norm, ReLU, 3x3 max pooling with stride 2;
    four stages of 3, 4, 6, 3 blocks with 64, 128, 256, 512 filters, the later three at half the
    resolution of the one before; global average pooling, logits. A block is a 1x1, a 3x3 and a 1x1
    convolution with 4 times the filters, each with batch norm, plus the shortcut, ReLU. Where the
    shape changes, the shortcut is a strided 1x1 convolution with batch norm.

    Kernels have He et al.'s initialization with fan-out, the last Dense layer N(0, 0.01²).

    Args:
        input_shape: `(height, width, channels)` of the uint8 images, of any size; the last stage
            has 1/32 of it.
        num_classes: number of logits. With 1,000 it has 25,557,032 trainable parameters.
        weight_decay: coupled L2 on kernels: adds `weight_decay / 2 * |kernel|^2` to the loss; 1e-4
            in Goyal et al., not on batch norm's gamma and beta.
        zero_gamma: whether the last batch norm of every block starts with gamma 0, so that each
            block is an identity at first. Default True, as in Goyal et al.
        last_gamma: another initial value of those gammas, at least 0, as tuned by Nado et al. None:
            0 with `zero_gamma`, otherwise 1.
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
        UserError: a negative `last_gamma`, an unknown `fixed_classifier`, an `input_shape` without
            three entries, `num_classes` below 1, a negative `weight_decay`, or a `mean` or
            `standard_deviation` that is not a number or one per channel.

    Differs from the paper: strided convolutions pad right and bottom, as TensorFlow's `"same"`
    does. He et al. have the stride in the first 1x1 convolution; Goyal et al. and every large-batch
    paper since have it in the 3x3 one.

    Example:

    >>> model = resnet50((32, 32, 3), num_classes=10)
    >>> model.output_shape
    (None, 10)

    Reference: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition",
    arXiv:1512.03385, table 1; Goyal et al., "Accurate, Large Minibatch SGD", arXiv:1706.02677,
    section 5.1.
    """
    regularizer = parts.kernel_l2(weight_decay)
    if last_gamma is None:
        last_gamma = 0.0 if zero_gamma else 1.0
    last_gamma = checks.not_negative("last_gamma", last_gamma)

    def convolution(x, filters, kernel_size=1, strides=1):
        return keras.layers.Conv2D(
            filters,
            kernel_size,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_initializer=parts.he_fan_out(),
            kernel_regularizer=regularizer,
        )(x)

    def normalize_and_activate(x):
        return keras.layers.ReLU()(parts.batch_normalization()(x))

    def block(x, filters, strides):
        y = normalize_and_activate(convolution(x, filters))
        y = normalize_and_activate(convolution(y, filters, kernel_size=3, strides=strides))
        last = parts.batch_normalization()
        last.gamma_initializer = keras.initializers.Constant(last_gamma)
        y = last(convolution(y, 4 * filters))
        if strides > 1 or x.shape[-1] != 4 * filters:
            x = parts.batch_normalization()(convolution(x, 4 * filters, strides=strides))
        return keras.layers.ReLU()(keras.layers.Add()([x, y]))

    inputs, x = parts.normalized_input(input_shape, mean, standard_deviation)
    x = normalize_and_activate(convolution(x, 64, kernel_size=7, strides=2))
    x = keras.layers.MaxPooling2D(3, strides=2, padding="same")(x)
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for i in range(blocks):
            x = block(x, 64 * 2**stage, strides=2 if stage and not i else 1)
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = parts.logits(
        x,
        num_classes,
        weight_decay,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        fixed=fixed_classifier,
    )
    return keras.Model(inputs, outputs, name="resnet50")
