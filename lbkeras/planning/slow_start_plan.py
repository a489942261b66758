"""Akiba's slow-start schedule."""

from fractions import Fraction

from lbkeras import checks
from lbkeras.planning.plan import Plan
from lbkeras.planning.recipes import recipe_plan
from lbkeras.schedules.scaling import linear_scaling

_FACTORS = (0.5, 0.075, 0.01, 0.001)
_BOUNDARIES = (Fraction(40, 90), Fraction(70, 90), Fraction(85, 90))


def slow_start_plan(
    *,
    epochs: int,
    batch_size: int,
    momentum: float,
    num_examples: int,
    base_learning_rate: float = 0.1,
    base_batch_size: int = 256,
) -> Plan:
    """Akiba's slow start: a long phase at half the linearly scaled learning rate, then three steps.

    With η = base_learning_rate · batch_size / base_batch_size, the learning rate is 0.5 η for 40
    epochs, 0.075 η for 30, 0.01 η for 15 and 0.001 η for 5. With a number of epochs other than 90,
    these lengths are scaled in proportion, and the boundaries may be fractional.

    >>> plan = slow_start_plan(
    ...     epochs=90, batch_size=32_768, momentum=0.9, num_examples=1_281_167)
    >>> [(phase.epochs, round(phase.learning_rate, 6)) for phase in plan.phases]
    [(40, 6.4), (30, 0.96), (15, 0.128), (5, 0.0128)]

    Args:
        epochs: length of the training; the paper's is 90.
        batch_size: global batch size, examples per update.
        momentum: of SGD, in [0, 1).
        num_examples: examples per epoch.
        base_learning_rate: learning rate that works well at `base_batch_size`.
        base_batch_size: batch size that `base_learning_rate` belongs to.

    Raises:
        UserError: an argument is out of range.

    Differs from the paper: this is the schedule alone. The paper combines it with a start under
    RMSprop's rule; for that see `lbkeras.optimizers.RMSpropWarmup`.

    Reference: Akiba, Suzuki, Fukuda, arXiv:1711.04325, section 3.
    """
    epochs = checks.integer("epochs", epochs, minimum=1)
    checks.positive("base_learning_rate", base_learning_rate)
    peak = linear_scaling(base_learning_rate, batch_size, base_batch_size)
    values = [factor * peak for factor in _FACTORS]
    boundaries = [float(epochs * share) for share in _BOUNDARIES]
    return recipe_plan(
        "steps", values, epochs, batch_size, momentum, num_examples, boundaries=boundaries
    )
