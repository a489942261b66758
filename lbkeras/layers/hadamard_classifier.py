"""A fixed classifier: part of a Hadamard matrix with a trained scale."""

from typing import Any

import keras
import numpy as np

from lbkeras.layers.fixed_classifier import FixedClassifier, checked_units


@keras.saving.register_keras_serializable(package="lbkeras")
class HadamardClassifier(FixedClassifier):
    """Fixed classifier: `logits = scale · (x / |x|) H + bias`; only scale and bias are trained.

    H, of shape `(features, units)` with entries ±1, is a part of Sylvester's Hadamard matrix, whose
    columns are orthogonal. It is computed when the layer is built. It is not a weight: it needs no
    optimizer state, no communication and no space in a saved file.

    Args:
        units: number of classes.
        use_bias: whether to add a trained bias. Default True.
        scale_initializer: initializer of the scale, a scalar. Default: the constant
            `1 / sqrt(units)`.
        bias_initializer: initializer of the bias. Default: uniform on ± `1 / sqrt(units)`.
        scale_regularizer: regularizer of the scale, for the weight decay that the paper moves from
            the kernel of the classifier that this layer replaces. Default None.

    Shapes: `(batch, ..., features)` to `(batch, ..., units)`. Training and inference are the same.
    Features are normalized in float32 at least; use `dtype="float32"` for float32 logits.

    Raises:
        UserError: `units` is below 1, or the number of features is unknown when the layer is built.

    Differs from the paper: the first column of the matrix, all ones, is left out. With features
    that are never negative (after a ReLU), its logit would always be the largest before the bias.
    The authors' code keeps this column and negates the matrix, which makes its logit always the
    smallest. The sign of the other columns does not matter, so the matrix is not negated here. The
    entries are ±1 as in that code, not `1 / sqrt(features)`: a unit step of the scale then moves
    typical logits by about 1.

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
    """Returns rows 0 to `features - 1` and columns 1 to `units` of Sylvester's matrix, as int8.

    Its entry (i, j) is (−1)^n, where n is the number of ones in the binary digits of `i & j`.
    """
    common = np.arange(features)[:, None] & np.arange(1, units + 1)
    odd = np.zeros_like(common)
    while common.any():
        odd ^= common & 1
        common >>= 1
    return (1 - 2 * odd).astype(np.int8)
