"""Replicas that have weights of their own: their mean, and how far from it they are."""

import tensorflow as tf


def mean_over_replicas(strategy, variables) -> list[tf.Tensor]:
    """The mean of each variable over all replicas; with several workers all must call it.

    Args:
        strategy: the one under whose scope the variables were made.
        variables: Keras variables.
    """

    def mean():
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.MEAN, _own(variables))

    return [strategy.experimental_local_results(v)[0] for v in _run(strategy, mean)]


def distance_between_replicas(strategy, variables) -> float:
    """sqrt(1/n sum_i |x_i - mean|^2) over n replicas, x_i all weights of replica i together."""

    def square():
        context = tf.distribute.get_replica_context()
        own = [tf.cast(value, tf.float32) for value in _own(variables)]
        means = context.all_reduce(tf.distribute.ReduceOp.MEAN, own)
        pairs = zip(own, means, strict=True)
        square = tf.add_n([tf.reduce_sum(tf.square(value - mean)) for value, mean in pairs])
        return context.all_reduce(tf.distribute.ReduceOp.MEAN, square)

    mean_square = strategy.experimental_local_results(_run(strategy, square))[0]
    return float(mean_square) ** 0.5


def components(strategy, variable) -> tuple[tf.Variable, ...]:
    """A Keras variable's component in each replica of this process; assigned to one by one."""
    return strategy.experimental_local_results(variable.value)


def _own(variables):
    return [tf.convert_to_tensor(variable.value) for variable in variables]


def _run(strategy, in_replica):
    return tf.function(lambda: strategy.run(in_replica))()
