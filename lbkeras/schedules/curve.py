"""Piecewise learning-rate curves over epochs: pure arithmetic on plain data.

A curve is a function of epochs, not updates, so it does not change with the batch size. For the
optimizer it is converted to an `EpochLearningRateSchedule`, which counts updates.
"""

import dataclasses
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from lbkeras import checks
from lbkeras.errors import UserError

SHAPES = ("constant", "linear", "polynomial", "cosine", "exponential")

# first_epoch + update / steps_per_epoch may fall short of a boundary by a rounding error. An epoch
# this close counts as at the boundary. One update is longer, up to 10^9 updates per epoch.
EPOCH_TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class Segment:
    """Part of a `Curve`: a learning rate that goes from `initial` to `final` in one shape.

    With t = (epoch − origin) / (stop − origin), the value is

        constant     initial
        linear       initial (1 − t) + final t
        polynomial   final + (initial − final) (1 − t)^power
        cosine       final + (initial − final) (1 + cos πt) / 2
        exponential  initial^(1 − t) final^t

    >>> Segment(0, 90, 3.2, 0.0, "polynomial", power=2).value(45)
    0.8

    Args:
        start: epoch at which the segment begins, a float of at least 0.
        stop: epoch at which it ends, above `start`.
        initial: learning rate at `origin`, at least 0 (exponential: above 0).
        final: learning rate at `stop`, at least 0 (exponential: above 0; constant: `initial`).
        shape: `"constant"`, `"linear"`, `"polynomial"`, `"cosine"` or `"exponential"`.
        power: exponent of the polynomial, above 0.
        origin: epoch where the shape begins; None: `start`. It is before `start` if the first part
            of the shape was cut off, as by `warm_up`.

    Raises:
        UserError: an argument is out of range.
    """

    start: float
    stop: float
    initial: float
    final: float
    shape: str = "constant"
    power: float = 1.0
    origin: float | None = None

    def __post_init__(self):
        def put(name, value):
            object.__setattr__(self, name, value)

        put("start", checks.not_negative("start", self.start))
        put("stop", checks.not_negative("stop", self.stop))
        if not self.start < self.stop:
            raise UserError(f"stop: expected an epoch after start={self.start:g}, "
                            f"received {self.stop:g}")  # fmt: skip
        put("origin", self.start if self.origin is None else self.origin)
        put("origin", checks.not_negative("origin", self.origin))
        if self.origin > self.start:
            raise UserError(f"origin: expected an epoch not after start={self.start:g}, "
                            f"received {self.origin:g}")  # fmt: skip
        checks.choice("shape", self.shape, SHAPES)
        check = checks.positive if self.shape == "exponential" else checks.not_negative
        put("initial", check("initial", self.initial))
        put("final", check("final", self.final))
        put("power", checks.positive("power", self.power))
        if self.shape == "constant" and self.initial != self.final:
            raise UserError(f"final: expected initial={self.initial:g} for the constant shape, "
                            f"received {self.final:g}")  # fmt: skip

    def value(self, epoch: float) -> float:
        """Returns the learning rate at `epoch`, or at the nearer end if outside the segment."""
        if self.shape == "constant":
            return self.initial
        length = self.stop - self.origin
        epoch = min(max(epoch, self.start), self.stop)
        done, rest = (epoch - self.origin) / length, (self.stop - epoch) / length
        # Weighting both ends, rather than adding a difference, is exact at the ends and near 0.
        if self.shape == "linear":
            return self.initial * rest + self.final * done
        if self.shape == "polynomial":
            weight = rest**self.power
            return self.initial * weight + self.final * (1 - weight)
        if self.shape == "cosine":
            return (
                self.initial * math.sin(math.pi / 2 * rest) ** 2
                + self.final * math.sin(math.pi / 2 * done) ** 2
            )
        return self.initial**rest * self.final**done

    def to_dict(self) -> dict:
        """Returns the segment as plain data; `power` and `origin` only where they matter."""
        data = {"start": self.start, "stop": self.stop, "initial": self.initial,
                "final": self.final, "shape": self.shape}  # fmt: skip
        if self.shape == "polynomial":
            data["power"] = self.power
        if self.origin != self.start:
            data["origin"] = self.origin
        return data


@dataclasses.dataclass(frozen=True)
class Curve:
    """A learning rate over the epochs from 0 to `end`, made of consecutive segments.

    At a boundary the later segment applies. After `end` the last segment's final value is kept.

    >>> curve = Curve([Segment(0, 5, 0.1, 3.2, "linear"), Segment(5, 30, 3.2, 3.2)])
    >>> round(curve(2.5), 9), curve(5), curve(100)
    (1.65, 3.2, 3.2)

    Args:
        segments: `Segment` objects. The first starts at epoch 0, each other where the one before
            it stops.

    Raises:
        UserError: there are no segments, or they leave a gap or overlap.
    """

    segments: tuple[Segment, ...]

    def __post_init__(self):
        segments = checks.sequence("segments", self.segments)
        if not segments:
            raise UserError("segments: expected at least one Segment, received none")
        epoch = 0.0
        for index, segment in enumerate(segments):
            if not isinstance(segment, Segment):
                raise UserError(f"segments[{index}]: expected a Segment, received {segment!r}")
            if segment.start != epoch:
                raise UserError(f"segments[{index}].start: expected {epoch:g}, where the one "
                                f"before it stops, received {segment.start:g}")  # fmt: skip
            epoch = segment.stop
        object.__setattr__(self, "segments", segments)

    @property
    def end(self) -> float:
        """The epoch where the last segment stops."""
        return self.segments[-1].stop

    def __call__(self, epoch: float) -> float:
        """Returns the learning rate at `epoch`, a float of at least 0."""
        epoch = checks.not_negative("epoch", epoch)
        after = bisect_right(self.segments, epoch + EPOCH_TOLERANCE, key=lambda s: s.start)
        return self.segments[after - 1].value(epoch)

    def scaled(self, factor: float) -> "Curve":
        """Returns the curve with all learning rates multiplied by `factor`, above 0."""
        factor = checks.positive("factor", factor)
        return Curve(
            tuple(
                dataclasses.replace(s, initial=factor * s.initial, final=factor * s.final)
                for s in self.segments
            )
        )

    def to_list(self) -> list[dict]:
        """Returns the segments as plain JSON data."""
        return [segment.to_dict() for segment in self.segments]

    @classmethod
    def from_list(cls, data: Sequence[Mapping[str, Any]]) -> "Curve":
        """Creates a curve from what `to_list` returned."""
        segments = []
        for index, item in enumerate(checks.sequence("segments", data)):
            try:
                segments.append(Segment(**item))
            except TypeError:
                names = ", ".join(field.name for field in dataclasses.fields(Segment))
                raise UserError(
                    f"segments[{index}]: expected a dict of {names}, received {item!r}"
                ) from None
        return cls(tuple(segments))
