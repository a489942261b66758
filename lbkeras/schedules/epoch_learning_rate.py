"""Computes a learning-rate curve over epochs in the graph, for any batch-size schedule."""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import keras
import numpy as np
from keras import ops

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.schedules.curve import EPOCH_TOLERANCE, SHAPES, Curve

# The columns of a table with one row per range of updates within one segment and one phase.
INTEGERS = ("first_update", "start_update", "stop_update")
FLOATS = ("start_fraction", "stop_fraction", "scale", "initial", "final", "power", "shape")
_ALL_SHAPES = tuple(range(len(SHAPES)))


@keras.saving.register_keras_serializable(package="lbkeras")
class EpochLearningRateSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A `Curve` over epochs as a Keras schedule over updates, correct when the batch size changes.

    In the phase that contains update `step`,

        epoch = first_epoch + (step − first_update) / steps_per_epoch

    Steps are subtracted and compared as integers before the result is cast to float, since float32
    cannot count above 2^24. So each segment starts exactly at its first update. After the curve's
    end the learning rate keeps the final value.

    Cost per update: one comparison and one lookup in a small table if all segments are constant,
    otherwise about 40 scalar operations.

    >>> from lbkeras.schedules import steps
    >>> schedule = EpochLearningRateSchedule(steps([0.5, 0.25], [2], 4), [(0, 0, 10), (20, 2, 5)])
    >>> [float(schedule(step)) for step in (0, 19, 20, 29, 1000)]
    [0.5, 0.5, 0.25, 0.25, 0.25]

    Args:
        curve: `Curve`, or what its `to_list` returned.
        phases: `(first_update, first_epoch, steps_per_epoch)` of each phase (epochs with one batch
            size), in order; the first is `(0, 0, ...)`. `Plan.learning_rate_schedule` fills them
            in.

    Raises:
        UserError: the phases are not in order, or one has no steps per epoch.
    """

    def __init__(
        self, curve: Curve | Sequence[Mapping[str, Any]], phases: Sequence[tuple[int, int, int]]
    ):
        self.curve = curve if isinstance(curve, Curve) else Curve.from_list(curve)
        self.phases = _checked_phases(phases)
        self._table = _table(self.curve, self.phases)

    def __call__(self, step):
        """Returns the learning rate of update number `step` (from 0), a float32 scalar."""
        step = _as_integer(step)
        table = self._table
        integer = keras.backend.standardize_dtype(step.dtype)
        shapes = sorted(set(table["shape"]))
        if shapes == [SHAPES.index("constant")]:
            initial = ops.convert_to_tensor(np.asarray(table["initial"], "float32"))
            return ops.take(initial, _row(step, np.asarray(table["first_update"], integer)))
        integers = ops.convert_to_tensor(_columns(table, INTEGERS, integer))
        floats = ops.convert_to_tensor(_columns(table, FLOATS, "float32"))
        return learning_rate_at(step, integers, floats, shapes)

    def get_config(self):
        return {"curve": self.curve.to_list(), "phases": [list(phase) for phase in self.phases]}


def learning_rate_at(step, integers, floats, shapes=_ALL_SHAPES):
    """Computes the learning rate of an update from the tables of `learning_rate_table`.

    Args:
        step: the update's number, an integer scalar.
        integers: columns `INTEGERS`, shape (rows, 3), in the integer type of the step: int64 on
            TensorFlow (whose int32 tensors are on the host, a round trip from a GPU), int32 on JAX.
        floats: columns `FLOATS`, shape (rows, 7), float32.
        shapes: indices in `SHAPES` of the shapes that may occur in the table.

    Returns:
        A float32 scalar.
    """
    row = _row(step, integers[:, 0])
    _, start_update, stop_update = ops.unstack(ops.take(integers, row, axis=0), len(INTEGERS))
    start_fraction, stop_fraction, scale, initial, final, power, active = ops.unstack(
        ops.take(floats, row, axis=0), len(FLOATS)
    )

    def share(whole_steps, fraction):
        return ops.clip((ops.cast(whole_steps, "float32") + fraction) * scale, 0.0, 1.0)

    done = share(step - start_update, start_fraction)
    rest = share(stop_update - step, stop_fraction)
    value = _value(SHAPES[shapes[0]], initial, final, done, rest, power)
    for shape in shapes[1:]:
        branch = _value(SHAPES[shape], initial, final, done, rest, power)
        value = ops.where(ops.equal(active, float(shape)), branch, value)
    return value


def _as_integer(step):
    step = ops.convert_to_tensor(step)
    return step if "int" in keras.backend.standardize_dtype(step.dtype) else ops.cast(step, "int32")


def _row(step, first_updates):
    """Returns the number of the row that contains the step: the last row that has begun."""
    if first_updates.shape[0] == 1:
        return ops.zeros((), step.dtype)
    return ops.sum(ops.cast(step >= ops.convert_to_tensor(first_updates[1:]), step.dtype))


def _columns(table: dict[str, list], names, dtype) -> np.ndarray:
    return np.asarray([table[name] for name in names], dtype).T


def learning_rate_table(curve: Curve, phases) -> tuple[np.ndarray, np.ndarray]:
    """Returns the tables for `learning_rate_at`: `INTEGERS` as int64 and `FLOATS` as float32.

    Args:
        curve: `Curve` over epochs.
        phases: `(first_update, first_epoch, steps_per_epoch)`, in order.
    """
    table = _table(curve, phases)
    return _columns(table, INTEGERS, "int64"), _columns(table, FLOATS, "float32")


def _value(shape, initial, final, done, rest, power):
    """`Segment.value` with keras.ops: weights both ends; each weight is accurate where small."""
    if shape == "constant":
        return initial
    if shape == "linear":
        return initial * rest + final * done
    if shape == "polynomial":
        # 1 − rest^power, without cancellation if `done` is small.
        complement = -ops.expm1(power * ops.log1p(-done))
        return initial * ops.power(rest, power) + final * complement
    if shape == "cosine":
        half_pi = math.pi / 2
        return initial * ops.sin(half_pi * rest) ** 2 + final * ops.sin(half_pi * done) ** 2
    # Exponential, from the nearer end, since the exponent's rounding error grows with its size.
    # Rows of other shapes may have a rate of 0; for them this branch is computed but not used.
    tiny = float(np.finfo(np.float32).tiny)
    initial, final = ops.maximum(initial, tiny), ops.maximum(final, tiny)
    growth = ops.log(final / initial)
    return ops.where(done < rest, initial * ops.exp(done * growth), final * ops.exp(-rest * growth))


def _checked_phases(phases) -> tuple[tuple[int, int, int], ...]:
    phases = checks.sequence("phases", phases)
    if not phases:
        raise UserError("phases: expected at least one, received none")
    checked, least = [], (0, 0)
    for index, phase in enumerate(phases):
        name = f"phases[{index}]"
        phase = checks.sequence(name, phase)
        if len(phase) != 3:
            raise UserError(f"{name}: expected (first_update, first_epoch, steps_per_epoch), "
                            f"received {phase!r}")  # fmt: skip
        most = 0 if index == 0 else None
        first_update = checks.integer(
            f"{name}: first_update", phase[0], minimum=least[0], maximum=most
        )
        first_epoch = checks.integer(
            f"{name}: first_epoch", phase[1], minimum=least[1], maximum=most
        )
        steps_per_epoch = checks.integer(f"{name}: steps_per_epoch", phase[2], minimum=1)
        checked.append((first_update, first_epoch, steps_per_epoch))
        least = (first_update + 1, first_epoch + 1)
    return tuple(checked)


def _table(curve: Curve, phases) -> dict[str, list]:
    """Returns the columns of the table with one row per range of updates in one segment and phase.

    A row gives done = (step − start) · scale and rest = (stop − step) · scale. start and stop are
    the updates at which the segment would begin and end if it were entirely in that phase. They are
    computed exactly and split into an integer and a fraction in [0, 1) that is added to `done` or
    `rest` before scaling.
    """
    segment_starts = [_first_update(segment.start, phases) for segment in curve.segments]
    rows = set(segment_starts)
    if any(segment.shape != "constant" for segment in curve.segments):
        rows.update(first_update for first_update, _, _ in phases)
    table = {name: [] for name in (*INTEGERS, *FLOATS)}
    begins = [phase[0] for phase in phases]
    for update in sorted(rows):
        # The last segment that has begun. A segment shorter than an update may contain none.
        segment = curve.segments[bisect_right(segment_starts, update) - 1]
        first_update, first_epoch, steps_per_epoch = phases[bisect_right(begins, update) - 1]
        start, stop = (
            first_update + (Fraction(epoch) - first_epoch) * steps_per_epoch
            for epoch in (segment.origin, segment.stop)
        )
        values = dict(
            first_update=update,
            shape=SHAPES.index(segment.shape),
            initial=segment.initial,
            final=segment.final,
            power=segment.power,
            scale=float(1 / (stop - start)),
            start_update=math.ceil(start),
            start_fraction=float(math.ceil(start) - start),
            stop_update=math.floor(stop),
            stop_fraction=float(stop - math.floor(stop)),
        )
        for name, value in values.items():
            table[name].append(value)
    return table


def _first_update(epoch: float, phases) -> int:
    """Returns the first update at or after `epoch`, with the same tolerance as `Curve`."""
    index = max(bisect_right(phases, epoch, key=lambda phase: phase[1]) - 1, 0)
    first_update, first_epoch, steps_per_epoch = phases[index]
    elapsed = (Fraction(epoch) - Fraction(EPOCH_TOLERANCE) - first_epoch) * steps_per_epoch
    update = max(first_update + math.ceil(elapsed), first_update)
    return min(update, phases[index + 1][0]) if index + 1 < len(phases) else update
