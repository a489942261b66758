"""The projection of AdamP and SGDP: removes the step along scale-invariant weights."""

import math

from keras import ops

from lbkeras import checks
from lbkeras.optimizers.base import WideRule, wide, wide_dtype
from lbkeras.optimizers.norms import column_sums


class ProjectedRule(WideRule):
    """A rule with decoupled weight decay that projects its step before it takes it."""

    def __init__(
        self, learning_rate, *, epsilon, weight_decay, delta, weight_decay_ratio, **kwargs
    ):
        super().__init__(learning_rate, weight_decay, **kwargs)
        self.epsilon = checks.positive("epsilon", epsilon)
        self.delta = checks.not_negative("delta", delta)
        self.weight_decay_ratio = checks.not_negative("weight_decay_ratio", weight_decay_ratio)

    def apply_step(self, gradient, variable, step, learning_rate, decay):
        """Updates w <- (1 - learning_rate * decay * ratio) * w - learning_rate * projected step."""
        rate = ops.cast(learning_rate, step.dtype)
        shrink = rate * decay
        if len(variable.shape) > 1:
            step, ratio = project(
                wide(variable),
                gradient,
                step,
                self.delta,
                self.weight_decay_ratio,
                self.epsilon,
            )
            shrink = shrink * ratio
        change = step * rate
        if decay:
            change = change + wide(variable) * shrink
        self.assign_sub(variable, change)

    def get_config(self):
        return super().get_config() | {
            "epsilon": self.epsilon,
            "delta": self.delta,
            "weight_decay_ratio": self.weight_decay_ratio,
        }


def project(weights, gradient, step, delta, weight_decay_ratio, epsilon):
    """Removes the part of the step along the weights, where the weights look scale-invariant.

    Two views of the variable are tried: first one row per output channel (the last axis in Keras),
    then the whole layer as one row. With n the length of a row, the first view in which

        max over rows of |cos(gradient, weights)| < delta / sqrt(n)

    is projected row by row: step <- step - (step . ŵ) ŵ with ŵ = w / (|w| + epsilon).

    Args:
        weights: tensor of rank >= 2.
        gradient: raw gradient of the same shape, for the cosine.
        step: the direction to project, of the same shape.
        delta: threshold for the cosine.
        weight_decay_ratio: factor for the weight decay if a view is projected.
        epsilon: added to norms.

    Returns:
        `(step, ratio)`: the projected step, and weight_decay_ratio or 1.0 as a scalar. No
        branch depends on data, so XLA can compile it.
    """
    dtype, shape = step.dtype, tuple(weights.shape)
    size, channels = math.prod(shape), shape[-1]
    # A row of the channel view is a column here. The layer's sums add up those of its channels.
    w, g, p = (
        ops.reshape(ops.cast(x, wide_dtype(step)), (-1, channels))
        for x in (weights, gradient, step)
    )
    by_channel = [column_sums(products) for products in (w * w, g * g, w * g, w * p)]
    by_layer = [ops.sum(sums) for sums in by_channel]
    in_channels, channel_scale = _view(*by_channel, size // channels, delta, epsilon)
    in_layer, layer_scale = _view(*by_layer, size, delta, epsilon)
    scale = ops.where(in_channels, channel_scale, ops.where(in_layer, layer_scale, 0.0))
    ratio = ops.where(ops.logical_or(in_channels, in_layer), weight_decay_ratio, 1.0)
    return ops.cast(ops.reshape(p - w * scale, shape), dtype), ops.cast(ratio, wide_dtype(step))


def _view(ww, gg, wg, wp, row_length, delta, epsilon):
    """Returns whether a view is projected, and the multiple of the weights to subtract if so.

    Computed from the sums of w^2, g^2, w g and w p over each row of the view.
    """
    weight_norm = ops.sqrt(ww) + epsilon
    cosine = ops.abs(wg) / weight_norm / (ops.sqrt(gg) + epsilon)
    fires = ops.max(cosine) < delta / row_length**0.5
    return fires, wp / ops.square(weight_norm)
