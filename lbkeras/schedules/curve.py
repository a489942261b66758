"""Learning-rate curves over epochs: pure arithmetic, piecewise, and plain data.

A curve is counted in epochs, not updates, so it does not change when the batch size does. On the
way into the optimizer it becomes an `EpochLearningRateSchedule`, which counts updates.
"""

import dataclasses
import math
from bisect import bisect_right

from lbkeras import checks
from lbkeras.errors import UserError

SHAPES = ("constant", "linear", "polynomial", "cosine", "exponential")

# An epoch computed as first_epoch + update/steps_per_epoch may fall short of a boundary by a
# rounding error: that near (one update is longer, up to 10^9 an epoch), it is at the boundary.
EPOCH_TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class Segment:
    """A learning rate that goes from `initial` to `final` in one shape.

    With t = (epoch − origin) / (stop − origin), the value is

        constant     initial
        linear       initial (1 − t) + final t
        polynomial   final + (initial − final) (1 − t)^power
        cosine       final + (initial − final) (1 + cos πt) / 2
        exponential  initial^(1 − t) final^t

    >>> Segment(0, 90, 3.2, 0.0, "polynomial", power=2).value(45)
    0.8

    Args:
        start: first epoch, a float of at least 0.
        stop: last epoch, above `start`.
        initial: learning rate at `origin`, at least 0 (exponential: above 0).
        final: learning rate at `stop`, at least 0 (exponential: above 0; constant: `initial`).
        shape: `"constant"`, `"linear"`, `"polynomial"`, `"cosine"` or `"exponential"`.
        power: exponent of the polynomial, above 0.
        origin: epoch where the shape begins, `start` unless its first part was cut off, as
            `warm_up` does.

    Raises:
        UserError: an argument is out of its range.
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
        """Learning rate at `epoch`; outside the segment, that at its nearer end."""
        if self.shape == "constant":
            return self.initial
        length = self.stop - self.origin
        epoch = min(max(epoch, self.start), self.stop)
        done, rest = (epoch - self.origin) / length, (self.stop - epoch) / length
        # Weights instead of differences: exact at both ends, and near a learning rate of 0.
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
        """Plain data, without what is at its default."""
        data = {"start": self.start, "stop": self.stop, "initial": self.initial,
                "final": self.final, "shape": self.shape}  # fmt: skip
        if self.shape == "polynomial":
            data["power"] = self.power
        if self.origin != self.start:
            data["origin"] = self.origin
        return data


@dataclasses.dataclass(frozen=True)
class Curve:
    """A learning rate over the epochs from 0 to `end`: segments one after the other.

    At a boundary the later segment counts; beyond the end the last segment's final value.

    >>> curve = Curve([Segment(0, 5, 0.1, 3.2, "linear"), Segment(5, 30, 3.2, 3.2)])
    >>> round(curve(2.5), 9), curve(5), curve(100)
    (1.65, 3.2, 3.2)

    Args:
        segments: `Segment` objects, the first from epoch 0, each from where the last one stops.

    Raises:
        UserError: no segments, or they leave a gap or overlap.
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
        """Learning rate at `epoch`, a float of at least 0."""
        epoch = checks.not_negative("epoch", epoch)
        after = bisect_right(self.segments, epoch + EPOCH_TOLERANCE, key=lambda s: s.start)
        return self.segments[after - 1].value(epoch)

    def scaled(self, factor: float) -> "Curve":
        """The curve with all learning rates multiplied by `factor`, above 0."""
        factor = checks.positive("factor", factor)
        return Curve(
            tuple(
                dataclasses.replace(s, initial=factor * s.initial, final=factor * s.final)
                for s in self.segments
            )
        )

    def to_list(self) -> list[dict]:
        """The segments as plain JSON data."""
        return [segment.to_dict() for segment in self.segments]

    @classmethod
    def from_list(cls, data) -> "Curve":
        """The curve that `to_list` described."""
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


def steps(values, boundaries, epochs: float) -> Curve:
    """Constant learning rates with jumps at epochs.

    >>> curve = steps([0.1, 0.02, 0.004], boundaries=[60, 120], epochs=200)
    >>> curve(59.9), curve(60), curve(200)
    (0.1, 0.02, 0.004)

    Args:
        values: learning rates, one more than boundaries.
        boundaries: epochs where the next value starts, increasing, inside (0, epochs).
        epochs: end of the curve.

    Raises:
        UserError: the numbers of values and boundaries do not match, or boundaries are not in
            order.
    """
    values = checks.sequence("values", values)
    boundaries = tuple(
        checks.positive(f"boundaries[{index}]", boundary)
        for index, boundary in enumerate(checks.sequence("boundaries", boundaries))
    )
    epochs = checks.positive("epochs", epochs)
    if len(values) != len(boundaries) + 1:
        raise UserError(f"values: expected {len(boundaries) + 1}, one more than boundaries, "
                        f"received {len(values)}")  # fmt: skip
    edges = [0.0, *boundaries, epochs]
    if any(start >= stop for start, stop in zip(edges, edges[1:], strict=False)):
        raise UserError(f"boundaries: expected epochs in increasing order inside "
                        f"(0, {epochs:g}), received {boundaries!r}")  # fmt: skip
    return Curve(
        tuple(
            Segment(start, stop, value, value)
            for start, stop, value in zip(edges, edges[1:], values, strict=False)
        )
    )


