"""Numbers of each update, written in the graph and read from the host now and then."""

import numpy as np
import tensorflow as tf


class StepRecord:
    """A table on the device with a row an update, averaged over the replicas when it is read.

    Costs a copy of the table an update (32 KB with 2 columns), and one transfer a reading.

    Args:
        strategy: the model's `tf.distribute.Strategy`.
        columns: numbers an update.
        capacity: rows that fit between two readings; `is_full` tells when they do not.

    >>> record = StepRecord(tf.distribute.get_strategy(), columns=2)
    >>> for step in range(3):
    ...     record.write([float(step), 0.5])
    >>> record.read().tolist(), len(record.read())
    ([[0.0, 0.5], [1.0, 0.5], [2.0, 0.5]], 0)
    """

    def __init__(self, strategy: tf.distribute.Strategy, columns: int, capacity: int = 4096):
        self._replicas = strategy.num_replicas_in_sync
        self._capacity = capacity
        local = dict(trainable=False, synchronization=tf.VariableSynchronization.ON_READ)
        with strategy.scope():
            self._rows = tf.Variable(
                tf.zeros((capacity, columns)), aggregation=tf.VariableAggregation.SUM, **local
            )
            self._count = tf.Variable(
                tf.zeros((), tf.int64),
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
                **local,
            )

    @property
    def variables(self) -> list:
        """What a checkpoint has to hold: the rows since the last reading, and their number."""
        return [self._rows, self._count]

    def write(self, values) -> None:
        """In a replica, in the graph: adds a row of this replica's numbers."""
        row = tf.minimum(tf.convert_to_tensor(self._count), self._capacity - 1)
        values = tf.stack([tf.cast(value, tf.float32) for value in values]) / self._replicas
        self._rows.assign(tf.tensor_scatter_nd_update(self._rows, [[row]], [values]))
        self._count.assign_add(1)

    def is_full(self, updates: int) -> bool:
        """Whether `updates` more rows do not fit; looks at the device."""
        return self._rows_written() + updates > self._capacity

    def read(self) -> np.ndarray:
        """The rows since the last reading, float32 (updates, columns), means over the replicas.

        All workers must call it at the same update.

        Raises:
            RuntimeError: more updates than rows have passed since.
        """
        count = self._rows_written()
        if count > self._capacity:
            raise RuntimeError(f"{count} updates since the last reading, room for {self._capacity}")
        rows = np.asarray(tf.convert_to_tensor(self._rows))[:count].copy() if count else None
        self.clear()
        return np.zeros((0, self._rows.shape[1]), np.float32) if rows is None else rows

    def clear(self) -> None:
        """Forgets the rows."""
        self._count.assign(0)

    def _rows_written(self) -> int:
        return int(tf.convert_to_tensor(self._count))
