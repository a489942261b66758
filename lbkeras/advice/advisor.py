"""The advisor: measures an arm of a config for a while, and recommends a plan, with reasons."""

import contextlib
import dataclasses
import importlib
import itertools
import math
import statistics
import sys
import time

from lbkeras.advice.plan import MeasuredEpoch, advised_plan, measured_plan
from lbkeras.advice.probe import Probe, probe_batch_sizes
from lbkeras.errors import UserError
from lbkeras.keras_internals.tensorflow_start import load_tensorflow
from lbkeras.planning.plan import Plan
from lbkeras.runs import build, experiment

_FEWEST_EPOCHS = 2  # measured
_SHARE_OF_EPOCHS = 0.25
_SECONDS = 60.0
_FEWEST_EXAMPLES = 64  # a probe of the noise scale is 4 batches of 8 pieces of 2 examples
_SECONDS_TO_COMPARE = 0.5  # of measured steps: with fewer the ratio would be chance
_SIMILAR = 8  # sizes within such a factor are tried with the same steps_per_execution


@dataclasses.dataclass(frozen=True)
class FitTimes:
    """What a `fit` takes beside the bare steps that a Probe times.

    Attributes:
        an_epoch: seconds from an epoch's begin to its first batch.
        traces: seconds for tracing the model at the first batch size, and at each later one.
        slowdown: time of an epoch's steps in `fit`, over that of as many bare ones.
        compiles: whether XLA compiles the model, which it does for each shape.
    """

    an_epoch: float
    traces: tuple[float, float]
    slowdown: float
    compiles: bool


@dataclasses.dataclass(frozen=True)
class Advice:
    """What was measured, and the plan that follows from it.

    Attributes:
        own: the arm's plan.
        plan: the recommended one; the same where nothing better is known.
        measured: the epochs that were measured.
        probes: a Probe for each batch size of both plans.
        own_seconds, seconds: predicted for each phase of both plans, evaluation left out.
        clipping: how the optimizer clips gradients, such as "global_clipnorm=1.0"; "": it doesn't.
        gain_power: of AdaScale's gain, that the learning rate grows by: 1 or 0.5.
    """

    own: Plan
    plan: Plan
    measured: list[MeasuredEpoch]
    probes: dict[int, Probe]
    own_seconds: list[float]
    seconds: list[float]
    clipping: str = ""
    gain_power: float = 1.0


def check_arm(settings: dict, arm: str) -> None:
    """Refuses an arm that the advisor cannot measure, before TensorFlow is loaded.

    Raises:
        UserError: a callback sets the arm's batch size or learning rate, it trains decentralized,
            its plan is too short, its data are too few.
    """
    if experiment.num_nodes(settings):
        raise UserError(
            f"--arm: expected one that trains one model, received {arm!r}, whose "
            f"optimizer.num_nodes={settings['optimizer']['num_nodes']} train one each; --auto has "
            "no advice for decentralized training"
        )
    plan = experiment.make_plan(settings)
    if plan.epochs <= _FEWEST_EPOCHS:
        raise UserError(
            f"plan: expected more epochs than the {_FEWEST_EPOCHS} that --auto measures at least, "
            f"received {plan.epochs}"
        )
    if plan.num_examples < _FEWEST_EXAMPLES:
        raise UserError(
            f"data.num_examples: expected at least {_FEWEST_EXAMPLES}, which the noise scale is "
            f"measured with, received {plan.num_examples}"
        )
    if settings.get("callbacks"):
        _check_callbacks(settings["callbacks"], arm)


