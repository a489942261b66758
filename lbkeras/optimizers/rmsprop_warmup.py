"""RMSprop warm-up: a transition from RMSprop to momentum SGD for the start of training."""

from typing import Any

import keras
from keras import ops

from lbkeras import checks
from lbkeras.keras_internals.optimizer import variable_index
from lbkeras.optimizers.base import dense, wide


@keras.saving.register_keras_serializable(package="lbkeras")
class RMSpropWarmup(keras.optimizers.Optimizer):
    """Momentum SGD that starts as RMSprop and gradually turns into SGD.

        m <- rho * m + (1 - rho) * g^2
        v <- momentum * v - (a + (1 - a) * rmsprop_learning_rate / learning_rate / (sqrt(m) +
            epsilon)) * g
        w <- w + learning_rate * v

    a is the share of SGD at update t = 0, 1, .... It first grows exponentially, then linearly; with
    c = transition_center_steps and p = transition_period_steps:

        a = 1/2 * exp(2 (t - c) / p)    before c
        a = 1/2 + (t - c) / p           from c to c + p/2
        a = 1                           after c + p/2

    If the learning rate is 0, the RMSprop part is left out.

    Args:
        learning_rate: learning rate of SGD; float, schedule or callable.
        transition_center_steps: the update at which the share of SGD is 1/2, at least 0; epoch 10
            in the paper.
        transition_period_steps: length of the transition in updates, above 0; 5 epochs in the
            paper.
        momentum: in [0, 1).
        rho: decay of the mean square, in [0, 1).
        epsilon: added to the root of the mean square, above 0.
        rmsprop_learning_rate: learning rate of RMSprop, above 0.
        name: name of the optimizer.
        **kwargs: other arguments of `keras.optimizers.Optimizer`. Its `weight_decay` is decoupled;
            the paper has L2 regularization in the loss.

    Raises:
        UserError: an argument is out of range.

    Differs from the paper: the linear part is chosen so that a is continuous. As printed, with
    2 (t - c) / p, a would rise to 1.5 and drop back to 1. As in the paper, the mean square starts
    at 0 without bias correction.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> model.compile(RMSpropWarmup(0.1, transition_center_steps=100, transition_period_steps=50),
    ...               "mse")
    >>> history = model.fit(keras.ops.ones((8, 4)), keras.ops.ones((8, 2)), verbose=0)

    Reference: Akiba, Suzuki, Fukuda, "Extremely Large Minibatch SGD: Training ResNet-50 on ImageNet
    in 15 Minutes", arXiv:1711.04325, section 3.1.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
        transition_center_steps: float,
        transition_period_steps: float,
        momentum: float = 0.9,
        rho: float = 0.99,
        epsilon: float = 1e-8,
        rmsprop_learning_rate: float = 3e-4,
        name: str = "rmsprop_warmup",
        **kwargs: Any,
    ):
        super().__init__(checks.learning_rate("learning_rate", learning_rate), name=name, **kwargs)
        self.transition_center_steps = checks.not_negative(
            "transition_center_steps", transition_center_steps
        )
        self.transition_period_steps = checks.positive(
            "transition_period_steps", transition_period_steps
        )
        self.momentum = checks.momentum("momentum", momentum)
        self.rho = checks.momentum("rho", rho)
        self.epsilon = checks.positive("epsilon", epsilon)
        self.rmsprop_learning_rate = checks.positive("rmsprop_learning_rate", rmsprop_learning_rate)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.mean_squares = self.add_optimizer_variables(variables, "mean_square")
        self.velocities = (
            self.add_optimizer_variables(variables, "velocity") if self.momentum else []
        )

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable."""
        index = variable_index(self, variable)
        gradient = wide(dense(gradient, variable))
        dtype = gradient.dtype
        rate = ops.cast(learning_rate, dtype)
        share = self._sgd_share(dtype)
        rmsprop = ops.where(rate > 0, (1.0 - share) * self.rmsprop_learning_rate / rate, 0.0)
        mean_square = self.mean_squares[index]
        new_mean_square = mean_square + (ops.square(gradient) - mean_square) * ops.cast(
            1.0 - self.rho, dtype
        )
        self.assign(mean_square, new_mean_square)
        root = ops.sqrt(new_mean_square) + ops.cast(self.epsilon, dtype)
        step = gradient * (share + rmsprop / root)
        if self.momentum:
            step = self.velocities[index] * ops.cast(self.momentum, dtype) - step
            self.assign(self.velocities[index], step)
        else:
            step = -step
        self.assign_add(variable, step * rate)

    def _sgd_share(self, dtype):
        step = ops.cast(self.iterations, dtype)
        x = (step - self.transition_center_steps) / self.transition_period_steps
        before = 0.5 * ops.exp(2.0 * ops.minimum(x, 0.0))
        return ops.where(x < 0.0, before, ops.minimum(0.5 + x, 1.0))

    def get_config(self):
        return super().get_config() | {
            "transition_center_steps": self.transition_center_steps,
            "transition_period_steps": self.transition_period_steps,
            "momentum": self.momentum,
            "rho": self.rho,
            "epsilon": self.epsilon,
            "rmsprop_learning_rate": self.rmsprop_learning_rate,
        }
