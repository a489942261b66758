"""Stops a run whose loss becomes NaN or infinite, and says at which update."""

import math

import keras

from lbkeras.callbacks.optimizer_settings import last_learning_rate
from lbkeras.keras_internals.model import sync_variables


class Diverged(Exception):
    """The training loss became NaN or infinite; the message says at which update."""


class StopOnNaN(keras.callbacks.Callback):
    """Raises `Diverged` at the first step or evaluation whose loss is NaN or infinite.

    Unlike `keras.callbacks.TerminateOnNaN` it ends `fit` at once. Put it before callbacks that
    save, so that the last checkpoint is from before the loss became NaN. With
    `steps_per_execution=n` the message gives a range of n updates.

    Raises:
        Diverged: in `fit`; the message names the update, the epoch and the learning rate.
    """

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._updates_before = self._updates()

    def on_train_batch_end(self, batch, logs=None):
        first = self._updates_before + batch + 2 - self.model.steps_per_execution
        self._check((logs or {}).get("loss"), first)

    def on_epoch_end(self, epoch, logs=None):
        # The effect of the epoch's last update shows only in the validation loss.
        self._check((logs or {}).get("val_loss"), self._updates())

    def _check(self, loss: float | None, first: int) -> None:
        if loss is None or math.isfinite(loss):
            return
        sync_variables(self.model)
        last = self._updates()
        when = f"update {last}" if first >= last else f"updates {first} to {last}"
        rate = last_learning_rate(self.model.optimizer)
        raise Diverged(
            f"the loss became {'NaN' if math.isnan(loss) else 'infinite'} at {when} "
            f"(epoch {self._epoch + 1}) with learning rate {rate:g}"
        )

    def _updates(self) -> int:
        return int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
