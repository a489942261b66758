"""Predicts how long a plan takes in `fit`, from probes and measured epochs."""

import dataclasses
import statistics

from lbkeras.advice.plan import MeasuredEpoch
from lbkeras.advice.probe import Probe
from lbkeras.planning.plan import Plan

_SECONDS_TO_COMPARE = 0.5  # of steps in `fit`; a ratio of shorter times would be unreliable


@dataclasses.dataclass(frozen=True)
class FitTimes:
    """What `fit` takes in addition to the bare steps that a Probe times.

    Attributes:
        epoch_overhead_seconds: seconds from the start of an epoch to its first batch.
        trace_seconds: `(first, later)`, seconds for tracing the model at the first batch size and
            at each later one.
        slowdown: time of steps in `fit`, divided by that of as many bare steps.
        compiles: whether XLA compiles the model; if so, each new batch size compiles it again.
    """

    epoch_overhead_seconds: float
    trace_seconds: tuple[float, float]
    slowdown: float
    compiles: bool


def fit_times(
    num_examples: int,
    measured: list[MeasuredEpoch],
    probes: dict[int, Probe],
    epoch_overhead_seconds: float,
    compiles: bool,
) -> FitTimes:
    """Compares the measured epochs of `fit` with the bare steps of the probes.

    Args:
        num_examples: examples per epoch.
        measured: the measured epochs, beginning with the first one of the process.
        probes: a Probe for each batch size of the plans.
        epoch_overhead_seconds: seconds from the start of an epoch to its first batch.
        compiles: whether XLA compiles the model.
    """
    sizes = [row.batch_size for row in measured]
    firsts = [sizes.index(size) for size in dict.fromkeys(sizes)]
    traces, took, bare = [], 0.0, 0.0
    for epoch, row in enumerate(measured):
        probe = probes.get(row.batch_size)
        steps = num_examples // row.batch_size * probe.seconds_per_step if probe else 0.0
        training = row.seconds - epoch_overhead_seconds
        if epoch in firsts:
            one_call = row.startup_seconds is None
            started = training - steps if one_call else row.startup_seconds - epoch_overhead_seconds
            traces.append(max(started, 0.0))
            training = steps if one_call else training - traces[-1]
        if probe:
            took += max(training, 0.0)
            bare += steps
    if len(traces) == 1:  # assume a later trace takes as long as one measured by the probes
        traces.append(statistics.median(probe.startup_seconds for probe in probes.values()))
    slowdown = took / bare if took >= _SECONDS_TO_COMPARE else 1.0
    return FitTimes(
        epoch_overhead_seconds, (traces[0], statistics.median(traces[1:])), slowdown, compiles
    )


def predicted_seconds(
    plan: Plan, probes: dict[int, Probe], times: FitTimes | None = None
) -> list[float]:
    """Returns the time of each phase of a plan, without evaluation.

    For bare steps: steps * seconds_per_step, plus startup_seconds when a batch size first occurs.

    In `fit`: epochs * (epoch_overhead_seconds + steps per epoch * seconds_per_step * slowdown),
    plus trace_seconds when a batch size first occurs. If XLA compiles or the batch is computed in
    pieces, the Probe's startup_seconds replace trace_seconds from the third batch size on.

    Args:
        plan: a `Plan`.
        probes: a Probe for each of its batch sizes.
        times: from `fit_times`; None: predict bare steps.
    """
    seconds, started = [], []
    for phase in plan.phases:
        probe = probes[phase.batch_size]
        steps = phase.epochs * plan.steps_per_epoch(phase.first_epoch)
        total = steps * probe.seconds_per_step
        if times is not None:
            total = total * times.slowdown + phase.epochs * times.epoch_overhead_seconds
        if phase.batch_size not in started:
            total += _start(probe, len(started), times)
            started.append(phase.batch_size)
        seconds.append(total)
    return seconds


def _start(probe: Probe, before: int, times: FitTimes | None) -> float:
    """Returns the extra time of the first call at a size; `before` counts the sizes before it."""
    if times is None or (before > 1 and (times.compiles or probe.pieces > 1)):
        return probe.startup_seconds
    return times.trace_seconds[min(before, 1)]
