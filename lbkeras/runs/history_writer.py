"""Writes the history of a run to a file that survives a kill."""

from pathlib import Path

import keras

from lbkeras import checks
from lbkeras.distribution.agreement import is_chief
from lbkeras.metrics import COLUMNS
from lbkeras.runs.record import append_history_row


class HistoryWriter(keras.callbacks.Callback):
    """Appends each epoch's logs to a JSON-lines file and syncs it before the next epoch begins.

    A row holds `epoch` (from 0), then those of `lbkeras.metrics.COLUMNS` that are in the logs, in
    that order, then all other logs. To get all of the columns, pass `TrainingStatistics` before
    this callback. If several workers train together, only the chief writes.

    Args:
        path: the file, `history.jsonl`; rows are appended to its content.
    """

    def __init__(self, path: Path | str):
        super().__init__()
        self.path = checks.path("path", path)

    def on_train_begin(self, logs=None):
        if is_chief(getattr(self.model, "distribute_strategy", None)):
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def on_epoch_end(self, epoch, logs=None):
        if not is_chief(getattr(self.model, "distribute_strategy", None)):
            return
        logs = {name: _plain(value) for name, value in (logs or {}).items()}
        row = {"epoch": epoch}
        row |= {name: logs[name] for name in COLUMNS if name in logs}
        row |= {name: value for name, value in logs.items() if name not in row}
        append_history_row(self.path, row)


def _plain(value):
    return value if isinstance(value, int) else float(value)
