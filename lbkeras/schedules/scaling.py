"""Rules that scale the learning rate with the batch size."""

import math

from lbkeras import checks


def linear_scaling(learning_rate: float, batch_size: int, base_batch_size: int) -> float:
    """The linear scaling rule: learning_rate · batch_size / base_batch_size.

    >>> linear_scaling(0.1, batch_size=8192, base_batch_size=256)
    3.2

    Args:
        learning_rate: learning rate that works well at `base_batch_size`.
        batch_size: global batch size, in examples per update.
        base_batch_size: batch size that `learning_rate` was tuned for.

    Raises:
        UserError: an argument is not positive.

    Reference: Goyal et al., arXiv:1706.02677, section 2.1.
    """
    return checks.positive("learning_rate", learning_rate) * _ratio(batch_size, base_batch_size)


def square_root_scaling(learning_rate: float, batch_size: int, base_batch_size: int) -> float:
    """The square-root scaling rule: learning_rate · √(batch_size / base_batch_size).

    >>> square_root_scaling(0.1, batch_size=1024, base_batch_size=256)
    0.2

    Args:
        learning_rate: learning rate that works well at `base_batch_size`.
        batch_size: global batch size, in examples per update.
        base_batch_size: batch size that `learning_rate` was tuned for.

    Raises:
        UserError: an argument is not positive.

    Reference: You et al., arXiv:1901.08256, section 3 (LEGW); Krizhevsky, arXiv:1404.5997,
    section 5.
    """
    learning_rate = checks.positive("learning_rate", learning_rate)
    return learning_rate * math.sqrt(_ratio(batch_size, base_batch_size))


def no_scaling(learning_rate: float, batch_size: int, base_batch_size: int) -> float:
    """Returns the learning rate unchanged, as a baseline for the scaling rules.

    >>> no_scaling(0.1, batch_size=1024, base_batch_size=256)
    0.1

    Args:
        learning_rate: learning rate that works well at `base_batch_size`.
        batch_size: global batch size, in examples per update.
        base_batch_size: batch size that `learning_rate` was tuned for.

    Raises:
        UserError: an argument is not positive.
    """
    _ratio(batch_size, base_batch_size)
    return checks.positive("learning_rate", learning_rate)


SCALING_RULES = {
    "square_root": square_root_scaling,
    "linear": linear_scaling,
    "none": no_scaling,
}


def scaling_rule(name: str):
    """Returns the scaling rule with the name `"square_root"`, `"linear"` or `"none"`.

    >>> scaling_rule("linear")(0.1, batch_size=1024, base_batch_size=256)
    0.4

    Raises:
        UserError: `name` is none of these.
    """
    return SCALING_RULES[checks.choice("scaling", name, tuple(SCALING_RULES))]


def _ratio(batch_size: int, base_batch_size: int) -> float:
    return checks.integer("batch_size", batch_size, minimum=1) / checks.integer(
        "base_batch_size", base_batch_size, minimum=1
    )
