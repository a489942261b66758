"""The replicas of `tf.distribute`."""

import tensorflow as tf


def num_replicas() -> int:
    """The replicas of the present strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync
