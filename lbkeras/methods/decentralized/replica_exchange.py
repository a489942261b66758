"""How replicas of a `tf.distribute` strategy exchange tensors with their neighbours.

TensorFlow alone has replicas; it is imported here, so this module is imported where it is needed.
"""

import functools

import keras
import numpy as np
import tensorflow as tf

from lbkeras.methods.decentralized.base import sum_in_order


def in_replica() -> bool:
    """Whether the code runs in a replica of a strategy."""
    return not tf.distribute.in_cross_replica_context()


def own(variable) -> tf.Variable:
    """This replica's component of a variable: assigning to it leaves the others as they are."""
    context = tf.distribute.get_replica_context()
    variable = variable.value if isinstance(variable, keras.Variable) else variable
    components = context.strategy.experimental_local_results(variable)
    replica = int(tf.get_static_value(context.replica_id_in_sync_group))
    return components[replica % len(components)]


def exchange(sent: list[tf.Tensor], indices, weights) -> list[tf.Tensor]:
    """What this replica receives: sum_k weights[i, k] * (what replica indices[i, k] sent).

    With several replicas in one process (MirroredStrategy) a replica reads the tensors of its
    neighbours only. Between processes (MultiWorkerMirroredStrategy) TensorFlow has collectives of
    all replicas only, so each sends its tensors to all others, whatever the graph: there the
    decentralized rules save no traffic. The mean of all is an all-reduce in both.

    Args:
        sent: this replica's tensors.
        indices, weights: `(replicas, K)`, or None for the mean of all; `indices` a tensor where
            they change from step to step.
    """
    context = tf.distribute.get_replica_context()
    if indices is None:
        return context.all_reduce(tf.distribute.ReduceOp.MEAN, sent)
    if isinstance(context.strategy, tf.distribute.MirroredStrategy):
        read = functools.partial(_read_neighbours, indices=indices, weights=weights)
        return context.merge_call(read, args=(sent,))
    replica = tf.get_static_value(context.replica_id_in_sync_group)
    gathered = context.all_gather([tensor[tf.newaxis] for tensor in sent], axis=0)
    return [
        sum_in_order(
            tf.cast(weights[replica, k], all_sent.dtype) * all_sent[indices[replica, k]]
            for k in range(weights.shape[1])
        )
        for all_sent in gathered
    ]


def _read_neighbours(strategy, sent, indices, weights):
    """In cross-replica context: `sent` has a component for each replica."""
    sent = [strategy.experimental_local_results(tensor) for tensor in sent]
    devices = strategy.extended.worker_devices

    def received(context):
        i = context.replica_id_in_sync_group
        with tf.device(devices[i]):
            return [
                sum_in_order(
                    tf.cast(weights[i, k], values[i].dtype) * _pick(values, indices[i, k])
                    for k in range(weights.shape[1])
                )
                for values in sent
            ]

    return strategy.experimental_distribute_values_from_function(received)


def _pick(values, index):
    """The tensor of one replica; where the index is known in the step only, by a branch."""
    if isinstance(index, np.integer):
        return tf.identity(values[index])
    branches = [lambda value=value: tf.identity(value) for value in values]
    return tf.switch_case(index, branches)
