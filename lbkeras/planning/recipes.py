"""Plans with a constant batch size: baselines for plans that change the batch size."""

import itertools
from collections.abc import Sequence

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.planning.noise_scale_plan import checked_boundaries
from lbkeras.planning.plan import Phase, Plan
from lbkeras.schedules.curve import Curve, Segment
from lbkeras.schedules.decays import steps
from lbkeras.schedules.scaling import scaling_rule
from lbkeras.schedules.warm_up import warm_up

_WARMUPS = {"gradual": "linear", "constant": "constant"}


def curve_plan(*, curve: Curve, batch_size: int, momentum: float, num_examples: int) -> Plan:
    """Returns a plan with one batch size and any learning-rate curve.

    Each segment of the curve that starts at a whole epoch begins a new phase.

    >>> from lbkeras.schedules import linear_to_zero
    >>> plan = curve_plan(
    ...     curve=linear_to_zero(0.4, epochs=10), batch_size=32, momentum=0.9, num_examples=320)
    >>> plan.learning_rate(5), plan.updates()
    (0.2, 100)

    Args:
        curve: `Curve` that ends at a whole epoch.
        batch_size: global batch size, examples per update.
        momentum: of SGD, in [0, 1).
        num_examples: examples per epoch.

    Raises:
        UserError: an argument is out of range.
    """
    if not isinstance(curve, Curve) or not curve.end.is_integer():
        raise UserError(f"curve: expected a Curve that ends at a whole epoch, received {curve!r}")
    num_examples = checks.integer("num_examples", num_examples, minimum=1)
    batch_size = checks.batch_size("batch_size", batch_size, num_examples)
    momentum = checks.momentum("momentum", momentum)
    edges = [int(segment.start) for segment in curve.segments if segment.start.is_integer()]
    edges.append(int(curve.end))
    phases = tuple(
        Phase(start, stop - start, batch_size, curve(start), momentum)
        for start, stop in itertools.pairwise(edges)
    )
    return Plan(phases, num_examples, curve)


def recipe_plan(
    decay: str,
    learning_rates: Sequence[float],
    epochs: int,
    batch_size: int,
    momentum: float,
    num_examples: int,
    *,
    boundaries: Sequence[float] = (),
    power: float = 1.0,
    warmup_epochs: float = 0.0,
    warmup_initial: float = 0.0,
    warmup: str = "linear",
) -> Plan:
    """Returns a plan with one batch size, a warm-up and a decay; the recipes below build on it.

    Args:
        decay: `"steps"`, or the shape of a `Segment` from the end of the warm-up to the end of the
            training. With `"steps"` the warm-up replaces the first epochs.
        learning_rates: already scaled to the batch size: one for each step, or those at both ends
            of the segment.
        epochs: length of the training, including the warm-up.
        batch_size: global batch size, examples per update.
        momentum: of SGD, in [0, 1).
        num_examples: examples per epoch.
        boundaries: epochs at which the steps start.
        power: exponent of the polynomial decay.
        warmup_epochs: length of the warm-up.
        warmup_initial: learning rate at epoch 0, where a warm-up starts.
        warmup: shape of the warm-up.
    """
    epochs = checks.integer("epochs", epochs, minimum=1)
    if decay == "steps":
        curve = steps(learning_rates, boundaries, epochs)
        initial = checks.not_negative("warmup_initial", warmup_initial)
        curve = warm_up(curve, warmup_epochs, initial, warmup)
    else:
        warmup_epochs = checks.number(
            "warmup_epochs",
            warmup_epochs,
            expected=f"a number of at least 0 and below epochs={epochs}",
            valid=lambda number: 0 <= number < epochs,
        )
        peak = checks.positive("learning_rate", learning_rates[0])
        final = checks.not_negative("final_learning_rate", learning_rates[1])
        after = Segment(warmup_epochs, epochs, peak, final, decay, power)
        initial = checks.not_negative("warmup_initial", warmup_initial)
        ramp = [Segment(0, warmup_epochs, initial, peak, warmup)] if warmup_epochs else []
        curve = Curve((*ramp, after))
    return curve_plan(
        curve=curve, batch_size=batch_size, momentum=momentum, num_examples=num_examples
    )


