"""Makes a plan of batch sizes and learning rates from measured noise scales."""

import dataclasses
import itertools
import math

from lbkeras.methods.adaptive_batch_size.decision import (
    batch_size_ladder,
    loss_regressed,
    next_batch_size,
)
from lbkeras.methods.noise_scale.estimates import adascale_gain
from lbkeras.planning.plan import Phase, Plan
from lbkeras.schedules.curve import Curve, Segment
from lbkeras.schedules.warm_up import warm_up

_WARMUP_EPOCHS = 1
_RUNGS_TO_START_LARGER = 2


@dataclasses.dataclass(frozen=True)
class MeasuredEpoch:
    """Measurements of one epoch of training.

    Attributes:
        batch_size: the batch size of the epoch.
        lower, upper: bounds of the critical batch size at its end; both nan: not known.
        variance, squared_norm: tr(Σ) and |G|², the means that the bounds are computed from.
        loss: mean loss of the epoch.
        seconds: time of its training.
        startup_seconds: the part of `seconds` by which the time to the end of the first call of the
            graph exceeds the median of the other calls; None if there was one call.
    """

    batch_size: int
    lower: float
    upper: float
    variance: float
    squared_norm: float
    loss: float
    seconds: float
    startup_seconds: float | None = None

    def gain(self, batch_size: int, base_batch_size: int) -> float:
        """Returns AdaScale's gain of `batch_size` over `base_batch_size`."""
        scale = batch_size / base_batch_size
        return adascale_gain(self.variance / base_batch_size, self.squared_norm, scale)


def largest_stable_batch_size(measured: list[MeasuredEpoch]) -> float:
    """Returns the measured batch size below those at which the loss rose; infinity if none.

    >>> rows = [MeasuredEpoch(size, 0, 0, 0, 0, loss, 1) for size, loss in ((8, 1.0), (16, 2.0))]
    >>> largest_stable_batch_size(rows)
    8
    """
    losses = [row.loss for row in measured]
    sizes = [row.batch_size for row in measured]
    rises = [n for n in range(1, len(sizes)) if loss_regressed(losses[: n + 1], sizes[: n + 1])]
    return min(
        (max((size for size in sizes if size < sizes[n]), default=sizes[n]) for n in rises),
        default=math.inf,
    )


def measured_plan(baseline: Plan) -> Plan:
    """Returns the plan to measure with: the baseline's learning rates at its first batch size."""
    first = baseline.phases[0]
    phases = [dataclasses.replace(phase, batch_size=first.batch_size) for phase in baseline.phases]
    return Plan(tuple(phases), baseline.num_examples, baseline.learning_rate_curve)


def advised_plan(baseline: Plan, measured: list[MeasuredEpoch], gain_power: float = 1.0) -> Plan:
    """Returns the plan that the measured epochs recommend instead of the baseline.

    The batch sizes are those that `AdaptiveBatchSize` would choose from the measurements, at most
    one rung of its ladder per epoch; after the last measured epoch, that epoch's bounds decide. A
    batch size is never below the baseline's in that epoch, and never grows to one at which the
    measured loss rose (`loss_regressed`). If even the first epoch allows four times the first batch
    size, the plan starts one rung below what that epoch allows, and the learning rate warms up for
    one epoch from the baseline's. This does not apply to a baseline that starts with a warm-up.

    The learning rate is the baseline's times gain^gain_power, rounded to three digits. The gain is
    AdaScale's, of the batch size over the baseline's, from the last measurement before the plan
    leaves that batch size.

    Args:
        baseline: the measured plan, with all its batch sizes.
        measured: the epochs from the first, at least one. Each decides about the next epoch.
        gain_power: 1, or 0.5 for an optimizer that divides by the size of the gradients.
    """
    sizes, begins_larger = _batch_sizes(baseline, measured)
    if all(size == baseline.batch_size(epoch) for epoch, size in enumerate(sizes)):
        return baseline
    stretches = _stretches(baseline, sizes)
    factors = []
    for _, stop, size, baseline_size, _ in stretches:
        last = measured[max(min(stop - 2, len(measured) - 1), 0)]
        gain = last.gain(size, baseline_size) ** gain_power if size != baseline_size else 1.0
        factors.append(float(f"{gain:.3g}"))
    edges = [0, *(stop for _, stop, *_ in stretches)]
    curve = scaled_in_stretches(baseline.learning_rate_curve, edges, factors)
    if begins_larger:
        curve = warm_up(curve, _WARMUP_EPOCHS, baseline.learning_rate(0))
        final = factors[0] * baseline.learning_rate(_WARMUP_EPOCHS)  # not the next size's factor
        ramp = dataclasses.replace(curve.segments[0], final=final)
        curve = _rounded(Curve((ramp, *curve.segments[1:])))
    phases = [
        Phase(start, stop - start, size, curve(start), momentum)
        for start, stop, size, _, momentum in _merged(stretches)
    ]
    return Plan(tuple(phases), baseline.num_examples, curve)


