"""Tries a plan's batch sizes on this machine: what fits into memory, and how fast it trains."""

import dataclasses
import math
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
from lbkeras.keras_internals.backend_start import require_tensorflow
from lbkeras.keras_internals.tensorflow_start import load_tensorflow
from lbkeras.planning.replicas import replica_batch_size
from lbkeras.runs.train_section import keras_session

_SECONDS_OF_TIMING = 1.5  # per batch size
_FEWEST_CALLS, _MOST_CALLS = 3, 50


@dataclasses.dataclass(frozen=True)
class Probe:
    """What one batch size needs on this machine.

    Attributes:
        batch_size: global batch size.
        micro_batch_size: the largest per replica that fits: the whole share, or the share divided
            by the smallest number of pieces that fits.
        pieces: number of pieces of each replica's share.
        seconds_per_step: time of one update, the median of the timed calls.
        startup_seconds: what the first call takes in addition, for tracing and compiling.
        memory_mb: peak of the tensors on the first device, in MB of 2^20 bytes, including data in
            memory; None if TensorFlow does not count it.
    """

    batch_size: int
    micro_batch_size: int
    pieces: int
    seconds_per_step: float
    startup_seconds: float
    memory_mb: float | None

    @property
    def examples_per_second(self) -> float:
        return self.batch_size / self.seconds_per_step


def probe_batch_sizes(
    task,
    plan,
    batch_sizes,
    strategy: str,
    budget_mb: float | None = None,
    say=print,
) -> dict[int, Probe]:
    """Tries batch sizes with a few real updates each, on an arm's model, optimizer and data.

    Args:
        task: what to train, a `ConfigTask` or a `PythonTask`.
        plan: the plan that the model is compiled for; decides how many steps one call takes.
        batch_sizes: global batch sizes.
        strategy: a name for `lbkeras.distribution.strategy`.
        budget_mb: most memory that a trial may take, from `devices.count_cpu_memory`. It is for a
            CPU without a memory limit, where too large a trial would bring the machine down instead
            of failing. A trial's memory is predicted by a line through two small trials.
        say: called with one line before each part that takes long.

    Returns:
        A Probe for each batch size.

    Raises:
        UserError: a setting or data set is not usable, or not even one example fits.
    """
    require_tensorflow("--probe")
    load_tensorflow()
    with keras_session(task.settings, seed=0):
        return _probe(task, plan, batch_sizes, strategy, budget_mb, say)


def _probe(task, plan, batch_sizes, strategy: str, budget_mb, say) -> dict[int, Probe]:
    import tensorflow as tf

    from lbkeras.distribution.strategy import strategy as make_strategy

    chosen = make_strategy(strategy)
    pipeline, _ = task.pipelines(seed=0)
    model = task.compiled_model(plan, chosen, pipeline)
    with chosen.scope():
        model.optimizer.build(model.trainable_variables)
    found = {}
    for batch_size in dict.fromkeys(batch_sizes):
        pipeline.batch_size = batch_size
        trial = _Trial(model, pipeline, chosen)
        needed_mb = trial.estimate_memory() if budget_mb and not has_gpu() else None

        def fits(pieces, trial=trial, needed_mb=needed_mb):
            if needed_mb and needed_mb(trial.micro_batch_size(pieces)) > budget_mb:
                return False
            say(f"batch {trial.pipeline.batch_size:,}: trying {_in_pieces(pieces)}")
            try:
                trial.begin(pieces)
            except tf.errors.ResourceExhaustedError:
                return False
            return True

        pieces = fewest_pieces(fits, trial.replica_batch_size)
        while pieces and batch_size not in found:
            try:
                trial.begin(pieces)  # the search may have tried another number last
                found[batch_size] = trial.time(pieces)
            except tf.errors.ResourceExhaustedError:  # it only just fit
                pieces = pieces + 1 if pieces < trial.replica_batch_size else None
        if pieces is None:
            raise UserError(
                f"batch size {batch_size}: expected a step of one example per replica to fit into "
                "memory, received out of memory; use a smaller model or raise --memory_limit_mb"
            )
    return found


