"""A progress bar with the right total in every epoch."""

import shutil
import sys
import time
from typing import TYPE_CHECKING

import keras

from lbkeras import checks
from lbkeras.callbacks.optimizer_settings import last_learning_rate
from lbkeras.callbacks.pipeline_callback import PipelineCallback
from lbkeras.metrics import COLUMNS, FINALS
from lbkeras.planning import durations

if TYPE_CHECKING:
    from lbkeras.data.pipeline import Pipeline

_WIDTH = 24
_SECONDS_BETWEEN_DRAWINGS = 0.2


class ProgressBar(PipelineCallback, keras.callbacks.ProgbarLogger):
    """Shows each epoch's steps, metrics, batch size, learning rate, examples/s and the time left.

    Its total is right when the batch size changes between epochs. Keras uses it instead of its own
    bar when it stands in the list of callbacks. On a terminal it draws a bar; elsewhere, and with
    `fit(verbose=2)`, it prints one line an epoch. Costs a look at the clock a step.

    Args:
        pipeline: the `lbkeras.data.Pipeline` that `fit` gets as `x`.
        title: printed before each epoch's number, such as the name of the run.
        seconds_between_lines: above 0, for many short runs: a terminal keeps one line, drawn over
            at each epoch; elsewhere a line comes at most that often. 0: a line an epoch.
    """

    def __init__(self, pipeline: "Pipeline", title: str = "", seconds_between_lines: float = 0.0):
        super().__init__(pipeline)
        self.title = f"{title} " if checks.text("title", title) else ""
        self._seconds_between_lines = checks.not_negative(
            "seconds_between_lines", seconds_between_lines
        )

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self._epochs_done = 0
        self._train_begin = self._line_ended = time.perf_counter()
        self._width_drawn = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._epoch_begin = self._drawn = time.perf_counter()
        self._steps_done = 0

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        steps = self.pipeline.steps_in_pass
        self._steps_done = min(batch + 1, steps)
        if self.verbose == 1 and now - self._drawn > _SECONDS_BETWEEN_DRAWINGS and _on_terminal():
            self._drawn = now
            left = (now - self._epoch_begin) / self._steps_done * (steps - self._steps_done)
            filled = _WIDTH * self._steps_done // steps
            bar = "━" * filled + "─" * (_WIDTH - filled)
            self._draw(f"{bar} {self._steps_done}/{steps} {durations.in_words(left)}", now, logs)

    def on_epoch_end(self, epoch, logs=None):
        if not self.verbose:
            return
        now = time.perf_counter()
        self._epochs_done += 1
        early = now - self._line_ended < self._seconds_between_lines
        if early and not _on_terminal():
            return
        left = (now - self._train_begin) / self._epochs_done * (self.epochs - epoch - 1)
        suffix = f" · {durations.in_words(left)} left" if epoch + 1 < self.epochs else ""
        logs = {
            k: v for k, v in (logs or {}).items() if k.split("/")[0] not in _IN_THE_HISTORY_ONLY
        }
        stays = not (self._seconds_between_lines and _on_terminal())
        progress = f"{self._steps_done} steps {durations.in_words(now - self._epoch_begin)}"
        self._draw(progress, now, logs, suffix, stays)
        if stays:
            print(flush=True)
            self._line_ended = now
            self._width_drawn = 0

    def _draw(self, progress, now, logs, suffix="", stays=False):
        parts = [f"{self.title}Epoch {self._epoch + 1}/{self.epochs} {progress}"]
        parts += [f"{name} {float(value):.4f}" for name, value in (logs or {}).items()]
        examples = self._steps_done * self.pipeline.batch_size
        parts += [
            f"batch_size {self.pipeline.batch_size}",
            f"learning_rate {last_learning_rate(self.model.optimizer):.4g}",
            f"{examples / max(now - self._epoch_begin, 1e-9):,.0f} examples/s",
        ]
        line = " · ".join(parts) + suffix
        start = ""
        if _on_terminal():
            start = "\r"
            if not stays:  # a line that wraps could not be drawn over
                line = line[: shutil.get_terminal_size().columns - 1]
        print(start + line.ljust(self._width_drawn), end="", flush=True)
        self._width_drawn = len(line)


# Columns of the history that the line shows in its own way, or that say nothing at a glance.
_IN_THE_HISTORY_ONLY = {*COLUMNS, "trust_ratio"} - {*FINALS}


def _on_terminal() -> bool:
    return sys.stdout.isatty()