def advise(
    settings: dict,
    strategy: str,
    data_dir: str | None,
    budget_mb: float | None = None,
    say=print,
) -> Advice:
    """Measures an arm and recommends a plan.

    Trains with the arm's model, data, optimizer and learning rates from its first batch size under
    `AdaptiveBatchSize`, in memory, for a quarter of the epochs (at least 2, and no more than about
    a minute unless 2 take longer); then tries the batch sizes of both plans.

    Args:
        settings: the arm's sections, from `experiment.arm_settings`; `check_arm` has seen them.
        strategy: a name for `lbkeras.distribution.strategy`.
        data_dir: where prepared TFDS data lie.
        budget_mb: as for `probe_batch_sizes`.
        say: called with one line whenever something takes long.

    Raises:
        UserError: a setting or data set is not usable, memory does not suffice, or the loss is no
            number.
    """
    own = experiment.make_plan(settings)
    measured, an_epoch, compiles, power = _measure(settings, own, strategy, data_dir, say)
    plan = advised_plan(own, measured, power)
    sizes = sorted({phase.batch_size for each in (own, plan) for phase in each.phases})
    probes = {}
    for group in similar_sizes(sizes):
        alike = settings | {"plan": _one_size(own, group[0])}
        probes |= probe_batch_sizes(alike, group, strategy, data_dir, budget_mb, say)
    times = fit_times(own.num_examples, measured, probes, an_epoch, compiles)
    return Advice(
        own=own,
        plan=plan,
        measured=measured,
        probes=probes,
        own_seconds=phase_seconds(own, probes, times),
        seconds=phase_seconds(plan, probes, times),
        clipping=_clipping(settings["optimizer"]),
        gain_power=power,
    )


def fit_times(
    num_examples: int,
    measured: list[MeasuredEpoch],
    probes: dict[int, Probe],
    an_epoch: float,
    compiles: bool,
) -> FitTimes:
    """What the measured epochs say about `fit`, against what the probes say about bare steps.

    Args:
        num_examples: examples an epoch.
        measured: the epochs, the first of them the process' first.
        probes: a Probe for each batch size of the plans.
        an_epoch: seconds from an epoch's begin to its first batch.
        compiles: whether XLA compiles the model.
    """
    sizes = [row.batch_size for row in measured]
    firsts = [sizes.index(size) for size in dict.fromkeys(sizes)]
    traces, took, bare = [], 0.0, 0.0
    for epoch, row in enumerate(measured):
        probe = probes.get(row.batch_size)
        steps = num_examples // row.batch_size * probe.seconds_a_step if probe else 0.0
        training = row.seconds - an_epoch
        if epoch in firsts:
            one_call = row.seconds_to_start is None
            started = training - steps if one_call else row.seconds_to_start - an_epoch
            traces.append(max(started, 0.0))
            training = steps if one_call else training - traces[-1]
        if probe:
            took += max(training, 0.0)
            bare += steps
    if len(traces) == 1:  # as long as in a process that has traced it before
        traces.append(statistics.median(probe.seconds_to_start for probe in probes.values()))
    slowdown = took / bare if took >= _SECONDS_TO_COMPARE else 1.0
    return FitTimes(an_epoch, (traces[0], statistics.median(traces[1:])), slowdown, compiles)


def phase_seconds(plan: Plan, probes: dict[int, Probe], times: FitTimes) -> list[float]:
    """The time of each phase of a plan in a `fit`, evaluation left out.

    epochs * (an_epoch + steps * seconds_a_step * slowdown), and the trace of each batch size; of
    one after the second that is computed in pieces, or where XLA compiles, the Probe's
    seconds_to_start.

    Args:
        plan: whose phases.
        probes: a Probe for each of its batch sizes.
        times: from `fit_times`.
    """
    seconds, started = [], []
    for phase in plan.phases:
        probe, steps = probes[phase.batch_size], plan.steps_per_epoch(phase.first_epoch)
        an_epoch = times.an_epoch + steps * probe.seconds_a_step * times.slowdown
        total = phase.epochs * an_epoch
        if phase.batch_size not in started:
            if len(started) > 1 and (times.compiles or probe.pieces > 1):
                total += probe.seconds_to_start
            else:
                total += times.traces[min(len(started), 1)]
            started.append(phase.batch_size)
        seconds.append(total)
    return seconds


def similar_sizes(sizes: list[int]) -> list[list[int]]:
    """Increasing sizes in groups within a factor of 8: of each, one call takes a similar time.

    >>> similar_sizes([8, 32, 64, 128, 4096])
    [[8, 32, 64], [128], [4096]]
    """
    groups = []
    for size in sizes:
        if not groups or size > _SIMILAR * groups[-1][0]:
            groups.append([])
        groups[-1].append(size)
    return groups


