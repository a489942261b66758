"""What Adam and its kin divide gradients by."""

import keras
import numpy as np
from keras import ops

from lbkeras.keras_internals import optimizer as optimizer_internals


def has_second_moments(optimizer) -> bool:
    """Whether it divides gradients as Adam does, so that they can be preconditioned."""
    without = keras.optimizers.Lion, keras.optimizers.Adamax  # one moment; a maximum
    return hasattr(optimizer, "beta_2") and not isinstance(optimizer, without)


def inverse_roots(optimizer) -> list:
    """1 / (√v̂ + epsilon) of each of the optimizer's variables.

    v̂ is that of the updates before. What this one's squared gradient will add to it is taken at
    the variable's mean: without, a weight whose gradient has hardly ever differed from 0 (of a
    pixel that is nearly always black) would outweigh all others.
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