def steps_plan(
    *,
    epochs: int,
    boundaries: Sequence[int],
    learning_rates: Sequence[float],
    batch_size: int,
    momentum: float,
    num_examples: int,
    warmup_epochs: float = 0.0,
    warmup_initial: float = 0.0,
) -> Plan:
    """Returns a plan whose learning rate is constant between boundaries and jumps at them.

    >>> plan = steps_plan(
    ...     epochs=90, boundaries=(40, 70, 85), learning_rates=(6.4, 0.96, 0.128, 0.0128),
    ...     batch_size=32_768, momentum=0.9, num_examples=1_281_167)
    >>> plan.learning_rate(70), plan.updates()
    (0.128, 3510)

    Args:
        epochs: length of the training.
        boundaries: epochs where the next learning rate starts, increasing, inside (0, epochs).
        learning_rates: one more than boundaries.
        batch_size: global batch size, examples per update.
        momentum: of SGD, in [0, 1).
        num_examples: examples per epoch.
        warmup_epochs: length of a linear ramp that replaces the first epochs, may be fractional.
        warmup_initial: learning rate at epoch 0, where a warm-up starts.

    Raises:
        UserError: an argument is out of range.
    """
    epochs = checks.integer("epochs", epochs, minimum=1)
    values = tuple(
        checks.positive(f"learning_rates[{index}]", value)
        for index, value in enumerate(checks.sequence("learning_rates", learning_rates))
    )
    boundaries = checked_boundaries(boundaries, epochs)
    if len(values) != len(boundaries) + 1:
        raise UserError(f"learning_rates: expected {len(boundaries) + 1}, one more than "
                        f"boundaries, received {len(values)}")  # fmt: skip
    return recipe_plan(
        "steps", values, epochs, batch_size, momentum, num_examples, boundaries=boundaries,
        warmup_epochs=warmup_epochs, warmup_initial=warmup_initial,
    )  # fmt: skip


def warmup_steps_plan(
    *,
    epochs: int,
    boundaries: Sequence[int],
    factor: float,
    base_learning_rate: float,
    base_batch_size: int,
    batch_size: int,
    momentum: float,
    num_examples: int,
    warmup_epochs: float = 0.0,
    warmup: str = "gradual",
    scaling: str = "linear",
) -> Plan:
    """Goyal's recipe: linear scaling, warm-up from the base learning rate, then steps down.

    With k = batch_size / base_batch_size, the learning rate rises from base_learning_rate to
    k · base_learning_rate, either linearly with each update (gradual) or in one jump after
    `warmup_epochs` (constant). It is then divided by `factor` at each boundary.

    >>> plan = warmup_steps_plan(
    ...     epochs=90, boundaries=(30, 60, 80), factor=10, base_learning_rate=0.1,
    ...     base_batch_size=256, batch_size=8192, momentum=0.9, num_examples=1_281_167,
    ...     warmup_epochs=5)
    >>> [plan.learning_rate(epoch) for epoch in (0, 5, 30, 60, 80)]
    [0.1, 3.2, 0.32, 0.032, 0.0032]

    Args:
        epochs: length of the training.
        boundaries: epochs where the learning rate falls, increasing, inside (0, epochs).
        factor: what the learning rate is divided by there, above 1.
        base_learning_rate: learning rate that works well at `base_batch_size`; the warm-up starts
            from it.
        base_batch_size: batch size that `base_learning_rate` belongs to.
        batch_size: global batch size, examples per update.
        momentum: of SGD, in [0, 1).
        num_examples: examples per epoch.
        warmup_epochs: length of the warm-up, may be fractional; the paper's is 5; 0: none.
        warmup: `"gradual"`, or `"constant"`, which holds base_learning_rate until the warm-up ends.
        scaling: `"linear"` (the paper's), `"square_root"`, with √k instead of k, or `"none"`.

    Raises:
        UserError: an argument is out of range.

    Reference: Goyal et al., arXiv:1706.02677, sections 2.1, 2.2 and 5.1.
    """
    epochs = checks.integer("epochs", epochs, minimum=1)
    factor = checks.number("factor", factor, expected="a finite number above 1",
                         valid=lambda x: x > 1)  # fmt: skip
    base = checks.positive("base_learning_rate", base_learning_rate)
    peak = scaling_rule(scaling)(base, batch_size, base_batch_size)
    shape = _WARMUPS[checks.choice("warmup", warmup, tuple(_WARMUPS))]
    boundaries = checked_boundaries(boundaries, epochs)
    values = [peak / factor**index for index in range(len(boundaries) + 1)]
    return recipe_plan(
        "steps", values, epochs, batch_size, momentum, num_examples, boundaries=boundaries,
        warmup_epochs=warmup_epochs, warmup_initial=base, warmup=shape,
    )  # fmt: skip


