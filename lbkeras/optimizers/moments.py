"""Adam's moments, shared by LAMB and AdamP."""

import math

from keras import ops


def update(optimizer, index: int, gradient):
    """Updates both moments of variable `index` and returns them bias-corrected.

        m <- beta_1 * m + (1 - beta_1) * g,   v <- beta_2 * v + (1 - beta_2) * g^2

    Args:
        optimizer: has `first_moments`, `second_moments`, `beta_1`, `beta_2` and `iterations`.
        index: index of the variable.
        gradient: its dense gradient, in the dtype in which the rule computes.

    Returns:
        `(m / (1 - beta_1^t), sqrt(v / (1 - beta_2^t)))` at update t = 1, 2, ..., in that dtype.
    """
    dtype = gradient.dtype
    m, v = optimizer.first_moments[index], optimizer.second_moments[index]
    new_m = m + (gradient - m) * ops.cast(1.0 - optimizer.beta_1, dtype)
    new_v = v + (ops.square(gradient) - v) * ops.cast(1.0 - optimizer.beta_2, dtype)
    optimizer.assign(m, new_m)
    optimizer.assign(v, new_v)
    correction_1, correction_2 = corrections(optimizer, dtype)
    return (
        new_m * ops.cast(1.0 / correction_1, dtype),
        ops.sqrt(new_v) * ops.cast(1.0 / ops.sqrt(correction_2), dtype),
    )


def corrections(optimizer, dtype):
    """Returns `1 - beta_1^t` and `1 - beta_2^t` as scalars of `dtype`.

    They are computed as -expm1(t log(beta)) with the logarithm in float64: in float32, 1 - beta^t
    has a relative error of 1.3e-5 at t = 1 and beta_2 = 0.999.
    """
    t = ops.cast(optimizer.iterations + 1, dtype)
    return tuple(
        -ops.expm1(t * math.log(beta)) if beta else ops.ones_like(t)
        for beta in (optimizer.beta_1, optimizer.beta_2)
    )
