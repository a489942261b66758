"""The share of SGD's rule while training goes over from RMSprop's to it."""

import math

from lbkeras import checks


def rmsprop_to_sgd_fraction(
    epoch: float, center_epochs: float = 10.0, period_epochs: float = 5.0
) -> float:
    """Akiba's transition from RMSprop to SGD: SGD's share of the update, from near 0 to 1.

        epoch < center                   ½ exp(2 (epoch − center) / period)
        epoch < center + period / 2      ½ + (epoch − center) / period
        afterwards                       1

    An exponential that goes on along its tangent, half way at `center_epochs`.

    >>> [round(rmsprop_to_sgd_fraction(epoch), 4) for epoch in (0, 7.5, 10, 11, 12.5, 90)]
    [0.0092, 0.1839, 0.5, 0.7, 1.0, 1.0]

    Args:
        epoch: epochs trained, at least 0, may be fractional.
        center_epochs: where the share is a half, at least 0.
        period_epochs: twice the epochs from there to SGD alone, above 0.

    Raises:
        UserError: an argument is out of its range.

    Differs from the paper: as we have it, in a secondary text, the straight part's slope is
    2 / period and the share jumps from 1.5 down to 1; this is the continuous form.

    Reference: Akiba, Suzuki, Fukuda, arXiv 1711.04325, section 3.
    """
    epoch = checks.not_negative("epoch", epoch)
    center = checks.not_negative("center_epochs", center_epochs)
    period = checks.positive("period_epochs", period_epochs)
    if epoch < center:
        return 0.5 * math.exp(2 * (epoch - center) / period)
    return min(0.5 + (epoch - center) / period, 1.0)
