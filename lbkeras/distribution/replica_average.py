"""Averages statistics that differ between replicas."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def average_over_replicas(model: "keras.Model") -> None:
    """Sets each floating-point non-trainable variable to its mean over the replicas.

    v_r <- (1/R) sum_s v_s for replicas r, s = 1..R. These are the moving statistics of batch norm
    that is not synchronized: each replica has seen only its own part of the batches. Values that
    are equal in all replicas do not change, bit for bit. With several workers, all must call it.
    On JAX all devices hold the same values, so there is nothing to do.

    Args:
        model: a built `keras.Model`, made under its strategy's scope.
    """
    strategy = getattr(model, "distribute_strategy", None)
    if strategy is None or strategy.num_replicas_in_sync == 1:
        return
    import keras
    import tensorflow as tf

    variables = [
        v
        for v in model.non_trainable_variables
        if keras.backend.is_float_dtype(v.dtype) and not isinstance(v.value, tf.Tensor)
    ]
    if variables:
        _average(strategy, variables)


def _average(strategy, variables) -> None:
    import tensorflow as tf

    @tf.function
    def average():
        def in_replica():
            context = tf.distribute.get_replica_context()
            # In float64 the sum of equal float32 numbers is exact, and so is their mean.
            values = [tf.cast(v.value, tf.float64) for v in variables]
            sums = context.all_reduce(tf.distribute.ReduceOp.SUM, values)
            for variable, total in zip(variables, sums, strict=True):
                mean = total / strategy.num_replicas_in_sync
                variable.assign(tf.cast(mean, variable.dtype))

        strategy.run(in_replica)

    average()
