"""Summarizes a `fit` and compares it with training at its first batch size throughout."""

import dataclasses
import time
from collections.abc import Callable

from lbkeras.planning import durations


@dataclasses.dataclass
class _Epoch:
    """An epoch's steps and the times at which the first and the last of them ended."""

    batch_size: int
    begin: float
    steps: int = 0
    end: float = 0.0
    first_steps: int = 0
    first_end: float = 0.0

    @property
    def seconds(self) -> float:
        return self.end - self.begin if self.steps else 0.0


class FitSummary:
    """Counts updates, seconds of training and examples, for one line at the end of a `fit`."""

    def __init__(self):
        self._epochs: list[_Epoch] = []

    def begin_epoch(self, batch_size: int) -> None:
        self._epochs.append(_Epoch(batch_size, time.perf_counter()))

    def end_step(self, steps: int) -> None:
        """Records that `steps` steps of the epoch are done; costs one clock reading."""
        epoch, now = self._epochs[-1], time.perf_counter()
        if not epoch.steps:
            epoch.first_steps, epoch.first_end = steps, now
        epoch.steps, epoch.end = steps, now

    def line(self, first: int | None, steps_at: Callable[[int], int]) -> str:
        """Returns `1,170 updates, 12.3 s of training, 60,000 examples; at batch size 64 ...`.

        The time at the first batch size is estimated from its steps in this `fit`: the first step
        of all counts once, as it traces the model, then the mean over the steps that are not the
        first of an epoch. Without such steps the time is left out.

        Args:
            first: the batch size to compare with; None: that of this object's first epoch.
            steps_at: function from a batch size to the steps per epoch.
        """
        epochs = [epoch for epoch in self._epochs if epoch.steps]
        if not epochs:
            return ""
        first = first or epochs[0].batch_size
        updates = sum(epoch.steps for epoch in epochs)
        examples = sum(epoch.steps * epoch.batch_size for epoch in epochs)
        seconds = durations.in_words(sum(epoch.seconds for epoch in epochs), digits=1)
        text = f"{updates:,} updates, {seconds} of training, {examples:,} examples"
        if all(epoch.batch_size == first for epoch in epochs):
            return text
        # An epoch may be incomplete.
        shares = (epoch.steps / steps_at(epoch.batch_size) for epoch in epochs)
        compared = round(steps_at(first) * sum(shares))
        text += f"; at batch size {first} throughout: {compared:,} updates"
        text += f" ({compared / updates:.1f} times as many)"
        timed = [epoch for epoch in epochs if epoch.batch_size == first]
        steps = sum(epoch.steps - epoch.first_steps for epoch in timed)
        if steps:
            a_step = sum(epoch.end - epoch.first_end for epoch in timed) / steps
            trace = timed[0].first_end - timed[0].begin
            expected = trace + a_step * max(compared - timed[0].first_steps, 0)
            text += f", about {durations.in_words(expected)}"
        return text
