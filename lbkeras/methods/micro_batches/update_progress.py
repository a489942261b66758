"""Records how far a train step got before it failed."""

from typing import Any

import tensorflow as tf


class UpdateProgress:
    """Counts, in the graph, the steps and the updates that have begun.

    A step first computes and then changes variables. If it runs out of memory, the counts tell how
    many steps are done and whether variables were being changed. This also works if one call makes
    several steps (`steps_per_execution`), and for optimizers that do not count a skipped update in
    `iterations`. Cost: one local integer per replica and two additions per step.

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
        """Sets the number of steps that are done, between two calls."""
        for marks in self._strategy.experimental_local_results(self._marks):
            marks.assign(2 * steps)

    def mark_step(self, tensors: Any) -> Any:
        """Marks, in a replica, that a step begins, and returns the tensors."""
        return with_dependencies(self._marks.assign_add(1), tensors)

    def mark_update(self, tensors: Any) -> Any:
        """Marks, in a replica, that the update begins, once every replica has its `tensors`.

        Variables may change only after the returned tensor is computed.
        """
        context = tf.distribute.get_replica_context()
        everywhere = with_dependencies(tensors, tf.zeros(()))
        if context.num_replicas_in_sync > 1:
            everywhere = context.all_reduce(tf.distribute.ReduceOp.SUM, everywhere)
        with tf.control_dependencies([everywhere]):
            return self._marks.assign_add(1)

    def steps_done(self, known: int, atomic: bool = False) -> int | None:
        """Returns the steps done after a failed call; None if one failed during its update.

        Args:
            known: number of steps done before that call.
            atomic: whether a step changes either all variables or none (compiled by XLA).
        """
        local = self._strategy.experimental_local_results(self._marks)
        # A replica marks its update after every replica has marked its step, so the maximum tells.
        marks = max(int(each) for each in local)
        if marks % 2 or marks == 2 * known or atomic:
            return marks // 2
        return None


def with_dependencies(first, tensors):
    """Returns a structure of tensors (None stays None) with a control dependency on `first`."""
    first = [each for each in tf.nest.flatten(first, expand_composites=True) if each is not None]
    with tf.control_dependencies(first):
        return tf.nest.map_structure(
            lambda each: None if each is None else tf.identity(each),
            tensors,
            expand_composites=True,
        )
