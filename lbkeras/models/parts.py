"""What every model here shares: the input with its normalisation, L2 on kernels, and the logits."""

import keras

from lbkeras.errors import UserError

# Mean and standard deviation of the training pixels, by image shape: scikit-learn's digits (values
# 0 to 16), MNIST, CIFAR-10; otherwise ImageNet's for colour and the middle of the range for gray.
_STATISTICS = {
    (8, 8, 1): ((4.9,), (6.0,)),
    (28, 28, 1): ((33.3,), (78.6,)),
    (32, 32, 3): ((125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
}
_COLOUR = ((123.7, 116.3, 103.5), (58.4, 57.1, 57.4))
_OTHER = (127.5, 64.0)


def normalized_input(input_shape, mean=None, standard_deviation=None):
    """The uint8 input and its normalised float tensor, `(x - mean) / standard_deviation`.

    Args:
        input_shape: `(height, width, channels)`.
        mean, standard_deviation: numbers or one a channel, in pixel units. Default: those of the
            well-known data set with this shape.

    Returns:
        `(inputs, normalized)`, two Keras tensors. Pixels travel to the device as uint8, a quarter
        of the bytes of float32; 0 to 255 are exact in bfloat16 and float16 too.
    """
    input_shape = tuple(input_shape)
    if len(input_shape) != 3:
        raise UserError(
            f"input_shape: expected (height, width, channels), received {input_shape}; "
            "gray images have 1 channel, e.g. (28, 28, 1)."
        )
    default = _COLOUR if input_shape[-1] == 3 else _OTHER
    default_mean, default_deviation = _STATISTICS.get(input_shape, default)
    mean = default_mean if mean is None else mean
    deviation = default_deviation if standard_deviation is None else standard_deviation
    variance = [d**2 for d in deviation] if isinstance(deviation, (list, tuple)) else deviation**2
    mean = list(mean) if isinstance(mean, (list, tuple)) else mean
    inputs = keras.Input(input_shape, dtype="uint8", name="images")
    layer = keras.layers.Normalization(mean=mean, variance=variance, name="normalization")
    return inputs, layer(inputs)


def kernel_l2(weight_decay):
    """Coupled L2: adds `weight_decay / 2 * |kernel|^2` to the loss, so its gradient is
    `weight_decay * kernel`, the weight decay of SGD in the papers. None for 0."""
    return keras.regularizers.L2(weight_decay / 2) if weight_decay else None


def batch_normalization(name=None):
    """Batch normalisation with the papers' constants: epsilon 1e-5, moving average 0.9
    (Keras' 0.99 lags behind when large batches leave few updates)."""
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)


def logits(x, num_classes, weight_decay):
    """The last Dense layer, always float32: a softmax over bfloat16 logits loses accuracy."""
    return keras.layers.Dense(
        num_classes, kernel_regularizer=kernel_l2(weight_decay), dtype="float32", name="logits"
    )(x)
