"""Writes a run for TensorBoard, under the names of the history."""

import itertools
import os
import socket
import time
from pathlib import Path

import keras
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import plugin_data_pb2, summary_v2
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from lbkeras import checks, files
from lbkeras.distribution.agreement import is_chief
from lbkeras.errors import UserError
from lbkeras.metrics import COLUMNS, FINALS, VALIDATION

_NUMBERS = itertools.count()  # of the files of this process


class TensorBoardScalars(keras.callbacks.Callback):
    """Writes each epoch's logs as TensorBoard scalars with the number of updates as the step.

    The tags are the names in the logs (`loss`, `batch_size`, `learning_rate`, `noise_scale`, ...).
    `val_NAME` becomes `NAME` in the run `validation`, so that TensorBoard draws both in one chart.
    Equal steps mean equal numbers of updates, whatever the batch size. After `TrainingStatistics`
    in the list of callbacks, a third run, `examples`, has the number of examples seen as the step.
    It shows losses and metrics, batch size, learning rate, updates and seconds so far in a separate
    section, `against_examples/NAME`, because one chart cannot have two scales. A resumed run
    removes what was written after its checkpoint. Costs about 2 ms per epoch: one record for each
    of the three runs, a fifth of the time of one `tf.summary` call per scalar. With several workers
    the chief writes.

    Args:
        directory: directory in which the runs `train`, `validation` and `examples` are written.
        settings: hyper-parameters of the run: names to numbers, strings, booleans, or None. They
            are written as the text `config` and as columns of the HParams tab. The tab first shows
            the first five of them, with the last validation metrics, updates and seconds. Integers
            are written as text there, because TensorBoard shows 64 as 64.000. The trial is named
            after the last two folders of `directory`, without a final `tensorboard`: `ARM/seed_N`.
    """

    def __init__(self, directory: Path | str, settings: dict | None = None):
        super().__init__()
        self.directory = checks.path("directory", directory)
        if settings is not None and not isinstance(settings, dict):
            raise UserError(f"settings: expected a dict or None, received {settings!r}")
        self.settings = settings or {}
        # A checkpoint keeps these.
        self.examples_seen = 0
        self.total_seconds = 0.0

    def on_train_begin(self, logs=None):
        chief = is_chief(getattr(self.model, "distribute_strategy", None))
        runs = ("train", "validation", _EXAMPLES) if chief else ()
        self._writers = {run: self._open(run) for run in runs}
        self._epochs_written = 0
        if not runs:
            return
        updates = self._updates()
        if updates:
            for run in ("train", "validation"):
                self._take_back(run, updates)
        if self.settings:
            values = {name: _shown(v) for name, v in self.settings.items() if v is not None}
            summary = summary_v2.hparams_pb(values, trial_id=_trial(self.directory))
            self._write(_EXAMPLES, step=0, summary=summary)
            pairs = [("setting", "value"), ("---", "---"), *self.settings.items()]
            rows = (" | ".join(str(cell).replace("|", "∣") for cell in pair) for pair in pairs)
            summary = text_pb("config", "\n".join(f"| {row} |" for row in rows))
            self._write(_EXAMPLES, step=0, summary=summary)

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 0:
            self.examples_seen, self.total_seconds = 0, 0.0

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        before, self.examples_seen = self.examples_seen, logs.get("examples_seen", 0)
        self.total_seconds += logs.get("seconds", 0.0)
        if not self._writers:
            return
        values = {"train": {}, "validation": {}}
        for name, value in logs.items():
            run = "validation" if name.startswith(VALIDATION) else "train"
            values[run][name.removeprefix(VALIDATION)] = value
        for run, named in values.items():
            self._write_scalars(run, self._updates(), named)
        if self.examples_seen:
            if not self._epochs_written and before:
                self._take_back(_EXAMPLES, before)
            self._write_examples(logs)
            if self.settings and not self._epochs_written:
                self._declare(logs)
        self._epochs_written += 1

    def _write_examples(self, logs) -> None:
        named = {n: v for n, v in logs.items() if n.split("/")[0] not in _NOT_AGAINST_EXAMPLES}
        named["seconds"] = self.total_seconds
        named = {f"{_AGAINST}/{name}": value for name, value in named.items()}
        self._write_scalars(_EXAMPLES, self.examples_seen, named)

    def _declare(self, logs) -> None:
        """Declares the metrics and columns of the HParams tab."""
        validation = [name for name in logs if name.startswith(VALIDATION)]
        metrics = [
            summary_v2.Metric(f"{_AGAINST}/{name}", display_name=name)
            for name in (*validation, "updates", "seconds")
        ]
        columns = [summary_v2.HParam(name) for name in self.settings]
        summary = summary_v2.hparams_config_pb(columns, metrics)
        plugin_data = summary.value[0].metadata.plugin_data
        content = plugin_data_pb2.HParamsPluginData.FromString(plugin_data.content)
        for column in content.experiment.hparam_infos:
            column.differs = column.name in list(self.settings)[:_SHOWN_AT_FIRST]
        plugin_data.content = content.SerializeToString()
        self._write(_EXAMPLES, step=0, summary=summary)

    def _take_back(self, run: str, step: int) -> None:
        """Makes TensorBoard discard what an earlier process wrote after a step."""
        self._write(run, step=step + 1, session_log=SessionLog(status=SessionLog.START))

    def _write_scalars(self, run: str, step: int, values: dict) -> None:
        scalars = [Summary.Value(tag=name, simple_value=float(v)) for name, v in values.items()]
        if scalars:
            self._write(run, step=step, summary=Summary(value=scalars))

    def on_train_end(self, logs=None):
        for writer in self._writers.values():
            writer.close()

    def _open(self, run: str) -> RecordWriter:
        folder = self.directory / run
        folder.mkdir(parents=True, exist_ok=True)
        place = f"{socket.gethostname()}.{os.getpid()}.{next(_NUMBERS)}"
        # A Python file: on a full disk, TensorFlow's own file reports a lack of memory.
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


_EXAMPLES, _AGAINST = "examples", "against_examples"  # the run; its section of charts
_SHOWN_AT_FIRST = 5  # columns of the HParams tab, which shows those marked as differing first
# Columns of the history that are costs or follow from others.
_NOT_AGAINST_EXAMPLES = {*COLUMNS, "trust_ratio"} - {
    *FINALS,
    *("batch_size", "learning_rate", "updates"),
}


def _shown(value):
    """Returns an integer as text, any other value unchanged."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _trial(directory) -> str:
    folders = directory.absolute().parts
    folders = folders[:-1] if folders[-1] == "tensorboard" else folders
    return "/".join(folders[-2:])
