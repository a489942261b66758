"""Where a train step was when it failed."""

from typing import Any

import tensorflow as tf


class UpdateProgress:
    """Counts, in the graph, the steps that have begun and the updates that have begun.

    A step computes first and then changes variables. When it runs out of memory, these counts tell
    how many steps are done and whether variables were being changed, also where one call makes
    several steps (`steps_per_execution`), and for optimizers whose `iterations` stand still when
    they skip an update. One local integer a replica; it costs two additions a step.

    Args:
        strategy: the model's `tf.distribute.Strategy`.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        self._strategy = strategy
        with strategy.scope():
            self._marks = tf.Variable(
                tf.zeros((), tf.int64),
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
            )

    def reset(self, steps: int = 0) -> None:
        """Says, between two calls, that `steps` steps are done."""
        for marks in self._strategy.experimental_local_results(self._marks):
            marks.assign(2 * steps)

    def mark_step(self, tensors: Any) -> Any:
        """In a replica: the tensors, once it is marked that the step has begun."""
        return with_dependencies(self._marks.assign_add(1), tensors)

    def mark_update(self, tensors: Any) -> Any:
        """In a replica: what to wait for before variables may change.

        That is the mark that the update begins, made when every replica has its `tensors`.
        """
        context = tf.distribute.get_replica_context()
        everywhere = with_dependencies(tensors, tf.zeros(()))
        if context.num_replicas_in_sync > 1:
            everywhere = context.all_reduce(tf.distribute.ReduceOp.SUM, everywhere)
        with tf.control_dependencies([everywhere]):
            return self._marks.assign_add(1)

    def steps_done(self, known: int, atomic: bool = False) -> int | None:
        """After a failed call: the steps that are done; None where one broke off in its update.

        Args:
            known: the steps that were done before that call.
            atomic: True where a step changes all its variables or none (compiled by XLA).
        """
        local = self._strategy.experimental_local_results(self._marks)
        # A replica marks its update when every replica has marked its step, so the furthest tells.
        marks = max(int(each) for each in local)
        if marks % 2 or marks == 2 * known or atomic:
            return marks // 2
        return None


def with_dependencies(first, tensors):
    """The tensors of a structure (None stays None), held back until those of `first` are there."""
    first = [each for each in tf.nest.flatten(first, expand_composites=True) if each is not None]
    with tf.control_dependencies(first):
        return tf.nest.map_structure(
            lambda each: None if each is None else tf.identity(each),
            tensors,
            expand_composites=True,
        )
