"""Hoffer's regime adaptation: a large batch trained for as many updates as a small batch."""

from collections.abc import Sequence

from lbkeras import checks
from lbkeras.planning.noise_scale_plan import checked_boundaries
from lbkeras.planning.plan import Plan
from lbkeras.planning.recipes import steps_plan
from lbkeras.schedules.scaling import scaling_rule


def regime_adaptation_plan(
    *,
    epochs: int,
    boundaries: Sequence[int],
    learning_rates: Sequence[float],
    base_batch_size: int,
    batch_size: int,
    momentum: float,
    num_examples: int,
    scaling: str = "square_root",
    adapt_regime: bool = True,
) -> Plan:
    """Adapts a small batch's regime, its constant learning rates and boundaries, to a large batch.

    Learning rates are multiplied by √(batch_size / base_batch_size), epochs and boundaries by
    ⌈batch_size / base_batch_size⌉. So the large batch makes as many updates as the small one, up
    to the rounding and the dropped remainder of each epoch.

    >>> plan = regime_adaptation_plan(
    ...     epochs=50, boundaries=(10, 20, 30), learning_rates=(0.1, 0.01, 0.001, 0.0001),
    ...     base_batch_size=128, batch_size=2048, momentum=0.9, num_examples=60_000)
    >>> [(phase.epochs, phase.learning_rate) for phase in plan.phases[:2]], plan.updates()
    ([(160, 0.4), (160, 0.04)], 23200)

    Args:
        epochs: length of the small batch's training.
        boundaries: epochs of the small batch's training where its next learning rate starts,
            increasing, inside (0, epochs).
        learning_rates: the small batch's, one more than boundaries.
        base_batch_size: the small batch size, examples per update.
        batch_size: global batch size of this plan; `base_batch_size` gives the small batch's plan.
        momentum: of SGD, in [0, 1).
        num_examples: examples per epoch.
        scaling: how the learning rates grow with the batch size: `"square_root"` (the paper's),
            `"linear"` or `"none"`.
        adapt_regime: False leaves epochs and boundaries as they are.

    Raises:
        UserError: an argument is out of range.

    Differs from the paper: no known difference. The epochs are rounded up as in the authors' code,
    so the updates are equal only if `base_batch_size` divides `batch_size`.

    Reference: Hoffer, Hubara, Soudry, arXiv:1705.08741, sections 4 and 5.
    """
    epochs = checks.integer("epochs", epochs, minimum=1)
    boundaries = checked_boundaries(boundaries, epochs)
    batch_size = checks.integer("batch_size", batch_size, minimum=1)
    base_batch_size = checks.integer("base_batch_size", base_batch_size, minimum=1)
    rule = scaling_rule(scaling)
    checks.flag("adapt_regime", adapt_regime)
    rates = [
        rule(checks.positive(f"learning_rates[{index}]", rate), batch_size, base_batch_size)
        for index, rate in enumerate(checks.sequence("learning_rates", learning_rates))
    ]
    longer = -(-batch_size // base_batch_size) if adapt_regime else 1
    return steps_plan(
        epochs=longer * epochs,
        boundaries=[longer * boundary for boundary in boundaries],
        learning_rates=rates,
        batch_size=batch_size,
        momentum=momentum,
        num_examples=num_examples,
    )
