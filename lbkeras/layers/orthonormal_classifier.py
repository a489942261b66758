"""A classifier that is not learned: random orthonormal columns and one learned scale."""

from typing import Any

import keras
import numpy as np

from lbkeras import checks
from lbkeras.layers.fixed_classifier import FixedClassifier


@keras.saving.register_keras_serializable(package="lbkeras")
class OrthonormalClassifier(FixedClassifier):
    """Fixed classifier: `logits = scale · (x / |x|) Q + bias`, where only scale and bias learn.

    Q, of shape `(features, units)`, has random orthonormal columns: it is uniformly distributed
    over all such matrices. With more classes than features its rows are orthonormal instead. It is
    computed from the seed when the layer is built, is no weight, and takes neither optimizer state
    nor communication nor room in a saved file.

    Args:
        units: number of classes.
        use_bias: whether to add a learned bias. Default True.
        scale_initializer: of the one learned scale. Default: the constant 10.
        bias_initializer: Default: zeros.
        scale_regularizer: for the weight decay that the paper moves from the old classifier's
            kernel to the scale. Default None.
        seed: of Q, 0 to 2^32 - 1; the same seed gives the same Q in every process, with any
            version of NumPy. Default 123.

    Shapes: `(batch, ..., features)` to `(batch, ..., units)`. Training and inference are the same.
    Features are normalized in float32 at least; use `dtype="float32"` for float32 logits.

    Raises:
        UserError: `units` below 1, or a seed out of its range.

    Scale, bias and seed are those of the authors' code, whose generator makes another Q of the
    seed. The columns of `HadamardClassifier` are orthogonal only where the number of features is a
    power of 2, and take a quarter of the memory.

    Example:

    >>> layer = OrthonormalClassifier(10, dtype="float32")
    >>> layer(keras.ops.ones((2, 64))).shape, layer.count_params()
    (TensorShape([2, 10]), 11)

    Reference: Hoffer, Hubara, Soudry, "Fix your classifier: the marginal value of training the last
    weight layer", arXiv:1801.04540, section 2.1.
    """

    def __init__(
        self,
        units: int,
        use_bias: bool = True,
        scale_initializer: Any = None,
        bias_initializer: Any = None,
        scale_regularizer: Any = None,
        seed: int = 123,
        **kwargs: Any,
    ):
        super().__init__(
            units,
            use_bias,
            keras.initializers.Constant(10.0) if scale_initializer is None else scale_initializer,
            "zeros" if bias_initializer is None else bias_initializer,
            scale_regularizer,
            **kwargs,
        )
        self.seed = checks.integer("seed", seed, minimum=0, maximum=2**32 - 1)

    def get_config(self):
        return super().get_config() | {"seed": self.seed}

    def _matrix(self, features):
        # RandomState's stream is frozen, that of newer generators is not. The signs of R's diagonal
        # make the decomposition unique, whatever library computes it, and Q uniformly distributed.
        tall = max(features, self.units), min(features, self.units)
        q, r = np.linalg.qr(np.random.RandomState(self.seed).normal(size=tall))
        q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
        return (q if features >= self.units else q.T).astype(np.float32)
