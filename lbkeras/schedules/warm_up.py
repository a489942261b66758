"""Warm-up: a ramp at the start of a learning-rate curve."""

import dataclasses
import math

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.schedules.curve import Curve, Segment


def warm_up(curve: Curve, warmup_epochs: float, initial: float, shape: str = "linear") -> Curve:
    """Replaces a curve's first epochs by a ramp up to the curve's value at the end of the ramp.

    >>> from lbkeras.schedules import steps
    >>> curve = warm_up(steps([3.2, 0.32], [30], epochs=90), warmup_epochs=5, initial=0.1)
    >>> curve(0), round(curve(2.5), 9), curve(5), curve(30)
    (0.1, 1.65, 3.2, 0.32)

    Args:
        curve: `Curve` whose first epochs are replaced; the rest stays in place.
        warmup_epochs: length of the ramp in epochs, may be fractional, below the curve's end.
            With 0 the curve is returned unchanged.
        initial: learning rate at epoch 0.
        shape: shape of the ramp, as in `Segment`; `"constant"` keeps `initial` and then jumps.

    Raises:
        UserError: the ramp is not shorter than the curve, or an argument is out of range.

    Reference: Goyal et al., arXiv:1706.02677, section 2.2 (gradual and constant warm-up).
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
    """Puts a ramp before a curve, which is shifted by `warmup_epochs` as a whole.

    A decay thus starts from its full initial value when the ramp ends, whereas `warm_up` cuts off
    the first part of the decay.

    >>> from lbkeras.schedules import linear_to_zero
    >>> curve = prepend_warm_up(linear_to_zero(2.0, epochs=85), warmup_epochs=5, initial=0.0)
    >>> curve(2.5), curve(5), curve(90)
    (1.0, 2.0, 0.0)

    Args:
        curve: `Curve` that follows the ramp.
        warmup_epochs: length of the ramp in epochs, may be fractional. With 0 the curve is
            returned unchanged.
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
