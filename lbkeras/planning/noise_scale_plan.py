"""Smith's schedules lower the noise scale by decaying the learning rate or growing the batch."""

import itertools
import math
import operator
from collections.abc import Sequence
from fractions import Fraction

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.planning.plan import Phase, Plan
from lbkeras.schedules.warm_up import warm_up

STRATEGIES = ("decay_learning_rate", "increase_batch", "hybrid")


def noise_scale_plan(
    *,
    strategy: str,
    epochs: int,
    boundaries: Sequence[int],
    factor: float | Sequence[float],
    learning_rate: float,
    momentum: float,
    batch_size: int,
    num_examples: int,
    max_batch_size: int | None = None,
    increased_learning_rate: float | None = None,
    increased_momentum: float | None = None,
    warmup_epochs: float = 0.0,
    warmup_initial: float = 0.0,
) -> Plan:
    """Returns a plan whose noise scale is divided by `factor` at each boundary.

    The noise scale is learning_rate · num_examples / (batch_size · (1 − momentum)). The strategy
    says what changes at a boundary:

        decay_learning_rate  learning_rate ← learning_rate / factor
        increase_batch       batch_size ← min(batch_size · factor, max_batch_size), and the
                             learning rate falls by the rest of the factor
        hybrid               increase_batch at the first boundary, decay_learning_rate after it

    The batch size is rounded to whole examples. The learning rate compensates for the rounding, so
    the noise scale is divided by exactly `factor`. Phases with the same batch size are not merged.

    >>> plan = noise_scale_plan(
    ...     strategy="increase_batch", epochs=200, boundaries=(60, 120, 160), factor=5,
    ...     learning_rate=0.1, momentum=0.9, batch_size=128, max_batch_size=5120,
    ...     num_examples=50_000)
    >>> [(phase.batch_size, phase.learning_rate) for phase in plan.phases], plan.updates()
    ([(128, 0.1), (640, 0.1), (3200, 0.1), (5120, 0.032)], 29040)

    Args:
        strategy: `"decay_learning_rate"`, `"increase_batch"` or `"hybrid"`.
        epochs: length of the training.
        boundaries: epochs where the noise scale falls, increasing, inside (0, epochs).
        factor: what the noise scale is divided by, above 1: one number, or one per boundary.
        learning_rate: of SGD at the start.
        momentum: of SGD, in [0, 1), the same in all epochs.
        batch_size: global batch size at the start, examples per update.
        num_examples: examples per epoch.
        max_batch_size: largest batch size to grow to, from the start batch size to `num_examples`.
            None: a tenth of `num_examples`; with `"decay_learning_rate"`, no limit.
        increased_learning_rate: start from this instead of `learning_rate`, which it must not be
            below, with the batch size raised in proportion, so that the noise scale remains that of
            the arguments above, up to the rounding of the batch size. None: no increase.
        increased_momentum: start from this instead of `momentum`, which it must not be below, with
            the batch size raised in proportion to 1 / (1 − momentum). Costs accuracy: see
            `accumulator_epochs`. None: no increase.
        warmup_epochs: length of a linear warm-up to the learning rate that these epochs would have
            without it; may be fractional; must end before the first boundary.
        warmup_initial: learning rate at epoch 0 with a warm-up.

    Raises:
        UserError: an argument is out of range, or the start batch exceeds `max_batch_size`.

    Differs from the paper: no known difference. The paper does not say that the learning rate falls
    by the rest of the factor where the batch size reaches its maximum; this is inferred from its
    update counts.

    Reference: Smith, Kindermans, Ying, Le, arXiv:1711.00489, sections 3 and 5.
    """
    checks.choice("strategy", strategy, STRATEGIES)
    epochs = checks.integer("epochs", epochs, minimum=1)
    boundaries = checked_boundaries(boundaries, epochs)
    factors = _checked_factors(factor, len(boundaries))
    num_examples = checks.integer("num_examples", num_examples, minimum=1)
    batch_size = checks.batch_size("batch_size", batch_size, num_examples)
    learning_rate = checks.positive("learning_rate", learning_rate)
    momentum = checks.momentum("momentum", momentum)

    raised = Fraction(batch_size)
    if increased_learning_rate is not None:
        increased = checks.positive("increased_learning_rate", increased_learning_rate)
        _check_increased("learning_rate", learning_rate, increased)
        raised *= _exact(increased) / _exact(learning_rate)
        learning_rate = increased
    if increased_momentum is not None:
        increased = checks.momentum("increased_momentum", increased_momentum)
        _check_increased("momentum", momentum, increased)
        raised *= (1 - _exact(momentum)) / (1 - _exact(increased))
        momentum = increased
    batch_size = _nearest(raised)
    largest = _largest_batch_size(strategy, max_batch_size, batch_size, num_examples)

    # Products of all factors before each phase: numerators, then denominators. They are not
    # reduced, since the time to find common divisors grows with the number of factors.
    fallen = [
        list(itertools.accumulate(parts, operator.mul, initial=1))
        for parts in ([f.numerator for f in factors], [f.denominator for f in factors])
    ]
    start_rate = _exact(learning_rate) / batch_size
    phases = []
    edges = [0, *boundaries, epochs]
    for index, first_epoch in enumerate(edges[:-1]):
        grown = {"decay_learning_rate": 0, "increase_batch": index, "hybrid": min(index, 1)}
        grown_by, of = (products[grown[strategy]] for products in fallen)
        size = min((2 * batch_size * grown_by + of) // (2 * of), largest)  # the nearest
        # The noise scale has fallen by all factors so far. The batch size takes its share of them
        # and the learning rate takes the rest.
        numerator, denominator = (products[index] for products in fallen)
        rate = (start_rate.numerator * size * denominator) / (start_rate.denominator * numerator)
        length = edges[index + 1] - first_epoch
        phases.append(Phase(first_epoch, length, size, rate, momentum))
    plan = Plan(tuple(phases), num_examples)
    end = edges[1]
    warmup_epochs = checks.number(
        "warmup_epochs",
        warmup_epochs,
        expected=f"a number of at least 0 and below {end}, where the first phase ends",
        valid=lambda number: 0 <= number < end,
    )
    if not warmup_epochs:
        return plan
    initial = checks.not_negative("warmup_initial", warmup_initial)
    curve = warm_up(plan.learning_rate_curve, warmup_epochs, initial)
    return Plan(plan.phases, num_examples, curve)


def checked_boundaries(boundaries: Sequence[int], epochs: int) -> tuple[int, ...]:
    """Returns the boundaries, checked to be whole epochs in increasing order inside (0, epochs)."""
    checked = tuple(
        checks.integer(f"boundaries[{index}]", boundary)
        for index, boundary in enumerate(checks.sequence("boundaries", boundaries))
    )
    edges = (0, *checked, epochs)
    if any(edge >= following for edge, following in zip(edges, edges[1:], strict=False)):
        raise UserError(f"boundaries: expected epochs in increasing order inside (0, {epochs}), "
                        f"received {checked!r}")  # fmt: skip
    return checked


def _checked_factors(factor, count: int) -> tuple[Fraction, ...]:
    def check(name, value):
        return _exact(
            checks.number(name, value, expected="a finite number above 1", valid=lambda x: x > 1)
        )

    if not hasattr(factor, "__len__") or isinstance(factor, str):
        return (check("factor", factor),) * count
    factors = checks.sequence("factor", factor)
    if len(factors) != count:
        raise UserError(f"factor: expected one number, or {count}, one per boundary, "
                        f"received {len(factors)}")  # fmt: skip
    return tuple(check(f"factor[{index}]", value) for index, value in enumerate(factors))


def _check_increased(name: str, base: float, increased: float):
    if increased < base:
        raise UserError(f"increased_{name}: expected at least {name}={base:g}, "
                        f"received {increased:g}")  # fmt: skip


def _largest_batch_size(strategy, max_batch_size, start: int, num_examples: int) -> int:
    if start > num_examples:
        raise UserError(f"batch_size: expected at most num_examples={num_examples} after raising "
                        f"it for the increased values, received {start}")  # fmt: skip
    if max_batch_size is None:
        if strategy == "decay_learning_rate":
            return num_examples
        largest, received = num_examples // 10, "the default num_examples//10="
    else:
        largest, received = checks.integer("max_batch_size", max_batch_size, minimum=1), ""
    if largest > num_examples:
        raise UserError(f"max_batch_size: expected at most num_examples={num_examples}, "
                        f"received {largest}")  # fmt: skip
    if largest < start:
        raise UserError(f"max_batch_size: expected at least the start batch size {start}, "
                        f"received {received}{largest}")  # fmt: skip
    return largest


def _exact(number: float) -> Fraction:
    """Returns the decimal as typed, so that 1 − 0.98 is 1/50 and 0.1 · 640 / (128 · 5) is 0.1."""
    return Fraction(repr(float(number)))


def _nearest(number: Fraction) -> int:
    return math.floor(number + Fraction(1, 2))
