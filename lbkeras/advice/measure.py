"""Trains an arm briefly and measures the noise scale of each epoch, and where time goes."""

import contextlib
import dataclasses
import itertools
import math
import statistics
import sys
import time

from lbkeras.advice.plan import MeasuredEpoch, measured_plan
from lbkeras.advice.words import bounds_in_words
from lbkeras.errors import UserError
from lbkeras.keras_internals.backend_start import require_tensorflow
from lbkeras.keras_internals.tensorflow_start import load_tensorflow
from lbkeras.planning.plan import Plan
from lbkeras.runs.train_section import keras_session

FEWEST_EPOCHS = 2  # to be measured
_SHARE_OF_EPOCHS = 0.25
_SECONDS = 60.0
_CLIPPING = ("clipnorm", "global_clipnorm", "clipvalue")


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The result of a measurement.

    Attributes:
        epochs: a `MeasuredEpoch` for each epoch.
        epoch_overhead_seconds: from the start of an epoch to its first batch.
        compiles: whether XLA compiles the model.
        gain_power: power of AdaScale's gain that suits the optimizer: 1 or 0.5.
        clipping: how the optimizer clips gradients, such as "global_clipnorm=1.0"; "": it doesn't.
    """

    epochs: list[MeasuredEpoch]
    epoch_overhead_seconds: float
    compiles: bool
    gain_power: float
    clipping: str


def measure(task, baseline: Plan, strategy: str, say):
    """Trains a task briefly, starting from its plan's first batch size, and measures.

    Args:
        task: what to train, a `ConfigTask` or a `PythonTask`.
        baseline: its plan.
        strategy: a name for `lbkeras.distribution.strategy`.
        say: called with one line per epoch.

    Returns:
        A `Measurement`.

    Raises:
        UserError: the replicas do not divide a batch size, or training diverged.
    """
    require_tensorflow("--auto")
    load_tensorflow()
    with keras_session(task.settings, seed=0):
        return _measure(task, baseline, strategy, say)


def _measure(task, baseline: Plan, strategy: str, say) -> Measurement:
    from lbkeras.callbacks.optimizer_settings import base_optimizer
    from lbkeras.callbacks.stop_on_nan import Diverged, StopOnNaN
    from lbkeras.callbacks.training_statistics import TrainingStatistics
    from lbkeras.distribution.strategy import strategy as make_strategy
    from lbkeras.methods.adaptive_batch_size.callback import (
        GAIN_POWERS,
        AdaptiveBatchSize,
        default_scaling,
    )
    from lbkeras.methods.micro_batches.callback import MicroBatches
    from lbkeras.planning.replicas import check_replicas

    plan = measured_plan(baseline)
    chosen = make_strategy(strategy)
    check_replicas(baseline, chosen.num_replicas_in_sync)
    train, _ = task.pipelines(seed=0)
    model = task.compiled_model(plan, chosen, train, steered=True)
    adaptive = AdaptiveBatchSize(train, plan=plan)
    epochs = min(max(FEWEST_EPOCHS, math.ceil(_SHARE_OF_EPOCHS * plan.epochs)), plan.epochs - 1)
    say(f"measuring: training {epochs} of {plan.epochs} epochs, for at most about "
        f"{_SECONDS:.0f} s, but at least {FEWEST_EPOCHS} epochs")  # fmt: skip
    rows = _rows(adaptive, epochs, say)
    listed = [
        StopOnNaN(),
        adaptive,
        MicroBatches(train),
        TrainingStatistics(train),
        rows,
    ]
    with contextlib.redirect_stdout(sys.stderr):
        try:
            model.fit(train, epochs=epochs, verbose=0, callbacks=listed)
        except Diverged as error:
            raise UserError(
                f"{error} while measuring: expected learning rates low enough for your own "
                "plan to train, received higher ones"
            ) from None
    return Measurement(
        epochs=rows.measured,
        epoch_overhead_seconds=_epoch_overhead_seconds(train, chosen),
        compiles=bool(model.jit_compile),
        gain_power=GAIN_POWERS[default_scaling(model.optimizer)],
        clipping=_clipping(base_optimizer(model.optimizer)),
    )


def _clipping(optimizer) -> str:
    limits = {name: getattr(optimizer, name, None) for name in _CLIPPING}
    return ", ".join(f"{name}={limit}" for name, limit in limits.items() if limit)


def _rows(adaptive, epochs: int, say):
    import keras

    class Rows(keras.callbacks.Callback):
        """Records each epoch, and stops when another epoch would take too long."""

        def __init__(self):
            super().__init__()
            self.measured = []
            self._began = time.monotonic()

        def on_epoch_begin(self, epoch, logs=None):
            self._epoch_began = time.monotonic()
            self._moments = [time.perf_counter()]

        def on_train_batch_end(self, batch, logs=None):
            self._moments.append(time.perf_counter())

        def on_epoch_end(self, epoch, logs=None):
            noise = adaptive.noise
            lower, upper = noise.bounds()
            variance = noise.gradient_variance
            self.measured.append(
                MeasuredEpoch(
                    batch_size=logs["batch_size"],
                    lower=lower,
                    upper=upper,
                    variance=math.nan if variance is None else variance,
                    squared_norm=noise.gradient_squared_norm or 0.0,
                    loss=logs["loss"],
                    seconds=logs["seconds"],
                    startup_seconds=_beyond_median(self._moments),
                )
            )
            now = time.monotonic()
            say(f"epoch {epoch + 1} of {epochs}: batch {logs['batch_size']:,}, loss "
                f"{logs['loss']:.4g}, critical batch size {bounds_in_words(lower, upper)}, "
                f"{now - self._epoch_began:.1f} s")  # fmt: skip
            next_ends = now - self._began + (now - self._epoch_began)
            if epoch + 1 >= FEWEST_EPOCHS and next_ends > _SECONDS:
                self.model.stop_training = True

    return Rows()


def _beyond_median(moments: list[float]) -> float | None:
    """Returns the excess of the first interval over the median of the rest; None without a rest."""
    first, *others = (after - before for before, after in itertools.pairwise(moments))
    return max(first - statistics.median(others), 0.0) if others else None


def _epoch_overhead_seconds(train, strategy) -> float:
    """Returns the time from the start of an epoch to its first batch, the median of three."""
    seconds = []
    for epoch in range(3):
        begin = time.perf_counter()
        batches = train.dataset(epoch)
        next(iter(strategy.experimental_distribute_dataset(batches)))
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)
