"""The plan of a run with AdaScale: the longest run that it may need, and its base run."""

import dataclasses
from collections.abc import Sequence

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.planning.legw_plan import legw_plan
from lbkeras.planning.plan import Plan
from lbkeras.planning.recipes import curve_plan
from lbkeras.schedules.curve import Curve


@dataclasses.dataclass(frozen=True)
class AdaScalePlan(Plan):
    """A `Plan` that also holds the plan of its base run, the run with the small batch.

    Args:
        phases: as in `Plan`.
        num_examples: examples per epoch.
        curve: the base run's learning rates, stretched over this plan's epochs.
        base: plan of the base run.
    """

    base: Plan | None = None


def ada_scale_plan(
    *,
    epochs: int,
    base_batch_size: int,
    batch_size: int,
    base_learning_rate: float,
    momentum: float,
    num_examples: int,
    decay: str = "constant",
    power: float = 2.0,
    factor: float = 10.0,
    boundaries: Sequence[int] = (),
) -> AdaScalePlan:
    """Returns AdaScale's longest run: as many updates as the base run, at a larger batch size.

    A run takes this long if the larger batch gains nothing (a gain of 1 at every update).
    `lbkeras.callbacks.AdaScale` takes the base run from the plan, multiplies its learning rates by
    the gain, moves through them faster by the same factor, and ends where the base run ends. With
    steps = num_examples // batch_size,

        epochs of the plan = ⌈epochs · (num_examples // base_batch_size) / steps⌉

    >>> plan = ada_scale_plan(
    ...     epochs=10, base_batch_size=32, batch_size=128, base_learning_rate=0.1, momentum=0.9,
    ...     num_examples=1280, decay="polynomial", power=1.0)
    >>> plan.epochs, plan.updates(), plan.base.updates(), plan.learning_rate(20)
    (40, 400, 400, 0.05)

    Args:
        epochs: of the base run.
        base_batch_size: the small batch size, in examples per update.
        batch_size: global batch size of this plan, at least `base_batch_size`.
        base_learning_rate: learning rate that works well at `base_batch_size`; the decay's start.
        momentum: of SGD, in [0, 1).
        num_examples: examples per epoch.
        decay: of the base run, as in `legw_plan`: `"constant"`, `"polynomial"`, `"exponential"` or
            `"steps"`.
        power: exponent of the polynomial decay, above 0.
        factor: what exponential decay and each boundary divide the learning rate by, above 1.
        boundaries: epochs of the base run at which the learning rate falls with decay="steps",
            increasing, before `epochs`.

    Raises:
        UserError: an argument is out of range.

    Reference: Johnson, Agrawal, Gu, Guestrin, "AdaScale SGD", arXiv:2007.05105, section 3.
    """
    num_examples = checks.integer("num_examples", num_examples, minimum=1)
    base_batch_size = checks.batch_size("base_batch_size", base_batch_size, num_examples)
    base = legw_plan(
        epochs=epochs,
        base_batch_size=base_batch_size,
        batch_size=base_batch_size,
        base_learning_rate=base_learning_rate,
        base_warmup_epochs=0.0,
        momentum=momentum,
        num_examples=num_examples,
        decay=decay,
        power=power,
        factor=factor,
        boundaries=boundaries,
    )
    batch_size = checks.batch_size("batch_size", batch_size, num_examples)
    if batch_size < base_batch_size:
        raise UserError(
            f"batch_size: expected at least base_batch_size={base_batch_size}, received "
            f"{batch_size}"
        )
    longest = -(-base.updates() // (num_examples // batch_size))
    segments = tuple(
        dataclasses.replace(
            segment,
            start=segment.start * longest / base.epochs,
            stop=segment.stop * longest / base.epochs,
            origin=None,
        )
        for segment in base.learning_rate_curve.segments
    )
    plan = curve_plan(
        curve=Curve(segments), batch_size=batch_size, momentum=momentum, num_examples=num_examples
    )
    return AdaScalePlan(plan.phases, plan.num_examples, plan.curve, base)
