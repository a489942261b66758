"""The table of each update's loss on the replicas of `tf.distribute`."""

import numpy as np
import tensorflow as tf

from lbkeras.methods.auto_wu.loss_table import CAPACITY, LossTable


class ReplicaStepLosses(LossTable):
    """`StepLosses` for TensorFlow: each replica writes its share of the loss; `read` sums them."""

    def _make_variables(self) -> None:
        strategy = self._model.distribute_strategy
        self._replicas = strategy.num_replicas_in_sync
        local = dict(trainable=False, synchronization=tf.VariableSynchronization.ON_READ)
        with strategy.scope():
            self._rows = tf.Variable(
                tf.zeros((CAPACITY, 1)), aggregation=tf.VariableAggregation.SUM, **local
            )
            self._count = tf.Variable(
                tf.zeros((), tf.int64),
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
                **local,
            )

    def _read_all(self) -> tuple[int, np.ndarray]:
        count = int(tf.convert_to_tensor(self._count))
        if not count:
            return 0, np.zeros(0, np.float32)
        return count, np.asarray(tf.convert_to_tensor(self._rows))[:, 0]

    def _write(self, loss) -> None:
        """Adds a row, in a replica's graph: its share of the mean; reading sums the shares."""
        row = tf.minimum(tf.convert_to_tensor(self._count), CAPACITY - 1)
        value = tf.stack([tf.cast(loss, tf.float32)]) / self._replicas
        self._rows.assign(tf.tensor_scatter_nd_update(self._rows, [[row]], [value]))
        self._count.assign_add(1)
