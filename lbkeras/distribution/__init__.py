"""Where a model trains: tf.distribute strategies by name, and what Keras needs for them."""

from lbkeras.distribution import mixing
from lbkeras.distribution.cluster import (
    Cluster,
    is_chief,
    num_workers,
    present_cluster,
    set_cluster,
    worker_index,
)
from lbkeras.distribution.replica_average import average_over_replicas
from lbkeras.distribution.strategy import STRATEGIES, describe, strategy
from lbkeras.keras_internals.repairs import repair_keras

__all__ = [
    "STRATEGIES",
    "Cluster",
    "average_over_replicas",
    "describe",
    "is_chief",
    "mixing",
    "num_workers",
    "present_cluster",
    "repair_keras",
    "set_cluster",
    "strategy",
    "worker_index",
]
