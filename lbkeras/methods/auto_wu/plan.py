"""The plan of a run with AutoWU: the learning rates if its test never ends the warm-up early."""

import dataclasses

from lbkeras import checks
from lbkeras.errors import UserError
from lbkeras.planning.plan import Plan
from lbkeras.planning.recipes import curve_plan
from lbkeras.schedules.curve import Curve, Segment

PATIENCE = 3  # positive epochs in a row that end the warm-up
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
    """Returns AutoWU's plan: the longest exponential warm-up, then decay to zero.

    With W = max_warmup_fraction · epochs, the learning rate before W is

        min_learning_rate · (max_learning_rate / min_learning_rate)^(epoch / W)

    `lbkeras.callbacks.AutoWU` follows the plan. Once the loss has passed its minimum, it starts the
    decay early and from a smaller learning rate (`decay_from`).

    >>> plan = auto_wu_plan(epochs=120, batch_size=4096, momentum=0.9, num_examples=1_281_167)
    >>> [float(f"{plan.learning_rate(epoch):.3g}") for epoch in (0, 30, 60, 90, 120)]
    [1e-05, 0.00316, 1.0, 0.5, 0.0]

    Args:
        epochs: length of the training; the longest warm-up must last at least 3 epochs, so at
            least 6 with the default fraction.
        batch_size: global batch size, in examples per update.
        momentum: of SGD, in [0, 1).
        num_examples: examples per epoch.
        min_learning_rate: at epoch 0, above 0.
        max_learning_rate: at the end of the longest warm-up, above `min_learning_rate`.
        max_warmup_fraction: length of the longest warm-up as a fraction of the training, in (0, 1).
        decay: `"cosine"`, which begins at once, or `"constant_then_cosine"`.
        cooldown_fraction: last fraction of the training, in which `"constant_then_cosine"` decays;
            above 0 and below 1 − max_warmup_fraction.

    Raises:
        UserError: an argument is out of range, or the warm-up is too short for a decision.

    Reference: Kim et al., "Automated Learning Rate Scheduler for Large-batch Training",
    arXiv:2107.05855, section 3.
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
            f"of warm-up, at most {fraction:g} of the training, to decide), received {epochs}"
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
    """Returns the curve whose warm-up stops at `epoch` and whose decay starts at `learning_rate`.

    The decay still ends at the same epoch. With `"constant_then_cosine"` the learning rate stays
    constant until the cooldown, as in the plan.

    >>> plan = auto_wu_plan(epochs=20, batch_size=32, momentum=0.9, num_examples=320)
    >>> curve = decay_from(plan.curve, epoch=6, learning_rate=0.01)
    >>> [round(curve(epoch), 6) for epoch in (0, 5, 6, 13, 20)]
    [1e-05, 0.003162, 0.01, 0.005, 0.0]

    Args:
        curve: of an `auto_wu_plan`.
        epoch: inside the warm-up or at its end.
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
    """Returns the fewest epochs for which `fraction` of them suffices for a decision."""
    least = int(PATIENCE / fraction)
    return next(epochs for epochs in range(least, least + 3) if fraction * epochs >= PATIENCE)
