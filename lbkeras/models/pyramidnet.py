"""PyramidNet with ShakeDrop."""

import math
from collections.abc import Sequence

import keras

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.layers.shake_drop import ShakeDrop
from lbkeras.models import parts


def pyramidnet(
    depth: int = 110,
    widening: int = 270,
    input_shape: tuple[int | None, ...] = (32, 32, 3),
    num_classes: int = 10,
    weight_decay: float = 0.0,
    *,
    bottleneck: bool = False,
    shake_drop: bool = True,
    last_survival_probability: float = 0.5,
    survival: str = "linear",
    alpha: tuple[float, float] = (-1.0, 1.0),
    beta: tuple[float, float] = (0.0, 1.0),
    level: str = "image",
    mean: float | Sequence[float] | None = None,
    standard_deviation: float | Sequence[float] | None = None,
) -> keras.Model:
    """Returns an additive PyramidNet: each block is a little wider and has ShakeDrop.

    A 3x3 convolution with 16 filters and batch norm, three stages of `n` blocks at full, half and
    quarter resolution, batch norm, ReLU, global average pooling, logits. The k-th of `K = 3n`
    blocks has `round(16 + widening * k / K)` filters. A block is batch norm, 3x3 convolution, batch
    norm, ReLU, 3x3 convolution, batch norm, ShakeDrop, plus the shortcut. With `bottleneck` it is
    batch norm, 1x1 convolution, batch norm, ReLU, 3x3, batch norm, ReLU, 1x1 with 4 times the
    filters, batch norm, ShakeDrop, plus the shortcut. The shortcut averages 2x2 pixels where the
    resolution halves and pads new channels with zeros (no parameters). Nothing follows the sum.

    The branch of block k survives with probability `1 - k / K * (1 - last_survival_probability)`.
    For the paper's baselines: `alpha=(0, 0), beta=(0, 0)` gives stochastic depth, and
    `last_survival_probability=0, survival="constant", alpha=(0, 1)` Shake-Shake on a single branch.

    Args:
        depth: `6n + 2`, or `9n + 2` with `bottleneck`. Default 110.
        widening: filters that all blocks together add, the paper's alpha. Default 270.
            PyramidNet-110 has 1.77 M parameters with 48, 3.90 M with 84, 28.5 M with 270.
        input_shape: `(height, width, channels)` of the uint8 images.
        num_classes: number of logits.
        weight_decay: coupled L2 on kernels: adds `weight_decay / 2 * |kernel|^2` to the loss; the
            paper's is 1e-4.
        bottleneck: whether blocks are bottlenecks; PyramidNet-164 with widening 270 then has 27.2 M
            parameters.
        shake_drop: whether each branch ends with a `lbkeras.layers.ShakeDrop`. Default True.
        last_survival_probability: of the last block, 0 to 1. Default 0.5.
        survival: "linear": the probability falls from nearly 1 in the first block to the last
            block's; "constant": all blocks have the last block's.
        alpha: `(lowest, highest)` forward factor, as in `ShakeDrop`. Default (-1, 1).
        beta: `(lowest, highest)` backward factor, as in `ShakeDrop`. Default (0, 1).
        level: what shares one set of random numbers, as in `ShakeDrop`: "batch", "image" (default),
            "channel" or "pixel".
        mean: mean of the pixels, a number or one per channel. Default: that of digits, MNIST or
            CIFAR-10 for images of their shape, otherwise ImageNet's for 3 channels, and 127.5 (with
            a deviation of 64) for other numbers of channels.
        standard_deviation: of the pixels, in the same form and with the same default.

    Returns:
        An uncompiled `keras.Model` from `(batch, height, width, channels)` uint8 images to
        `(batch, num_classes)` float32 logits; use a loss with `from_logits=True`.

    Raises:
        UserError: a depth that is not `6n + 2` or `9n + 2`, negative widening, a probability
            outside 0 to 1, an unknown `survival` or `level`, a range that is not two numbers with
            the lowest first, an `input_shape` without three entries, `num_classes` below 1, a
            negative `weight_decay`, or a `mean` or `standard_deviation` that is not a number or one
            per channel.

    Differs from the paper: filter counts are rounded as in the authors' code, whereas the paper's
    formula rounds down. The paper's table has 1.7, 3.8, 28.3 and 27.0 M for the four networks
    above; public ports of the code have our numbers. Strided convolutions pad right and bottom, as
    TensorFlow's `"same"` does. ShakeDrop draws b at the same level as α and β (see `ShakeDrop`).

    Example:

    >>> model = pyramidnet(depth=8, widening=12)
    >>> [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    [16, 20, 20, 24, 24, 28, 28]

    Reference: Han, Kim, Kim, "Deep Pyramidal Residual Networks", arXiv:1610.02915, section 3;
    Yamada et al., "ShakeDrop Regularization", arXiv:1802.02375, section 4.
    """
    layers_a_block = 9 if bottleneck else 6
    if depth < layers_a_block + 2 or (depth - 2) % layers_a_block:
        raise UserError(
            f"depth: expected {layers_a_block}n + 2 "
            f"({'with' if bottleneck else 'without'} bottleneck), received {depth}."
        )
    if widening < 0:
        raise UserError(f"widening: expected at least 0, received {widening}.")
    if not 0 <= last_survival_probability <= 1:
        raise UserError(
            f"last_survival_probability: expected 0 to 1, received {last_survival_probability}."
        )
    checks.choice("survival", survival, ("linear", "constant"))
    regularizer = parts.kernel_l2(weight_decay)

    def convolution(x, filters, kernel_size=3, strides=1):
        return keras.layers.Conv2D(
            filters,
            kernel_size,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_initializer=parts.he_fan_out(),
            kernel_regularizer=regularizer,
        )(x)

    def normalize(x):
        return parts.batch_normalization()(x)

    def activate(x):
        return keras.layers.ReLU()(normalize(x))

    def branch(x, filters, strides):
        if bottleneck:
            x = convolution(normalize(x), filters, kernel_size=1)
            x = convolution(activate(x), filters, strides=strides)
            return normalize(convolution(activate(x), 4 * filters, kernel_size=1))
        x = convolution(normalize(x), filters, strides=strides)
        return normalize(convolution(activate(x), filters))

    inputs, x = parts.normalized_input(input_shape, mean, standard_deviation)
    x = normalize(convolution(x, 16))
    blocks_a_stage = (depth - 2) // layers_a_block
    blocks = 3 * blocks_a_stage
    for k in range(1, blocks + 1):
        strides = 2 if k > 1 and k % blocks_a_stage == 1 % blocks_a_stage else 1
        y = branch(x, math.floor(16 + widening * k / blocks + 0.5), strides)
        if shake_drop:
            share = k / blocks if survival == "linear" else 1.0
            probability = 1 - share * (1 - last_survival_probability)
            y = ShakeDrop(probability, alpha, beta, level)(y)
        if strides > 1:
            x = keras.layers.AveragePooling2D(2, padding="same")(x)
        if new_channels := y.shape[-1] - x.shape[-1]:
            x = keras.ops.pad(x, [[0, 0], [0, 0], [0, 0], [0, new_channels]])
        x = keras.layers.Add()([x, y])
    x = keras.layers.GlobalAveragePooling2D()(activate(x))
    outputs = parts.logits(x, num_classes, weight_decay)
    return keras.Model(inputs, outputs, name=f"pyramidnet_{depth}_{widening}")
