"""Curves of one shape: steps, and polynomial, cosine and linear decay."""

from collections.abc import Sequence

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.schedules.curve import Curve, Segment


def steps(values: Sequence[float], boundaries: Sequence[float], epochs: float) -> Curve:
    """Returns a piecewise constant curve: the learning rate changes at the given epochs.

    >>> curve = steps([0.1, 0.02, 0.004], boundaries=[60, 120], epochs=200)
    >>> curve(59.9), curve(60), curve(200)
    (0.1, 0.02, 0.004)

    Args:
        values: learning rates, one more than there are boundaries.
        boundaries: epochs where the next value starts, increasing, inside (0, epochs).
        epochs: end of the curve.

    Raises:
        UserError: the numbers of values and boundaries do not match, or the boundaries are not
            increasing.
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
    """Returns polynomial decay: final + (initial − final) (1 − epoch/epochs)^power.

    The LARS paper uses power 2.

    >>> polynomial(29.0, 0.0, power=2, epochs=90)(45)
    7.25

    Args:
        initial: learning rate at epoch 0.
        final: learning rate at `epochs`.
        power: exponent, above 0.
        epochs: end of the curve.

    Reference: You, Gitman, Ginsburg, arXiv:1708.03888, section 6.
    """
    epochs = checks.positive("epochs", epochs)
    return Curve((Segment(0, epochs, initial, final, "polynomial", power),))


def cosine(initial: float, final: float, epochs: float) -> Curve:
    """Returns cosine decay (half a wave): final + (initial − final) (1 + cos(π epoch/epochs)) / 2.

    >>> round(cosine(1.0, 0.0, epochs=90)(45), 12)
    0.5

    Args:
        initial: learning rate at epoch 0.
        final: learning rate at `epochs`.
        epochs: end of the curve.

    Reference: Loshchilov, Hutter, arXiv:1608.03983, section 3.
    """
    epochs = checks.positive("epochs", epochs)
    return Curve((Segment(0, epochs, initial, final, "cosine"),))


def linear_to_zero(initial: float, epochs: float) -> Curve:
    """Returns linear decay to zero: initial (1 − epoch/epochs).

    >>> linear_to_zero(2.0, epochs=10)(5)
    1.0

    Args:
        initial: learning rate at epoch 0.
        epochs: end of the curve.
    """
    epochs = checks.positive("epochs", epochs)
    return Curve((Segment(0, epochs, initial, 0.0, "linear"),))
