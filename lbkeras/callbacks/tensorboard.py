"""The run in TensorBoard, under the history's names."""

import itertools
import os
import socket
import time

import keras
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api, plugin_data_pb2
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from lbkeras import checks, files
from lbkeras.distribution.agreement import is_chief
from lbkeras.errors import UserError
from lbkeras.metrics import COLUMNS, FINALS, VALIDATION

_NUMBERS = itertools.count()  # of the files of this process


class TensorBoardScalars(keras.callbacks.Callback):
    """Writes each epoch's logs as TensorBoard scalars with the number of updates as the step.

    The tags are the names of the logs (`loss`, `batch_size`, `learning_rate`, `noise_scale`, ...);
    `val_NAME` becomes `NAME` in the run `validation`, so that TensorBoard draws both in one chart.
    Equal steps are equal numbers of updates, whatever the batch size was. Behind
    `TrainingStatistics`, `train` also has `total_seconds` and a section of charts,
    `against_examples/NAME`, whose step is the number of examples seen: of losses and metrics, batch
    size and learning rate. A resumed run takes back what was written after its checkpoint. Costs
    about 2 ms per epoch: one record each for training, validation and the examples, a fifth of the
    time of one `tf.summary` call per scalar. Of several workers the chief writes.

    Args:
        directory: the runs `train` and `validation` are written below it.
        settings: hyper-parameters of the run: names to numbers, strings, booleans, or None. They
            are the text `config`, and columns of the HParams tab, which begins with five of them,
            the first ones here, beside the last validation metrics, updates and seconds. Whole
            numbers are texts there, as TensorBoard writes 64 as 64.000. A trial is named by the
            last two folders above `tensorboard`: `ARM/seed_N`.
    """

    def __init__(self, directory, settings: dict | None = None):
        super().__init__()
        self.directory = checks.path("directory", directory)
        if settings is not None and not isinstance(settings, dict):
            raise UserError(f"settings: expected a dict or None, received {settings!r}")
        self.settings = settings or {}
        self.total_seconds = 0.0
        self._declared = False

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
            values = {name: _shown(v) for name, v in self.settings.items() if v is not None}
            summary = api.hparams_pb(values, trial_id=_trial(self.directory))
            self._write("train", step=0, summary=summary)
            pairs = [("setting", "value"), ("---", "---"), *self.settings.items()]
            rows = (" | ".join(str(cell).replace("|", "∣") for cell in pair) for pair in pairs)
            summary = text_pb("config", "\n".join(f"| {row} |" for row in rows))
            self._write("train", step=0, summary=summary)

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 0:
            self.total_seconds = 0.0

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        self.total_seconds += logs.get("seconds", 0.0)
        if not self._writers:
            return
        values, examples = {"train": {}, "validation": {}}, {}
        for name, value in logs.items():
            run = "validation" if name.startswith(VALIDATION) else "train"
            values[run][name.removeprefix(VALIDATION)] = value
            if "examples_seen" in logs and name.split("/")[0] not in _NOT_AGAINST_EXAMPLES:
                examples[f"{_EXAMPLES}/{name}"] = value
        if "seconds" in logs:
            values["train"]["total_seconds"] = self.total_seconds
        for run, named in values.items():
            self._write_scalars(run, self._updates(), named)
        self._write_scalars("train", logs.get("examples_seen", 0), examples)
        if self.settings and examples:
            self._declare(logs)

    def _declare(self, logs) -> None:
        """Says once what the HParams tab shows."""
        if self._declared:
            return
        self._declared = True
        metrics = [
            api.Metric(f"{_EXAMPLES}/{name}", display_name=name)
            for name in logs
            if name.startswith(VALIDATION)
        ]
        metrics += [api.Metric("updates"), api.Metric("total_seconds", display_name="seconds")]
        columns = [api.HParam(name) for name in self.settings]
        summary = api.hparams_config_pb(columns, metrics)
        plugin_data = summary.value[0].metadata.plugin_data
        content = plugin_data_pb2.HParamsPluginData.FromString(plugin_data.content)
        for column in content.experiment.hparam_infos:
            column.differs = column.name in list(self.settings)[:_SHOWN_AT_FIRST]
        plugin_data.content = content.SerializeToString()
        self._write("train", step=0, summary=summary)

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


_EXAMPLES = "against_examples"
_SHOWN_AT_FIRST = 5  # columns of the HParams tab, those that are said to differ before others
# Columns of the history that are costs or follow from others.
_NOT_AGAINST_EXAMPLES = {*COLUMNS, "trust_ratio"} - {*FINALS, "batch_size", "learning_rate"}


def _shown(value):
    """A whole number as text."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _trial(directory) -> str:
    folders = directory.absolute().parts
    folders = folders[:-1] if folders[-1] == "tensorboard" else folders
    return "/".join(folders[-2:])
