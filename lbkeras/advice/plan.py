"""From measured noise scales to a plan: which batch size when, and at which learning rate."""

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
    """What an epoch of training showed.

    Attributes:
        batch_size: that it was trained with.
        lower, upper: what the critical batch size is between at its end; both nan: not known.
        variance, squared_norm: tr(Σ) and |G|², the means that it is worked out from.
        loss: the epoch's mean.
        seconds: of its training.
        startup_seconds: of them, what it took to the end of the first call of the graph, beyond
            the median of the other calls; None where there was one call.
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
        """AdaScale's gain of a batch size over another."""
        scale = batch_size / base_batch_size
        return adascale_gain(self.variance / base_batch_size, self.squared_norm, scale)


def largest_stable_batch_size(measured: list[MeasuredEpoch]) -> float:
    """The batch size below those at which the loss rose; infinity where it did not.

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
    """The plan that is measured: all of a plan's learning rates, at its first batch size."""
    first = baseline.phases[0]
    phases = [dataclasses.replace(phase, batch_size=first.batch_size) for phase in baseline.phases]
    return Plan(tuple(phases), baseline.num_examples, baseline.learning_rate_curve)


def advised_plan(baseline: Plan, measured: list[MeasuredEpoch], gain_power: float = 1.0) -> Plan:
    """The plan that measured epochs recommend instead of the baseline.

    The batch sizes are those that `AdaptiveBatchSize` takes by what was measured, one rung of its
    ladder an epoch; after the last measured epoch by that one's bounds. Never less than the
    baseline has in that epoch, and none at which the measured loss rose (`loss_regressed`). Where
    already the first epoch allows four times the first batch size, the run begins one rung below
    what it allows, and the learning rate warms up in one epoch from the baseline's, unless that
    begins with a warm-up itself.

    The learning rate is the baseline's times AdaScale's gain of a batch size over the baseline's to
    the power `gain_power`, by the last measurement before a size is left; to three digits.

    Args:
        baseline: the plan that was measured, with all its batch sizes.
        measured: the epochs from the first, at least one; that of an epoch decides about the next.
        gain_power: 1, or 0.5 for an optimizer that divides by the gradients' size.
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
        final = factors[0] * baseline.learning_rate(_WARMUP_EPOCHS)  # not that of the next size
        ramp = dataclasses.replace(curve.segments[0], final=final)
        curve = _rounded(Curve((ramp, *curve.segments[1:])))
    phases = [
        Phase(start, stop - start, size, curve(start), momentum)
        for start, stop, size, _, momentum in _merged(stretches)
    ]
    return Plan(tuple(phases), baseline.num_examples, curve)


def scaled_in_stretches(curve: Curve, edges: list[int], factors: list[float]) -> Curve:
    """A curve times a factor that differs between stretches of epochs.

    Exact, but where a polynomial, cosine or exponential segment is cut at its end: there it goes in
    a straight line from one whole epoch to the next, at most h²/8 · max |curve''| · factor away,
    h = 1 epoch. Values are rounded to six digits.

    >>> from lbkeras.schedules import steps
    >>> curve = scaled_in_stretches(steps([0.1, 0.01], [4], 6), [0, 2, 6], [1.0, 2.0])
    >>> [curve(epoch) for epoch in range(6)]
    [0.1, 0.1, 0.2, 0.2, 0.02, 0.02]

    Args:
        curve: `Curve` over the epochs.
        edges: whole epochs, from 0 to the curve's end, increasing.
        factors: one a stretch between two edges.
    """
    pieces = []
    for (start, stop), factor in zip(itertools.pairwise(edges), factors, strict=True):
        for segment in curve.segments:
            a, b = max(start, segment.start), min(stop, segment.stop)
            if a < b:
                pieces += _scaled_part(segment, a, b, factor)
    return _rounded(Curve(tuple(pieces)))


def _batch_sizes(baseline: Plan, measured: list[MeasuredEpoch]) -> tuple[list[int], bool]:
    """The batch size of each epoch, and whether the first is larger than the baseline's."""
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
    """`(start, stop, batch size, the baseline's, momentum)` where the last three are the same."""
    keys = [(size, baseline.batch_size(e), baseline.momentum(e)) for e, size in enumerate(sizes)]
    stretches, start = [], 0
    for key, group in itertools.groupby(keys):
        stop = start + len(list(group))
        stretches.append((start, stop, *key))
        start = stop
    return stretches


def _merged(stretches: list[tuple]) -> list[tuple]:
    """The stretches, neighbours of the same batch size and momentum as one."""
    merged = []
    for start, stop, size, baseline_size, momentum in stretches:
        if merged and merged[-1][2] == size and merged[-1][4] == momentum:
            start = merged.pop()[0]
        merged.append((start, stop, size, baseline_size, momentum))
    return merged


def _scaled_part(segment: Segment, start: float, stop: float, factor: float) -> list[Segment]:
    """A segment from `start` to `stop`, times `factor`."""
    if segment.shape == "constant":
        return [Segment(start, stop, factor * segment.initial, factor * segment.final)]
    if stop == segment.stop:  # its beginning can be cut off, its end cannot
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
    """The learning rates to six digits, which a person can read."""
    rounded = [
        dataclasses.replace(s, initial=float(f"{s.initial:.6g}"), final=float(f"{s.final:.6g}"))
        for s in curve.segments
    ]
    return Curve(tuple(rounded))
