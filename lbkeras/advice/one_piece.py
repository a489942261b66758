"""Real training steps on one piece of a batch, and one batch of the evaluation."""

import statistics
import time

from lbkeras.advice.memory import (
    SMALL_TRIALS,
    has_gpu,
    memory_line,
    peak_memory_mb,
    reset_peak_memory,
)

_SECONDS_OF_TIMING = 1.5  # of a batch size
_SECONDS_OF_READING = 0.5
_MOST_CALLS = 20


class OnePiece:
    """Trains a compiled model on as much of a batch as fits into memory at once.

    Where a batch has more, two pieces of it are one step: their gradients add up as in training.

    Args:
        model: compiled.
        pipeline: its training data.
        strategy: of tf.distribute.
        budget_mb: as for `probe_batch_sizes`.
        examples: the most of a piece, of which there is one; it is computed eagerly and not timed.
            None: as many as fit.

    Attributes:
        loss: of the first step.
        memory_mb: the peak; None where it is not counted.
        seconds: of one step, the median; None if it was not timed.
    """

    def __init__(self, model, pipeline, strategy, budget_mb: float | None, examples: int | None):
        import keras

        self.model, self.pipeline, self.strategy = model, pipeline, strategy
        self.examples = examples
        self._budget_mb = None if has_gpu() else budget_mb
        # Stacked nodes have; they are tried undivided.
        self.is_undivided = type(model).train_step is not keras.Model.train_step
        self._needed_mb = None
        model.steps_per_execution = 1
        if examples is not None:
            model.run_eagerly = True

    def rows(self, micro_batch_size: int, share: int) -> int:
        """The examples of a step on all replicas of this process."""
        pieces = 1 if self.examples is not None else 2
        return min(pieces * micro_batch_size, share) * self.strategy.num_replicas_in_sync

    def fits(self, micro_batch_size: int, share: int, say) -> bool:
        """Whether a step in pieces of that size fits into memory; the step is then made."""
        import tensorflow as tf

        if self._predicted_mb(micro_batch_size, share) > (self._budget_mb or float("inf")):
            return False
        say(f"trying {micro_batch_size:,} of {share:,} examples at once")
        try:
            self.begin(micro_batch_size, share)
        except tf.errors.ResourceExhaustedError:
            return False
        return True

    def _predicted_mb(self, micro_batch_size: int, share: int) -> float:
        """By a line through two small trials; 0 where nothing has to be known before."""
        if not self._budget_mb or self.is_undivided or self.examples is not None:
            return 0.0
        if micro_batch_size <= SMALL_TRIALS[-1]:
            return 0.0
        if self._needed_mb is None:
            needed = {}
            for size in SMALL_TRIALS:
                self.begin(size, share)
                needed[size] = self.memory_mb
            self._needed_mb = memory_line(needed) if all(needed.values()) else lambda size: 0.0
        return self._needed_mb(micro_batch_size)

    def begin(self, micro_batch_size: int, share: int, epoch: int = 0, first: int = 0) -> None:
        """Traces the train step for pieces of that size, and makes one.

        Args:
            micro_batch_size: of a replica.
            share: examples of a replica's whole batch.
            epoch: whose order the examples are taken in.
            first: the place of the first one in it, a multiple of `rows`.
        """
        from lbkeras.keras_internals.model import train_function
        from lbkeras.methods.micro_batches.train_step import micro_batch_train_step

        model, rows = self.model, self.rows(micro_batch_size, share)
        step = (
            model.train_step
            if self.is_undivided
            else micro_batch_train_step(model, micro_batch_size)
        )
        self._batches = None  # the last trial's batches go before this one's come
        self._function = train_function(model, step)
        data = self.pipeline.copy(batch_size=rows)
        batches = data.dataset(epoch, first // rows).concatenate(data.dataset(epoch + 1).repeat())
        self._batches = iter(self.strategy.experimental_distribute_dataset(batches))
        self.seconds = None
        reset_peak_memory()
        self.loss = self._call()
        self.memory_mb = peak_memory_mb()

    def time(self) -> None:
        """Times more steps of what `begin` has made."""
        seconds = []
        while not seconds or (sum(seconds) < _SECONDS_OF_TIMING and len(seconds) < _MOST_CALLS):
            begin = time.perf_counter()
            self._call()
            seconds.append(time.perf_counter() - begin)
        self.seconds = statistics.median(seconds)
        self.memory_mb = peak_memory_mb()

    def _call(self) -> float:
        logs = self._function(self._batches)
        return float(logs["loss"])  # waits for the step


def reading_rate(pipeline, rows: int) -> float:
    """Examples/s that a Pipeline gives when nothing is computed beside it."""
    examples, begin = 0, time.perf_counter()
    for _ in pipeline.copy(batch_size=rows).dataset().repeat():
        examples += rows
        seconds = time.perf_counter() - begin
        if seconds > _SECONDS_OF_READING:
            break
    return examples / seconds


def evaluate_batch(model, test, examples: int) -> float:
    """Evaluates the first so many examples at once; returns examples/s, the trace left out."""
    batch = test.in_order(examples, examples)
    begin = time.perf_counter()
    model.evaluate(batch, verbose=0)
    if not model.run_eagerly:
        begin = time.perf_counter()
        model.evaluate(batch, verbose=0)
    return examples / (time.perf_counter() - begin)
