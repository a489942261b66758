"""Plans: the batch size, learning rate and momentum of every epoch, known before training."""

import dataclasses
import functools
import itertools
from bisect import bisect_right
from typing import TYPE_CHECKING

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.planning.noise_scale import noise_scale
from lbkeras.schedules.curve import EPOCH_TOLERANCE, Curve, Segment

if TYPE_CHECKING:
    from lbkeras.schedules.epoch_learning_rate import EpochLearningRateSchedule


@dataclasses.dataclass(frozen=True)
class Phase:
    """Consecutive epochs with one batch size and one momentum; `Plan` checks the values.

    Args:
        first_epoch: epoch at which the phase starts, counted from 0.
        epochs: length in epochs.
        batch_size: global batch size, examples per update.
        learning_rate: at the phase's first update; without a curve in the plan, in all of it.
        momentum: in [0, 1); 0 for an optimizer without a momentum coefficient, such as Adam.
    """

    first_epoch: int
    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float


@dataclasses.dataclass(frozen=True)
class Plan:
    """Batch size, learning rate and momentum of each epoch of a training, with counts of updates.

    Immutable, plain arithmetic. An incomplete last batch of an epoch is dropped and not counted.
    Methods that take an `epoch` expect a number of at least 0; beyond the end they return the last
    phase's value.

    >>> plan = Plan([Phase(0, 60, 128, 0.1, 0.9), Phase(60, 140, 640, 0.1, 0.9)], 50_000)
    >>> plan.epochs, plan.updates(), plan.batch_size(60), plan.first_update(61)
    (200, 34320, 640, 23478)

    Args:
        phases: `Phase` objects, contiguous from epoch 0.
        num_examples: examples per epoch.
        curve: `Curve` of the learning rate, as long as the phases. It overrides the phases'
            learning rates, which become its values at their first updates. None: each phase's
            learning rate is constant (an equivalent curve is stored as None).

    Raises:
        UserError: the phases are not contiguous, or a value is out of its range.
    """

    phases: tuple[Phase, ...]
    num_examples: int
    curve: Curve | None = None

    def __post_init__(self):
        num_examples = checks.integer("num_examples", self.num_examples, minimum=1)
        phases = checks.sequence("phases", self.phases)
        if not phases:
            raise UserError("phases: expected at least one Phase, received none")
        curve = self.curve
        if curve is not None and not isinstance(curve, Curve):
            raise UserError(f"curve: expected a Curve or None, received {curve!r}")
        checked, epoch = [], 0
        for index, phase in enumerate(phases):
            if not isinstance(phase, Phase):
                raise UserError(f"phases[{index}]: expected a Phase, received {phase!r}")
            checked.append(_checked_phase(phase, f"phases[{index}]", epoch, num_examples, curve))
            epoch += checked[-1].epochs
        if curve is not None and curve.end != epoch:
            raise UserError(f"curve: expected a Curve that ends at epoch {epoch}, as the phases "
                            f"do, received one that ends at {curve.end:g}")  # fmt: skip
        if curve is not None and _constant_in(checked, curve):
            curve = None
        object.__setattr__(self, "num_examples", num_examples)
        object.__setattr__(self, "phases", tuple(checked))
        object.__setattr__(self, "curve", curve)

    @property
    def epochs(self) -> int:
        """Length of the training in epochs."""
        return self.phases[-1].first_epoch + self.phases[-1].epochs

    def batch_size(self, epoch: int) -> int:
        """Returns the global batch size at `epoch`."""
        return self._phase(epoch).batch_size

    def momentum(self, epoch: int) -> float:
        """Returns the momentum at `epoch`."""
        return self._phase(epoch).momentum

    def learning_rate(self, epoch: float) -> float:
        """Returns the learning rate at `epoch`, which may be fractional."""
        return self.learning_rate_curve(epoch)

    def noise_scale(self, epoch: float) -> float:
        """Returns learning_rate · num_examples / (batch_size · (1 − momentum)) at `epoch`."""
        phase = self._phase(epoch)
        return noise_scale(
            self.learning_rate(epoch), phase.momentum, phase.batch_size, self.num_examples
        )

    def steps_per_epoch(self, epoch: int) -> int:
        """Returns the updates in `epoch`."""
        return self.num_examples // self.batch_size(epoch)

    def first_update(self, epoch: int) -> int:
        """Returns the updates made before `epoch`, which must be a whole number."""
        epoch = min(checks.integer("epoch", epoch, minimum=0), self.epochs)
        after = bisect_right(self.phases, epoch, key=lambda phase: phase.first_epoch)
        phase = self.phases[after - 1]
        steps = (epoch - phase.first_epoch) * (self.num_examples // phase.batch_size)
        return self._first_updates[after - 1] + steps

    def updates(self) -> int:
        """Returns the updates of the whole training."""
        return sum(phase.epochs * (self.num_examples // phase.batch_size) for phase in self.phases)

    def examples(self) -> int:
        """Returns the examples that the whole training consumes."""
        return sum(
            phase.epochs * (self.num_examples // phase.batch_size) * phase.batch_size
            for phase in self.phases
        )

    def learning_rate_schedule(self) -> "EpochLearningRateSchedule":
        """Returns the learning rate as a Keras schedule, evaluated in the graph per update.

        Loads Keras. The schedule is an `lbkeras.schedules.EpochLearningRateSchedule`.
        """
        from lbkeras.schedules.epoch_learning_rate import EpochLearningRateSchedule

        phases = [
            (
                self.first_update(phase.first_epoch),
                phase.first_epoch,
                self.num_examples // phase.batch_size,
            )
            for phase in self.phases
        ]
        return EpochLearningRateSchedule(self.learning_rate_curve, phases)

    def to_dict(self) -> dict:
        """Returns the plan as JSON data: counts, a dict for each phase and what `from_dict` needs.

        The key `curve` exists only if the learning rate changes within a phase.
        """
        data = {
            "updates": self.updates(),
            "examples": self.examples(),
            "num_examples": self.num_examples,
            "phases": [
                {
                    **dataclasses.asdict(phase),
                    "steps_per_epoch": self.steps_per_epoch(phase.first_epoch),
                    "noise_scale": self.noise_scale(phase.first_epoch),
                }
                for phase in self.phases
            ],
        }
        if self.curve is not None:
            data["curve"] = self.curve.to_list()
        return data

    @classmethod
    def from_dict(cls, data: dict) -> "Plan":
        """Returns the plan that `to_dict` described, with counts computed again.

        Raises:
            UserError: a key is missing, or a value is out of its range.
        """
        names = [field.name for field in dataclasses.fields(Phase)]
        phases = [
            Phase(**{name: _item(item, name, f"phases[{index}]") for name in names})
            for index, item in enumerate(checks.sequence("phases", _item(data, "phases", "plan")))
        ]
        curve = data.get("curve")
        return cls(
            phases=tuple(phases),
            num_examples=_item(data, "num_examples", "plan"),
            curve=None if curve is None else Curve.from_list(curve),
        )

    def learning_rates(self, phase: Phase) -> tuple[float, ...]:
        """Returns the learning rate at both ends and at each corner of a phase.

        There are at least two values. Between two of them the learning rate only rises, only falls
        or is constant. The last one is the value as the phase ends, before any jump there.

        >>> from lbkeras.schedules import Curve, Segment
        >>> warm_up = Curve([Segment(0, 2, 0.1, 0.8, "linear"), Segment(2, 6, 0.8, 0.0, "cosine")])
        >>> plan = Plan([Phase(0, 6, 32, 0.1, 0.9)], 1024, warm_up)
        >>> plan.learning_rates(plan.phases[0])
        (0.1, 0.8, 0.8, 0.0)
        """
        begin, end = phase.first_epoch, phase.first_epoch + phase.epochs
        values, segments = [], self.learning_rate_curve.segments
        first = bisect_right(segments, begin + EPOCH_TOLERANCE, key=lambda segment: segment.stop)
        for segment in itertools.islice(segments, first, None):
            if segment.start >= end - EPOCH_TOLERANCE:
                break
            values += [segment.value(begin), segment.value(end)]
        return tuple(values)

    @functools.cached_property
    def _first_updates(self) -> tuple[int, ...]:
        """Returns the number of updates before each phase."""
        each = [phase.epochs * (self.num_examples // phase.batch_size) for phase in self.phases]
        return tuple(itertools.accumulate(each[:-1], initial=0))

    def _phase(self, epoch: float) -> Phase:
        epoch = checks.not_negative("epoch", epoch)
        after = bisect_right(self.phases, epoch + EPOCH_TOLERANCE, key=lambda p: p.first_epoch)
        return self.phases[after - 1]

    @functools.cached_property
    def learning_rate_curve(self) -> Curve:
        """The learning rate over the epochs: `curve`, or else the phases' constant values."""
        if self.curve is not None:
            return self.curve
        return Curve(
            tuple(
                Segment(
                    phase.first_epoch,
                    phase.first_epoch + phase.epochs,
                    phase.learning_rate,
                    phase.learning_rate,
                )
                for phase in self.phases
            )
        )


def check_without_momentum(plan: Plan, optimizer: str) -> None:
    """Checks that a plan's momentum is 0, for an optimizer that has no momentum coefficient.

    Otherwise the plan's noise scale would include a momentum that the history's does not.

    Args:
        plan: a `Plan`.
        optimizer: its class name, for the message.

    Raises:
        UserError: a phase has another momentum.
    """
    for phase in plan.phases:
        if phase.momentum:
            raise UserError(
                f"momentum: expected 0, as {optimizer} has no momentum coefficient, received "
                f"{phase.momentum:g}"
            )


def _checked_phase(phase: Phase, name: str, epoch: int, num_examples: int, curve) -> Phase:
    first_epoch = checks.integer(f"{name}.first_epoch", phase.first_epoch)
    if first_epoch != epoch:
        why = ", where the phase before it ends" if epoch else ""
        raise UserError(f"{name}.first_epoch: expected {epoch}{why}, received {first_epoch}")
    epochs = checks.integer(f"{name}.epochs", phase.epochs, minimum=1)
    batch_size = checks.batch_size(f"{name}.batch_size", phase.batch_size, num_examples)
    momentum = checks.momentum(f"{name}.momentum", phase.momentum)
    if curve is None:
        learning_rate = checks.positive(f"{name}.learning_rate", phase.learning_rate)
    else:
        learning_rate = curve(first_epoch)
    return Phase(first_epoch, epochs, batch_size, learning_rate, momentum)


def _constant_in(phases: list[Phase], curve: Curve) -> bool:
    """Whether the curve only repeats the phases' own (positive) learning rates."""
    starts = {phase.first_epoch for phase in phases}
    return all(
        segment.shape == "constant" and segment.start in starts and segment.initial > 0
        for segment in curve.segments
    )


def _item(data, name: str, where: str):
    try:
        return data[name]
    except (KeyError, TypeError):
        found = ", ".join(data) if isinstance(data, dict) else repr(data)
        raise UserError(f"{where}: expected the key {name!r}, received {found}") from None