def scaled_in_stretches(curve: Curve, edges: list[int], factors: list[float]) -> Curve:
    """Multiplies a curve by a factor for each stretch of epochs.

    Exact, except where the end of a polynomial, cosine or exponential segment is cut off. There the
    curve is linear between whole epochs, with an error of at most h²/8 · max |curve''| · factor,
    h = 1 epoch. Values are rounded to six digits.

    >>> from lbkeras.schedules import steps
    >>> curve = scaled_in_stretches(steps([0.1, 0.01], [4], 6), [0, 2, 6], [1.0, 2.0])
    >>> [curve(epoch) for epoch in range(6)]
    [0.1, 0.1, 0.2, 0.2, 0.02, 0.02]

    Args:
        curve: `Curve` over the epochs.
        edges: whole epochs, increasing, from 0 to the curve's end.
        factors: one for each stretch between two edges.
    """
    pieces = []
    for (start, stop), factor in zip(itertools.pairwise(edges), factors, strict=True):
        for segment in curve.segments:
            a, b = max(start, segment.start), min(stop, segment.stop)
            if a < b:
                pieces += _scaled_part(segment, a, b, factor)
    return _rounded(Curve(tuple(pieces)))


def _batch_sizes(baseline: Plan, measured: list[MeasuredEpoch]) -> tuple[list[int], bool]:
    """Returns each epoch's batch size, and whether the first is larger than the baseline's."""
    first = baseline.batch_size(0)
    largest = min(max(baseline.num_examples // 10, first), largest_stable_batch_size(measured))
    ladder = batch_size_ladder(first, first, max(largest, first))
    size = first
    if (
        baseline.learning_rate(0) >= baseline.learning_rate(_WARMUP_EPOCHS) > 0
        and baseline.epochs > 1
    ):
        reached = [rung for rung in ladder if rung <= measured[0].lower]
        if len(reached) > _RUNGS_TO_START_LARGER:
            size = reached[-2]
    begins_larger = size > first
    sizes = [size]
    for epoch in range(1, baseline.epochs):
        last = measured[min(epoch, len(measured)) - 1]
        size, _ = next_batch_size(size, ladder, last.lower, last.upper)
        sizes.append(size)
    return [
        max(size, baseline.batch_size(epoch)) for epoch, size in enumerate(sizes)
    ], begins_larger


def _stretches(baseline: Plan, sizes: list[int]) -> list[tuple]:
    """Returns `(start, stop, batch size, baseline's batch size, momentum)` of equal epochs."""
    keys = [(size, baseline.batch_size(e), baseline.momentum(e)) for e, size in enumerate(sizes)]
    stretches, start = [], 0
    for key, group in itertools.groupby(keys):
        stop = start + len(list(group))
        stretches.append((start, stop, *key))
        start = stop
    return stretches


def _merged(stretches: list[tuple]) -> list[tuple]:
    """Merges adjacent stretches with the same batch size and momentum."""
    merged = []
    for start, stop, size, baseline_size, momentum in stretches:
        if merged and merged[-1][2] == size and merged[-1][4] == momentum:
            start = merged.pop()[0]
        merged.append((start, stop, size, baseline_size, momentum))
    return merged


def _scaled_part(segment: Segment, start: float, stop: float, factor: float) -> list[Segment]:
    """Returns a segment from `start` to `stop`, times `factor`."""
    if segment.shape == "constant":
        return [Segment(start, stop, factor * segment.initial, factor * segment.final)]
    if stop == segment.stop:  # a Segment can start later but not end earlier
        scaled = dict(initial=factor * segment.initial, final=factor * segment.final)
        return [dataclasses.replace(segment, start=start, **scaled)]
    if segment.shape == "linear":
        places = [start, stop]
    else:
        places = [start, *range(math.floor(start) + 1, math.ceil(stop)), stop]
    rates = [factor * segment.value(place) for place in places]
    corners = itertools.pairwise(zip(places, rates, strict=True))
    return [Segment(a, b, initial, final, "linear") for (a, initial), (b, final) in corners]


def _rounded(curve: Curve) -> Curve:
    """Rounds the learning rates to six digits, for readability."""
    rounded = [
        dataclasses.replace(s, initial=float(f"{s.initial:.6g}"), final=float(f"{s.final:.6g}"))
        for s in curve.segments
    ]
    return Curve(tuple(rounded))
