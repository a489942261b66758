"""LEGW: warm-up epochs proportional to the batch size, so that warm-up updates stay the same."""

from collections.abc import Sequence

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.planning.noise_scale_plan import checked_boundaries
from lbkeras.planning.plan import Plan
from lbkeras.planning.recipes import recipe_plan
from lbkeras.schedules.scaling import scaling_rule

DECAYS = ("constant", "polynomial", "exponential", "steps")


def legw_plan(
    *,
    epochs: int,
    base_batch_size: int,
    batch_size: int,
    base_learning_rate: float,
    base_warmup_epochs: float,
    momentum: float,
    num_examples: int,
    decay: str = "constant",
    power: float = 2.0,
    factor: float = 10.0,
    boundaries: Sequence[int] = (),
    scaling: str = "square_root",
    scale_warmup: bool = True,
) -> Plan:
    """LEGW, linear-epoch gradual warm-up: scales a small batch's settings to a large batch.

    With k = batch_size / base_batch_size,

        learning rate     √k · base_learning_rate
        warm-up epochs    k · base_warmup_epochs, linear from 0

    followed by the same decay of the learning rate at every batch size.

    >>> plan = legw_plan(
    ...     epochs=90, base_batch_size=1024, batch_size=32_768, base_learning_rate=2**2.5,
    ...     base_warmup_epochs=0.3125, momentum=0.9, num_examples=1_281_167, decay="polynomial")
    >>> [round(plan.learning_rate(epoch), 9) for epoch in (0, 5, 10, 50, 90)]
    [0.0, 16.0, 32.0, 8.0, 0.0]

    Args:
        epochs: length of the training, including the warm-up.
        base_batch_size: the small batch size, examples per update.
        batch_size: global batch size of this plan; `base_batch_size` gives the small batch's plan.
        base_learning_rate: learning rate that works well at `base_batch_size`.
        base_warmup_epochs: length in epochs of the warm-up that works well at `base_batch_size`;
            may be fractional; 0: none.
        momentum: of SGD, in [0, 1).
        num_examples: examples per epoch.
        decay: what follows the warm-up: `"constant"`; `"polynomial"`, to zero at the end;
            `"exponential"`, by `factor` from the end of the warm-up to the end of the training; or
            `"steps"`, by `factor` at each of `boundaries`, which the warm-up does not shift.
        power: exponent of the polynomial decay, above 0.
        factor: what exponential decay and each step divide the learning rate by, above 1.
        boundaries: epochs of the steps, increasing, after the warm-up and before `epochs`.
        scaling: how the learning rate grows with the batch size: `"square_root"` (the paper's),
            `"linear"` or `"none"`.
        scale_warmup: False leaves the warm-up at `base_warmup_epochs`.

    Raises:
        UserError: an argument is out of range; the scaled warm-up does not end before the first
            of `boundaries` or before `epochs`; or `boundaries` is given without `decay="steps"`.

    Differs from the paper: no known difference, but only descriptions of the paper by others were
    available, not its text.

    Reference: You et al., "Large-Batch Training for LSTM and Beyond", arXiv:1901.08256, section 3.
    """
    epochs = checks.integer("epochs", epochs, minimum=1)
    num_examples = checks.integer("num_examples", num_examples, minimum=1)
    batch_size = checks.batch_size("batch_size", batch_size, num_examples)
    base = checks.positive("base_learning_rate", base_learning_rate)
    peak = scaling_rule(scaling)(base, batch_size, base_batch_size)
    ratio = batch_size / base_batch_size if checks.flag("scale_warmup", scale_warmup) else 1.0
    warmup_epochs = ratio * checks.not_negative("base_warmup_epochs", base_warmup_epochs)
    checks.choice("decay", decay, DECAYS)
    boundaries = checked_boundaries(boundaries, epochs)
    if (decay == "steps") != bool(boundaries):
        expected = "epochs of the steps" if decay == "steps" else f"none with decay={decay!r}"
        raise UserError(f"boundaries: expected {expected}, received {boundaries!r}")
    end = boundaries[0] if boundaries else epochs
    if warmup_epochs >= end:
        before = f"boundaries[0]={end}" if boundaries else f"epochs={end}"
        raise UserError(
            f"base_warmup_epochs: expected a warm-up that ends before {before}, received "
            f"{base_warmup_epochs:g}, scaled to the batch size {warmup_epochs:g} epochs"
        )
    factor = checks.number("factor", factor, expected="a finite number above 1",
                         valid=lambda x: x > 1)  # fmt: skip
    rates = {
        "constant": (peak, peak),
        "polynomial": (peak, 0.0),
        "exponential": (peak, peak / factor),
        "steps": [peak / factor**index for index in range(len(boundaries) + 1)],
    }
    return recipe_plan(
        decay, rates[decay], epochs, batch_size, momentum, num_examples, boundaries=boundaries,
        power=power, warmup_epochs=warmup_epochs,
    )  # fmt: skip
