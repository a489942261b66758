"""A progress bar with the right total in every epoch."""

import time
from typing import TYPE_CHECKING

import keras

from lbkeras import checks
from lbkeras.callbacks.live_lines import live_lines
from lbkeras.callbacks.optimizer_settings import last_learning_rate
from lbkeras.callbacks.pipeline_callback import PipelineCallback
from lbkeras.keras_internals.model import sync_variables
from lbkeras.metrics import COLUMNS, FINALS, NOISE_SCALE
from lbkeras.planning import durations

if TYPE_CHECKING:
    from lbkeras.data.pipeline import Pipeline

_WIDEST, _NARROWEST = 24, 4  # of the bar
_SECONDS_BETWEEN_DRAWINGS = 0.2


class ProgressBar(PipelineCallback, keras.callbacks.ProgbarLogger):
    """Shows each epoch's steps, time left, batch size, learning rate, examples/s and metrics.

    The total is right even if the batch size changes between epochs. If this callback is in the
    list of callbacks, Keras adds no bar of its own. In a terminal or notebook it draws a bar of 4
    to 24 characters, depending on the space, and leaves out metrics that do not fit; other output
    starts on a new line. Elsewhere, and with `fit(verbose=2)`, it prints one line per epoch. Costs
    one clock reading per step.

    Args:
        pipeline: the `lbkeras.data.Pipeline` that is passed to `fit` as `x`.
        title: printed before each epoch's number, such as the name of the run.
        seconds_between_lines: 0 keeps a line for every epoch. A larger value is for many short
            runs: in a terminal or notebook each epoch overwrites the line of the one before;
            elsewhere, lines are printed at least this many seconds apart.
    """

    def __init__(self, pipeline: "Pipeline", title: str = "", seconds_between_lines: float = 0.0):
        super().__init__(pipeline)
        self.title = f"{title} " if checks.text("title", title) else ""
        self.seconds_between_lines = checks.not_negative(
            "seconds_between_lines", seconds_between_lines
        )

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self._lines = live_lines()
        self._line_ended = time.perf_counter()
        self._seconds_of_an_epoch = None

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._epoch_begin = self._drawn = time.perf_counter()
        self._steps_done = 0
        self._first_step, self._last_step = None, self._epoch_begin

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        self._steps_done = min(batch + 1, self.pipeline.steps_in_pass)
        self._last_step = now
        self._first_step = self._first_step or (self._steps_done, now)
        if self.verbose == 1 and self._lines and now - self._drawn > _SECONDS_BETWEEN_DRAWINGS:
            self._drawn = now
            sync_variables(self.model)
            self._draw(now, logs)

    def on_epoch_end(self, epoch, logs=None):
        if not self.verbose:
            return
        now = time.perf_counter()
        seconds = self._seconds_of_an_epoch = now - self._epoch_begin
        left = seconds * (self.epochs - epoch - 1)
        pieces = [f"{self._head()} {self._steps_done} steps {durations.in_words(seconds)}"]
        pieces += [f"{durations.in_words(left)} left"] if epoch + 1 < self.epochs else []
        pieces += [*self._settings(), *_metrics(logs)]
        if self._lines is None:
            if now - self._line_ended >= self.seconds_between_lines:
                self._line_ended = now
                print(" · ".join(pieces), flush=True)
        elif self.seconds_between_lines:
            self._lines.draw(_wrapped(pieces, [], self._lines.columns))
        else:
            self._lines.keep(_wrapped(pieces, [], self._lines.columns))

    def _head(self) -> str:
        return f"{self.title}Epoch {self._epoch + 1}/{self.epochs}"

    def _settings(self) -> list[str]:
        size = self.pipeline.batch_size
        return [
            f"batch_size {size}",
            f"learning_rate {last_learning_rate(self.model.optimizer):.4g}",
            f"{size * self._steps_per_second():,.0f} examples/s",
        ]

    def _steps_per_second(self) -> float:
        """Returns the speed without the first step, which traces the model, if there are others."""
        steps, moment = self._first_step if self._first_step else (0, self._epoch_begin)
        if steps == self._steps_done:
            steps, moment = 0, self._epoch_begin
        return (self._steps_done - steps) / max(self._last_step - moment, 1e-9)

    def _draw(self, now: float, logs) -> None:
        head, columns = self._head(), self._lines.columns
        done, steps = self._steps_done, self.pipeline.steps_in_pass
        count = f"{done}/{steps}"
        room = columns - 3 - len(head) - len(count)
        width = max(min(room, _WIDEST), _NARROWEST)
        bar = "━" * (width * done // steps) + "─" * (width - width * done // steps)
        required = [f"{head} {bar} {count}", *self._time_left(now), *self._settings()]
        self._lines.draw(_wrapped(required, _metrics(logs), columns))

    def _time_left(self, now: float) -> list[str]:
        """Returns the time left in the epoch and in the run; nothing before the second step."""
        if self._steps_done == self._first_step[0]:
            return []
        left = (self.pipeline.steps_in_pass - self._steps_done) / self._steps_per_second()
        seconds = self._seconds_of_an_epoch or now - self._epoch_begin + left
        epochs = self.epochs - self._epoch - 1
        run = f", run {durations.in_words(left + seconds * epochs)}" if epochs else ""
        return [f"{durations.in_words(left)} left{run}"]


# Left out of the metrics: shown elsewhere in the line, or too detailed.
_SHOWN_OTHERWISE = {*COLUMNS} - {*FINALS}
_DETAILS = ("gradient_", "auto_wu_")


def _is_shown(name: str) -> bool:
    if "/" in name or name in _SHOWN_OTHERWISE:  # "/": a value of one layer
        return False
    return name == NOISE_SCALE or not name.startswith(_DETAILS)


def _metrics(logs) -> list[str]:
    return [f"{name} {float(value):.4f}" for name, value in (logs or {}).items() if _is_shown(name)]


def _wrapped(required: list[str], optional: list[str], columns: int) -> list[str]:
    """Returns lines of all required texts and as many optional ones as fit on the last line."""
    lines = [required[0][: columns - 1]]
    for number, piece in enumerate([*required[1:], *optional], start=1):
        longer = f"{lines[-1]} · {piece}"
        if len(longer) < columns:
            lines[-1] = longer
        elif number < len(required):
            lines.append(f"  {piece}"[: columns - 1])
        else:
            break
    return lines
