"""SGDP: momentum SGD that does not let scale-invariant weights grow."""

from typing import Any

import keras
from keras import ops

from lbkeras import checks
from lbkeras.keras_internals.optimizer import variable_index
from lbkeras.optimizers.base import dense, wide
from lbkeras.optimizers.projection import ProjectedRule


@keras.saving.register_keras_serializable(package="lbkeras")
class SGDP(ProjectedRule):
    """Momentum SGD without the part of each update that points along scale-invariant weights.

        v <- momentum * v + (1 - dampening) * g
        p = v, or g + momentum * v with nesterov
        p <- p - (p . ŵ) ŵ           if |cos(g, w)| < delta / sqrt(n): w counts as scale-invariant
        w <- (1 - learning_rate * weight_decay * ratio / (1 - momentum)) * w - learning_rate * p

    ŵ is w / (|w| + epsilon), and ratio is weight_decay_ratio if p was projected, otherwise 1. For
    n, and for when the condition is applied per channel, see `AdamP`.
    Weight decay applies to all variables except those excluded with `exclude_from_weight_decay`.

    Args:
        learning_rate: float, schedule or callable.
        momentum: in [0, 1).
        dampening: in [0, 1).
        epsilon: added to norms, above 0.
        weight_decay: decoupled decay, at least 0.
        delta: threshold for the cosine, at least 0; with 0 the rule is momentum SGD.
        weight_decay_ratio: factor for the weight decay of projected variables, at least 0.
        nesterov: whether to use Nesterov momentum, as above.
        name: name of the optimizer.
        **kwargs: other arguments of `keras.optimizers.Optimizer`.

    Raises:
        UserError: an argument is out of range.

    Differs from the paper: channels are on the last axis, as in Keras kernels. The weight decay
    is divided by (1 - momentum), as in the authors' code.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> model.compile(SGDP(learning_rate=0.1, momentum=0.9, weight_decay=1e-4), "mse")
    >>> history = model.fit(keras.ops.ones((8, 4)), keras.ops.ones((8, 2)), verbose=0)

    Reference: Heo et al., "AdamP: Slowing Down the Slowdown for Momentum Optimizers on
    Scale-invariant Weights", arXiv:2006.08217, algorithm 1.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
        momentum: float = 0.0,
        dampening: float = 0.0,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        delta: float = 0.1,
        weight_decay_ratio: float = 0.1,
        nesterov: bool = False,
        name: str = "sgdp",
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
        self.momentum = checks.momentum("momentum", momentum)
        self.dampening = checks.momentum("dampening", dampening)
        self.nesterov = checks.flag("nesterov", nesterov)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.velocities = (
            self.add_optimizer_variables(variables, "velocity") if self.momentum else []
        )

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable."""
        index = variable_index(self, variable)
        gradient = wide(dense(gradient, variable))
        dtype = gradient.dtype
        momentum = ops.cast(self.momentum, dtype)
        velocity = gradient * ops.cast(1.0 - self.dampening, dtype)
        if self.momentum:
            velocity = self.velocities[index] * momentum + velocity
            self.assign(self.velocities[index], velocity)
        step = gradient + velocity * momentum if self.nesterov else velocity
        decay = self.decay_of(index) / (1.0 - self.momentum)
        self.apply_step(gradient, variable, step, learning_rate, decay)

    def get_config(self):
        return super().get_config() | {
            "momentum": self.momentum,
            "dampening": self.dampening,
            "nesterov": self.nesterov,
        }
