"""Means and biased variances of parts of a batch, and of groups of these parts."""

from keras import ops

from lbkeras import checks
from lbkeras.errors import UserError


def broadcast_mask(mask, inputs):
    """Returns Keras' mask, which has one dimension less, as booleans of the inputs' shape."""
    if len(mask.shape) != len(inputs.shape) - 1:
        raise UserError(
            f"mask: expected one dimension less than the inputs' shape {tuple(inputs.shape)}, "
            f"received shape {tuple(mask.shape)}"
        )
    return ops.broadcast_to(ops.expand_dims(ops.cast(mask, "bool"), -1), ops.shape(inputs))


def plain_moments(x, axes):
    """Returns `(mean, variance)` of all values over `axes`.

    The variance is computed as `E[(x - c)²] - (mean - c)²`, with the mean as a constant c. This has
    the same value and the same derivatives of every order, but its gradient needs no second sum
    over x, unlike that of `ops.moments` on JAX.
    """
    if all(x.shape[axis] == 1 for axis in axes):  # single values
        mean = ops.squeeze(x, axes)
        return mean, ops.zeros_like(mean)
    mean = ops.mean(x, axes, keepdims=True)
    center = ops.stop_gradient(mean)
    variance = ops.mean(ops.square(x - center), axes, keepdims=True) - ops.square(mean - center)
    return ops.squeeze(mean, axes), ops.squeeze(variance, axes)


def masked_moments(x, mask, axes):
    """Returns `(mean, variance, count)` over `axes` of the values where `mask` is true.

    `mask` has x's shape. Where the count is 0, mean and variance are 0.
    """
    weights = ops.cast(mask, x.dtype)
    count = ops.sum(weights, axes, keepdims=True)
    share = weights / ops.maximum(count, 1)
    mean = ops.sum(ops.where(mask, x, 0) * share, axes, keepdims=True)
    deviation = ops.where(mask, x - mean, 0)
    variance = ops.sum(ops.square(deviation) * share, axes)
    return ops.squeeze(mean, axes), variance, ops.squeeze(count, axes)


def pooled_moments(mean, variance, count, add, spread):
    """Returns the exact `(mean, variance, count)` of groups from those of their members.

    The mean of all values is the weighted mean of the means. Their variance is the weighted mean of
    `variance_i + (mean_i - mean)²`, which avoids the difference of large numbers in E[x²] - E[x]².

    Args:
        mean, variance: of the members, `(members, channels)`.
        count: number of values in each member, `(members, 1)` or `(members, channels)`.
        add: function `(*tensors) -> list` that sums members' tensors over each group.
        spread: function that gives each member its group's row.
    """
    total, weighted = add(count, count * mean)
    total_or_1 = ops.maximum(total, 1)
    group_mean = weighted / total_or_1
    deviation = mean - spread(group_mean)
    (weighted,) = add(count * (variance + ops.square(deviation)))
    return group_mean, weighted / total_or_1, total


def check_arguments(axis, arguments: dict) -> None:
    """Checks the arguments that ghost batch norm passes on to Keras' BatchNormalization.

    Args:
        axis: of the channels.
        arguments: the other arguments, possibly with `epsilon` and `momentum`.

    Raises:
        UserError: `axis` is not a whole number, `epsilon` not a finite number of at least 0, or
            `momentum` not a number in [0, 1].
    """
    checks.integer("axis", axis)
    checks.not_negative("epsilon", arguments.get("epsilon", 0.0))
    expected = "a number in [0, 1]"
    momentum = arguments.get("momentum", 0.0)
    checks.number("momentum", momentum, expected=expected, valid=lambda value: 0 <= value <= 1)