def _check_callbacks(chosen: dict, arm: str) -> None:
    load_tensorflow()
    callbacks = importlib.import_module("lbkeras.callbacks")
    for name in chosen:
        for attribute, what in (
            ("owns_batch_size", "batch size"),
            ("owns_learning_rate", "learning rate"),
        ):
            if getattr(getattr(callbacks, name, None), attribute, False):
                raise UserError(
                    f"--arm: expected one whose plan says its {what}, received {arm!r}, where "
                    f"callbacks.{name} sets it while it trains"
                )


def _clipping(optimizer: dict) -> str:
    names = ("clipnorm", "global_clipnorm", "clipvalue")
    return ", ".join(f"{name}={optimizer[name]}" for name in names if optimizer.get(name))


def _one_size(own: Plan, batch_size: int) -> dict:
    """A plan section with that batch size alone; only its steps are of interest."""
    phase = dict(first_epoch=0, epochs=1, batch_size=batch_size, learning_rate=1e-3)
    phases = (phase | dict(momentum=own.phases[0].momentum),)
    return dict(name="written_plan", phases=phases)


def _measure(settings: dict, own: Plan, strategy: str, data_dir, say):
    """Measured epochs, an epoch's seconds beside its steps, whether XLA compiles, gain's power."""
    load_tensorflow()
    import keras

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

    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    plan = measured_plan(own)
    chosen = make_strategy(strategy)
    check_replicas(own, chosen.num_replicas_in_sync)
    train, _ = build.make_pipelines(settings, plan.phases[0].batch_size, 0, data_dir)
    model = build.compiled_model(settings, plan, chosen, train, steered=True)
    adaptive = AdaptiveBatchSize(train, plan=plan)
    epochs = min(max(_FEWEST_EPOCHS, math.ceil(_SHARE_OF_EPOCHS * plan.epochs)), plan.epochs - 1)
    say(f"measuring: trains {epochs} of {plan.epochs} epochs, no more than about {_SECONDS:.0f} s "
        f"unless {_FEWEST_EPOCHS} take longer")  # fmt: skip
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
                f"{error} while measuring: expected learning rates with which the config's own "
                "plan trains, received higher ones"
            ) from None
    power = GAIN_POWERS[default_scaling(model.optimizer)]
    return rows.measured, _seconds_an_epoch(train, chosen), bool(model.jit_compile), power


def _rows(adaptive, epochs: int, say):
    import keras

    class Rows(keras.callbacks.Callback):
        """Takes each epoch's row, and ends the measurement when it has taken long enough."""

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
                    seconds_to_start=_beyond_median(self._moments),
                )
            )
            now = time.monotonic()
            say(f"epoch {epoch + 1} of {epochs}: batch {logs['batch_size']:,}, loss "
                f"{logs['loss']:.4g}, critical batch size {bounds_in_words(lower, upper)}, "
                f"{now - self._epoch_began:.1f} s")  # fmt: skip
            next_ends = now - self._began + (now - self._epoch_began)
            if epoch + 1 >= _FEWEST_EPOCHS and next_ends > _SECONDS:
                self.model.stop_training = True

    return Rows()


def bounds_in_words(lower: float, upper: float) -> str:
    """Bounds of the critical batch size: "between 17 and 31", "at least 10" or "not known"."""
    if math.isnan(lower) or math.isnan(upper) or (lower < 1 and math.isinf(upper)):
        return "not known"
    known = f"between {lower:,.0f} and {upper:,.0f}"
    return f"at least {lower:,.0f}" if math.isinf(upper) else known


def _beyond_median(moments: list[float]) -> float | None:
    """What the first of several intervals took beyond the others; None where it is the only one."""
    first, *others = (after - before for before, after in itertools.pairwise(moments))
    return max(first - statistics.median(others), 0.0) if others else None


def _seconds_an_epoch(train, strategy) -> float:
    """How long it takes from an epoch's begin to its first batch, median of three."""
    seconds = []
    for epoch in range(3):
        begin = time.perf_counter()
        batches = train.dataset(epoch)
        next(iter(strategy.experimental_distribute_dataset(batches)))
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)
