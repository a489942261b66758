"""Tries real training steps on pieces of a batch, to find the largest that fit into memory."""

import statistics
import time

from lbkeras.advice.memory import (
    SMALL_TRIALS,
    has_gpu,
    memory_line,
    peak_memory_mb,
    reset_peak_memory,
)
from lbkeras.errors import UserError

_SECONDS_OF_TIMING = 1.5  # per batch size
_SECONDS_OF_READING = 0.5
_MOST_CALLS = 20


class OnePiece:
    """Trains a compiled model on as much of a batch as fits into memory at once.

    If the batch is larger, a step consists of two pieces, whose gradients add up as in training.

    Args:
        model: compiled, with its optimizer built.
        weights: the values of its variables at the start of each trial.
        pipeline: its training data.
        strategy: a `tf.distribute.Strategy`.
        budget_mb: as for `probe_batch_sizes`.
        examples: limit on the examples in a piece; a step is then a single piece, computed eagerly
            and not timed. None: no limit.

    Attributes:
        memory_mb: the peak of the last trial; None if it is not counted.
        seconds: the median time of its step, or the time to read its examples if that is longer;
            None if it was not timed.
    """

    def __init__(self, model, weights, pipeline, strategy, budget_mb, examples: int | None):
        import keras

        self._model, self._weights, self._pipeline = model, weights, pipeline
        self._strategy, self._examples = strategy, examples
        self._budget_mb = None if has_gpu() or examples else budget_mb
        # Stacked nodes have their own train step and are tried undivided.
        self.is_undivided = type(model).train_step is not keras.Model.train_step
        self._needed_mb = None
        model.steps_per_execution = 1
        model.run_eagerly = model.run_eagerly or examples is not None

    def sizes(self, share: int, most: int) -> list[int]:
        """Returns the sizes `MicroBatches` would try: `most`, halved each time memory runs out."""
        if self.is_undivided:
            return [most]
        return [most >> halvings for halvings in range(most.bit_length())]

    def rows(self, micro_batch_size: int, share: int) -> int:
        """Returns the examples of a step on all replicas of this process together."""
        pieces = 1 if self._examples else 2
        return min(pieces * micro_batch_size, share) * self._strategy.num_replicas_in_sync

    def batches(self, micro_batch_size: int, share: int, epoch: int, first: int):
        """Returns the batches of such steps, from example `first`, a multiple of `rows`."""
        rows = self.rows(micro_batch_size, share)
        return self._pipeline.copy(batch_size=rows).dataset(epoch, first // rows)

    def fits(self, micro_batch_size: int, share: int, make_batches) -> bool:
        """Runs a timed step in pieces of this size; returns whether it fits into memory.

        Raises:
            UserError: the first loss is not finite.
        """
        import tensorflow as tf

        if self._predicted_mb(micro_batch_size) > (self._budget_mb or float("inf")):
            return False
        self.release()
        try:
            self._begin(micro_batch_size, make_batches())
            self.seconds = None if self._examples else self._time(micro_batch_size, share)
        except tf.errors.ResourceExhaustedError:
            return False
        return True

    def release(self) -> None:
        """Drops the last trial, whose batches take memory."""
        self._batches = self._function = None

    def _predicted_mb(self, micro_batch_size: int) -> float:
        """Predicts the memory from two small trials; 0 if that is not needed or not possible."""
        if not self._budget_mb or micro_batch_size <= 2 * SMALL_TRIALS[-1]:
            return 0.0
        if self._needed_mb is None:
            needed = {}
            for small in SMALL_TRIALS:
                small *= getattr(self._model, "num_nodes", 1)
                share = small if self.is_undivided else 2 * small
                self.release()
                self._begin(small, self.batches(small, share, 0, 0))
                needed[small] = self.memory_mb
            self._needed_mb = memory_line(needed) if all(needed.values()) else lambda size: 0.0
        return self._needed_mb(micro_batch_size)

    def _begin(self, micro_batch_size: int, batches) -> None:
        """Traces the train step for pieces of this size, and runs it once."""
        import numpy as np

        from lbkeras.keras_internals.model import train_function
        from lbkeras.methods.micro_batches.train_step import micro_batch_train_step

        model = self._model
        for variable, value in zip(model.variables, self._weights, strict=True):
            variable.assign(value)
        step = (
            model.train_step
            if self.is_undivided
            else micro_batch_train_step(model, micro_batch_size)
        )
        self._function = train_function(model, step)
        self._batches = iter(self._strategy.experimental_distribute_dataset(batches.repeat()))
        reset_peak_memory()
        loss = self._call()
        self.memory_mb = peak_memory_mb()
        if not np.isfinite(loss):
            raise UserError(f"loss: expected a finite number, received {loss:g}")

    def _time(self, micro_batch_size: int, share: int) -> float:
        seconds = []
        while not seconds or (sum(seconds) < _SECONDS_OF_TIMING and len(seconds) < _MOST_CALLS):
            begin = time.perf_counter()
            self._call()
            seconds.append(time.perf_counter() - begin)
        self.memory_mb = peak_memory_mb()
        rows = self.rows(micro_batch_size, share)
        return max(statistics.median(seconds), rows / reading_rate(self._pipeline, rows))

    def _call(self) -> float:
        logs = self._function(self._batches)
        return float(logs["loss"])  # waits for the step


def reading_rate(pipeline, rows: int) -> float:
    """Returns the examples/s that a Pipeline reads when nothing else is computed."""
    examples, begin = 0, time.perf_counter()
    for _ in pipeline.copy(batch_size=rows).dataset().repeat():
        examples += rows
        seconds = time.perf_counter() - begin
        if seconds > _SECONDS_OF_READING:
            break
    return examples / seconds


def evaluation_rate(model, data, budget_mb: float | None) -> float:
    """Returns the examples/s of evaluating one batch at once, without the time for tracing.

    Args:
        model: compiled.
        data: function from a number of examples to a Pipeline of one batch with that many; None
            means the largest batch.
        budget_mb: as for `probe_batch_sizes`.

    Raises:
        UserError: the batch does not fit into memory.
    """
    import tensorflow as tf

    batch = data(None)
    number = batch.num_examples
    try:
        if budget_mb and not has_gpu() and number > 2 * SMALL_TRIALS[-1]:
            needed = {}
            for size in SMALL_TRIALS:
                reset_peak_memory()
                model.evaluate(data(size), verbose=0)
                needed[size] = peak_memory_mb()
            if all(needed.values()) and memory_line(needed)(number) > budget_mb:
                raise tf.errors.ResourceExhaustedError(None, None, "predicted by memory_line")
        begin = time.perf_counter()
        model.evaluate(batch, verbose=0)
        if not model.run_eagerly:
            begin = time.perf_counter()
            model.evaluate(batch, verbose=0)
    except tf.errors.ResourceExhaustedError:
        raise UserError(
            f"data.test_batch_size: expected one that fits in memory, received {number}; lower it"
        ) from None
    return number / (time.perf_counter() - begin)
