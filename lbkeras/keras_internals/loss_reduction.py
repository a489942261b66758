"""Reduction of a loss's values to one, in a replica and over all replicas."""

import tensorflow as tf

from lbkeras.errors import UserError
from lbkeras.keras_internals.alone import is_alone
from lbkeras.keras_internals.names import private_module


def module():
    """Returns the module whose functions Keras' losses and trainers look up when they run."""
    return private_module("keras.src.losses.loss")


def replicas() -> int:
    """Returns how many replicas the traced code can sum over.

    This is 1 outside of a replica and in `alone()`.
    """
    if not tf.distribute.get_replica_context() or is_alone():
        return 1
    return tf.distribute.get_strategy().num_replicas_in_sync


def sum_over_replicas(value):
    """Returns the sum of a tensor over all replicas, in each replica, without a gradient."""
    if replicas() == 1:
        return value
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.stop_gradient(value))


def reduced_over_replicas(reduce):
    """Turns Keras' reduction in a replica into one whose sum over replicas is the whole batch's.

    S_r is the sum of a replica's weighted values, D_r its divisor (number of values, sum of mask or
    sum of weights) and R the number of replicas. Keras' value S_r / D_r / R becomes
    S_r / Σ_r D_r.

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
        # For a part without examples Keras' value may be an empty tensor; its sum is 0.
        return tf.reduce_sum(value) * tf.cast(share * replicas(), value.dtype)

    return reduce_weighted_values


def shown_over_replicas(unscale):
    """Turns a replica's value for the metric "loss" into the whole batch's, equal in all replicas.

    Args:
        unscale: `unscale_loss_for_distribution` of `module()`.
    """

    def unscale_loss_for_distribution(value):
        if replicas() == 1:
            return unscale(value)
        if value.shape.rank:  # a loss without reduction: the metric is its mean over examples
            total, count = tf.reduce_sum(value), tf.size(value, out_type=tf.int32)
            return sum_over_replicas(total) / tf.cast(sum_over_replicas(count), value.dtype)
        return sum_over_replicas(value)

    return unscale_loss_for_distribution
