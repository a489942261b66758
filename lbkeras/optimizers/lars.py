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
    """SGD with momentum whose learning rate is scaled for each layer by its own norms.

    For a weight tensor w with gradient g, in the paper's form (the default):

        trust_ratio = trust_coefficient * |w| / (|g| + weight_decay * |w| + epsilon)
        v <- momentum * v + learning_rate * trust_ratio * (g + weight_decay * w)
        w <- w - v

    So without momentum and weight decay a step has the length learning_rate * trust_coefficient *
    |w|, whatever the gradient's scale. |.| is the L2 norm over the whole tensor. Where |w| or |g|
    (with norm="joint" |g + weight_decay * w|) is 0, the trust ratio is 1. Variables of rank <= 1
    (biases, scales and offsets of batch normalisation) take plain momentum SGD without weight
    decay, unless `exclude_from_...` is told otherwise; further variables are excluded with
    `exclude_from_layer_adaptation` and `exclude_from_weight_decay`. Both are saved with the model.

    `trust_ratios()` gives each layer's current ratio; `lbkeras.callbacks.TrainingStatistics` logs
    them. Keras' clipping acts on g before the norms are taken. The update reads weights and
    gradients once more than momentum SGD does: in bytes 1.4 times its cost. On an NVIDIA H200 with
    JAX it took 1.24 times as long as Keras' SGD (ResNet-50's variables).

    Args:
        learning_rate: float, schedule or callable. Scaled layers see only its product with the
            trust coefficient; excluded variables take it as it is. With the default coefficient it
            is of the order of 1 to 30, which the biases of a small network do not bear: give that
            a trust coefficient of about 0.1 and a learning rate like SGD's.
        momentum: in [0, 1).
        weight_decay: coupled decay, counted in the trust ratio. Give the model no L2 besides.
        trust_coefficient: relative length of a step, above 0.
        epsilon: added to the ratio's denominator, at least 0.
        nesterov: w <- w - (momentum * v + learning_rate * trust_ratio * (g + weight_decay * w)),
            with the new v.
        clip: LARC: the layer's rate never exceeds the plain one, trust_ratio <- min(trust_ratio /
            learning_rate, 1), so that learning_rate * trust_ratio = min(trust_ratio of above,
            learning_rate). Wants a trust coefficient of about 0.02.
        norm: "separate", as above, or "joint": the denominator is |g + weight_decay * w| + epsilon
            (tensorflow/models, optax).
        learning_rate_in_momentum: whether v holds learning rate and ratio (above) or only the
            ratio, v <- momentum * v + trust_ratio * (g + weight_decay * w),
            w <- w - learning_rate * v (timm, apex). Both are the same until the learning rate
            changes; a warm-up or decay acts at once only in the second.
        name: name of the optimizer.
        **kwargs: of `keras.optimizers.Optimizer`: clipnorm, global_clipnorm, clipvalue, use_ema,
            ema_momentum, ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps.

    Raises:
        UserError: an argument is out of its range.

    Differs from the paper: biases and batch-norm variables are excluded, and zero norms give 1, as
    in every public implementation; the paper names neither. Nesterov, "joint" and clipping are
    others' additions.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> model.compile(LARS(learning_rate=2.0, weight_decay=1e-4), "mse")
    >>> history = model.fit(keras.ops.ones((8, 4)), keras.ops.ones((8, 2)), verbose=0)
    >>> list(model.optimizer.trust_ratios()) == [model.layers[0].kernel.path]
    True

    Reference: You, Gitman, Ginsburg, "Large Batch Training of Convolutional Networks", arXiv
    1708.03888, Algorithm 1. LARC: You et al., NVIDIA apex.
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
            raise UserError("nesterov: expected a momentum above 0 with it, received momentum=0.0")

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.velocities = (
            self.add_optimizer_variables(variables, "velocity") if self.momentum else []
        )

    def direction(self, index, gradient, variable):
        """The gradient; weight decay comes in with the step."""
        return gradient

    def compared_with_weights(self, index, direction, variable):
        """The gradient, with norm="joint" with the decay in it."""
        decay = self.decay_of(index)
        if self.norm == "joint" and decay:
            return direction + wide(variable) * decay
        return direction

    def take_step(self, index, variable, direction, lengths, learning_rate):
        """Updates velocity and variable."""
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
