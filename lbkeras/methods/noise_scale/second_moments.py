"""The divisors of gradients in Adam and similar optimizers."""

import keras
import numpy as np
from keras import ops

from lbkeras.keras_internals import optimizer as optimizer_internals


def has_second_moments(optimizer) -> bool:
    """Whether an optimizer divides gradients as Adam does, so that they can be preconditioned."""
    without = keras.optimizers.Lion, keras.optimizers.Adamax  # these have one moment, or a maximum
    return hasattr(optimizer, "beta_2") and not isinstance(optimizer, without)


def inverse_roots(optimizer) -> list:
    """Returns 1 / (√v̂ + epsilon) for each of the optimizer's variables.

    v̂ comes from the earlier updates. For the squared gradient that the current update will add to
    it, the variable's mean of v̂ is used: otherwise a weight whose gradient has almost always been
    0, such as that of a pixel that is nearly always black, would outweigh all others.
    """
    beta = optimizer.beta_2
    t = ops.cast(ops.maximum(optimizer.iterations.value, 1), "float32")
    correction = -ops.expm1(t * np.log(beta))
    share = (1 - beta) / -ops.expm1((t + 1) * np.log(beta))
    inverses = []
    for moment in _second_moments(optimizer):
        v = ops.cast(moment.value, "float32") / correction
        v += share * (ops.mean(v) - v)
        inverses.append(1 / (ops.sqrt(v) + optimizer.epsilon))
    return inverses


def _second_moments(optimizer) -> list:
    moments = getattr(optimizer, "second_moments", None)
    return optimizer_internals.second_moments(optimizer) if moments is None else moments
