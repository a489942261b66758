"""A classifier that is not learned: rows of a Hadamard matrix and one learned scale."""

from typing import Any

import keras
import numpy as np
from keras import ops

from lbkeras import checks
from lbkeras.errors import UserError


@keras.saving.register_keras_serializable(package="lbkeras")
class HadamardClassifier(keras.layers.Layer):
    """Fixed classifier: `logits = scale · (x / |x|) H + bias`, where only scale and bias learn.

    H, of shape `(features, units)` and entries ±1, is a part of Sylvester's Hadamard matrix, whose
    columns are orthogonal. It is computed when the layer is built, is no weight, and takes neither
    optimizer state nor communication nor room in a saved file.

    Args:
        units: number of classes.
        use_bias: whether to add a learned bias. Default True.
        scale_initializer: of the one learned scale. Default: the constant `1 / sqrt(units)`.
        bias_initializer: Default: uniform on ± `1 / sqrt(units)`.
        scale_regularizer: for the weight decay that the paper moves from the old classifier's
            kernel to the scale. Default None.

    Shapes: `(batch, ..., features)` to `(batch, ..., units)`. Training and inference are the same.
    Features are normalised in float32 at least; use `dtype="float32"` for float32 logits.

    Raises:
        UserError: `units` below 1.

    Differs from the paper: the matrix's first column, all ones, is left out: with features that are
    never negative (after a ReLU) its logit would always be the largest before the bias. The
    authors' code keeps it and turns every sign, which makes it always the smallest; the sign of
    all other columns means nothing, so here there is none. The entries are ±1 as in that code, not
    `1 / sqrt(features)`: a unit step of the scale then moves typical logits by about 1.

    Example:

    >>> layer = HadamardClassifier(10, dtype="float32")
    >>> layer(keras.ops.ones((2, 64))).shape, layer.count_params()
    (TensorShape([2, 10]), 11)

    Reference: Hoffer, Hubara, Soudry, "Fix your classifier: the marginal value of training the last
    weight layer", arXiv:1801.04540, sections 2.2 and 3.
    """

    def __init__(
        self,
        units: int,
        use_bias: bool = True,
        scale_initializer: Any = None,
        bias_initializer: Any = None,
        scale_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not isinstance(units, int) or units < 1:
            raise UserError(f"units: expected a positive integer, received {units!r}.")
        self.units = units
        self.use_bias = checks.flag("use_bias", use_bias)
        size = units**-0.5
        self.scale_initializer = keras.initializers.get(
            keras.initializers.Constant(size) if scale_initializer is None else scale_initializer
        )
        self.bias_initializer = keras.initializers.get(
            keras.initializers.RandomUniform(-size, size)
            if bias_initializer is None
            else bias_initializer
        )
        self.scale_regularizer = keras.regularizers.get(scale_regularizer)

    def build(self, input_shape):
        self._projection = _hadamard(input_shape[-1], self.units)
        self.scale = self.add_weight(
            shape=(),
            initializer=self.scale_initializer,
            regularizer=self.scale_regularizer,
            name="scale",
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(self.units,), initializer=self.bias_initializer, name="bias"
            )

    def call(self, inputs):
        # In float16 the squares overflow at 256; and where all features are 0, so is the gradient.
        x = ops.cast(inputs, keras.backend.result_type(self.compute_dtype, "float32"))
        square = ops.sum(ops.square(x), axis=-1, keepdims=True)
        x = ops.cast(x * ops.rsqrt(ops.maximum(square, 1e-12)), self.compute_dtype)
        logits = self.scale * ops.matmul(x, ops.cast(self._projection, self.compute_dtype))
        return logits if self.bias is None else logits + self.bias

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return super().get_config() | {
            "units": self.units,
            "use_bias": self.use_bias,
            "scale_initializer": keras.initializers.serialize(self.scale_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "scale_regularizer": keras.regularizers.serialize(self.scale_regularizer),
        }


def _hadamard(features, units):
    """Rows 0 to `features` and columns 1 to `units` of Sylvester's matrix, whose entry (i, j) is
    −1 to the number of ones in the binary digits of `i & j`; int8."""
    common = np.arange(features)[:, None] & np.arange(1, units + 1)
    odd = np.zeros_like(common)
    while common.any():
        odd ^= common & 1
        common >>= 1
    return (1 - 2 * odd).astype(np.int8)
