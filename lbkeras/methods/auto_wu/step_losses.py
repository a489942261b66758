"""The loss of each update, which Keras' logs hold only as the running mean of an epoch."""

import numpy as np
import tensorflow as tf

from lbkeras.keras_internals.model import loss_metric

_CAPACITY = 4096  # losses between two readings


class StepLosses:
    """Writes a compiled model's loss into a table on the device at each update, in the graph.

    It listens where Keras' train step and `micro_batch_train_step` hand the batch's loss to the
    metric "loss": the mean over the whole batch, of all replicas, with what regularizers and layers
    add. Evaluation is left out. Works with any `steps_per_execution` and strategy; costs a few
    scalar operations and the copy of 16 KB an update, less than 50 microseconds.

    Call `read` at least every 2,048 updates, `clear` when an epoch begins, and `detach` when
    training ends, which leaves the model as it was.

    Args:
        model: compiled, with Keras' own train step (or one that calls it).
    """

    def __init__(self, model):
        self._model = model
        _remove(model)
        strategy = model.distribute_strategy
        self._replicas = strategy.num_replicas_in_sync
        local = dict(trainable=False, synchronization=tf.VariableSynchronization.ON_READ)
        with strategy.scope():
            self._rows = tf.Variable(
                tf.zeros((_CAPACITY, 1)), aggregation=tf.VariableAggregation.SUM, **local
            )
            self._count = tf.Variable(
                tf.zeros((), tf.int64),
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
                **local,
            )
        self._listen()

    @property
    def variables(self) -> list:
        """What a checkpoint has to hold: the losses since the last reading, and their number."""
        return [self._rows, self._count]

    def read(self) -> np.ndarray:
        """The losses since the last reading, float32; all workers must call it at the same update.

        Raises:
            RuntimeError: more updates than rows have passed since.
        """
        count = int(tf.convert_to_tensor(self._count))
        if count > _CAPACITY:
            raise RuntimeError(f"{count} updates since the last reading, room for {_CAPACITY}")
        losses = np.zeros(0, np.float32)
        if count:
            losses = np.asarray(tf.convert_to_tensor(self._rows))[:count, 0].copy()
        self.clear()
        return losses

    def clear(self) -> None:
        """Forgets the losses since the last reading."""
        self._count.assign(0)

    def detach(self) -> None:
        """Stops listening."""
        _remove(self._model)

    def _write(self, loss) -> None:
        """In a replica, in the graph: adds a row, which is averaged over replicas when read."""
        row = tf.minimum(tf.convert_to_tensor(self._count), _CAPACITY - 1)
        value = tf.stack([tf.cast(loss, tf.float32)]) / self._replicas
        self._rows.assign(tf.tensor_scatter_nd_update(self._rows, [[row]], [value]))
        self._count.assign_add(1)

    def _listen(self) -> None:
        model, tracker = self._model, loss_metric(self._model)
        update_state, test_step = tracker.update_state, model.test_step
        evaluating = False

        def recorded(loss, sample_weight=None):
            if not evaluating:
                self._write(loss)
            return update_state(loss, sample_weight=sample_weight)

        def unrecorded(data):
            nonlocal evaluating
            evaluating = True
            try:
                return test_step(data)
            finally:
                evaluating = False

        tracker.update_state = recorded
        model.test_step = unrecorded
        model.train_function = model.test_function = None


def _remove(model) -> None:
    """Takes away what an instance put there, also one whose `fit` broke off."""
    listening = vars(loss_metric(model)).pop("update_state", None)
    vars(model).pop("test_step", None)
    if listening is not None:
        model.train_function = model.test_function = None