def polynomial_plan(
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    momentum: float,
    num_examples: int,
    power: float = 2.0,
    final_learning_rate: float = 0.0,
    warmup_epochs: float = 0.0,
    warmup_initial: float = 0.0,
) -> Plan:
    """Linear warm-up, then polynomial decay from the full learning rate: LARS' schedule.

    After the warm-up the learning rate is final_learning_rate + (learning_rate −
    final_learning_rate) · ((epochs − epoch) / (epochs − warmup_epochs))^power.

    >>> plan = polynomial_plan(
    ...     epochs=90, batch_size=32_768, learning_rate=29.0, momentum=0.9,
    ...     num_examples=1_281_167, warmup_epochs=5)
    >>> plan.learning_rate(5), plan.learning_rate(47.5), plan.learning_rate(90)
    (29.0, 7.25, 0.0)

    Args:
        epochs: length of the training, including the warm-up.
        batch_size: global batch size, examples per update.
        learning_rate: at the end of the warm-up.
        momentum: of SGD, in [0, 1).
        num_examples: examples per epoch.
        power: exponent of the decay, above 0.
        final_learning_rate: at the end of the training.
        warmup_epochs: length of the warm-up, may be fractional; 0: none.
        warmup_initial: learning rate at epoch 0, where a warm-up starts.

    Raises:
        UserError: an argument is out of range.

    Reference: You, Gitman, Ginsburg, arXiv:1708.03888, section 6.
    """
    return recipe_plan(
        "polynomial", (learning_rate, final_learning_rate), epochs, batch_size, momentum,
        num_examples, power=power, warmup_epochs=warmup_epochs, warmup_initial=warmup_initial,
    )  # fmt: skip


def cosine_plan(
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    momentum: float,
    num_examples: int,
    final_learning_rate: float = 0.0,
    warmup_epochs: float = 0.0,
    warmup_initial: float = 0.0,
) -> Plan:
    """Linear warm-up, then half a cosine wave from the full learning rate to the final one.

    >>> plan = cosine_plan(
    ...     epochs=90, batch_size=256, learning_rate=0.2, momentum=0.9, num_examples=50_000,
    ...     warmup_epochs=10)
    >>> round(plan.learning_rate(5), 12), round(plan.learning_rate(50), 12)
    (0.1, 0.1)

    Args:
        epochs: length of the training, including the warm-up.
        batch_size: global batch size, examples per update.
        learning_rate: at the end of the warm-up.
        momentum: of SGD, in [0, 1).
        num_examples: examples per epoch.
        final_learning_rate: at the end of the training.
        warmup_epochs: length of the warm-up, may be fractional; 0: none.
        warmup_initial: learning rate at epoch 0, where a warm-up starts.

    Raises:
        UserError: an argument is out of range.

    Reference: Loshchilov, Hutter, arXiv:1608.03983, section 3.
    """
    return recipe_plan(
        "cosine", (learning_rate, final_learning_rate), epochs, batch_size, momentum, num_examples,
        warmup_epochs=warmup_epochs, warmup_initial=warmup_initial,
    )  # fmt: skip


def linear_plan(
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    momentum: float,
    num_examples: int,
    warmup_epochs: float = 0.0,
    warmup_initial: float = 0.0,
) -> Plan:
    """Linear warm-up, then linear decay to zero, without a jump between them.

    >>> plan = linear_plan(
    ...     epochs=90, batch_size=4096, learning_rate=1.6, momentum=0.9, num_examples=1_281_167,
    ...     warmup_epochs=10)
    >>> [plan.learning_rate(epoch) for epoch in (5, 10, 50, 90)]
    [0.8, 1.6, 0.8, 0.0]

    Args:
        epochs: length of the training, including the warm-up.
        batch_size: global batch size, examples per update.
        learning_rate: at the end of the warm-up.
        momentum: of SGD, in [0, 1).
        num_examples: examples per epoch.
        warmup_epochs: length of the warm-up, may be fractional; 0: none.
        warmup_initial: learning rate at epoch 0, where a warm-up starts.

    Raises:
        UserError: an argument is out of range.
    """
    return recipe_plan(
        "linear", (learning_rate, 0.0), epochs, batch_size, momentum, num_examples,
        warmup_epochs=warmup_epochs, warmup_initial=warmup_initial,
    )  # fmt: skip
