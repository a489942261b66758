"""LARS: layer-wise adaptive rate scaling."""

from typing import Any

import keras
from keras import ops

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.optimizers.base import wide
from lbkeras.optimizers.layer_adaptation import LayerAdaptation, trust_ratio

_NORMS = ("separate", "joint")


@keras.saving.register_keras_serializable(package="lbkeras")
class LARS(LayerAdaptation):
    """Momentum SGD whose learning rate is scaled per layer by the norms of weights and gradient.

    For a weight tensor w with gradient g, in the paper's form (the default):

        trust_ratio = trust_coefficient * |w| / (|g| + weight_decay * |w| + epsilon)
        v <- momentum * v + learning_rate * trust_ratio * (g + weight_decay * w)
        w <- w - v

    |.| is the L2 norm of the whole tensor. Without momentum and weight decay an update has length
    learning_rate * trust_coefficient * |w|, whatever the gradient's scale. If |w| or |g| is 0 (with
    norm="joint", |w| or |g + weight_decay * w|), the trust ratio is 1.

    By default, variables of rank <= 1 (biases, and the scales and offsets of batch norm) are
    updated by plain momentum SGD without weight decay. Exclude further variables with
    `exclude_from_layer_adaptation` and `exclude_from_weight_decay`; called without arguments, each
    removes all exclusions of its kind. Exclusions are saved with the model.

    `trust_ratios()` returns the ratios of the latest update by variable;
    `lbkeras.callbacks.TrainingStatistics` logs them. Keras' gradient clipping is applied to g
    before the norms are computed. An update reads the weights and gradients one more time than
    momentum SGD, so it moves 1.4 times as many bytes. On an NVIDIA H200 with JAX, an update of
    ResNet-50's variables took 1.24 times as long as with Keras' SGD.

    Args:
        learning_rate: float, schedule or callable. Without `clip`, scaled layers see only its
            product with the trust coefficient; excluded variables use it unscaled. With the default
            coefficient it is of the order of 1 to 30, which is too large for the biases of a small
            network: there, use a trust coefficient of about 0.1 and a learning rate as for SGD.
        momentum: in [0, 1).
        weight_decay: coupled weight decay, counted in the trust ratio. Use no L2 regularization in
            the model with it.
        trust_coefficient: length of an update relative to learning_rate * |w|, above 0.
        epsilon: added to the ratio's denominator, at least 0.
        nesterov: whether to use Nesterov momentum, which must then be above 0:
            w <- w - (momentum * v + learning_rate * trust_ratio * (g + weight_decay * w)), with the
            new v.
        clip: whether to use LARC, in which a layer's learning rate never exceeds `learning_rate`.
            With r the trust ratio from above, trust_ratio <- min(r / learning_rate, 1), so the
            layer's learning rate is min(r, learning_rate). Needs a trust coefficient of about 0.02.
        norm: "separate", as above, or "joint", with the denominator |g + weight_decay * w| +
            epsilon (as in tensorflow/models and optax).
        learning_rate_in_momentum: True: v contains the learning rate, as above. False: v contains
            only the trust ratio, v <- momentum * v + trust_ratio * (g + weight_decay * w),
            w <- w - learning_rate * v (as in timm and apex). The two are equal while the learning
            rate is constant; a warm-up or decay takes full effect at once only with False.
        name: name of the optimizer.
        **kwargs: other arguments of `keras.optimizers.Optimizer`: clipnorm, global_clipnorm,
            clipvalue, use_ema, ema_momentum, ema_overwrite_frequency, loss_scale_factor,
            gradient_accumulation_steps.

    Raises:
        UserError: an argument is out of range, or `nesterov` is True without momentum.

    Differs from the paper: biases and batch-norm variables are excluded, and the trust ratio is 1
    where a norm is 0, as in every public implementation; the paper mentions neither. Nesterov
    momentum, the joint norm and clipping are not from the paper.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> model.compile(LARS(learning_rate=2.0, weight_decay=1e-4), "mse")
    >>> history = model.fit(keras.ops.ones((8, 4)), keras.ops.ones((8, 2)), verbose=0)
    >>> list(model.optimizer.trust_ratios()) == [model.layers[0].kernel.path]
    True

    Reference: You, Gitman, Ginsburg, "Large Batch Training of Convolutional Networks",
    arXiv:1708.03888, algorithm 1. LARC: You et al., NVIDIA apex.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        epsilon: float = 0.0,
        nesterov: bool = False,
        clip: bool = False,
        norm: str = "separate",
        learning_rate_in_momentum: bool = True,
        name: str = "lars",
        **kwargs: Any,
    ):
        super().__init__(learning_rate, weight_decay, name=name, **kwargs)
        self.momentum = checks.momentum("momentum", momentum)
        self.trust_coefficient = checks.positive("trust_coefficient", trust_coefficient)
        self.epsilon = checks.not_negative("epsilon", epsilon)
        self.nesterov = checks.flag("nesterov", nesterov)
        self.clip = checks.flag("clip", clip)
        self.norm = checks.choice("norm", norm, _NORMS)
        self.learning_rate_in_momentum = checks.flag(
            "learning_rate_in_momentum", learning_rate_in_momentum
        )
        if self.nesterov and not self.momentum:
            raise UserError(
                "nesterov: expected a momentum above 0 with nesterov=True, received momentum=0.0"
            )

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.velocities = (
            self.add_optimizer_variables(variables, "velocity") if self.momentum else []
        )

    def direction(self, index, gradient, variable):
        """Returns the gradient; `take_step` adds the weight decay."""
        return gradient

    def compared_with_weights(self, index, direction, variable):
        """Returns the gradient; with norm="joint", the gradient plus the weight decay."""
        decay = self.decay_of(index)
        if self.norm == "joint" and decay:
            return direction + wide(variable) * decay
        return direction

    def take_step(self, index, variable, direction, lengths, learning_rate):
        """Updates the velocity and the variable."""
        dtype = direction.dtype
        decay = self.decay_of(index)
        learning_rate = ops.cast(learning_rate, dtype)
        ratio = self._ratio(index, lengths, decay, learning_rate, dtype)

        inside = self.learning_rate_in_momentum
        rate = learning_rate * ratio if inside else ratio
        step = direction * rate
        if decay:
            step = step + wide(variable) * (rate * decay)
        if self.momentum:
            momentum = ops.cast(self.momentum, dtype)
            velocity = self.velocities[index]
            new_velocity = velocity * momentum + step
            self.assign(velocity, new_velocity)
            step = new_velocity * momentum + step if self.nesterov else new_velocity
        self.assign_sub(variable, step if inside else step * learning_rate)

    def _ratio(self, index, lengths, decay, learning_rate, dtype):
        if lengths is None:
            return ops.ones((), dtype)
        weight_norm, gradient_norm = lengths
        denominator = gradient_norm
        if self.norm == "separate":
            denominator = gradient_norm + decay * weight_norm
        ratio = self.trust_coefficient * weight_norm / (denominator + self.epsilon)
        if self.clip:
            ratio = ops.minimum(ratio, learning_rate) / ops.maximum(learning_rate, 1e-30)
        ratio = trust_ratio(weight_norm, gradient_norm, ratio)
        self.remember_ratio(index, ratio)
        return ratio

    def get_config(self):
        return super().get_config() | {
            "momentum": self.momentum,
            "trust_coefficient": self.trust_coefficient,
            "epsilon": self.epsilon,
            "nesterov": self.nesterov,
            "clip": self.clip,
            "norm": self.norm,
            "learning_rate_in_momentum": self.learning_rate_in_momentum,
        }
