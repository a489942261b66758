"""Base class of fixed classifiers: a matrix that is not trained, a trained scale and a bias."""

from typing import Any

import keras
import numpy as np
from keras import ops

from lbkeras import checks
from lbkeras.errors import UserError


class FixedClassifier(keras.layers.Layer):
    """`logits = scale · (x / |x|) M + bias`, where only scale and bias are trained.

    The matrix M, of shape `(features, units)`, is computed when the layer is built. It is not a
    weight: it needs no optimizer state, no communication and no space in a saved file. Subclasses
    define it in `_matrix`.

    Args:
        units: number of classes.
        use_bias: whether to add a trained bias.
        scale_initializer: initializer of the scale, a scalar.
        bias_initializer: initializer of the bias.
        scale_regularizer: regularizer of the scale, for the weight decay that the paper moves from
            the kernel of the classifier that this layer replaces.

    Shapes: `(batch, ..., features)` to `(batch, ..., units)`. Training and inference are the same.

    Raises:
        UserError: `units` is below 1, or the number of features is unknown when the layer is built.
    """

    def __init__(
        self,
        units: int,
        use_bias: bool,
        scale_initializer: Any,
        bias_initializer: Any,
        scale_regularizer: Any,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = checked_units(units)
        self.use_bias = checks.flag("use_bias", use_bias)
        self.scale_initializer = keras.initializers.get(scale_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.scale_regularizer = keras.regularizers.get(scale_regularizer)

    def build(self, input_shape):
        if input_shape[-1] is None:
            raise UserError(
                f"inputs: expected a known number of features, from which {type(self).__name__} "
                f"makes its matrix, received the shape {tuple(input_shape)}"
            )
        self._projection = self._matrix(input_shape[-1])
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
        # In float16 the squares would overflow at 256. The maximum keeps the gradient finite in
        # float32 if all features are 0.
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

    def _matrix(self, features: int) -> np.ndarray:
        """Returns M for this number of features, the same in every call and every process."""
        raise NotImplementedError


def checked_units(units) -> int:
    """Returns `units` if it is a valid number of classes."""
    if isinstance(units, bool) or not isinstance(units, int) or units < 1:
        raise UserError(f"units: expected a positive integer, received {units!r}.")
    return units
