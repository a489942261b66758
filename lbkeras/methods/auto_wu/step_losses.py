"""The loss of each update, which Keras' logs hold only as the running mean of an epoch."""

import numpy as np

from lbkeras.keras_internals.model import loss_metric
from lbkeras.methods.auto_wu.step_record import StepRecord


class StepLosses:
    """Writes a compiled model's loss into a `StepRecord` at each update, from inside the graph.

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
        self._record = StepRecord(model.distribute_strategy, columns=1)
        self._listen()

    @property
    def variables(self) -> list:
        """What a checkpoint has to hold: the losses since the last reading."""
        return self._record.variables

    def read(self) -> np.ndarray:
        """The losses since the last reading, float32; all workers must call it alike."""
        return self._record.read()[:, 0]

    def clear(self) -> None:
        """Forgets the losses since the last reading."""
        self._record.clear()

    def detach(self) -> None:
        """Stops listening."""
        _remove(self._model)

    def _listen(self) -> None:
        model, tracker, record = self._model, loss_metric(self._model), self._record
        update_state, test_step = tracker.update_state, model.test_step
        evaluating = False

        def recorded(loss, sample_weight=None):
            if not evaluating:
                record.write([loss])
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
