"""Means and biased variances of parts of a batch, and of what the parts make together."""

from keras import ops

from lbkeras import checks
from lbkeras.errors import UserError


def broadcast_mask(mask, inputs):
    """Keras' mask, one rank less than the inputs, as a boolean tensor of the inputs' shape."""
    if len(mask.shape) != len(inputs.shape) - 1:
        raise UserError(
            f"mask: expected one dimension less than the inputs' shape {tuple(inputs.shape)}, "
            f"received shape {tuple(mask.shape)}"
        )
    return ops.broadcast_to(ops.expand_dims(ops.cast(mask, "bool"), -1), ops.shape(inputs))


def plain_moments(x, axes):
    """`(mean, variance)` over `axes` of all values.

    The variance is `E[(x - c)²] - (mean - c)²`, with the mean as a constant c: the same number,
    and the same derivatives of every order, but its gradient takes no sum over x a second time, as
    that of `ops.moments` on JAX does.
    """
    if all(x.shape[axis] == 1 for axis in axes):  # single values
        mean = ops.squeeze(x, axes)
        return mean, ops.zeros_like(mean)
    mean = ops.mean(x, axes, keepdims=True)
    center = ops.stop_gradient(mean)
    variance = ops.mean(ops.square(x - center), axes, keepdims=True) - ops.square(mean - center)
    return ops.squeeze(mean, axes), ops.squeeze(variance, axes)


def masked_moments(x, mask, axes):
    """`(mean, variance, count)` over `axes` of the values where `mask`, of x's shape, is true.

    Where nothing is counted, mean and variance are 0.
    """
    weights = ops.cast(mask, x.dtype)
    count = ops.sum(weights, axes, keepdims=True)
    share = weights / ops.maximum(count, 1)
    mean = ops.sum(ops.where(mask, x, 0) * share, axes, keepdims=True)
    deviation = ops.where(mask, x - mean, 0)
    variance = ops.sum(ops.square(deviation) * share, axes)
    return ops.squeeze(mean, axes), variance, ops.squeeze(count, axes)


def pooled_moments(mean, variance, count, add, spread):
    """`(mean, variance, count)` of groups, exactly, from those of their members.

    The mean of all values is the weighted mean of the means, their variance the weighted mean of
    `variance_i + (mean_i - mean)²`: no difference of large numbers, unlike E[x²] - E[x]².

    Args:
        mean, variance: of the members, `(members, channels)`.
        count: values in each member, `(members, 1)` or `(members, channels)`.
        add: function `(*tensors) -> list` that sums tensors of members over each group.
        spread: function that gives each member its group's row.
    """
    total, weighted = add(count, count * mean)
    total_or_1 = ops.maximum(total, 1)
    group_mean = weighted / total_or_1
    deviation = mean - spread(group_mean)
    (weighted,) = add(count * (variance + ops.square(deviation)))
    return group_mean, weighted / total_or_1, total


def check_arguments(axis, arguments: dict) -> None:
    """Checks what ghost batch norm hands on to Keras' BatchNormalization.

    Args:
        axis: of the channels.
        arguments: the others, in which `epsilon` and `momentum` may stand.

    Raises:
        UserError: `axis` is no whole number, `epsilon` no finite number of at least 0, or
            `momentum` none in [0, 1].
    """
    checks.integer("axis", axis)
    checks.not_negative("epsilon", arguments.get("epsilon", 0.0))
    expected = "a number in [0, 1]"
    momentum = arguments.get("momentum", 0.0)
    checks.number("momentum", momentum, expected=expected, valid=lambda value: 0 <= value <= 1)
