"""A fixed classifier: random orthonormal columns with a trained scale."""

from typing import Any

import keras
import numpy as np

from lbkeras import checks
from lbkeras.layers.fixed_classifier import FixedClassifier


@keras.saving.register_keras_serializable(package="lbkeras")
class OrthonormalClassifier(FixedClassifier):
    """Fixed classifier: `logits = scale · (x / |x|) Q + bias`; only scale and bias are trained.

    Q, of shape `(features, units)`, has random orthonormal columns: it is uniformly distributed
    over all such matrices. With more classes than features its rows are orthonormal instead. It is
    computed from the seed when the layer is built. It is not a weight: it needs no optimizer state,
    no communication and no space in a saved file.

    Args:
        units: number of classes.
        use_bias: whether to add a trained bias. Default True.
        scale_initializer: initializer of the scale, a scalar. Default: the constant 10.
        bias_initializer: initializer of the bias. Default: zeros.
        scale_regularizer: regularizer of the scale, for the weight decay that the paper moves from
            the kernel of the classifier that this layer replaces. Default None.
        seed: seed of Q, 0 to 2^32 - 1; the same seed gives the same Q in every process, with any
            version of NumPy. Default 123.

    Shapes: `(batch, ..., features)` to `(batch, ..., units)`. Training and inference are the same.
    Features are normalized in float32 at least; use `dtype="float32"` for float32 logits.

    Raises:
        UserError: `units` is below 1, the seed is out of range, or the number of features is
            unknown when the layer is built.

    Scale, bias and seed are those of the authors' code, but its random generator makes another Q
    from that seed. In a `HadamardClassifier` the columns are orthogonal only if the number of
    features is a power of 2, and the matrix takes a quarter of the memory.

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
        # RandomState's stream is frozen; those of newer generators may change. Making R's diagonal
        # positive makes the decomposition unique, whichever library computes it, and Q uniform.
        tall = max(features, self.units), min(features, self.units)
        q, r = np.linalg.qr(np.random.RandomState(self.seed).normal(size=tall))
        q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
        return (q if features >= self.units else q.T).astype(np.float32)
