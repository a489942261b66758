"""The CIFAR residual networks of He et al. (2016)."""

from collections.abc import Callable, Sequence

import keras

from lbkeras.errors import UserError
from lbkeras.models import parts


def cifar_resnet(
    depth: int = 20,
    width: int = 16,
    input_shape: tuple[int | None, ...] = (32, 32, 3),
    num_classes: int = 10,
    weight_decay: float = 0.0,
    *,
    shortcut: str = "A",
    zero_gamma: bool = False,
    fixed_classifier: str | bool | None = None,
    batch_normalization: Callable[[], keras.layers.Layer] | None = None,
    mean: float | Sequence[float] | None = None,
    standard_deviation: float | Sequence[float] | None = None,
) -> keras.Model:
    """Returns the residual network for CIFAR: three stages of `n` blocks, `depth = 6n + 2`.

    Stages have `width`, `2 * width`, `4 * width` filters at full, half and quarter resolution. A
    block is 3x3 convolution, batch norm, ReLU, convolution, batch norm, plus the shortcut, ReLU.
    Where the shape changes, shortcut A takes every second pixel and pads new channels with zeros
    (no parameters); shortcut B is a strided 1x1 convolution with batch norm.

    Args:
        depth: `6n + 2`: 8, 14, 20, 32, 44, 56, 110. ResNet-20 has 0.27 M parameters.
        width: filters of the first stage.
        input_shape: `(height, width, channels)` of the uint8 images.
        num_classes: number of logits.
        weight_decay: coupled L2 on kernels: adds `weight_decay / 2 * |kernel|^2` to the loss; the
            paper's is 1e-4.
        shortcut: `"A"` (the paper's on CIFAR) or `"B"`.
        zero_gamma: whether the last batch norm of every block starts with gamma 0, so that each
            block is an identity at first, as in Goyal et al., arXiv:1706.02677, section 5.1, for
            large batches. Default False, as in the paper.
        fixed_classifier: replaces the last Dense layer by one that is not learned: "hadamard" (or
            True), a `lbkeras.layers.HadamardClassifier`, or "orthonormal", an
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
        UserError: `depth` is not `6n + 2`, an unknown `shortcut` or `fixed_classifier`, an
            `input_shape` without three entries, `num_classes` below 1, a negative `weight_decay`,
            or a `mean` or `standard_deviation` that is not a number or one per channel.

    Differs from the paper: normalizes by channel means and standard deviations instead of
    subtracting the mean image; strided convolutions pad right and bottom, as TensorFlow's `"same"`
    does.

    Example:

    >>> model = cifar_resnet(depth=20)
    >>> sum(v.shape.num_elements() for v in model.trainable_variables)
    269722

    Reference: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition",
    arXiv:1512.03385, section 4.2.
    """
    if depth < 8 or (depth - 2) % 6:
        raise UserError(f"depth: expected 6n + 2 (8, 14, 20, ...), received {depth}.")
    if shortcut not in ("A", "B"):
        raise UserError(f'shortcut: expected "A" or "B", received {shortcut!r}.')
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
    x = keras.layers.ReLU()(normalize()(convolution(x, width)))
    for stage in range(3):
        filters = width * 2**stage
        for block in range((depth - 2) // 6):
            strides = 2 if stage and not block else 1
            y = keras.layers.ReLU()(normalize()(convolution(x, filters, strides)))
            last = parts.with_zero_gamma(normalize()) if zero_gamma else normalize()
            y = last(convolution(y, filters))
            if x.shape[-1] != filters:
                if shortcut == "A":
                    # Pooling over one pixel is the strided identity.
                    x = keras.layers.MaxPooling2D(1, strides=strides, padding="same")(x)
                    x = keras.ops.pad(x, [[0, 0], [0, 0], [0, 0], [0, filters - x.shape[-1]]])
                else:
                    x = normalize()(convolution(x, filters, strides, kernel_size=1))
            x = keras.layers.ReLU()(keras.layers.Add()([x, y]))
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = parts.logits(x, num_classes, weight_decay, fixed=fixed_classifier)
    return keras.Model(inputs, outputs, name=f"resnet{depth}")
