"""How long a plan takes in a `fit`, from what was tried and what was measured."""

import dataclasses
import statistics

from lbkeras.advice.plan import MeasuredEpoch
from lbkeras.advice.probe import Probe
from lbkeras.planning.plan import Plan

_SECONDS_TO_COMPARE = 0.5  # of measured steps: with fewer the ratio would be chance


@dataclasses.dataclass(frozen=True)
class FitTimes:
    """What a `fit` takes beside the bare steps that a Probe times.

    Attributes:
        epoch_overhead_seconds: seconds from an epoch's begin to its first batch.
        trace_seconds: seconds for tracing the model at the first batch size, and at each later one.
        slowdown: time of an epoch's steps in `fit`, over that of as many bare ones.
        compiles: whether XLA compiles the model, which it does for each shape.
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
    """What the measured epochs say about `fit`, against what the probes say about bare steps.

    Args:
        num_examples: examples an epoch.
        measured: the epochs, the first of them the process' first.
        probes: a Probe for each batch size of the plans.
        epoch_overhead_seconds: seconds from an epoch's begin to its first batch.
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
    if len(traces) == 1:  # as long as in a process that has traced it before
        traces.append(statistics.median(probe.startup_seconds for probe in probes.values()))
    slowdown = took / bare if took >= _SECONDS_TO_COMPARE else 1.0
    return FitTimes(
        epoch_overhead_seconds, (traces[0], statistics.median(traces[1:])), slowdown, compiles
    )


def predicted_seconds(
    plan: Plan, probes: dict[int, Probe], times: FitTimes | None = None
) -> list[float]:
    """The time of each phase of a plan, evaluation left out.

    Of the bare steps: steps * seconds_per_step, and startup_seconds where a batch size comes for
    the first time.

    In a `fit`: epochs * (epoch_overhead_seconds + steps * seconds_per_step * slowdown), and the
    trace of each batch size; of one after the second that is computed in pieces, or where XLA
    compiles, the Probe's startup_seconds.

    Args:
        plan: whose phases.
        probes: a Probe for each of its batch sizes.
        times: from `fit_times`; None: of the bare steps.
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
    """What the first call at a batch size takes, after so many other sizes."""
    if times is None or (before > 1 and (times.compiles or probe.pieces > 1)):
        return probe.startup_seconds
    return times.trace_seconds[min(before, 1)]