def polynomial(initial: float, final: float, power: float, epochs: float) -> Curve:
    """Polynomial decay, final + (initial − final) (1 − epoch/epochs)^power; power 2 is LARS'.

    >>> polynomial(29.0, 0.0, power=2, epochs=90)(45)
    7.25

    Args:
        initial: learning rate at epoch 0.
        final: learning rate at `epochs`.
        power: exponent, above 0.
        epochs: end of the curve.

    Reference: You, Gitman, Ginsburg, arXiv 1708.03888, section 6.
    """
    epochs = checks.positive("epochs", epochs)
    return Curve((Segment(0, epochs, initial, final, "polynomial", power),))


def cosine(initial: float, final: float, epochs: float) -> Curve:
    """Half a cosine wave, final + (initial − final) (1 + cos(π epoch/epochs)) / 2.

    >>> round(cosine(1.0, 0.0, epochs=90)(45), 12)
    0.5

    Args:
        initial: learning rate at epoch 0.
        final: learning rate at `epochs`.
        epochs: end of the curve.

    Reference: Loshchilov, Hutter, arXiv 1608.03983, section 3.
    """
    epochs = checks.positive("epochs", epochs)
    return Curve((Segment(0, epochs, initial, final, "cosine"),))


def linear_to_zero(initial: float, epochs: float) -> Curve:
    """Linear decay to zero, initial (1 − epoch/epochs).

    >>> linear_to_zero(2.0, epochs=10)(5)
    1.0

    Args:
        initial: learning rate at epoch 0.
        epochs: end of the curve.
    """
    epochs = checks.positive("epochs", epochs)
    return Curve((Segment(0, epochs, initial, 0.0, "linear"),))


def warm_up(curve: Curve, warmup_epochs: float, initial: float, shape: str = "linear") -> Curve:
    """Replace a curve's first epochs by a ramp up to its own value there; the rest stays in place.

    >>> curve = warm_up(steps([3.2, 0.32], [30], epochs=90), warmup_epochs=5, initial=0.1)
    >>> curve(0), round(curve(2.5), 9), curve(5), curve(30)
    (0.1, 1.65, 3.2, 0.32)

    Args:
        curve: the curve to start gently.
        warmup_epochs: length of the ramp in epochs, may be fractional, below the curve's end;
            0 returns the curve unchanged.
        initial: learning rate at epoch 0.
        shape: shape of the ramp, as in `Segment`; `"constant"` holds `initial` and then jumps.

    Raises:
        UserError: the ramp is as long as the curve, or an argument is out of its range.

    Reference: Goyal et al., arXiv 1706.02677, section 2.2 (gradual and constant warm-up).
    """
    _check_curve(curve)
    warmup_epochs = _warmup_epochs(warmup_epochs, curve.end)
    if warmup_epochs == 0:
        return curve
    rest = [
        dataclasses.replace(segment, start=max(segment.start, warmup_epochs))
        for segment in curve.segments
        if segment.stop > warmup_epochs
    ]
    return Curve((_ramp(warmup_epochs, initial, curve(warmup_epochs), shape), *rest))


def prepend_warm_up(
    curve: Curve, warmup_epochs: float, initial: float, shape: str = "linear"
) -> Curve:
    """Put a ramp before a curve, which then starts, whole, `warmup_epochs` later.

    The decay so begins at its full initial value when the ramp ends, where `warm_up` cuts off the
    decay's first part.

    >>> curve = prepend_warm_up(linear_to_zero(2.0, epochs=85), warmup_epochs=5, initial=0.0)
    >>> curve(2.5), curve(5), curve(90)
    (1.0, 2.0, 0.0)

    Args:
        curve: the curve that follows the ramp.
        warmup_epochs: length of the ramp in epochs, may be fractional; 0 returns the curve
            unchanged.
        initial: learning rate at epoch 0.
        shape: shape of the ramp, as in `Segment`.
    """
    _check_curve(curve)
    warmup_epochs = _warmup_epochs(warmup_epochs)
    if warmup_epochs == 0:
        return curve
    shifted = [
        dataclasses.replace(
            segment,
            start=segment.start + warmup_epochs,
            stop=segment.stop + warmup_epochs,
            origin=segment.origin + warmup_epochs,
        )
        for segment in curve.segments
    ]
    return Curve((_ramp(warmup_epochs, initial, curve(0), shape), *shifted))


def _check_curve(curve) -> None:
    if not isinstance(curve, Curve):
        raise UserError(f"curve: expected a Curve, received {curve!r}")


def _warmup_epochs(warmup_epochs: float, end: float = math.inf) -> float:
    below = "" if end == math.inf else f" and below {end:g}, where the curve ends"
    return checks.number(
        "warmup_epochs",
        warmup_epochs,
        expected=f"a number of at least 0{below}",
        valid=lambda epochs: 0 <= epochs < end,
    )


def _ramp(warmup_epochs: float, initial: float, final: float, shape: str) -> Segment:
    return Segment(0, warmup_epochs, initial, initial if shape == "constant" else final, shape)