def fewest_pieces(fits, examples: int) -> int | None:
    """Returns the smallest number of pieces of a replica's share such that one piece fits.

    Doubles the number until a piece fits, then bisects between that number and the last that did
    not fit: about 2 log2(answer) trials.

    Args:
        fits: `(pieces) -> bool`; if a number fits, all larger ones are assumed to fit.
        examples: examples of the replica's share, which is the largest number of pieces.

    Returns:
        The number, or None if not even pieces of one example fit.

    >>> fewest_pieces(lambda pieces: pieces >= 11, examples=100)
    11
    """
    too_few, enough = 0, 1
    while not fits(enough):
        if enough == examples:
            return None
        too_few, enough = enough, min(2 * enough, examples)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if fits(middle):
            enough = middle
        else:
            too_few = middle
    return enough


class _Trial:
    """Real training steps at one batch size, on the training data."""

    def __init__(self, model, pipeline, strategy):
        import keras

        self.model, self.pipeline, self.strategy = model, pipeline, strategy
        replicas = strategy.num_replicas_in_sync
        self.replica_batch_size = replica_batch_size(pipeline.batch_size, replicas)
        # Stacked nodes have their own train step and are tried undivided.
        self._has_own_train_step = type(model).train_step is not keras.Model.train_step

    def micro_batch_size(self, pieces: int) -> int:
        return math.ceil(self.replica_batch_size / pieces)

    def estimate_memory(self):
        """Returns `(micro_batch_size) -> MB`, a line through two small trials.

        None for small batches and for models with their own train step.
        """
        small, larger = (math.ceil(self.replica_batch_size / size) for size in SMALL_TRIALS)
        if larger < 2 or self._has_own_train_step:
            return None
        needed = {}
        for pieces in (small, larger):
            self.begin(pieces)
            needed[self.micro_batch_size(pieces)] = peak_memory_mb()
        return memory_line(needed)

    def begin(self, pieces: int) -> None:
        """Makes the train function for this number of pieces and calls it a few times."""
        from lbkeras.methods.micro_batches.train_step import micro_batch_train_step

        self._batches = None  # free the last trial's batches before making new ones
        if pieces > 1 or not self._has_own_train_step:
            size = self.micro_batch_size(pieces)
            self.model.train_step = micro_batch_train_step(self.model, size)
        self.model.make_train_function(force=True)
        batches = self.pipeline.dataset().repeat()
        self._batches = iter(self.strategy.experimental_distribute_dataset(batches))
        reset_peak_memory()
        begin = time.perf_counter()
        self._call()
        self._startup_seconds = time.perf_counter() - begin
        for _ in range(_FEWEST_CALLS - 1):
            self._call()

    def time(self, pieces: int) -> Probe:
        """Times more calls of the function that `begin` made."""
        seconds = []
        while len(seconds) < _FEWEST_CALLS or (
            len(seconds) < _MOST_CALLS and sum(seconds) < _SECONDS_OF_TIMING
        ):
            begin = time.perf_counter()
            self._call()
            seconds.append(time.perf_counter() - begin)
        a_call = statistics.median(seconds)
        return Probe(
            batch_size=self.pipeline.batch_size,
            micro_batch_size=self.micro_batch_size(pieces),
            pieces=pieces,
            seconds_per_step=a_call / self.model.steps_per_execution,
            startup_seconds=max(self._startup_seconds - a_call, 0.0),
            memory_mb=peak_memory_mb(),
        )

    def _call(self):
        logs = self.model.train_function(self._batches)
        float(logs["loss"])  # waits for the step


def _in_pieces(pieces: int) -> str:
    return "the whole share of a replica at once" if pieces == 1 else f"{pieces} pieces"
