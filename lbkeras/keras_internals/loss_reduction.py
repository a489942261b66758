"""How Keras reduces a loss's values to one, in a replica and over all of them."""

import tensorflow as tf

from lbkeras.errors import UserError
from lbkeras.keras_internals.alone import is_alone
from lbkeras.keras_internals.names import private_module


def module():
    """The module whose functions Keras' losses and trainers look up when they run."""
    return private_module("keras.src.losses.loss")


def replicas() -> int:
    """The replicas that the code being traced can meet: 1 outside of them and in `alone()`."""
    if not tf.distribute.get_replica_context() or is_alone():
        return 1
    return tf.distribute.get_strategy().num_replicas_in_sync


def sum_over_replicas(value):
    """The sum of a tensor over all replicas, in each; no gradient flows back through it."""
    if replicas() == 1:
        return value
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.stop_gradient(value))


def reduced_over_replicas(reduce):
    """Keras' reduction of a replica's values -> one whose sum over replicas is the whole batch's.

    With S_r the sum of a replica's weighted values and D_r what it divides by (its number of
    values, sum of mask or of weights), Keras' value S_r / D_r / R becomes S_r / sum of D.

    Args:
        reduce: `reduce_weighted_values` of `module()`.
    """

    def reduce_weighted_values(
        values, sample_weight=None, mask=None, reduction="sum_over_batch_size", dtype=None
    ):
        value = reduce(values, sample_weight, mask, reduction, dtype)
        if replicas() == 1 or reduction in ("sum", "none", None):
            return value
        if not values.shape.rank:
            raise UserError(
                "loss: expected a value for each example on several replicas, received one number; "
                "let it return the values before their mean"
            )
        weight = sample_weight if reduction == "mean_with_sample_weight" else None
        divisor = reduce(tf.ones_like(values), weight, mask, "sum", dtype)
        whole = sum_over_replicas(divisor)
        share = tf.math.divide_no_nan(divisor, whole)
        # A part without examples has no value, which Keras leaves as it is.
        return tf.reduce_sum(value) * tf.cast(share * replicas(), value.dtype)

    return reduce_weighted_values


def shown_over_replicas(unscale):
    """Keras' value for the metric "loss" of a replica -> the whole batch's, the same in each.

    Args:
        unscale: `unscale_loss_for_distribution` of `module()`.
    """

    def unscale_loss_for_distribution(value):
        if replicas() == 1:
            return unscale(value)
        if value.shape.rank:  # a loss without reduction: its mean over the examples is shown
            total, count = tf.reduce_sum(value), tf.size(value, out_type=tf.int32)
            return sum_over_replicas(total) / tf.cast(sum_over_replicas(count), value.dtype)
        return sum_over_replicas(value)

    return unscale_loss_for_distribution
