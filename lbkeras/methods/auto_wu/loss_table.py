"""The table of each update's loss on one replica, and the base of the one for several replicas."""

import keras
import numpy as np
from keras import ops

from lbkeras.keras_internals import jax_state
from lbkeras.keras_internals.model import loss_metric

CAPACITY = 4096  # losses between two readings
_NAME = "losses of updates"  # key of the model's state on JAX


class LossTable:
    """`StepLosses` for one replica.

    Args:
        model: as for `StepLosses`.
    """

    def __init__(self, model):
        self._model = model
        _remove(model)
        self._make_variables()
        self._listen()

    def _make_variables(self) -> None:
        self._rows = keras.Variable(np.zeros(CAPACITY), dtype="float32", trainable=False)
        self._count = keras.Variable(0, dtype="int32", trainable=False)
        jax_state.carry(self._model, _NAME, self.variables)

    @property
    def variables(self) -> list:
        """What a checkpoint has to save: the losses since the last reading, and their number."""
        return [self._rows, self._count]

    def read(self) -> np.ndarray:
        """Returns the losses since the last reading as float32, and forgets them.

        All workers must call it at the same update.

        Raises:
            RuntimeError: if there were more updates than the table has rows.
        """
        count, losses = self._read_all()
        if count > CAPACITY:
            raise RuntimeError(f"{count} updates since the last reading, room for {CAPACITY}")
        self.clear()
        return losses[:count].copy()

    def _read_all(self) -> tuple[int, np.ndarray]:
        jax_state.synchronize(self._model)
        count, rows = (ops.convert_to_numpy(v) for v in (self._count, self._rows))
        return int(count), np.asarray(rows)

    def clear(self) -> None:
        """Forgets the losses since the last reading."""
        self._count.assign(0)

    def detach(self) -> None:
        """Stops recording."""
        _remove(self._model)
        jax_state.drop(self._model, _NAME)

    def _write(self, loss) -> None:
        """Adds a row; called in the train step."""
        row = ops.minimum(self._count.value, CAPACITY - 1)
        value = ops.reshape(ops.cast(loss, "float32"), (1,))
        self._rows.assign(ops.slice_update(self._rows.value, [row], value))
        self._count.assign(self._count.value + 1)

    def _listen(self) -> None:
        model, tracker = self._model, loss_metric(self._model)
        update_state, test_step = tracker.update_state, model.test_step
        evaluating = False

        def recorded(loss, sample_weight=None):
            if not evaluating:
                self._write(loss)
            return update_state(loss, sample_weight=sample_weight)

        def unrecorded(*state_and_data):
            nonlocal evaluating
            evaluating = True
            try:
                return test_step(*state_and_data)
            finally:
                evaluating = False

        tracker.update_state = recorded
        model.test_step = unrecorded
        model.train_function = model.test_function = None


def _remove(model) -> None:
    """Removes the hooks of any earlier instance, including one whose `fit` was interrupted."""
    listening = vars(loss_metric(model)).pop("update_state", None)
    vars(model).pop("test_step", None)
    if listening is not None:
        model.train_function = model.test_function = None
