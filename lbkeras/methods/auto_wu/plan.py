"""The plan of a run with AutoWU: the learning rates if its test never stops the warm-up."""

import dataclasses

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.planning.plan import Plan
from lbkeras.planning.recipes import curve_plan
from lbkeras.schedules.curve import Curve, Segment

PATIENCE = 3  # positive epochs, one after the other, that stop a warm-up
DECAYS = ("cosine", "constant_then_cosine")


def auto_wu_plan(
    *,
    epochs: int,
    batch_size: int,
    momentum: float,
    num_examples: int,
    min_learning_rate: float = 1e-5,
    max_learning_rate: float = 1.0,
    max_warmup_fraction: float = 0.5,
    decay: str = "cosine",
    cooldown_fraction: float = 0.2,
) -> Plan:
    """Exponential warm-up over half of the training, then decay to zero: AutoWU's longest warm-up.

    With W = max_warmup_fraction · epochs the learning rate is, before W,

        min_learning_rate · (max_learning_rate / min_learning_rate)^(epoch / W)

    `lbkeras.callbacks.AutoWU` follows the plan and, where the loss has passed its minimum, goes
    over to the decay early and from a smaller learning rate (`decay_from`).

    >>> plan = auto_wu_plan(epochs=120, batch_size=4096, momentum=0.9, num_examples=1_281_167)
    >>> [float(f"{plan.learning_rate(epoch):.3g}") for epoch in (0, 30, 60, 90, 120)]
    [1e-05, 0.00316, 1.0, 0.5, 0.0]

    Args:
        epochs: length of the training; the warm-up must last 3 of them, so 6 with half of it.
        batch_size: global batch size, examples an update.
        momentum: of SGD, in [0, 1).
        num_examples: examples an epoch.
        min_learning_rate: at epoch 0, above 0.
        max_learning_rate: at the end of the longest warm-up, above `min_learning_rate`.
        max_warmup_fraction: the longest warm-up as a part of the training, in (0, 1).
        decay: `"cosine"` at once, or `"constant_then_cosine"`.
        cooldown_fraction: the last part of the training, where the latter decays; at most what the
            longest warm-up leaves.

    Raises:
        UserError: an argument is out of its range, or the warm-up is too short to decide anything.

    Reference: Kim et al., "Automated Learning Rate Scheduler for Large-batch Training",
    arXiv 2107.05855, section 3.
    """
    epochs = checks.integer("epochs", epochs, minimum=1)
    low = checks.positive("min_learning_rate", min_learning_rate)
    high = checks.number("max_learning_rate", max_learning_rate,
                       expected=f"a finite number above min_learning_rate={low:g}",
                       valid=lambda rate: rate > low)  # fmt: skip
    fraction = checks.number("max_warmup_fraction", max_warmup_fraction,
                           expected="a number in (0, 1)", valid=lambda x: 0 < x < 1)  # fmt: skip
    checks.choice("decay", decay, DECAYS)
    warmup = fraction * epochs
    if warmup < PATIENCE:
        raise UserError(
            f"epochs: expected at least {_least_epochs(fraction)} (AutoWU needs {PATIENCE} epochs "
            f"of warm-up to decide, which may take {fraction:g} of the training), received {epochs}"
        )
    segments = [Segment(0, warmup, low, high, "exponential")]
    if decay == "constant_then_cosine":
        rest = 1 - fraction
        cooldown = checks.number("cooldown_fraction", cooldown_fraction,
                               expected=f"a number above 0, below {rest:g} (what the warm-up "
                               "leaves)", valid=lambda x: 0 < x < rest)  # fmt: skip
        start = (1 - cooldown) * epochs
        segments.append(Segment(warmup, start, high, high))
        warmup = start
    segments.append(Segment(warmup, epochs, high, 0.0, "cosine"))
    return curve_plan(
        curve=Curve(tuple(segments)),
        batch_size=batch_size,
        momentum=momentum,
        num_examples=num_examples,
    )


def decay_from(curve: Curve, epoch: float, learning_rate: float) -> Curve:
    """The curve whose warm-up stops at `epoch`, and whose decay begins there at `learning_rate`.

    The decay ends where it ended, and what was constant before it stays so until then.

    >>> plan = auto_wu_plan(epochs=20, batch_size=32, momentum=0.9, num_examples=320)
    >>> curve = decay_from(plan.curve, epoch=6, learning_rate=0.01)
    >>> [round(curve(epoch), 6) for epoch in (0, 5, 6, 13, 20)]
    [1e-05, 0.003162, 0.01, 0.005, 0.0]

    Args:
        curve: of an `auto_wu_plan`.
        epoch: inside the warm-up, or its end.
        learning_rate: above 0.
    """
    warmup, *decay = curve.segments
    factor = learning_rate / warmup.final
    before = dataclasses.replace(warmup, stop=epoch, final=warmup.value(epoch))
    after = [
        dataclasses.replace(s, initial=factor * s.initial, final=factor * s.final) for s in decay
    ]
    after[0] = dataclasses.replace(after[0], start=epoch, origin=None)
    return Curve((before, *after))


def _least_epochs(fraction: float) -> int:
    """The fewest epochs of which `fraction` are enough to decide."""
    least = int(PATIENCE / fraction)
    return next(epochs for epochs in range(least, least + 3) if fraction * epochs >= PATIENCE)
