"""Parts that all models share: the input with its normalization, L2 on kernels, and the logits."""

import keras

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.layers.hadamard_classifier import HadamardClassifier
from lbkeras.layers.orthonormal_classifier import OrthonormalClassifier

_FIXED = {"hadamard": HadamardClassifier, "orthonormal": OrthonormalClassifier}
# Mean and standard deviation of the training pixels, by image shape: scikit-learn's digits (values
# 0 to 16), MNIST, CIFAR-10. Otherwise ImageNet's for 3 channels, or the middle of the range.
_STATISTICS = {
    (8, 8, 1): ((4.9,), (6.0,)),
    (28, 28, 1): ((33.3,), (78.6,)),
    (32, 32, 3): ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
}
_COLOUR = ((123.7, 116.3, 103.5), (58.4, 57.1, 57.4))
_OTHER = (127.5, 64.0)


def normalized_input(input_shape, mean=None, standard_deviation=None):
    """Returns the uint8 input and its normalized float tensor, `(x - mean) / standard_deviation`.

    Args:
        input_shape: `(height, width, channels)`.
        mean: a number or one per channel, in pixel units. Default: that of digits, MNIST or
            CIFAR-10 for images of their shape, otherwise ImageNet's for 3 channels, and 127.5 (with
            a deviation of 64) for other numbers of channels.
        standard_deviation: in the same form and with the same default.

    Returns:
        `(inputs, normalized)`, two Keras tensors. Pixels are sent to the device as uint8, a quarter
        of the bytes of float32; 0 to 255 are exact in bfloat16 and float16 too.
    """
    input_shape = checks.sequence("input_shape", input_shape)
    if len(input_shape) != 3:
        raise UserError(
            f"input_shape: expected (height, width, channels), received {input_shape}; "
            "gray images have 1 channel, e.g. (28, 28, 1)."
        )
    default = _COLOUR if input_shape[-1] == 3 else _OTHER
    default_mean, default_deviation = _STATISTICS.get(input_shape, default)
    mean = _a_channel("mean", default_mean if mean is None else mean, input_shape)
    deviation = default_deviation if standard_deviation is None else standard_deviation
    variance = [d**2 for d in _a_channel("standard_deviation", deviation, input_shape)]
    inputs = keras.Input(input_shape, dtype="uint8", name="images")
    layer = keras.layers.Normalization(mean=mean, variance=variance, name="normalization")
    return inputs, layer(inputs)


def _a_channel(name, values, input_shape):
    channels = input_shape[-1]
    values = list(values) if isinstance(values, (list, tuple)) else [values] * channels
    if len(values) != channels:
        raise UserError(
            f"{name}: expected a number or one for each channel of input_shape {input_shape}, "
            f"received {len(values)}."
        )
    return [checks.number(name, value, expected="a finite number") for value in values]


def kernel_l2(weight_decay):
    """Returns coupled L2, which adds `weight_decay / 2 * |kernel|^2` to the loss; None for 0.

    Its gradient is `weight_decay * kernel`, the papers' weight decay of SGD.
    """
    checks.not_negative("weight_decay", weight_decay)
    return keras.regularizers.L2(weight_decay / 2) if weight_decay else None


def batch_normalization(name=None):
    """Returns batch normalization with the papers' constants: epsilon 1e-5, momentum 0.9.

    Keras' momentum of 0.99 lags behind when large batches leave few updates.
    """
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)


def with_zero_gamma(layer):
    """Makes a batch normalization's gamma start at 0 and returns the layer.

    At the end of a residual branch, the block is then an identity at first (Goyal et al.,
    arXiv:1706.02677, section 5.1).
    """
    layer.gamma_initializer = keras.initializers.Zeros()
    return layer


def he_fan_out():
    """Returns a new initializer with variance `2 / (kernel height * kernel width * filters)`.

    It is He et al.'s for the backward pass, which the Torch code behind many papers uses.
    """
    return keras.initializers.VarianceScaling(
        2.0, mode="fan_out", distribution="untruncated_normal"
    )


def logits(x, num_classes, weight_decay, *, kernel_initializer="glorot_uniform", fixed=None):
    """Returns the last layer's output, in float32 as a softmax over bfloat16 logits loses accuracy.

    The layer is Dense, or the classifier that `fixed` names (True: "hadamard"), which is not
    learned; `weight_decay` then applies to its scale.
    """
    checks.integer("num_classes", num_classes, minimum=1)
    regularizer = kernel_l2(weight_decay)
    if fixed is not None and fixed is not False:
        kind = "hadamard" if fixed is True else fixed
        return _FIXED[checks.choice("fixed_classifier", kind, list(_FIXED))](
            num_classes, scale_regularizer=regularizer, dtype="float32", name="logits"
        )(x)
    return keras.layers.Dense(
        num_classes,
        kernel_initializer=kernel_initializer,
        kernel_regularizer=regularizer,
        dtype="float32",
        name="logits",
    )(x)
