"""Ctrl-C and SIGTERM: finish the step, save, stop."""

import contextlib
import signal
from collections.abc import Iterator

import keras

from lbkeras.callbacks.checkpoint import Checkpoint
from lbkeras.distribution.agreement import Agreement
from lbkeras.errors import UserError

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """Training was asked to stop by a signal and has saved a checkpoint.

    Args:
        signal_number: the signal; a shell shows 128 + it as the exit status.
    """

    def __init__(self, signal_number: int):
        super().__init__(f"interrupted by {signal.Signals(signal_number).name}")
        self.signal_number = signal_number

    def _render_traceback_(self) -> list[str]:
        """Returns what a notebook shows instead of a traceback."""
        return [f"{self}; a checkpoint is saved: run the cell again to resume"]


class StopOnSignal(keras.callbacks.Callback):
    """On SIGINT or SIGTERM, writes a checkpoint after the current step and raises `Interrupted`.

    Without a callback that sets the batch size, such as `BatchSizeScheduler`, a run cannot resume
    inside an epoch, so it stops at the end of the epoch instead.

    Signals are caught inside `with callback.catching():`, which must enclose `fit`; a second signal
    acts at once. Put this callback after the Checkpoint in the list. If several workers train
    together, a signal to one of them stops all of them after the same step, within seconds.

        stop = StopOnSignal(checkpoint)
        with stop.catching():
            model.fit(train, callbacks=[*others, checkpoint, stop])

    Args:
        checkpoint: the `lbkeras.callbacks.Checkpoint` of the run.

    Raises:
        Interrupted: in `fit`, once the checkpoint is on the disk.
    """

    def __init__(self, checkpoint: "Checkpoint"):
        super().__init__()
        if not isinstance(checkpoint, Checkpoint):
            raise UserError(
                f"checkpoint: expected the run's Checkpoint, received {type(checkpoint).__name__}"
            )
        self.checkpoint = checkpoint
        self._received = None

    @contextlib.contextmanager
    def catching(self) -> Iterator["StopOnSignal"]:
        """Catches SIGINT and SIGTERM in this block; afterwards they act as before.

        A signal that the process ignores, such as SIGINT under `trap '' INT`, stays ignored. If
        `fit` diverged or ended before it could act on a signal, the signal acts after the block.
        """

        def note(number, frame):
            self._received = number
            for each, handler in before.items():
                signal.signal(each, handler)

        self._received = None
        heard = [each for each in _NUMBERS if signal.getsignal(each) != signal.SIG_IGN]
        before = {each: signal.signal(each, note) for each in heard}
        try:
            yield self
        except Interrupted:
            self._received = None
            raise
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
            if self._received is not None:
                signal.raise_signal(self._received)

    def on_train_begin(self, logs=None):
        self._agreement = Agreement(getattr(self.model, "distribute_strategy", None))

    def on_train_batch_end(self, batch, logs=None):
        # At an epoch's last step `save_inside_epoch` returns None, and on_epoch_end stops the run.
        received = self._agreement.largest(self._received or 0)
        if received and self.checkpoint.save_inside_epoch():
            raise Interrupted(int(received))

    def on_epoch_end(self, epoch, logs=None):
        if received := self._agreement.largest(self._received or 0, now=True):
            raise Interrupted(int(received))
