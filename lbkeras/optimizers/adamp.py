"""AdamP: Adam that does not let scale-invariant weights grow."""

from typing import Any

import keras
from keras import ops

from lbkeras import checks
from lbkeras.keras_internals.optimizer import variable_index
from lbkeras.optimizers import moments
from lbkeras.optimizers.base import dense, wide
from lbkeras.optimizers.projection import ProjectedRule


@keras.saving.register_keras_serializable(package="lbkeras")
class AdamP(ProjectedRule):
    """AdamW without the part of each update that points along scale-invariant weights.

    With momentum, the weights of a layer that is followed by normalization grow, which shrinks
    their effective learning rate. AdamP removes the part of the step that points along the weights
    w. With m̂ and v̂, Adam's bias-corrected moments:

        p = m̂ / (sqrt(v̂) + epsilon)
        p <- p - (p . ŵ) ŵ           if |cos(g, w)| < delta / sqrt(n): w is scale-invariant
        w <- (1 - learning_rate * weight_decay * ratio) * w - learning_rate * p

    ratio is weight_decay_ratio if p was projected, otherwise 1. If the condition holds for every
    output channel (the last axis), each channel is projected by itself. Otherwise, if it holds for
    the variable as a whole, the variable is projected as one. n is the number of weights in a
    channel or in the variable. Variables of rank <= 1 are never projected. Weight decay applies to
    all variables except those excluded with `exclude_from_weight_decay`.

    Args:
        learning_rate: float, schedule or callable.
        beta_1: decay of the first moment, in [0, 1).
        beta_2: decay of the second moment, in [0, 1).
        epsilon: added to the root of the second moment and to norms, above 0.
        weight_decay: decoupled decay, at least 0.
        delta: threshold for the cosine, at least 0; with 0 the rule is AdamW.
        weight_decay_ratio: factor for the weight decay of projected variables, at least 0.
        nesterov: whether p uses beta_1 * m + (1 - beta_1) * g in place of m.
        name: name of the optimizer.
        **kwargs: other arguments of `keras.optimizers.Optimizer`.

    Raises:
        UserError: an argument is out of range.

    Differs from the paper: channels are on the last axis, as in Keras kernels. In a depthwise
    kernel that axis is the depth multiplier, so a channel is nearly the whole layer.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> model.compile(AdamP(learning_rate=0.01, weight_decay=0.01), "mse")
    >>> history = model.fit(keras.ops.ones((8, 4)), keras.ops.ones((8, 2)), verbose=0)

    Reference: Heo et al., "AdamP: Slowing Down the Slowdown for Momentum Optimizers on
    Scale-invariant Weights", arXiv:2006.08217, algorithm 2.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        delta: float = 0.1,
        weight_decay_ratio: float = 0.1,
        nesterov: bool = False,
        name: str = "adamp",
        **kwargs: Any,
    ):
        super().__init__(
            learning_rate,
            epsilon=epsilon,
            weight_decay=weight_decay,
            delta=delta,
            weight_decay_ratio=weight_decay_ratio,
            name=name,
            **kwargs,
        )
        self.beta_1 = checks.momentum("beta_1", beta_1)
        self.beta_2 = checks.momentum("beta_2", beta_2)
        self.nesterov = checks.flag("nesterov", nesterov)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.first_moments, self.second_moments = self.add_optimizer_variables(
            variables, ["first_moment", "second_moment"]
        )

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable."""
        index = variable_index(self, variable)
        gradient = wide(dense(gradient, variable))
        dtype = gradient.dtype
        moment, root = moments.update(self, index, gradient)
        if self.nesterov:
            correction = moments.corrections(self, dtype)[0]
            moment = moment * ops.cast(self.beta_1, dtype) + gradient * ops.cast(
                (1.0 - self.beta_1) / correction, dtype
            )
        step = moment / (root + ops.cast(self.epsilon, dtype))
        self.apply_step(gradient, variable, step, learning_rate, self.decay_of(index))

    def get_config(self):
        return super().get_config() | {
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "nesterov": self.nesterov,
        }
