"""The run in TensorBoard, under the history's names."""

import itertools
import os
import socket
import time
from pathlib import Path

import keras
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.api import hparams_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from lbkeras import checks, files
from lbkeras.distribution.agreement import is_chief
from lbkeras.errors import UserError
from lbkeras.metrics import VALIDATION

_NUMBERS = itertools.count()  # of the files of this process


class TensorBoardScalars(keras.callbacks.Callback):
    """Writes each epoch's logs as TensorBoard scalars with the number of updates as the step.

    The tags are the names of the logs (`loss`, `batch_size`, `learning_rate`, `noise_scale`, ...);
    `val_NAME` becomes `NAME` in the run `validation`, so that TensorBoard draws both in one chart.
    Equal steps are equal numbers of updates, whatever the batch size was. A run that goes on from
    a checkpoint takes back what was written after it. Costs about 2 ms an epoch: one record each
    for training and validation, a fifth of the time of one `tf.summary` call a scalar. Where
    several workers train together, the chief writes.

    Args:
        directory: the runs `train` and `validation` are written below it.
        settings: hyper-parameters of the run for the HParams tab: names to numbers, strings or
            booleans.
    """

    def __init__(self, directory: Path | str, settings: dict | None = None):
        super().__init__()
        self.directory = checks.path("directory", directory)
        if settings is not None and not isinstance(settings, dict):
            raise UserError(f"settings: expected a dict or None, received {settings!r}")
        self.settings = settings or {}

    def on_train_begin(self, logs=None):
        chief = is_chief(getattr(self.model, "distribute_strategy", None))
        runs = ("train", "validation") if chief else ()
        self._writers = {run: self._open(run) for run in runs}
        if not runs:
            return
        updates = self._updates()
        for run in self._writers:
            if updates:  # TensorBoard forgets what an earlier process wrote from this step on
                start = SessionLog(status=SessionLog.START)
                self._write(run, step=updates + 1, session_log=start)
        if self.settings:
            summary = hparams_pb(self.settings, trial_id=str(self.directory))
            self._write("train", step=0, summary=summary)

    def on_epoch_end(self, epoch, logs=None):
        values = {"train": [], "validation": []}
        for name, value in (logs if self._writers and logs else {}).items():
            run = "validation" if name.startswith(VALIDATION) else "train"
            scalar = Summary.Value(tag=name.removeprefix(VALIDATION), simple_value=float(value))
            values[run].append(scalar)
        for run, scalars in values.items():
            if scalars:
                self._write(run, step=self._updates(), summary=Summary(value=scalars))

    def on_train_end(self, logs=None):
        for writer in self._writers.values():
            writer.close()

    def _open(self, run: str) -> RecordWriter:
        folder = self.directory / run
        folder.mkdir(parents=True, exist_ok=True)
        place = f"{socket.gethostname()}.{os.getpid()}.{next(_NUMBERS)}"
        # Python's own file: where the disk is full, TensorFlow's speaks of memory.
        writer = RecordWriter(
            open(folder / f"events.out.tfevents.{int(time.time())}.{place}", "wb")
        )
        writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        return writer

    def _write(self, run: str, **content):
        event = Event(wall_time=time.time(), **content)
        with files.named(self.directory / run):
            self._writers[run].write(event.SerializeToString())
            self._writers[run].flush()

    def _updates(self) -> int:
        return int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
