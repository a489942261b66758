"""A classifier that is not learned: rows of a Hadamard matrix and one learned scale."""

from typing import Any

import keras
import numpy as np

from lbkeras.layers.fixed_classifier import FixedClassifier, checked_units


@keras.saving.register_keras_serializable(package="lbkeras")
class HadamardClassifier(FixedClassifier):
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
        size = checked_units(units) ** -0.5
        super().__init__(
            units,
            use_bias,
            keras.initializers.Constant(size) if scale_initializer is None else scale_initializer,
            keras.initializers.RandomUniform(-size, size)
            if bias_initializer is None
            else bias_initializer,
            scale_regularizer,
            **kwargs,
        )

    def _matrix(self, features):
        return _hadamard(features, self.units)


def _hadamard(features, units):
    """Rows 0 to `features` and columns 1 to `units` of Sylvester's matrix, whose entry (i, j) is
    −1 to the number of ones in the binary digits of `i & j`; int8."""
    common = np.arange(features)[:, None] & np.arange(1, units + 1)
    odd = np.zeros_like(common)
    while common.any():
        odd ^= common & 1
        common >>= 1
    return (1 - 2 * odd).astype(np.int8)
